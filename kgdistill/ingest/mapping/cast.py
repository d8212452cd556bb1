"""Arrays to a type of the schema, as a whole; alone only those values that will not go with the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray
from kgdistill.ingest.cast import ColumnTypeError
from kgdistill.moment import naive_utc
from kgdistill.store.schema import PropertyType
from kgdistill.units import TIMES, TIMES_BEHIND

Cast: TypeAlias = "tuple[pa.Array, BoolArray]"
"""The values (null where there is a fault), and where there is one."""

_US = pa.timestamp("us")
_UTC = pa.timestamp("us", "UTC")
_TRUE, _FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]
_WHOLE = r"^([+-]?\d+(\.0*)?|0[xX][0-9a-fA-F]+)$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_MANY = re.compile(rf"^([+-]?(?:\d+\.?\d*|\.\d+))({TIMES_BEHIND})$")
# Beyond this a number stays in scientific notation.
_FARTHEST = 1e40
_WHOLE_WITH_ZEROS = r"^(0|-?[1-9]\d*)\.0+$"
# Not NAN: that is a brand.
_NO_NUMBER = ["nan", "NaN", "inf", "-inf", "Infinity", "-Infinity"]
_SCIENTIFIC = r"^[+-]?\d+([.,]\d+)?[eE]\+?\d{1,3}$"
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
_ZONED = r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
HALVES = {
    "上午": "AM", "凌晨": "AM", "午前": "AM", "오전": "AM", "下午": "PM", "午後": "PM", "오후": "PM",
}  # fmt: skip
"""The halves of a day in Chinese, Japanese and Korean, which a format's `%p` reads too."""
# Days that C's strptime may have made of the 29th to 31st of a shorter month.
_ROLLED = 3


def plain_array(column: Any) -> pa.Array:
    """One array: dictionaries decoded, large and view types made small, NaN as null, no type as text."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], type=values.type)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_floating(kind):
        values = pc.cast(values, pa.float64())
        return _nothing_where(pc.is_nan(values), values)
    if is_list(kind) and not pa.types.is_list(kind):
        return pc.cast(values, pa.list_(kind.value_type))
    return values


def is_list(kind: pa.DataType) -> bool:
    """Whether it is any type of list."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether it is text, or bytes that may be text."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def as_bytes(values: pa.Array) -> pa.Array:
    """The array itself; where not all of its text is UTF-8, bytes, of which a cast finds the wrong ones."""
    kind = values.type
    if pa.types.is_string(kind if not is_list(kind) else kind.value_type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            return pc.cast(values, pa.list_(pa.binary()) if is_list(kind) else pa.binary())
    return values


def parents_of(lists: pa.Array) -> npt.NDArray[np.int64]:
    """For each element that `list_flatten` gives the row it stands in; null lists have none."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    return np.repeat(np.arange(len(lists), dtype=np.int64), lengths)


def to_text(values: pa.Array) -> Cast:
    """Any plain array as text; whole numbers without a fraction, whatever their type."""
    kind = values.type
    if pa.types.is_string(kind):
        return values, _none(values)
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(pc.abs(values), 2.0**53))
        whole = pc.fill_null(whole, False)
        ints = pc.cast(pc.cast(_nothing_where(pc.invert(whole), values), pa.int64()), pa.string())
        texts = pc.coalesce(ints, pc.cast(values, pa.string()))
        large = _mask(pc.and_(pc.invert(whole), pc.greater_equal(pc.abs(values), 2.0**53)))
        if large.any():
            written = [
                f"{value:.0f}" if is_large and abs(value) < _FARTHEST else None
                for value, is_large in zip(values.to_pylist(), large, strict=True)
            ]
            texts = pc.coalesce(pa.array(written, pa.string()), texts)
        return texts, _none(values)
    if pa.types.is_nested(kind):
        raise ColumnTypeError(f"holds {kind}, not text")
    if pa.types.is_decimal(kind):
        return pa.array([_decimal_text(v) for v in values.to_pylist()], pa.string()), _none(values)
    return _cast_parts(values, lambda part: pc.cast(part, pa.string()), pa.string())


def _decimal_text(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return str(int(value)) if value == value.to_integral_value() else format(value, "f")


def key_text(texts: pa.Array, *, strip: bool = True) -> pa.Array:
    """Trimmed text as keys: no sign without width at the ends, no fraction of zeros, no formula around.

    What spreadsheets and frames make of whole numbers (12.0), what is copied with a key from a page (a
    zero-width space) and what tells a spreadsheet that it is text (="0012") would make another node of it.
    """
    if strip and pc.sum(pc.binary_length(texts)) != pc.sum(pc.utf8_length(texts)):
        edges = r"^[\p{Z}\p{Cf}\s]+|[\p{Z}\p{Cf}\s]+$"
        texts = trim(pc.replace_substring_regex(texts, edges, ""))
    if pc.any(pc.starts_with(texts, '="')).as_py():
        texts = trim(pc.replace_substring_regex(texts, '^="([^"]*)"$', r"\1"), strip=strip)
    if pc.any(pc.match_substring(texts, ".0")).as_py():
        texts = pc.replace_substring_regex(texts, _WHOLE_WITH_ZEROS, r"\1")
    return texts


def no_number(texts: pa.Array) -> BoolArray:
    """Which texts are how a program writes a number that is missing or infinite."""
    return _mask(pc.is_in(texts, value_set=pa.array(_NO_NUMBER)))


def lost_digits(texts: pa.Array) -> BoolArray:
    """Which texts are numbers in scientific notation, as spreadsheets write long ids."""
    if not pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py():
        return _none(texts)
    return _mask(pc.match_substring_regex(texts, _SCIENTIFIC))


def trim(values: pa.Array, *, strip: bool = True) -> pa.Array:
    """Text without white space at its ends; null where nothing is left."""
    trimmed = pc.utf8_trim_whitespace(values)
    shortest = pc.min(pc.binary_length(trimmed)).as_py()
    result = trimmed if strip else values
    return _nothing_where(pc.equal(pc.binary_length(trimmed), 0), result) if shortest == 0 else result


def cast_values(values: pa.Array, kind: PropertyType, decimal: str | None = None) -> Cast:
    """A plain array, text trimmed, to any type but timestamp and lists.

    Raises:
        ColumnTypeError: the array is of another kind altogether.
    """
    if kind == "string":
        return to_text(values)
    if kind == "bool":
        return _to_bool(values)
    if pa.types.is_string(values.type):
        return _numbers_of_text(values, kind, decimal)
    number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if not number and not pa.types.is_decimal(values.type):
        raise ColumnTypeError(f"holds {values.type}, not numbers")
    return _to_number(values, kind)


def _to_bool(values: pa.Array) -> Cast:
    if pa.types.is_boolean(values.type):
        return values, _none(values)
    texts, bad = to_text(values)
    found = pc.index_in(pc.utf8_lower(texts), value_set=pa.array([*_TRUE, *_FALSE]))
    return pc.less(found, len(_TRUE)), bad | _mask(pc.and_not(pc.is_valid(texts), pc.is_valid(found)))


def _numbers_of_text(texts: pa.Array, kind: PropertyType, decimal: str | None) -> Cast:
    target = pa.int64() if kind == "int64" else pa.float64()
    wrong = np.zeros(len(texts), bool)
    if decimal is not None:
        mark, other = (r"\.", ",") if decimal == "." else (",", r"\.")
        grammar = rf"^[+-]?(\d+|\d{{1,3}}({other}\d{{3}})+|\d*)({mark}\d*)?([eE][+-]?\d+)?{TIMES_BEHIND}?$"
        right = pc.match_substring_regex(texts, grammar)
        wrong = _mask(pc.invert(right))
        texts = pc.replace_substring_regex(_nothing_where(pc.invert(right), texts), other, "")
        texts = pc.replace_substring(texts, decimal, ".")
    try:
        cast = pc.cast(texts, target)
        bad = wrong
    except pa.ArrowInvalid:
        texts = _multiplied(texts)
        grammar = _WHOLE if kind == "int64" else _NUMBER
        right = pc.match_substring_regex(texts, grammar)
        good = _nothing_where(pc.invert(right), texts)
        if kind == "int64":
            good = pc.replace_substring_regex(good, r"^\+|\.0*$", "")
        cast, bad = _cast_parts(good, lambda part: pc.cast(part, target), target)
        bad = bad | wrong | _mask(pc.invert(right))
    return _finite(cast, bad)


def _multiplied(texts: pa.Array) -> pa.Array:
    """Texts in which 1.2万 is 12000."""
    encoded = texts.dictionary_encode()
    if not pc.any(pc.match_substring_regex(encoded.dictionary, _MANY.pattern)).as_py():
        return texts
    plain = [_one_multiplied(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(plain, pa.string()).take(encoded.indices)


def _one_multiplied(text: str) -> str:
    parts = _MANY.match(text)
    if parts is None:
        return text
    # By decimals, as 1.1 by 10,000 is no whole number in binary ones.
    return format(Decimal(parts[1]) * math.prod(TIMES[sign] for sign in parts[2]), "f")


def _to_number(values: pa.Array, kind: PropertyType) -> Cast:
    target = pa.int64() if kind == "int64" else pa.float64()
    if kind == "double":
        # A double holds whole numbers beyond 2**53 as near as it can.
        return _finite(pc.cast(values, target, safe=False), np.zeros(len(values), bool))
    return _cast_parts(values, lambda part: pc.cast(part, target), target)


def _finite(cast: pa.Array, bad: BoolArray) -> Cast:
    if pa.types.is_floating(cast.type):
        wild = pc.invert(pc.is_finite(cast))
        bad = bad | _mask(wild)
        cast = _nothing_where(wild, cast)
    return cast, bad


def cast_times(values: pa.Array, formats: tuple[str, ...], unit: str | None, zone: str) -> Cast:
    """A plain array, text trimmed, to times in UTC.

    Args:
        formats: tried in order, `iso` among them; empty: ISO 8601.
        unit: of numbers, since 1970; None: numbers are no times.
        zone: of times without one; of one that the clock shows twice the first is taken, and one that it
            skips becomes the moment after.

    Raises:
        ColumnTypeError: the array is of another kind altogether.
    """
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = pc.cast(values, pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return (pc.cast(times, _US) if times.type.tz else _utc(times, zone)), _none(values)
    if unit is not None:
        return _times_of_numbers(values, unit)
    if not pa.types.is_string(kind):
        if not formats:
            number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            hint = "; say what they are with `unit` or `format`" if number else ""
            raise ColumnTypeError(f"holds {kind}, not times{hint}")
        values, _ = to_text(values)
    if not formats:
        return _iso(values, zone)
    result = pa.nulls(len(values), _US)
    rest = values
    for name in formats:
        times = _iso(rest, zone)[0] if name == "iso" else _by_format(rest, name, zone)
        result = times if result.null_count == len(result) else pc.coalesce(result, times)
        if result.null_count == values.null_count:
            return result, _none(values)
        rest = _nothing_where(pc.is_valid(result), values)
    return result, _mask(pc.and_(pc.is_null(result), pc.is_valid(values)))


def _times_of_numbers(values: pa.Array, unit: str) -> Cast:
    scale = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[unit]
    bad = np.zeros(len(values), bool)
    if not pa.types.is_integer(values.type):
        numbers, bad = cast_values(values, "double")
        try:
            values = pc.cast(values, pa.int64())
        except pa.ArrowInvalid:
            # Up to a microsecond is kept of what doubles can hold; beyond year 9999 nothing is a time.
            scaled = pc.round(pc.multiply(numbers, scale))
            far = pc.greater(pc.abs(scaled), 2.6e17)
            bad = bad | _mask(far)
            return pc.cast(pc.cast(_nothing_where(far, scaled), pa.int64()), _US), bad
    values = pc.cast(values, pa.int64(), safe=False)
    limit = min(int(2.6e17 / scale), 2**63 - 1)
    far = pc.or_(pc.greater(values, limit), pc.less(values, -limit))
    times = pc.cast(pc.cast(_nothing_where(far, values), pa.timestamp(unit)), _US, safe=False)
    return times, bad | _mask(far)


def _iso(texts: pa.Array, zone: str) -> Cast:
    for target in (_US, _UTC):
        try:
            times = pc.cast(texts, target)
        except pa.ArrowInvalid:
            continue
        return (_utc(times, zone) if target is _US else pc.cast(times, _US)), _none(texts)
    plain = pc.replace_substring_regex(texts, r" ?(UTC|GMT|[zZ])$", "Z")
    # A blank before the offset, as Shopify and Ruby write it; Go adds the zone's name.
    plain = pc.replace_substring_regex(plain, r"(:\d{2}(?:[.,]\d+)?) ?([+-]\d{2}(?::?\d{2})?)Z?$", r"\1\2")
    plain = pc.replace_substring_regex(plain, r"(:\d{2}),(\d+)", r"\1.\2")
    plain = pc.replace_substring_regex(plain, r"(\.\d{6})\d+", r"\1")
    right = pc.match_substring_regex(plain, _ISO)
    zoned = pc.match_substring_regex(plain, _ZONED)
    with_zone = _nothing_where(pc.invert(pc.and_(right, zoned)), plain)
    without = _nothing_where(pc.invert(pc.and_not(right, zoned)), plain)
    local, bad = _cast_parts(without, lambda part: pc.cast(part, _US), _US)
    utc, bad_too = _cast_parts(with_zone, lambda part: pc.cast(pc.cast(part, _UTC), _US), _US)
    return pc.coalesce(utc, _utc(local, zone)), bad | bad_too | _mask(pc.invert(right))


def _by_format(texts: pa.Array, name: str, zone: str) -> pa.Array:
    for half, letters in HALVES.items() if "%p" in name else ():
        texts = pc.replace_substring(texts, half, letters)
    times = pc.strptime(texts, format=name, unit="us", error_is_null=True)
    zoned = times.type.tz is not None
    times = pc.cast(times, _US)
    # C's strptime reads the 31st of February as the 3rd of March; what comes out the same is right.
    doubt = pc.and_(pc.less_equal(pc.day(times), _ROLLED), pc.is_valid(times))
    if "%d" in name or "%e" in name or "%D" in name:
        again = _mask(doubt)
        if again.any():
            rows = pa.array(np.flatnonzero(again))
            shown = pc.strftime(pc.cast(times.take(rows), pa.timestamp("s", "UTC"), safe=False), format=name)
            same = np.asarray(pc.equal(shown, texts.take(rows)))
            again[np.asarray(rows)[same]] = False
            times = _nothing_where(pa.array(again), times)
    missing = pc.and_(pc.is_null(times), pc.is_valid(texts))
    if not zoned:
        times = _utc(times, zone)
    if pc.any(missing).as_py():
        rest = pc.dictionary_encode(_nothing_where(pc.invert(missing), texts))
        each = pa.array([_one_time(text, name, zone) for text in rest.dictionary.to_pylist()], _US)
        times = pc.coalesce(times, each.take(rest.indices))
    return times


def _one_time(text: str, name: str, zone: str) -> datetime | None:
    try:
        time = datetime.strptime(text, name)
    except ValueError:
        return None
    if time.tzinfo is not None:
        return naive_utc(time)
    value: datetime = _utc(pa.array([time], _US), zone)[0].as_py()
    return value


def _utc(local: pa.Array, zone: str) -> pa.Array:
    if zone in ("UTC", "Etc/UTC"):
        return local
    return pc.cast(pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest"), _US)


def _cast_parts(values: pa.Array, cast: Callable[[pa.Array], pa.Array], target: pa.DataType) -> Cast:
    """Casts the whole; where it fails each half, so that a few faults cost little."""
    try:
        return cast(values), np.zeros(len(values), bool)
    except (pa.ArrowInvalid, OverflowError):
        pass
    encoded = values.dictionary_encode()
    pieces: list[pa.Array] = []
    bad: list[int] = []

    def halves(start: int, stop: int) -> None:
        try:
            pieces.append(cast(encoded.dictionary.slice(start, stop - start)))
        except (pa.ArrowInvalid, OverflowError):
            if stop - start == 1:
                pieces.append(pa.nulls(1, target))
                bad.append(start)
            else:
                middle = (start + stop) // 2
                halves(start, middle)
                halves(middle, stop)

    halves(0, len(encoded.dictionary))
    codes = np.asarray(pc.fill_null(encoded.indices, -1))
    return pa.concat_arrays(pieces).take(encoded.indices), np.isin(codes, bad)


def _nothing_where(mask: Any, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(None, values.type), values)


def _mask(values: Any) -> BoolArray:
    return np.asarray(pc.fill_null(values, False)).astype(bool)


def _none(values: pa.Array) -> BoolArray:
    return np.zeros(len(values), bool)
