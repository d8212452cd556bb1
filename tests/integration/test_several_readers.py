"""Several queries on an embedded store at once: none waits for another, each within its limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from _page_shop import client, fill_hostile_shop

from kgdistill.errors import QueryError, StoreError, StoreLockedError
from kgdistill.page.source import GraphSource
from kgdistill.store import LadybugStore
from kgdistill.store.ladybug import process

# It looks at no clock: after its time its process is ended.
SLOW = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b WITH a * b AS c RETURN sum(c) AS s"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LadybugStore]:
    with LadybugStore(tmp_path_factory.mktemp("page") / "shop.db") as opened:
        with opened.changes():
            fill_hostile_shop(opened)
        opened.query("RETURN 1 AS x")
        yield opened


def slow(store: LadybugStore, seconds: float, done: list[str], text: str = SLOW) -> threading.Thread:
    """A thread with a statement that takes all of its time."""

    def run() -> None:
        with pytest.raises(QueryError, match=f"longer than {seconds:g} s"):
            store.query(text, timeout_s=seconds)
        done.append(text)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    return thread


def test_a_click_does_not_wait_for_anothers_slow_statement(store: LadybugStore) -> None:
    page = client(store)
    page.get("/card", params={"label": "Product", "key": "tea-1"})
    done: list[str] = []
    thread = slow(store, 8.0, done)
    begin = time.monotonic()
    answer = page.get("/card", params={"label": "User", "key": "ann"})
    assert answer.status_code == 200
    assert "Espresso beans" in answer.text
    assert done == []  # the other still runs
    assert time.monotonic() - begin < 7
    thread.join()
    assert done == [SLOW]


def test_no_more_run_at_once_than_may_and_each_is_answered(store: LadybugStore) -> None:
    readers = store._engine._readers
    assert readers is not None
    assert 2 <= readers._most <= 4
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: store.query("RETURN $n AS n", {"n": n})["n"][0].as_py(), range(64)))
    assert found == list(range(64))
    assert len(readers._idle) <= readers._most
    assert readers._busy == []


def test_memory_bounds_how_many_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for gigabytes, most in ((2, 2), (12, 3), (64, 4)):
        monkeypatch.setattr(process, "memory", lambda gigabytes=gigabytes: gigabytes * 2**30)
        assert process.QueryProcesses(Path("file"), "here")._most == most


def test_a_write_waits_for_the_queries_that_run_and_they_read_what_was_there(store: LadybugStore) -> None:
    done: list[str] = []
    thread = slow(store, 3.0, done)
    with pytest.raises(StoreLockedError, match="another thread"), store.changes():
        pass
    assert done == []
    store.write_nodes("User", pa.table({"user_id": ["late"]}))
    assert done == [SLOW]
    thread.join()
    # Every process reads the new file.
    with ThreadPoolExecutor(4) as pool:
        text = "MATCH (u:User {user_id: 'late'}) RETURN count(*) AS n"
        assert {table["n"][0].as_py() for table in pool.map(lambda _: store.query(text), range(16))} == {1}


def test_what_several_ask_at_the_same_time_is_asked_once(
    store: LadybugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answer = store.query

    def counted(cypher: str, *rest: object, **limits: object) -> pa.Table:
        asked.append(cypher)
        time.sleep(0.3)
        return answer(cypher, *rest, **limits)  # type: ignore[arg-type]

    source = GraphSource(store)
    monkeypatch.setattr(store, "query", counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: source.store.query("RETURN 7 AS x").to_pylist(), range(8)))
    assert found == [[{"x": 7}]] * 8
    assert asked == ["RETURN 7 AS x"]
    with ThreadPoolExecutor(4) as pool:
        told = [pool.submit(source.store.query, "RETURN nonsense AS x") for _ in range(4)]
        for one in told:
            with pytest.raises(QueryError, match="nonsense"):
                one.result()
    assert len(asked) == 2
    # A mistake is not remembered.
    with pytest.raises(QueryError, match="nonsense"):
        source.store.query("RETURN nonsense AS x")
    assert len(asked) == 3


def test_closing_ends_what_still_runs(tmp_path: Path) -> None:
    told: list[str] = []
    with LadybugStore(tmp_path / "shop.db") as opened:
        opened.query("RETURN 1 AS x")

        def ask() -> None:
            with pytest.raises(StoreError, match="closed"):
                opened.query(SLOW, timeout_s=25.0)
            told.append(SLOW)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(1.0)
        begin = time.monotonic()
    thread.join()
    assert told == [SLOW]
    assert time.monotonic() - begin < 10
