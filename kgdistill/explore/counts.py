"""How many nodes and relationships of every type a store holds."""

from __future__ import annotations

from dataclasses import dataclass

from kgdistill.explore.queries import dialect_of
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema


@dataclass(frozen=True)
class TypeCounts:
    """Nodes by label, relationships by edge type; a type of the schema that has none counts 0."""

    nodes: dict[str, int]
    relationships: dict[EdgeType, int]


def count_types(store: GraphStore, schema: Schema) -> TypeCounts:
    """Counts every type of `schema` in one query."""
    # An embedded store has tables, and refuses to be asked for one that nothing was ever written to.
    held = store.schema if dialect_of(store) == "ladybug" else schema
    labels = [label for label in schema.nodes if label in held.nodes]
    edges = [edge for edge in schema.edges() if edge in held.edges()]
    # Names come from the schema, which allows plain identifiers only.
    parts = [f"MATCH (n:`{label}`) RETURN {n} AS place, count(n) AS amount" for n, label in enumerate(labels)]
    parts += [
        f"MATCH (:`{a}`)-[r:`{name}`]->(:`{b}`) RETURN {n} AS place, count(r) AS amount"
        for n, (a, name, b) in enumerate(edges, len(labels))
    ]
    nodes, relationships = dict.fromkeys(schema.nodes, 0), dict.fromkeys(schema.edges(), 0)
    if parts:
        counted = store.query(" UNION ALL ".join(parts), limit=len(parts), timeout_s=120.0)
        for row in counted.to_pylist():
            place, amount = int(row["place"]), int(row["amount"])
            if place < len(labels):
                nodes[labels[place]] = amount
            else:
                relationships[edges[place - len(labels)]] = amount
    return TypeCounts(nodes, relationships)
