"""Comparisons of arms with several seeds: intervals, p-values, Holm's correction, shares.

Seeds are averaged per unit first, so that a unit (a user, a query) counts once. An interval resamples the
units; a second one, wider, resamples the seeds of each arm as well. With few seeds the latter still falls
short of what new seeds would show: of the variance between S seeds it sees (S - 1) / S.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray

_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval over units, and its interval over units and seeds."""

    mean: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference; `p` is two-sided: how often resampled units, centred on 0, are as far from it."""

    p: float


@dataclass(frozen=True)
class Resampled:
    """One arm's values with the means of their resamples; made by `Resamples.draw`.

    Attributes:
        means: float64 [seeds]: the mean over units.
        drawn: float64 [seeds, samples]: the mean over each resample's units.
        level, seed: as in `Resamples`.
    """

    means: DoubleArray
    drawn: DoubleArray
    level: float
    seed: int

    def only(self, rows: list[int]) -> Resampled:
        """The same of some of its seeds, by their place."""
        return Resampled(self.means[rows], self.drawn[rows], self.level, self.seed)

    def estimate(self) -> Estimate:
        """The mean over seeds and units."""
        return Estimate(
            float(self.means.mean()), *self._ends(self.drawn.mean(axis=0)), *self._ends(self._mixed(1))
        )

    def difference(self, other: Resampled) -> Difference:
        """This mean less the other's; units are resampled together, seeds apart."""
        found = float(self.means.mean() - other.means.mean())
        apart = self.drawn.mean(axis=0) - other.drawn.mean(axis=0)
        # Rounding must not tell apart what is equal.
        slack = 1e-12 * (1.0 + abs(found))
        beyond = int((np.abs(apart - found) >= abs(found) - slack).sum())
        mixed = self._ends(self._mixed(1) - other._mixed(2))
        return Difference(found, *self._ends(apart), *mixed, p=(1 + beyond) / (1 + len(apart)))

    def share(self, other: Resampled) -> Estimate | None:
        """This mean as a share of the other's; None where the other's is not above 0 in every resample."""
        below, mixed = other.drawn.mean(axis=0), other._mixed(2)
        if min(below.min(), mixed.min()) <= 0:
            return None
        ends = (*self._ends(self.drawn.mean(axis=0) / below), *self._ends(self._mixed(1) / mixed))
        return Estimate(float(self.means.mean() / other.means.mean()), *ends)

    def _mixed(self, stream: int) -> DoubleArray:
        """float64 [samples]: the mean over seeds that are drawn anew for every resample."""
        seeds, samples = self.drawn.shape
        draw = np.random.default_rng([self.seed, stream])
        shares = draw.multinomial(seeds, np.full(seeds, 1 / seeds), size=samples) / seeds
        mixed: DoubleArray = (shares.T * self.drawn).sum(axis=0)
        return mixed

    def _ends(self, values: DoubleArray) -> tuple[float, float]:
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


class Resamples:
    """The same bootstrap draws of `units` units for everything that is compared on them.

    Args:
        units: how many there are, at least 1.
        samples: how many resamples.
        level: the intervals' share of the resampled figures, in (0, 1).
        seed: draws them.

    Raises:
        ValueError: no units, no samples, or another level.
    """

    def __init__(self, units: int, *, samples: int = 4000, level: float = 0.95, seed: int = 0) -> None:
        if units < 1 or samples < 1 or not 0 < level < 1:
            raise ValueError(f"{units} units, {samples} samples and a level of {level} make no bootstrap")
        self.units, self.samples, self.level, self.seed = units, samples, level, seed

    def draw(self, *arms: npt.ArrayLike) -> list[Resampled]:
        """Resamples the units for several arms in one pass.

        Args:
            arms: float64 [its seeds, units] each.

        Raises:
            ValueError: values of another shape, or that are not finite.
        """
        held = [np.asarray(values, dtype=np.float64) for values in arms]
        for values in held:
            if values.ndim != 2 or not len(values) or values.shape[1] != self.units:
                raise ValueError(f"values {values.shape} are not of [seeds, {self.units} units]")
            if not np.isfinite(values).all():
                raise ValueError("a value is not finite")
        stacked = np.concatenate(held)
        drawn = np.concatenate([stacked @ block.T for block in self._weights()], axis=1)
        means, ends = stacked.mean(axis=1), np.cumsum([len(values) for values in held])[:-1]
        parts = zip(np.split(means, ends), np.split(drawn, ends), strict=True)
        return [Resampled(mean, part, self.level, self.seed) for mean, part in parts]

    def _weights(self) -> Iterator[DoubleArray]:
        """float64 [some samples, units]: the share of each unit in each resample."""
        draw = np.random.default_rng(self.seed)
        rows = max(1, _BLOCK_CELLS // self.units)
        for start in range(0, self.samples, rows):
            count = min(rows, self.samples - start)
            drawn = draw.integers(self.units, size=(count, self.units))
            drawn += np.arange(count)[:, None] * self.units
            counts = np.bincount(drawn.ravel(), minlength=count * self.units)
            yield counts.reshape(count, self.units) / self.units


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): reject where the adjusted value is at most the level wanted.

    In ascending order the i-th smallest of m values (i from 0) becomes the largest of (m - j) p_j for j <= i,
    at most 1. Under it the chance of any false rejection stays below the level, whatever the dependence.

    Args:
        p_values: in any order, each in [0, 1].

    Returns:
        The adjusted values in the given order.

    Raises:
        ValueError: a value that is no probability.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("a p-value is outside 0 to 1")
    order = np.argsort(given, kind="stable")
    steps = (len(given) - np.arange(len(given))) * given[order]
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(given) else steps
    return [float(p) for p in adjusted]
