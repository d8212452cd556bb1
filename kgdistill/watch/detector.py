"""Surges of negative statements: counts of windows against what each topic usually has.

Every topic has a baseline: the share of its statements that are negative, weighted exponentially less the
older they are, times what is usual at that hour of the day and day of the week as far as there is data.
Given how many statements a window has, its negatives are beta-binomial: the share's own uncertainty and the
spread that its windows showed beyond chance make one precision.

Shiryaev-Roberts procedure: R <- (1 + R) L in every window, L being how much likelier its negatives are at
some multiple of the usual odds; an alert is told where the mean of R over several multiples reaches A. Where
nothing changes, R grows by 1 a window in the mean, so that a topic has a false alarm at most once in A
windows (Pollak 1985): A is the windows of all topics in the time in which one false alarm is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.watch.gamma import log_gamma

MONTH_HOURS = 730.5
# Statements that the share over all topics counts for in a new topic.
_PRIOR = 4.0
# Expected negatives below which a rhythm's factor is drawn to 1 by half, and its bounds.
_RHYTHM, _FARTHEST = 25.0, 4.0
# The spread beyond chance before it is known, and what this counts for: as ten windows of ten statements.
_SPREAD, _SPREAD_KNOWN = 0.005, 1000.0
# Times the usual odds of a negative that a surge may have.
_ODDS = (1.5, 2.0, 3.0, 5.0)
# A window's squared deviation, in variances, counts at most this much towards the spread.
_MOST_SQUARED = 16.0
_CALM = 0.5
# A surge is over when so many hours, or its own length, are calm as a whole.
_CALM_HOURS = 12.0


@dataclass(frozen=True)
class Sensitivity:
    """What counts as a surge.

    Attributes:
        window_hours: the length of a window.
        memory_hours: after so long a statement weighs half in the baseline.
        false_alarms: allowed a month (30.4 days), over all topics together.
        min_count: fewest negatives of a surge.
        least: how many times the usual odds of a negative a surge has at least.
    """

    window_hours: float = 1.0
    memory_hours: float = 28 * 24.0
    false_alarms: float = 1.0
    min_count: int = 3
    least: float = 1.5

    @property
    def longest(self) -> int:
        """Windows that a surge is looked for in: a quarter of the memory."""
        return max(1, int(self.memory_hours / 4 / self.window_hours))


class Change(NamedTuple):
    """A surge that starts or ends.

    Attributes:
        topic: its row.
        ends: whether it ends.
        windows: how many windows up to this one the counts are of; of a surge those since it likely began.
        negatives, statements, expected: of these windows.
        a_month: alerts as strong as this that a month would bring over all topics, had nothing changed; 0
            where it ends.
    """

    topic: int
    ends: bool
    windows: int
    negatives: int
    statements: int
    expected: float
    a_month: float


@dataclass
class Usual:
    """What a window is compared with.

    Attributes:
        share: of negatives, float64 [topics].
        uncertain: variance of that share over share (1 - share), float64 [topics].
    """

    share: DoubleArray
    uncertain: DoubleArray


def _zeros(*shape: int) -> DoubleArray:
    return np.zeros(shape, np.float64)


@dataclass
class Baseline:
    """What is usual of each topic; rows are topics.

    Attributes:
        negatives, statements, squares: exponentially weighted sums; a window counts the less the more
            alike its statements are; the last with squared weights, float64 [topics].
        hours, days: of each hour of the day and day of the week the weighted negatives and how many were
            expected, float64 [topics, 24 or 7, 2].
    """

    negatives: DoubleArray = field(default_factory=lambda: _zeros(0))
    statements: DoubleArray = field(default_factory=lambda: _zeros(0))
    squares: DoubleArray = field(default_factory=lambda: _zeros(0))
    hours: DoubleArray = field(default_factory=lambda: _zeros(0, 24, 2))
    days: DoubleArray = field(default_factory=lambda: _zeros(0, 7, 2))

    def usual(self, rhythm: DoubleArray, uncertain_rhythm: DoubleArray) -> Usual:
        """Before a window, whose rhythm is given and the variance of its logarithm, float64 [topics]."""
        pooled = (self.negatives.sum() + 1.0) / (self.statements.sum() + 4.0)
        weight = self.statements + _PRIOR
        level = (self.negatives + _PRIOR * pooled) / weight
        uncertain = self.squares / weight**2
        share = np.clip(times_odds(level, rhythm), 1e-4, 1 - 1e-4)
        uncertain += uncertain_rhythm * share * (1 - share)
        return Usual(share, np.minimum(uncertain, 0.5))


@dataclass
class Factor:
    """What an hour of the day, or a day of the week, makes of the odds.

    Attributes:
        times: so many times, float64 [topics].
        uncertain: variance of its logarithm, float64 [topics].
    """

    times: DoubleArray
    uncertain: DoubleArray


class SurgeDetector:
    """Takes one window after the other, all topics at once.

    Its state is arrays of float64 and int64 (`arrays`) and the last `window`: kept and taken up again, it
    goes on to the bit.

    Args:
        sensitivity: what counts as a surge.
    """

    def __init__(self, sensitivity: Sensitivity) -> None:
        self.sensitivity = sensitivity
        self.baseline = Baseline()
        # Negatives, statements, expected and their binomial variance in each of the last windows.
        self.last = _zeros(0, sensitivity.longest, 4)
        # What tells how much shares vary beyond chance, and how well it does: see `_learn`.
        self.spread = _zeros(0, 2)
        # By multiple of the odds, the logarithm of 1 + R.
        self.evidence = _zeros(0, len(_ODDS))
        # Windows since the topic came or its last surge ended; the length of the surge that is going, else 0.
        self.since = np.zeros(0, np.int64)
        self.going = np.zeros(0, np.int64)
        self.window: int | None = None
        self._decay = 0.5 ** (sensitivity.window_hours / sensitivity.memory_hours)

    @property
    def topics(self) -> int:
        """How many rows there are."""
        return len(self.since)

    def add_topics(self, count: int) -> None:
        """Adds rows of topics that nothing is known of."""
        for name, array in self.arrays().items():
            more = np.zeros((count, *array.shape[1:]), array.dtype)
            self._set(name, np.concatenate([array, more]))

    def step(
        self, window: int, negatives: IntArray, statements: IntArray, sharing: int | None = None
    ) -> list[Change]:
        """The surges that start or end with a window.

        Args:
            window: its number, counted from Monday, 1970-01-05 UTC; each call has a higher one, and windows
                that were left out had no statements.
            negatives, statements: int64 [topics].
            sharing: how many topics share the false alarms; all rows where None.
        """
        before = window - 1 if self.window is None else self.window
        self._skip(window - before - 1)
        self.window = window
        x, n = np.asarray(negatives, np.float64), np.asarray(statements, np.float64)
        hour, day = self._slots(window)
        by_hour, by_day = self._factor(self.baseline.hours, hour), self._factor(self.baseline.days, day)
        usual = self.baseline.usual(by_hour.times * by_day.times, by_hour.uncertain + by_day.uncertain)
        expected = n * usual.share
        self.last = np.roll(self.last, -1, axis=1)
        self.last[:, -1] = np.stack([x, n, expected, expected * (1 - usual.share)], axis=1)
        self.since += 1
        found = self._ended(usual) + self._started(x, n, usual, sharing or max(self.topics, 1))
        self._learn(x, n, usual, (hour, by_hour), (day, by_day))
        return found

    def _skip(self, windows: int) -> None:
        """Lets windows without any statement pass."""
        passed = min(windows, self.sensitivity.longest)
        if passed > 0 and self.topics:
            self.last = np.roll(self.last, -passed, axis=1)
            self.last[:, -passed:] = 0.0
            self.since += windows
            if passed == self.sensitivity.longest:
                self.evidence[:] = 0.0
            self._age(self._decay**windows)

    # Finding ------------------------------------------------------------------------------------

    def _spread(self) -> DoubleArray:
        """How much the share of a window varies beyond chance (the correlation of two of its statements).

        The topic's own, drawn to that of all topics, and one standard error above it: one that is taken too
        small makes false alarms.
        """
        beyond, known = self.spread.sum(axis=0)
        pooled = max((beyond + _SPREAD_KNOWN * _SPREAD) / (known + _SPREAD_KNOWN), 0.0)
        weight = self.spread[:, 1] + _SPREAD_KNOWN
        value = (self.spread[:, 0] + _SPREAD_KNOWN * pooled) / weight
        out: DoubleArray = np.maximum(value, 0.0) + np.sqrt(2 / weight)
        return out

    def _started(self, x: DoubleArray, n: DoubleArray, usual: Usual, sharing: int) -> list[Change]:
        precision = 1 / np.minimum(self._spread() + usual.uncertain, 0.5) - 1
        calm = log_likelihood(x, n, usual.share, precision)
        ratios = [log_likelihood(x, n, times_odds(usual.share, odds), precision) - calm for odds in _ODDS]
        held = np.logaddexp(0, self.evidence + np.stack(ratios, axis=1))
        # A window without statements is no evidence, and brings no false alarm.
        self.evidence = np.where((n > 0)[:, None], held, self.evidence)
        self.evidence[self.going > 0] = 0.0
        windows = sharing * MONTH_HOURS / self.sensitivity.window_hours
        a_month = windows / np.maximum(np.expm1(self.evidence).mean(axis=1), 1e-9)
        rare = (a_month <= self.sensitivity.false_alarms) & (self.going == 0) & (n > 0)
        found = []
        for row in np.flatnonzero(rare).tolist():
            length = self._began(row)
            bad, every, expected, _ = self.last[row, -length:].sum(axis=0).tolist()
            least = self.sensitivity.least * expected / (every - expected) * (every - bad)
            if bad >= max(self.sensitivity.min_count, least):
                self.going[row] = length
                counts = (int(bad), int(every), expected)
                found.append(Change(row, False, length, *counts, float(a_month[row])))
        return found

    def _began(self, row: int) -> int:
        """How many windows ago a surge likeliest began, by binomial likelihood at its likeliest odds."""
        possible = max(1, min(int(self.since[row]), self.sensitivity.longest))
        x, n, expected, _ = self.last[row, ::-1][:possible].T
        odds = _ODDS[int(self.evidence[row].argmax())]
        ratio = x * np.log(odds) - n * np.log1p(expected / np.maximum(n, 1) * (odds - 1))
        return int(ratio.cumsum().argmax()) + 1

    def _ended(self, usual: Usual) -> list[Change]:
        found = []
        hours = _CALM_HOURS / self.sensitivity.window_hours
        shortest = min(max(2, int(hours)), self.sensitivity.longest)
        for row in np.flatnonzero(self.going).tolist():
            length = max(int(self.going[row]), shortest)
            x, n, expected, variance = (float(v) for v in self.last[row, -length:].sum(axis=0))
            wide = float(usual.uncertain[row]) + _SPREAD
            deviation = (x - expected) / max(variance * (1 + (n - 1) * wide), 1e-12) ** 0.5
            if deviation < _CALM or n == 0:
                self.going[row], self.since[row] = 0, 0
                found.append(Change(row, True, length, int(x), int(n), expected, 0.0))
        return found

    # Learning -----------------------------------------------------------------------------------

    def _slots(self, window: int) -> tuple[int | None, int | None]:
        """The hour of the day and the day of the week of a window, where it is no longer than these."""
        length = self.sensitivity.window_hours
        hours = window * length
        day = int(hours // 24) % 7 if length <= 24 else None
        return (int(hours) % 24 if length <= 6 else None), day

    def _factor(self, sums: DoubleArray, slot: int | None) -> Factor:
        if slot is None:
            return Factor(np.ones(self.topics), np.zeros(self.topics))
        negatives, expected = sums[:, slot, 0], sums[:, slot, 1]
        times = (negatives + _RHYTHM) / (expected + _RHYTHM)
        return Factor(np.clip(times, 1 / _FARTHEST, _FARTHEST), 1 / (expected + _RHYTHM))

    def _learn(
        self,
        x: DoubleArray,
        n: DoubleArray,
        usual: Usual,
        hour: tuple[int | None, Factor],
        day: tuple[int | None, Factor],
    ) -> None:
        calm = self.going == 0
        self._age(self._decay)
        # Squared deviations in variances, less 1, are (n - 1) times the spread in the mean; each counts
        # by how well it tells that, what is far out for the spread that is known cut off.
        pairs = np.maximum(n - 1, 0)
        wide = 1 + pairs * self._spread()
        expected, variance = self.last[:, -1, 2:].T
        squared = np.minimum((x - expected) ** 2 / np.maximum(variance, 1e-9), _MOST_SQUARED * wide)
        told = np.where(calm & (n > 1), np.stack([(squared - 1) * pairs, pairs**2]) / wide**2, 0.0)
        self.spread += told.T
        base = self.baseline
        # The more the statements of a window are alike, the less each of them tells of the usual share.
        x, n = x / wide, n / wide
        base.negatives += x
        base.statements += n
        base.squares += n
        for rhythm, (slot, factor) in ((base.hours, hour), (base.days, day)):
            if slot is not None:
                rhythm[:, slot, 0] += np.where(calm, x, 0)
                rhythm[:, slot, 1] += np.where(calm, n * usual.share / factor.times, 0)

    def _age(self, by: float) -> None:
        base = self.baseline
        for array in (base.negatives, base.statements, base.hours, base.days, self.spread):
            array *= by
        base.squares *= by * by

    # Keeping ------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, DoubleArray | IntArray]:
        """All that it knows, by name; rows are topics."""
        base = self.baseline
        return {
            "negatives": base.negatives, "statements": base.statements, "squares": base.squares,
            "hours": base.hours, "days": base.days, "last": self.last, "spread": self.spread,
            "evidence": self.evidence, "since": self.since, "going": self.going,
        }  # fmt: skip

    def _set(self, name: str, array: npt.NDArray[Any]) -> None:
        setattr(self if hasattr(self, name) else self.baseline, name, array)

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes up what `arrays` gave.

        Raises:
            KeyError: an array is missing.
            ValueError: an array has another shape: it was kept for another sensitivity.
        """
        rows = len(arrays.get("since", ()))
        for name, own in self.arrays().items():
            array = np.asarray(arrays[name])
            if array.shape != (rows, *own.shape[1:]):
                raise ValueError(f"{name} has the shape {array.shape}")
            self._set(name, array.astype(own.dtype))


def times_odds(share: DoubleArray, odds: DoubleArray | float) -> DoubleArray:
    """Shares whose odds are so many times those of others, float64 of the same shape."""
    return np.asarray(share * odds / (1 - share + share * odds), np.float64)


def log_likelihood(x: DoubleArray, n: DoubleArray, share: DoubleArray, precision: DoubleArray) -> DoubleArray:
    """Of beta-binomial counts, but for what does not depend on the share, float64 [topics].

    Args:
        x, n: negatives of so many statements, float64 [topics].
        share, precision: a / (a + b) and a + b of the beta distribution, float64 [topics].
    """
    a, b = share * precision, (1 - share) * precision
    out: DoubleArray = log_gamma(x + a) + log_gamma(n - x + b) - log_gamma(a) - log_gamma(b)
    return out
