"""Decoys: unsold items beside new ones.

A catalogue that is made of what was ever sold holds no item that nobody wants: every new one sells in the
test, which flatters whatever shows new items at all. Decoys are in the graph before the snapshot, so that
every arm learns, is chosen and is asked with them there.
"""

from __future__ import annotations

import copy
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.ingest.model import GraphTables
from kgdistill.store import Schema
from kgdistill.tasks.match import MatchTask, Setting
from kgdistill.tasks.protocol import DiscoveryProtocol

WIDE: tuple[Setting, ...] = ("all", "cold_in_all")
"""The settings that rank the whole catalogue, decoys and all."""
_LEVELS = (1, 3, 9)
_PREFIX = "decoy-"
_TRIES = 20
_Drawn: TypeAlias = np.random.Generator


def levels(decoys: int) -> tuple[int, ...]:
    """With how many decoys beside each new item is judged, where the graph holds so many."""
    return (*(level for level in _LEVELS if level < decoys), *([decoys] if decoys else []))


def named(setting: str, level: int) -> str:
    """What a setting is called with so many decoys, such as cold_in_all+3."""
    return f"{setting}+{level}"


def with_decoys(
    tables: GraphTables, schema: Schema, protocol: DiscoveryProtocol, decoys: int, *, seed: int = 0
) -> GraphTables:
    """The graph with `decoys` unsold items for each new item that sells in the test.

    A decoy is an item drawn from the whole catalogue, with its properties and facts, but without a buyer and
    with one word of its name from another item. Its key says its round: rounds up to n are n decoys an item.

    Args:
        tables: the graph.
        schema: of the graph.
        protocol: says what a new item is and when the test is.
        decoys: how many rounds.
        seed: draws them.

    Raises:
        InputError: no new item sells, a key looks like a decoy's, or the protocol leaves out categories.
    """
    label = protocol.candidates
    key, name = schema.node(label).key, schema.node(label).name
    nodes = tables.nodes[label]
    if any(protocol.exclude_category_levels):
        raise InputError("decoys are drawn from every item, but the protocol leaves some out", where=label)
    if pc.any(pc.starts_with(nodes[key], _PREFIX)).as_py():
        raise InputError(f"a key begins with {_PREFIX!r}, as those of decoys do", where=label)
    count = _new_items(tables, schema, protocol)
    if not count:
        raise InputError("no new item sells in the test: there is nothing to set decoys beside", where=label)
    draw = np.random.default_rng(seed)
    real = np.flatnonzero(
        pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(nodes[name]), ""), False).to_numpy()
    )
    origins = np.concatenate([draw.choice(real, count, replace=count > len(real)) for _ in range(decoys)])
    names = nodes[name].to_pylist()
    made = pa.array([f"{_PREFIX}{1 + i // count}-{i % count}" for i in range(len(origins))])
    new = nodes.take(pa.array(origins))
    for column, values in ((key, made), (name, _renamed(origins, real, names, draw))):
        at = new.column_names.index(column)
        new = new.set_column(
            at, nodes.schema.field(column), pa.array(values, nodes.schema.field(column).type)
        )
    keys = nodes[key].take(pa.array(origins)).to_pylist()
    edges = {
        edge: _copied(rows, keys, made) if edge[0] == label and edge in schema.edges("fact") else rows
        for edge, rows in tables.edges.items()
    }
    return GraphTables({**tables.nodes, label: pa.concat_tables([nodes, new])}, edges, tables.rejects)


def up_to(task: MatchTask, level: int) -> MatchTask:
    """The same task, with the decoys of the first `level` rounds alone among what is ranked."""
    part = copy.copy(task)
    part.items = task.items[_rounds(task)[task.items] <= level]
    return part


def _rounds(task: MatchTask) -> IntArray:
    """int64 [all items]: the round of a decoy, 0 of any other."""
    found = pc.extract_regex(task.item_keys.cast(pa.string()), rf"^{_PREFIX}(?P<round>\d+)-")
    told = pc.fill_null(pc.struct_field(found, "round"), "0")
    return np.asarray(told.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def _new_items(tables: GraphTables, schema: Schema, protocol: DiscoveryProtocol) -> int:
    """How many items that are cold at the test's start sell in it."""
    edge = protocol.interaction
    time = schema.relationship(edge).time
    if time is None:
        raise InputError(f"{edge[1]} has no time, so that no item is new", where=protocol.title)
    rows = tables.edges[edge]
    if "first_quantity" in rows.column_names:
        rows = rows.filter(pc.fill_null(pc.greater(rows["first_quantity"], 0), True))
    item, user = ("source", "target") if protocol.reverse else ("target", "source")
    at = rows[time].cast(pa.timestamp("us"))
    start = pa.scalar(protocol.test_start, pa.timestamp("us"))
    known = rows.filter(pc.less(at, pa.scalar(protocol.snapshot_cut, pa.timestamp("us"))))
    inside = pc.greater_equal(at, start)
    if protocol.test_end is not None:
        inside = pc.and_(inside, pc.less(at, pa.scalar(protocol.test_end, pa.timestamp("us"))))
    buyers = known.group_by(item).aggregate([(user, "count_distinct")])
    warm = buyers.filter(pc.greater_equal(buyers[f"{user}_count_distinct"], protocol.min_item_users))[item]
    asked = pc.unique(rows.filter(inside)[item])
    return int(pc.sum(pc.invert(pc.is_in(asked, warm.combine_chunks()))).as_py() or 0)


def _renamed(origins: IntArray, real: IntArray, names: list[str | None], draw: _Drawn) -> list[str]:
    """The origins' names with one word of another item each; none is an item's own."""
    taken = set(names)
    found = []
    for origin in origins.tolist():
        words = str(names[origin]).split()
        for _ in range(_TRIES):
            other = str(names[int(draw.choice(real))]).split()
            at = int(draw.integers(len(words)))
            name = " ".join([*words[:at], str(draw.choice(other)), *words[at + 1 :]])
            if name not in taken:
                break
        taken.add(name)
        found.append(name)
    return found


def _copied(rows: pa.Table, origins: list[str], decoys: pa.Array) -> pa.Table:
    """A fact's rows, and those of each origin once more for its decoy."""
    of: dict[str, list[int]] = {}
    for at, source in enumerate(rows["source"].to_pylist()):
        of.setdefault(source, []).append(at)
    pairs = [
        (at, made)
        for origin, made in zip(origins, decoys.to_pylist(), strict=True)
        for at in of.get(origin, [])
    ]
    new = rows.take(pa.array([at for at, _ in pairs], pa.int64()))
    place = new.column_names.index("source")
    field = rows.schema.field("source")
    new = new.set_column(place, field, pa.array([made for _, made in pairs], field.type))
    return pa.concat_tables([rows, new])
