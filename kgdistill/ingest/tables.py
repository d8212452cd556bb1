"""The graph's canonical tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from kgdistill.store.protocol import EdgeType

REJECT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


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
