"""Bootstrap intervals, and the figures of a comparison as one document."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import IntArray

_BLOCK_DRAWS = 1 << 21
METRICS = ("ndcg", "recall", "mrr")


class Interval(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: npt.ArrayLike, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean and its percentile bootstrap interval (Efron 1979).

    Args:
        values: float64 [n], one per user.
        samples: how many resamples of n values are drawn, with replacement.
        level: the interval's share of the resampled means, in (0, 1).
        seed: the same seed draws the same users for any n values. Working memory is about 32 MB.

    Raises:
        ValueError: no values, NaN or infinity among them, `samples` below 1, `level` outside (0, 1).
    """
    held = np.asarray(values, dtype=np.float64)
    if held.ndim != 1 or len(held) == 0 or not np.isfinite(held).all():
        raise ValueError("a bootstrap needs one or more finite values in one dimension")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples {samples} must be at least 1 and level {level} between 0 and 1")
    draw = np.random.default_rng(seed)
    rows = max(1, _BLOCK_DRAWS // len(held))
    means = np.concatenate(
        [
            held[draw.integers(len(held), size=(min(rows, samples - start), len(held)))].mean(axis=1)
            for start in range(0, samples, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(held.mean()), float(low), float(high))


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of `a - b` over the same users, and its interval; both arms are resampled together.

    Args:
        a, b: float64 [n]; position i is the same user in both.
        samples, level, seed: as in `bootstrap_mean`.

    Raises:
        ValueError: the lengths differ, or as `bootstrap_mean`.
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"paired values have shapes {one.shape} and {other.shape}")
    return bootstrap_mean(one - other, samples=samples, level=level, seed=seed)


def standard_error(values: npt.ArrayLike) -> float:
    """Of the mean of values float64 [n]; 0 of a single one."""
    held = np.asarray(values, dtype=np.float64)
    return float(held.std() / np.sqrt(len(held)))


def surely_above_0(differences: npt.ArrayLike) -> bool:
    """Whether the mean of paired differences float64 [n], n > 1, is above 0 by two standard errors."""
    held = np.asarray(differences, dtype=np.float64)
    return len(held) > 1 and bool(held.mean() > 2 * held.std(ddof=1) / np.sqrt(len(held)))


def bootstrap_statistic(
    statistic: Callable[[IntArray], float],
    count: int,
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A figure of a whole sample that is no mean, such as macro-F1, and its percentile bootstrap interval.

    For a paired difference the statistic is the difference of two figures of the same rows.

    Args:
        statistic: how often each row counts, int64 [count] -> the figure; it is asked with all ones first.
        count: how many rows there are.
        samples, level, seed: as in `bootstrap_mean`; the same seed draws the same rows for any statistic.

    Raises:
        ValueError: no rows, `samples` below 1, `level` outside (0, 1).
    """
    if count < 1 or samples < 1 or not 0 < level < 1:
        raise ValueError(f"count {count}, samples {samples} must be at least 1, level {level} in (0, 1)")
    draw = np.random.default_rng(seed)
    figures = np.empty(samples)
    for i in range(samples):
        figures[i] = statistic(np.bincount(draw.integers(count, size=count), minlength=count))
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.ones(count, np.int64))), float(low), float(high))
