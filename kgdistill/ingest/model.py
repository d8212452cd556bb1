"""A graph as tables, and what its types and rejected rows are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pyarrow as pa

from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema

TypeKey: TypeAlias = "str | EdgeType"
"""A label or an edge type."""

REJECT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("line", pa.int64()),
        ("row_group", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Notice:
    """What is odd about rows that are in the graph all the same.

    Attributes:
        source: the source's name.
        line: the line, or in Parquet the row, of the first; 0 where it is about the source as a whole.
        column, value: where, and what the first one holds; empty where it is about the row as a whole.
        reason: what is odd.
        rows: how many there are.
    """

    source: str
    line: int
    column: str
    value: str
    reason: str
    rows: int = 1


def joined_notices(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """One for each source, column and reason: the first, with all rows counted."""
    found: dict[tuple[str, str, str], Notice] = {}
    for notice in notices:
        key = (notice.source, notice.column, notice.reason)
        first = found.get(key)
        found[key] = notice if first is None else replace(first, rows=first.rows + notice.rows)
    return tuple(found.values())


def type_name(key: TypeKey) -> str:
    """How a type is written in messages and file names: Product, User-BOUGHT-Product."""
    return key if isinstance(key, str) else "-".join(key)


@dataclass(frozen=True)
class GraphTables:
    """A graph as Arrow tables, before or beside a store.

    Attributes:
        nodes: by label: the key column (string), then any property columns.
        edges: by edge type: `source` and `target` (string keys), then any property columns.
        rejects: rows that were left out: source, line (1 is the first), column, value, reason.
    """

    nodes: dict[str, pa.Table]
    edges: dict[EdgeType, pa.Table]
    rejects: pa.Table = field(default_factory=REJECT_SCHEMA.empty_table)


def types_by_name(schema: Schema) -> dict[str, TypeKey]:
    """Every label and edge type of a schema by what `type_name` calls it."""
    keys: dict[str, TypeKey] = {label: label for label in schema.nodes}
    keys |= {type_name(edge): edge for edge in schema.edges()}
    return keys
