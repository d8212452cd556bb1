"""The upper tail of the beta-binomial distribution, by NumPy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray

_BLOCK = 64
_ENOUGH = 1e-9
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


def beta_binomial_tail(x: npt.ArrayLike, n: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> DoubleArray:
    """The chance of `x` or more of `n`, where the share of each draw of n is Beta(a, b).

    Terms are summed from x upwards until what is left is below 1e-9 of the sum.

    Args:
        x, n: float64 [rows], whole numbers, 0 <= x <= n.
        a, b: float64 [rows], above 0.
    """
    x, n, a, b = (np.atleast_1d(np.asarray(v, np.float64)) for v in (x, n, a, b))
    out, high = np.ones(len(x)), x * (a + b) > n * a
    low = ~high & (x > 0)
    # Below the mean the other tail is the one that falls from term to term.
    out[high] = _falling(x[high], n[high], a[high], b[high])
    out[low] = 1.0 - _falling(n[low] - x[low] + 1, n[low], b[low], a[low])
    return out


def _falling(x: DoubleArray, n: DoubleArray, a: DoubleArray, b: DoubleArray) -> DoubleArray:
    with np.errstate(divide="ignore"):
        log_first = (
            log_gamma(n + 1) - log_gamma(x + 1) - log_gamma(n - x + 1)
            + log_gamma(x + a) + log_gamma(n - x + b) - log_gamma(n + a + b)
            + log_gamma(a + b) - log_gamma(a) - log_gamma(b)
        )  # fmt: skip
    total, term, k = np.ones(len(x)), np.ones(len(x)), x.copy()
    steps, left = np.arange(_BLOCK), np.flatnonzero(x < n)
    while len(left):
        at = k[left, None] + steps
        over = np.maximum(n[left, None] - at, 0.0)
        # Of the term k + 1 to the term k; nothing follows n.
        below = (at + 1) * np.maximum(over - 1 + b[left, None], 1e-300)
        terms = term[left, None] * np.cumprod(over * (at + a[left, None]) / below, axis=1)
        total[left] += terms.sum(axis=1)
        ratio = terms[:, -1] / np.maximum(terms[:, -2], 1e-300)
        rest = terms[:, -1] * ratio / np.maximum(1 - ratio, 1e-12)
        term[left], k[left] = terms[:, -1], k[left] + _BLOCK
        going = (terms[:, -1] > 0) & ((ratio >= 1) | (rest > _ENOUGH * total[left])) & (k[left] < n[left])
        left = left[going]
    return np.minimum(np.exp(log_first + np.log(total)), 1.0)
