"""Lines of JSON or CSV as statements; what is none is told with its line and reason."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from kgdistill.errors import InputError
from kgdistill.moment import moment, naive_utc
from kgdistill.nearest import nearest
from kgdistill.watch.lines import BOM, LONGEST_LINE, Format, Line, delimiter_of, quote_open

FIELDS = ("id", "at", "text", "topic", "sentiment")
_EPOCH = datetime(1970, 1, 1)
_CLOCK = r"(?:[T ]?(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2})秒?)?分?)?\Z"
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?" + _CLOCK)
# With points the day comes first wherever the year comes last; with strokes either may.
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}),?" + _CLOCK)
_WHERE_TIMES = (
    "2024-03-05T14:03, 2024/3/5 14:03, 5.3.2024 14:03, 2024年3月5日, or seconds or milliseconds since 1970"
)


@dataclass(frozen=True)
class Statement:
    """What somebody said.

    Attributes:
        at: seconds since 1970, UTC.
        id: of its line; empty where it has none.
        text: what is read of it; may be empty where sentiment and topic are given.
        topic, sentiment: as given; None where a model is to tell.
        line: in its file, from 1.
        raw: as much of the line as is shown where the statement is not counted.
    """

    at: int
    id: str = ""
    text: str = ""
    topic: str | None = None
    sentiment: str | None = None
    line: int = 0
    raw: str = ""


class LineError(Exception):
    """A line that is no statement, and why."""


_NAME_IT = "name what it was written in: --encoding GB18030, or another"
_ENCODINGS = ("utf-8", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252")
_SIGNS = '\n\r\t,;"'


class StatementReader:
    """How records become statements.

    Args:
        kind: of the file.
        columns: the key or column of each of `FIELDS`, where it is another.
        zone: of times without one.
        where: the file, for messages.
        encoding: of the file.

    Raises:
        InputError: a field or an encoding that there is not, or an encoding whose line ends are not those of
            ASCII.
    """

    def __init__(
        self,
        kind: Format,
        columns: Mapping[str, str] | None = None,
        zone: tzinfo = timezone.utc,
        where: str = "-",
        encoding: str = "utf-8",
    ) -> None:
        _check_encoding(encoding)
        for name in columns or {}:
            if name not in FIELDS:
                hint = f"{nearest(name, FIELDS)}known: {', '.join(FIELDS)}"
                raise InputError(f"there is no field {name!r}", where="--field", hint=hint)
        self.kind, self.columns = kind, {f: f for f in FIELDS} | dict(columns or {})
        self.zone, self.where, self.encoding = zone, where, encoding
        self._header: list[str] | None = None
        self._delimiter = ","

    def is_header(self, record: Line) -> bool:
        """Whether it is the header of a CSV, which is then known.

        Raises:
            InputError: the header lacks the time, or is no text.
        """
        if self.kind != "csv" or self._header is not None:
            return False
        raw = (record.raw or b"").removeprefix(BOM)
        self._delimiter = delimiter_of(raw).decode()
        try:
            self._header = [name.strip() for name in self._row(raw.decode(self.encoding))]
        except UnicodeDecodeError:
            told = f"the header is no text in {self.encoding.upper()}"
            raise InputError(told, where=self.where, hint=_NAME_IT) from None
        except LineError as error:
            hint = "lines end with LF or CRLF; cells that hold quotes or line breaks are quoted"
            raise InputError(f"the header {error}", where=self.where, hint=hint) from None
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
            raise LineError(f"is longer than {LONGEST_LINE:,} bytes")
        try:
            text = record.raw.removeprefix(BOM).decode(self.encoding)
        except UnicodeDecodeError:
            raise LineError(f"is not {self.encoding.upper()} ({_NAME_IT})") from None
        if not text.strip():
            return None
        held = self._json(text) if self.kind == "jsonl" else self._cells(text)
        found = {name: _plain(held.get(column)) for name, column in self.columns.items()}
        try:
            "".join(text or "" for text in found.values()).encode()
        except UnicodeEncodeError:
            raise LineError("holds half a character (a lone surrogate)") from None
        if held.get(self.columns["at"]) in (None, ""):
            others = [str(key) for key in held if key != self.columns["at"]]
            near = nearest(self.columns["at"], others)
            raise LineError(
                f"has no {self.columns['at']!r}, the time; {near}--field at=KEY names another key"
            )
        return Statement(
            at=self.time(held[self.columns["at"]]),
            id=found["id"] or "", text=found["text"] or "", topic=found["topic"],
            sentiment=found["sentiment"],
            line=record.line, raw=beginning(record.raw, self.encoding),
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
        header, cells = self._header or [], self._row(text)
        if len(cells) != len(header):
            over = f", over the {text.count(chr(10)) + 1} lines that a quote joins" if "\n" in text else ""
            raise LineError(f"has {len(cells)} values, not {len(header)} as the header{over}")
        return dict(zip(header, cells, strict=True))

    def _row(self, text: str) -> list[str]:
        if '"' in text and quote_open(text.encode(), self._delimiter.encode()):
            raise LineError("holds a quote that does not end")
        try:
            rows = list(csv.reader((f"{line}\n" for line in text.split("\n")), delimiter=self._delimiter))
        except csv.Error as error:
            raise LineError(f"is not CSV: {str(error).partition(' - ')[0]}") from None
        if len(rows) != 1:
            raise LineError("is not CSV: it is several rows")
        return rows[0]

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
            if len(text) in (10, 12, 14) and text.isdigit() and _is_date(text):
                raise LineError(f"{text!r} may be a date or a count: write dates as 2024-03-05T14:03")
            if len(text) == 8 and text.isdigit():
                found = self._seconds(datetime.strptime(text, "%Y%m%d"))
            elif number == number:
                found = int(number // 1000 if abs(number) > 1e11 else number)
            elif match := _DATE.match(text):
                year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
                found = self._seconds(datetime(year, month, day, hour, minute, second))
            elif match := _DAY_FIRST.match(text):
                day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
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


def _is_date(digits: str) -> bool:
    """Whether they can be YYYYMMDDHH[MM[SS]] in the years 1990 to 2099."""
    try:
        return 1990 <= datetime.strptime(digits, "%Y%m%d%H%M%S"[: len(digits) - 2]).year < 2100
    except ValueError:
        return False


def beginning(raw: bytes, encoding: str = "utf-8") -> str:
    """The beginning of a line, for a list of rejected ones."""
    return raw[:200].decode(encoding, "replace")


def _check_encoding(name: str) -> None:
    try:
        plain = _SIGNS.encode(name) == _SIGNS.encode("ascii")
    except (LookupError, ValueError) as error:
        hint = f"{nearest(name, _ENCODINGS)}such as {', '.join(_ENCODINGS)}"
        raise InputError(f"{name!r} is not a text encoding", where="--encoding", hint=hint) from error
    if not plain:
        hint = f"convert the file first: iconv -f {name} -t UTF-8 FILE"
        raise InputError(f"lines do not end in {name} as they do elsewhere", where="--encoding", hint=hint)


def _plain(value: Any) -> str | None:
    """A value as text; None where there is none."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).strip()
    return text or None
