"""Logistic regression of a few numbers, by NumPy alone."""

from __future__ import annotations

import numpy as np

from kgdistill.arrays import DoubleArray

_STEPS, _FARTHEST, _STILL = 50, 2.0, 1e-8


def logistic(x: DoubleArray) -> DoubleArray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), np.float64)


def fit_logistic(
    numbers: DoubleArray, targets: DoubleArray, *, ridge: float, weights: DoubleArray | None = None
) -> tuple[DoubleArray, float]:
    """Weights and bias of the least cross-entropy with a penalty, by Newton's method: the loss is convex.

    Args:
        numbers: standardised, float64 [N, F].
        targets: from 0 to 1, float64 [N].
        ridge: times half the squared weights; the bias has next to none.
        weights: how much each row counts, float64 [N]; None: all alike, once.
    """
    design = np.concatenate([numbers, np.ones((len(numbers), 1))], axis=1)
    counted = np.ones(len(numbers)) if weights is None else weights
    penalty, w = np.append(np.full(numbers.shape[1], ridge), 1e-9), np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = logistic(design @ w)
        slope = design.T @ (counted * (p - targets)) + penalty * w
        bend = (design * (counted * p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(bend + np.diag(penalty), slope)
        farthest = float(np.abs(step).max())
        # A long step may overshoot, where few numbers lie far from all others, and not come back.
        w -= step * min(1.0, _FARTHEST / max(farthest, 1e-12))
        if farthest < _STILL:
            break
    return w[:-1], float(w[-1])
