"""Surges of negative statements: counts of windows against what each topic usually has.

Every topic has a baseline: the share of its statements that are negative, weighted exponentially less the
older they are, times what is usual at that hour of the day and day of the week as far as there is data.
Given how many statements a window has, its negatives are beta-binomial: the share's own uncertainty and the
spread that its windows showed beyond chance make one precision. The sums over the last 1, 2, 4, ... windows
are compared with that distribution's upper tail, so that a short burst and a slow rise are both seen (a
scan over lengths, as in Kulldorff 2001). The level of each test is the allowed false alarms a month, shared
out over topics, lengths and windows; as sums overlap and counts are whole numbers, six times that level still
keeps what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.watch.tails import beta_binomial_tail

MONTH_HOURS = 730.5
# Statements that the share over all topics counts for in a new topic, and how far topics lie apart.
_PRIOR, _APART = 4.0, 0.25
# Expected negatives below which a rhythm's factor is drawn to 1 by half, and its bounds.
_RHYTHM, _FARTHEST = 25.0, 4.0
# The spread beyond chance before it is known, and what this counts for: as ten windows of ten statements.
_SPREAD, _SPREAD_KNOWN = 0.005, 1000.0
# Sums overlap, and counts are whole numbers: at so many times the level the stated rate still holds, on every
# kind of stream that bench/tasks_watch.py draws.
_OVERLAP = 6.0
# A window's squared deviation, in variances, counts at most this much towards the spread.
_MOST_SQUARED = 16.0
# Deviations below this many standard deviations are not looked at closer: their tail is above every level.
_SUSPECT = 1.25
_CALM = 1.0
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
    def lengths(self) -> tuple[int, ...]:
        """Of the sums that are looked at, in windows: 1, 2, 4, ... up to a quarter of the memory."""
        most = max(1.0, self.memory_hours / 4 / self.window_hours)
        return tuple(2**i for i in range(int(np.log2(most)) + 1))


class Change(NamedTuple):
    """A surge that starts or ends.

    Attributes:
        topic: its row.
        ends: whether it ends.
        windows: how many windows up to this one the counts are of.
        negatives, statements, expected: of these windows.
        chance: of so many negatives or more where nothing changed; 1 where it ends.
    """

    topic: int
    ends: bool
    windows: int
    negatives: int
    statements: int
    expected: float
    chance: float


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
        negatives, statements, squares: exponentially weighted sums; the last with squared weights and each
            window's statements times what its spread makes of one, float64 [topics].
        hours, days: of each hour of the day and day of the week the weighted negatives and how many were
            expected, float64 [topics, 24 or 7, 2].
    """

    negatives: DoubleArray = field(default_factory=lambda: _zeros(0))
    statements: DoubleArray = field(default_factory=lambda: _zeros(0))
    squares: DoubleArray = field(default_factory=lambda: _zeros(0))
    hours: DoubleArray = field(default_factory=lambda: _zeros(0, 24, 2))
    days: DoubleArray = field(default_factory=lambda: _zeros(0, 7, 2))

    def usual(self, rhythm: DoubleArray) -> Usual:
        """Before a window, whose rhythm is given, float64 [topics]."""
        pooled = (self.negatives.sum() + 1.0) / (self.statements.sum() + 4.0)
        weight = self.statements + _PRIOR
        level = (self.negatives + _PRIOR * pooled) / weight
        uncertain = (self.squares + _APART * _PRIOR**2) / weight**2
        odds = level / (1 - level) * rhythm
        return Usual(np.clip(odds / (1 + odds), 1e-4, 1 - 1e-4), np.minimum(uncertain, 0.5))


class SurgeDetector:
    """Takes one window after the other, all topics at once.

    Its state is arrays of float64 and int64 (`arrays`) and the last `window`: kept and taken up again, it
    goes on to the bit.

    Args:
        sensitivity: what counts as a surge.
    """

    def __init__(self, sensitivity: Sensitivity) -> None:
        self.sensitivity = sensitivity
        self.lengths = sensitivity.lengths
        self.baseline = Baseline()
        lengths, kept = len(self.lengths), self.lengths[-1]
        # Negatives, statements, expected and their binomial variance in each of the last windows.
        self.last = _zeros(0, kept, 4)
        # By length, what tells how much shares vary beyond chance, and how well it does: see `_learn`.
        self.spread = _zeros(0, lengths, 2)
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
        usual = self.baseline.usual(by_hour * by_day)
        expected = n * usual.share
        self.last = np.roll(self.last, -1, axis=1)
        self.last[:, -1] = np.stack([x, n, expected, expected * (1 - usual.share)], axis=1)
        self.since += 1
        sums = self._sums()
        found = self._ended(usual) + self._started(
            (before, window), sums, usual, sharing or max(self.topics, 1)
        )
        self._learn(x, n, sums, usual, (hour, by_hour), (day, by_day))
        return found

    def _skip(self, windows: int) -> None:
        """Lets windows without any statement pass."""
        passed = min(windows, self.lengths[-1])
        if passed > 0 and self.topics:
            self.last = np.roll(self.last, -passed, axis=1)
            self.last[:, -passed:] = 0.0
            self.since += windows
            self._age(self._decay**windows)

    # Finding ------------------------------------------------------------------------------------

    def _sums(self) -> DoubleArray:
        """Over the last windows of each length: of what `last` holds, float64 [lengths, 4, topics]."""
        places = np.array(self.lengths) - 1
        return self.last[:, ::-1].cumsum(axis=1)[:, places].transpose(1, 2, 0)

    def _spread(self, place: int) -> DoubleArray:
        """How much the share of a sum varies beyond chance (the correlation of two of its statements).

        The topic's own, drawn to that of all topics, and one standard error above it: one that is taken too
        small makes false alarms.
        """
        own, length = self.spread[:, place], self.lengths[place]
        beyond, known = own.sum(axis=0)
        prior = _SPREAD_KNOWN * length
        pooled = max((beyond + prior * _SPREAD) / (known + prior), 0.0)
        value = (own[:, 0] + prior * pooled) / (own[:, 1] + prior)
        error = np.sqrt(2 * length / (own[:, 1] + prior))
        out: DoubleArray = np.maximum(value, 0.0) + error
        return out

    def _started(
        self, windows: tuple[int, int], sums: DoubleArray, usual: Usual, sharing: int
    ) -> list[Change]:
        level = self.sensitivity.false_alarms * self.sensitivity.window_hours / MONTH_HOURS
        level *= _OVERLAP / (sharing * len(self.lengths))
        best: dict[int, Change] = {}
        for place, length in enumerate(self.lengths):
            stride = max(1, length // 4)
            # Longer sums are looked at less often, and their level is higher by as much.
            if windows[1] // stride == windows[0] // stride:
                continue
            x, n, expected, variance = sums[place]
            share = np.clip(expected / np.maximum(n, 1), 1e-4, 1 - 1e-4)
            wide = np.minimum(self._spread(place) + usual.uncertain, 0.5)
            deviation = (x - expected) / np.sqrt(np.maximum(variance * (1 + (n - 1) * wide), 1e-12))
            least = self.sensitivity.least * share / (1 - share) * (n - x)
            rows = np.flatnonzero(
                (self.going == 0) & (self.since >= length) & (x >= self.sensitivity.min_count)
                & (deviation > _SUSPECT) & (x >= least)
            )  # fmt: skip
            if not len(rows):
                continue
            precision = 1 / wide[rows] - 1
            a, b = share[rows] * precision, (1 - share[rows]) * precision
            chances = beta_binomial_tail(x[rows], n[rows], a, b)
            for row, chance in zip(rows.tolist(), chances.tolist(), strict=True):
                known = best.get(row)
                if chance <= level * stride and (known is None or chance < known.chance):
                    counts = (int(x[row]), int(n[row]), float(expected[row]))
                    best[row] = Change(row, False, length, *counts, chance)
        for row, change in best.items():
            self.going[row] = change.windows
        return [best[row] for row in sorted(best)]

    def _ended(self, usual: Usual) -> list[Change]:
        found = []
        hours = _CALM_HOURS / self.sensitivity.window_hours
        shortest = min(max(2, int(hours)), self.lengths[-1])
        for row in np.flatnonzero(self.going).tolist():
            length = max(int(self.going[row]), shortest)
            x, n, expected, variance = (float(v) for v in self.last[row, -length:].sum(axis=0))
            wide = float(usual.uncertain[row]) + _SPREAD
            deviation = (x - expected) / max(variance * (1 + (n - 1) * wide), 1e-12) ** 0.5
            if deviation < _CALM or n == 0:
                self.going[row], self.since[row] = 0, 0
                found.append(Change(row, True, length, int(x), int(n), expected, 1.0))
        return found

    # Learning -----------------------------------------------------------------------------------

    def _slots(self, window: int) -> tuple[int | None, int | None]:
        """The hour of the day and the day of the week of a window, where it is no longer than these."""
        length = self.sensitivity.window_hours
        hours = window * length
        day = int(hours // 24) % 7 if length <= 24 else None
        return (int(hours) % 24 if length <= 6 else None), day

    def _factor(self, sums: DoubleArray, slot: int | None) -> DoubleArray:
        if slot is None:
            return np.ones(self.topics)
        negatives, expected = sums[:, slot, 0], sums[:, slot, 1]
        factor = (negatives + _RHYTHM) / (expected + _RHYTHM)
        return np.asarray(np.clip(factor, 1 / _FARTHEST, _FARTHEST), np.float64)

    def _learn(
        self,
        x: DoubleArray,
        n: DoubleArray,
        sums: DoubleArray,
        usual: Usual,
        hour: tuple[int | None, DoubleArray],
        day: tuple[int | None, DoubleArray],
    ) -> None:
        calm = self.going == 0
        self._age(self._decay)
        for place, length in enumerate(self.lengths):
            sx, sn, expected, variance = sums[place]
            used = calm & (sn > 1) & (self.since >= length)
            # Squared deviations in variances, less 1, are (n - 1) times the spread in the mean; each counts
            # by how well it tells that, what is far out for the spread that is known cut off.
            pairs = np.maximum(sn - 1, 0)
            wide = 1 + pairs * self._spread(place)
            squared = np.minimum((sx - expected) ** 2 / np.maximum(variance, 1e-9), _MOST_SQUARED * wide)
            told = np.where(used, np.stack([(squared - 1) * pairs, pairs**2]) / wide**2, 0.0)
            self.spread[:, place] += told.T
        base = self.baseline
        own = self._spread(0)
        base.negatives += x
        base.statements += n
        base.squares += n * (1 + np.maximum(n - 1, 0) * own)
        for rhythm, (slot, factor) in ((base.hours, hour), (base.days, day)):
            if slot is not None:
                rhythm[:, slot, 0] += np.where(calm, x, 0)
                rhythm[:, slot, 1] += np.where(calm, n * usual.share / factor, 0)

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
            "since": self.since, "going": self.going,
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
