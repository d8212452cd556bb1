"""JSON lines, in constant memory."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from kgdistill.ingest.readers.opened import count_lines, open_bytes
from kgdistill.ingest.readers.source import RawBatch, Source, make_batch, missing_column, reject
from kgdistill.ingest.readers.text import TextBlocks

_SAMPLE = 1_000


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _constant(text: str) -> str | None:
    return None if text == "NaN" else text


_decoder = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_constant)
# What needs no further writing out.
_TEXTS = {str, type(None)}
# Beyond this a number is written as it came: nobody means a text of a million zeros.
_MOST_DIGITS = 40
_BOOLEANS = ("false", "true")
# A name that is written in one way only, unless a character of ASCII is escaped for no need.
_PLAIN_NAME = re.compile(r"[ !#-.0-\[\]-~]+")
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_NUMBER_AFTER = rb'"%b"[ \t]*:[ \t]*(-?[0-9][0-9.eE+-]*)'


def _decode(data: bytes) -> Any:
    text = data.decode("utf-8").strip()
    value, end = _decoder.raw_decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def json_columns(source: Source, rows: int = _SAMPLE) -> dict[str, bool]:
    """The names in the first rows, in the order in which they come, and whether any has a text there.

    Those of nested objects are dotted.
    """
    names: dict[str, bool] = {}
    seen = 0
    with open_bytes(source) as (stream, raw):
        for block in TextBlocks(source, stream, raw, 1 << 18):
            for line in _split(block):
                try:
                    value = _decode(line)
                    if isinstance(value, dict):
                        _add_names(value, "", names)
                        seen += 1
                except (ValueError, RecursionError):
                    continue
                if seen == rows:
                    return names
    return names


def _add_names(value: dict[str, Any], prefix: str, names: dict[str, bool]) -> None:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            _add_names(inner, f"{prefix}{key}.", names)
        else:
            names[prefix + key] = names.get(prefix + key, False) or type(inner) is str


def read_json(
    source: Source, columns: Sequence[str], batch_rows: int, block_bytes: int
) -> Iterator[RawBatch]:
    """The wanted columns as text or lists of text; see `read_batches`."""
    names = list(columns)
    _check_names(source, names)
    with open_bytes(source) as (stream, raw):
        blocks = TextBlocks(source, stream, raw, block_bytes)
        empty = True
        for block in blocks:
            lines = _split(block)
            empty = empty and not block.strip()
            for start in range(0, len(lines), batch_rows):
                some = lines[start : start + batch_rows]
                batch = _parse(blocks, source, some, blocks.line + start, names)
                if len(batch.lines) or batch.rejects.num_rows:
                    yield batch
            blocks.line += count_lines(block)
        if empty:
            raise source.fail("is empty", hint="one JSON object per line is expected")


def _check_names(source: Source, columns: list[str]) -> None:
    """A row may lack a name, and so may a file; but not where it looks like a slip."""
    names = list(json_columns(source))
    if not names:
        return
    known = {name[: i if i >= 0 else None] for name in names for i in (-1, *_dots(name))}
    absent = [column for column in columns if not _is_known(column, known)]
    unused = [name for name in known if name not in columns]
    for column in absent:
        like = difflib.get_close_matches(column.casefold(), [n.casefold() for n in unused], 1, 0.8)
        if like or len(absent) == len(columns):
            raise missing_column(source, column, names)


def _dots(name: str) -> list[int]:
    return [i for i, character in enumerate(name) if character == "."]


def _is_known(column: str, known: set[str]) -> bool:
    if column in known:
        return True
    # A list's elements have no names of their own.
    return any(column[:i] in known for i in _dots(column))


def _split(block: bytes) -> list[bytes]:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _parse(
    blocks: TextBlocks, source: Source, lines: list[bytes], first: int, columns: list[str]
) -> RawBatch:
    values = _objects(lines)
    slow = {i for i, value in enumerate(values) if value is None} if None in values else set()
    objects = [value or {} for value in values] if slow else values
    cells = [_cells(lines, objects, column, slow) for column in columns]
    dropped = set()
    bad: list[dict[str, Any]] = []
    for i in sorted(slow):
        data = lines[i]
        row = None if not data or data.isspace() else _row(blocks, data, columns)
        if isinstance(row, list):
            for column, cell in zip(cells, row, strict=True):
                column[i] = cell
            continue
        dropped.add(i)
        if row is not None:
            bad.append(reject(source, first + i, data[:1000].decode("utf-8", "replace"), row))
    places = np.arange(first, first + len(lines), dtype=np.int64)
    if dropped:
        kept = [i for i in range(len(lines)) if i not in dropped]
        cells = [[column[i] for i in kept] for column in cells]
        places = places[kept]
    return make_batch(columns, [_column(column) for column in cells], places, bad, blocks.consumed())


def _row(blocks: TextBlocks, data: bytes, columns: list[str]) -> list[Any] | str:
    """A row by the standard parser, which tells how numbers are written; or why it is none."""
    try:
        value = _decode(data)
        if not isinstance(value, dict):
            return "is not a JSON object"
        row = [_as_text(_at(value, column)) for column in columns]
        if b"\\u" in data:
            _check_characters(row)
        return row
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg}"
    except UnicodeDecodeError:
        return blocks.not_text()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    except RecursionError:
        return "is nested too deeply"


def _objects(lines: list[bytes]) -> list[Any]:
    """Each line's object by the faster parser; None where it refuses the line, or finds no object."""
    try:
        values = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        values = [_object(line) for line in lines]
    if set(map(type, values)) == {dict}:
        return values
    return [value if type(value) is dict else None for value in values]


def _object(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _cells(lines: list[bytes], objects: list[Any], column: str, slow: set[int]) -> list[Any]:
    """A column's texts and lists of texts; adds to `slow` the rows for which the other parser is needed."""
    if "." in column:
        cells = [_at(value, column) for value in objects]
    else:
        cells = [value.get(column) for value in objects]
    kinds = set(map(type, cells))
    if kinds <= _TEXTS:
        return cells
    if float in kinds:
        _write_numbers(lines, cells, column, slow)
    if int in kinds:
        cells = [str(cell) if type(cell) is int else cell for cell in cells]
    if bool in kinds:
        cells = [_BOOLEANS[cell] if type(cell) is bool else cell for cell in cells]
    if list in kinds:
        slow.update(i for i, c in enumerate(cells) if type(c) is list and not _TEXTS.issuperset(map(type, c)))
    if dict in kinds:
        slow.update(i for i, cell in enumerate(cells) if type(cell) is dict)
    return cells


def _write_numbers(lines: list[bytes], cells: list[Any], column: str, slow: set[int]) -> None:
    """Replaces numbers by what is written in the lines, whole ones without fraction and exponent."""
    rows = [i for i, cell in enumerate(cells) if type(cell) in (int, float)]
    block = b"\n".join([lines[i] for i in rows])
    found: list[bytes] = []
    # Each of these rows has the name and a number after it; no more of them than rows means one in each.
    if _PLAIN_NAME.fullmatch(column) and not _ESCAPED_ASCII.search(block):
        found = re.findall(_NUMBER_AFTER % re.escape(column).encode(), block)
    if len(found) != len(rows):
        slow.update(i for i in rows if type(cells[i]) is float)
        return
    for i, number in zip(rows, found, strict=True):
        cell, text = cells[i], number.decode()
        # A fraction is no whole number, however it is written.
        cells[i] = _whole(text) if type(cell) is int or cell.is_integer() else text


def _check_characters(row: list[Any]) -> None:
    for value in row:
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                text.encode("utf-8")


def _at(value: Any, path: str) -> Any:
    """What a dotted path leads to; a name that holds the dots itself comes first."""
    if isinstance(value, dict):
        if path in value:
            return value[path]
        for i in _dots(path):
            if path[:i] in value:
                return _at(value[path[:i]], path[i + 1 :])
        return None
    if isinstance(value, list):
        index, _, rest = path.partition(".")
        if not index.isdecimal():
            return [_at(item, path) for item in value]
        if int(index) >= len(value):
            return None
        item = value[int(index)]
        return _at(item, rest) if rest else item
    return None


def _as_text(value: Any) -> Any:
    return [_element(v) for v in value] if isinstance(value, list) else _element(value)


def _element(value: Any) -> str | None:
    if isinstance(value, _Number):
        return _whole(str(value))
    return value if value is None or isinstance(value, str) else _dump(value)


@lru_cache(4096)
def _whole(text: str) -> str:
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
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_dump(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _column(values: list[Any]) -> Any:
    if list in set(map(type, values)):
        lists = [v if v is None or isinstance(v, list) else [v] for v in values]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array(values, pa.string())
