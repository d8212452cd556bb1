"""One column to its type in the schema, value by value where a whole column will not go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.store.schema import PropertyType, arrow_type

_WORDS = {
    "string": "text",
    "int64": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": "a time such as 2017-04-01 or 2017-04-01T13:05:00Z",
    "float_list": "a list of numbers",
}
_ZONED = r"[T ]\d{2}:?\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"


class ColumnTypeError(Exception):
    """The column as a whole cannot hold values of the type."""


def words(kind: str) -> str:
    """The type in words, for messages."""
    return _WORDS[kind]


def cast_column(column: pa.ChunkedArray, kind: PropertyType) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Casts to the Arrow type of `kind` without losing anything.

    Returns:
        The values, and the rows that could not be cast (null there). Text that is only
        spaces, and NaN, are null and no fault.

    Raises:
        ColumnTypeError: the column's type is of another kind altogether, such as integers for a time.
    """
    target = arrow_type(kind)
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], type=column.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    source = values.type
    if pa.types.is_null(source):
        return pa.nulls(len(values), target), np.zeros(0, np.int64)
    if pa.types.is_floating(source):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, source), values)
    is_text = pa.types.is_string(source) or pa.types.is_large_string(source)
    if is_text:
        values = pc.cast(values, pa.string())
        if kind == "string":
            blank = pc.equal(pc.utf8_trim_whitespace(values), "")
            return pc.if_else(blank, pa.scalar(None, pa.string()), values), np.zeros(0, np.int64)
        values = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    _check_kind(source, kind, is_text)
    try:
        return _finite(_cast(values, kind, target), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _cast_each(values, kind, target)


def _check_kind(source: pa.DataType, kind: str, is_text: bool) -> None:
    number = pa.types.is_integer(source) or pa.types.is_floating(source)
    fits = {
        "string": is_text or number,
        "int64": is_text or number,
        "double": is_text or number or pa.types.is_decimal(source),
        "bool": is_text or pa.types.is_boolean(source),
        # An integer could be seconds or milliseconds: not guessed.
        "timestamp": is_text or pa.types.is_timestamp(source) or pa.types.is_date(source),
        "float_list": pa.types.is_list(source) or pa.types.is_fixed_size_list(source),
    }
    if not fits[kind]:
        raise ColumnTypeError(f"holds {source}, not {_WORDS[kind]}")


def _cast(values: pa.Array, kind: str, target: pa.DataType) -> pa.Array:
    source = values.type
    if kind == "string" and pa.types.is_floating(source):
        # pandas turns integer keys with a gap into floats; 12.0 is the key 12.
        return pc.cast(pc.cast(values, pa.int64()), target)
    if kind == "timestamp" and pa.types.is_string(source):
        zoned = pc.fill_null(pc.match_substring_regex(values, _ZONED), False)
        nothing = pa.scalar(None, pa.string())
        plain = pc.cast(pc.if_else(zoned, nothing, values), target)
        utc = pc.cast(pc.if_else(zoned, values, nothing), pa.timestamp("us", "UTC"))
        return pc.coalesce(plain, pc.cast(utc, target))
    if kind == "timestamp":
        # Below a microsecond nothing is kept; a zone becomes UTC.
        return pc.cast(values, target, safe=False)
    return pc.cast(values, target)


def _finite(cast: pa.Array, kind: str) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    if kind != "double":
        return cast, np.zeros(0, np.int64)
    bad = pc.fill_null(pc.invert(pc.is_finite(cast)), False)
    rows = np.flatnonzero(np.asarray(bad)).astype(np.int64)
    return (pc.if_else(bad, pa.scalar(None, cast.type), cast) if len(rows) else cast), rows


def _cast_each(values: pa.Array, kind: str, target: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Casts each distinct value alone; those that fail become null and are reported."""
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        raise ColumnTypeError(f"holds {values.type}, not {_WORDS[kind]}")
    encoded = values.dictionary_encode()
    pieces: list[pa.Array] = []
    bad: list[bool] = []
    for i in range(len(encoded.dictionary)):
        try:
            piece, failed = _finite(_cast(encoded.dictionary.slice(i, 1), kind, target), kind)
            pieces.append(piece)
            bad.append(len(failed) > 0)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pieces.append(pa.nulls(1, target))
            bad.append(True)
    codes = encoded.indices
    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.take(pa.array(bad), codes), False)))
    return pc.take(pa.concat_arrays(pieces), codes), rows.astype(np.int64)
