"""The embedded store when things go wrong: other processes, kills, wrong or damaged files, a full disk."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from kgdistill.errors import (
    DiskError,
    QueryError,
    SchemaError,
    StoreError,
    StoreLockedError,
    StoreSchemaMismatchError,
)
from kgdistill.store import LadybugStore, MemoryStore, Schema, open_store

BOUGHT = ("User", "BOUGHT", "Product")
ROWS = 100_000


def schema(count: str = "int64") -> Schema:
    return Schema.model_validate(
        {
            "version": 1,
            "nodes": {
                "User": {"key": "user_id", "name": "user_id"},
                "Product": {"key": "product_id", "name": "product_id", "properties": {"title": "string"}},
            },
            "relationships": {
                "BOUGHT": {
                    "kind": "fact",
                    "endpoints": [["User", "Product"]],
                    "properties": {"count": count},
                }
            },
        }
    )


def fill(store: LadybugStore, products: int = 3) -> None:
    store.apply_schema(schema())
    store.write_nodes("User", pa.table({"user_id": ["a", "b"]}))
    store.write_nodes("Product", pa.table({"product_id": [str(i) for i in range(products)]}))
    store.write_relationships(BOUGHT, pa.table({"source": ["a"], "target": ["0"], "count": [1]}))


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    holder = python(
        """
        import sys
        from kgdistill.store import LadybugStore
        with LadybugStore(sys.argv[1]):
            print("open", flush=True)
            sys.stdin.readline()
        """,
        str(folder),
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=str(holder.pid)) as caught:
            LadybugStore(folder)
        assert caught.value.hint
        holder.communicate("\n")
    assert holder.returncode == 0
    LadybugStore(folder).close()


def test_the_store_stays_held_while_a_query_has_its_file(tmp_path: Path) -> None:
    code = """
        import sys
        from kgdistill.errors import StoreLockedError
        from kgdistill.store import LadybugStore
        try:
            LadybugStore(sys.argv[1])
        except StoreLockedError:
            print("locked")
        """
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
        assert store.query("MATCH (u:User) RETURN count(*) AS n").to_pylist() == [{"n": 2}]
        assert python(code, str(tmp_path / "store")).communicate()[0] == "locked\n"
        # And the other way: what is written after a query is seen by the next one.
        store.write_nodes("User", pa.table({"user_id": ["c"]}))
        assert store.query("MATCH (u:User {user_id: 'c'}) RETURN count(*) AS n").to_pylist() == [{"n": 1}]


def test_two_stores_of_one_process_share_one_database(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as first:
        fill(first)
        with LadybugStore(tmp_path / "store") as second:
            second.write_nodes("User", pa.table({"user_id": ["c"]}))
        assert first.read_nodes("User").num_rows == 3


def test_what_is_stored_is_there_after_reopening_without_naming_the_schema(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
    with open_store(f"ladybug:{tmp_path / 'store'}") as store:
        assert store.read_relationships(BOUGHT).to_pylist() == [{"source": "a", "target": "0", "count": 1}]


WRITER = """
    import sys
    import pyarrow as pa
    from kgdistill.store import LadybugStore

    edge, rows = ("User", "BOUGHT", "Product"), int(sys.argv[2])
    store = LadybugStore(sys.argv[1])
    keys = [str(i) for i in range(rows)]
    print("writing", flush=True)
    store.write_nodes("Product", pa.table({"product_id": keys, "title": ["new"] * rows}))
    print("nodes", flush=True)
    store.write_relationships(edge, pa.table({"source": ["a"] * rows, "target": keys, "count": [2] * rows}))
    print("edges", flush=True)
    sys.stdin.readline()
    """


@pytest.mark.parametrize("moment", [("writing", 0.05), ("writing", 0.3), ("nodes", 0.2), ("edges", 0.0)])
def test_after_a_kill_in_the_middle_of_a_write_the_same_write_completes_it(
    tmp_path: Path, moment: tuple[str, float]
) -> None:
    word, delay = moment
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
    done = []
    with python(WRITER, str(tmp_path / "store"), str(ROWS)) as writer:
        assert writer.stdout is not None
        while not done or done[-1] != word:
            done.append(writer.stdout.readline().strip())
        try:
            writer.wait(delay)
        except subprocess.TimeoutExpired:
            writer.kill()
        done += writer.stdout.read().split()
    assert writer.returncode == -signal.SIGKILL
    with LadybugStore(tmp_path / "store") as store:
        nodes = store.read_nodes("Product")
        new = sum(title == "new" for title in nodes["title"].to_pylist())
        edges = store.read_relationships(BOUGHT)
        # Each write is there as a whole or not at all, whatever the engine's log holds.
        assert (nodes.num_rows, new) in ((3, 0), (ROWS, ROWS))
        assert edges.num_rows in (1, ROWS)
        # What was acknowledged is kept.
        assert new == ROWS or "nodes" not in done
        assert edges.num_rows == ROWS or "edges" not in done
        # And the same write again completes it.
        keys = [str(i) for i in range(ROWS)]
        store.write_nodes("Product", pa.table({"product_id": keys, "title": ["new"] * ROWS}))
        table = pa.table({"source": ["a"] * ROWS, "target": keys, "count": [2] * ROWS})
        store.write_relationships(BOUGHT, table)
        assert sorted(store.read_nodes("Product")["product_id"].to_pylist()) == sorted(keys)
        assert set(store.read_nodes("Product")["title"].to_pylist()) == {"new"}
        assert store.read_relationships(BOUGHT)["count"].to_pylist() == [2] * ROWS


def test_an_old_store_with_another_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
    with LadybugStore(tmp_path / "store") as store:
        with pytest.raises(StoreSchemaMismatchError, match=r"BOUGHT\.count is int64 there") as caught:
            store.apply_schema(schema(count="double"))
        assert "new store" in caught.value.hint
        store.apply_schema(schema())
        assert store.read_relationships(BOUGHT).num_rows == 1


def test_a_file_a_foreign_folder_and_a_damaged_store_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(StoreError, match="is a file"):
        LadybugStore(file)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        LadybugStore(foreign)
    assert [p.name for p in foreign.iterdir()] == ["thesis.tex"]
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "graph.lbug").write_bytes(b"not a database, whatever its name says" * 1000)
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        LadybugStore(damaged)
    assert "store rebuild" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be used"):
        LadybugStore(tmp_path / "store")


@pytest.mark.parametrize("limit", [300_000, 5_000_000])
def test_a_full_disk_is_said_and_the_store_reopens_with_all_of_the_write_or_nothing(
    tmp_path: Path, limit: int
) -> None:
    rows = 50_000
    titles = [f"{i}" * 50 for i in range(rows)]
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
        # A limit on the size of a file meets the engine just where a full disk would.
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(DiskError, match="the disk is full"):
                store.write_nodes("Product", pa.table({"product_id": titles, "title": titles}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert store.read_nodes("Product").num_rows in (3, 3 + rows)
        assert store.read_relationships(BOUGHT).num_rows == 1
        # With space again the same write goes through.
        store.write_nodes("Product", pa.table({"product_id": titles, "title": titles}))
    with LadybugStore(tmp_path / "store") as store:
        assert store.read_nodes("Product").num_rows == 3 + rows


def test_a_query_that_never_looks_at_the_clock_is_killed(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
        with pytest.raises(QueryError, match=r"0\.5 s"):
            store.query("RETURN " + "[" * 12_000 + "]" * 12_000 + " AS x", timeout_s=0.5)
        assert store.query("MATCH (u:User) RETURN count(*) AS n").to_pylist() == [{"n": 2}]
        assert store.read_nodes("User").num_rows == 2


def test_rewriting_most_of_a_large_table_keeps_what_the_new_rows_leave_out() -> None:
    rows = 60_000
    keys = [str(i) for i in range(rows + 1)]
    with MemoryStore() as store:
        fill(store, rows + 1)
        table = pa.table({"source": ["b"] * (rows + 1), "target": keys, "count": [1] * (rows + 1)})
        store.write_relationships(BOUGHT, table)
        store.write_relationships(BOUGHT, table.slice(0, rows).set_column(2, "count", [[2] * rows]))
        counts = store.read_relationships(BOUGHT)["count"].to_pylist()
        assert (counts.count(1), counts.count(2)) == (2, rows)


def state(store: LadybugStore) -> tuple[list[str], list[str]]:
    nodes, edges = store.read_nodes("Product"), store.read_relationships(BOUGHT)
    return sorted(map(str, nodes.to_pylist())), sorted(map(str, edges.to_pylist()))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


CHANGES = """
    import sys
    import pyarrow as pa
    from kgdistill.store import LadybugStore

    edge, rows = ("User", "BOUGHT", "Product"), int(sys.argv[2])
    store = LadybugStore(sys.argv[1])
    keys = [str(i) for i in range(rows)]
    print("start", flush=True)
    with store.changes():
        store.write_nodes("Product", pa.table({"product_id": keys, "title": ["new"] * rows}))
        bought = {"source": ["a"] * rows, "target": keys, "count": [2] * rows}
        store.write_relationships(edge, pa.table(bought))
        store.query("MATCH (u:User) RETURN count(*) AS n")
        store.delete_nodes("Product", pa.array(keys[: rows // 10]))
        store.write_relationships(
            edge,
            pa.table({"source": ["b"] * 100, "target": keys[-100:], "count": [7] * 100}),
            replace={"count": 1},
        )
    print("kept", flush=True)
    """


def test_a_block_of_changes_killed_anywhere_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    rows, folder = 50_000, tmp_path / "store"
    with LadybugStore(folder) as store:
        fill(store, rows // 2)
        keys = [str(i) for i in range(rows // 2)]
        store.write_relationships(
            BOUGHT, pa.table({"source": ["b"] * len(keys), "target": keys, "count": [1] * len(keys)})
        )
        before = state(store)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    with python(CHANGES, str(whole), str(rows)) as job:
        assert job.stdout is not None
        job.stdout.readline()
        started = time.monotonic()
        assert job.stdout.readline() == "kept\n"
        took = time.monotonic() - started
    with LadybugStore(whole) as store:
        after = state(store)
    assert after != before
    dice, seen = random.Random(4), set()
    for _ in range(10):
        at = tmp_path / "at"
        shutil.copytree(folder, at)
        with python(CHANGES, str(at), str(rows)) as job:
            assert job.stdout is not None
            job.stdout.readline()
            try:
                job.wait(dice.uniform(0, took * 1.05))
            except subprocess.TimeoutExpired:
                job.kill()
            said = job.stdout.read()
        with LadybugStore(at) as store:
            held = state(store)
            assert files(at) == {"graph.lbug", "lock"}
        assert held in (before, after)
        assert held == after or "kept" not in said
        seen.add(held == after)
        shutil.rmtree(at)
    assert False in seen


@pytest.mark.parametrize("room", [0.5, 1.2, 2.0])
def test_a_disk_that_fills_up_inside_a_block_of_changes_leaves_what_was_there(
    tmp_path: Path, room: float
) -> None:
    folder = tmp_path / "store"
    with LadybugStore(folder) as store:
        fill(store, 20_000)
        before = state(store)
    size = (folder / "graph.lbug").stat().st_size
    titles = [f"{i}" * 50 for i in range(50_000)]
    with LadybugStore(folder) as store:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size * room), hard))
        try:
            with pytest.raises(DiskError), store.changes():  # noqa: PT012
                store.delete_nodes("Product", pa.array(["1"]))
                store.write_nodes("Product", pa.table({"product_id": titles, "title": titles}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert state(store) == before
        assert "next.lbug" not in files(folder)
        with store.changes():
            store.write_nodes("Product", pa.table({"product_id": titles, "title": titles}))
    with LadybugStore(folder) as store:
        assert store.read_nodes("Product").num_rows == 70_000


def test_a_block_that_raises_leaves_the_store_and_its_schema_as_they_were(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
        before = state(store)
        late = {"version": 1, "nodes": {"Late": {"key": "late_id", "name": "late_id"}}, "relationships": {}}
        with pytest.raises(ZeroDivisionError), store.changes():  # noqa: PT012
            store.delete_nodes("Product", pa.array(["0"]))
            store.apply_schema(Schema.model_validate(late))
            raise ZeroDivisionError
        assert state(store) == before
        assert store.query("MATCH (p:Product) RETURN count(*) AS n").to_pylist() == [{"n": 3}]
        with pytest.raises(SchemaError, match="Late"):
            store.read_nodes("Late")


def test_opening_waits_for_another_process_as_long_as_it_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    holder = python(
        """
        import sys
        from kgdistill.store import LadybugStore
        with LadybugStore(sys.argv[1]) as store, store.changes():
            print("open", flush=True)
            sys.stdin.readline()
        """,
        str(folder),
    )
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreLockedError, match=str(holder.pid)):
            open_store(f"ladybug:{folder}", wait_s=0.2)
        # The block in the other process is not disturbed by ours looking in.
        assert "next.lbug" in files(folder)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(open_store, f"ladybug:{folder}", wait_s=30.0)
            holder.communicate("\n")
            waiting.result().close()
    assert holder.returncode == 0


LOGGED = """
    import os
    import sys
    import ladybug
    connection = ladybug.Connection(ladybug.Database(sys.argv[1]))
    connection.execute("UNWIND range(0, 999) AS i CREATE (:Product {product_id: 'new' + CAST(i AS STRING)})")
    os._exit(0)
    """


def logged_store(folder: Path) -> Path:
    """A store with a log beside its file, as a version left it that wrote to the file itself; the log."""
    with LadybugStore(folder) as store:
        fill(store)
    with python(LOGGED, str(folder / "graph.lbug")) as writer:
        assert writer.wait() == 0
    log = folder / "graph.lbug.wal"
    assert log.stat().st_size > 1000
    return log


def test_a_log_beside_the_file_is_applied(tmp_path: Path) -> None:
    log = logged_store(tmp_path / "store")
    with LadybugStore(tmp_path / "store") as store:
        assert store.read_nodes("Product").num_rows == 1003
    assert not log.exists()
    assert files(tmp_path / "store") == {"graph.lbug", "lock"}


def test_a_log_that_cannot_be_applied_is_kept_aside_and_costs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "store"
    log = logged_store(folder)
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 64] = b"\xff" * 64
    log.write_bytes(damaged)
    with LadybugStore(folder) as store:
        said = capsys.readouterr().err
        assert store.read_nodes("Product").num_rows == 3
        assert store.read_relationships(BOUGHT).num_rows == 1
    kept = [path for path in folder.iterdir() if path.name.startswith("unread-")]
    assert [path.read_bytes() for path in kept] == [bytes(damaged)]
    assert kept[0].name in said
    with LadybugStore(folder) as store:
        store.write_nodes("User", pa.table({"user_id": ["c"]}))
    assert capsys.readouterr().err == ""


def test_a_write_leaves_the_file_alone_until_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with LadybugStore(folder) as store:
        fill(store)
        inode, content = (folder / "graph.lbug").stat().st_ino, (folder / "graph.lbug").read_bytes()
        with pytest.raises(SchemaError):
            store.write_relationships(BOUGHT, pa.table({"source": ["a"], "target": ["no"], "count": [1]}))
        assert store.read_relationships(BOUGHT).num_rows == 1
        store.query("MATCH (u:User) RETURN count(*) AS n")
        assert (folder / "graph.lbug").stat().st_ino == inode
        assert (folder / "graph.lbug").read_bytes() == content
        for write in (
            lambda: store.write_nodes("User", pa.table({"user_id": ["c"]})),
            lambda: store.delete_nodes("User", pa.array(["c"])),
            lambda: store.write_relationships(BOUGHT, pa.table({"source": ["b"], "target": ["0"]})),
            lambda: store.delete_relationships(BOUGHT, pa.table({"source": ["b"], "target": ["0"]})),
            lambda: store.apply_schema(schema()),
        ):
            inode = (folder / "graph.lbug").stat().st_ino
            write()
            # Another file has taken its place: nothing was ever written into the former.
            assert (folder / "graph.lbug").stat().st_ino != inode
            assert files(folder) == {"graph.lbug", "lock"}


LIMITED = """
    import resource
    import sys
    import pyarrow as pa
    from kgdistill.errors import StoreError
    from kgdistill.store import LadybugStore

    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        with LadybugStore(sys.argv[1]) as store:
            store.write_nodes("User", pa.table({"user_id": [str(i) for i in range(20_000)]}))
            print(store.query("MATCH (u:User) RETURN count(*) AS n").to_pylist())
    except StoreError as error:
        print(type(error).__name__, error)
    """


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_where_virtual_memory_is_limited_less_is_reserved_and_too_little_is_said(tmp_path: Path) -> None:
    with LadybugStore(tmp_path / "store") as store:
        fill(store)
    before = (tmp_path / "store" / "graph.lbug").read_bytes()
    with python(LIMITED, str(tmp_path / "store"), str(700 << 20)) as job:
        said = job.communicate()[0]
    assert said.startswith("StoreError ")
    assert "its memory cannot be reserved" in said
    assert "ulimit -v" in said
    assert (tmp_path / "store" / "graph.lbug").read_bytes() == before
    with python(LIMITED, str(tmp_path / "store"), str(4_000_000 << 10)) as job:
        assert job.communicate()[0] == "[{'n': 20002}]\n"


@pytest.mark.parametrize("rebuild_rows", [0, 50_000])
@pytest.mark.parametrize(("share", "single"), [(1, 2_000), (8, 0), (8, 2_000), (10**9, 0)])
def test_a_small_write_to_a_large_type_changes_what_it_names_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, share: int, single: int, rebuild_rows: int
) -> None:
    monkeypatch.setattr("kgdistill.store.ladybug.store._SINGLE_ROWS", single)
    monkeypatch.setattr("kgdistill.store.ladybug.store._LOOKUP_SHARE", share)
    monkeypatch.setattr("kgdistill.store.ladybug.store._REBUILD_ROWS", rebuild_rows)
    whole = {
        "version": 1,
        "nodes": {
            "User": {"key": "user_id", "name": "user_id"},
            "Product": {"key": "product_id", "name": "product_id"},
        },
        "relationships": {
            "RATED": {
                "kind": "fact",
                "endpoints": [["User", "Product"]],
                "identity": ["run"],
                "properties": {
                    "run": {"type": "string", "required": True},
                    "stars": "int64",
                    "note": "string",
                },
            }
        },
    }
    edge = ("User", "RATED", "Product")
    held = {
        (f"u{u}", f"p{p}", run): (u + p, "old") for u in range(20) for p in range(20) for run in ("a", "b")
    }

    def table(rows: dict[tuple[str, str, str], tuple[int, str]], note: bool = True) -> pa.Table:
        columns = {
            "source": [k[0] for k in rows],
            "target": [k[1] for k in rows],
            "run": [k[2] for k in rows],
        }
        given = {"stars": [v[0] for v in rows.values()], "note": [v[1] for v in rows.values()]}
        return pa.table({**columns, **(given if note else {"stars": given["stars"]})})

    with MemoryStore() as store:
        store.apply_schema(Schema.model_validate(whole))
        store.write_nodes("User", pa.table({"user_id": [f"u{u}" for u in range(20)]}))
        store.write_nodes("Product", pa.table({"product_id": [f"p{p}" for p in range(20)]}))
        store.write_relationships(edge, table(held))
        # Changed, as it was, and new ones, between pairs that hold others too; the note is not named.
        given = {(f"u{n}", f"p{n}", run): (99, "") for n in (1, 6) for run in ("a", "b")}
        given |= {("u2", "p2", "b"): (4, ""), ("u3", "p3", "c"): (7, "")}
        store.write_relationships(edge, table(given, note=False))
        for key, (stars, _) in given.items():
            held[key] = (stars, held[key][1] if key in held else "")
        gone = [("u4", "p4", "a"), ("u5", "p5", "no such run")]
        rows = dict.fromkeys(gone, (0, ""))
        assert store.delete_relationships(edge, table(rows).select(["source", "target", "run"])) == 1
        del held[gone[0]]
        assert store.delete_relationships(edge, table({}).select(["source", "target", "run"]).cast(
            pa.schema([(name, pa.string()) for name in ("source", "target", "run")]))) == 0  # fmt: skip
        found = store.read_relationships(edge).to_pylist()
    assert {(r["source"], r["target"], r["run"]): (r["stars"], r["note"] or "") for r in found} == held
    assert len(found) == len(held)
