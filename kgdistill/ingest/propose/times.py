"""How the times of a column are written; what is proposed is read by what reads them in a job."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.ingest.mapping.cast import HALVES, cast_times

# With fewer values nothing is an exception; of more, this share has to fit.
FEW = 20
SHARE = 0.97
_FORMATS = 3
_UNITS = (("s", 1e8, 4e9), ("ms", 1e11, 4e12), ("us", 1e14, 4e15), ("ns", 1e17, 4e18))
_NUMBER = re.compile(r"\d+(\.\d+)?([eE]\+?\d+)?\Z")
_FIGURES = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})\2(\d{1,2})(?!\d)")
_DAY_MONTH = re.compile(r"(\d{1,2})([ ./-])([A-Za-z]{3,9})\2(\d{4}|\d{2})(?!\d)")
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9}) (\d{1,2})(,?) (\d{4})(?!\d)")
_YEAR_MONTH = re.compile(r"(\d{4})([ ./-])([A-Za-z]{3,9})\2(\d{1,2})(?!\d)")
_EASTERN = re.compile(
    r"\d{4}(?:(?P<y>[年년])(?P<a> ?)\d{1,2}(?P<m>[月월])(?P<b> ?)\d{1,2}(?P<d>[日号號일])"
    r"|\. \d{1,2}\. \d{1,2}\.)"
)
_DIGITS = re.compile(r"(\d{8})(T| |(?=\d))?(?:(\d{2})(\d{2})(\d{2})?)?(?!\d)")
_CLOCK_FIRST = re.compile(r"([A-Za-z]{3}) ([A-Za-z]{3}) {1,2}\d{1,2} \d{2}:\d{2}:\d{2} \d{4}\Z")
_WEEKDAY = re.compile(r"([A-Za-z]{3,9})(,? )(?=\d|[A-Za-z]{3,9} \d)")
_BEFORE = (
    rf"(?P<before>[T:]|, ?| - | {{0,2}})(?P<early>(?:{'|'.join(HALVES)})(?P<gap> ?))?(?P<hour>\d{{1,2}})"
)
_TIME = re.compile(
    _BEFORE + r"(?P<mark>[:.])\d{2}"
    r"(?:(?P=mark)\d{2}(?P<part>[.,])?(?:(?<=[.,])\d{1,6})?)?(?P<half> ?[AaPp][Mm])?"
)
_EASTERN_TIME = re.compile(
    _BEFORE + r"(?P<h>[时時点點시])(?:(?P<b> ?)\d{1,2}(?P<m>[分분])(?:(?P<c> ?)\d{1,2}(?P<s>[秒초]))?)?"
)
_ZONE = re.compile(r"(?P<blank> ?)(?:(?P<name>UTC|GMT|Z)|(?P<offset>[+-]\d{2}:?\d{2}))\Z")


@dataclass(frozen=True)
class TimeShape:
    """How times are written.

    Attributes:
        formats: tried in order; none: ISO 8601.
        unit: of numbers since 1970.
        zone: where the text ends in UTC or GMT, which no format reads.
        other: the first format with day and month in the other order.
        only: how many values fit the first format alone, and how many the other one alone.
        seen: how many values were looked at; `first` fits the first format alone, `example` the other one.
        ahead: they may lie in the future.
    """

    formats: tuple[str, ...] = ()
    unit: str | None = None
    zone: str | None = None
    other: str | None = None
    only: tuple[int, int] = (0, 0)
    seen: int = 0
    first: str = ""
    example: str = ""
    ahead: bool = False


def fits(
    values: Iterable[str | None], formats: tuple[str, ...], unit: str | None = None, *, ahead: bool = False
) -> BoolArray:
    """Which texts a job would take as times: those from 1900 to tomorrow, or to any day ahead."""
    texts = pa.array([text.strip() if text else None for text in values], pa.string())
    times, bad = cast_times(texts, formats, unit, "UTC")
    tomorrow = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(days=1)
    last = datetime.max if ahead else tomorrow
    inside = pc.and_(pc.greater_equal(times, datetime(1900, 1, 1)), pc.less_equal(times, last))
    good: BoolArray = ~bad & np.asarray(pc.fill_null(inside, False)).astype(bool)
    return good


def time_shape(counted: Counter[str], *, ahead: bool = False) -> TimeShape | None:
    """How most of the texts are written as times; None where they are none.

    Args:
        counted: texts without white space at their ends, and how often each comes.
        ahead: they may lie in the future.
    """
    texts = list(counted)
    weights = np.array([counted[text] for text in texts], dtype=np.int64)
    total = int(weights.sum())
    needed = total if total < FEW else total * SHARE
    # 1/2/24 is the shortest.
    if not texts or max(map(len, texts)) < 6 or not any(c.isdigit() for c in texts[0] + texts[-1]):
        return None
    iso = fits(texts, (), ahead=ahead)
    if weights[iso].sum() >= needed:
        return TimeShape(ahead=ahead)
    shape = _formatted(texts, weights, iso, needed, ahead=ahead)
    if shape is not None or not all(_NUMBER.match(text) for text in texts):
        return shape
    numbers = np.array([float(text) for text in texts])
    for unit, low, high in _UNITS:
        good = (numbers >= low) & (numbers <= high)
        good &= fits(texts, (), unit, ahead=ahead)
        if weights[good].sum() >= needed:
            return TimeShape(unit=unit, ahead=ahead)
    return None


def _formatted(
    texts: list[str], weights: IntArray, iso: BoolArray, needed: float, *, ahead: bool
) -> TimeShape | None:
    """The formats that read most, most of all first, and the opposite of the first."""
    names: Counter[str] = Counter()
    for text, weight in zip(texts, weights, strict=True):
        names.update({name: int(weight) for name in formats_of(text)})
    covered = {name: fits(texts, (name,), ahead=ahead) for name, _ in names.most_common(8)}
    if iso.any():
        covered["iso"] = iso
    chosen: list[str] = []
    left = np.ones(len(texts), bool)
    against = np.zeros(len(texts), bool)
    while len(chosen) < _FORMATS and weights[left & ~against].sum() > weights.sum() - needed:
        free = [name for name in covered if not any(name in opposites(other) for other in chosen)]
        # Of two that read as many the day-first one, which `formats_of` names first.
        best = max(free, key=lambda name: int(weights[covered[name] & left].sum()), default=None)
        if best is None or not weights[covered[best] & left].sum():
            break
        chosen.append(best)
        left &= ~covered[best]
        for name in opposites(best):
            if name in covered:
                against |= covered[name] & left
    if not chosen or weights[~left | against].sum() < needed:
        return None
    first = chosen[0]
    turned = [name for name in opposites(first) if name in covered and weights[covered[name]].sum()]
    other = max(turned, key=lambda name: int(weights[covered[name]].sum()), default=None)
    zone = "UTC" if first.endswith((" UTC", " GMT", "UTC", "GMT")) else None
    return TimeShape(tuple(chosen), zone=zone, other=other, ahead=ahead)


def opposites(name: str) -> tuple[str, ...]:
    """The format with day and month, or with two digits day and year, the other way round."""
    found = []
    for turned in (
        ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y"),
        ("%d{0}%m{0}%y", "%m{0}%d{0}%y"),
        ("%d{0}%m{0}%y", "%y{0}%m{0}%d"),
    ):
        for mark in "./-":
            one, two = (form.format(mark) for form in turned)
            if one in name:
                found.append(name.replace(one, two))
            elif two in name:
                found.append(name.replace(two, one))
    return tuple(found)


def formats_of(text: str) -> list[str]:
    """The formats in which one text may be a time, the usual one first."""
    if _CLOCK_FIRST.match(text):
        return ["%a %b %d %H:%M:%S %Y"]
    week = _WEEKDAY.match(text)
    prefix, start = "", 0
    if week is not None and _month(text[week.end() :]) is not None:
        prefix, start = ("%a" if len(week[1]) == 3 else "%A") + week[2], week.end()
    found = _dates(text[start:])
    if found is None:
        return []
    dates, rest = found
    after = _clock(rest)
    return [] if after is None else [f"{prefix}{date}{after}" for date in dates]


def _month(text: str) -> object:
    return _DAY_MONTH.match(text) or _MONTH_DAY.match(text) or _FIGURES.match(text)


def _dates(text: str) -> tuple[list[str], str] | None:
    """The formats of the date at the start of a text, and what follows it."""
    if (m := _EASTERN.match(text)) is not None:
        date = "%Y. %m. %d." if m["y"] is None else f"%Y{m['y']}{m['a']}%m{m['m']}{m['b']}%d{m['d']}"
        return [date], text[m.end() :]
    if (m := _YEAR_FIRST.match(text)) is not None:
        return [f"%Y{m[2]}%m{m[2]}%d"], text[m.end() :]
    if (m := _FIGURES.match(text)) is not None:
        year, s = ("%Y" if len(m[4]) == 4 else "%y"), m[2]
        dates = [f"%d{s}%m{s}{year}", f"%m{s}%d{s}{year}"]
        if year == "%y":
            dates.append(f"%y{s}%m{s}%d")
        return dates, text[m.end() :]
    if (m := _DAY_MONTH.match(text)) is not None:
        year = "%Y" if len(m[4]) == 4 else "%y"
        return [f"%d{m[2]}{_named(m[3])}{m[2]}{year}"], text[m.end() :]
    if (m := _MONTH_DAY.match(text)) is not None:
        return [f"{_named(m[1])} %d{m[3]} %Y"], text[m.end() :]
    if (m := _YEAR_MONTH.match(text)) is not None:
        return [f"%Y{m[2]}{_named(m[3])}{m[2]}%d"], text[m.end() :]
    if (m := _DIGITS.match(text)) is not None:
        time = "" if m[3] is None else f"{m[2] or ''}%H%M" + ("%S" if m[5] else "")
        return [f"%Y%m%d{time}"], text[m.end() :]
    return None


def _named(month: str) -> str:
    return "%b" if len(month) == 3 else "%B"


def _clock(text: str) -> str | None:
    """The format of the time of day and the zone that follow a date."""
    if not text:
        return ""
    result = ""
    if (m := _EASTERN_TIME.match(text)) is not None:
        result = _hour(m) + m["h"]
        result += "" if m["m"] is None else f"{m['b']}%M{m['m']}"
        result += "" if m["s"] is None else f"{m['c']}%S{m['s']}"
        text = text[m.end() :]
    elif (m := _TIME.match(text)) is not None:
        mark = m["mark"]
        seconds = f"{mark}%S" if m[0].count(mark, len(m["before"])) > 1 else ""
        if m["part"]:
            seconds += f"{m['part']}%f"
        half = "" if m["half"] is None else m["half"][:-2] + "%p"
        result = f"{_hour(m)}{mark}%M{seconds}{half}"
        text = text[m.end() :]
    if text:
        zone = _ZONE.match(text)
        if zone is None:
            return None
        result += zone["blank"] + ("%z" if zone["offset"] or zone["name"] == "Z" else zone["name"])
    return result


def _hour(time: re.Match[str]) -> str:
    """The format of the hour, and of the half of the day where that stands before it (下午2:03)."""
    early = "" if time["early"] is None else f"%p{time['gap']}"
    half = early or time.groupdict().get("half")
    # Some programs write 下午14:03.
    return f"{time['before']}{early}%{'I' if half and 0 < int(time['hour']) < 13 else 'H'}"


def count_orders(shape: TimeShape, counted: Counter[str]) -> TimeShape:
    """The shape with the values added that tell day and month apart, either way.

    That one reading lies ahead tells only where nothing else does.
    """
    texts = list(counted)
    assert shape.other is not None
    weights = np.array([counted[text] for text in texts], dtype=np.int64)
    for ahead in (True, shape.ahead):
        first = fits(texts, shape.formats, ahead=ahead)
        other = fits(texts, (shape.other,), ahead=ahead)
        alone, against = first & ~other, other & ~first
        if any(shape.only) or alone.any() or against.any():
            break
    return replace(
        shape,
        only=(shape.only[0] + int(weights[alone].sum()), shape.only[1] + int(weights[against].sum())),
        seen=shape.seen + int(weights.sum()),
        first=shape.first or (texts[int(alone.argmax())] if alone.any() else ""),
        example=shape.example or (texts[int(against.argmax())] if against.any() else ""),
    )


def turned(shape: TimeShape) -> TimeShape:
    """The same with the other order of day and month first."""
    assert shape.other is not None
    formats = (shape.other, *shape.formats[1:])
    return replace(shape, formats=formats, other=shape.formats[0], only=shape.only[::-1], example=shape.first)


def doubts_of(shape: TimeShape) -> list[str]:
    """What is unsure about the order of day and month."""
    if shape.other is None:
        return []
    first, other = shape.only
    if not first and not other:
        what = "year" if shape.other.find("%y") in range(shape.other.index("%d")) else "month"
        return [f"the time could also be {shape.other}: no value tells the day from the {what}"]
    if not other:
        return []
    return [
        f"{other:,} of {shape.seen:,} values, such as {shape.example}, can only be {shape.other} and would be"
        " rejected; if others are meant so as well, day and month are taken the wrong way round in them"
    ]
