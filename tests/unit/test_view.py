"""What a model sees of a snapshot, against counts made one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from _shop import Shop
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.distill.view import Family, View, conjunction, fact_families, make_view, user_spectrum

DAY = 86_400_000_000
EVENTS = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.integers(1, 12), max_size=20)


def view_of(events: dict[tuple[int, int], int], until: int, shape: tuple[int, int] = (5, 6)) -> View:
    rows = np.array([u for u, _ in events], np.int64)
    columns = np.array([i for _, i in events], np.int64)
    times = sp.csr_matrix((np.array(list(events.values()), np.int64) * DAY, (rows, columns)), shape=shape)
    bought = times.copy().astype(np.float32)
    bought.data[:] = 1.0
    return make_view(bought, times, until_us=until * DAY, min_count=2)


def family(groups: list[list[int]], width: int, name: str = "F") -> Family:
    dense = np.zeros((len(groups), width), np.float32)
    for item, mine in enumerate(groups):
        dense[item, mine] = 1.0 / max(len(mine), 1)
    return Family(name, sp.csr_matrix(dense))


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 13))
def test_a_view_holds_the_events_strictly_before_its_time_and_their_ages(
    events: dict[tuple[int, int], int], until: int
) -> None:
    view = view_of(events, until)
    want = {pair: until - day for pair, day in events.items() if day < until}
    items, offsets, ages = view.history(np.arange(5))
    owner = np.searchsorted(offsets.numpy(), np.arange(len(items)), side="right") - 1
    got = {(int(u), int(i)): float(a) for u, i, a in zip(owner, items, ages, strict=True)}
    assert got == want
    counts = [sum(i == item for _, i in want) for item in range(6)]
    assert view.counts.tolist() == counts
    assert view.warm.tolist() == [i for i in range(6) if counts[i] >= 2]


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.lists(st.lists(st.integers(0, 2), unique=True), min_size=6, max_size=6))
def test_lift_and_typed_affinity_equal_a_count_by_hand(
    events: dict[tuple[int, int], int], groups: list[list[int]]
) -> None:
    view, kind = view_of(events, 20), family(groups, 3)
    spent = np.zeros((5, 3))
    for user, item in events:
        for group in groups[item]:
            spent[user, group] += 1 / len(groups[item])
    everybody = spent.sum(0) / max(spent.sum(), 1e-9)
    own = spent / np.maximum(spent.sum(1, keepdims=True), 1e-9)
    lift = np.log1p(own / np.maximum(everybody, 1e-9))
    np.testing.assert_allclose(view.lift(kind, np.arange(5)), lift, rtol=1e-4, atol=1e-6)
    typed = view.typed([kind], np.array([3, 0]), np.array([5, 2, 1]))
    want = [[np.mean([lift[u, g] for g in groups[i]] or [0.0]) for i in (5, 2, 1)] for u in (3, 0)]
    np.testing.assert_allclose(typed[..., 0], want, rtol=1e-4, atol=1e-6)


def test_typed_affinities_of_lists_equal_those_of_the_same_pairs(shop: Shop) -> None:
    view, families = shop.catalogue().view(), shop.facts()
    users = np.array([7, 3, 40])
    lists = np.random.default_rng(0).integers(0, 80, (3, 9))
    got = view.typed_lists(families, users, lists)
    for row, user in enumerate(users):
        want = view.typed(families, np.array([user]), lists[row])[0]
        np.testing.assert_allclose(got[row], want, rtol=1e-5, atol=1e-6)
    assert got.std() > 0


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
    shuffled = {f.name: f for f in fact_families(shop.snapshot, shuffle=np.random.default_rng(0))}
    for kind in shop.facts():
        if "&" in kind.name or ">" in kind.name:
            continue
        other = shuffled[kind.name].incidence
        assert (np.diff(kind.incidence.tocsc().indptr) == np.diff(other.tocsc().indptr)).all()
        assert (np.diff(kind.incidence.indptr) == np.diff(other.indptr)).all()
        assert (kind.incidence != other).nnz > 0


def test_the_spectrum_repeats_and_is_orthonormal(shop: Shop) -> None:
    view = shop.catalogue().view()
    one, two = user_spectrum(view, 6), user_spectrum(view, 6)
    assert (one.users == two.users).all()
    np.testing.assert_allclose(one.users.T @ one.users, np.eye(6), atol=1e-5)
    matrix = view.purchases[:, view.warm].toarray()
    assert one.scale == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-5)


def test_rotating_the_spectrum_onto_another_keeps_its_subspace_and_comes_nearer(shop: Shop) -> None:
    catalogue = shop.catalogue()
    basis = user_spectrum(catalogue.view(catalogue.inner_cut(0.2)), 4)
    plain = user_spectrum(catalogue.view(), 4)
    rotated = user_spectrum(catalogue.view(), 4, like=basis)

    def projector(users: Any) -> Any:
        return users @ users.T

    np.testing.assert_allclose(projector(rotated.users), projector(plain.users), atol=1e-5)
    assert np.linalg.norm(rotated.users - basis.users) <= np.linalg.norm(plain.users - basis.users) + 1e-6


def test_a_spectrum_wider_than_the_graph_is_padded_with_zeros() -> None:
    view = view_of({(0, 0): 1, (1, 0): 1, (1, 1): 2, (2, 1): 2, (2, 2): 3, (3, 2): 3}, 9)
    spectrum = user_spectrum(view, 5)
    assert spectrum.users.shape == (5, 5)
    assert np.count_nonzero(np.abs(spectrum.users).sum(0)) == 2
