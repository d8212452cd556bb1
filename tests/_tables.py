"""Rows by type, as tests lay out a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from kgdistill.ingest.tables import GraphTables
from kgdistill.store import GraphStore, Schema


def write_rows(store: GraphStore, schema: Schema, tables: Mapping[Any, list[dict[str, Any]]]) -> None:
    """Writes nodes by label and relationships by edge type, in the order given."""
    for key, rows in tables.items():
        if isinstance(key, str):
            store.write_nodes(key, pa.Table.from_pylist(rows, schema=schema.node_arrow_schema(key)))
        else:
            store.write_relationships(key, pa.Table.from_pylist(rows, schema=schema.edge_arrow_schema(key)))


def write_tables(store: GraphStore, schema: Schema, tables: GraphTables) -> None:
    """Makes the types, then writes every table, without the checks that a job makes."""
    store.apply_schema(schema)
    for label, table in tables.nodes.items():
        store.write_nodes(label, table)
    for edge, table in tables.edges.items():
        store.write_relationships(edge, table)
