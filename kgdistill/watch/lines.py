"""The records of a file or stream: lines, and in CSV the lines that a quoted cell joins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

Format = Literal["jsonl", "csv"]
LONGEST_LINE = 1_000_000
"""Bytes; a longer line is rejected, and so is one whose quote does not end within as many."""
BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 16


class Line(NamedTuple):
    """What one line (or several, where a cell of CSV holds line breaks) says.

    Attributes:
        line: where it begins, from 1.
        raw: its bytes, without the line break; None where it was longer than `LONGEST_LINE`.
        whole: whether a line break ends it, and no quote is open there.
    """

    line: int
    raw: bytes | None
    whole: bool = True


def records(file: BinaryIO, kind: Format, *, grows: bool = False) -> Iterator[Line | None]:
    """The records of a file or stream; None where no more can be read for now without waiting.

    Args:
        file: binary.
        kind: of CSV, lines are joined while a quote is open; where it does not end, its line stands alone.
        grows: a quote that is open at the end may be closed later: all from its line on is one record that is
            not whole.
    """
    return _lines(file) if kind == "jsonl" else _joined(_lines(file), grows)


def format_of(name: str) -> Format:
    """What a file of that name holds."""
    return "csv" if name.lower().endswith((".csv", ".tsv")) else "jsonl"


def delimiter_of(header: bytes) -> bytes:
    """What separates the cells of a CSV, by the first line of its header."""
    return max((b",", b";", b"\t", b"|"), key=header.partition(b"\n")[0].count)


def quote_open(raw: bytes | None, delimiter: bytes, quoted: bool = False) -> bool:
    """Whether a quote is open after a line, by the rule of csv: only at the start of a cell does one open.

    Args:
        raw: the line; one that is None changes nothing.
        delimiter: of cells.
        quoted: whether a quote is open before it.
    """
    if raw is None or b'"' not in raw:
        return quoted
    place = 0
    if not quoted:
        quoted = raw.startswith(b'"')
        place = int(quoted)
    while True:
        if quoted:
            place = raw.find(b'"', place) + 1
            if not place:
                return True
            if raw[place : place + 1] == b'"':
                place += 1
                continue
        place = raw.find(delimiter, place) + 1
        if not place:
            return False
        quoted = raw[place : place + 1] == b'"'
        place += quoted


def _lines(file: BinaryIO) -> Iterator[Line | None]:
    line, rest, over = 1, b"", False
    read = getattr(file, "read1", file.read)
    while chunk := read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for raw in whole:
            yield Line(line, None if over or len(raw) > LONGEST_LINE else raw.rstrip(b"\r"))
            line, over = line + 1, False
        if len(rest) > LONGEST_LINE:
            rest, over = b"", True
        yield None
    if rest or over:
        yield Line(line, None if over else rest.rstrip(b"\r"), whole=False)


def _joined(lines: Iterator[Line | None], grows: bool) -> Iterator[Line | None]:
    joiner: _Joiner | None = None
    for record in lines:
        if record is None:
            yield None
            continue
        if joiner is None:
            raw = (record.raw or b"").removeprefix(BOM)
            joiner = _Joiner(delimiter_of(raw))
            record = record._replace(raw=None if record.raw is None else raw)
        yield from joiner.add(record)
    if joiner is not None:
        yield from joiner.rest(grows)


class _Joiner:
    """Joins lines while a quote is open; each is looked at twice at most, however many quotes do not end."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._held: deque[Line] = deque()
        self._size, self._open = 0, False

    def add(self, record: Line) -> Iterator[Line]:
        """Takes a line; gives the records that are complete."""
        self._held.append(record)
        self._size += _size(record)
        self._open = quote_open(record.raw, self._delimiter, self._open)
        while self._held and (not self._open or self._size > LONGEST_LINE):
            if len(self._held) == 1 or self._size <= LONGEST_LINE:
                yield self._together(self._held[-1].whole)
            else:
                yield from self._first_alone()

    def rest(self, grows: bool) -> Iterator[Line]:
        """What is left at the end."""
        if self._held and grows:
            yield self._together(whole=False)
        while self._held:
            yield from self._first_alone()

    def _together(self, whole: bool) -> Line:
        first, raws = self._held[0], [line.raw for line in self._held]
        self._held.clear()
        self._size, self._open = 0, False
        raw = raws[0] if len(raws) == 1 else b"\n".join(r or b"" for r in raws)
        return Line(first.line, raw, whole)

    def _first_alone(self) -> Iterator[Line]:
        """The first line, and those after it in which no quote is open when they are read by themselves."""
        yield self._pop()
        while self._held and not quote_open(self._held[0].raw, self._delimiter):
            yield self._pop()
        # Open after this line as it was before, so that all later ones need not be looked at again.
        self._open = bool(self._held) and (self._open or len(self._held) == 1)

    def _pop(self) -> Line:
        line = self._held.popleft()
        self._size -= _size(line)
        return line


def _size(line: Line) -> int:
    return LONGEST_LINE + 1 if line.raw is None else len(line.raw) + 1
