"""Lines of JSON or CSV as statements; what is none is told with its line and reason."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, BinaryIO, Literal, NamedTuple

from kgdistill.errors import InputError
from kgdistill.moment import moment, naive_utc
from kgdistill.nearest import nearest

Format = Literal["jsonl", "csv"]
FIELDS = ("id", "at", "text", "topic", "sentiment")
LONGEST_LINE = 1_000_000
"""Bytes; a longer line, or a quoted cell that does not end, is rejected."""
_CHUNK = 1 << 16
_EPOCH = datetime(1970, 1, 1)
_DATE = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T ]?(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2})秒?)?分?)?\Z"
)
_WHERE_TIMES = "2024-03-05T14:03, 2024/3/5 14:03, 2024年3月5日, or seconds or milliseconds since 1970"


class Line(NamedTuple):
    """What one line (or several, where a cell of CSV holds line breaks) says.

    Attributes:
        line: where it begins, from 1.
        raw: its bytes, without the line break; None where it was longer than `LONGEST_LINE`.
        whole: whether a line break ends it.
    """

    line: int
    raw: bytes | None
    whole: bool = True


@dataclass(frozen=True)
class Statement:
    """What somebody said.

    Attributes:
        at: seconds since 1970, UTC.
        id: of its line; empty where it has none.
        text: what is read of it; may be empty where sentiment and topic are given.
        topic, sentiment: as given; None where a model is to tell.
        line: in its file, from 1.
    """

    at: int
    id: str = ""
    text: str = ""
    topic: str | None = None
    sentiment: str | None = None
    line: int = 0


class LineError(Exception):
    """A line that is no statement, and why."""


def records(file: BinaryIO, kind: Format) -> Iterator[Line | None]:
    """The records of a file or stream; None where no more can be read for now without waiting."""
    return _lines(file) if kind == "jsonl" else _quoted(_lines(file))


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


def _quoted(lines: Iterator[Line | None]) -> Iterator[Line | None]:
    """Lines joined until every quote is closed."""
    held: list[Line] = []
    size = 0
    for record in lines:
        if record is None:
            yield None
            continue
        held.append(record)
        size += len(record.raw or b"")
        broken = record.raw is None or size > LONGEST_LINE
        if broken or not sum((r.raw or b"").count(b'"') for r in held) % 2 or not record.whole:
            raw = None if broken else b"\n".join(r.raw or b"" for r in held)
            yield Line(held[0].line, raw, record.whole)
            held, size = [], 0
    if held:
        yield Line(held[0].line, b"\n".join(r.raw or b"" for r in held), held[-1].whole)


class StatementReader:
    """How records become statements.

    Args:
        kind: of the file.
        columns: the key or column of each of `FIELDS`, where it is another.
        zone: of times without one.
        where: the file, for messages.

    Raises:
        InputError: a field that there is not.
    """

    def __init__(
        self,
        kind: Format,
        columns: Mapping[str, str] | None = None,
        zone: tzinfo = timezone.utc,
        where: str = "-",
    ) -> None:
        for name in columns or {}:
            if name not in FIELDS:
                hint = f"{nearest(name, FIELDS)}known: {', '.join(FIELDS)}"
                raise InputError(f"there is no field {name!r}", where="--field", hint=hint)
        self.kind, self.columns, self.zone, self.where = (
            kind,
            {f: f for f in FIELDS} | dict(columns or {}),
            zone,
            where,
        )
        self._header: list[str] | None = None
        self._delimiter = ","

    def is_header(self, record: Line) -> bool:
        """Whether it is the header of a CSV, which is then known.

        Raises:
            InputError: the header lacks the time, or is no text.
        """
        if self.kind != "csv" or self._header is not None:
            return False
        text = (record.raw or b"").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        self._delimiter = max(",;\t|", key=text.count)
        self._header = [name.strip() for name in next(csv.reader([text], delimiter=self._delimiter), [])]
        if self.columns["at"] not in self._header:
            shown = ", ".join(self._header)[:200]
            raise InputError(
                f"the header has no column {self.columns['at']!r}, the time: {shown}",
                where=self.where,
                hint="name it: --field at=COLUMN; a file of JSON lines is read with --format jsonl",
            )
        return True

    def statement(self, record: Line) -> Statement | None:
        """A record as a statement; None for an empty line.

        Raises:
            LineError: it is none; says why.
        """
        if record.raw is None:
            raise LineError(f"is longer than {LONGEST_LINE:,} bytes, or holds a quote that does not end")
        try:
            text = record.raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        except UnicodeDecodeError:
            raise LineError("is not UTF-8") from None
        if not text.strip():
            return None
        held = self._json(text) if self.kind == "jsonl" else self._cells(text)
        found = {name: _plain(held.get(column)) for name, column in self.columns.items()}
        if found["at"] is None:
            near = nearest(self.columns["at"], [str(key) for key in held])
            raise LineError(
                f"has no {self.columns['at']!r}, the time; {near}--field at=KEY names another key"
            )
        return Statement(
            at=self.time(held[self.columns["at"]]),
            id=found["id"] or "", text=found["text"] or "", topic=found["topic"],
            sentiment=found["sentiment"],
            line=record.line,
        )  # fmt: skip

    def _json(self, text: str) -> dict[str, Any]:
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            raise LineError("is not JSON") from None
        if not isinstance(held, dict):
            raise LineError("is no JSON object")
        return held

    def _cells(self, text: str) -> dict[str, Any]:
        header = self._header or []
        try:
            cells = next(csv.reader(text.split("\n"), delimiter=self._delimiter))
        except (csv.Error, StopIteration):
            raise LineError("is not CSV") from None
        if len(cells) != len(header):
            raise LineError(f"has {len(cells)} values, not {len(header)} as the header")
        return dict(zip(header, cells, strict=True))

    def time(self, value: Any) -> int:
        """A time in seconds since 1970, UTC.

        Raises:
            LineError: it is none, or not from 1971 to 2199.
        """
        text = str(value).strip()
        shown = f"{text[:40]!r} is no time such as {_WHERE_TIMES}"
        try:
            number = float(text) if not isinstance(value, bool) else float("nan")
        except ValueError:
            number = float("nan")
        try:
            if len(text) == 8 and text.isdigit():
                found = self._seconds(datetime.strptime(text, "%Y%m%d"))
            elif number == number:
                found = int(number // 1000 if abs(number) > 1e11 else number)
            elif match := _DATE.match(text):
                year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
                found = self._seconds(datetime(year, month, day, hour, minute, second))
            else:
                found = self._seconds(moment(text, ""))
        except (ValueError, OverflowError, InputError):
            raise LineError(shown) from None
        if not 31_536_000 <= found < 7_258_118_400:
            raise LineError(f"{text[:40]!r} lies outside the years 1971 to 2199")
        return found

    def _seconds(self, time: datetime) -> int:
        aware = time if time.tzinfo is not None else time.replace(tzinfo=self.zone)
        return (naive_utc(aware) - _EPOCH) // timedelta(seconds=1)


def _plain(value: Any) -> str | None:
    """A value as text; None where there is none."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).strip()
    return text or None
