"""The Cypher that the Neo4j store sends, and how Arrow columns travel in it.

Names come from the schema alone and stand in back-quotes; every value is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import StoreError
from kgdistill.store.protocol import EdgeType, Scalar
from kgdistill.store.schema import Schema

META = "`_KgdistillSchema`"
WRITER = "`_KgdistillWriter`"
LOCK = "`_KgdistillLock`"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

BATCH_ROWS = 10_000
# A vector is as large as hundreds of plain values.
BATCH_ROWS_LISTS = 1_000

# Takes the turn of a relationship type (the first SET waits for its lock), and says who had it before.
TAKE_TURN = (
    f"MERGE (w:{WRITER} {{type: $type}}) SET w.locked = true "
    "WITH w, w.token AS before SET w.token = $token RETURN before"
)


def quoted(name: str) -> str:
    """A name in back-quotes; the schema has already refused anything but letters, digits and _."""
    return "`" + name.replace("`", "``") + "`"


def constraints(schema: Schema) -> list[str]:
    """The statements that make every label's key unique, and ours; each can be repeated."""
    keys = [(quoted(label), quoted(node.key)) for label, node in schema.nodes.items()]
    keys += [(META, "id"), (WRITER, "type")]
    return [
        f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE" for label, key in keys
    ]


def zone_times(schema: Schema) -> list[str]:
    """The statements that give times without a zone UTC; each runs in transactions of its own."""
    items = [("(x:{})", label, node.properties) for label, node in schema.nodes.items()]
    items += [("()-[x:{}]->()", name, rel.properties) for name, rel in schema.relationships.items()]
    return [
        f"MATCH {pattern.format(quoted(owner))} WHERE x.{quoted(name)} IS :: LOCAL DATETIME NOT NULL "
        f"CALL (x) {{ SET x.{quoted(name)} = datetime({{datetime: x.{quoted(name)}, timezone: 'Z'}}) }} "
        f"IN TRANSACTIONS OF {BATCH_ROWS} ROWS"
        for pattern, owner, properties in items
        for name, prop in properties.items()
        if prop.type == "timestamp"
    ]


def write_nodes(label: str, key: str, table: pa.Table, *, create: bool, clear_nulls: bool) -> str:
    """Takes $rows, lists in the order of `table`'s columns, and $epoch; returns how many it wrote."""
    verb = "CREATE" if create else "MERGE"
    match = f"{verb} (n:{quoted(label)} {{{quoted(key)}: row[{table.column_names.index(key)}]}})"
    return f"UNWIND $rows AS row {match}{_set('n', table, {key}, clear_nulls)} RETURN count(*) AS written"


def write_edges(schema: Schema, edge: EdgeType, table: pa.Table, *, create: bool, clear_nulls: bool) -> str:
    """Takes $rows and $epoch as `write_nodes` does; a row whose ends are not there is not counted."""
    identity = schema.relationship(edge).identity
    verb = "CREATE" if create else "MERGE"
    return (
        f"UNWIND $rows AS row {_ends(schema, edge)}"
        f"{verb} {_relationship(schema, edge, table)}"
        f"{_set('r', table, {'source', 'target', *identity}, clear_nulls)} RETURN count(*) AS written"
    )


def delete_these_edges(schema: Schema, edge: EdgeType, table: pa.Table) -> str:
    """Takes $rows and $epoch as `write_edges` does; returns how many relationships there were."""
    return (
        f"UNWIND $rows AS row {_ends(schema, edge)}MATCH {_relationship(schema, edge, table)} "
        "WITH DISTINCT r DELETE r RETURN count(*) AS deleted"
    )


def _ends(schema: Schema, edge: EdgeType) -> str:
    source, target = edge[0], edge[2]
    return (
        f"MATCH (s:{quoted(source)} {{{quoted(schema.node(source).key)}: row[0]}}) "
        f"MATCH (t:{quoted(target)} {{{quoted(schema.node(target).key)}: row[1]}}) "
    )


def _relationship(schema: Schema, edge: EdgeType, table: pa.Table) -> str:
    identity = schema.relationship(edge).identity
    held = ", ".join(f"{quoted(p)}: {_value(table, p)}" for p in identity)
    return f"(s)-[r:{quoted(edge[1])}{f' {{{held}}}' if held else ''}]->(t)"


def missing_keys(label: str, key: str) -> str:
    """Takes $keys; returns those that no node of `label` has."""
    return (
        f"UNWIND $keys AS key OPTIONAL MATCH (n:{quoted(label)} {{{quoted(key)}: key}}) "
        "WITH key, n WHERE n IS NULL RETURN collect(key) AS missing"
    )


def edge_type_is_empty(edge: EdgeType) -> str:
    """Both counts come from the count store: no relationship is looked at."""
    source, name, target = (quoted(part) for part in edge)
    return (
        f"CALL () {{ MATCH (:{source})-[r:{name}]->() RETURN count(r) AS a }} "
        f"CALL () {{ MATCH ()-[r:{name}]->(:{target}) RETURN count(r) AS b }} RETURN a = 0 OR b = 0 AS empty"
    )


def edge_type_holds_any(edge: EdgeType) -> str:
    """Exact for one pair of ends, where `edge_type_is_empty` may err on the safe side."""
    source, name, target = (quoted(part) for part in edge)
    return f"RETURN EXISTS {{ MATCH (:{source})-[:{name}]->(:{target}) }} AS held"


def count_these_nodes(label: str, key: str) -> str:
    """Takes $keys; returns how many nodes there are, and how many relationships hang on them."""
    match = f"UNWIND $keys AS key MATCH (n:{quoted(label)} {{{quoted(key)}: key}})"
    return f"{match} RETURN count(n) AS nodes, coalesce(sum(COUNT {{ (n)--() }}), 0) AS edges"


def delete_edges_of(label: str, key: str) -> str:
    """Takes $keys and $limit; deletes up to so many relationships of these nodes and returns how many."""
    match = f"UNWIND $keys AS key MATCH (:{quoted(label)} {{{quoted(key)}: key}})-[r]-()"
    return f"{match} WITH DISTINCT r LIMIT $limit DELETE r RETURN count(*) AS deleted"


def delete_these_nodes(label: str, key: str) -> str:
    """Takes $keys; deletes these nodes with their relationships."""
    return f"UNWIND $keys AS key MATCH (n:{quoted(label)} {{{quoted(key)}: key}}) DETACH DELETE n"


def delete_nodes(label: str, key: str, replace: Mapping[str, Scalar]) -> str:
    """Takes $keep and $r0, $r1, …, the values of `replace` in its order."""
    where = " AND ".join(f"n.{quoted(name)} = $r{i}" for i, name in enumerate(replace))
    return f"MATCH (n:{quoted(label)}) WHERE {where} AND NOT n.{quoted(key)} IN $keep DETACH DELETE n"


def delete_edges(edge: EdgeType, replace: Mapping[str, Scalar]) -> str:
    """Takes $r0, $r1, …"""
    source, name, target = (quoted(part) for part in edge)
    where = " AND ".join(f"r.{quoted(p)} = $r{i}" for i, p in enumerate(replace))
    return f"MATCH (:{source})-[r:{name}]->(:{target}) WHERE {where} DELETE r"


def read_nodes(label: str, key: str, types: pa.Schema) -> str:
    """Returns records of one list per column; takes $part, the nodes a record, and $epoch."""
    columns = ", ".join(f"[n IN part | {_reading('n', f)}] AS c{i}" for i, f in enumerate(types))
    return (
        f"MATCH (n:{quoted(label)}) WHERE n.{quoted(key)} IS NOT NULL WITH collect(n) AS ns "
        f"UNWIND range(0, size(ns) - 1, $part) AS i WITH ns[i..i + $part] AS part RETURN {columns}"
    )


def read_edges(schema: Schema, edge: EdgeType, types: pa.Schema) -> str:
    """Returns records of source keys and, per source, lists; takes $part, the sources a record, and $epoch.

    Packed lists: a record per relationship takes ten times as long.
    """
    source, name, target = edge
    properties = list(types)[2:]
    per_source = "".join(
        f", collect([r IN rs | {_reading('r', f)}]) AS c{i}" for i, f in enumerate(properties, 2)
    )
    held = ", collect(r) AS rs" if properties else ""
    return (
        f"MATCH (s:{quoted(source)}) WITH collect(s) AS ss "
        "UNWIND range(0, size(ss) - 1, $part) AS i "
        "CALL (ss, i) { UNWIND ss[i..i + $part] AS s "
        f"CALL (s) {{ MATCH (s)-[r:{quoted(name)}]->(t:{quoted(target)}) "
        f"RETURN collect(t.{quoted(schema.node(target).key)}) AS ts{held} }} "
        f"RETURN collect(s.{quoted(schema.node(source).key)}) AS c0, collect(ts) AS c1{per_source} }} "
        f"RETURN {', '.join(f'c{i}' for i in range(len(types)))}"
    )


def batches(table: pa.Table) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of `table` as tuples of what Bolt carries, a batch at a time."""
    has_lists = any(pa.types.is_list(f.type) for f in table.schema)
    size = BATCH_ROWS_LISTS if has_lists else BATCH_ROWS
    for start in range(0, table.num_rows, size):
        part = table.slice(start, size)
        yield list(zip(*(_to_bolt(column) for column in part.columns), strict=True))


def value_count(table: pa.Table) -> int:
    """How many values the server has to hold for `table`; a vector counts as many as it has elements."""
    lists = [column for column in table.columns if pa.types.is_list(column.type)]
    plain = table.num_rows * (table.num_columns - len(lists))
    return int(plain + sum(len(pc.list_flatten(column)) for column in lists))


def edge_columns(record: Sequence[Any], count: int) -> list[list[Any]]:
    """One flat list per column from a record of `read_edges`."""
    lengths = [len(targets) for targets in record[1]]
    sources = np.repeat(np.array(record[0], dtype=object), lengths).tolist()
    return [sources, *(list(chain.from_iterable(record[i])) for i in range(1, count))]


def to_arrow(values: Iterable[Any], field: pa.Field, where: str) -> pa.Array:
    """Values as they come over Bolt, in the schema's type; StoreError when one does not fit it."""
    try:
        if pa.types.is_timestamp(field.type):
            return pa.array(values, pa.int64()).cast(field.type)
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise StoreError(
            f"the store holds a value that is no {field.type}: {error}",
            where=f"{where}.{field.name}",
            hint="it was not written by kgdistill; correct it there",
        ) from error


def _to_bolt(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    array = column.combine_chunks()
    if pa.types.is_timestamp(kind):
        # Microseconds, of which the server makes a ZONED DATETIME; sending datetimes is 4x slower.
        array = array.cast(pa.int64())
    if pa.types.is_list(kind):
        return _lists(array)
    if array.null_count or pa.types.is_boolean(kind):
        return list(array.to_pylist())
    return list(array.to_numpy(zero_copy_only=False).tolist())


def _lists(array: pa.ListArray) -> list[list[float] | None]:
    values, offsets = array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy()
    valid = array.is_valid().to_pylist()
    return [
        values[a:b].tolist() if ok else None for a, b, ok in zip(offsets, offsets[1:], valid, strict=False)
    ]


def _set(variable: str, table: pa.Table, without: set[str], clear_nulls: bool) -> str:
    parts = []
    for index, field in enumerate(table.schema):
        column = table.column(field.name)
        if field.name in without or (column.null_count == table.num_rows and not clear_nulls):
            continue
        place = f"{variable}.{quoted(field.name)}"
        value = _value(table, field.name)
        is_time = pa.types.is_timestamp(field.type)
        if column.null_count and not clear_nulls:
            value = f"CASE WHEN row[{index}] IS NULL THEN {place} ELSE {value} END"
        elif clear_nulls and is_time:
            value = f"CASE WHEN row[{index}] IS NULL THEN null ELSE {value} END"
        parts.append(f"{place} = {value}")
    return f" SET {', '.join(parts)}" if parts else ""


def _value(table: pa.Table, name: str) -> str:
    raw = f"row[{table.column_names.index(name)}]"
    if not pa.types.is_timestamp(table.schema.field(name).type):
        return raw
    # In seconds and the rest: the server counts in nanoseconds, which overflow in 2262.
    return f"$epoch + duration({{seconds: {raw} / 1000000, microseconds: {raw} % 1000000}})"


def _reading(variable: str, field: pa.Field) -> str:
    place = f"{variable}.{quoted(field.name)}"
    if not pa.types.is_timestamp(field.type):
        return place
    return f"duration.inSeconds($epoch, {place}).seconds * 1000000 + {place}.microsecond"
