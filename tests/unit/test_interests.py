"""Which interests are named, and how they are told."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.explore.interests import Interest, Interests, _at_least, _standing_out


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.001, 0.999))
def test_the_tail_is_that_of_a_binomial(count: int, total: int, share: float) -> None:
    want = sum(math.comb(total, n) * share**n * (1 - share) ** (total - n) for n in range(count, total + 1))
    assert _at_least(count, total, share) == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_chance_alone_gives_few_users_an_interest() -> None:
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.full(60, 0.5))
    usual = Counter(
        {f"c{n}": int(count) for n, count in enumerate(draw.multinomial(100_000, shares)) if count}
    )
    names = {key: key for key in usual}
    surprised = 0
    for _ in range(400):
        bought = Counter(f"c{n}" for n in draw.choice(60, draw.integers(5, 80), p=shares))
        surprised += bool(_standing_out(bought & Counter(dict.fromkeys(usual, 1000)), usual, names, 5))
    assert surprised <= 0.05 * 400


def test_what_a_user_keeps_to_is_found_among_the_rest() -> None:
    usual = Counter({f"c{n}": 100 for n in range(50)})
    bought = Counter({"c7": 6, **{f"c{n}": 1 for n in range(10, 20)}})
    (found,) = _standing_out(bought, usual, {key: key.upper() for key in usual}, 5)
    assert (found.name, found.products, found.lift) == ("C7", 6, pytest.approx(6 / 16 / 0.02))


@pytest.mark.parametrize(
    ("share", "told"), [(0.6, "mostly at night"), (0.33, "more often than others at night")]
)
def test_mostly_is_more_than_half(share: float, told: str) -> None:
    night = Interest("night", "night", 3, share, 0.1, share / 0.1)
    found = Interests("ann", 6, None, None, (), (), (night,), None, None)
    assert found.sentence() == f"ann bought 6 products, {told}."
