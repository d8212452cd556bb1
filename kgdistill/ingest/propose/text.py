"""How a delimited file is written: its encoding, delimiter, quotes, header, and what is not a row."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeAlias

from kgdistill.errors import InputError
from kgdistill.ingest.propose.times import formats_of
from kgdistill.ingest.propose.words import ID, PRODUCT, USER, is_known, word_set, words
from kgdistill.ingest.readers import Source, SourceOptions
from kgdistill.ingest.readers.detect import Encoding, Scan, encoding_of, scan
from kgdistill.ingest.readers.source import suffixes

Record: TypeAlias = "tuple[int, list[str]]"
"""The line on which it starts, from 1, and its cells."""

_MARKS = (",", ";", "\t", "|", "::", "^", "\x01")
_RECORDS = 2_000
_HEADER_WITHIN = 60
_VALUE = re.compile(r"[^\w\"']*[-+]?[\d.,]*\d%?[^\w\"']*\Z|\d{4}-\d{2}-\d{2}\b.*\Z", re.DOTALL)
_THINGS, _IDS = word_set(f"{PRODUCT} {USER}"), word_set(ID)
_TOTALS = word_set("total totals sum summe gesamt gesamtsumme grandtotal subtotal zwischensumme somme totale")
_SEP = re.compile(r'"?sep=([^\r\n"])"?\s*\Z', re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text file is to be read.

    Attributes:
        options: as a mapping says it.
        names: of all columns, in order; empty ones can not be named in a mapping.
        doubts: what is unsure, or will be missed.
        plain: there is only ASCII in it, so that many encodings read it.
        total: a column and a text by which the last line, a sum of the others, is left out; no text: by its
            having nothing there.
    """

    options: SourceOptions
    names: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    plain: bool = False
    total: tuple[str, str] | None = None


def layout_of(path: Path, told: str | None = None) -> Layout:
    """How a CSV, TSV, RecBole or JSON lines file is written.

    Args:
        path: the file.
        told: its encoding, where somebody knows it.

    Raises:
        InputError: it cannot be read, is empty, or is no such file; or its text reads well in no encoding.
    """
    kind = suffixes(path)[0]
    source = Source(path.name, path)
    seen = scan(source)
    if kind is None and path.suffix.lower() not in (".txt", ".dat"):
        hint = "rename it: .csv, .tsv, .jsonl, .parquet"
        raise InputError("has a suffix that tells no format", where=str(path), hint=hint)
    encoding = encoding_of(source, seen, told)
    text = seen.head.decode(encoding.name, "replace").removeprefix("\ufeff").replace("\0", " ")
    options = SourceOptions(kind or "csv", encoding=None if encoding.name == "utf-8" else encoding.name)
    doubts = [f"encoding {encoding.name}: {encoding.doubt}"] if encoding.doubt else []
    if kind == "jsonl":
        _check_json(source, text)
        return Layout(options, doubts=tuple(doubts), plain=encoding.plain)
    if _is_json(text.lstrip().split("\n", 1)[0]):
        raise source.fail("holds JSON, not values with delimiters", hint="name it .jsonl")
    return _delimited(text, seen, encoding, Layout(options, (), tuple(doubts), encoding.plain))


def _check_json(source: Source, text: str) -> None:
    """Refuses JSON that is not one object a line, with what makes it so."""
    first = text.lstrip()
    if first.startswith("["):
        hint = f"write one object a line: jq -c '.[]' {source.where} > rows.jsonl"
        raise source.fail("is one JSON array, not JSON lines", hint=hint)
    if not _is_json(first.split("\n", 1)[0]):
        if first.startswith("{"):
            hint = f"write one object a line: jq -c . {source.where} > rows.jsonl"
            raise source.fail("has JSON objects that go over several lines, or none", hint=hint)
        raise source.fail("is not JSON lines", hint="one JSON object per line is expected")


def _is_json(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimited(text: str, seen: Scan, encoding: Encoding, layout: Layout) -> Layout:
    lines = text.split("\n", 1)
    sep = _SEP.match(lines[0])
    kind = layout.options.format
    mark = sep[1] if sep else "\t" if kind == "recbole" else _delimiter(text, "\t" if kind == "tsv" else ",")
    quote, escape, doubts = _quoting(text, mark)
    if kind != "recbole":
        kind = "tsv" if mark == "\t" else "csv"
    own = None if mark == ("," if kind == "csv" else "\t") else mark
    options = replace(layout.options, format=kind, delimiter=own, quote=quote, escape=escape)
    rows = [row for row in _records(text, mark, quote, escape)[0] if row[1]][bool(sep) :]
    if kind == "recbole" and rows:
        rows[0] = (rows[0][0], [cell.rsplit(":", 1)[0] for cell in rows[0][1]])
    layout = replace(layout, options=options, doubts=(*layout.doubts, *doubts))
    if not rows:
        return layout
    layout = _headed(layout, rows, bool(sep))
    total = None
    if seen.tail and not encoding.name.startswith(("utf-16", "utf-32")):
        tail = seen.tail.decode(encoding.name, "replace").rstrip()
        total = _total(tail[tail.rfind("\n") + 1 :], layout, mark, rows)
    if total is not None:
        layout = replace(
            layout, total=total, doubts=(*layout.doubts, "the last line is a sum: it is left out")
        )
    return layout


def _records(
    text: str, mark: str, quote: str | None, escape: str | None = None, limit: int = _RECORDS
) -> tuple[list[Record], int]:
    """The first records, and how many break the rules of quotes; of a blank line the record is empty."""
    csv.field_size_limit(2**31 - 1)
    char = mark
    if len(mark) > 1:
        char = "\x1f"
        text = text.replace(mark, char)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=char,
        quotechar=quote,
        escapechar=escape,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )
    found: list[Record] = []
    faults = line = 0
    while len(found) < limit:
        try:
            found.append((line + 1, [cell.strip() for cell in next(reader)]))
        except StopIteration:
            break
        except csv.Error:
            # The rest of the line goes with it.
            faults += 1
        line = reader.line_num
    return found, faults


def _width(rows: Sequence[Record]) -> tuple[int, int]:
    """How many values most rows have, and how many rows those are."""
    widths = Counter(len(cells) for _, cells in rows if cells)
    return widths.most_common(1)[0] if widths else (0, 0)


def _delimiter(text: str, usual: str) -> str:
    """What most evenly splits the first rows into several values, the first of them into names."""

    def score(mark: str) -> tuple[float, bool]:
        rows = [row for row in _records(text, mark, '"', limit=200)[0] if row[1]]
        width, many = _width(rows)
        if width < 2:
            return 0.0, False
        names = any(
            all(cell and _is_name(cell) and not set(cell) & {";", "\t", "|"} for cell in cells)
            for _, cells in rows[:_HEADER_WITHIN]
            if len(cells) == width
        )
        return many / len(rows) + 0.05 * min(width, 10) + 0.5 * names, mark == usual

    best = max(_MARKS, key=score)
    return best if score(best)[0] else usual


def _quoting(text: str, mark: str) -> tuple[str | None, str | None, list[str]]:
    """The quote and the escape with which most records come out as wide as the others."""
    if '"' not in text:
        sign = re.escape(mark)
        single = re.match(rf"('[^'\n]*'{sign})+'[^'\n]*'\r?\n", text) is not None
        return ("'" if single else None if mark == "\t" else '"'), None, []
    ways: list[tuple[str | None, str | None]] = [('"', None), (None, None)]
    if '\\"' in text:
        ways.insert(1, ('"', "\\"))
    counts = {}
    for way in ways:
        rows, faults = _records(text, mark, *way)
        full = [row for row in rows if row[1]]
        many = _width(full)[1]
        counts[way] = (many - (len(full) - many) - faults, many, faults)
    best = max(ways, key=lambda way: counts[way][0])
    if best == (None, None):
        said = "quotes mean nothing (quote: null): some values start with one that does not end the value"
        return None, None, [said]
    doubts = [] if best[1] is None else ["a backslash stands before quotes inside quotes (escape)"]
    if counts[best][2]:
        doubts.append(
            f"{counts[best][2]:,} quotes are followed by more text or stay open: their lines are rejected"
        )
    return *best, doubts


def _is_name(cell: str) -> bool:
    """Whether a cell may be a column's name: it is neither a number nor a time."""
    return _VALUE.match(cell) is None and not formats_of(cell)


def _filled(cells: Sequence[str]) -> int:
    return sum(cell != "" for cell in cells)


def _header_at(rows: Sequence[Record]) -> int:
    """Which record is the header: the first that is as full as rows are, and holds names where any does."""
    width = _width(rows)[0]
    full = [cells for _, cells in rows if len(cells) == width]
    usual = median(map(_filled, full))
    # Delimiters at the ends of all rows, without values, may lack in the header.
    least = max((i for cells in full for i, cell in enumerate(cells, 1) if cell), default=width)

    def may_be(cells: Sequence[str]) -> bool:
        blanks = len(cells) - _filled(cells)
        filled = [cell for cell in cells if cell]
        if len(cells) == width and len(filled) > 1 and all(is_known(words(cell)) for cell in filled):
            return all(_is_name(cell) for cell in filled)
        index = 0 < blanks <= 2 and not _filled(cells[:blanks])
        return least - 1 <= len(cells) <= width + 1 and (
            2 * _filled(cells) > usual or (index and _filled(cells) > 0)
        )

    some = [i for i, (_, cells) in enumerate(rows[:_HEADER_WITHIN]) if may_be(cells)]
    named = [i for i in some if all(_is_name(cell) for cell in rows[i][1] if cell)]
    for i in some:
        fuller = [j for j in named if j > i and _filled(rows[j][1]) >= _filled(rows[i][1])]
        if i in named or not fuller:
            return i
    return 0


def _is_second_head(header: Sequence[str], body: Sequence[Record]) -> bool:
    """Whether the first row names the columns once more, as in another language, where others have values."""
    cells, rows = (body[0][1] if body else []), [cells for _, cells in body[1:100]]
    if len(cells) != len(header) or _filled(cells) < max(_filled(header), 2) or len(rows) < 2:
        return False
    if any(re.search(r"\d", cell) for cell in cells) or len(set(cells)) < len(cells):
        return False
    # Numbers and times below, of which one may be missing or said in words, and known words above.
    typed = sum(
        bool(values) and sum(not _is_name(value) for value in values) >= 0.9 * len(values)
        for i in range(len(cells))
        if (values := [row[i] for row in rows if len(row) > i and row[i]])
    )
    again = any(cell in row for row in rows for cell in cells)
    return typed > 1 and not again and _known(cells) > 1


def _known(names: Sequence[str]) -> int:
    return sum(is_known(words(name)) for name in names)


def _telling(names: Sequence[str]) -> tuple[bool, int]:
    """How much names tell: whether one is the id of a product or user, and how many are known."""
    some = [words(name) for name in names]
    keys = any(_THINGS & set(told) and told[-1] in _IDS for told in some)
    return keys, _known(names)


def _looks_like_data(header: Sequence[str], rows: Sequence[Record]) -> bool:
    """Whether the first line has numbers and times where the others have them."""
    if any(is_known(words(cell)) for cell in header if _is_name(cell)):
        return False
    typed = []
    for i in range(len(header)):
        values = [cells[i] for _, cells in rows[:100] if len(cells) > i and cells[i]]
        if values and sum(not _is_name(value) for value in values) >= 0.9 * len(values):
            typed.append(i)
    if list(header) in ([str(i) for i in range(n, n + len(header))] for n in (0, 1)):
        return False
    if not rows:
        return any(cell and not _is_name(cell) for cell in header)
    return bool(typed) and all(header[i] and not _is_name(header[i]) for i in typed)


def _headed(layout: Layout, rows: Sequence[Record], sep: bool) -> Layout:
    """The names, and which lines stand before the rows."""
    at = _header_at(rows)
    line, header = rows[at]
    body = rows[at + 1 :]
    doubts = []
    before = line - 1 if at else 0
    if at:
        shown = next((cells for _, cells in rows[:at] if _filled(cells)), [])
        some = "1 line before the header is" if before == 1 else f"{before} lines before the header are"
        doubts.append(f"{some} skipped: {' '.join(shown).strip()[:60]}")
    if _looks_like_data(header, body):
        names = [f"column_{i}" for i in range(1, _width(rows[at:])[0] + 1)]
        doubts.append("the first line looks like data, not like a header: give the columns names that tell")
        skipped = before or int(sep)
        return _with_columns(layout, names, skipped, doubts)
    if _is_second_head(header, body):
        second = body[0][1]
        doubts.append(f"the line after the header names the columns again, and is no row: {second[0][:60]} …")
        after = body[1][0] - 1
        return _with_columns(layout, _told_apart(max(header, second, key=_telling)), after, doubts)
    names, told = _as_wide(header, body)
    if len(header) == 1 and "," in header[0]:
        told.append("every line is one value in quotes: export it again without quotes around whole lines")
    doubts += told
    if names == header and len(set(filter(None, names))) == _filled(names):
        blank = [str(i) for i, name in enumerate(names, 1) if not name]
        if blank:
            doubts.append(f"without a name, and left out: column {', '.join(blank[:20])}")
        options = replace(layout.options, skip_lines=before)
        return replace(layout, options=options, names=tuple(names), doubts=(*layout.doubts, *doubts))
    repeated = [name for name, times in Counter(filter(None, names)).items() if times > 1]
    if repeated:
        doubts.append(
            f"named more than once in the header: {', '.join(repeated[:20])}; told apart by a number"
        )
    after = body[0][0] - 1 if body else line
    return _with_columns(layout, _told_apart(names), after, doubts)


def _with_columns(layout: Layout, names: Sequence[str], skipped: int, doubts: Sequence[str]) -> Layout:
    options = replace(layout.options, skip_lines=skipped, columns=tuple(names))
    return replace(layout, options=options, names=tuple(names), doubts=(*layout.doubts, *doubts))


def _as_wide(header: list[str], body: Sequence[Record]) -> tuple[list[str], list[str]]:
    """The header's names, as many as most rows have values; what to say where those differ."""
    width, many = _width(body)
    total = sum(bool(cells) for _, cells in body)
    odd = total - many
    if width in (0, len(header)):
        said = f"{odd:,} of {total:,} rows have not {len(header)} values as the header, and would be rejected"
        return header, [said] if odd else []
    said = f"{many:,} of {total:,} rows have {width} values, not {len(header)} as the header"
    if width < len(header):
        if _filled(header[width:]):
            return header, [f"{said}: they would be rejected"]
        return header[:width], [f"{said}, whose last one is blank"]
    extra = [f"column_{i}" for i in range(len(header) + 1, width + 1)]
    full = [cells for _, cells in body if len(cells) == width]
    if not any(_filled(cells[len(header) :]) for cells in full):
        return [*header, *extra], [f"{said}; what is more is always empty"]
    first = [cells[0] for cells in full]
    if width == len(header) + 1 and all(v.isdigit() for v in first) and len(set(first)) == len(first):
        return ["row", *header], [f"{said}; the first one counts the rows"]
    return [*header, *extra], [f"{said}; the last ones are taken to have no name"]


def _told_apart(names: Sequence[str]) -> list[str]:
    """Each name once: a number is added to those that come again, and stands where there is none."""
    taken: set[str] = set()
    result = []
    for i, name in enumerate(names, 1):
        own, number = name or f"column_{i}", 1
        stem = own
        while own in taken or (number > 1 and own in names):
            number += 1
            own = f"{stem}_{number}"
        taken.add(own)
        result.append(own)
    return result


def _total(line: str, layout: Layout, mark: str, rows: Sequence[Record]) -> tuple[str, str] | None:
    """What tells the last line from the rows, where it is a sum of them."""
    read = _records(line, mark, layout.options.quote, layout.options.escape, limit=1)[0]
    if not read or len(read[0][1]) != len(layout.names) or len(rows) < 3:
        return None
    cells = read[0][1]
    at = next((i for i, cell in enumerate(cells) if cell), None)
    if at is None:
        return None
    if "".join(words(cells[at])) in _TOTALS and layout.names[at] and _filled(cells) < len(cells):
        return layout.names[at], cells[at]
    others = [some[0] for _, some in rows[1:-1] if len(some) == len(cells)]
    sparse = 2 * _filled(cells) <= len(cells) and all(not _is_name(cell) for cell in cells if cell)
    if at > 0 and sparse and layout.names[0] and all(others):
        return layout.names[0], ""
    return None
