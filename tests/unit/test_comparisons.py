"""Comparisons of arms with several seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import comparisons
from bench.comparisons import Difference, Estimate, Resamples, holm


def estimate(resamples: Resamples, values: Any) -> Estimate:
    return resamples.draw(values)[0].estimate()


def difference(resamples: Resamples, a: Any, b: Any) -> Difference:
    one, other = resamples.draw(a, b)
    return one.difference(other)


def share(resamples: Resamples, a: Any, b: Any) -> Estimate | None:
    one, other = resamples.draw(a, b)
    return one.share(other)


def test_holm_equals_the_hand_count() -> None:
    # Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1 = .02, .03, .06, .04; the last may not fall below .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="outside"):
        holm([0.1, math.nan])


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if (len(p) - step) * p[i] > level:
                break
            rejected.add(i)
        assert {i for i, q in enumerate(adjusted) if q <= level} == rejected


def test_the_p_value_is_uniform_where_nothing_differs_and_small_where_something_does() -> None:
    draw = np.random.default_rng(3)
    found, hits = [], 0
    for trial in range(300):
        shared = draw.normal(0, 1, 60)
        a, b = (np.stack([shared + draw.normal(0, 0.3, 60) for _ in range(2)]) for _ in range(2))
        resamples = Resamples(60, samples=300, seed=trial)
        found.append(difference(resamples, a, b).p)
        hits += difference(resamples, a + 0.2, b).p < 0.01
    # 300 draws of a share of 0.1: standard deviation 0.017; of 0.5: 0.029.
    assert abs(np.mean(np.array(found) <= 0.1) - 0.1) < 0.06
    assert abs(np.mean(np.array(found) <= 0.5) - 0.5) < 0.1
    assert hits > 290


def test_the_interval_over_units_averages_seeds_first_and_the_other_adds_their_spread() -> None:
    draw = np.random.default_rng(0)
    units = draw.normal(0, 1, 400)
    seeds = np.stack([units + shift for shift in (-0.5, 0.0, 0.5)])
    found = estimate(Resamples(400, samples=2000), seeds)
    assert found.mean == pytest.approx(units.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * units.std() / 20, rel=0.08)
    # The mean of three draws from -.5, 0, .5 has the deviation sqrt(1/6) / sqrt(3).
    wide = 2 * 1.96 * math.sqrt(units.var() / 400 + 1 / 18)
    assert found.seeds_high - found.seeds_low == pytest.approx(wide, rel=0.15)
    alone = estimate(Resamples(400), units[None])
    assert (alone.seeds_low, alone.seeds_high) == (alone.low, alone.high)


def test_units_are_resampled_together_so_that_what_they_share_goes() -> None:
    draw = np.random.default_rng(1)
    shared = draw.normal(0, 10, 300)
    a, b = shared + 0.5 + draw.normal(0, 0.1, (3, 300)), shared[None]
    found = difference(Resamples(300), a, b)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert 0.45 < found.low < found.mean < found.high < 0.55
    assert found.p == pytest.approx(1 / 4001)
    same = difference(Resamples(300), b, b)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_a_share_is_of_the_means_with_its_interval() -> None:
    draw = np.random.default_rng(2)
    teacher = draw.random((1, 500)) + 0.1
    student = 0.97 * teacher.repeat(3, axis=0)
    found = share(Resamples(500), student, teacher)
    assert found is not None
    assert [found.mean, found.low, found.high] == pytest.approx([0.97] * 3)
    loose = share(Resamples(500), draw.permutation(student, axis=1), teacher)
    assert loose is not None
    assert loose.low < 0.97 < loose.high
    # Var(a/b) is about (2 var / n) / mean^2 for independent units with a ratio near 1.
    want = 2 * 1.96 * 0.97 * math.sqrt(2 * teacher.var() / 500) / teacher.mean()
    assert loose.high - loose.low == pytest.approx(want, rel=0.15)
    assert share(Resamples(3), [[1, 1, 1]], [[0, 0, 1]]) is None


def test_draws_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).random((2, 37))
    whole = estimate(Resamples(37, samples=50), values)
    monkeypatch.setattr(comparisons, "_BLOCK_CELLS", 100)
    blocked = estimate(Resamples(37, samples=50), values)
    assert [blocked.low, blocked.seeds_high] == pytest.approx([whole.low, whole.seeds_high])


def test_what_is_no_sample_is_refused() -> None:
    for wrong in ([1.0, 2.0], [[1.0]], [[1.0, math.nan]]):
        with pytest.raises(ValueError, match="not"):
            estimate(Resamples(2), wrong)
    with pytest.raises(ValueError, match="no bootstrap"):
        Resamples(0)
