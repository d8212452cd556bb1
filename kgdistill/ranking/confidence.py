"""How sure a model is, as a probability, and from where on it is right often enough to be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.ranking.logistic import fit_logistic, logistic

NEVER = 2.0
"""A threshold that no probability reaches."""
_RIDGE, _LEAST, _SURE = 1e-2, 0.5, 1e-7
_ALIKE = 1e-4


@dataclass(frozen=True)
class Confidence:
    """The probability that what is said is right: a logistic regression of a few numbers (Platt 1999).

    Attributes:
        weights: of the numbers, standardised.
        bias: beside them.
        middle, spread: of each number.
        threshold: from which on what was said is right as often as was asked for; `NEVER` where nothing is.
    """

    weights: tuple[float, ...]
    bias: float
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    threshold: float

    @staticmethod
    def stored(held: Mapping[str, Any]) -> Confidence:
        """What `dataclasses.asdict` made of one, read from JSON again."""
        weights, middle, spread = (tuple(map(float, held[k])) for k in ("weights", "middle", "spread"))
        return Confidence(weights, float(held["bias"]), middle, spread, float(held["threshold"]))

    def of(self, numbers: FloatArray) -> FloatArray:
        """Of each row, float32 [N], of numbers float32 [N, F]."""
        x = (numbers.astype(np.float64) - self.middle) / np.asarray(self.spread) @ np.asarray(self.weights)
        return np.asarray(logistic(x + self.bias), np.float32)


def fit_confidence(
    numbers: FloatArray, right: BoolArray, *, precision: float, weights: IntArray | None = None
) -> Confidence:
    """Fits the probability, and chooses the threshold, on what was not trained on.

    Args:
        numbers: float32 [N, F].
        right: whether each was right, bool [N].
        precision: see `precise_from`.
        weights: how much each counts, int64 [N]; None: all alike.
    """
    counted = np.ones(len(right)) if weights is None else weights * (len(right) / weights.sum())
    x = numbers.astype(np.float64)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    # Of numbers that differ by their rounding alone nothing was learned: one unlike them counts little.
    spread = np.where(spread > _ALIKE, spread, 1.0)
    # Targets of Platt: never quite 0 or 1, so that a perfect sample gives finite weights.
    hits = float((counted * right).sum())
    wanted = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    w, bias = fit_logistic((x - middle) / spread, wanted, ridge=_RIDGE * len(x), weights=counted)
    fitted = Confidence(tuple(w.tolist()), bias, tuple(middle.tolist()), tuple(spread.tolist()), NEVER)
    return replace(fitted, threshold=precise_from(fitted.of(numbers), right, precision, weights))


def precise_from(
    confidence: FloatArray, right: BoolArray, precision: float, weights: IntArray | None = None
) -> float:
    """The least confidence from which on at least this share was right; `NEVER` where there is none.

    What is likelier wrong than right is never believed. Where all of it was right often enough, nothing says
    how far down that goes on: a confidence of that share is then enough.

    Args:
        confidence: float32 [N].
        right: bool [N].
        precision: the share, from 0 to 1.
        weights: how much each counts, int64 [N]; None: all alike.
    """
    values = np.unique(-confidence)
    order = np.argsort(-confidence, kind="stable")
    # Those of one confidence are said or not said together.
    ends = np.searchsorted(-confidence[order], values, side="right")
    counted = np.ones(len(order), np.int64) if weights is None else weights[order]
    total = np.cumsum(counted)[ends - 1]
    share = np.cumsum(counted * right[order])[ends - 1] / np.maximum(total, 1)
    good = np.flatnonzero(share >= precision)
    if not len(good):
        return NEVER
    least = float(-values[good[-1]])
    if good[-1] == len(values) - 1:
        least = min(least, precision)
    return max(least, _LEAST)


def class_evidence(likeliest: FloatArray, near: FloatArray) -> FloatArray:
    """What the confidence in the class that was chosen of a subject rests on, float32 [N, 2].

    That is the log-odds of its probability at twice the temperature, at which it tells what belongs to none
    of the classes better (ODIN, Liang et al. 2018), and how near the subject is to any of them.

    Args:
        likeliest: that probability, `softened`, float32 [N].
        near: see `Centres.near`, float32 [N].
    """
    p = likeliest.astype(np.float64).clip(_SURE, 1 - _SURE)
    return np.stack([np.log(p / (1 - p)), near], axis=1).astype(np.float32)


def evidence(near: FloatArray, coverage: FloatArray, scores: FloatArray, best: Sequence[int]) -> FloatArray:
    """What the confidence in the best of some answers rests on, float32 [Q, 3].

    That is how near the nearest of its entries is, how much of the text's words it holds, and how far its
    score lies above that of the next answer.

    Args:
        near, coverage, scores: of the answers, each the best of its entries, float32 [Q, answers].
        best: of each row the answer.
    """
    rows, columns = np.arange(len(scores)), np.asarray(best, np.int64)
    others = scores.copy()
    others[rows, columns] = -np.inf
    second = np.where(np.isfinite(others).any(axis=1), others.max(axis=1, initial=-np.inf), 0.0)
    margin = scores[rows, columns] - np.maximum(second, -10.0)
    return np.stack([near[rows, columns], coverage[rows, columns], margin], axis=1).astype(np.float32)
