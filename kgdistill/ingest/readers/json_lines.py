"""JSON lines, in constant memory."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
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


def _decode(data: bytes) -> Any:
    text = data.decode("utf-8").strip()
    value, end = _decoder.raw_decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def json_names(source: Source, rows: int = _SAMPLE) -> list[str]:
    """The names in the first rows, in the order in which they come; those of nested objects dotted."""
    names: dict[str, None] = {}
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
                    return list(names)
    return list(names)


def _add_names(value: dict[str, Any], prefix: str, names: dict[str, None]) -> None:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            _add_names(inner, f"{prefix}{key}.", names)
        else:
            names[prefix + key] = None


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
    names = json_names(source)
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
    rows: list[list[Any]] = []
    places: list[int] = []
    bad: list[dict[str, Any]] = []
    dotted = any("." in column for column in columns)
    for line, data in enumerate(lines, first):
        if not data or data.isspace():
            continue
        quick = _quickly(data, columns, dotted)
        if quick is not None:
            rows.append(quick)
            places.append(line)
            continue
        try:
            value = _decode(data)
            if not isinstance(value, dict):
                reason = "is not a JSON object"
            else:
                if dotted:
                    row = [value[c] if c in value else _at(value, c) for c in columns]
                else:
                    row = [value.get(c) for c in columns]
                if not _TEXTS.issuperset(map(type, row)):
                    row = [_as_text(v) for v in row]
                if b"\\u" in data or b"\\U" in data:
                    _check_characters(row)
                rows.append(row)
                places.append(line)
                continue
        except json.JSONDecodeError as error:
            reason = f"is not JSON: {error.msg}"
        except UnicodeDecodeError:
            reason = blocks.not_text()
        except UnicodeEncodeError:
            reason = "holds half a character (a lone surrogate)"
        except RecursionError:
            reason = "is nested too deeply"
        bad.append(reject(source, line, data[:1000].decode("utf-8", "replace"), reason))
    arrays = [_column([row[i] for row in rows]) for i in range(len(columns))]
    return make_batch(columns, arrays, np.asarray(places, dtype=np.int64), bad, blocks.consumed())


def _quickly(data: bytes, columns: list[str], dotted: bool) -> list[Any] | None:
    """A row by the faster parser; None where it may differ from the other, as in how a number is written."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    if dotted:
        row = [value[c] if c in value else _at(value, c) for c in columns]
    else:
        row = [value.get(c) for c in columns]
    if _TEXTS.issuperset(map(type, row)):
        return row
    for i, cell in enumerate(row):
        kind = type(cell)
        if kind is float:
            text = repr(cell)
            if not cell or not _stands_there(data, columns[i], text):
                return None
            row[i] = text.removesuffix(".0")
        elif kind is int:
            row[i] = str(cell)
        elif kind is bool:
            row[i] = "true" if cell else "false"
        elif kind is list:
            if not _TEXTS.issuperset(map(type, cell)):
                return None
        elif kind is dict:
            return None
    return row


def _stands_there(data: bytes, column: str, number: str) -> bool:
    """Whether a line has the name once, and the number as it is written here after it."""
    name = f'"{column}"'.encode()
    if data.count(name) != 1:
        return False
    after = data[data.index(name) + len(name) :].lstrip(b" :")
    text = number.encode()
    return after.startswith(text) and after[len(text) : len(text) + 1] in (b",", b"}", b" ")


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
        return _whole(value)
    return value if value is None or isinstance(value, str) else _dump(value)


def _whole(number: _Number) -> str:
    """A number as it is written, a whole one without fraction and exponent: 11.0 is 11, 1e3 is 1000."""
    text = str(number)
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
    if any(type(value) is list for value in values):
        lists = [v if v is None or isinstance(v, list) else [v] for v in values]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array(values, pa.string())
