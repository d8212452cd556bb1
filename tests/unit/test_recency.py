from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from kgdistill.tasks.interactions import RECENT_DAYS
from kgdistill.tasks.recency import recent_ndcg
from kgdistill.tasks.training_data import TrainingData

DAY_US = 86_400 * 10**6
USERS, ITEMS, DAYS = 200, 60, 120


def shop(lives: float, *, users: int = USERS, seed: int = 0, until: int = DAYS) -> TrainingData:
    """Each user buys on ten days; an item is at its best on one day and sells some `lives` days around it."""
    draw = np.random.default_rng(seed)
    best = np.linspace(0, DAYS, ITEMS)
    times = sp.lil_matrix((users, ITEMS), dtype=np.int64)
    for user in range(users):
        for day in draw.integers(1, until, 10):
            liked = np.exp(-(((best - day) / lives) ** 2))
            times[user, draw.choice(ITEMS, p=liked / liked.sum())] = day * DAY_US
    stamped = sp.csr_matrix(times)
    bought = stamped.astype(np.float32)
    bought.data[:] = 1.0
    return TrainingData(
        purchases=bought, times=stamped, cut_us=DAYS * DAY_US, users=np.arange(users),
        items=np.arange(ITEMS), text_rows=np.arange(ITEMS), text=np.zeros((ITEMS, 2), np.float32),
        min_count=1, select_us=100 * DAY_US, label="Product",
    )  # fmt: skip


def test_where_items_come_and_go_the_half_life_is_short_and_elsewhere_a_month() -> None:
    assert shop(6.0).recent_days < 15
    assert shop(1e6).recent_days == RECENT_DAYS


@pytest.mark.parametrize("seed", range(5))
def test_what_chance_alone_prefers_is_not_taken(seed: int) -> None:
    assert shop(1e6, seed=seed).recent_days == RECENT_DAYS


def test_recent_popularity_is_of_that_half_life_in_every_view() -> None:
    catalogue = shop(6.0)
    for view in (catalogue.view(), catalogue.view(50 * DAY_US)):
        assert view.recent_days == catalogue.recent_days
        np.testing.assert_array_equal(view.recent, view.recency(catalogue.recent_days))
        assert not np.array_equal(view.recent, view.recency(RECENT_DAYS))


def test_what_models_are_chosen_by_says_nothing_of_the_half_life() -> None:
    known = replace(shop(6.0), select_us=70 * DAY_US)
    # From then on what sold first sells again.
    start, old = known.select_us, known.times.toarray()
    turned = old[:, ::-1]
    times = sp.csr_matrix(np.where((old > 0) & (old < start), old, np.where(turned >= start, turned, 0)))
    assert (times.data >= start).sum() > 100
    purchases = times.astype(np.float32)
    purchases.data[:] = 1.0
    assert replace(known, times=times, purchases=purchases).recent_days == known.recent_days < 15


@pytest.mark.parametrize(("days", "bought"), [(30.0, 10), (7.5, 40)])
def test_recent_items_are_judged_as_by_hand(days: float, bought: int) -> None:
    draw = np.random.default_rng(bought)
    catalogue = shop(20.0, users=30, until=90)
    known = catalogue.view(60 * DAY_US)
    later = sp.csr_matrix((draw.random((30, ITEMS)) < bought / 100).astype(np.float32))
    pool = np.flatnonzero(draw.random(ITEMS) < 0.8)
    users = np.flatnonzero(later[:, pool].sum(axis=1).A1)
    scores = known.recency(days)
    wanted = []
    for user in users:
        had = set(known.purchases[user].indices)
        ranked = sorted((i for i in pool if i not in had), key=lambda i: (-scores[i], i))[:20]
        right = set(later[user].indices) & set(pool)
        ideal = sum(1 / np.log2(n + 2) for n in range(min(20, len(right))))
        wanted.append(sum(1 / np.log2(n + 2) for n, i in enumerate(ranked) if i in right) / ideal)
    np.testing.assert_allclose(recent_ndcg(known, later, users, pool, days), wanted)


def test_too_few_events_to_tell_leave_a_month() -> None:
    assert shop(6.0, users=1).recent_days == RECENT_DAYS
    assert replace(shop(6.0), select_us=0).recent_days == RECENT_DAYS
