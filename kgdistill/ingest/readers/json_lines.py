"""JSON lines, in constant memory."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from kgdistill.ingest.readers.nested import (
    Number,
    as_text,
    at,
    decode,
    dots,
    inside,
    records_of,
    roots,
    whole,
)
from kgdistill.ingest.readers.opened import count_lines, open_bytes
from kgdistill.ingest.readers.source import (
    RawBatch,
    Source,
    by_lines,
    make_batch,
    missing_column,
    reject,
)
from kgdistill.ingest.readers.text import TextBlocks

_SAMPLE = 1_000
# What needs no further writing out.
_TEXTS = {str, type(None)}
_BOOLEANS = ("false", "true")
# A name that is written in one way only, unless a character of ASCII is escaped for no need.
_PLAIN_NAME = re.compile(r"[ !#-.0-\[\]-~]+")
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_NUMBER_AFTER = rb'"%b"[ \t]*:[ \t]*(-?[0-9][0-9.eE+-]*)'


def json_columns(source: Source, rows: int = _SAMPLE) -> dict[str, bool]:
    """The names in the first rows, in the order in which they come, and whether any has a text there.

    Those of nested objects are dotted.
    """
    names: dict[str, bool] = {}
    for value in islice(json_rows(source), rows):
        _add_names(value, "", names)
    return names


def json_rows(source: Source) -> Iterator[dict[str, Any]]:
    """The objects, their numbers as they are written; what is none is left out."""
    with open_bytes(source) as (stream, raw):
        for block in TextBlocks(source, stream, raw, 1 << 18):
            for line in _split(block):
                try:
                    value = decode(line.decode("utf-8"))
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value


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
    each = source.options.each
    _check_names(source, names if each is None else [*names, each])
    with open_bytes(source) as (stream, raw):
        blocks = TextBlocks(source, stream, raw, block_bytes)
        empty = True
        for block in blocks:
            lines = _split(block)
            empty = empty and not block.strip()
            for start in range(0, len(lines), batch_rows):
                some = lines[start : start + batch_rows]
                if each is not None:
                    yield from by_lines(
                        _parse_each(blocks, source, some, blocks.line + start, names), batch_rows
                    )
                    continue
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
    known = {name[: i if i >= 0 else None] for name in names for i in (-1, *dots(name))}
    absent = [column for column in columns if not _is_known(column, known)]
    unused = [name for name in known if name not in columns]
    for column in absent:
        like = difflib.get_close_matches(column.casefold(), [n.casefold() for n in unused], 1, 0.8)
        if like or len(absent) == len(columns):
            raise missing_column(source, column, names)


def _is_known(column: str, known: set[str]) -> bool:
    if column in known:
        return True
    # A list's elements have no names of their own.
    return any(name in known for name in roots(column))


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


def _parse_each(
    blocks: TextBlocks, source: Source, lines: list[bytes], first: int, columns: list[str]
) -> RawBatch:
    """As `_parse`, with a row for each record of a list; for one without records a row without them."""
    each = source.options.each
    assert each is not None
    objects = _objects(lines)
    slow = {i for i, value in enumerate(objects) if value is None}
    places: list[int] = []
    records: list[Any] = []
    bad: dict[int, str] = {}
    for i, value in enumerate(objects):
        several: list[Any] | str = [None]
        if value is not None:
            several = _several(value, each)
        elif lines[i].strip():
            told = _told(blocks, lines[i])
            several = told if isinstance(told, str) else _several(told, each)
        else:
            continue
        if isinstance(several, str):
            bad[i] = several
            continue
        places += [i] * len(several)
        records += several
    whole_rows = [value or {} for value in objects]
    cells = []
    for column in columns:
        name = inside(column, each)
        if name is None:
            outer = _cells(lines, whole_rows, column, slow)
            cells.append([outer[i] for i in places])
        else:
            inner = records if name == "" else [at(record, name) for record in records]
            cells.append(_texts(lines, list(inner), name, slow, places))
    starts: dict[int, int] = {}
    for row, i in enumerate(places):
        starts.setdefault(i, row)
    for i in sorted(slow & starts.keys()):
        fault = _write_records(blocks, lines[i], (columns, each), cells, starts[i])
        if fault:
            bad[i] = fault
    kept = [row for row, i in enumerate(places) if i not in bad]
    arrays = [_column([column[row] for row in kept]) for column in cells]
    shown = {i: lines[i][:1000].decode("utf-8", "replace") for i in bad}
    rejects = [reject(source, first + i, shown[i], bad[i]) for i in sorted(bad)]
    numbers = np.array([first + places[row] for row in kept], np.int64)
    return make_batch(columns, arrays, numbers, rejects, blocks.consumed())


def _several(value: Any, each: str) -> list[Any] | str:
    """The records of a row, or why it has none that can be read."""
    try:
        return records_of(at(value, each))
    except (json.JSONDecodeError, RecursionError) as error:
        return f"holds text at {each} that is not JSON: {getattr(error, 'msg', 'nested too deeply')}"


def _write_records(
    blocks: TextBlocks, data: bytes, wanted: tuple[list[str], str], cells: list[list[Any]], start: int
) -> str:
    """Puts a line's cells by the standard parser in place of those from `start` on; returns why not."""
    columns, each = wanted
    value = _told(blocks, data)
    if isinstance(value, str):
        return value
    for row, record in enumerate(records_of(at(value, each)), start):
        names = [inside(column, each) for column in columns]
        some = [
            as_text(at(value, column) if name is None else at(record, name) if name else record)
            for column, name in zip(columns, names, strict=True)
        ]
        if fault := _half(data, some):
            return fault
        for column, cell in zip(cells, some, strict=True):
            column[row] = cell
    return ""


def _row(blocks: TextBlocks, data: bytes, columns: list[str]) -> list[Any] | str:
    """A row by the standard parser, which tells how numbers are written; or why it is none."""
    value = _told(blocks, data)
    if isinstance(value, str):
        return value
    row = [as_text(at(value, column)) for column in columns]
    return _half(data, row) or row


def _half(data: bytes, row: list[Any]) -> str:
    """That a row holds half a character; empty where it does not."""
    try:
        if b"\\u" in data:
            _check_characters(row)
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    return ""


def _told(blocks: TextBlocks, data: bytes) -> dict[str, Any] | str:
    """A line's object by the standard parser, or why it is none."""
    try:
        value = decode(data.decode("utf-8"))
        return value if isinstance(value, dict) else "is not a JSON object"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg}"
    except UnicodeDecodeError:
        return blocks.not_text()
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
        cells = [at(value, column) for value in objects]
    else:
        cells = [value.get(column) for value in objects]
    return _texts(lines, cells, column, slow)


def _texts(
    lines: list[bytes], cells: list[Any], column: str, slow: set[int], places: list[int] | None = None
) -> list[Any]:
    """What parsers give as texts and lists of texts; `places`: of each cell its line, where not its own."""
    kinds = set(map(type, cells))
    if kinds <= _TEXTS:
        return cells
    if float in kinds:
        _write_numbers(lines, cells, column, slow, places)
    if int in kinds:
        cells = [str(cell) if type(cell) is int else cell for cell in cells]
    if bool in kinds:
        cells = [_BOOLEANS[cell] if type(cell) is bool else cell for cell in cells]
    odd: list[int] = []
    if list in kinds:
        odd += [i for i, c in enumerate(cells) if type(c) is list and not _TEXTS.issuperset(map(type, c))]
    if dict in kinds:
        odd += [i for i, cell in enumerate(cells) if type(cell) is dict]
    if Number in kinds:
        odd += [i for i, cell in enumerate(cells) if type(cell) is Number]
    slow.update(odd if places is None else [places[i] for i in odd])
    return cells


def _write_numbers(
    lines: list[bytes], cells: list[Any], column: str, slow: set[int], places: list[int] | None
) -> None:
    """Replaces numbers by what is written in the lines, whole ones without fraction and exponent."""
    rows = [i for i, cell in enumerate(cells) if type(cell) in (int, float)]
    on = rows if places is None else [places[i] for i in rows]
    block = b"\n".join([lines[i] for i in (on if places is None else dict.fromkeys(on))])
    found: list[bytes] = []
    # Each of these rows has the name and a number after it; no more of them than rows means one in each.
    if _PLAIN_NAME.fullmatch(column) and not _ESCAPED_ASCII.search(block):
        found = re.findall(_NUMBER_AFTER % re.escape(column).encode(), block)
    if len(found) != len(rows):
        slow.update(i for row, i in zip(rows, on, strict=True) if type(cells[row]) is float)
        return
    for i, number in zip(rows, found, strict=True):
        cell, text = cells[i], number.decode()
        # A fraction is no whole number, however it is written.
        cells[i] = whole(text) if type(cell) is int or cell.is_integer() else text


def _check_characters(row: list[Any]) -> None:
    for value in row:
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                text.encode("utf-8")


def _column(values: list[Any]) -> Any:
    if list in set(map(type, values)):
        lists = [v if v is None or isinstance(v, list) else [v] for v in values]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array(values, pa.string())
