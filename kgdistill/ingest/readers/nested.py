"""What names with dots lead to in JSON: fields of objects, elements and records of lists, values by keys."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

VALUE = "value"
"""What the value is called in lists of keys and values: [{key: size, value: XL}]."""
KEYS = ("key", "name")
"""What tells their keys before any other text does."""
# Beyond this a number is written as it came: nobody means a text of a million zeros.
_MOST_DIGITS = 40
_LIST = re.compile(r"\s*[\[{]")


class Number(str):
    """A number as it is written."""

    __slots__ = ()


def _constant(text: str) -> str | None:
    return None if text == "NaN" else text


_decoder = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)


def decode(text: str) -> Any:
    """JSON, its numbers as they are written.

    Raises:
        json.JSONDecodeError: it is none.
        RecursionError: it is nested too deeply.
    """
    text = text.strip()
    value, end = _decoder.raw_decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


@lru_cache(4096)
def dots(name: str) -> tuple[int, ...]:
    """Where the dots stand."""
    return tuple(i for i, character in enumerate(name) if character == ".")


def roots(name: str) -> list[str]:
    """The names that a name with dots may lead into, the longest first."""
    return [name[:i] for i in reversed(dots(name))]


def inside(column: str, each: str) -> str | None:
    """What a column is called within the records of a list; empty for the record itself, None elsewhere."""
    if column == each:
        return ""
    return column[len(each) + 1 :] if column.startswith(f"{each}.") else None


def at(value: Any, path: str) -> Any:
    """What a dotted path leads to; a name that holds the dots itself comes first."""
    if isinstance(value, dict):
        if path in value:
            return value[path]
        for i in dots(path):
            if path[:i] in value:
                return at(value[path[:i]], path[i + 1 :])
        return None
    if isinstance(value, list):
        index, _, rest = path.partition(".")
        if not index.isdecimal():
            inner = [at(item, path) for item in value]
            return _by_key(value, path) if all(item is None for item in inner) else inner
        if int(index) >= len(value):
            return None
        item = value[int(index)]
        return at(item, rest) if rest else item
    return None


def _by_key(records: Sequence[Any], key: str) -> Any:
    """The value that stands beside a key in a list of keys and values, the last of several."""
    for record in reversed(records):
        if isinstance(record, dict) and VALUE in record and record.get(key_field(record)) == key:
            return first_filled(record[VALUE])
    return None


def key_field(record: dict[str, Any]) -> str:
    """Which field of a record with a value tells its key: `key`, `name`, or else the only text; "": none."""
    called = next((name for name in KEYS if type(record.get(name)) is str), None)
    texts = [name for name, field in record.items() if name != VALUE and type(field) is str]
    return called or (texts[0] if len(texts) == 1 else "")


def first_filled(value: Any) -> Any:
    """A value; of an object the first of its fields that is filled."""
    return next((v for v in value.values() if v is not None), None) if isinstance(value, dict) else value


def records_of(value: Any) -> list[Any]:
    """The records of a list, or of lists in lists; one object stands for a list of it; text is decoded.

    Without any, a single None.

    Raises:
        json.JSONDecodeError, RecursionError: text that starts as a list or an object, and is none.
    """
    if type(value) is str and _LIST.match(value):
        value = decode(value)
    return _flat(value) or [None]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [inner for item in value for inner in _flat(item)]
    return [] if value is None or value == "" else [value]


def as_text(value: Any) -> Any:
    """A cell: text, a list of texts, or None."""
    return [_element(v) for v in value] if isinstance(value, list) else _element(value)


def _element(value: Any) -> str | None:
    if isinstance(value, Number):
        return whole(str(value))
    return value if value is None or isinstance(value, str) else _dump(value)


@lru_cache(4096)
def whole(text: str) -> str:
    """A number as it is written, a whole one without fraction and exponent: 11.0 is 11, 1e3 is 1000."""
    if text.lstrip("-").isdigit() and text != "-0":
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if abs(value.adjusted()) > _MOST_DIGITS:
        return text
    return str(int(value)) if value == value.to_integral_value() else text


def _dump(value: Any) -> str:
    """A value as JSON, numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_dump(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
