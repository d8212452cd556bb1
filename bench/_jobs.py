"""Measures of whole jobs, for both stores; each function runs in a process of its own."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from _process import THREADS

from kgdistill.datasets.adapt_journey import package_folder
from kgdistill.datasets.adapters import adapter
from kgdistill.ingest.archive import StagedSource
from kgdistill.ingest.job import JobOptions, JobReport, run_job
from kgdistill.ingest.mapping.load import Mapping, load_mapping, parse_mapping
from kgdistill.ingest.readers import find_sources
from kgdistill.ingest.stage import Unit, stage
from kgdistill.store import Schema, load_schema, open_store

HERE = Path(__file__).parent

_LINES: dict[str, Any] = {
    "version": 1,
    "name": "lines",
    "sources": {
        "sales": {
            "files": "*.csv",
            "nodes": [{"label": "User", "key": "household_id"}],
            "relationships": [
                {
                    "type": "BOUGHT",
                    "from": {"User": "household_id"},
                    "to": {"Product": "product_id"},
                    "missing": "stub",
                    "properties": {
                        "at": "transaction_timestamp",
                        "quantity": "quantity",
                        "amount": "sales_value",
                    },
                }
            ],
        }
    },
}


def journey(url: str, archive: str) -> dict[str, Any]:
    """Complete Journey from its Parquet files into an empty store: validated, archived, journalled."""
    begin = time.monotonic()
    data = adapter("complete-journey")
    assert data.prepare is not None
    tables = data.prepare(None)
    with open_store(url) as store:
        report = run_job(
            store, load_mapping(data.mapping_path), ".", JobOptions(threads=THREADS), archive=archive,
            schema=load_schema(), tables=tables,
        )  # fmt: skip
    return _told(report, time.monotonic() - begin)


def _told(report: JobReport, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "read_seconds": report.read_seconds,
        "apply_seconds": report.apply_seconds,
        "input_rows": report.rows,
        "rejected": report.rejected,
        "graph_rows": sum(report.applied.written.values()),
        "written": report.applied.written,
    }


def write_nights(folder: str, nights: int, lines: int) -> dict[str, Any]:
    """A CSV file of new purchases for each of several nights: past ones, drawn again a year later."""
    whole = _transactions()
    rng = np.random.default_rng(0)
    for night in range(nights):
        chosen = whole.take(pa.array(np.sort(rng.choice(whole.num_rows, lines, replace=False))))
        at = pc.add(chosen["transaction_timestamp"], pa.scalar(timedelta(days=366 + night), pa.duration("s")))
        place = chosen.schema.get_field_index("transaction_timestamp")
        out = Path(folder) / f"night{night}"
        out.mkdir(parents=True)
        pacsv.write_csv(chosen.set_column(place, "transaction_timestamp", at), out / f"sales{night}.csv")
    return {"rows": nights * lines}


def night(url: str, archive: str, folder: str) -> dict[str, Any]:
    """A small job on top of a full store."""
    begin = time.monotonic()
    mapping = parse_mapping(_LINES)
    with open_store(url) as store:
        report = run_job(
            store, mapping, folder, JobOptions(threads=THREADS), archive=archive, schema=load_schema()
        )  # fmt: skip
    return _told(report, time.monotonic() - begin)


class _Pace:
    """Stages as a job does and notes when each batch was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, units: list[Unit], part: Path, job: int, schema: Schema) -> list[StagedSource]:
        self.times = [time.monotonic()]
        return [stage(unit, part, job, schema, self._advance) for unit in units]

    def _advance(self, size: int) -> None:
        self.times.append(time.monotonic())

    def fifths(self, rows: int) -> list[float]:
        """Rows a second in each fifth of the batches; all but the last batch are of one size."""
        marks = np.array(self.times)
        cuts = np.linspace(0, len(marks) - 1, 6).round().astype(int)
        each = rows / (len(marks) - 1)
        return [float((b - a) * each / (marks[b] - marks[a])) for a, b in itertools.pairwise(cuts)]


def promotions(folder: str, rows: int | None = None) -> dict[str, Any]:
    """The table of promotions as events in an embedded store, by a mapping with a schema of its own."""
    begin = time.monotonic()
    schema = load_schema(HERE / "promotions-schema.yaml")
    mapping = load_mapping(HERE / "promotions.yaml")
    source: Path | pa.Table = package_folder() / "promotions.parquet"
    if rows is not None:
        source = pq.read_table(source).slice(0, rows)
    pace = _Pace()
    with open_store(f"ladybug:{folder}/store") as store:
        report = run_job(
            store, mapping, ".", JobOptions(stager=pace, threads=THREADS), archive=f"{folder}/archive",
            schema=schema, tables={"promotions": source},
        )  # fmt: skip
    seconds = time.monotonic() - begin
    return {**_told(report, seconds), "fifths": pace.fifths(report.rows)}


def write_csv(path: str, megabytes: int) -> dict[str, Any]:
    """The purchases as CSV, again and again until the file is so large."""
    whole = _transactions()
    out = Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as stream:
        copies = 0
        while stream.tell() < megabytes * 10**6:
            options = pacsv.WriteOptions(include_header=copies == 0)
            pacsv.write_csv(whole, stream, options)
            copies += 1
    return {"rows": copies * whole.num_rows, "bytes": out.stat().st_size}


def stage_csv(path: str, folder: str) -> dict[str, Any]:
    """Reads, maps and stages one file."""
    file = Path(path)
    schema = load_schema()
    compiled = _compiled(parse_mapping(_LINES), schema)
    source = find_sources("sales", [file.name], file.parent, compiled.options)[0]
    unit = Unit(0, source, compiled, "", file.stat().st_size, {})
    pace = _Pace()
    Path(folder).mkdir()
    begin = time.monotonic()
    staged = pace([unit], Path(folder), 1, schema)[0]
    seconds = time.monotonic() - begin
    return {
        "seconds": seconds,
        "rows": staged.rows,
        "rejected": staged.rejected,
        "fifths": pace.fifths(staged.rows),
    }


def _compiled(mapping: Mapping, schema: Schema) -> Any:
    return mapping.compile(schema, salt=None)["sales"]


def read_csv_raw(path: str) -> dict[str, Any]:
    """The same file through Arrow's own streaming reader, to the same columns as Parquet."""
    columns = ["household_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
    convert = pacsv.ConvertOptions(include_columns=columns)
    begin = time.monotonic()
    rows = 0
    with (
        pacsv.open_csv(path, convert_options=convert) as reader,
        pq.ParquetWriter(f"{path}.parquet", reader.schema, compression="lz4") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    Path(f"{path}.parquet").unlink()
    return {"seconds": time.monotonic() - begin, "rows": rows}


def _transactions() -> pa.Table:
    table = pq.read_table(package_folder() / "transactions.parquet")
    place = table.schema.get_field_index("transaction_timestamp")
    at = table["transaction_timestamp"].cast(pa.timestamp("s"), safe=False)
    return table.set_column(place, "transaction_timestamp", at)
