"""When events happened."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgdistill.graphcheck.model import Gap, TimeStats

GAPS = 10
_EPOCH = date(1970, 1, 1)
_DAY = 86_400_000_000


def time_stats(name: str, times: list[npt.NDArray[np.int64]], now: datetime) -> TimeStats | None:
    """Coverage in time; None where there is no event.

    Args:
        name: the edge type.
        times: microseconds since 1970: of each event, and where known of its last; of equal length.
        now: UTC, without a zone.
    """
    if not len(times[0]):
        return None
    limit = _micros(now) + _DAY
    low, high = min(int(t.min()) for t in times), max(int(t.max()) for t in times)
    future = np.zeros(len(times[0]), dtype=bool)
    for values in times:
        future |= values > limit
    # Days of one event type are few, whatever the number of events.
    days = np.unique(np.concatenate([np.unique(t // _DAY) for t in times]))
    first, last = int(days[0]), int(days[-1])
    steps = np.diff(days) - 1
    longest = np.argsort(-steps, kind="stable")[:GAPS]
    gaps = [
        Gap(_date(int(days[i]) + 1), _date(int(days[i + 1]) - 1), int(steps[i])) for i in longest if steps[i]
    ]
    span = last - first + 1
    unit, buckets = _buckets(times[0] // _DAY)
    return TimeStats(
        type=name,
        first=_moment(low),
        last=_moment(high),
        days=span,
        days_without=span - len(days),
        weeks_without=(last - first) // 7 + 1 - len(np.unique((days - first) // 7)),
        gaps=gaps,
        future=int(future.sum()),
        unit=unit,
        buckets=buckets,
    )


def _buckets(days: npt.NDArray[np.int64]) -> tuple[Literal["day", "week", "month"], list[tuple[date, int]]]:
    distinct, counts = np.unique(days, return_counts=True)
    span = int(distinct[-1] - distinct[0])
    unit: Literal["day", "week", "month"]
    if span <= 92:
        unit, starts = "day", distinct
    elif span <= 1100:
        # 1970-01-01 was a Thursday; weeks start on Monday.
        unit, starts = "week", distinct - (distinct + 3) % 7
    else:
        unit = "month"
        starts = (
            distinct.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        )
    heads = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]])
    sums: Any = np.add.reduceat(counts, heads)
    return unit, [(_date(int(starts[h])), int(n)) for h, n in zip(heads, sums, strict=True)]


def _micros(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1)) / timedelta(microseconds=1))


def _moment(micros: int) -> datetime:
    low, high = _micros(datetime.min), _micros(datetime.max)
    return datetime(1970, 1, 1) + timedelta(microseconds=min(max(micros, low), high))


def _date(day: int) -> date:
    # A store can hold times that no calendar of Python's has.
    return date.fromordinal(min(max(day + _EPOCH.toordinal(), 1), date.max.toordinal()))
