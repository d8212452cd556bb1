"""The graph's canonical tables, written to a store without an archive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from kgdistill.errors import InputError
from kgdistill.ingest.folder import tables_mapping
from kgdistill.ingest.job import graph_tables, keys_in
from kgdistill.ingest.model import GraphTables, type_name
from kgdistill.ingest.rejects import rejects_target, too_many, write_rejects
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema

__all__ = ["GraphTables", "IngestReport", "ingest_tables"]


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

    For tables that are whole: nothing is kept beside the store, and events are not added to those of an
    earlier call. Nightly files are for `run_job`.

    Every write is an upsert, a table at a time: doing it twice, or again after it was killed, gives
    the same graph as doing it once. Relationships may end at nodes that the store holds already. Of rows
    with one key the last counts; events whose time is `first_at` may be given as lines: source, target,
    at[, quantity, amount].

    Args:
        store: an open store.
        schema: the graph's schema.
        tables: columns may be text or looser types than the schema's.
        rejects_path: where the rows left out are written, .csv or .parquet; a former file is replaced,
            or removed where no row is left out.
        max_reject_share: from 0 to 1; with more rows left out than this, nothing is written to the store.

    Raises:
        InputError: an unknown, misspelt, repeated or missing column, or one of another kind than the
            schema's; too many rejects; a suffix that is neither.
        SchemaError: an unknown label or edge type.
        DiskError: the rejects cannot be written.
        StoreError: from the store.
    """
    start = time.monotonic()
    if not 0 <= max_reject_share <= 1:
        raise InputError(f"max_reject_share is {max_reject_share}, not between 0 and 1")
    path = rejects_target(rejects_path)
    store.apply_schema(schema)
    given = dict(tables.nodes)
    given |= {type_name(edge): table for edge, table in tables.edges.items()}
    mapping = tables_mapping(tables, schema)
    good = graph_tables(mapping, schema=schema, tables=given, stored_keys=keys_in(store))
    rejects, total = good.rejects.num_rows, sum(table.num_rows for table in given.values())
    written = write_rejects(good.rejects, path)
    if rejects > max_reject_share * total:
        raise too_many(good.rejects, rejects, total, max_reject_share, written)
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
