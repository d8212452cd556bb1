"""Canonical tables and where their rows came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kgdistill.store.protocol import EdgeType

Lines: TypeAlias = npt.NDArray[np.int64]
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


def type_name(key: TypeKey) -> str:
    """How a type is written in messages and file names: Product, User-BOUGHT-Product."""
    return key if isinstance(key, str) else "-".join(key)


@dataclass(frozen=True)
class Origin:
    """Where the rows of one table came from.

    Attributes:
        source: the file, or the type's name for a table made in memory.
        lines: the line (in Parquet and in memory the row, from 1) of every input row.
        offsets: where a row of the table stands for several input rows: row i stands for
            `lines[offsets[i]:offsets[i + 1]]`. None where each stands for one.
    """

    source: str
    lines: Lines
    offsets: Lines | None = None

    def take(self, rows: Lines) -> Origin:
        """The origin of these rows of the table."""
        if self.offsets is None:
            return Origin(self.source, self.lines[rows])
        pieces = [self.of(int(row)) for row in rows]
        lengths = [len(piece) for piece in pieces]
        lines = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        return Origin(self.source, lines, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def of(self, row: int) -> Lines:
        """The input lines behind one row of the table."""
        if self.offsets is None:
            return self.lines[row : row + 1]
        return self.lines[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class GraphTables:
    """A graph as Arrow tables, before or beside a store.

    Attributes:
        nodes: by label: the key column (string), then any property columns.
        edges: by edge type: `source` and `target` (string keys), then any property columns.
        rejects: rows that were left out: source, line (1 is the first), column, value, reason.
        origins: where the rows of a table came from, for those read from files.
    """

    nodes: dict[str, pa.Table]
    edges: dict[EdgeType, pa.Table]
    rejects: pa.Table = field(default_factory=REJECT_SCHEMA.empty_table)
    origins: dict[TypeKey, Origin] = field(default_factory=dict)

    def input_rows(self) -> int:
        """How many input rows there were, the rejected ones included."""
        rows = int(self.rejects.num_rows)
        tables: list[tuple[TypeKey, pa.Table]] = [*self.nodes.items(), *self.edges.items()]
        for key, table in tables:
            origin = self.origins.get(key)
            rows += len(origin.lines) if origin is not None else table.num_rows
        return rows


class Rejects:
    """Collects the rows that are left out."""

    def __init__(self, before: pa.Table | None = None) -> None:
        self._before = before if before is not None else REJECT_SCHEMA.empty_table()
        self._rows: list[dict[str, Any]] = []

    def add(self, source: str, line: int, column: str, value: object, reason: str) -> None:
        """Counts one row; `value` is kept as text, shortened to 200 characters."""
        text = None if value is None else str(value)[:200]
        self._rows.append(
            {"source": source, "line": int(line), "column": column, "value": text, "reason": reason}
        )

    def table(self) -> pa.Table:
        """All of them, in the order in which they were found."""
        return pa.concat_tables([self._before, pa.Table.from_pylist(self._rows, schema=REJECT_SCHEMA)])
