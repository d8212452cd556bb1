"""Streams of counts, with and without surges, and the detectors that are compared on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.watch.detector import (
    MONTH_HOURS,
    Change,
    Sensitivity,
    SurgeDetector,
    Usual,
    log_likelihood,
    times_odds,
)

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
        share = times_odds(share, np.exp(0.4 * np.sin(day + 1) + 0.3 * weekend))
    if kind == "trending":
        share = times_odds(share, 2.5 ** (at[:, None] / 8766))
    statements = draw.poisson(_volume(kind, at, topics, draw) * more)
    # How alike the statements of an hour are: negatives come in clumps.
    alike = {"clumped": 0.08, "bursty": 0.03}.get(kind, 0.005)
    true = times_odds(share, odds)
    drawn = draw.beta(true * (1 / alike - 1), (1 - true) * (1 / alike - 1))
    negatives = draw.binomial(statements, drawn)
    if mistakes != RIGHT:
        negatives = draw.binomial(negatives, mistakes.found) + draw.binomial(
            statements - negatives, mistakes.wrong
        )
    return Stream(negatives, statements, share)


# Detectors as scores of every window and topic: the higher, the more of a surge ---------------------


class _Scored(SurgeDetector):
    """The detector without its alerts: minus the logarithm of what it would compare with the stated rate."""

    def __init__(self) -> None:
        super().__init__(Sensitivity())
        self.score = np.zeros(0)

    def _started(self, x: DoubleArray, n: DoubleArray, usual: Usual, sharing: int) -> list[Change]:
        super()._started(x, n, usual, sharing)
        self.going[:] = 0
        self.score = np.log(np.maximum(np.expm1(self.evidence).mean(axis=1), 1e-9))
        return []


class _CumulativeSum(_Scored):
    """CUSUM of the same likelihood ratios, at twice the usual odds (Page 1954)."""

    def _started(self, x: DoubleArray, n: DoubleArray, usual: Usual, sharing: int) -> list[Change]:
        if len(self.score) != self.topics:
            self.score = np.zeros(self.topics)
        precision = 1 / np.minimum(self._spread() + usual.uncertain, 0.5) - 1
        ratio = log_likelihood(x, n, times_odds(usual.share, 2.0), precision)
        self.score = np.maximum(self.score + ratio - log_likelihood(x, n, usual.share, precision), 0)
        return []


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
    "Shiryaev-Roberts (in use)": lambda s: _run(_Scored(), s),
    "CUSUM, odds times 2": lambda s: _run(_CumulativeSum(), s),
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
