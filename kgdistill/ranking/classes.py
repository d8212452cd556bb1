"""What classifications are worth: macro-F1, accuracy, log-loss, calibration, and MCC with out-of-scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from kgdistill.ranking.bootstrap import Interval, bootstrap_statistic

OUT_OF_SCOPE = -1
"""The code of a subject that belongs to none of the classes."""
BINS = 15
_FLOOR = 1e-12
ClassifyMetric = Callable[["Classified", IntArray], float]


@dataclass(frozen=True)
class Classified:
    """What one model said of some subjects, beside what is right.

    Attributes:
        truth: bool [subjects, classes]; with one class a subject at most one is True, and none where the
            subject is out of scope.
        probabilities: float32 [subjects, classes].
        chosen: bool [subjects, classes], what the model decided; none where it said "out of scope".
        several: whether a subject can have several classes.
    """

    truth: BoolArray
    probabilities: FloatArray
    chosen: BoolArray
    several: bool = False

    def __post_init__(self) -> None:
        if not self.truth.shape == self.probabilities.shape == self.chosen.shape or self.truth.ndim != 2:
            raise ValueError(
                f"truth {self.truth.shape}, probabilities {self.probabilities.shape} and choices "
                f"{self.chosen.shape} differ in shape"
            )
        if not self.several and (
            self.truth.sum(1).max(initial=0) > 1 or self.chosen.sum(1).max(initial=0) > 1
        ):
            raise ValueError("a subject has several classes where one is the most")

    @property
    def in_scope(self) -> BoolArray:
        """The subjects that have a class, bool [subjects]; with several classes, all of them."""
        return np.asarray(self.truth.any(axis=1) | self.several, np.bool_)

    @cached_property
    def lost(self) -> DoubleArray:
        """-log p of what is right, float64 [subjects]; 0 out of scope, with several the mean over classes."""
        p = self.probabilities.astype(np.float64)
        held = np.where(self.truth, p, 1 - p if self.several else 1.0)
        lost = -np.log(held.clip(_FLOOR, 1.0))
        return np.asarray(lost.mean(axis=1) if self.several else lost.sum(axis=1), np.float64)


def probabilities(logits: FloatArray, temperature: float, *, several: bool) -> FloatArray:
    """Softmax, with several classes a subject the logistic function, of logits over the temperature."""
    x = logits.astype(np.float64) / temperature
    if several:
        return np.asarray(0.5 * (1 + np.tanh(x / 2)), np.float32)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def softened(p: FloatArray, softness: float) -> FloatArray:
    """Probabilities of one class each at so many times their temperature: p^(1 / softness), summing to 1.

    A higher temperature tells what belongs to none of the classes better (ODIN, Liang et al. 2018).
    """
    soft = p ** (1 / softness)
    return np.asarray(soft / soft.sum(axis=1, keepdims=True), np.float32)


def decide(
    p: FloatArray,
    threshold: float,
    *,
    several: bool,
    weights: Sequence[float] = (),
    worth: FloatArray | None = None,
) -> BoolArray:
    """The classes that are said to hold, bool [subjects, classes].

    Args:
        p: probabilities, float32 [subjects, classes].
        threshold: with several, every class from it on; else the `likeliest`, unless it is below.
        several: whether a subject can have several.
        weights: of the classes where one is chosen, such as `rarity` gives them; none are all alike.
        worth: where one is chosen, what is held against the threshold in place of its probability, float32
            [subjects].
    """
    if several:
        return np.asarray(p >= threshold, np.bool_)
    best = likeliest(p, weights)
    out = np.zeros(p.shape, np.bool_)
    rows = np.flatnonzero((p[np.arange(len(p)), best] if worth is None else worth) >= threshold)
    out[rows, best[rows]] = True
    return out


def likeliest(p: FloatArray, weights: Sequence[float] = ()) -> IntArray:
    """The likeliest class of each subject, the first of equals, int64 [subjects]; arguments of `decide`."""
    return np.asarray((p * np.array(weights, p.dtype) if len(weights) else p).argmax(axis=1), np.int64)


def rarity(shares: DoubleArray, balance: float) -> tuple[float, ...]:
    """Weights that favour rare classes where one is chosen: share^-balance, float [classes]; none at 0.

    By a probability over its share^balance macro-F1 is better than by the probability, which serves accuracy
    (logit adjustment, Menon et al. 2021). Probabilities stay what they are.

    Args:
        shares: of the training subjects that have each class, float64 [classes].
        balance: from 0, the likeliest class, to 1, the one that is most above its share.
    """
    if not balance:
        return ()
    held = np.maximum(shares, 1e-6) ** -balance
    return tuple((held / held.min()).tolist())


def macro_f1(given: Classified, weights: IntArray) -> float:
    """The mean over the classes of F1 = 2 TP / (2 TP + FP + FN); out of scope is no class of its own.

    A class that neither stands in the truth nor was chosen is left out of the mean.

    Args:
        given: what was said.
        weights: how often each subject counts, int64 [subjects].
    """
    share = weights.astype(np.float64)
    hits = share @ (given.truth & given.chosen)
    both = share @ given.truth + share @ given.chosen
    held = both > 0
    return float((2 * hits[held] / both[held]).mean()) if held.any() else 0.0


def accuracy(given: Classified, weights: IntArray) -> float:
    """The share of the subjects of which everything is right, out of scope included."""
    right = (given.truth == given.chosen).all(axis=1)
    return float(np.average(right, weights=weights))


def log_loss(given: Classified, weights: IntArray) -> float:
    """The mean of -log p over the subjects in scope; with several classes, the mean over the classes too."""
    return _mean(given.lost, weights * given.in_scope)


def calibration_error(given: Classified, weights: IntArray) -> float:
    """The expected calibration error over 15 bins of equal width (Guo et al. 2017).

    Of one class: of the highest probability against whether its class is right, over the subjects in scope.
    Of several: of every probability against whether the class holds.
    """
    if given.several:
        confidence, right = given.probabilities.ravel(), given.truth.ravel()
        share = np.repeat(weights, given.truth.shape[1]).astype(np.float64)
    else:
        best = given.probabilities.argmax(axis=1)
        rows = np.arange(len(best))
        confidence, right = given.probabilities[rows, best], given.truth[rows, best]
        share = (weights * given.in_scope).astype(np.float64)
    if not share.sum():
        return 0.0
    # A probability on the edge of two bins belongs to the lower one.
    bins = np.ceil(confidence.astype(np.float64) * BINS).astype(np.int64).clip(1, BINS) - 1
    gap = np.bincount(bins, share * (right - confidence.astype(np.float64)), minlength=BINS)
    return float(np.abs(gap).sum() / share.sum())


def mcc(given: Classified, weights: IntArray) -> float:
    """Matthews' correlation over the classes and "none of them" (Gorodkin 2004), in [-1, 1].

    0 where the truth or the choices are all alike. Of one class alone: with several it is the mean over
    the classes of each one's own.
    """
    share = weights.astype(np.float64)
    if given.several:
        pairs = [_two_by_two(t, c) for t, c in zip(given.truth.T, given.chosen.T, strict=True)]
        return float(np.mean([_correlation(t, c, 2, share) for t, c in pairs]))
    classes = given.truth.shape[1]
    return _correlation(codes(given.truth), codes(given.chosen), classes + 1, share)


METRICS: Mapping[str, ClassifyMetric] = {
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "log_loss": log_loss,
    "ece": calibration_error,
    "mcc": mcc,
}


def classify_metrics(
    given: Classified, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Every metric with its bootstrap interval.

    Raises:
        ValueError: there are no subjects.
    """
    count = len(given.truth)
    return {
        name: bootstrap_statistic(partial(metric, given), count, samples=samples, level=level, seed=seed)
        for name, metric in METRICS.items()
    }


def compare_classified(
    a: Classified, b: Classified, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Every metric of `a` less that of `b` over the same subjects, with its paired bootstrap interval.

    Raises:
        ValueError: the two were not asked about the same subjects, or about none.
    """
    if not np.array_equal(a.truth, b.truth):
        raise ValueError("two models are compared on the same subjects only")

    def difference(metric: ClassifyMetric, weights: IntArray) -> float:
        return metric(a, weights) - metric(b, weights)

    count = len(a.truth)
    return {
        name: bootstrap_statistic(partial(difference, metric), count, samples=samples, level=level, seed=seed)
        for name, metric in METRICS.items()
    }


def codes(table: BoolArray) -> IntArray:
    """The class of each row, int64 [rows]; -1 where it has none."""
    out: IntArray = np.where(table.any(axis=1), table.argmax(axis=1), OUT_OF_SCOPE).astype(np.int64)
    return out


def _mean(values: DoubleArray, weights: IntArray) -> float:
    return float(np.average(values, weights=weights)) if weights.sum() else 0.0


def _two_by_two(truth: BoolArray, chosen: BoolArray) -> tuple[IntArray, IntArray]:
    return truth.astype(np.int64) - 1, chosen.astype(np.int64) - 1


def _correlation(truth: IntArray, chosen: IntArray, count: int, share: DoubleArray) -> float:
    """Of codes from -1 to count - 2."""
    t = np.bincount(truth + 1, share, minlength=count)
    c = np.bincount(chosen + 1, share, minlength=count)
    total = share.sum()
    covariance = total * (share * (truth == chosen)).sum() - t @ c
    spread = np.sqrt((total**2 - t @ t) * (total**2 - c @ c))
    return float(covariance / spread) if spread > 0 else 0.0
