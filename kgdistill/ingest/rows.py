"""The rows that a job makes of its sources and that the archive keeps."""

from __future__ import annotations

import pyarrow as pa

from kgdistill.ingest.model import TypeKey
from kgdistill.store.schema import Schema

LINE = pa.field("_line", pa.int64())
TIME = pa.field("_time", pa.timestamp("us"))
DELETED = pa.field("_deleted", pa.bool_())
EVENT_ID = pa.field("_id", pa.string())
OVERLAP = pa.field("_overlap", pa.bool_())


def row_schema(schema: Schema, key: TypeKey) -> pa.Schema:
    """The columns of the rows of a label or edge type, before they are folded into the graph.

    The key or ends, every property, for aggregated events `_id` (what tells one event from another; null
    where nothing does) and `_overlap` (the same event may stand in several sources), then `_line` (of the
    source), `_time` (by which the last write wins; null where unknown) and `_deleted`.
    """
    if isinstance(key, str):
        fields = list(schema.node_arrow_schema(key))
    else:
        fields = list(schema.edge_arrow_schema(key))
        if schema.relationship(key).aggregated:
            fields += [EVENT_ID, OVERLAP]
    return pa.schema([*fields, LINE, TIME, DELETED])
