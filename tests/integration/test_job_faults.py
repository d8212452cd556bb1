"""Jobs when things go wrong: kills, servers that go away, full disks, other jobs, damaged files."""

from __future__ import annotations

import contextlib
import gzip
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from _jobs import (
    BOUGHT,
    CLICKS,
    ORDERS,
    SCHEMA,
    SHOP,
    START,
    both_states,
    day,
    graph,
    ingest,
    run_both_states,
    write_rows,
    write_state,
    write_states,
)

from kgdistill.errors import (
    DiskError,
    InputError,
    StoreAuthError,
    StoreError,
    StoreLockedError,
    StoreUnreachableError,
)
from kgdistill.ingest.archive import Archive, JobRecord, utc_now
from kgdistill.ingest.job import JobReport, resume
from kgdistill.ingest.journal import Journal, with_journal
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.store import GraphStore, LadybugStore, MemoryStore, load_schema, open_store
from kgdistill.store.neo4j import local as local_neo4j
from kgdistill.store.neo4j.store import Neo4jStore
from tests.integration.conftest import Server, wipe

COMMAND = [sys.executable, "-c", "import sys; from kgdistill.cli import main; sys.exit(main())"]
# A server's take seven seconds each.
KILLS = {"ladybug": 20, "neo4j": 8}
# Thousands of rows, such that a job takes a second or two.
SCALE = {"ladybug": 2, "neo4j": 1}


def processes() -> Any:
    """Processes that begin in milliseconds: forked from one that has imported everything and no more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["_jobs", "kgdistill.store.neo4j.store"])
    return context


def target(kind: str, request: pytest.FixtureRequest, work: Path) -> tuple[str, str]:
    """The address of an empty store, and its password."""
    if kind == "ladybug":
        return f"ladybug:{work / 'db'}", ""
    server = request.getfixturevalue("neo4j_server")
    wipe(server)
    return server.url, server.password


def killed_where(archive: Path, done: int) -> str:
    """At what the kill came."""
    if not (archive / "archive.json").exists():
        return "before the archive"
    place = Archive(archive)
    if place.unfinished():
        return f"reading job {len(place.numbers()) + 1}"
    return f"writing job {len(place.numbers())}" if done < len(place.numbers()) else f"after job {done}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["ladybug", "neo4j"])
def test_kills_at_many_moments_and_going_on_lead_to_the_graph_of_jobs_never_stopped(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    draw = random.Random(f"kills of {kind}")
    write_states(tmp_path, SCALE[kind])
    with MemoryStore() as store:
        both_states(store, tmp_path)
        wanted = graph(store)
    assert wanted["User-BOUGHT-Product"].num_rows > 5_000 * SCALE[kind]
    places: Counter[str] = Counter()
    seconds, kills, attempt = 0.0, 0, 0
    while kills < KILLS[kind]:
        work = tmp_path / f"kill{attempt}"
        work.mkdir()
        write_links(tmp_path, work)
        url, password = target(kind, request, work)
        started = processes().Event()
        child = processes().Process(target=run_both_states, args=(url, password, str(work), started))
        child.start()
        assert started.wait(60)
        begun = time.monotonic()
        # The first tells how long it takes; the kills are spread over all of that, one in each part of it.
        moment = None if not seconds else seconds * (kills + draw.random()) / KILLS[kind]
        child.join(moment)
        if child.exitcode is None:
            child.kill()
        child.join()
        killed = child.exitcode == -9
        assert killed or child.exitcode == 0
        if not killed:
            # Done sooner than thought: the moments move with it.
            seconds = min(seconds or 1e9, time.monotonic() - begun)
        with open_store(url, password=password, wait_s=5.0) as store:
            place = Archive(work / "archive")
            if killed:
                kills += 1
                done = sum(entry["state"] == "done" for entry in Journal(store).entries())
                places[killed_where(work / "archive", done)] += 1
                if kills % 2:
                    resume(store, place, threads=1)
                    assert not place.unfinished()
            both_states(store, work)
            assert graph(store) == wanted
            entries = Journal(store).entries()
            assert [(e["job_number"], e["state"]) for e in entries] == [(n, "done") for n in place.numbers()]
            assert len(entries) == 2
            assert both_states(store, work) is None
        attempt += 1
    print(f"{kind}: {kills} kills survived over {seconds:.1f} s: {dict(places)}")
    # They came at everything that there is to be stopped at.
    assert {"writing job 1", "writing job 2"} <= places.keys()


def write_links(states: Path, work: Path) -> None:
    """A shop of its own over the same files."""
    for name in ("state1", "state2"):
        (work / name).symlink_to(states / name)
    (work / "files").symlink_to("state1")


@pytest.mark.timeout(900)
def test_a_neo4j_that_restarts_is_waited_for_and_one_that_stays_away_is_gone_on_with_later(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if shutil.which("java") is None or shutil.which("mvn") is None:
        pytest.skip("needs java and mvn for a Neo4j of its own")
    write_states(tmp_path, 3)
    with MemoryStore() as memory:
        ingest(memory, tmp_path / "state1", tmp_path / "first")
        first = graph(memory)
    with MemoryStore() as memory:
        both_states(memory, tmp_path)
        both = graph(memory)
    folder, archive = tmp_path / "server", tmp_path / "neo4j-archive"
    server = local_neo4j.start(folder, heap="512m")
    request.addfinalizer(lambda: local_neo4j.stop(folder))

    def opened(retry_s: float) -> Neo4jStore:
        return Neo4jStore(server.url, user=server.user, password=server.password(), retry_s=retry_s)

    def job(state: str, retry_s: float) -> JobReport:
        with opened(retry_s) as store:
            return ingest(store, tmp_path / state, archive)

    with ThreadPoolExecutor(1) as pool:
        # Stopped as one stops a server, and started again.
        running = pool.submit(job, "state1", 300.0)
        in_the_middle(opened, running, 1)
        local_neo4j.stop(folder)
        # It waits, or was quicker than the stop; it does not fail.
        assert not running.done() or running.exception() is None
        local_neo4j.start(folder, heap="512m")
        assert running.result(timeout=300).state == "done"
        with opened(5.0) as store:
            assert graph(store) == first
        # Killed, and away for good.
        running = pool.submit(job, "state2", 2.0)
        in_the_middle(opened, running, 2)
        os.kill(local_neo4j.start(folder).pid, signal.SIGKILL)
        with pytest.raises(StoreUnreachableError, match="no Neo4j answers") as caught:
            running.result(timeout=120)
        assert "run this again" in caught.value.hint
    with pytest.raises(StoreUnreachableError):
        job("state2", 1.0)
    local_neo4j.start(folder, heap="512m")
    with opened(5.0) as store:
        assert graph(store) != both
        assert resume(store, Archive(archive), threads=1).applied.jobs == [2]
        assert graph(store) == both
        assert [e["state"] for e in Journal(store).entries()] == ["done", "done"]
    assert job("state2", 5.0).state == "unchanged"


def in_the_middle(opened: Callable[[float], Neo4jStore], running: Future[JobReport], number: int) -> None:
    """Returns as soon as a job has begun to write."""
    with opened(5.0) as store:
        while not any(e["job_number"] == number for e in Journal(store).entries()):
            assert not running.done(), running.result()
            time.sleep(0.02)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A limit on the size of files, which meets writers just where a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        # What is captured of stderr is a file too.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def odd_files(root: Path) -> None:
    """Beside the shop's files: rows whose ends are missing, to be rejected and to be made."""
    write_rows(
        root / "orders" / "apr.csv",
        ORDERS,
        ([f"x{n}", "ann", f"none{n}", day(n % 90), 1, 1] for n in range(3000)),
    )
    write_rows(root / "clicks" / "apr.csv", CLICKS, ([f"v{n}", f"s{n}", day(n % 90)] for n in range(3000)))


@pytest.mark.parametrize("kind", ["ladybug", "neo4j"])
def test_a_full_disk_at_any_size_loses_nothing_and_the_same_job_goes_on(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    write_states(tmp_path)
    odd_files(tmp_path / "state2")
    options: dict[str, Any] = {"max_reject_share": 0.5, "rejects_path": tmp_path / "rejects.csv"}
    url, password = target(kind, request, tmp_path)
    archive = tmp_path / "archive"
    with open_store(url, password=password) as store:
        ingest(store, tmp_path / "state1", archive)
        held = graph(store)
        full: Counter[str] = Counter()
        size, done = 100, False
        while not done:
            before = Archive(archive).numbers()
            with files_up_to(size):
                try:
                    ingest(store, tmp_path / "state2", archive, **options)
                    done = True
                except DiskError:
                    full["writing" if len(Archive(archive).numbers()) == 2 else "reading"] += 1
            assert Archive(archive).unfinished() == []
            assert Archive(archive).numbers()[: len(before)] == before
            assert done or graph(store) == held
            assert list(archive.glob("tmp-*")) == []
            size = size * 5 // 3
        assert len(Archive(archive).numbers()) == 2
        print(f"{kind}: full disks survived: {dict(full)}")
        assert full["reading"] >= 5
        assert full["writing"] >= (1 if kind == "ladybug" else 0)
        with MemoryStore() as memory:
            ingest(memory, tmp_path / "state1", tmp_path / "other")
            ingest(memory, tmp_path / "state2", tmp_path / "other", **options)
            assert graph(store) == graph(memory)
        assert len(options["rejects_path"].read_text().splitlines()) == 3001


def test_a_full_disk_ends_the_command_with_one_message_and_exit_code_2(tmp_path: Path) -> None:
    write_state(tmp_path / "files", 1)
    (tmp_path / "shop.yaml").write_text(SHOP)
    command = [*COMMAND, "ingest", "run", "shop.yaml", "files"]
    command += ["--store", "ladybug:db", "--rejects", "rejects.csv"]

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with LadybugStore(tmp_path / "db"):
        pass
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limited)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "free some space" in ended.stderr
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    with LadybugStore(tmp_path / "db") as store, MemoryStore() as memory:
        ingest(memory, tmp_path / "files", tmp_path / "archive", schema=load_schema())
        assert graph(store) == graph(memory)


def test_a_wrong_password_is_refused_before_anything_is_read(neo4j_server: Server, tmp_path: Path) -> None:
    write_state(tmp_path / "files", 1)
    (tmp_path / "shop.yaml").write_text(SHOP)
    with pytest.raises(StoreAuthError):
        open_store(neo4j_server.url, password="not-the-secret")
    command = [*COMMAND, "ingest", "run", "shop.yaml", "files"]
    command += ["--store", neo4j_server.url, "--archive", "archive"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"KGDISTILL_NEO4J_PASSWORD": "not-the-secret"},
    )
    assert ended.returncode == 2
    assert "refused the user or password" in ended.stderr
    assert "not-the-secret" not in ended.stderr + ended.stdout
    assert not list(tmp_path.glob("archive/jobs/*"))


@pytest.mark.parametrize("kind", ["ladybug", "neo4j"])
def test_of_two_jobs_at_once_the_second_is_refused_or_waits(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    write_states(tmp_path)
    url, password = target(kind, request, tmp_path)
    started = processes().Event()
    first = processes().Process(target=run_both_states, args=(url, password, str(tmp_path), started))
    first.start()
    assert started.wait(60)
    while not (tmp_path / "archive" / "jobs").exists():
        time.sleep(0.005)
    with (
        pytest.raises(StoreLockedError, match=f"process {first.pid}") as caught,
        open_store(url, password=password) as store,
    ):
        ingest(store, tmp_path / "files", tmp_path / "archive")
    assert first.is_alive()
    assert "wait" in caught.value.hint
    with open_store(url, password=password, wait_s=120) as store:
        # Whatever state the files are in by then.
        ingest(store, tmp_path / "files", tmp_path / "archive", wait_s=120.0)
        first.join(60)
        assert first.exitcode == 0
        assert [e["job_number"] for e in Journal(store).entries()] == [1, 2]
        with MemoryStore() as memory:
            for state in (1, 2):
                ingest(memory, tmp_path / f"state{state}", tmp_path / "other")
            assert graph(store) == graph(memory)


def test_two_archives_that_meet_an_empty_store_at_once_are_not_mixed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    write_state(tmp_path / "files", 1)
    url, password = target("neo4j", request, tmp_path)
    mine, other = Archive(tmp_path / "mine"), Archive(tmp_path / "other")

    def second() -> None:
        with open_store(url, password=password) as store:
            ingest(store, tmp_path / "files", other.folder, wait_s=60.0)

    with open_store(url, password=password) as store, ThreadPoolExecutor(1) as pool:
        with store.changes():
            running = pool.submit(second)
            while not other.numbers() and not running.done():
                time.sleep(0.02)
            store.apply_schema(with_journal(SCHEMA))
            ingest_journal(store, mine)
        with pytest.raises(StoreError, match="was filled from the archive"):
            running.result(timeout=120)
        assert store.read_nodes("User").num_rows == 0


def ingest_journal(store: GraphStore, archive: Archive) -> None:
    """What a store's journal says when a job of an archive has begun to write to it."""
    record = JobRecord(
        number=1, mapping="m", started_at=utc_now(), sealed_at=utc_now(), sources=(), schema=SCHEMA
    )
    Journal(store).write(archive, [record], "applying")


SALES = """
version: 1
name: sales
sources:
  sales:
    files: SUFFIX
    nodes:
      - {label: User, key: user}
      - {label: Product, key: product}
    relationships:
      - type: BOUGHT
        from: {User: user}
        to: {Product: product}
        properties: {at: at, quantity: quantity, amount: amount}
"""


def sales(count: int, **changes: Any) -> pa.Table:
    """Rows of the sales above; a change of None leaves a column out."""
    at = pa.array([START + timedelta(hours=n) for n in range(count)], pa.timestamp("us"))
    columns: dict[str, Any] = {
        "user": pa.array([f"u{n % 50}" for n in range(count)]),
        "product": pa.array([f"p{n % 70}" for n in range(count)]),
        "at": at,
        "quantity": pa.array([n % 5 for n in range(count)]),
        "amount": pa.array([n / 4 for n in range(count)]),
    } | changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


def refused(store: GraphStore, tmp_path: Path, files: str, match: str) -> None:
    """The job over these files fails with one clear error, and nothing but its failure is kept."""
    mapping = parse_mapping(SALES.replace("SUFFIX", files))
    before = Archive(tmp_path / "archive")
    numbers, failures = before.numbers(), len(before.failures())
    held = graph(store) if numbers else None
    with pytest.raises(InputError, match=match) as caught:
        ingest(store, tmp_path, tmp_path / "archive", mapping=mapping)
    after = Archive(tmp_path / "archive")
    assert (after.numbers(), after.unfinished()) == (numbers, [])
    assert len(after.failures()) == failures + 1
    assert after.failures()[-1].message == str(caught.value).splitlines()[0][:500]
    assert held is None or graph(store) == held


@pytest.mark.parametrize("kind", ["ladybug", "neo4j"])
def test_files_that_are_cut_off_or_change_their_schema_halfway_are_refused_whole(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url, password = target(kind, request, tmp_path)
    with open_store(url, password=password) as store:
        text = io.BytesIO()
        pacsv.write_csv(sales(5000), text)
        whole = gzip.compress(text.getvalue())
        (tmp_path / "cut").mkdir()
        (tmp_path / "cut" / "a.csv.gz").write_bytes(whole)
        (tmp_path / "cut" / "b.csv.gz").write_bytes(whole[: len(whole) * 2 // 3])
        refused(store, tmp_path, "cut/*.csv.gz", r"b\.csv\.gz.*(cut off|damaged)")

        gone, other, odd = (tmp_path / name for name in ("gone", "other", "odd"))
        for folder, table in (
            (gone, sales(100, amount=None)),
            (other, sales(100, at=pa.array([[n] for n in range(100)]))),
            (odd, sales(100, amount=pa.array([str(n) if n % 5 else "free" for n in range(100)]))),
        ):
            folder.mkdir()
            pq.write_table(sales(1000), folder / "part-0.parquet")
            pq.write_table(table, folder / "part-1.parquet")
        refused(store, tmp_path, "gone/*.parquet", r"part-1\.parquet.*'amount'")
        refused(store, tmp_path, "other/*.parquet", "part-1")
        # A column that has become text is read value by value.
        refused(store, tmp_path, "odd/*.parquet", "20 of 1,100 rows do not fit")
        report = ingest(
            store,
            tmp_path,
            tmp_path / "archive",
            mapping=parse_mapping(SALES.replace("SUFFIX", "odd/*.parquet")),
            max_reject_share=0.05,
        )
        assert (report.accepted, report.rejected) == (1080, 20)
        assert sum(store.read_relationships(BOUGHT, ["count"])["count"].to_pylist()) == 1080
        # And when it is whole again, the same job goes through.
        (tmp_path / "cut" / "b.csv.gz").write_bytes(whole)
        mapping = parse_mapping(SALES.replace("SUFFIX", "cut/*.csv.gz"))
        assert ingest(store, tmp_path, tmp_path / "archive", mapping=mapping).accepted == 10_000
