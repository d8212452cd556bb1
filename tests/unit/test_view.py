"""What a model sees of a snapshot, against counts made one by one."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
from _shop import Shop
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.tasks import item_groups
from kgdistill.tasks.interactions import Interactions, interactions_before
from kgdistill.tasks.item_groups import ItemGroups, beside_facts, conjunction, fact_groups, own_fields

DAY = 86_400_000_000
EVENTS = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.integers(1, 12), max_size=20)


def view_of(events: dict[tuple[int, int], int], until: int, shape: tuple[int, int] = (5, 6)) -> Interactions:
    rows = np.array([u for u, _ in events], np.int64)
    columns = np.array([i for _, i in events], np.int64)
    times = sp.csr_matrix((np.array(list(events.values()), np.int64) * DAY, (rows, columns)), shape=shape)
    bought = times.copy().astype(np.float32)
    bought.data[:] = 1.0
    return interactions_before(bought, times, until_us=until * DAY, min_count=2)


def family(groups: list[list[int]], width: int, name: str = "F") -> ItemGroups:
    dense = np.zeros((len(groups), width), np.float32)
    for item, mine in enumerate(groups):
        dense[item, mine] = 1.0 / max(len(mine), 1)
    return ItemGroups(name, sp.csr_matrix(dense))


@settings(max_examples=60)
@given(EVENTS, st.integers(0, 13))
def test_a_view_holds_the_events_strictly_before_its_time_and_their_ages(
    events: dict[tuple[int, int], int], until: int
) -> None:
    view = view_of(events, until)
    want = {pair: until - day for pair, day in events.items() if day < until}
    bought = view.purchases.tocoo()
    got = {(int(u), int(i)): float(a) for u, i, a in zip(bought.row, bought.col, view.ages, strict=True)}
    assert got == want
    assert (bought.data == 1).all()
    counts = [sum(i == item for _, i in want) for item in range(6)]
    assert view.counts.tolist() == counts
    assert view.warm.tolist() == [i for i in range(6) if counts[i] >= 2]


@settings(max_examples=60)
@given(EVENTS, st.permutations(range(5)), st.floats(0, 2))
def test_a_history_is_ranked_from_its_latest_item_on(
    events: dict[tuple[int, int], int], users: list[int], decay: float
) -> None:
    view, asked = view_of(events, 9), np.array(users[:3])
    # The latest first; of one day, the larger id is the later.
    mine = [
        sorted(
            (i for (u, i), d in events.items() if u == user and d < 9),
            key=lambda i, user=user: (-events[user, i], -i),  # type: ignore[misc]
        )
        for user in asked
    ]
    items, offsets, ranks = view.history(asked)
    ends = [*offsets.tolist()[1:], len(items)]
    for row, (start, end) in enumerate(zip(offsets.tolist(), ends, strict=True)):
        got = {float(r): int(i) for i, r in zip(items[start:end], ranks[start:end], strict=True)}
        assert got == dict(enumerate(mine[row]))
    np.testing.assert_allclose(view.lengths(asked), np.log1p([len(h) for h in mine]), rtol=1e-6)
    want = np.zeros((3, 6))
    for row, history in enumerate(mine):
        for rank, item in enumerate(history):
            want[row, item] = np.exp(-decay * rank)
    queries = view.queries(asked, decay)
    np.testing.assert_allclose(queries.toarray(), want, rtol=1e-5)
    assert queries.dtype == np.float32


def test_ranks_queries_and_recent_buyers_of_one_shop_by_hand() -> None:
    # User 0 bought 2, then 0 and 3 on one day, then 1; user 1 bought 3; day 70 is not known on day 70.
    view = view_of({(0, 2): 10, (0, 0): 40, (0, 3): 40, (0, 1): 69, (1, 3): 10, (1, 0): 70}, 70)
    assert view.purchases[[0]].indices.tolist() == [0, 1, 2, 3]
    assert view.ranks.tolist() == [2, 0, 3, 1, 0]
    decayed = view.queries(np.array([0]), 0.5).toarray()[0]
    np.testing.assert_allclose(decayed[:4], np.exp([-1, 0, -1.5, -0.5]), rtol=1e-6)
    # A purchase counts half for every 30 days of its age.
    want = [0.5, 0.5 ** (1 / 30), 0.25, 0.5 + 0.25, 0, 0]
    np.testing.assert_allclose(view.recent, want, rtol=1e-5)


@settings(max_examples=40)
@given(EVENTS, st.integers(1, 13))
def test_recent_buyers_are_halved_for_every_month(events: dict[tuple[int, int], int], until: int) -> None:
    view = view_of(events, until)
    want = np.zeros(6)
    for (_, item), day in events.items():
        want[item] += 0.5 ** ((until - day) / 30) if day < until else 0
    np.testing.assert_allclose(view.recent, want, rtol=1e-5, atol=1e-6)
    assert (view.recent <= view.counts).all()


def test_a_field_that_follows_from_a_fact_is_no_own_field_and_a_size_is_one(shop: Shop) -> None:
    # The shop's brands and categories stand in its graph and in its texts.
    assert [f.name for f in shop.fields()][:2] == ["brand_text", "category_text"]
    assert own_fields(shop.facts(), shop.fields()) == []
    size = family([[item // 12 % 3] for item in range(80)], 3, "size")
    own = own_fields(shop.facts(), [*shop.fields(), size, conjunction(size, shop.fields()[0])])
    assert [f.name for f in own] == ["size"]
    names = [f.name for f in beside_facts(shop.facts(), own)]
    assert names == [
        *(f.name for f in shop.facts()), "size", *(f"{f.name} & size" for f in shop.facts()[:2]),
    ]  # fmt: skip
    assert [f.name for f in beside_facts(shop.facts(), [])] == [f.name for f in shop.facts()]


def test_a_field_may_miss_its_fact_in_one_item_of_a_hundred_but_not_in_one_of_ten() -> None:
    brand = family([[item % 5] for item in range(100)], 5, "MADE_BY")
    for wrong, kept in ((1, []), (10, ["maker"])):
        value = [[item % 5 if item >= wrong else (item + 1) % 5] for item in range(100)]
        assert [f.name for f in own_fields([brand], [family(value, 5, "maker")])] == kept
    # A fact may say more than the field: the country follows from the brand, the brand not from it.
    country = family([[item % 5 // 3] for item in range(100)], 2, "country")
    assert own_fields([brand], [country]) == []
    assert own_fields([country], [brand]) == [brand]
    # Without a fact, every single field is its own.
    assert own_fields([], [brand, conjunction(brand, country)]) == [brand]


def test_groups_of_one_name_are_not_taken_for_each_other() -> None:
    view = view_of({(0, 0): 1, (0, 1): 2, (1, 2): 3}, 20)
    real, shuffled = family([[0], [0], [1], [1], [2], [2]], 3), family([[1], [0], [0], [1], [1], [0]], 2)
    for groups in (real, shuffled, real):
        want = np.asarray((view.purchases @ groups.incidence).todense())
        shares, everybody = view.group_shares(groups)
        np.testing.assert_allclose(shares.toarray(), want / np.maximum(want.sum(1, keepdims=True), 1e-9))
        np.testing.assert_allclose(everybody, want.sum(0) / want.sum(), rtol=1e-6)


def test_a_name_says_nothing_of_what_groups_are() -> None:
    company = family([[item % 4] for item in range(40)], 4, "parent_company")
    care = family([[item % 3] for item in range(40)], 3, "wash & care")
    assert own_fields([], [company, care]) == [company, care]
    assert [f.kind for f in beside_facts([company], [care])] == ["single", "single", "pair"]


def test_a_conjunction_has_a_group_for_every_pair_that_occurs() -> None:
    both = conjunction(family([[0], [0, 1], [], [1]], 2, "A"), family([[2], [2], [0], [1]], 3, "B"))
    assert both.name == "A & B"
    columns = [tuple(row) for row in both.incidence.toarray().tolist()]
    # (A0, B2), (A1, B1), (A1, B2)
    assert columns == [(1, 0, 0), (0.5, 0, 0.5), (0, 0, 0), (0, 1, 0)]


def test_families_of_facts_are_each_fact_its_parents_and_pairs_of_facts(shop: Shop) -> None:
    names = [f.name for f in shop.facts()]
    assert sorted(names[:2]) == ["IN_CATEGORY", "MADE_BY"]
    assert names[2:] == ["IN_CATEGORY > parent", f"{names[0]} & {names[1]}"]
    for kind in shop.facts():
        np.testing.assert_allclose(np.asarray(kind.incidence.sum(1)).ravel(), 1.0)


def test_shuffled_facts_keep_every_degree_but_not_their_ends(shop: Shop) -> None:
    shuffled = {f.name: f for f in fact_groups(shop.snapshot, "Product", shuffle=np.random.default_rng(0))}
    for kind in shop.facts():
        if "&" in kind.name or ">" in kind.name:
            continue
        other = shuffled[kind.name].incidence
        assert (np.diff(kind.incidence.tocsc().indptr) == np.diff(other.tocsc().indptr)).all()
        assert (np.diff(kind.incidence.indptr) == np.diff(other.indptr)).all()
        assert (kind.incidence != other).nnz > 0


def test_two_facts_of_one_type_keep_names_of_their_own(shop: Shop) -> None:
    edges = [("Product", "MADE_BY", "Brand"), ("Product", "MADE_BY", "Category")]
    index = shop.snapshot.edge_index
    real = {"Brand": index(edges[0]), "Category": index(("Product", "IN_CATEGORY", "Category"))}
    with (
        patch.object(item_groups, "facts_of", return_value=edges),
        patch.object(type(shop.snapshot), "edge_index", lambda _, edge: real[edge[2]]),
        patch.object(item_groups, "parent_fact", return_value=None),
    ):
        found = fact_groups(shop.snapshot, "Product")
    assert [f.name for f in found[:2]] == ["MADE_BY Brand", "MADE_BY Category"]
    assert [f.label for f in found[:2]] == ["Brand", "Category"]
