"""Jobs on a local Ray of two processes: the same graph, record and refusals as from a single process."""

from __future__ import annotations

import gzip
import random
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from kgdistill.datasets.adapters import adapter
from kgdistill.errors import InputError, StoreLockedError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import JobOptions, JobReport, run_job
from kgdistill.ingest.mapping.load import load_mapping, parse_mapping
from kgdistill.ingest.ray import pieces
from kgdistill.ingest.ray.engine import RayEngine
from kgdistill.store import GraphStore, load_schema, open_store
from kgdistill.store.neo4j.fences import put_fences
from kgdistill.store.neo4j.parts import PartWriter
from kgdistill.store.neo4j.store import Neo4jStore
from tests.integration._stores import BOUGHT, content, opened
from tests.integration.conftest import Server

with warnings.catch_warnings():
    # Ray's own, while it is imported.
    warnings.simplefilter("ignore")
    pytest.importorskip("ray.data", reason="needs Ray: pip install 'kgdistill[ray]'")

# Ray's threads and settings of its own; everything else is still an error.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SCHEMA = load_schema()
MAPPING = load_mapping(adapter("online-retail").mapping_path)
JOINED = """
version: 1
name: joined
sources:
  lines:
    files: [lines.parquet, more.csv]
    join: {orders: {files: orders.csv, on: {no: no}}}
    relationships:
      - type: BOUGHT
        from: {User: orders.who}
        to: {Product: sku}
        missing: stub
        properties: {at: orders.at}
"""
SIMILAR = ("Brand", "BRAND_SIMILAR", "Brand")


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    with RayEngine(workers=2) as engine:
        yield engine


def order_lines(folder: Path, files: int = 4, rows: int = 700) -> Path:
    """Files as Online Retail has them, some of their rows bad; one of them compressed."""
    draw = random.Random(4)
    folder.mkdir()
    for number in range(files):
        lines = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
        for i in range(rows):
            at = datetime(2011, 1, 1) + timedelta(minutes=draw.randrange(400_000))
            when = "yesterday" if draw.random() < 0.01 else at.strftime("%m/%d/%Y %H:%M")
            product, user = draw.randrange(300), draw.choice(["", *map(str, range(90))])
            count = draw.choice([1, 2, 12, -1])
            lines.append(f'{number}{i},S{product},"MUG, ""{product}""",{count},{when},2.55,{user},Spain')
        text = "\n".join(lines).encode() + b"\n"
        path = folder / f"{number}.csv"
        if number == 2:
            path.with_suffix(".csv.gz").write_bytes(gzip.compress(text))
        else:
            path.write_bytes(text)
    return folder


def job(store: GraphStore, root: Path, archive: Path, tables: Any = None, **how: object) -> JobReport:
    rejects = archive.with_suffix(".parquet")
    options = JobOptions(rejects_path=rejects, max_reject_share=0.05, **how)  # type: ignore[arg-type]
    return run_job(store, MAPPING, root, options, archive=archive, schema=SCHEMA, tables=tables)


@pytest.fixture(params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def test_a_job_on_ray_makes_the_graph_and_the_record_of_a_single_process(
    store: GraphStore,
    engine: RayEngine,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root = order_lines(tmp_path / "data")
    with open_store("memory:") as alone:
        first = job(alone, root, tmp_path / "alone")
        wanted = content(alone, SCHEMA)
    capfd.readouterr()
    writer = None
    if isinstance(store, Neo4jStore):
        server: Server = request.getfixturevalue("neo4j_server")
        writer = engine.neo4j_writer(server.url, user=server.user, password=server.password)
    second = job(store, root, tmp_path / "ray", stager=engine.stage, writer=writer)
    said = capfd.readouterr()
    assert content(store, SCHEMA) == wanted
    assert (second.rows, second.rejected, second.skipped) == (first.rows, first.rejected, first.skipped)
    assert first.rejected > 10
    assert pq.read_table(tmp_path / "ray.parquet") == pq.read_table(tmp_path / "alone.parquet")
    records = [
        [source.model_copy(update={"seconds": 0.0}) for source in Archive(tmp_path / name).job(1).sources]
        for name in ("alone", "ray")
    ]
    assert records[0] == records[1]
    files = [
        sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name / "jobs").rglob("*"))
        for name in ("alone", "ray")
    ]
    assert files[0] == files[1]
    # Ray's own talk stays in its log files.
    assert said.out == ""
    assert all(line.startswith(("reading: ", "writing ")) for line in said.err.splitlines()), said.err
    # Again: nothing to do.
    assert job(store, root, tmp_path / "ray", stager=engine.stage, writer=writer).state == "unchanged"


def test_a_large_parquet_file_is_read_in_pieces(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pacsv.read_csv(order_lines(tmp_path / "data", files=1) / "0.csv")
    rows = rows.set_column(6, "CustomerID", rows["CustomerID"].cast(pa.string()))
    pq.write_table(rows, tmp_path / "orders.parquet", row_group_size=150)
    monkeypatch.setattr(pieces, "PIECE_BYTES", (tmp_path / "orders.parquet").stat().st_size // 3)
    held, sources = [], []
    for name, stager in (("alone", None), ("ray", engine.stage)):
        with open_store("memory:") as store:
            tables = {"lines": tmp_path / "orders.parquet"}
            job(store, tmp_path, tmp_path / name, stager=stager, tables=tables)
            held.append((content(store, SCHEMA), pq.read_table(tmp_path / f"{name}.parquet").to_pylist()))
            sources.append(Archive(tmp_path / name).job(1).sources[0].model_dump(exclude={"seconds"}))
    assert held[0] == held[1]
    assert {row["row_group"] for row in held[0][1]} > {0, 3}
    files = [[kept.pop("files") for kept in source["types"].values()] for source in sources]
    assert [len(each) for each in files[1]] == [3] * len(files[0])
    assert sources[0] == sources[1]


def test_rows_look_up_others_on_ray_as_in_a_single_process(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(4)
    numbers = [draw.randrange(110) for _ in range(900)]
    lines = pa.table({"no": numbers, "sku": [f"p{draw.randrange(40)}" for _ in numbers]})
    pq.write_table(lines, tmp_path / "lines.parquet", row_group_size=150)
    pacsv.write_csv(lines.slice(0, 50), tmp_path / "more.csv")
    orders = {"no": range(100), "who": [f"u{n % 9}" for n in range(100)], "at": ["2024-01-01"] * 100}
    pacsv.write_csv(
        pa.table({name: list(values) for name, values in orders.items()}), tmp_path / "orders.csv"
    )
    mapping = parse_mapping(JOINED)
    monkeypatch.setattr(pieces, "PIECE_BYTES", (tmp_path / "lines.parquet").stat().st_size // 3)
    held = []
    for name, stager in (("alone", None), ("ray", engine.stage)):
        options = JobOptions(max_reject_share=1.0, stager=stager)
        with open_store("memory:") as store:
            report = run_job(store, mapping, tmp_path, options, archive=tmp_path / name, schema=SCHEMA)
            again = run_job(store, mapping, tmp_path, options, archive=tmp_path / name, schema=SCHEMA)
            held.append((content(store, SCHEMA), report.reasons, report.accepted, again.state))
    assert held[0] == held[1]
    ((reason, column, rejected),) = held[1][1]
    assert (reason, column) == ("is in no row of the join orders", "no")
    assert (rejected, held[1][3]) == (950 - held[1][2], "unchanged")
    assert rejected > 20


def test_cells_are_filled_down_over_pieces_as_in_a_single_process(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [n // 4 for n in range(900)]
    times = ["2024-01-01" if n % 4 == 0 and n % 8 else None for n in range(900)]
    table = pa.table({"no": numbers, "at": times, "who": numbers, "sku": [f"p{n % 7}" for n in range(900)]})
    pq.write_table(table, tmp_path / "lines.parquet", row_group_size=150)
    source = JOINED.replace(
        "join: {orders: {files: orders.csv, on: {no: no}}}", "fill_down: {by: no, columns: at}"
    )
    source = source.replace("orders.", "").replace(", more.csv", "")
    mapping = parse_mapping(
        source.replace("missing: stub", "missing: stub\n        when: [{column: at, present: true}]")
    )
    monkeypatch.setattr(pieces, "PIECE_BYTES", (tmp_path / "lines.parquet").stat().st_size // 4)
    held = []
    for name, stager in (("alone", None), ("ray", engine.stage)):
        with open_store("memory:") as store:
            options = JobOptions(stager=stager)
            report = run_job(store, mapping, tmp_path, options, archive=tmp_path / name, schema=SCHEMA)
            held.append((content(store, SCHEMA), report.accepted, report.eventless, report.idle))
    assert held[0] == held[1]
    assert held[1][1:] == (448, {"lines": 452}, [])


def test_a_damaged_file_is_refused_on_ray_as_in_a_single_process(engine: RayEngine, tmp_path: Path) -> None:
    root = order_lines(tmp_path / "data", rows=200)
    damaged = root / "2.csv.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    told = []
    for name, stager in (("alone", None), ("ray", engine.stage)):
        with open_store("memory:") as store, pytest.raises(InputError) as caught:
            job(store, root, tmp_path / name, stager=stager)
        error = caught.value
        assert type(error) is InputError
        told.append((error.message, error.where, error.hint))
        assert not list((tmp_path / name / "jobs").iterdir())
        assert [f.message for f in Archive(tmp_path / name).failures()] == [str(error).splitlines()[0]]
    assert told[0][1].startswith(str(damaged))
    assert told[0] == told[1]


def test_two_workers_complete_a_dense_graph_without_a_deadlock(
    neo4j_store: Neo4jStore, neo4j_server: Server, engine: RayEngine, tmp_path: Path
) -> None:
    # Merged in shuffled halves instead, these relationships deadlock.
    users, products, brands = ([f"{kind}{i}" for i in range(150)] for kind in "upb")
    tables: dict[object, pa.Table] = {
        "User": pa.table({"user_id": users}),
        "Product": pa.table({"product_id": products, "title": [f"`{p}` 'x'" for p in products]}),
        "Brand": pa.table({"brand_id": brands, "name": brands}),
    }
    draw = random.Random(5)
    for key, ends in ((BOUGHT, (users, products)), (SIMILAR, (brands, brands))):
        pairs = [(a, b) for a in ends[0] for b in ends[1]]
        draw.shuffle(pairs)
        tables[key] = pa.table({"source": [a for a, _ in pairs], "target": [b for _, b in pairs]})
    tables[BOUGHT] = tables[BOUGHT].append_column("spend", pa.array(map(float, range(150 * 150))))
    writer = engine.neo4j_writer(neo4j_server.url, user=neo4j_server.user, password=neo4j_server.password)
    neo4j_store.apply_schema(SCHEMA)
    with neo4j_store.changes():
        for key, table in tables.items():
            file = tmp_path / "rows.parquet"
            pq.write_table(table, file)
            if key == BOUGHT:
                # What a job that was killed had written: the rest is merged.
                neo4j_store.write_relationships(BOUGHT, table.slice(0, 1_000))
            assert writer(key, file) == table.num_rows  # type: ignore[arg-type]
    assert writer.retries == 0
    for key, table in tables.items():
        edge = isinstance(key, tuple)
        held = (
            neo4j_store.read_relationships(key, table.column_names[2:])  # type: ignore[arg-type]
            if edge
            else neo4j_store.read_nodes(key, table.column_names[1:])  # type: ignore[arg-type]
        )
        order = [(name, "ascending") for name in table.column_names[: 2 if edge else 1]]
        assert held.sort_by(order) == table.sort_by(order)
    assert list(tmp_path.iterdir()) == [tmp_path / "rows.parquet"]


def test_a_worker_that_outlives_its_job_writes_nothing_more(
    neo4j_store: Neo4jStore, neo4j_server: Server, tmp_path: Path
) -> None:
    neo4j_store.apply_schema(SCHEMA)
    pq.write_table(pa.table({"user_id": ["u1"]}), tmp_path / "rows.parquet")
    neo4j_store._write(lambda tx: put_fences(tx, ["fence"]))
    files = [tmp_path / "rows.parquet"]
    with PartWriter(neo4j_server.url, user=neo4j_server.user, password=neo4j_server.password) as worker:
        assert worker.write_files("User", files, "fence", create=False) == (1, 0)
        with neo4j_store.changes():
            neo4j_store.delete_nodes("User", pa.array(["u1"]))
            with pytest.raises(StoreLockedError, match="another process has taken this store over"):
                worker.write_files("User", files, "fence", create=False)
    assert neo4j_store.read_nodes("User").num_rows == 0
