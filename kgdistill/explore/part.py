"""A part of a graph, chosen by labels, types, a run and a neighbourhood, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError
from kgdistill.explore.named import key_of
from kgdistill.ingest.journal import without_journal
from kgdistill.ingest.model import GraphTables
from kgdistill.nearest import nearest
from kgdistill.progress import step
from kgdistill.store import kept_schema
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import NodeType, Property, RelationshipType, Schema

MOST = 500_000
"""More nodes and relationships are for no picture, and hard on a program that holds them in memory."""


@dataclass(frozen=True)
class Selection:
    """What of a graph is wanted; all of it by default.

    Attributes:
        labels: nodes of these labels, and what leads between them.
        types: relationships of these types; without `labels`, the nodes alone that they lead between.
        around: a node as `Label:id` or `Label:name`, with all that `hops` relationships reach from it.
        hops: how far.
        run: of what runs wrote, this one's alone.
        vectors: whether vectors are wanted, and the nodes that are there to hold one.
        allow_sensitive: whether what the schema declares sensitive is wanted.
        most: nodes and relationships together; more are refused. None: any number.
    """

    labels: Sequence[str] = ()
    types: Sequence[str] = ()
    around: str | None = None
    hops: int = 1
    run: str | None = None
    vectors: bool = False
    allow_sensitive: bool = False
    most: int | None = None


@dataclass(frozen=True)
class GraphPart:
    """Tables of a graph's part, and the schema of what is in them; `left_out` is what of it is sensitive."""

    schema: Schema
    tables: GraphTables
    left_out: tuple[str, ...]


def read_part(store: GraphStore, part: Selection) -> GraphPart:
    """Reads a part of a graph.

    Every type that is wanted is read as a whole, then cut: the time grows with the graph, the answer with the
    part.

    Args:
        store: an open store.
        part: what is wanted.

    Raises:
        InputError: an unknown label, type, node or run; more than `part.most`.
        StoreError: from the store.
    """
    held = _chosen(without_journal(kept_schema(store)), part)
    schema = held if part.allow_sensitive else _public(held)
    if not part.vectors:
        schema = _narrowed(schema, lambda prop: prop.type != "float_list")
    start = None if part.around is None else _start(store, schema, part.around)
    nodes: dict[str, pa.Table] = {}
    edges: dict[EdgeType, pa.Table] = {}
    with step("reading the graph", total=len(schema.nodes) + len(schema.edges())) as work:
        for label, node in schema.nodes.items():
            read = store.read_nodes(label, list(node.properties))
            nodes[label] = _public_rows(_of_run(read, part.run, node.key), part)
            work.advance()
        for edge in schema.edges():
            properties = list(schema.relationship(edge).properties)
            edges[edge] = _of_run(store.read_relationships(edge, properties), part.run)
            work.advance()
    if part.run is not None and not any("run" in t.column_names and t.num_rows for t in edges.values()):
        raise InputError(
            f"no run {part.run[:60]!r} wrote to this part of the graph",
            where=store.url,
            hint="kgdistill runs list shows those that did",
        )
    kept = {label: table[schema.nodes[label].key].combine_chunks() for label, table in nodes.items()}
    if start is not None:
        kept = _reached(start, part.hops, edges, kept)
    elif part.types and not part.labels:
        kept = {label: _is_in(keys, _ends(edges, label)) for label, keys in kept.items()}
    tables = _cut(schema, nodes, edges, kept)
    rows = sum(table.num_rows for table in (*tables.nodes.values(), *tables.edges.values()))
    if part.most is not None and rows > part.most:
        raise InputError(
            f"that is {rows:,} nodes and relationships, more than {part.most:,}",
            where=store.url,
            hint="narrow it by labels, types, a run or a neighbourhood, or allow more (--most, most=)",
        )
    return GraphPart(schema, tables, () if part.allow_sensitive else _left_out(store, held, tables))


def _chosen(schema: Schema, part: Selection) -> Schema:
    for given, known, what in (
        (part.labels, list(schema.nodes), "label"),
        (part.types, list(schema.relationships), "relationship type"),
    ):
        for name in given:
            if name not in known:
                hint = f"{nearest(name, known)}there are: {', '.join(known)}"
                raise InputError(f"the graph has no {what} {name[:60]!r}", hint=hint)
    if part.hops < 1:
        raise InputError(f"hops is {part.hops}; it is at least 1")
    labels = set(part.labels or schema.nodes)
    if part.types and not part.labels:
        labels = {end for name in part.types for pair in schema.relationships[name].endpoints for end in pair}
    elif not part.labels and not part.vectors:
        lists = {
            n for n, t in schema.nodes.items() if any(p.type == "float_list" for p in t.properties.values())
        }
        labels -= lists
    return schema.restricted(labels, part.types or set(schema.relationships))


def _public(schema: Schema) -> Schema:
    return _narrowed(schema.guarded(), lambda prop: not prop.sensitive)


def _left_out(store: GraphStore, schema: Schema, tables: GraphTables) -> tuple[str, ...]:
    """Of what the schema declares sensitive what the part would hold."""
    kept = {label: table[schema.nodes[label].key].combine_chunks() for label, table in tables.nodes.items()}
    held: set[str] = set()
    for label, node in schema.nodes.items():
        if names := list(node.sensitive_properties):
            rows = store.read_nodes(label, names)
            rows = rows.filter(pc.is_in(rows[node.key], value_set=kept[label]))
            held |= {f"{label}.{name}" for name in names if rows[name].null_count < rows.num_rows}
    for edge in schema.edges():
        of = schema.relationship(edge)
        names = list(of.sensitive_properties)
        if of.sensitive or names:
            rows = _between(store.read_relationships(edge, names), edge, kept)
            held |= {f"{edge[1]}.{name}" for name in names if rows[name].null_count < rows.num_rows}
            held |= {edge[1]} if of.sensitive and rows.num_rows else set()
    return tuple(name for name in schema.sensitive if name in held)


def _narrowed(schema: Schema, wanted: Callable[[Property], bool]) -> Schema:
    """The same types with the properties that are wanted."""

    def kept(item: NodeType | RelationshipType) -> dict[str, dict[str, Property]]:
        return {"properties": {name: prop for name, prop in item.properties.items() if wanted(prop)}}

    return schema.model_copy(
        update={
            "nodes": {n: t.model_copy(update=kept(t)) for n, t in schema.nodes.items()},
            "relationships": {n: t.model_copy(update=kept(t)) for n, t in schema.relationships.items()},
        }
    )


def _start(store: GraphStore, schema: Schema, around: str) -> tuple[str, str]:
    label, colon, name = around.partition(":")
    if not colon or label not in schema.nodes:
        hint = f"{nearest(label, schema.nodes)}write it like Product:1095275 or Brand:Private"
        raise InputError(f"{around[:60]!r} names no node of this part", where="around", hint=hint)
    return label, key_of(store, label, name, where="around")


def _of_run(table: pa.Table, run: str | None, key: str = "") -> pa.Table:
    """The rows that no run wrote, or this one."""
    column = "run" if "run" in table.column_names else "run_id" if key == "run_id" else ""
    if run is None or not column:
        return table
    return table.filter(pc.fill_null(pc.equal(table[column], run), False))


def _public_rows(table: pa.Table, part: Selection) -> pa.Table:
    """Without the classes that tell something sensitive."""
    if part.allow_sensitive or "sensitive" not in table.column_names:
        return table
    return table.filter(pc.invert(pc.fill_null(table["sensitive"], False)))


def _is_in(keys: pa.Array, wanted: pa.Array) -> pa.Array:
    return keys.filter(pc.is_in(keys, value_set=wanted))


def _ends(edges: Mapping[EdgeType, pa.Table], label: str) -> pa.Array:
    """The keys of a label's nodes that a relationship leads from or to."""
    found = [t["source"] for e, t in edges.items() if e[0] == label]
    found += [t["target"] for e, t in edges.items() if e[2] == label]
    return pc.unique(pa.chunked_array([c for column in found for c in column.chunks], pa.string()))


def _reached(
    start: tuple[str, str], hops: int, edges: Mapping[EdgeType, pa.Table], there: Mapping[str, pa.Array]
) -> dict[str, pa.Array]:
    """The keys by label that at most `hops` relationships, either way round, lead to from a node."""
    reached = {label: keys.slice(0, 0) for label, keys in there.items()}
    reached[start[0]] = pa.array([start[1]], pa.string())
    for _ in range(hops):
        found = {label: [keys] for label, keys in reached.items()}
        for (a, _, b), table in edges.items():
            found[b].append(table["target"].filter(pc.is_in(table["source"], value_set=reached[a])))
            found[a].append(table["source"].filter(pc.is_in(table["target"], value_set=reached[b])))
        reached = {label: _joined(parts) for label, parts in found.items()}
    # What a run or its sensitive classes left out is no way through.
    return {label: _is_in(keys, there[label]) for label, keys in reached.items()}


def _joined(parts: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
    arrays = [a for p in parts for a in (p.chunks if isinstance(p, pa.ChunkedArray) else [p])]
    return pc.unique(pa.chunked_array(arrays, pa.string()))


def _cut(
    schema: Schema,
    nodes: Mapping[str, pa.Table],
    edges: Mapping[EdgeType, pa.Table],
    kept: Mapping[str, pa.Array],
) -> GraphTables:
    """The nodes of `kept` and what leads between them, ordered by their keys."""
    held, tied = {}, {}
    for label, table in nodes.items():
        key = schema.nodes[label].key
        held[label] = table.filter(pc.is_in(table[key], value_set=kept[label])).sort_by(key)
    for edge, table in edges.items():
        order = ["source", "target", *schema.relationship(edge).identity]
        tied[edge] = _between(table, edge, kept).sort_by([(name, "ascending") for name in order])
    return GraphTables(held, tied)


def _between(table: pa.Table, edge: EdgeType, kept: Mapping[str, pa.Array]) -> pa.Table:
    """The rows both of whose ends are kept."""
    ends = ((table["source"], kept[edge[0]]), (table["target"], kept[edge[2]]))
    return table.filter(pc.and_(*(pc.is_in(column, value_set=keys) for column, keys in ends)))
