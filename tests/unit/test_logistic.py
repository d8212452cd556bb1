"""Logistic regression by Newton's method."""

from __future__ import annotations

import numpy as np
import pytest

from kgdistill.ranking.logistic import fit_logistic, logistic


@pytest.mark.parametrize("told_apart", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_no_weight_can_be_moved_for_the_better(told_apart: float, ridge: float) -> None:
    draw = np.random.default_rng(0)
    numbers = draw.standard_normal((300, 3))
    targets = (logistic(told_apart * numbers @ [1.0, -0.5, 0.2] - 1) > draw.random(300)).astype(np.float64)
    weights, bias = fit_logistic(numbers, targets, ridge=ridge)
    short = logistic(numbers @ weights + bias) - targets
    np.testing.assert_allclose(numbers.T @ short + ridge * weights, 0, atol=1e-6)
    assert short.sum() == pytest.approx(0, abs=1e-6)
    assert np.sign(weights[:2]).tolist() == [1, -1]


def test_a_long_step_does_not_lead_astray() -> None:
    # Nearly all in one place and few far off: from here full steps of Newton's method never come back.
    draw = np.random.default_rng(1655)
    numbers = draw.standard_t(1.5, (int(draw.integers(50, 1500)), 1))
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    targets = (draw.random(len(numbers)) < 0.02).astype(np.float64)
    targets[numbers[:, 0].argmax()] = 1
    weights, bias = fit_logistic(numbers, targets, ridge=1e-4)
    short = logistic(numbers @ weights + bias) - targets
    np.testing.assert_allclose(numbers.T @ short + 1e-4 * weights, 0, atol=1e-6)
    assert short.sum() == pytest.approx(0, abs=1e-6)


def test_it_does_not_overflow() -> None:
    assert logistic(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
