"""What a ranking of candidates for anchors is worth: AUC over all and within an anchor, and gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from kgdistill.ranking.bootstrap import Interval, bootstrap_mean, bootstrap_statistic, paired_bootstrap

TOP = 0.1
GAIN_STEPS = tuple(round(0.05 * i, 2) for i in range(1, 21))


@dataclass(frozen=True)
class Judged:
    """Pairs of anchors and candidates of which is known what came of them.

    Attributes:
        labels: bool [N].
        anchors, candidates: ids, int64 [N].
    """

    labels: BoolArray
    anchors: IntArray
    candidates: IntArray

    @cached_property
    def people(self) -> tuple[int, IntArray]:
        """How many candidates there are, and the place of each pair's, int64 [N]."""
        distinct, place = np.unique(self.candidates, return_inverse=True)
        return len(distinct), np.asarray(place, np.int64)

    @cached_property
    def rows(self) -> list[IntArray]:
        """The pairs of each anchor that has both a positive and another."""
        mine = [np.flatnonzero(self.anchors == anchor) for anchor in np.unique(self.anchors)]
        return [rows for rows in mine if 0 < self.labels[rows].sum() < len(rows)]


def weighted_auc(labels: BoolArray, scores: FloatArray, weights: IntArray) -> float:
    """The chance that a positive scores above another, equals for half; NaN without either.

    Args:
        labels: bool [N].
        scores: [N].
        weights: how often each counts, int64 [N].
    """
    order = np.argsort(scores, kind="stable")
    values, y, w = scores[order], labels[order], weights[order].astype(np.float64)
    level = np.cumsum(np.append(0, np.diff(values) != 0))
    positive, other = np.bincount(level, w * y), np.bincount(level, w * ~y)
    below = np.cumsum(other) - other
    pairs = positive.sum() * other.sum()
    return float((positive * (below + other / 2)).sum() / pairs) if pairs else float("nan")


def auc(judged: Judged, scores: FloatArray, weights: IntArray) -> float:
    """AUC over all pairs of all anchors; 0.5 where a resample has no positive or no other."""
    found = weighted_auc(judged.labels, scores, weights)
    return 0.5 if np.isnan(found) else found


def anchor_aucs(judged: Judged, scores: FloatArray, weights: IntArray | None = None) -> DoubleArray:
    """AUC within each anchor that has a positive and another: float64 [anchors]."""
    ones = np.ones(len(scores), np.int64) if weights is None else weights
    found = [weighted_auc(judged.labels[r], scores[r], ones[r]) for r in judged.rows]
    return np.array(found, np.float64)


def auc_within(judged: Judged, scores: FloatArray, weights: IntArray) -> float:
    """The mean over the anchors of the AUC within each; 0.5 where none has both."""
    found = anchor_aucs(judged, scores, weights)
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.5


def top_share(judged: Judged, scores: FloatArray, weights: IntArray, share: float = TOP) -> float:
    """Of the positives, the share among the best `share` of all pairs; equals by their place."""
    order = np.argsort(-scores, kind="stable")
    w = weights[order].astype(np.float64)
    before = np.cumsum(w) - w
    # A pair on the edge counts for the part of it that is inside.
    inside = np.clip((share * w.sum() - before) / np.maximum(w, 1e-12), 0.0, 1.0)
    positive = w * judged.labels[order]
    return float((inside * positive).sum() / max(positive.sum(), 1e-12))


AUDIENCE_METRICS: Mapping[str, Callable[[Judged, FloatArray, IntArray], float]] = {
    "auc": auc,
    "auc_within": auc_within,
    "top10": top_share,
}


def audience_metrics(
    judged: Judged, scores: Sequence[FloatArray], *, samples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Every metric with a 95 % bootstrap interval, the mean over some trainings of one model.

    Candidates are drawn, each with all its pairs; for the AUC within an anchor the anchors are.

    Args:
        judged: what came of the pairs.
        scores: of each training, float32 [N].
        samples, seed: as `bootstrap_statistic`.
    """
    return _intervals(judged, scores, None, samples, seed)


def compare_audiences(
    judged: Judged,
    a: Sequence[FloatArray],
    b: Sequence[FloatArray],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Every metric of `a` less that of `b`, with its paired interval; as `audience_metrics`."""
    return _intervals(judged, a, b, samples, seed)


def _intervals(
    judged: Judged,
    a: Sequence[FloatArray],
    b: Sequence[FloatArray] | None,
    samples: int,
    seed: int,
) -> dict[str, Interval]:
    count, place = judged.people
    out: dict[str, Interval] = {}
    for name, metric in AUDIENCE_METRICS.items():
        if name == "auc_within":
            ours = np.mean([anchor_aucs(judged, s) for s in a], axis=0)
            if b is None:
                out[name] = bootstrap_mean(ours, samples=samples, seed=seed)
            else:
                theirs = np.mean([anchor_aucs(judged, s) for s in b], axis=0)
                out[name] = paired_bootstrap(ours, theirs, samples=samples, seed=seed)
            continue

        def figure(weights: IntArray, metric: Callable[..., float] = metric) -> float:
            drawn = weights[place]
            ours = float(np.mean([metric(judged, s, drawn) for s in a]))
            return ours - (float(np.mean([metric(judged, s, drawn) for s in b])) if b is not None else 0.0)

        out[name] = bootstrap_statistic(figure, count, samples=samples, seed=seed)
    return out


def gains(judged: Judged, scores: FloatArray) -> list[tuple[float, float]]:
    """The gains curve: for shares of all pairs, the best first, the share of the positives among them."""
    ones = np.ones(len(scores), np.int64)
    return [(step, top_share(judged, scores, ones, step)) for step in GAIN_STEPS]


def expected_positives(
    p: DoubleArray, spread: float, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> Interval:
    """How many of some candidates will be positive: the sum of their probabilities, with an interval.

    Each is drawn by its probability and the anchor's level by a Gamma of mean 1 and standard deviation
    `spread`, so that what all of an anchor share does not average out.

    Args:
        p: calibrated probabilities, float64 [n].
        spread: as `level_spread` measured it on held-out anchors.
        level: of the interval.
        samples, seed: of the draws.
    """
    draw = np.random.default_rng(seed)
    mean, variance = float(p.sum()), float((p * (1 - p)).sum())
    levels = draw.gamma(1 / spread**2, spread**2, samples) if spread > 1e-6 else np.ones(samples)
    drawn = np.clip(levels * mean + draw.standard_normal(samples) * np.sqrt(levels * variance), 0, len(p))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(min(low, mean)), float(max(high, mean)))
