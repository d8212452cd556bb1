"""The detector on planted surges, without any, and its parts against other ways to the same numbers."""

from __future__ import annotations

import itertools
import json
import math
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.arrays import IntArray
from kgdistill.watch.detector import (
    MONTH_HOURS,
    Change,
    Sensitivity,
    SurgeDetector,
    log_likelihood,
    times_odds,
)
from kgdistill.watch.gamma import log_gamma

HOURS = 24 * 35
Told = list[tuple[int, Change]]


def stream(share: float, size: float, hours: int = HOURS, topics: int = 1, seed: int = 0) -> list[IntArray]:
    """Negatives and statements, int64 [hours, topics]."""
    draw = np.random.default_rng(seed)
    statements = draw.poisson(size, (hours, topics))
    return [draw.binomial(statements, share), statements]


def watched(
    negatives: IntArray,
    statements: IntArray,
    sensitivity: Sensitivity | None = None,
    sharing: int | None = None,
) -> Told:
    detector = SurgeDetector(sensitivity or Sensitivity())
    detector.add_topics(statements.shape[1])
    pairs = enumerate(zip(negatives, statements, strict=True))
    return [(i, change) for i, (x, n) in pairs for change in detector.step(i, x, n, sharing)]


def beta_binomial(x: int, n: int, share: float, precision: float) -> float:
    """The logarithm of its probability, by the standard library."""
    a, b = share * precision, (1 - share) * precision
    return (
        math.log(math.comb(n, x))
        + math.lgamma(x + a) + math.lgamma(n - x + b) - math.lgamma(n + a + b)
        + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    )  # fmt: skip


@given(
    n=st.integers(1, 400), part=st.floats(0, 1), share=st.floats(0.01, 0.9), precision=st.floats(1, 300),
    odds=st.floats(1.1, 8),
)  # fmt: skip
@settings(max_examples=150)
def test_a_likelihood_ratio_is_that_of_two_distributions(
    n: int, part: float, share: float, precision: float, odds: float
) -> None:
    x, more = round(part * n), share / (1 - share) * odds / (1 + share / (1 - share) * odds)
    assert times_odds(np.array([share]), odds)[0] == pytest.approx(more)
    at = [np.array([value], np.float64) for value in (x, n)]
    told = [log_likelihood(*at, np.array([p]), np.array([precision]))[0] for p in (more, share)]
    wanted = beta_binomial(x, n, more, precision) - beta_binomial(x, n, share, precision)
    assert told[0] - told[1] == pytest.approx(wanted, rel=1e-6, abs=1e-8)


def test_the_evidence_is_that_of_shiryaev_and_roberts() -> None:
    negatives, statements = stream(0.2, 15, hours=60, topics=2)
    statements[20], negatives[20] = 0, 0
    detector = SurgeDetector(Sensitivity(false_alarms=1e-9))
    detector.add_topics(2)
    sums = np.zeros((2, 4))
    for i, (x, n) in enumerate(zip(negatives, statements, strict=True)):
        known, wide = deepcopy(detector.baseline), detector._spread()
        detector.step(i, x, n)
        if i == 20:
            continue
        hour, day = (detector._factor(*at) for at in ((known.hours, i % 24), (known.days, i // 24)))
        usual = known.usual(hour.times * day.times, hour.uncertain + day.uncertain)
        for row, odds in itertools.product(range(2), range(4)):
            precision = 1 / (wide[row] + usual.uncertain[row]) - 1
            shares = float(times_odds(usual.share, (1.5, 2, 3, 5)[odds])[row]), float(usual.share[row])
            more, same = (beta_binomial(int(x[row]), int(n[row]), share, precision) for share in shares)
            sums[row, odds] = (1 + sums[row, odds]) * math.exp(more - same)
    assert np.expm1(detector.evidence) == pytest.approx(sums, rel=1e-6)


def test_an_alert_says_how_often_chance_would_bring_it_and_since_when_it_is() -> None:
    negatives, statements = stream(0.15, 20, topics=4)
    draw = np.random.default_rng(1)
    negatives[600:640, 2] = draw.binomial(statements[600:640, 2], 0.45)
    (start, begun), *_ = watched(negatives, statements, Sensitivity(false_alarms=0.5))
    assert begun.topic == 2
    assert abs(start + 1 - begun.windows - 600) <= 2
    assert begun.negatives == negatives[start + 1 - begun.windows : start + 1, 2].sum()
    assert 0 < begun.a_month <= 0.5
    # As strong in a tenth of the topics it would be a tenth as often.
    (again, other), *_ = watched(negatives, statements, Sensitivity(false_alarms=5.0), sharing=40)
    assert (again, other.a_month) == (start, pytest.approx(10 * begun.a_month))


def test_log_gamma_is_that_of_the_standard_library() -> None:
    at = np.exp(np.linspace(-8, 16, 300))
    assert log_gamma(at) == pytest.approx([math.lgamma(x) for x in at], rel=1e-11, abs=1e-11)


def test_a_planted_surge_is_told_once_and_its_end_once() -> None:
    negatives, statements = stream(0.15, 20)
    draw = np.random.default_rng(1)
    negatives[600:624] = draw.binomial(statements[600:624], 0.5)
    (start, begun), (end, over) = watched(negatives, statements)
    assert (begun.ends, over.ends) == (False, True)
    assert 600 <= start <= 604
    assert 624 <= end <= 640
    assert begun.negatives > 2 * begun.expected
    assert begun.a_month <= 1
    assert over.a_month == 0


def test_a_rise_too_slow_for_one_window_is_found_by_several() -> None:
    negatives, statements = stream(0.15, 4)
    draw = np.random.default_rng(1)
    negatives[600:672] = draw.binomial(statements[600:672], 0.4)
    (start, begun), *_ = watched(negatives, statements)
    assert begun.windows > 1
    assert 600 <= start < 672


def test_more_statements_at_the_same_share_are_no_surge() -> None:
    for times in (2, 10):
        negatives, statements = stream(0.2, 20)
        more = stream(0.2, 20.0 * times, seed=2)
        negatives[600:648], statements[600:648] = more[0][600:648], more[1][600:648]
        assert [i for i, _ in watched(negatives, statements) if 600 <= i < 672] == []


def test_an_hour_of_very_many_statements_does_not_become_what_is_usual() -> None:
    draw = np.random.default_rng(0)
    statements = draw.poisson(10, (HOURS, 4))
    statements[300] = 50_000
    negatives = draw.binomial(statements, draw.beta(0.2 * 30, 0.8 * 30, statements.shape))
    negatives[300] = [1000, 1000, 20_000, 20_000]
    told = watched(negatives, statements)
    assert [i for i, change in told if not change.ends and i > 302] == []


@pytest.mark.parametrize("seed", [0, 2])
def test_a_daily_rhythm_of_the_share_is_learned(seed: int) -> None:
    draw = np.random.default_rng(seed)
    share = np.where(np.arange(HOURS) % 24 < 6, 0.5, 0.15)[:, None]
    statements = draw.poisson(40, (HOURS, 1))
    negatives = draw.binomial(statements, share)
    assert [i for i, change in watched(negatives, statements) if i > 24 * 21 and not change.ends] == []
    # What is usual at night is a surge at noon.
    negatives[804:810] = draw.binomial(statements[804:810], 0.5)
    assert [i for i, change in watched(negatives, statements) if not change.ends and 804 <= i < 810]


def test_shares_that_vary_beyond_chance_raise_no_more_alarms() -> None:
    draw = np.random.default_rng(3)
    statements = draw.poisson(100, (HOURS, 8))
    negatives = draw.binomial(statements, draw.beta(0.2 * 9, 0.8 * 9, statements.shape))
    assert len([1 for _, change in watched(negatives, statements) if not change.ends]) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_false_alarms_stay_below_what_is_stated(seed: int) -> None:
    negatives, statements = stream(0.2, 10, topics=20, seed=seed)
    months = HOURS / MONTH_HOURS
    told = watched(negatives, statements, Sensitivity(false_alarms=2.0))
    # Twice two a month are allowed in two months; nine or more would have a chance below 3 %.
    assert len([1 for _, change in told if not change.ends]) <= 8 * max(1.0, months / 2)


def test_a_higher_stated_rate_finds_more() -> None:
    negatives, statements = stream(0.2, 10, topics=20)
    counts = [len(watched(negatives, statements, Sensitivity(false_alarms=f))) for f in (0.1, 30.0, 900.0)]
    assert counts[0] <= counts[1] < counts[2]


def test_more_topics_share_the_alarms() -> None:
    negatives, statements = stream(0.15, 12, topics=1)
    negatives[600:603] += 5
    statements[600:603] += 5
    alone, among = (
        [i for i, change in watched(negatives, statements, sharing=sharing) if not change.ends]
        for sharing in (None, 100_000)
    )
    assert [i for i in alone if 600 <= i < 606]
    assert not [i for i in among if 600 <= i < 606]


def test_a_new_topic_is_not_measured_by_the_others() -> None:
    detector = SurgeDetector(Sensitivity())
    detector.add_topics(3)
    negatives, statements = stream(0.1, 30, hours=400, topics=3)
    for i in range(400):
        assert detector.step(i, negatives[i], statements[i]) == []
    detector.add_topics(1)
    for i in range(400, 460):
        told = detector.step(i, np.append(negatives[i - 60], 24), np.append(statements[i - 60], 40))
        assert told == []


def test_few_negatives_or_a_small_rise_are_no_surge() -> None:
    negatives, statements = stream(0.3, 2000)
    negatives[600:624] = (statements[600:624] * 0.36).astype(np.int64)
    assert watched(negatives, statements, Sensitivity(least=1.5)) == []
    assert watched(negatives, statements, Sensitivity(least=1.0))
    negatives, statements = stream(0.0, 20)
    negatives[600] = 4
    assert watched(negatives, statements, Sensitivity(min_count=5)) == []
    assert watched(negatives, statements, Sensitivity(min_count=3))


def test_a_surge_that_stays_is_told_once() -> None:
    negatives, statements = stream(0.15, 20)
    draw = np.random.default_rng(1)
    negatives[400:] = draw.binomial(statements[400:], 0.5)
    told = watched(negatives, statements)
    assert [change.ends for _, change in told] == [False]


def test_windows_without_statements_are_no_evidence() -> None:
    negatives, statements = stream(0.15, 20, hours=800)
    detector = SurgeDetector(Sensitivity())
    detector.add_topics(1)
    for i in range(400):
        assert detector.step(i, negatives[i], statements[i]) == []
    for i in range(400, 800):
        assert detector.step(i + 20_000, negatives[i], statements[i]) == []


def test_evidence_waits_for_statements_and_does_not_outlast_a_long_silence() -> None:
    detector = SurgeDetector(Sensitivity())
    detector.add_topics(2)
    for i in range(100):
        assert detector.step(i, np.array([1, 1]), np.array([10, 10])) == []
    detector.evidence[:] = 50.0
    assert detector.step(100, np.array([0, 0]), np.array([0, 0])) == []
    assert (detector.evidence == 50.0).all()
    longest = Sensitivity().longest
    short, long = deepcopy(detector), detector
    assert short.step(100 + longest, np.array([3, 0]), np.array([10, 0]))
    assert long.step(101 + longest, np.array([3, 0]), np.array([10, 0])) == []


@cache
def _two_topics() -> tuple[IntArray, IntArray, Told]:
    """Negatives, statements and what is told of them."""
    negatives, statements = stream(0.2, 15, hours=200, topics=2)
    negatives[150:170, 1] = statements[150:170, 1]
    return negatives, statements, watched(negatives, statements)


@given(cut=st.integers(1, 199))
@settings(max_examples=10)
def test_what_is_kept_goes_on_to_the_bit(cut: int) -> None:
    negatives, statements, whole = _two_topics()
    first = SurgeDetector(Sensitivity())
    first.add_topics(2)
    told = [(i, c) for i in range(cut) for c in first.step(i, negatives[i], statements[i])]
    kept = json.loads(json.dumps({name: array.tolist() for name, array in first.arrays().items()}))
    second = SurgeDetector(Sensitivity())
    second.add_topics(2)
    second.restore({name: np.asarray(values) for name, values in kept.items()})
    second.window = first.window
    told += [(i, c) for i in range(cut, 200) for c in second.step(i, negatives[i], statements[i])]
    assert told == whole
    assert told
