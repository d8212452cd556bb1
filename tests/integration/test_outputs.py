"""What runs and derivations wrote is kept in the store's archive, and comes back with it."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kgdistill.cli import main
from kgdistill.derive.also_bought import ALSO_BOUGHT, derive
from kgdistill.errors import DiskError, InputError, SchemaError, StoreError, StoreLockedError
from kgdistill.explore import NodeEmbeddings, WriteBackReport, write_back
from kgdistill.explore.writeback import ToldClass, write_classes
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import resume, run_job
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.model import type_name
from kgdistill.ingest.outputs import Outputs
from kgdistill.ingest.projection import archived_types, rebuild
from kgdistill.ingest.tables import GraphTables, ingest_tables, tables_mapping
from kgdistill.store import GraphStore, load_schema, open_store
from kgdistill.store.compare import compare
from tests.integration._stores import content, opened, small_graph

SCHEMA = load_schema()
RECOMMENDED = ("User", "RECOMMENDED", "Product")
CUT = datetime(2030, 1, 1)


@pytest.fixture(params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def shop() -> GraphTables:
    """The small graph without what is derived."""
    whole = small_graph()
    return GraphTables(whole.nodes, {edge: t for edge, t in whole.edges.items() if edge != ALSO_BOUGHT})


def fill(store: GraphStore, folder: Path) -> Archive:
    tables = shop()
    given: dict[str, pa.Table] = dict(tables.nodes)
    given |= {type_name(edge): table for edge, table in tables.edges.items()}
    run_job(store, tables_mapping(tables, SCHEMA), ".", archive=folder, schema=SCHEMA, tables=given)
    return Archive(folder)


def write(store: GraphStore, run: str, score: float, product: str = "p4") -> WriteBackReport:
    table = pa.table(
        {"user": ["ann", "bob"], "product": [product, "p4"], "rank": [1, 1], "score": [score] * 2}
    )
    vectors = np.full((2, 3), score, np.float32)
    return write_back(store, run, table, [NodeEmbeddings("Product", "student", ["p4", "p5"], vectors)])


def test_a_store_made_anew_has_what_runs_and_derivations_wrote(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    assert write(store, "one", 0.5).archive == archive.folder
    write(store, "two", 0.25)
    write(store, "two", 0.75, product="p5")
    assert derive(store, ALSO_BOUGHT, cut=CUT, min_support=1).archive == archive.folder
    held = content(store, SCHEMA)
    assert len(held["Embedding"]) == len(held[RECOMMENDED]) == 4
    assert held[ALSO_BOUGHT]
    # Of a run that wrote twice only the last counts.
    assert [(r.kind, r.name) for r in Outputs(archive).records()] == [
        ("run", "one"),
        ("run", "two"),
        ("derived", "Product-ALSO_BOUGHT-Product"),
    ]
    assert len(list((archive.folder / "outputs").iterdir())) == 3
    # From nothing, by the next job or by a rebuild; and over what somebody changed by hand.
    for make in (resume, rebuild):
        with open_store(f"ladybug:{tmp_path / make.__name__}") as other:
            make(other, archive)
            assert content(other, SCHEMA) == held
    store.delete_nodes("Embedding", store.read_nodes("Embedding", []).column(0).slice(0, 1))
    strange = {"source": ["p1"], "target": ["p6"], "support": [9], "lift": [1.0], "cut": [CUT]}
    store.write_relationships(ALSO_BOUGHT, pa.table(strange))
    with archived_types(archive) as right:
        found = compare(store, right.store, right.schema)[1]
    differing = {d.type: (d.only_left, d.only_right) for d in found}
    assert differing == {"Embedding": (0, 1), "Product-ALSO_BOUGHT-Product": (1, 0)}
    rebuild(store, archive)
    assert content(store, SCHEMA) == held


def test_classes_replace_the_same_runs_and_come_back(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    edge = ("User", "PROFILED", "Class")

    def told(run: str, **classes: str) -> WriteBackReport:
        some = [ToldClass(user, "income", name, 0.75, True) for user, name in classes.items()]
        some += [ToldClass("ann", "home", "owner", 0.5)]
        return write_classes(store, run, {edge: some})

    told("one", ann="low", bob="high")
    told("two", ann="high")
    for _ in range(2):
        report = told("one", bob="low")
    assert (report.classes, report.recommendations, report.archive) == (
        {"income": 1, "home": 1}, 0, archive.folder,
    )  # fmt: skip
    query = (
        "MATCH (u:User)-[p:PROFILED]->(c:Class) "
        "RETURN u.user_id AS user, p.run AS run, p.property AS property, c.name AS name, "
        "c.sensitive AS sensitive, p.probability AS probability ORDER BY run, property, user"
    )
    assert [tuple(row.values()) for row in store.query(query).to_pylist()] == [
        ("ann", "one", "home", "owner", False, 0.5), ("bob", "one", "income", "low", True, 0.75),
        ("ann", "two", "home", "owner", False, 0.5), ("ann", "two", "income", "high", True, 0.75),
    ]  # fmt: skip
    held = content(store, SCHEMA)
    assert len(held["Class"]) == 4  # the class that nobody has any more went
    with open_store(f"ladybug:{tmp_path / 'anew'}") as other:
        rebuild(other, archive)
        assert content(other, SCHEMA) == held
    with pytest.raises(SchemaError, match="nobody"):
        told("one", nobody="low")
    assert content(store, SCHEMA) == held
    write_classes(store, "one", {edge: []})
    assert {row["run"] for row in store.query(query).to_pylist()} == {"two"}
    assert len(content(store, SCHEMA)["Class"]) == 2


def test_what_hangs_on_nodes_that_are_gone_does_not_come_back(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    write(store, "one", 0.5, product="p6")
    gone = {"gone": {"delete": True, "nodes": [{"label": "Product", "key": "product_id"}]}}
    mapping = parse_mapping({"version": 1, "name": "gone", "sources": gone})
    tables = {"gone": pa.table({"product_id": ["p6"]})}
    run_job(store, mapping, ".", archive=archive.folder, schema=SCHEMA, tables=tables)
    assert store.read_relationships(RECOMMENDED).num_rows == 1
    with archived_types(archive) as other:
        assert compare(store, other.store, other.schema)[1] == []
    rebuild(store, archive)
    assert store.read_relationships(RECOMMENDED).num_rows == 1


def test_an_output_that_the_store_refuses_is_not_kept(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    write(store, "one", 0.5)
    held = content(store, SCHEMA)
    with pytest.raises(SchemaError, match="p99"):
        write(store, "one", 0.9, product="p99")
    # Neither type of it is there, in the store or the archive.
    assert content(store, SCHEMA) == held
    assert [record.number for record in Outputs(archive).records()] == [1]
    assert [path.name for path in (archive.folder / "outputs").iterdir()] == ["000001"]


@pytest.mark.parametrize("store", ["ladybug"], indirect=True)
def test_another_archive_or_none_is_said(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    table = pa.table({"user": ["ann"], "product": ["p4"], "rank": [1], "score": [1.0]})
    with pytest.raises(InputError, match="there is no archive here"):
        write_back(store, "one", table, archive=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with open_store(f"ladybug:{tmp_path / 'other'}") as other:
        foreign = fill(other, tmp_path / "foreign")
    with pytest.raises(StoreError, match="was filled from the archive"):
        write_back(store, "one", table, archive=foreign.folder)
    with archive.lock(), pytest.raises(StoreLockedError):
        write_back(store, "one", table)
    assert store.read_relationships(RECOMMENDED).num_rows == 0
    shutil.rmtree(archive.folder)
    assert write_back(store, "one", table).archive is None
    with open_store("memory:") as bare:
        ingest_tables(bare, SCHEMA, shop())
        assert write_back(bare, "one", table).archive is None


@pytest.mark.parametrize("store", ["ladybug"], indirect=True)
def test_a_damaged_output_is_told_by_its_file(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    write(store, "one", 0.5)
    file = archive.folder / "outputs" / "000001" / "Embedding.parquet"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    held = content(store, SCHEMA)
    with pytest.raises(InputError, match=r"Embedding\.parquet: is damaged\n.*write the run back"):
        rebuild(store, archive)
    assert content(store, SCHEMA) == held
    write(store, "one", 0.5)
    held = content(store, SCHEMA)
    rebuild(store, archive)
    assert content(store, SCHEMA) == held


@pytest.mark.parametrize("store", ["ladybug"], indirect=True)
def test_where_the_archive_cannot_be_written_nothing_is(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    (archive.folder / "outputs").write_text("in the way")
    with pytest.raises(DiskError):
        write(store, "one", 0.5)
    assert store.read_relationships(RECOMMENDED).num_rows == 0


@pytest.mark.parametrize("store", ["ladybug"], indirect=True)
def test_what_holds_purchases_is_for_its_owner_alone(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    write(store, "one", 0.5)
    derive(store, ALSO_BOUGHT, cut=CUT, min_support=1, state=tmp_path / "state")
    for folder in (archive.folder, tmp_path / "graph", tmp_path / "state"):
        for path in [folder, *folder.rglob("*")]:
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_the_commands_keep_outputs_and_bring_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGDISTILL_ARCHIVE", str(tmp_path / "kept"))
    sample = Path(__file__).parents[2] / "data" / "sample_shop"
    assert main(["ingest", "folder", str(sample)]) == 0
    capsys.readouterr()
    assert main(["derive", "also-bought", "--cut", "2030-01-01", "--min-support", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["archive"] == str(tmp_path / "kept")
    with open_store("ladybug:kgdistill.db") as store:
        user, product = (store.read_nodes(label, []).column(0)[0].as_py() for label in ("User", "Product"))
        table = pa.table({"user": [user], "product": [product], "rank": [1], "score": [1.0]})
        write_back(store, "mine", table, archive=tmp_path / "kept")
        held = content(store, SCHEMA)
        assert held[ALSO_BOUGHT]
    (tmp_path / "kgdistill.db" / "graph.lbug").write_bytes(b"no graph at all" * 1000)
    assert main(["store", "rebuild"]) == 0
    assert main(["store", "verify"]) == 0
    with open_store("ladybug:kgdistill.db") as store:
        assert {k: v for k, v in content(store, SCHEMA).items() if "Ingest" not in str(k)} == held
        store.delete_relationships(
            RECOMMENDED, pa.table({"source": [user], "target": [product], "run": ["mine"]})
        )
    assert main(["store", "verify"]) == 2
    assert "User-RECOMMENDED-Product: 0 only in" in capsys.readouterr().err
    assert main(["store", "rebuild"]) == 0
    assert main(["store", "copy", "ladybug:kgdistill.db", "ladybug:copy.db"]) == 0
    assert main(["store", "verify", "--against", "ladybug:copy.db"]) == 0
    shutil.rmtree(tmp_path / "kept")
    monkeypatch.delenv("KGDISTILL_ARCHIVE")
    capsys.readouterr()
    assert main(["derive", "also-bought", "--cut", "2030-01-01", "--min-support", "1"]) == 0
    assert "no archive keeps this" in capsys.readouterr().err
