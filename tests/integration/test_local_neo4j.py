"""The local Neo4j: started, found, refused, stopped, killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from kgdistill.errors import InputError, StoreError, StoreUnreachableError, ToolMissingError
from kgdistill.store import load_schema
from kgdistill.store.neo4j import local as local_neo4j
from kgdistill.store.neo4j.local import LocalServer
from kgdistill.store.neo4j.store import Neo4jStore

MADE_BY = ("Product", "MADE_BY", "Brand")


@pytest.fixture(scope="module")
def tools() -> None:
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        message = f"{' and '.join(missing)} not on the path"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="module")
def folder(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("local") / "a graph"
    yield folder
    local_neo4j.stop(folder)


@pytest.fixture
def server(folder: Path) -> LocalServer:
    return local_neo4j.start(folder, heap="512m")


def connect(server: LocalServer, retry_s: float = 60.0) -> Neo4jStore:
    return Neo4jStore(server.url, user=server.user, password=server.password(), retry_s=retry_s)


def test_two_starts_at_once_give_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(local_neo4j.start, folder, heap="512m") for _ in range(2)]
    found = [start.result() for start in starts]
    assert found[0].pid == found[1].pid
    assert sorted(s.already_running for s in found) == [False, True]
    assert local_neo4j.status(folder).server == found[0 if not found[0].already_running else 1]


def test_the_password_is_in_its_own_closed_file_and_nowhere_else(server: LocalServer) -> None:
    password = server.password()
    assert len(password) >= 20
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
    assert password not in repr(server) + " ".join(psutil.Process(server.pid).cmdline())
    for file in server.data_dir.rglob("*"):
        if file.is_file() and file != server.password_file:
            assert password.encode() not in file.read_bytes(), file


def test_it_listens_on_the_loopback_only(server: LocalServer) -> None:
    connections = psutil.Process(server.pid).net_connections("inet")
    listening = {c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_another_port_is_refused_while_it_runs(server: LocalServer, folder: Path) -> None:
    with pytest.raises(StoreError, match="already runs with Bolt port"):
        local_neo4j.start(folder, bolt_port=1)
    assert local_neo4j.status(folder).state == "running"


def test_a_server_killed_in_the_middle_of_a_write_is_stale_and_the_write_completes_after_a_restart(
    server: LocalServer, folder: Path
) -> None:
    rows = 20_000
    made = pa.table({"source": [f"p{i}" for i in range(rows)], "target": [f"b{i % 7}" for i in range(rows)]})
    failures: list[BaseException] = []
    with connect(server, retry_s=180.0) as store:
        store.apply_schema(load_schema())
        store.write_nodes("Product", pa.table({"product_id": made.column("source")}))
        store.write_nodes("Brand", pa.table({"brand_id": [f"b{i}" for i in range(7)]}))

        def write() -> None:
            try:
                for start in range(0, rows, 500):
                    store.write_relationships(MADE_BY, made.slice(start, 500))
            except BaseException as error:
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        with connect(server) as watcher:
            while watcher.read_relationships(MADE_BY).num_rows == 0:
                time.sleep(0.05)
        os.kill(server.pid, signal.SIGKILL)
        while local_neo4j.status(folder).state == "running":
            time.sleep(0.05)
        assert local_neo4j.status(folder) == local_neo4j.LocalStatus("stale", None)
        assert writer.is_alive(), "the write was over before the server died: the test shows nothing"
        again = local_neo4j.start(folder, heap="512m")
        writer.join()
        assert failures == []
        assert (again.url, again.already_running) == (server.url, False)
        assert again.pid != server.pid
        order = [("source", "ascending")]
        assert store.read_relationships(MADE_BY).sort_by(order).equals(made.sort_by(order))


def test_a_server_that_is_gone_for_good_is_named_and_stopping_twice_is_harmless(
    server: LocalServer, folder: Path
) -> None:
    with connect(server, retry_s=1.0) as store:
        store.apply_schema(load_schema())
        report = local_neo4j.stop(folder)
        assert (report.was_running, report.pid) == (True, server.pid)
        with pytest.raises(StoreUnreachableError, match="no Neo4j answers"):
            store.write_nodes("Brand", pa.table({"brand_id": ["b"]}))
    assert local_neo4j.status(folder) == local_neo4j.LocalStatus("stopped", None)
    assert not local_neo4j.stop(folder).was_running


def test_another_process_with_the_recorded_number_is_not_taken_for_the_server(folder: Path) -> None:
    local_neo4j.stop(folder)
    state = json.loads((folder / "server.json").read_text())
    (folder / "server.json").write_text(json.dumps({**state, "pid": os.getpid()}))
    assert local_neo4j.status(folder).state == "stale"
    assert not local_neo4j.stop(folder).was_running


def test_a_server_that_cannot_come_up_is_reported_with_the_end_of_its_log(
    tools: None, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"ended while it was starting(.|\n)*heap"):
        local_neo4j.start(tmp_path / "graph", heap="1m")
    assert local_neo4j.status(tmp_path / "graph").state == "stopped"


def test_without_java_the_error_names_it_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match=r"Java 17(.|\n)*apt-get install openjdk-17"):
        local_neo4j.start(tmp_path / "graph")


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="is Java 11"):
        local_neo4j.start(tmp_path / "graph")


def test_without_maven_and_before_the_first_fetch_the_error_names_it(
    tools: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(shutil.which("java") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ToolMissingError, match="Maven is not on the path"):
        local_neo4j.start(tmp_path / "graph")


def test_processes_that_meet_in_an_empty_folder_all_take_it_for_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with ThreadPoolExecutor(8) as pool:
        for turn in range(40):
            starts = [pool.submit(local_neo4j.start, tmp_path / str(turn)) for _ in range(8)]
            # Each gets as far as looking for Java.
            assert {type(start.exception()) for start in starts} == {ToolMissingError}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        local_neo4j.start(tmp_path)
    with pytest.raises(InputError, match="no folder of a local Neo4j"):
        local_neo4j.status(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]
