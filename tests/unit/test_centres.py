"""Where classes lie, and how near a subject is to them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kgdistill.ranking.centres import Centres, centre_arrays, stored_centres


def by_hand(features: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> list[float]:
    held = [i for i in range(len(truth)) if truth[i].any()]
    middle = sum(features[i] for i in held) / len(held)
    centres = []
    for c in range(truth.shape[1]):
        mine = [features[i] - middle for i in held if truth[i, c]]
        if mine:
            mean = sum(x / np.linalg.norm(x) for x in mine)
            centres.append(mean / np.linalg.norm(mean))
    away = [x - middle for x in asked]
    return [max(float(x @ c) / float(np.linalg.norm(x)) for c in centres) for x in away]


@given(
    arrays(np.float64, (12, 4), elements=st.floats(-3, 3)),
    arrays(np.int64, 12, elements=st.integers(-1, 3)),
    st.booleans(),
)
def test_centres_are_what_a_loop_makes_of_them(seen: np.ndarray, drawn: np.ndarray, sparse: bool) -> None:
    # No subject at the middle, which has no direction, and some class in any case.
    seen = seen + np.random.default_rng(0).normal(0, 0.1, seen.shape)
    drawn = np.concatenate([drawn[:8], [0, 1, 0, 2]])
    truth = drawn[:, None] == np.arange(4)
    centres = Centres.of(sp.csr_matrix(seen) if sparse else seen, truth)
    asked = seen[::-1] * 2 + 0.3
    near = centres.near(sp.csr_matrix(asked) if sparse else asked)
    assert near.dtype == np.float32
    assert near == pytest.approx(by_hand(seen, truth, asked), abs=1e-4)


def test_a_class_that_nobody_has_has_no_centre_and_files_hold_them() -> None:
    seen = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [5, 5, 5]], np.float32)
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], np.bool_)
    centres = Centres.of(seen, truth)
    assert centres.rows.shape == (2, 3)
    near = centres.near(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 9], [0.3, 0.3, -2]], np.float32))
    assert near[:2] == pytest.approx(1, abs=0.05)
    assert (near[2:] < 0.5).all()
    # In the middle of all there is no direction.
    assert centres.near(centres.middle[None]) == pytest.approx(0, abs=1e-3)
    held = stored_centres(["kind"], centre_arrays({"kind": centres}))["kind"]
    assert np.array_equal(held.rows, centres.rows)
    assert np.array_equal(held.middle, centres.middle)
    with pytest.raises(KeyError):
        stored_centres(["other"], centre_arrays({"kind": centres}))
