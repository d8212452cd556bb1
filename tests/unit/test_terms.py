"""Each term of a score against counts by hand, for pairs and for lists, and what a bundle keeps of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _shop import Shop
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.models.scorer import Terms, terms_of
from kgdistill.models.terms import (
    ItemWeights,
    Popularity,
    RecentPopularity,
    SharedGroups,
    neighbours,
)
from kgdistill.models.terms.neighbours import NeighbourItems, likely_pairs
from kgdistill.tasks.interactions import Interactions, interactions_before
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.train import choose
from kgdistill.train.choose import LinearChoice, item_weights, neighbour_weights, sides_of

CPU = torch.device("cpu")
DAY = 86_400_000_000
EVENTS = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.integers(1, 12), max_size=20)
GROUPS = st.lists(st.lists(st.integers(0, 2), unique=True), min_size=6, max_size=6)
CHOICE = LinearChoice(reg=5.0, side_weight=1.0, decay=0.1, walk=2)


def view_of(events: dict[tuple[int, int], int]) -> Interactions:
    rows, columns = (np.array([pair[i] for pair in events], np.int64) for i in range(2))
    times = sp.csr_matrix((np.array(list(events.values()), np.int64) * DAY, (rows, columns)), shape=(5, 6))
    bought = times.copy().astype(np.float32)
    bought.data[:] = 1.0
    return interactions_before(bought, times, until_us=20 * DAY, min_count=2)


@pytest.fixture(scope="module")
def terms(shop: Shop) -> Terms:
    catalogue = shop.catalogue()
    view, facts = catalogue.view(), shop.facts()
    weights = list(item_weights(view, sides_of(catalogue, facts), CHOICE))
    for table in neighbour_weights(view, sides_of(catalogue, facts), CHOICE, 4):
        weights.append(ItemWeights("table", view, table, 0.1))
    return terms_of(view, facts, weights, device=CPU)


def test_every_term_says_the_same_of_pairs_and_of_lists(terms: Terms) -> None:
    draw = np.random.default_rng(0)
    users, lists = draw.permutation(60)[:9], draw.integers(0, 80, (9, 7))
    values = terms.values(users, lists, chunk=4)
    assert values.shape == (9, 7, len(terms.terms))
    for t, term in enumerate(terms.terms):
        for row, user in enumerate(users):
            one = term.pairs(np.array([user]), lists[row])
            assert one.dtype == torch.float32
            np.testing.assert_allclose(values[row, :, t], one.expand(1, 7)[0], rtol=1e-5, atol=1e-6)
        assert values[..., t].std() > 0 or term.name == "walk"
    shared = terms.pairs(users, lists[0])
    assert [len(term) for term in shared.terms if term.dim() == 1] == [7, 7]
    np.testing.assert_array_equal(shared.counts, terms.view.counts[lists[0]])
    np.testing.assert_allclose(shared.lengths, terms.view.lengths(users))


@settings(max_examples=40)
@given(EVENTS, GROUPS)
def test_shared_groups_equal_a_count_by_hand(
    events: dict[tuple[int, int], int], groups: list[list[int]]
) -> None:
    dense = np.zeros((6, 3), np.float32)
    for item, mine in enumerate(groups):
        dense[item, mine] = 1.0 / max(len(mine), 1)
    term = SharedGroups(view_of(events), ItemGroups("F", sp.csr_matrix(dense)), CPU)
    spent = np.zeros((5, 3))
    for user, item in events:
        spent[user] += dense[item]
    everybody = spent.sum(0) / max(spent.sum(), 1e-9)
    own = spent / np.maximum(spent.sum(1, keepdims=True), 1e-9)
    lift = np.log1p(own / np.maximum(everybody, 1e-9))
    np.testing.assert_allclose(term.lift(np.arange(5))[:, :3], lift, rtol=1e-4, atol=1e-6)
    users, items = np.array([3, 0]), np.array([5, 2, 1])
    want = [[np.mean([lift[u, g] for g in groups[i]] or [0.0]) for i in items] for u in users]
    np.testing.assert_allclose(term.pairs(users, items), want, rtol=1e-4, atol=1e-6)
    lists = np.array([[5, 2, 1], [5, 2, 1]])
    np.testing.assert_allclose(term.lists(users, lists), want, rtol=1e-4, atol=1e-6)
    kept = term.packed(items)
    rows = sp.csr_matrix((np.ones(len(kept["indices"])), kept["indices"], kept["indptr"]), shape=(3, 3))
    np.testing.assert_array_equal(rows.toarray() > 0, dense[items] > 0)
    np.testing.assert_allclose(kept["everybody"], everybody, rtol=1e-6)


def test_popularity_is_what_the_view_counts(terms: Terms) -> None:
    items = np.array([7, 2, 70])
    for term, counts in (
        (Popularity(terms.view, CPU), terms.view.counts),
        (RecentPopularity(terms.view, CPU), terms.view.recent),
    ):
        np.testing.assert_array_equal(term.pairs(np.arange(2), items), counts[items])
        assert [a.tolist() for a in term.packed(items).values()] == [counts[items].tolist()]


def test_a_bundle_keeps_weights_between_items_only_where_each_keeps_but_its_strongest(terms: Terms) -> None:
    items = np.arange(0, 80, 3)
    whole, walk, *tables = (term for term in terms.terms if isinstance(term, ItemWeights))
    assert whole.packed(items) is walk.packed(items) is None
    assert len(tables) == 2
    for table in tables:
        kept, model = table.packed(items), table.model
        assert kept is not None
        assert isinstance(model, NeighbourItems)
        rows = sp.csr_matrix((kept["data"], kept["indices"], kept["indptr"]), shape=(27, 27))
        np.testing.assert_array_equal(rows.toarray(), model.weights[items][:, items].toarray())
        assert rows.nnz


def test_other_histories_are_read_with_the_same_weights(terms: Terms) -> None:
    view = terms.view
    turned = Interactions(view.purchases[::-1], view.ages, view.min_count)
    other = terms.over(turned)
    assert [term.name for term in other.terms] == [term.name for term in terms.terms]
    users, items = np.array([0, 7]), np.arange(80)
    linear = other.pairs(len(view.ranks[:0]) + users, items).terms[0]
    model = terms.terms[0]
    assert isinstance(model, ItemWeights)
    torch.testing.assert_close(linear, model.model.score(turned.queries(users, 0.1), items))


def test_a_view_is_fitted_once_for_the_same_sides_and_settings(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []
    real, walk = choose.LinearRows, choose.fit_walk
    monkeypatch.setattr(choose, "LinearRows", lambda *args, **more: fitted.append(1) or real(*args, **more))
    monkeypatch.setattr(choose, "fit_walk", lambda *args, **more: fitted.append(2) or walk(*args, **more))
    catalogue = shop.catalogue()
    sides = [sides_of(catalogue, shop.facts()) for _ in range(2)]
    one = item_weights(catalogue.view(), sides[0], CHOICE)
    again = item_weights(catalogue.view(catalogue.cut_us), sides[1], CHOICE)
    assert [a.model is b.model for a, b in zip(one, again, strict=True)] == [True, True]
    neighbour_weights(catalogue.view(), sides[0], CHOICE, 3)
    assert fitted == [1, 2]
    item_weights(catalogue.view(), sides[0][:1], CHOICE)
    item_weights(catalogue.view(catalogue.select_us - 1), sides[0], CHOICE)
    assert fitted == [1, 2] * 3
    chosen = choose.choose_linear(catalogue, sides[0], shop.task().validation)
    before = len(fitted)
    item_weights(catalogue.view(catalogue.select_us), sides[0], chosen)
    assert len(fitted) == before


def test_beyond_the_limit_sides_and_tables_go_on_and_a_table_stays_as_large(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = shop.catalogue()
    view, sides = catalogue.view(), sides_of(catalogue, shop.facts())
    whole = [term.model for term in item_weights(view, sides, CHOICE)]
    monkeypatch.setattr(choose, "LIMIT", 40)
    tables = neighbour_weights(view, sides, CHOICE, 20)
    assert len(tables) == 2
    for model, table in zip(whole, tables, strict=True):
        weights = model.score(sp.csr_matrix(np.eye(80, dtype=np.float32)), np.arange(80)).numpy().copy()
        np.fill_diagonal(weights, 0)
        held = table.weights.toarray()
        assert (held > 0).sum(0).max() == 10
        np.testing.assert_allclose(held[held > 0], weights[held > 0], rtol=1e-4, atol=1e-7)
        # Those that share most are looked at alone; hardly a strong weight is missed.
        assert held.sum() > 0.98 * np.sort(np.maximum(weights, 0), 0)[-10:].sum()


def test_likely_pairs_share_most_and_a_large_group_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    kinds = np.arange(40) % 8
    histories = sp.csr_matrix((kinds[None] == draw.integers(0, 8, 50)[:, None]).astype(np.float32))
    everything = sp.csr_matrix(np.ones((40, 1), np.float32))
    pairs = likely_pairs(histories, [everything], 4)
    assert (kinds[pairs] == kinds[:, None]).all()
    assert (pairs != np.arange(40)[:, None]).all()
    monkeypatch.setattr(neighbours, "_SHARED", 3)
    bare = likely_pairs(sp.csr_matrix((2, 40)), [everything], 4)
    # Three of the forty were drawn: they have one another, and the rest have none.
    assert sorted((bare >= 0).sum(1)) == [0] * 37 + [2] * 3
    np.testing.assert_array_equal(bare, likely_pairs(sp.csr_matrix((2, 40)), [everything], 4))


def test_a_run_says_where_weights_between_items_are_no_longer_formed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = shop.catalogue()
    for limit, said in ((6000, False), (40, True)):
        monkeypatch.setattr(choose, "LIMIT", limit)
        choose.choose_linear(catalogue, [], shop.task().validation)
        assert ("beyond 40 items" in capsys.readouterr().err) == said
