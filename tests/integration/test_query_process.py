"""The process that runs queries: its limits, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _page_shop import client, fill_hostile_shop

from kgdistill.errors import QueryError
from kgdistill.store import open_store
from kgdistill.store.ladybug import process as ladybug_process
from kgdistill.store.ladybug.store import LadybugStore
from kgdistill.store.query import process

# The engine parses this for long, and looks at no clock.
ENDLESS = "RETURN " + "[" * 12_000 + "1" + "]" * 12_000 + " AS x"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="its fences are those of POSIX systems")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LadybugStore]:
    with LadybugStore(tmp_path / "graph") as opened:
        yield opened


def child_of(store: LadybugStore) -> subprocess.Popen[bytes]:
    readers = store._engine._readers
    assert readers is not None
    process = readers._idle[0]._child._process
    assert process is not None
    return process


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize(
    ("cypher", "limits", "says"),
    [
        ("UNWIND range(1, 6) AS x RETURN x", {"limit": 5}, "more than 5 rows.*\n.*LIMIT"),
        ("UNWIND range(1, 300) AS x RETURN repeat('a', 1000000) AS y", {}, "256 MiB.*\n.*fewer rows"),
        ("RETURN size(range(1, 1000000000)) AS n", {}, "2,048 MiB of memory.*\n.*narrow"),
        ("UNWIND range(1, 1000) AS x RETURN repeat('a', 1000000) AS y", {}, "2,048 MiB of memory"),
        ("RETURN " + "NOT " * 20_000 + "true AS x", {"timeout_s": 20.0}, "2,048 MiB of memory"),
        (ENDLESS, {"timeout_s": 0.5}, "longer than 0.5 s.*\n.*--timeout"),
        ("RETURN 1 AS a, 2 AS a", {}, "two columns of the answer are called 'a'"),
    ],
)
def test_each_limit_is_named_and_the_store_goes_on(
    store: LadybugStore, cypher: str, limits: dict[str, float], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        store.query(cypher, **limits)  # type: ignore[arg-type]
    assert store.query("RETURN 1 AS x").to_pylist() == [{"x": 1}]


def test_after_a_refusal_for_memory_another_process_answers_which_holds_none_of_it(
    store: LadybugStore,
) -> None:
    store.query("RETURN 1 AS x")
    held = child_of(store)
    with pytest.raises(QueryError, match="more than 5 rows"):
        store.query("UNWIND range(1, 6) AS x RETURN x", limit=5)
    assert child_of(store) is held
    with pytest.raises(QueryError, match="of memory"):
        store.query("UNWIND range(1, 1000) AS x RETURN repeat('a', 1000000) AS y")
    assert store.query("RETURN 1 AS x").num_rows == 1
    assert child_of(store) is not held
    assert not running(held.pid)


def test_the_child_keeps_its_deadline_while_its_parent_stands_still(tmp_path: Path) -> None:
    with asking(tmp_path, f"store.query({ENDLESS!r}, timeout_s=2.0)") as (parent, child):
        os.kill(parent.pid, signal.SIGSTOP)
        until(lambda: not running(child), seconds=10.0)


def test_the_parent_ends_a_child_that_has_lost_its_deadline(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.query("RETURN 1 AS x")
    held = child_of(store)
    monkeypatch.setattr(process, "GRACE_S", 0.1)
    os.kill(held.pid, signal.SIGSTOP)
    with pytest.raises(QueryError, match="longer than"):
        store.query("RETURN 1 AS x", timeout_s=0.2)
    assert not running(held.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's word that a parent has died")
@pytest.mark.parametrize("busy", [True, False])
def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    work = f"store.query({ENDLESS!r}, timeout_s=60.0)" if busy else "time.sleep(60)"
    with asking(tmp_path, work) as (parent, child):
        assert running(child)
        parent.kill()
        until(lambda: not running(child))


@contextlib.contextmanager
def asking(folder: Path, work: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process at work with a store, and its query process's id."""
    code = f"""
import threading, time
from kgdistill.store import open_store
with open_store("ladybug:{folder}/graph") as store:
    store.query("RETURN 1 AS x")
    pid = store._engine._readers._idle[0]._child._process.pid
    threading.Timer(0.5, lambda: print(pid, flush=True)).start()
    {work}
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


def test_the_process_outlives_the_thread_that_first_asked(store: LadybugStore) -> None:
    thread = threading.Thread(target=lambda: store.query("RETURN 1 AS x"))
    thread.start()
    thread.join()
    held = child_of(store)
    time.sleep(0.2)
    assert store.query("RETURN 2 AS x").to_pylist() == [{"x": 2}]
    assert child_of(store) is held


def test_a_process_that_was_killed_starts_again(store: LadybugStore) -> None:
    store.query("RETURN 1 AS x")
    held = child_of(store)
    held.kill()
    held.wait()
    assert store.query("RETURN 2 AS x").to_pylist() == [{"x": 2}]


@pytest.mark.parametrize("kind", ["process", "page"])
def test_a_process_that_dies_as_it_is_asked_is_replaced_before_anybody_notices(
    store: LadybugStore, kind: str
) -> None:
    with store.changes():
        fill_hostile_shop(store)
    page = client(store)
    store.query("RETURN 1 AS x")
    held = child_of(store)
    # It stands still with the question in its pipe, then dies.
    os.kill(held.pid, signal.SIGSTOP)
    threading.Timer(0.5, held.kill).start()
    if kind == "process":
        assert store.query("RETURN 2 AS x").to_pylist() == [{"x": 2}]
    else:
        answer = page.get("/card", params={"label": "User", "key": "ann"})
        assert (answer.status_code, "Espresso beans" in answer.text) == (200, True)
    assert child_of(store) is not held


def test_a_process_that_dies_just_before_it_is_asked_is_replaced(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.query("RETURN 1 AS x")
    held = child_of(store)

    def late(value: object) -> object:
        held.kill()
        held.wait()
        return value

    # It lived when it was looked at.
    monkeypatch.setattr(ladybug_process, "sendable", late)
    assert store.query("RETURN $x AS x", {"x": 2}).to_pylist() == [{"x": 2}]


def test_a_query_that_was_begun_is_not_asked_again(store: LadybugStore) -> None:
    store.query("RETURN 1 AS x")
    held = child_of(store)
    threading.Timer(0.5, held.kill).start()
    # It takes time and no memory: what died large is told as too large.
    endless = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN sum(a * b % 7) AS x"
    with pytest.raises(QueryError, match="crashed its process"):
        store.query(endless)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_the_process_knows_no_secret_stands_nowhere_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGDISTILL_NEO4J_PASSWORD", "hush-1")
    monkeypatch.setenv("SOME_API_KEY", "hush-2")
    for name in ("json.py", "ladybug.py", "pyarrow.py"):
        (tmp_path / name).write_text("raise SystemExit('the folder one stands in is not where modules are')")
    monkeypatch.chdir(tmp_path)
    with open_store(f"ladybug:{tmp_path}/graph") as store:
        assert isinstance(store, LadybugStore)
        store.query("RETURN 1 AS x")
        about = Path(f"/proc/{child_of(store).pid}")
        assert b"hush" not in (about / "environ").read_bytes() + (about / "cmdline").read_bytes()
        assert os.readlink(about / "cwd").endswith("(deleted)")
        limits = (about / "limits").read_text()
        for name in ("file size", "core file size"):
            assert any(
                line.split()[:-3] == ["Max", *name.split()] and line.split()[-3:-1] == ["0", "0"]
                for line in limits.splitlines()
            ), limits
