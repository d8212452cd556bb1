"""Streams of counts, with and without surges, and the detectors that are compared on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.watch.detector import MONTH_HOURS, Change, Sensitivity, SurgeDetector, Usual
from kgdistill.watch.tails import beta_binomial_tail, log_gamma

TOPICS = 10
WARM = 28 * 24
"""Hours before anything counts in a comparison of delays; false alarms count from the first hour on."""
_AGAIN = 24
KINDS = ("constant", "seasonal", "trending", "bursty", "clumped", "sparse", "many topics")


class Mistakes(NamedTuple):
    """How a classifier errs: the share of negatives it finds, and of others that it takes for one."""

    found: float = 1.0
    wrong: float = 0.0


RIGHT = Mistakes()


@dataclass
class Stream:
    """Counts of windows: float64 share and int64 counts, [windows, topics]."""

    negatives: IntArray
    statements: IntArray
    share: DoubleArray


def _odds(share: DoubleArray, times: DoubleArray | float) -> DoubleArray:
    odds = share / (1 - share) * times
    return np.asarray(odds / (1 + odds), np.float64)


def _volume(kind: str, hours: DoubleArray, topics: int, draw: np.random.Generator) -> DoubleArray:
    """Expected statements an hour, float64 [hours, topics]."""
    volume = 8 * np.exp(draw.normal(0, 0.8, topics))[None] * np.ones((len(hours), 1))
    day = 2 * np.pi * hours[:, None] / 24
    weekend = (hours[:, None] // 24) % 7 >= 5
    if kind in ("seasonal", "planted"):
        volume = volume * (1 + 0.6 * np.sin(day)) * (1 - 0.4 * weekend)
    if kind == "trending":
        volume = volume * 2 ** (hours[:, None] / 8766)
    if kind == "sparse":
        volume = volume / 100
    if kind == "bursty":
        level, burst = np.zeros((len(hours), topics)), np.zeros(topics)
        for i in range(len(hours)):
            shock = (draw.random(topics) < 0.003) * draw.exponential(2.0, topics)
            burst = 0.8 * burst + draw.normal(0, 0.3, topics) + shock
            level[i] = burst
        volume = volume * np.exp(level)
    return np.asarray(volume, np.float64)


def draw_stream(
    kind: str, hours: int, topics: int, seed: int, *, mistakes: Mistakes = RIGHT, odds: Any = 1.0,
    more: Any = 1.0,
) -> Stream:  # fmt: skip
    """A stream of hourly windows.

    Args:
        kind: one of `KINDS`, or "planted", which is seasonal.
        hours, topics: its size.
        seed: draws it.
        mistakes: negatives are told by a classifier that errs so.
        odds, more: times the usual odds of a negative and the usual volume, float64 [hours, topics].
    """
    draw = np.random.default_rng([seed, KINDS.index(kind) if kind in KINDS else 99])
    at = np.arange(hours, dtype=np.float64)
    share = draw.uniform(0.05, 0.3, topics)[None] * np.ones((hours, 1))
    day, weekend = 2 * np.pi * at[:, None] / 24, (at[:, None] // 24) % 7 >= 5
    if kind in ("seasonal", "planted"):
        share = _odds(share, np.exp(0.4 * np.sin(day + 1) + 0.3 * weekend))
    if kind == "trending":
        share = _odds(share, 2.5 ** (at[:, None] / 8766))
    statements = draw.poisson(_volume(kind, at, topics, draw) * more)
    # How alike the statements of an hour are: negatives come in clumps.
    alike = {"clumped": 0.08, "bursty": 0.03}.get(kind, 0.005)
    true = _odds(share, odds)
    drawn = draw.beta(true * (1 / alike - 1), (1 - true) * (1 / alike - 1))
    negatives = draw.binomial(statements, drawn)
    if mistakes != RIGHT:
        negatives = draw.binomial(negatives, mistakes.found) + draw.binomial(
            statements - negatives, mistakes.wrong
        )
    return Stream(negatives, statements, share)


# Detectors as scores of every window and topic: the higher, the more of a surge ---------------------


class _Scored(SurgeDetector):
    """The detector without its alerts: what it would compare with a level, as minus a logarithm."""

    def __init__(self, sensitivity: Sensitivity, lengths: tuple[int, ...] | None = None) -> None:
        super().__init__(sensitivity)
        if lengths is not None:
            self.lengths = lengths
            self.last = np.zeros((0, lengths[-1], 4))
            self.spread = np.zeros((0, len(lengths), 2))
        self.score = np.zeros(0)

    def _started(
        self, windows: tuple[int, int], sums: DoubleArray, usual: Usual, sharing: int
    ) -> list[Change]:
        self.score = np.zeros(self.topics)
        for place, length in enumerate(self.lengths):
            stride = max(1, length // 4)
            if windows[1] // stride != windows[0] // stride:
                x, n, expected, variance = sums[place]
                share = np.clip(expected / np.maximum(n, 1), 1e-4, 1 - 1e-4)
                wide = np.minimum(self._spread(place) + usual.uncertain, 0.5)
                deviation = (x - expected) / np.sqrt(np.maximum(variance * (1 + (n - 1) * wide), 1e-12))
                rows = np.flatnonzero((self.since >= length) & (x >= 3) & (deviation > 1.25))
                precision = 1 / wide[rows] - 1
                chance = beta_binomial_tail(
                    x[rows], n[rows], share[rows] * precision, (1 - share[rows]) * precision
                )
                score = -np.log(np.maximum(chance / stride, 1e-300))
                self.score[rows] = np.maximum(self.score[rows], score)
        return []


class _Ratios(_Scored):
    """Likelihood ratios of windows against what is usual: CUSUM, or Shiryaev-Roberts over a mixture."""

    def __init__(self, sensitivity: Sensitivity, odds: tuple[float, ...], roberts: bool) -> None:
        super().__init__(sensitivity, (1,))
        self.odds, self.roberts = odds, roberts
        self.sum = np.zeros((len(odds), 0))

    def _started(
        self, windows: tuple[int, int], sums: DoubleArray, usual: Usual, sharing: int
    ) -> list[Change]:
        x, n, _, _ = sums[0]
        if self.sum.shape[1] != self.topics:
            self.sum = np.zeros((len(self.odds), self.topics))
        precision = 1 / np.minimum(self._spread(0) + usual.uncertain, 0.5) - 1
        for i, odds in enumerate(self.odds):
            share = _odds(usual.share, odds)
            ratio = _log_beta(x, n, share, precision) - _log_beta(x, n, usual.share, precision)
            if self.roberts:
                self.sum[i] = np.where(n > 0, np.logaddexp(0, self.sum[i]) + ratio, self.sum[i])
            else:
                self.sum[i] = np.maximum(self.sum[i] + ratio, 0)
        self.score = np.logaddexp.reduce(self.sum, axis=0) if self.roberts else self.sum.max(axis=0)
        return []


def _log_beta(x: DoubleArray, n: DoubleArray, share: DoubleArray, precision: DoubleArray) -> DoubleArray:
    a, b = share * precision, (1 - share) * precision
    out: DoubleArray = (
        log_gamma(x + a) + log_gamma(n - x + b) - log_gamma(n + a + b)
        + log_gamma(a + b) - log_gamma(a) - log_gamma(b)
    )  # fmt: skip
    return out


def _run(detector: _Scored, stream: Stream) -> DoubleArray:
    detector.add_topics(stream.statements.shape[1])
    out = np.zeros(stream.statements.shape)
    for i in range(len(out)):
        detector.step(i, stream.negatives[i], stream.statements[i])
        out[i] = detector.score
    return out


def _sigma(stream: Stream) -> DoubleArray:
    """Standard deviations of a window's negatives above their mean over four weeks."""
    x, decay = stream.negatives.astype(np.float64), 0.5 ** (1 / WARM)
    weight = 0.0
    mean, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    out = np.zeros(x.shape)
    for i, row in enumerate(x):
        if weight > 0:
            m = mean / weight
            out[i] = (row - m) / np.sqrt(np.maximum(square / weight - m * m, 1e-2))
        weight, mean, square = weight * decay + 1, mean * decay + row, square * decay + row * row
    return out


def _ratio(stream: Stream) -> DoubleArray:
    """Times the share over four weeks; none below five negatives."""
    decay = 0.5 ** (1 / WARM)
    x, n = np.full(stream.share.shape[1], 0.5), np.full(stream.share.shape[1], 4.0)
    out = np.zeros(stream.share.shape)
    for i, (bad, every) in enumerate(zip(stream.negatives, stream.statements, strict=True)):
        out[i] = np.where(bad >= 5, bad / np.maximum(every, 1) / (x / n), 0)
        x, n = x * decay + bad, n * decay + every
    return out


SCORES: dict[str, Callable[[Stream], DoubleArray]] = {
    "scan over lengths (in use)": lambda s: _run(_Scored(Sensitivity()), s),
    "one window": lambda s: _run(_Scored(Sensitivity(), (1,)), s),
    "CUSUM, odds times 2": lambda s: _run(_Ratios(Sensitivity(), (2.0,), False), s),
    "Shiryaev-Roberts, odds times 1.5 to 5": lambda s: _run(
        _Ratios(Sensitivity(), (1.5, 2.0, 3.0, 5.0), True), s
    ),
    "three sigma on a window's negatives": _sigma,
    "a fixed multiple of the usual share": _ratio,
}


def starts(over: Any) -> list[tuple[int, int]]:
    """(window, topic) of every alert: above after a day that was not, bool [windows, topics]."""
    found = []
    for topic in range(over.shape[1]):
        last = -_AGAIN - 1
        for window in np.flatnonzero(over[:, topic]).tolist():
            if window - last > _AGAIN:
                found.append((window, topic))
            last = window
    return found


def threshold(scores: DoubleArray, months: float, false_alarms: float) -> float:
    """The lowest threshold with at most so many alerts a month in a stream without surges.

    Args:
        scores: float64 [windows, topics of all replicates], from the end of the warm-up on.
        months: of all replicates together.
        false_alarms: a month.
    """
    values = np.sort(scores[scores > 0])[::-1]
    low, high = 0, min(len(values), 200_000) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if len(starts(scores > values[middle])) <= false_alarms * months:
            low = middle
        else:
            high = middle - 1
    return float(values[low])


class Surge(NamedTuple):
    """A planted surge: its topic, hours [start, end), times the odds and the volume."""

    topic: int
    start: int
    end: int
    odds: float
    more: float


def plant(hours: int, replicates: int, each: int, seed: int) -> tuple[list[Surge], DoubleArray, DoubleArray]:
    """Surges of 6, 24 or 72 hours, odds times 2, 3 or 5, volume times 1 or 2; and what `draw_stream` takes.

    Those of one replicate are in turn: no two at one time, and a topic rests between two of its own.
    """
    draw = np.random.default_rng([seed, 7])
    surges, topics = [], replicates * TOPICS
    odds, more = np.ones((hours, topics)), np.ones((hours, topics))
    room = (hours - WARM) // each
    for replicate in range(replicates):
        order = [t for _ in range(-(-each // TOPICS)) for t in draw.permutation(TOPICS).tolist()]
        for i in range(each):
            topic = replicate * TOPICS + order[i]
            length = int(draw.choice([6, 24, 72]))
            start = WARM + i * room + int(draw.integers(max(1, room - length)))
            one = Surge(
                topic, start, start + length, float(draw.choice([2, 3, 5])), float(draw.choice([1, 2]))
            )
            odds[start : one.end, topic], more[start : one.end, topic] = one.odds, one.more
            surges.append(one)
    return surges, odds, more


class Delay(NamedTuple):
    """How late an alert came: hours from the surge's start to the window's end, and statements."""

    hours: float
    statements: float


def delays(surges: list[Surge], alerts: list[tuple[int, int]], stream: Stream) -> list[Delay | None]:
    """Of every surge the delay of its first alert; None where none came before half a day after its end."""
    out: list[Delay | None] = []
    for surge in surges:
        mine = [w for w, t in alerts if t == surge.topic and surge.start <= w < surge.end + 12]
        if mine:
            first = min(mine)
            statements = stream.statements[surge.start : first + 1, surge.topic].sum()
            out.append(Delay(first + 1 - surge.start, float(statements)))
        else:
            out.append(None)
    return out


def watched(stream: Stream, sharing: int, false_alarms: float = 1.0) -> list[tuple[int, int]]:
    """(window, topic) of the alerts of the detector itself, from the first window on."""
    detector = SurgeDetector(Sensitivity(false_alarms=false_alarms))
    detector.add_topics(stream.statements.shape[1])
    return [
        (i, change.topic)
        for i in range(len(stream.statements))
        for change in detector.step(i, stream.negatives[i], stream.statements[i], sharing)
        if not change.ends
    ]


__all__ = [
    "KINDS", "MONTH_HOURS", "SCORES", "TOPICS", "WARM", "Delay", "Mistakes", "Stream", "Surge", "delays",
    "draw_stream", "plant", "starts", "threshold", "watched",
]  # fmt: skip
