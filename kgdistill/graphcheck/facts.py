"""Reads the graph type by type; of a large label one column, of an edge type the ends, numbers and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.errors import SchemaError
from kgdistill.graphcheck.model import Distribution, EdgeStats, Hub, NodeStats, TimeStats
from kgdistill.graphcheck.roles import Roles
from kgdistill.graphcheck.times import time_stats
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import RelationshipType, Schema

# Property by property holds one column at a time only; up to here, one read is fewer questions to a server.
_ROWS_AT_ONCE = 200_000
_READ = ("int64", "double", "timestamp")


@dataclass
class GraphFacts:
    """What has been read so far; arrays by label follow the order of `keys`.

    Attributes:
        zone: whose clocks and days are told.
        keys, names: of each label; a name is null where there is none or it is blank.
        empty: nodes with their key alone.
        undated: nodes without the time before which they were not known, of labels that have one.
        linked: nodes with a fact, event or judgement.
        active: users with an event.
        branded, categorised, sold: products with a brand, a category, an event.
        made: products of each brand.
        tree: child and parent codes of each edge type of a tree.
    """

    schema: Schema
    roles: Roles
    now: datetime
    hub_share: float
    zone: str = "UTC"
    keys: dict[str, pa.Array] = field(default_factory=dict)
    names: dict[str, pa.Array] = field(default_factory=dict)
    filled: dict[str, dict[str, int]] = field(default_factory=dict)
    empty: dict[str, BoolArray] = field(default_factory=dict)
    undated: dict[str, BoolArray] = field(default_factory=dict)
    linked: dict[str, BoolArray] = field(default_factory=dict)
    active: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    branded: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    categorised: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    sold: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    made: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    tree: dict[EdgeType, tuple[IntArray, IntArray]] = field(default_factory=dict)
    edges: list[EdgeStats] = field(default_factory=list)
    times: list[TimeStats] = field(default_factory=list)
    hubs: list[Hub] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def shown(self, label: str, code: int) -> str:
        """A node as a person reads it: its key, and its name where that says more."""
        key, name = self.keys[label][int(code)].as_py(), self.name(label, code)
        return f"{key} ({name})" if name and name != key else str(key)

    def name(self, label: str, code: int) -> str | None:
        """A node's name; None where it has none."""
        value = self.names[label][int(code)].as_py() if label in self.names else None
        return None if value is None else str(value)

    def node_stats(self) -> list[NodeStats]:
        """Every label, when all has been read."""
        return [
            NodeStats(
                label,
                len(self.keys[label]),
                None if node.output else int((~self.linked[label]).sum()),
                self.filled[label],
            )
            for label, node in self.schema.nodes.items()
        ]


def read_label(facts: GraphFacts, store: GraphStore, label: str) -> None:
    """Reads the nodes of a label, property by property."""
    node = facts.schema.node(label)
    try:
        keys = _flat(store.read_nodes(label, [])[node.key])
        # In an order of their own, so that every store gives the same examples.
        keys = keys.take(pc.sort_indices(keys))
    except SchemaError:
        facts.unknown.append(label)
        keys = pa.array([], pa.string())
    count = len(keys)
    facts.keys[label] = keys
    readable = [name for name, prop in node.properties.items() if prop.type != "float_list"]
    facts.filled[label] = dict.fromkeys(readable, 0)
    facts.linked[label] = np.zeros(count, dtype=bool)
    empty = np.ones(count, dtype=bool)
    for table in _properties(store, label, readable, count):
        place = _codes(table[node.key], keys)
        for name in table.column_names[1:]:
            has = _has_value(table[name])
            facts.filled[label][name] = int(has.sum())
            empty[place[has]] = False
            if name == node.time:
                facts.undated[label] = np.ones(count, dtype=bool)
                facts.undated[label][place[has]] = False
            if name == node.name:
                back = np.empty(count, np.int64)
                back[place] = np.arange(count)
                values = pc.if_else(pa.array(has), _flat(table[name]), pa.scalar(None, table[name].type))
                facts.names[label] = values.take(pa.array(back))
    facts.empty[label] = empty if len(node.properties) else ~empty
    if label == facts.roles.user:
        facts.active = np.zeros(count, dtype=bool)
    if label == facts.roles.product:
        facts.branded, facts.categorised, facts.sold = (np.zeros(count, dtype=bool) for _ in range(3))
    if label == facts.roles.brand:
        facts.made = np.zeros(count, np.int64)


def _properties(store: GraphStore, label: str, names: list[str], count: int) -> Iterator[pa.Table]:
    """The properties of a label; one by one where all at once would not fit, or one is unknown."""
    if not names or not count:
        return
    if count <= _ROWS_AT_ONCE or len(names) == 1:
        try:
            yield store.read_nodes(label, names)
            return
        except SchemaError:
            if len(names) == 1:
                return
    for name in names:
        yield from _properties(store, label, [name], count)


def read_edge(facts: GraphFacts, store: GraphStore, edge: EdgeType) -> pa.Table:
    """Reads one edge type, into `facts`.

    Returns:
        The numbers and times of its relationships and their ends, for what else looks at them.
    """
    rel = facts.schema.relationship(edge)
    table = _edge_table(facts, store, edge, rel)
    start, end = _codes(table["source"], facts.keys[edge[0]]), _codes(table["target"], facts.keys[edge[2]])
    name = "-".join(edge)
    degrees = []
    for side, codes, label in (("start", start, edge[0]), ("end", end, edge[2])):
        degree = np.bincount(codes, minlength=len(facts.keys[label]))
        degrees.append(_distribution(label, degree))
        if rel.kind in ("fact", "event", "judgement"):
            facts.linked[label] |= degree > 0
        if rel.kind == "event" and label == facts.roles.user:
            # What somebody does over and over stands on one relationship for each product.
            degree = _times_done(codes, table, degree)
            facts.active |= (degree > 0) & (side == "start")
        if rel.kind == "event" and label == facts.roles.product:
            facts.sold |= degree > 0
        _find_hubs(facts, name, label, degree)
    if edge in facts.roles.brand_edges:
        facts.branded[start] = True
        facts.made += np.bincount(end, minlength=len(facts.made))
    if edge in facts.roles.category_edges:
        facts.categorised[start] = True
    if edge in facts.roles.tree_edges:
        facts.tree[edge] = start, end
    facts.edges.append(EdgeStats(name, rel.kind, table.num_rows, *degrees))
    if rel.time is not None and rel.time in table.column_names:
        # Where only the first is known it is the last one too.
        timed = table.filter(pc.is_valid(table[rel.time]))
        times = [timed[rel.time]]
        if "last_at" in timed.column_names:
            times.append(pc.coalesce(timed["last_at"], timed[rel.time]))
        local = [_micros(_shown_in(facts.zone, column)) for column in times]
        now = _shown_in(facts.zone, pa.array([facts.now], pa.timestamp("us")))[0].as_py()
        if (found := time_stats(name, local, now)) is not None:
            facts.times.append(found)
    return table


def _times_done(codes: IntArray, table: pa.Table, degree: IntArray) -> IntArray:
    """Of each node how many events its relationships stand for; no less than these."""
    if "count" not in table.column_names:
        return degree
    times = np.asarray(pc.fill_null(pc.cast(table["count"], pa.int64()), 1)).clip(1)
    return np.bincount(codes, times, minlength=len(degree)).astype(np.int64)


def _edge_table(facts: GraphFacts, store: GraphStore, edge: EdgeType, rel: RelationshipType) -> pa.Table:
    wanted = [n for n, p in rel.properties.items() if p.type in _READ] if rel.kind == "event" else []
    if rel.kind == "derived" and "cut" in rel.properties:
        wanted = ["cut"]
    unknown = {edge[0], edge[2]} & set(facts.unknown)
    try:
        if not unknown:
            return store.read_relationships(edge, wanted)
    except SchemaError:
        # An older store may lack a property only.
        try:
            return store.read_relationships(edge, [rel.time] if rel.time else [])
        except SchemaError:
            pass
    facts.unknown.append("-".join(edge))
    return facts.schema.edge_arrow_schema(edge).empty_table()


def _find_hubs(facts: GraphFacts, name: str, label: str, degree: IntArray) -> None:
    total, nodes = int(degree.sum()), int((degree > 0).sum())
    # Where few nodes share all there is, a large share is nothing to wonder at.
    limit = max(facts.hub_share * total, 10 * total / nodes) if nodes else 0
    if not limit:
        return
    for code in np.flatnonzero(degree > limit)[:1000]:
        count = int(degree[code])
        key = facts.keys[label][int(code)].as_py()
        facts.hubs.append(Hub(name, label, key, facts.name(label, int(code)), count, count / total))


def _distribution(label: str, degree: IntArray) -> Distribution:
    some = degree[degree > 0]
    if not len(some):
        return Distribution(label, 0, len(degree), 0, 0.0, 0.0, 0.0, 0, [])
    # Exact powers of two: 1, 2-3, 4-7, …
    bins = np.bincount(np.frexp(some.astype(np.float64))[1] - 1)
    return Distribution(
        label=label,
        nodes=len(some),
        without=len(degree) - len(some),
        min=int(some.min()),
        median=float(np.median(some)),
        mean=float(some.mean()),
        p99=float(np.percentile(some, 99)),
        max=int(some.max()),
        histogram=[(2**i, 2 ** (i + 1) - 1, int(n)) for i, n in enumerate(bins)],
    )


def _has_value(column: Any) -> BoolArray:
    has = pc.is_valid(column)
    if pa.types.is_string(column.type):
        has = pc.and_(has, pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False))
    return np.asarray(has).astype(bool)


def _shown_in(zone: str, times: Any) -> Any:
    """Times in UTC as the clocks of a zone show them."""
    return times if zone == "UTC" else pc.local_timestamp(pc.cast(times, pa.timestamp("us", zone)))


def _micros(column: Any) -> IntArray:
    return np.asarray(column.cast(pa.int64())).astype(np.int64)


def _codes(column: Any, keys: pa.Array) -> IntArray:
    return np.asarray(pc.index_in(_flat(column), value_set=keys)).astype(np.int64)


def _flat(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
