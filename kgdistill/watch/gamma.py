"""The logarithm of the gamma function, by NumPy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray

# Stirling's series is good to 1e-13 from here on.
_SHIFT = 10


def log_gamma(z: npt.ArrayLike) -> DoubleArray:
    """The logarithm of the gamma function of positive numbers, by Stirling's series after a shift.

    Args:
        z: float64, any shape, each above 0.
    """
    x = np.asarray(z, np.float64)
    small = x < _SHIFT
    shifted = np.where(small, x + _SHIFT, x)
    inverse = 1.0 / shifted
    square = inverse * inverse
    series = inverse * (
        1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))
    )
    out: DoubleArray = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2 * np.pi) + series
    if small.any():
        steps = x[small][..., None] + np.arange(_SHIFT)
        out[small] -= np.log(steps).sum(axis=-1)
    return out
