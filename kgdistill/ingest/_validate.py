"""Tables checked against the schema: columns, types, keys, required values, ends."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError
from kgdistill.ingest._cast import ColumnTypeError, cast_column, words
from kgdistill.ingest._events import aggregate_lines
from kgdistill.ingest._model import GraphTables, Lines, Origin, Rejects, TypeKey, type_name
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import NodeType, PropertyType, RelationshipType, Schema

_LINE_COLUMNS: dict[str, PropertyType] = {"at": "timestamp", "quantity": "int64", "amount": "double"}
_Bools = npt.NDArray[np.bool_]


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing; case is no difference."""
    folded = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]!r}? " if close else ""


def conform(
    schema: Schema, key: TypeKey, table: pa.Table, origin: Origin, rejects: Rejects
) -> tuple[pa.Table, Origin]:
    """Checks one table alone; bad rows go to `rejects`, event lines are aggregated.

    Raises:
        InputError: unknown, repeated or missing column; a column of another kind than its type.
    """
    item: NodeType | RelationshipType
    item = schema.node(key) if isinstance(key, str) else schema.relationship(key)
    ends = [item.key] if isinstance(item, NodeType) else ["source", "target"]
    lines = isinstance(item, RelationshipType) and takes_lines(item) and "at" in table.column_names
    kinds: dict[str, PropertyType] = dict.fromkeys(ends, "string")
    if lines:
        kinds |= _line_columns(item)
        required = [*ends, "at"]
    else:
        kinds |= {name: prop.type for name, prop in item.properties.items()}
        required = [*ends, *(name for name, prop in item.properties.items() if prop.required)]
    _check_columns(table.column_names, kinds, required, origin.source, item)

    bad: _Bools = np.zeros(table.num_rows, dtype=bool)
    columns: dict[str, pa.Array] = {}
    for name in [n for n in kinds if n in table.column_names]:
        kind = kinds[name]
        try:
            columns[name], failed = cast_column(table[name], kind)
        except ColumnTypeError as error:
            raise InputError(
                f"the column {name!r} {error}", where=origin.source, hint=f"it should hold {words(kind)}"
            ) from error
        for row in failed[~bad[failed]]:
            rejects.add(
                origin.source, origin.of(int(row))[0], name, table[name][int(row)], f"is not {words(kind)}"
            )
        bad[failed] = True
        if name in required:
            empty = np.flatnonzero(np.asarray(pc.is_null(columns[name])) & ~bad)
            for row in empty:
                rejects.add(origin.source, origin.of(int(row))[0], name, None, "is empty, but required")
            bad[empty] = True
    result = pa.table(columns)
    result, origin = _keep(result, origin, ~bad)
    if lines:
        assert isinstance(item, RelationshipType)
        return _aggregate(item, result, origin)
    identity = ends if isinstance(item, NodeType) else [*ends, *item.identity]
    return _drop_repeated(identity, result, origin, rejects)


def takes_lines(item: RelationshipType) -> bool:
    """Whether events of this type may be given line by line, with the column `at`."""
    return item.time == "first_at" and "at" not in item.properties


def _line_columns(item: NodeType | RelationshipType) -> dict[str, PropertyType]:
    names = ["at"]
    names += ["quantity"] if "first_quantity" in item.properties else []
    names += ["amount"] if "spend" in item.properties else []
    return {name: _LINE_COLUMNS[name] for name in names}


def _check_columns(
    present: list[str],
    kinds: dict[str, PropertyType],
    required: list[str],
    where: str,
    item: NodeType | RelationshipType,
) -> None:
    known = list(kinds)
    if isinstance(item, RelationshipType) and takes_lines(item) and "at" not in kinds:
        lines = ", ".join(["source", "target", *_line_columns(item)])
        extra = f"; or, for single lines: {lines}"
    else:
        extra = ""
    repeated = [name for i, name in enumerate(present) if name in present[:i]]
    if repeated:
        raise InputError(f"has the column {repeated[0]!r} twice", where=where)
    missing = [name for name in required if name not in present]
    for name in present:
        if name not in kinds:
            # A missing required column is the likeliest thing that a misspelt one was meant to be.
            hint = nearest(name, missing) or nearest(name, [k for k in known if k not in present])
            raise InputError(
                f"has a column {name!r}, which the schema does not know",
                where=where,
                hint=f"{hint}it can have: {', '.join(known)}{extra}",
            )
    if missing:
        raise InputError(
            f"lacks the column {missing[0]!r}", where=where, hint=f"it needs: {', '.join(required)}{extra}"
        )


def _keep(table: pa.Table, origin: Origin, mask: _Bools) -> tuple[pa.Table, Origin]:
    if mask.all():
        return table, origin
    return table.filter(pa.array(mask)), origin.take(np.flatnonzero(mask).astype(np.int64))


def codes_of(column: Any) -> tuple[Lines, pa.Array]:
    """A string column as codes that follow the order of its distinct values."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    distinct = pc.unique(array)
    distinct = distinct.take(pc.sort_indices(distinct))
    codes = pc.index_in(array, value_set=distinct)
    return np.asarray(codes).astype(np.int64), distinct


def _drop_repeated(
    identity: list[str], table: pa.Table, origin: Origin, rejects: Rejects
) -> tuple[pa.Table, Origin]:
    frame = pd.DataFrame({name: codes_of(table[name])[0] for name in identity})
    again = frame.duplicated(keep="first").to_numpy()
    if not again.any():
        return table, origin
    # Walked backwards, so that the first row of each identity is the one that stays.
    repeated = frame[frame.duplicated(keep=False)][::-1]
    pairs = zip(repeated.itertuples(index=False, name=None), repeated.index, strict=True)
    first = {values: int(i) for values, i in pairs}
    for row in np.flatnonzero(again):
        line = origin.of(first[tuple(frame.iloc[int(row)])])[0]
        value = " -> ".join(str(table[name][int(row)]) for name in identity)
        rejects.add(
            origin.source, origin.of(int(row))[0], identity[0], value, f"stands already in line {line}"
        )
    return _keep(table, origin, ~again)


def _aggregate(item: RelationshipType, table: pa.Table, origin: Origin) -> tuple[pa.Table, Origin]:
    source, sources = codes_of(table["source"])
    target, targets = codes_of(table["target"])
    rows = table.num_rows
    quantity = np.ones(rows, np.int64)
    if "quantity" in table.column_names:
        # A line that does not say how many is a purchase of one.
        quantity = np.asarray(pc.fill_null(table["quantity"], 1)).astype(np.int64)
    amount = np.zeros(rows)
    if "amount" in table.column_names:
        amount = np.asarray(pc.fill_null(table["amount"], 0.0)).astype(np.float64)
    at = np.asarray(table["at"]).astype("datetime64[us]")
    pairs = aggregate_lines(source, target, at, quantity, amount)
    columns: dict[str, pa.Array] = {
        "source": sources.take(pa.array(pairs.source)),
        "target": targets.take(pa.array(pairs.target)),
        "first_at": pa.array(pairs.first_at, type=pa.timestamp("us")),
    }
    if "quantity" in table.column_names:
        columns["first_quantity"] = pa.array(pairs.first_quantity)
    if "last_at" in item.properties:
        columns["last_at"] = pa.array(pairs.last_at, type=pa.timestamp("us"))
    if "count" in item.properties:
        columns["count"] = pa.array(pairs.count)
    if "amount" in table.column_names:
        columns["spend"] = pa.array(pairs.spend)
    return pa.table(columns), Origin(origin.source, origin.lines[pairs.order], pairs.offsets)


def validate_tables(
    schema: Schema, tables: GraphTables, *, stored_keys: Callable[[str], pa.Array] | None = None
) -> GraphTables:
    """Brings tables to the schema's types and leaves out the rows that do not fit it.

    Args:
        schema: the graph's schema.
        tables: node and relationship tables; columns may be text or looser types than the schema's.
            Events whose time is `first_at` may be given as lines: source, target, at[, quantity, amount].
        stored_keys: the keys of a label that stand elsewhere, such as in the store; a relationship may
            end there too. Asked only where an end is not among `tables`.

    Returns:
        Conforming tables; each row left out stands once in `rejects`, with its line and the first fault.

    Raises:
        InputError: an unknown, misspelt, repeated or missing column, a column of another kind than the
            schema's, or a node table without rows.
        SchemaError: an unknown label or edge type.
    """
    rejects = Rejects(tables.rejects)
    origins: dict[TypeKey, Origin] = {}
    nodes: dict[str, pa.Table] = {}
    edges: dict[EdgeType, pa.Table] = {}
    for label, table in tables.nodes.items():
        nodes[label], origins[label] = _checked(schema, label, table, tables, rejects)
    for edge, table in tables.edges.items():
        conforming, origin = _checked(schema, edge, table, tables, rejects)
        for column, label in (("source", edge[0]), ("target", edge[2])):
            known = nodes[label][schema.node(label).key] if label in nodes else None
            conforming, origin = _check_ends(conforming, origin, column, label, known, stored_keys, rejects)
        edges[edge], origins[edge] = conforming, origin
    return GraphTables(nodes, edges, rejects.table(), origins)


def _checked(
    schema: Schema, key: TypeKey, table: pa.Table, tables: GraphTables, rejects: Rejects
) -> tuple[pa.Table, Origin]:
    origin = tables.origins.get(key)
    if isinstance(key, str) and table.num_rows == 0 and origin is None:
        raise InputError("has no rows", where=type_name(key), hint="leave the table out, or fill it")
    if origin is None:
        origin = Origin(type_name(key), np.arange(1, table.num_rows + 1, dtype=np.int64))
    return conform(schema, key, table, origin, rejects)


def _check_ends(
    table: pa.Table,
    origin: Origin,
    column: str,
    label: str,
    known: Any,
    stored_keys: Callable[[str], pa.Array] | None,
    rejects: Rejects,
) -> tuple[pa.Table, Origin]:
    nothing = pa.array([], type=pa.string())
    found = np.asarray(pc.is_in(table[column], value_set=known if known is not None else nothing))
    if not found.all() and stored_keys is not None:
        found = found | np.asarray(pc.is_in(table[column], value_set=stored_keys(label)))
    for row in np.flatnonzero(~found):
        for line in origin.of(int(row)):
            rejects.add(origin.source, line, column, table[column][int(row)], f"there is no such {label}")
    return _keep(table, origin, found)
