"""Checks that every store makes before it writes or reads; nothing is written when one fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import SchemaError
from kgdistill.store.protocol import EdgeType, Scalar
from kgdistill.store.schema import Schema


def edge_name(edge: EdgeType) -> str:
    """`(User)-[BOUGHT]->(Product)`, for messages."""
    return f"({edge[0]})-[{edge[1]}]->({edge[2]})"


def conform_nodes(schema: Schema, label: str, table: pa.Table) -> pa.Table:
    """The key, then the columns that `table` carries, in the schema's order and types.

    Raises:
        SchemaError: unknown label or column, wrong type, null or repeated key.
    """
    key = schema.node(label).key
    result = _conform(table, schema.node_arrow_schema(label), [key], label)
    _unique(result, [key], label)
    return result


def conform_relationships(schema: Schema, edge: EdgeType, table: pa.Table) -> pa.Table:
    """`source`, `target`, then the columns that `table` carries, in the schema's order and types.

    Raises:
        SchemaError: unknown type or column, wrong type, null end or identity, a relationship twice.
    """
    identity = ["source", "target", *schema.relationship(edge).identity]
    result = _conform(table, schema.edge_arrow_schema(edge), identity, edge_name(edge))
    _unique(result, identity, edge_name(edge))
    return result


def conform_keys(label: str, keys: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The distinct keys, as strings.

    Raises:
        SchemaError: they are no strings, or one is null.
    """
    result = _cast(keys, pa.string(), label)
    if result.null_count:
        raise SchemaError(f"the key is null in {result.null_count:,} rows", where=label)
    result = pc.unique(result)
    return result.combine_chunks() if isinstance(result, pa.ChunkedArray) else result


def conform_identities(schema: Schema, edge: EdgeType, table: pa.Table) -> pa.Table:
    """`source`, `target` and the identity columns of `table`, each combination once.

    Raises:
        SchemaError: unknown or missing column, wrong type, null end or identity.
    """
    names = ["source", "target", *schema.relationship(edge).identity]
    result = _conform(table, schema.edge_arrow_schema(edge), names, edge_name(edge))
    return result.group_by(names).aggregate([]).select(names)


def conform_replace(
    types: pa.Schema, replace: Mapping[str, Scalar] | None, where: str
) -> dict[str, Scalar] | None:
    """`replace` with values in the types of their properties; None where none was given.

    Raises:
        SchemaError: empty, an unknown property, a list property, a null or a value of the wrong type.
    """
    if replace is None:
        return None
    if not replace:
        raise SchemaError("replace names no property, which would delete everything", where=where)
    result: dict[str, Scalar] = {}
    for name, value in replace.items():
        if name not in types.names or name in ("source", "target"):
            known = ", ".join(n for n in types.names if n not in ("source", "target"))
            raise SchemaError(
                f"replace names an unknown property {name!r}", where=where, hint=f"known: {known}"
            )
        kind = types.field(name).type
        if value is None or pa.types.is_list(kind):
            raise SchemaError(f"replace cannot compare {name!r} with {value!r}", where=where)
        result[name] = _cast(pa.array([value]), kind, f"{where}.{name}")[0].as_py()
    return result


def chosen_columns(types: pa.Schema, columns: Sequence[str] | None, fixed: int, where: str) -> pa.Schema:
    """The first `fixed` columns of `types`, then `columns` (None: all the others).

    Raises:
        SchemaError: an unknown or repeated column.
    """
    if columns is None:
        return types
    free = types.names[fixed:]
    for name in columns:
        if name not in free:
            raise SchemaError(f"unknown column {name!r}", where=where, hint=f"known: {', '.join(free)}")
    if len(set(columns)) != len(columns):
        raise SchemaError("a column is asked for twice", where=where)
    return pa.schema([types.field(n) for n in [*types.names[:fixed], *columns]])


def missing_end(edge: EdgeType, side: str, ends: pa.ChunkedArray, missing: pa.ChunkedArray) -> None:
    """SchemaError that names the first of `ends` where `missing` is true; nothing where none is."""
    if not pc.any(missing).as_py():
        return
    gone = pc.unique(pc.filter(ends, missing))
    label = edge[0] if side == "source" else edge[2]
    more = f" (and {len(gone) - 1:,} more)" if len(gone) > 1 else ""
    raise SchemaError(
        f"no {label} has the key {gone[0].as_py()!r}{more}",
        where=f"{edge_name(edge)}.{side}",
        hint=f"write the {label} nodes first, or drop these rows",
    )


def _conform(table: pa.Table, types: pa.Schema, required: Sequence[str], where: str) -> pa.Table:
    names = table.column_names
    check_names(names, types, required, where)
    fields = [f for f in types if f.name in names]
    columns = [_cast(table.column(f.name), f.type, f"{where}.{f.name}") for f in fields]
    result = pa.table(columns, schema=pa.schema(fields))
    for name in required:
        nulls = result.column(name).null_count
        if nulls:
            row = pc.index(pc.is_null(result.column(name)), True).as_py()
            raise SchemaError(
                f"the value is null in {nulls:,} rows, first in row {row}", where=f"{where}.{name}"
            )
    return result


def check_names(names: Sequence[str], types: pa.Schema, required: Sequence[str], where: str) -> None:
    """SchemaError unless the columns `names` are of `types`, each once, with all of `required`."""
    for name in names:
        if name not in types.names:
            raise SchemaError(
                f"unknown column {name!r}", where=where, hint=f"known columns: {', '.join(types.names)}"
            )
    if len(set(names)) != len(names):
        raise SchemaError("two columns have the same name", where=where)
    for name in required:
        if name not in names:
            raise SchemaError(f"the column {name!r} is missing", where=where)


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    t = pa.types
    if t.is_dictionary(given):
        given = given.value_type
    if given == wanted or t.is_null(given):
        return True
    number = t.is_integer(given) or t.is_floating(given) or t.is_decimal(given)
    if t.is_string(wanted):
        return bool(t.is_large_string(given) or t.is_string_view(given))
    if t.is_integer(wanted) or t.is_floating(wanted):
        return bool(number)
    if t.is_timestamp(wanted):
        return bool(t.is_timestamp(given) or t.is_date(given))
    if t.is_list(wanted):
        nested = t.is_list(given) or t.is_large_list(given) or t.is_fixed_size_list(given)
        return bool(nested) and _fits(given.value_type, wanted.value_type)
    return False


def _cast(column: pa.Array | pa.ChunkedArray, wanted: pa.DataType, where: str) -> pa.Array | pa.ChunkedArray:
    given = column.type
    if not _fits(given, wanted):
        raise SchemaError(f"is {given}, but the schema has {wanted}", where=where)
    try:
        if pa.types.is_timestamp(given) and given.tz is not None:
            # The instant in UTC, without a zone.
            column = column.cast(pa.timestamp(given.unit, "UTC")).cast(pa.timestamp(given.unit))
        result = column if given == wanted else column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"cannot become {wanted} without loss: {error}", where=where) from error
    if pa.types.is_list(wanted) and pc.list_flatten(result).null_count:
        raise SchemaError("a list holds a null", where=where)
    return result


def _unique(table: pa.Table, names: Sequence[str], where: str) -> None:
    counts = table.group_by(list(names)).aggregate([([], "count_all")])
    if counts.num_rows == table.num_rows:
        return
    twice = counts.filter(pc.greater(counts.column("count_all"), 1))
    first = {name: twice.column(name)[0].as_py() for name in names}
    text = ", ".join(f"{name} {shown(value)}" for name, value in first.items())
    more = f" (and {twice.num_rows - 1:,} more)" if twice.num_rows > 1 else ""
    raise SchemaError(
        f"{text} stands in it {twice.column('count_all')[0].as_py()} times{more}",
        where=where,
        hint="give each key once",
    )


def shown(value: object) -> str:
    """A value as a message gives it: in one line, and short."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc).isoformat()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
