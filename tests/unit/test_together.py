"""What is bought together: the counts, what chance brings, and what is beyond it."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from kgdistill.derive import together
from kgdistill.derive.together import Baskets, Partners, partners

HOUR = 3_600_000_000


def codes(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.int64)


def baskets_of(lists: list[tuple[int, list[int]]]) -> Baskets:
    """Baskets from (user, items), each a day after the one before."""
    rows = [(user, item, n * 24 * HOUR) for n, (user, items) in enumerate(lists) for item in items]
    user, item, at = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Baskets.of(user, item, at, HOUR)


def pairs(found: Partners) -> dict[tuple[int, int], tuple[int, float, bool]]:
    item = np.repeat(np.arange(len(found.users)), np.diff(found.indptr))
    rows = zip(item.tolist(), found.partner.tolist(), strict=True)
    values = zip(found.support.tolist(), found.expected.tolist(), found.beyond.tolist(), strict=True)
    return dict(zip(rows, values, strict=True))


def test_a_basket_holds_what_its_user_does_within_the_window_from_its_first() -> None:
    user = codes(0, 0, 0, 0, 1, 0)
    at = codes(0, HOUR // 2, HOUR, HOUR + 1, HOUR // 2, 3 * HOUR)
    item = codes(5, 6, 5, 7, 8, 9)
    found = Baskets.of(user, item, at, HOUR)
    # The third is the first's item again; the fourth comes after the hour, though not after the third.
    assert found.user.tolist() == [0, 0, 0, 0, 1]
    assert found.item.tolist() == [5, 6, 7, 9, 8]
    assert found.basket.tolist() == [0, 0, 1, 2, 3]
    alone = Baskets.of(user, item, at, 0)
    assert alone.basket.tolist() == [0, 1, 2, 3, 4, 5]


def test_groups_stand_in_for_their_items_once_a_basket() -> None:
    found = baskets_of([(0, [0, 1, 2]), (0, [3]), (1, [2, 3])]).of_groups(codes(0, 0, 1, -1))
    assert found.item.tolist() == [0, 1, 1]
    assert found.basket.tolist() == [0, 0, 1]
    assert found.user.tolist() == [0, 0, 1]
    assert found.users_of(3).tolist() == [1, 2, 0]


LISTS = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True)),
    min_size=1, max_size=30,
)  # fmt: skip


@given(LISTS, st.integers(1, 12))
def test_every_user_counts_once_whatever_the_chunks(lists: list[tuple[int, list[int]]], cells: int) -> None:
    whole, want = baskets_of(lists), Counter[tuple[int, int]]()
    for pair in {(user, *pair) for user, items in lists for pair in combinations(sorted(items), 2)}:
        want[pair[1:]] += 1
        want[pair[:0:-1]] += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_CELLS", cells)
        found = partners(whole, 8, 1, keep=8)
    assert {pair: support for pair, (support, _, _) in pairs(found).items()} == want
    users = [len({user for user, items in lists if item in items}) for item in range(8)]
    assert found.users.tolist() == users


def test_by_chance_is_what_drawing_anew_brings() -> None:
    draw = np.random.default_rng(0)
    sizes = [int(n) for n in draw.integers(2, 9, 900)]
    popular = draw.uniform(0.2, 3, 120)
    lists = [
        (n % 90, draw.choice(120, size, replace=False, p=popular / popular.sum()).tolist())
        for n, size in enumerate(sizes)
    ]
    whole = baskets_of(lists)
    found = pairs(partners(whole, 120, 1, keep=120))
    # The rows' items are dealt out anew: every item keeps how often it is there, every basket its size.
    counts: Counter[tuple[int, int]] = Counter()
    times = 200
    for _ in range(times):
        dealt = draw.permutation(whole.item)
        rows: dict[int, list[int]] = {}
        for basket, item in zip(whole.basket.tolist(), dealt.tolist(), strict=True):
            rows.setdefault(basket, []).append(item)
        of = dict(zip(whole.basket.tolist(), whole.user.tolist(), strict=True))
        seen = {(of[b], *pair) for b, items in rows.items() for pair in combinations(sorted(set(items)), 2)}
        counts.update(pair[1:] for pair in seen)
    often = sorted(pair for pair in found if pair[0] < pair[1] and found[pair][1] > 3)
    assert len(often) > 200
    expected = np.array([found[pair][1] for pair in often])
    drawn = np.array([counts[pair] / times for pair in often])
    # Rather too many are expected, as an item that is dealt into a basket twice counts twice.
    assert 0.9 < drawn.sum() / expected.sum() <= 1.0
    np.testing.assert_allclose(expected, drawn, rtol=0.2)


def noise(draw: np.random.Generator, users: int = 400) -> list[tuple[int, list[int]]]:
    popular = 1 / np.arange(1, 101)
    return [
        (user, draw.choice(100, 4, replace=False, p=popular / popular.sum()).tolist())
        for user in range(users)
        for _ in range(3)
    ]


def test_planted_pairs_are_found_and_hardly_any_other() -> None:
    draw = np.random.default_rng(1)
    lists = noise(draw)
    planted = [(100 + 2 * n, 101 + 2 * n) for n in range(20)]
    for n, (a, b) in enumerate(planted):
        lists += [(20 * n + m, [a, b, int(draw.integers(100))]) for m in range(6)]
    found = {pair for pair, (_, _, beyond) in pairs(partners(baskets_of(lists), 140)).items() if beyond}
    want = {pair for a, b in planted for pair in ((a, b), (b, a))}
    assert want <= found
    assert len(found - want) <= 4


def test_of_noise_alone_nothing_is_beyond_chance() -> None:
    found = [
        partners(baskets_of(noise(np.random.default_rng(seed), 200)), 100).beyond.sum() for seed in range(8)
    ]
    # At a false share of 5 % that is so in 19 of 20 such shops.
    assert sum(n > 0 for n in found) <= 1


def test_the_tail_and_the_correction_are_those_of_the_papers() -> None:
    draw = np.random.default_rng(2)
    lists = noise(draw, 60) + [(n, [0, 100]) for n in range(40)] + [(n, [101, 102]) for n in range(3)]
    found = partners(baskets_of(lists), 103, 3, 0.05, keep=200)
    rows = {pair: row for pair, row in pairs(found).items() if pair[0] < pair[1]}
    tails = {
        pair: poisson.sf(support - 1, expected) if support >= max(3, expected + 1) else 1.0
        for pair, (support, expected, _) in rows.items()
    }
    ordered = sorted(tails, key=tails.__getitem__)
    able = int((found.users >= 3).sum())
    assert found.tested == able * (able - 1) // 2
    passes = [r for r, pair in enumerate(ordered, 1) if tails[pair] <= 0.05 * r / found.tested]
    want = set(ordered[: max(passes, default=0)])
    assert {pair for pair, row in rows.items() if row[2]} == want
    assert (101, 102) in want


def test_what_one_household_buys_every_week_is_no_evidence() -> None:
    lists = noise(np.random.default_rng(3), 100) + [(0, [100, 101])] * 50
    found = pairs(partners(baskets_of(lists), 102))
    assert found[100, 101][0] == 1
    assert not found[100, 101][2]


def test_of_each_item_the_strongest_are_kept() -> None:
    lists = (
        [(n, [0, 1]) for n in range(9)] + [(n, [0, 2]) for n in range(5)] + [(n, [0, 3]) for n in range(7)]
    )
    lists += [(n, [n % 40 + 4, n % 37 + 44]) for n in range(80)]
    found = pairs(partners(baskets_of(lists), 90, keep=2))
    assert {pair for pair in found if pair[0] == 0} == {(0, 1), (0, 3)}


def test_nothing_bought_is_no_pair() -> None:
    none = codes()
    found = partners(Baskets.of(none, none, none, 0), 5)
    assert found.indptr.tolist() == [0] * 6
    assert len(partners(Baskets.of(none, none, none, 0), 0).users) == 0
