"""The graph's canonical tables: read, checked, and written to a store."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.errors import DiskError, InputError
from kgdistill.ingest._folder import read_folder
from kgdistill.ingest._model import GraphTables, Origin, type_name
from kgdistill.ingest._validate import validate_tables
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema

__all__ = ["GraphTables", "IngestReport", "Origin", "ingest_tables", "read_folder", "validate_tables"]


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion did.

    Attributes:
        rows: rows written, by type: `Product`, `User-BOUGHT-Product`.
        rejects: input rows left out.
        input_rows: input rows in all.
        rejects_path: the file with the rows left out; None where none were, or no path was given.
        seconds: wall time.
    """

    rows: dict[str, int]
    rejects: int
    input_rows: int
    rejects_path: Path | None
    seconds: float


def ingest_tables(
    store: GraphStore,
    schema: Schema,
    tables: GraphTables,
    *,
    rejects_path: str | Path | None = None,
    max_reject_share: float = 0.01,
) -> IngestReport:
    """Checks `tables` and writes them to `store`: the schema, then nodes, then relationships.

    Every write is an upsert, a table at a time: doing it twice, or again after it was killed, gives
    the same graph as doing it once. Relationships may end at nodes that the store holds already.

    Args:
        store: an open store.
        schema: the graph's schema.
        tables: need not conform; see `validate_tables`.
        rejects_path: where the rows left out are written, .csv or .parquet; a former file is replaced,
            or removed where no row is left out.
        max_reject_share: from 0 to 1; with more rows left out than this, nothing is written to the store.

    Raises:
        InputError: what `validate_tables` raises; too many rejects; a suffix that is neither.
        DiskError: the rejects cannot be written.
        StoreError: from the store.
    """
    start = time.monotonic()
    if not 0 <= max_reject_share <= 1:
        raise InputError(f"max_reject_share is {max_reject_share}, not between 0 and 1")
    path = Path(rejects_path) if rejects_path is not None else None
    if path is not None and path.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"rejects cannot be written as {path.suffix!r}", where=str(path), hint=".csv or .parquet"
        )
    store.apply_schema(schema)
    stored: dict[str, pa.Array] = {}

    def stored_keys(label: str) -> pa.Array:
        if label not in stored:
            key = schema.node(label).key
            stored[label] = store.read_nodes(label, []).column(key).combine_chunks()
        return stored[label]

    good = validate_tables(schema, tables, stored_keys=stored_keys)
    rejects, total = good.rejects.num_rows, good.input_rows()
    written = _write_rejects(good.rejects, path) if path is not None else None
    if rejects > max_reject_share * total:
        first = good.rejects.slice(0, 1).to_pylist()[0]
        column = f", column {first['column']}" if first["column"] else ""
        raise InputError(
            f"{rejects:,} of {total:,} rows do not fit, more than the allowed {max_reject_share:.2%}; "
            f"the first: line {first['line']}{column}: {first['value']!r} {first['reason']}",
            where=first["source"],
            hint=f"see {written}" if written else "give a path for the rejects to see them all",
        )
    rows = sum(t.num_rows for t in [*good.nodes.values(), *good.edges.values()])
    counts: dict[str, int] = {}
    with step("writing the graph", total=rows) as progress:
        for label, table in good.nodes.items():
            progress.note(label)
            counts[label] = store.write_nodes(label, table)
            progress.advance(table.num_rows)
        for edge, table in good.edges.items():
            progress.note(type_name(edge))
            counts[type_name(edge)] = store.write_relationships(edge, table)
            progress.advance(table.num_rows)
    return IngestReport(counts, rejects, total, written, time.monotonic() - start)


def _write_rejects(rejects: pa.Table, path: Path) -> Path | None:
    part = path.with_name(path.name + ".part")
    try:
        if rejects.num_rows == 0:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".csv":
            pacsv.write_csv(rejects, part)
        else:
            pq.write_table(rejects, part)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DiskError(
            f"the rejects cannot be written: {error.strerror or error}", where=str(path)
        ) from error
    return path
