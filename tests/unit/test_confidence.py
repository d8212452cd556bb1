"""How sure a model is: a probability that is fitted, and a threshold that keeps what was asked of it."""

from __future__ import annotations

import numpy as np
import pytest

from kgdistill.ranking.confidence import NEVER, evidence, fit_confidence, precise_from


def test_the_least_confidence_that_is_precise_enough_is_chosen() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.55], np.float32)
    right = np.array([1, 1, 1, 0, 1, 0], np.bool_)
    assert precise_from(confidence, right, 0.99) == pytest.approx(0.8)
    # Those of one confidence go together: 3 of 4 are right from 0.7 on, 4 of 5 from 0.6 on.
    assert precise_from(confidence, right, 0.75) == pytest.approx(0.6)
    assert precise_from(confidence, right, 0.8) == pytest.approx(0.6)
    assert precise_from(confidence, ~right, 0.9) == NEVER
    weights = np.array([1, 1, 1, 100, 1, 1], np.int64)
    assert precise_from(confidence, right, 0.75, weights) == pytest.approx(0.8)


def test_what_is_likelier_wrong_is_never_believed_and_all_right_asks_for_no_more_than_was_stated() -> None:
    every = np.ones(4, np.bool_)
    assert precise_from(np.array([0.1, 0.2, 0.3, 0.4], np.float32), every, 0.95) == 0.5
    assert precise_from(np.full(4, 0.999, np.float32), every, 0.95) == pytest.approx(0.95)


def test_a_confidence_is_a_probability_of_what_tells_right_from_wrong() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.standard_normal((4000, 3)).astype(np.float32)
    p = 1 / (1 + np.exp(-(2 * numbers[:, 0] + 1)))
    right = draw.random(4000) < p
    fitted = fit_confidence(numbers[:2000], right[:2000], precision=0.95)
    told = fitted.of(numbers[2000:])
    assert np.abs(told - p[2000:]).mean() < 0.03
    given = told >= fitted.threshold
    assert 0.2 < given.mean() < 0.7
    assert right[2000:][given].mean() == pytest.approx(0.95, abs=0.02)
    # Of numbers that belong to other subjects nothing is believed: some are always wrong.
    rolled = fit_confidence(np.roll(numbers[:2000], 1, axis=0), right[:2000], precision=0.95)
    assert (rolled.of(numbers[2000:]) >= rolled.threshold).mean() < 0.02
    perfect = fit_confidence(numbers[:50], np.ones(50, np.bool_), precision=0.95)
    assert np.isfinite(perfect.of(numbers)).all()


def test_what_was_alike_in_all_does_not_decide_on_what_is_not() -> None:
    right = np.arange(40) % 2 == 0
    alike = np.full((40, 2), 0.3) + np.where(right, 1e-6, -1e-6)[:, None]
    fitted = fit_confidence(alike.astype(np.float32), right, precision=0.95)
    np.testing.assert_allclose(fitted.of(np.array([[0.3, 1.0], [-5.0, 0.0]], np.float32)), 0.5, atol=0.01)


def test_evidence_is_of_the_best_answer_and_its_lead() -> None:
    scores = np.array([[0.2, 0.9, 0.5], [0.4, 0.4, -np.inf]], np.float32)
    near, coverage = scores / 2, np.tile(np.array([1.0, 2.0, 3.0], np.float32), (2, 1))
    found = evidence(near, coverage, scores, [1, 0])
    np.testing.assert_allclose(found, [[0.45, 2.0, 0.4], [0.2, 1.0, 0.0]], atol=1e-6)
    alone = evidence(near[:, :1], near[:, :1], scores[:, :1], [0, 0])
    assert np.isfinite(alone).all()
