"""The units that a model reads features in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray

_ALIKE, _LEAST, _SILENT = 1e-5, 0.1, 1e6


def units_of(values: npt.ArrayLike) -> tuple[DoubleArray, DoubleArray]:
    """The mean and the unit of each feature.

    A unit is the standard deviation, and at least a tenth of the mean: where nearly all subjects are alike,
    another one shall not stand hundreds of deviations away. A feature that differs by its rounding alone
    taught nothing, and says nothing of others: its unit is a million.

    Args:
        values: [N, F], N at least 1.

    Returns:
        Both float64 [F].
    """
    x = np.asarray(values, np.float64)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    size = np.abs(middle)
    unit = np.maximum(spread, _LEAST * size)
    return middle, np.where(spread > _ALIKE * np.maximum(size, 0.1), unit, _SILENT)
