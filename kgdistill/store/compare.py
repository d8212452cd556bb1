"""Two graphs side by side: counts and checksums by type, and a copy from one to the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import SchemaError, StoreError
from kgdistill.progress import step
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema

# Rows written at a time: the embedded store looks at a whole table for each write.
_WRITE_ROWS = 1_000_000


@dataclass(frozen=True)
class TypeMark:
    """One type of a graph in short.

    Attributes:
        rows: nodes or relationships.
        checksum: 32 hexadecimal digits of every key and property, whatever the order of the rows; no defence
            against somebody who wants two graphs to look alike.
    """

    rows: int
    checksum: str


@dataclass(frozen=True)
class Difference:
    """A type in which two graphs differ.

    Attributes:
        type: such as `Product` or `User-BOUGHT-Product`.
        left, right: how it looks on each side.
        only_left, only_right: how many keys stand on one side alone.
        changed: how many stand on both with other properties.
        example: one such key; ends joined by ` -> `.
    """

    type: str
    left: TypeMark
    right: TypeMark
    only_left: int
    only_right: int
    changed: int
    example: str


def mark(table: pa.Table) -> TypeMark:
    """The count and checksum of a table; rows in any order and columns that are all null change nothing."""
    names = sorted(n for n in table.column_names if table[n].null_count < table.num_rows)
    if not table.num_rows:
        return TypeMark(0, "0" * 32)
    with duckdb.connect(":memory:") as db:
        db.execute("SET threads = 2")
        db.register("rows_arrow", _plain(table.select(names)))
        # The names too: a value that moved to another property is a difference.
        columns = ", ".join(f"'{name}', \"{name}\"" for name in names)
        found = db.execute(
            f"SELECT bit_xor(h), sum(h::HUGEINT) % 18446744073709551616 FROM "
            f"(SELECT hash({columns}) AS h FROM rows_arrow)"
        ).fetchall()[0]
    return TypeMark(int(table.num_rows), f"{int(found[0]):016x}{int(found[1]):016x}")


def _plain(table: pa.Table) -> pa.Table:
    """Negative zero is zero: the stores do not agree on its sign."""
    columns = [
        pc.if_else(pc.equal(c, 0.0), pa.scalar(0.0, c.type), c) if pa.types.is_floating(c.type) else c
        for c in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def tables_of(store: GraphStore, schema: Schema) -> Iterator[tuple[str, pa.Table]]:
    """Every type of the schema with all that the store holds of it, labels first."""
    for label in schema.nodes:
        try:
            table = store.read_nodes(label)
        except SchemaError:
            table = schema.node_arrow_schema(label).empty_table()
        yield label, table
    for edge in schema.edges():
        try:
            table = store.read_relationships(edge)
        except SchemaError:
            table = schema.edge_arrow_schema(edge).empty_table()
        yield "-".join(edge), table


def marks(store: GraphStore, schema: Schema) -> dict[str, TypeMark]:
    """The count and checksum of every type of the schema."""
    total = len(schema.nodes) + len(schema.edges())
    found: dict[str, TypeMark] = {}
    with step("reading the graph", total=total) as progress:
        for name, table in tables_of(store, schema):
            found[name] = mark(table)
            progress.note(name)
            progress.advance()
    return found


def compare(
    left: GraphStore, right: GraphStore, schema: Schema
) -> tuple[dict[str, TypeMark], list[Difference]]:
    """The types of two graphs, and where they differ.

    Returns:
        The marks of `left`, and a difference for each type that is not the same on both sides.
    """
    total = len(schema.nodes) + len(schema.edges())
    found: dict[str, TypeMark] = {}
    differences: list[Difference] = []
    with step("comparing", total=total) as progress:
        pairs = zip(tables_of(left, schema), tables_of(right, schema), strict=True)
        for (name, one), (_, other) in pairs:
            progress.note(name)
            found[name] = mark(one)
            its = mark(other)
            if found[name] != its:
                differences.append(_difference(schema, name, one, other, found[name], its))
            progress.advance()
    return found, differences


def _identity(schema: Schema, name: str) -> list[str]:
    if name in schema.nodes:
        return [schema.nodes[name].key]
    source, kind, target = name.split("-")
    return ["source", "target", *schema.relationship((source, kind, target)).identity]


def _difference(
    schema: Schema, name: str, one: pa.Table, other: pa.Table, left: TypeMark, right: TypeMark
) -> Difference:
    keys = _identity(schema, name)
    joined = ", ".join(f'"{k}"' for k in keys)
    shared = [n for n in one.column_names if n in other.column_names]
    every = ", ".join(f'"{n}"' for n in shared)
    with duckdb.connect(":memory:") as db:
        db.register("one", _plain(one.select(shared)))
        db.register("other", _plain(other.select(shared)))

        def rows(select: str) -> list[tuple[object, ...]]:
            found: list[tuple[object, ...]] = db.execute(select).fetchall()
            return found

        only_left = rows(f"SELECT {joined} FROM one EXCEPT SELECT {joined} FROM other")
        only_right = rows(f"SELECT {joined} FROM other EXCEPT SELECT {joined} FROM one")
        moved = rows(
            f"SELECT {joined} FROM (SELECT {every} FROM one EXCEPT SELECT {every} FROM other) "
            f"SEMI JOIN other USING ({joined})"
        )
    first = next(iter([*only_left, *only_right, *moved]), ())
    example = " -> ".join(str(part) for part in first)[:200]
    return Difference(name, left, right, len(only_left), len(only_right), len(moved), example)


def copy(source: GraphStore, target: GraphStore, schema: Schema, *, wait_s: float = 0.0) -> dict[str, int]:
    """Writes every node and relationship of `source` to `target`; what is there already is updated.

    Again after a kill: the same graph.

    Args:
        source: an open store.
        target: another one.
        schema: the types that are copied.
        wait_s: how long to wait for another writer.

    Returns:
        Rows by type.

    Raises:
        StoreError: both are the same store; or from a store.
    """
    if source.url == target.url:
        raise StoreError("cannot be copied onto itself", where=source.url)
    written: dict[str, int] = {}
    with (
        target.changes(wait_s=wait_s),
        step("copying", total=len(schema.nodes) + len(schema.edges())) as progress,
    ):
        target.apply_schema(schema)
        for name, table in tables_of(source, schema):
            progress.note(name)
            with target.reindexed(name, {}):
                written[name] = sum(_write(target, schema, name, part) for part in _parts(table))
            progress.advance()
    return written


def _parts(table: pa.Table) -> Sequence[pa.Table]:
    filled = table.select([n for n in table.column_names if table[n].null_count < table.num_rows])
    return [filled.slice(start, _WRITE_ROWS) for start in range(0, table.num_rows, _WRITE_ROWS)]


def _write(target: GraphStore, schema: Schema, name: str, table: pa.Table) -> int:
    if name in schema.nodes:
        return target.write_nodes(name, table)
    source, kind, end = name.split("-")
    edge: EdgeType = (source, kind, end)
    return target.write_relationships(edge, table)
