"""A control: every user is asked for somebody else, so that only what is personal is missed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.evaluate.baselines import exchanged


@given(st.sets(st.integers(0, 60), min_size=2), st.integers(0, 5))
def test_each_user_stands_for_one_other(ids: set[int], seed: int) -> None:
    users = np.array(sorted(ids), np.int64)
    somebody = exchanged(users, seed)[users]
    assert sorted(somebody) == sorted(ids)
    assert (somebody != users).all()
    np.testing.assert_array_equal(exchanged(users, seed)[users], somebody)


def test_one_user_and_none_stand_for_themselves() -> None:
    assert exchanged(np.array([4], np.int64), 0).tolist() == [0, 1, 2, 3, 4]
    assert exchanged(np.zeros(0, np.int64), 0).tolist() == [0]
