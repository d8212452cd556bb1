"""Numbers and times of relationships that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.graphcheck.model import Finding, Severity
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import RelationshipType

EXAMPLES = 10
_PAID = ("spend", "amount")
_COUNTED = ("count",)
_QUANTITIES = ("first_quantity", "quantity")


def value_findings(edge: EdgeType, rel: RelationshipType, table: pa.Table, now: datetime) -> list[Finding]:
    """What is wrong with the numbers and times of one edge type.

    Args:
        edge, rel: the type.
        table: source, target and those of its properties that are to be looked at.
        now: UTC; a time more than a day later is in the future.
    """
    if rel.kind == "derived":
        return _cuts(edge, table)
    found = []
    for code, severity, what, column, bad, advice in _looked_at(rel, table, now):
        wrong = pc.fill_null(bad, False)
        rows = table.filter(wrong)
        if rows.num_rows:
            order = [("source", "ascending"), ("target", "ascending")]
            first = rows.select(["source", "target", column]).sort_by(order).slice(0, EXAMPLES).to_pylist()
            examples = [f"{r['source']} -> {r['target']}: {column} {r[column]}" for r in first]
            name = "-".join(edge)
            found.append(Finding(code, severity, name, what, rows.num_rows, table.num_rows, examples, advice))
    return found


def _looked_at(
    rel: RelationshipType, table: pa.Table, now: datetime
) -> Iterator[tuple[str, Severity, str, str, Any, str]]:
    source = "look at these lines in the source, correct it and ingest it again"
    for name in [n for n in _COUNTED if n in table.column_names]:
        yield "count", "error", f"have a {name} below 1", name, pc.less(table[name], 1), source
    for name in [n for n in _QUANTITIES if n in table.column_names]:
        yield "quantity", "error", f"have a {name} below 0", name, pc.less(table[name], 0), source
    for name in [n for n in _PAID if n in table.column_names]:
        column = table[name]
        if pa.types.is_floating(column.type):
            odd = pc.invert(pc.is_finite(column))
            yield "spend", "error", f"have a {name} that is no number", name, odd, source
        yield (
            "negative-spend",
            "warning",
            f"have a {name} below 0",
            name,
            pc.less(column, 0),
            "expected where returns outweigh purchases; otherwise the sign is wrong in the source",
        )
    if rel.time is None or rel.time not in table.column_names:
        return
    limit = pa.scalar(now + timedelta(days=1), pa.timestamp("us"))
    stamps = [n for n in (rel.time, "last_at") if n in table.column_names]
    clock = "look for a wrong year, day and month exchanged, or a clock that is wrong; then ingest again"
    for name in dict.fromkeys(stamps):
        yield "future", "error", f"have {name} in the future", name, pc.greater(table[name], limit), clock
    if "last_at" in table.column_names and rel.time != "last_at":
        earlier = pc.less(table["last_at"], table[rel.time])
        yield "time-order", "error", f"have last_at before {rel.time}", "last_at", earlier, source


def _cuts(edge: EdgeType, table: pa.Table) -> list[Finding]:
    if "cut" not in table.column_names:
        return []
    counts = sorted(pc.value_counts(table["cut"]).to_pylist(), key=lambda c: str(c["values"]))
    if len(counts) < 2:
        return []
    return [
        Finding(
            "several-cuts",
            "warning",
            "-".join(edge),
            f"computed at {len(counts):,} different cuts",
            len(counts),
            table.num_rows,
            [f"{c['counts']:,} at {c['values']}" for c in counts[:EXAMPLES]],
            "derive them again: kgdistill derive --help",
        )
    ]
