"""The linear expert against the dense formula, and how its settings are chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.models.terms import linear as linear_form
from kgdistill.models.terms.item_weights import DenseItems, FactorItems, ItemModel
from kgdistill.models.terms.linear import KernelItems, LinearRows, fit_linear, sides_count
from kgdistill.models.terms.neighbours import strongest
from kgdistill.models.terms.walk import KernelWalk, fit_walk
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train import choose as linear_module
from kgdistill.train.choose import (
    LinearChoice,
    choose_linear,
    item_weights,
    linear_of,
    neighbour_weights,
    sides_of,
)

HOUR = 3_600_000_000


def scored(model: ItemModel, histories: Any, items: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return model.score(histories, items).numpy()


def drawn(seed: int, shape: tuple[int, int], share: float = 0.4) -> sp.csr_matrix:
    draw = np.random.default_rng(seed)
    return sp.csr_matrix((draw.random(shape) < share).astype(np.float32))


def side(seed: int, items: int, groups: int) -> sp.csr_matrix:
    """One group per item, by how much differs; some items have none."""
    draw = np.random.default_rng(seed + 99)
    codes = draw.integers(-1, groups, items)
    weights = draw.random((items, 1)) + 0.5
    return sp.csr_matrix(((codes[:, None] == np.arange(groups)) * weights).astype(np.float32))


def dense(
    histories: Any, sides: list[Any], reg: float, weight: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The weights B of EASE over purchases and, below them, a row per feature of the sides."""
    rows = np.asarray(histories.toarray(), np.float64)
    gram = rows.T @ rows + reg * np.eye(rows.shape[1])
    for matrix in sides:
        gram += weight * matrix.toarray().astype(np.float64) @ matrix.toarray().T
    inverse = np.linalg.inv(gram)
    out = inverse / -np.diag(inverse)
    np.fill_diagonal(out, 0)
    return out


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 14),
    items=st.integers(2, 14),
    groups=st.lists(st.integers(1, 3), max_size=2),
    reg=st.floats(0.1, 100),
    weight=st.floats(0.1, 5),
)
def test_scores_equal_the_dense_formula_whichever_matrix_is_the_smaller(
    seed: int, users: int, items: int, groups: list[int], reg: float, weight: float
) -> None:
    histories = drawn(seed, (users, items))
    sides = [side(seed + i, items, g) for i, g in enumerate(groups)]
    model = fit_linear(histories, sides, reg=reg, side_weight=weight)
    want = dense(histories, sides, reg, weight)
    asked = sp.csr_matrix(
        drawn(seed + 1, (5, items)).multiply(np.random.default_rng(seed).random((5, items)))
    )
    got = scored(model, asked, np.arange(items))
    np.testing.assert_allclose(got, asked.toarray() @ want, rtol=1e-3, atol=1e-4)
    # A part of the items, in any order, gets the same scores.
    some = np.random.default_rng(seed).permutation(items)[:3]
    np.testing.assert_allclose(scored(model, asked, some), got[:, some], rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), reg=st.floats(0.5, 50))
def test_both_forms_of_one_model_give_the_same_scores(seed: int, reg: float) -> None:
    # Everything has a buyer.
    histories = sp.csr_matrix(np.maximum(drawn(seed, (9, 7)).toarray(), np.eye(9, 7, dtype=np.float32)))
    primal = fit_linear(histories, [], reg=reg, side_weight=0.0)
    # The same users, thrice as many items of which nobody bought the further ones: with their sides in,
    # rows are fewer than items, and sides of one item each only add to that item's own diagonal.
    wide = sp.csr_matrix(sp.hstack([histories, sp.csr_matrix((9, 14))]))
    lonely = sp.csr_matrix(([1.0], ([20], [0])), shape=(21, 1))
    dual = fit_linear(wide, [lonely], reg=reg, side_weight=1.0)
    assert (type(primal), type(dual)) == (DenseItems, KernelItems)
    asked = drawn(seed + 1, (4, 7))
    padded = sp.csr_matrix(sp.hstack([asked, sp.csr_matrix((4, 14))]))
    np.testing.assert_allclose(
        scored(dual, padded, np.arange(7)), scored(primal, asked, np.arange(7)), rtol=1e-3, atol=1e-4
    )
    assert primal.parameters == 49
    rows = np.count_nonzero(np.diff(histories.indptr)) + 1
    assert dual.parameters == rows**2 + histories.nnz + 1 + 21


@pytest.mark.parametrize("users", [4, 40], ids=["dual", "primal"])
def test_an_item_never_votes_for_itself(users: int) -> None:
    histories = drawn(1, (users, 12))
    model = fit_linear(histories, [side(1, 12, 3)], reg=1.0, side_weight=2.0)
    assert type(model) is (KernelItems if users == 4 else DenseItems)
    alone = sp.csr_matrix(np.eye(12, dtype=np.float32))
    scores = scored(model, alone, np.arange(12))
    np.testing.assert_allclose(np.diag(scores), 0, atol=1e-6)
    assert np.abs(scores).max() > 0.01


@pytest.mark.parametrize("users", [4, 40], ids=["dual", "primal"])
def test_an_item_that_nobody_bought_scores_zero_unless_a_side_tells_of_it(users: int) -> None:
    bought = np.maximum(drawn(2, (users, 12)).toarray(), np.arange(12) % 4 == np.arange(users)[:, None])
    bought[:, [0, 5, 11]] = 0
    histories = sp.csr_matrix(bought.astype(np.float32))
    kinds = sp.csr_matrix((np.arange(12)[:, None] % 2 == np.arange(2)).astype(np.float32))
    asked = sp.csr_matrix(np.ones((1, 12), np.float32))
    bare = fit_linear(histories, [], reg=1.0, side_weight=1.0)
    assert bare.items.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    scores = scored(bare, asked, np.array([11, 3, 0, 5]))[0]
    assert scores[[0, 2, 3]].tolist() == [0, 0, 0]
    assert scores[1] != 0
    assert scored(bare, asked, np.array([0, 11])).tolist() == [[0, 0]]
    told = scored(fit_linear(histories, [kinds], reg=1.0, side_weight=1.0), asked, np.array([0, 5, 11]))
    assert (told > 0.01).all()
    # A weight of 0 leaves the sides out.
    unweighted = fit_linear(histories, [kinds], reg=1.0, side_weight=0.0)
    assert unweighted.items.tolist() == bare.items.tolist()


def test_beyond_the_limit_the_leading_vectors_stand_for_users_and_sides() -> None:
    # More users and more items than the limit, of four tastes: a matrix of few vectors, but for its noise.
    draw = np.random.default_rng(3)
    tastes = (draw.random((40, 4)) < 0.4).astype(float) @ (draw.random((4, 30)) < 0.3)
    histories = sp.csr_matrix((tastes > 0).astype(np.float32))
    sides = [side(3, 30, 3)]
    model = fit_linear(histories, sides, reg=2.0, side_weight=1.0, limit=8)
    assert isinstance(model, FactorItems)
    asked, everything = drawn(4, (5, 30)), np.arange(30)
    # With all vectors kept it is the formula, but for an item's own weight, which is 0 in both.
    want = asked @ dense(histories, sides, 2.0, 1.0)
    np.testing.assert_allclose(scored(model, asked, everything), want, rtol=1e-3, atol=1e-4)
    some = draw.permutation(30)[:7]
    np.testing.assert_allclose(scored(model, asked, some), want[:, some], rtol=1e-3, atol=1e-4)
    table, whole = strongest(model, 30, 30).weights.toarray(), dense(histories, sides, 2.0, 1.0)
    np.testing.assert_allclose(table, np.maximum(whole, 0), rtol=1e-3, atol=1e-4)


def test_fewer_vectors_keep_what_many_buy_together(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    kinds = np.arange(60) // 12
    bought = (kinds[None] == draw.integers(0, 5, 80)[:, None]) * draw.random((80, 60)) > 0.4
    histories = sp.csr_matrix(bought.astype(np.float32))
    monkeypatch.setattr(linear_form, "RANK", 5)
    model = fit_linear(histories, [], reg=5.0, side_weight=0.0, limit=8)
    assert isinstance(model, FactorItems)
    assert model.left.shape == (60, 5)
    weights = scored(model, sp.csr_matrix(np.eye(60, dtype=np.float32)), np.arange(60))
    within = (kinds[:, None] == kinds) & ~np.eye(60, dtype=bool)
    assert weights[within].min() > 5 * np.abs(weights[kinds[:, None] != kinds]).max()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    users=st.integers(1, 12),
    items=st.integers(2, 12),
    groups=st.lists(st.integers(1, 3), max_size=2),
    steps=st.integers(1, 5),
    weight=st.floats(0.1, 2),
)
def test_a_walk_ends_where_its_steps_one_by_one_end(
    seed: int, users: int, items: int, groups: list[int], steps: int, weight: float
) -> None:
    histories = drawn(seed, (users, items))
    sides = [side(seed + i, items, g) for i, g in enumerate(groups)]
    asked = sp.csr_matrix(
        drawn(seed + 1, (4, items)).multiply(np.random.default_rng(seed).random((4, items)))
    )
    for limit in (6000, users, 1):
        # Beyond the limit it goes between the users, without sides, or is a product of factors, which leave
        # out what an item says of itself.
        model = fit_walk(histories, sides, steps=steps, side_weight=weight, limit=limit)
        by_users = users <= limit < items and len(model.items) > limit
        whole = by_users or len(model.items) <= limit
        assert isinstance(model, KernelWalk if by_users else DenseItems if whole else FactorItems)
        rows = histories.toarray().astype(np.float64)
        counted = sides if sides_count(histories, limit) else []
        parts = [(1.0, rows.T), *((weight, s.toarray().astype(np.float64)) for s in counted)]
        degree = sum(w * s.sum(1) for w, s in parts)
        step = sum(w * s / np.maximum(s.sum(0), 1e-9) @ s.T for w, s in parts)
        many = np.linalg.matrix_power(step / np.maximum(degree, 1e-9)[:, None], steps)
        if not whole:
            np.fill_diagonal(many, 0)
        start = asked.toarray()
        if not counted:
            start[:, np.asarray(histories.sum(0)).ravel() == 0] = 0
        want = start / np.maximum(start.sum(1, keepdims=True), 1e-9) @ many
        got = scored(model, asked, np.arange(items))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        some = np.random.default_rng(seed).permutation(items)[:3]
        np.testing.assert_allclose(scored(model, asked, some), got[:, some], rtol=1e-5, atol=1e-6)
        # Nothing is won on the way.
        assert (got.sum(1) <= 1 + 1e-5).all()
        if by_users:
            count = len(model.items)
            every = sp.csr_matrix(np.eye(items, dtype=np.float32)[model.items])
            into = model.into(0, count).numpy()
            np.testing.assert_allclose(into, scored(model, every, model.items), rtol=1e-4, atol=2e-6)


def test_a_walk_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        fit_walk(drawn(0, (3, 3)), [], steps=0)


@pytest.mark.parametrize("users", [4, 40], ids=["dual", "primal"])
@pytest.mark.parametrize("walk", [False, True])
def test_of_every_item_the_strongest_weights_remain(users: int, walk: bool) -> None:
    histories, sides = drawn(5, (users, 12)), [side(5, 12, 3)]
    model = (
        fit_walk(histories, sides, steps=2)
        if walk
        else fit_linear(histories, sides, reg=1.0, side_weight=2.0)
    )
    whole = scored(model, sp.csr_matrix(np.eye(12, dtype=np.float32)), np.arange(12)).copy()
    np.fill_diagonal(whole, 0)
    table = strongest(model, 3, 12)
    kept = table.weights.toarray()
    for item in range(12):
        best = [i for i in np.argsort(-whole[:, item])[:3] if whole[i, item] > 0]
        assert set(np.flatnonzero(kept[:, item])) == set(best)
        np.testing.assert_allclose(kept[best, item], whole[best, item], rtol=1e-6)
    asked = drawn(6, (5, 12))
    want = (asked @ kept)[:, [7, 2]]
    if walk:
        want = want / np.maximum(asked.toarray().sum(1, keepdims=True), 1e-9)
    np.testing.assert_allclose(scored(table, asked, np.array([7, 2])), want, rtol=1e-5)
    assert table.parameters == 2 * np.count_nonzero(kept)


@pytest.mark.parametrize("reg", [0.0, -1.0, float("nan")])
def test_a_ridge_that_is_not_above_zero_is_refused(reg: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        fit_linear(drawn(0, (3, 3)), [], reg=reg, side_weight=1.0)


def catalogue_of(first_at: dict[tuple[int, int], int], shape: tuple[int, int], select: int) -> TrainingData:
    """Purchases by hour; the validation window begins at `select`."""
    rows, columns = (np.array([pair[i] for pair in first_at], np.int64) for i in range(2))
    hours = np.array(list(first_at.values()), np.int64) * HOUR
    times = sp.csr_matrix((hours, (rows, columns)), shape=shape)
    bought = times.astype(np.float32)
    bought.data[:] = 1.0
    return TrainingData(
        purchases=bought, times=times, cut_us=1000 * HOUR, users=np.arange(shape[0]),
        items=np.arange(shape[1]), text_rows=np.arange(shape[1]),
        text=np.zeros((shape[1], 2), np.float32), min_count=1, select_us=select * HOUR, label="Product",
        pools=("all", "cold"),
    )  # fmt: skip


def later(catalogue: TrainingData, pairs: list[tuple[int, int]]) -> sp.csr_matrix:
    rows, columns = zip(*pairs, strict=True)
    return sp.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=catalogue.purchases.shape)


def drifting() -> tuple[TrainingData, sp.csr_matrix]:
    """Sixty users move from one half of the items to the other; only the latest items tell what follows."""
    draw, first_at, follow = np.random.default_rng(0), {}, []
    for user in range(60):
        old, new = draw.permutation(12)[:7], 12 + draw.permutation(12)
        # Half of the users are still in the old half: there the old items lead to each other.
        if user % 2:
            events, after = old[:5], old[5:]
        else:
            events, after = [*old, *new[:2]], new[2:4]
        for hour, item in enumerate(events):
            first_at[user, int(item)] = hour + 1
        follow += [(user, int(item)) for item in after] if not user % 2 else []
    # What the new items share must be known from someone.
    for user in range(60, 90):
        for hour, item in enumerate(12 + draw.permutation(12)[:4]):
            first_at[user, int(item)] = hour + 1
    catalogue = catalogue_of(first_at, (90, 24), select=900)
    return catalogue, later(catalogue, follow)


def quality(catalogue: TrainingData, sides: Any, choice: LinearChoice, validation: Any) -> float:
    """Mean reciprocal rank of the validation items among the unseen ones, by another way than the code's."""
    view = catalogue.view(catalogue.select_us)
    users = np.flatnonzero(np.diff(validation.indptr))
    items = np.arange(catalogue.purchases.shape[1])
    scores = scored(linear_of(view, sides, choice), view.queries(users, choice.decay), items)
    scores[view.purchases[users].toarray() > 0] = -np.inf
    ranks = (-scores).argsort(1, kind="stable").argsort(1)
    return float((1 / (1 + ranks[validation[users].toarray() > 0])).mean())


def test_a_recency_decay_is_chosen_where_the_latest_items_tell_what_follows() -> None:
    catalogue, validation = drifting()
    chosen = choose_linear(catalogue, [], validation, k=3)
    assert chosen.decay > 0
    assert chosen.side_weight == 0
    plain = dataclasses.replace(chosen, decay=0.0)
    assert quality(catalogue, [], chosen, validation) > quality(catalogue, [], plain, validation)


def test_sides_are_chosen_where_they_tell_what_follows_and_left_out_where_they_mislead() -> None:
    # Thirty users buy within their kind of items; each kind has items that nobody bought yet.
    draw, first_at = np.random.default_rng(1), {}
    for user in range(30):
        for hour, item in enumerate(draw.permutation(10)[:4]):
            first_at[user, user % 3 * 15 + int(item)] = hour + 1
    catalogue = catalogue_of(first_at, (30, 45), select=900)
    pairs = [(user, user % 3 * 15 + 10 + int(draw.integers(5))) for user in range(30)]
    kinds = np.arange(45) // 15
    good = sp.csr_matrix((kinds[:, None] == np.arange(3)).astype(np.float32))
    validation = later(catalogue, pairs)
    assert choose_linear(catalogue, [good], validation, k=5).side_weight > 0
    # The same with unbought items in the kinds of others.
    wrong = np.where(np.arange(45) % 15 >= 10, (kinds + 1) % 3, kinds)
    bad = sp.csr_matrix((wrong[:, None] == np.arange(3)).astype(np.float32))
    seen = [(user, user % 3 * 15 + int(i)) for user in range(30) for i in range(10)]
    rest = later(catalogue, [pair for pair in seen if pair not in first_at])
    misled = choose_linear(catalogue, [bad], rest, k=5)
    assert quality(catalogue, [bad], misled, rest) >= max(
        quality(catalogue, [bad], dataclasses.replace(misled, side_weight=w), rest) for w in (0.0, 3.0)
    ) - 0.02  # fmt: skip


def test_choosing_sees_nothing_at_or_after_the_moment_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    first_at = {
        (int(u), int(i)): int(draw.integers(1, 1000)) for u, i in draw.integers(0, (40, 20), (400, 2))
    }
    first_at[0, 0] = 600
    known: list[Any] = []

    def spy(histories: Any, *args: Any, **more: Any) -> Any:
        known.append(histories)
        return LinearRows(histories, *args, **more)

    monkeypatch.setattr(linear_module, "LinearRows", spy)
    whole = catalogue_of(first_at, (40, 20), select=600)
    validation = later(whole, [pair for pair, hour in first_at.items() if hour >= 600])
    chosen = choose_linear(whole, [side(1, 20, 3)], validation)
    assert len(known) == 3
    for histories in known:
        assert histories.nnz == sum(hour < 600 for hour in first_at.values())
        assert histories[0, 0] == 0
    # The same without any of it in the catalogue.
    early = catalogue_of({pair: hour for pair, hour in first_at.items() if hour < 600}, (40, 20), select=600)
    assert choose_linear(early, [side(1, 20, 3)], validation) == chosen
    nothing = sp.csr_matrix((40, 20))
    assert choose_linear(whole, [], nothing) == LinearChoice()


def test_two_items_are_alike_by_their_small_groups_their_words_by_half_and_by_no_pair_of_facts() -> None:
    groups = sp.csr_matrix(np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], np.float32))
    both = sp.csr_matrix(np.array([[0.5, 0.5], [1, 0], [0, 1], [0, 0], [0, 0]], np.float32))
    families = [
        ItemGroups("MADE_BY", groups),
        ItemGroups("IN > parent", both, "above"),
        ItemGroups("MADE_BY & IN", groups, "pair"),
    ]
    words = sp.csr_matrix(np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0], [0, 0]], np.float32))
    bare = catalogue_of({(0, 0): 1}, (1, 5), select=900)
    plain = sides_of(bare, families)
    assert len(plain) == 2
    alike = plain[0] @ plain[0].T
    # A group of three counts a third; in it every pair is as alike.
    np.testing.assert_allclose(alike.toarray()[:3, :3], 1 / 3, rtol=1e-5)
    assert alike[3, 3] == 1
    assert alike[4].nnz == alike[0, 3] == 0
    np.testing.assert_allclose((plain[1] @ plain[1].T).toarray()[0, 1:3], [0.25, 0.25], rtol=1e-5)
    told = sides_of(dataclasses.replace(bare, words=words), families)
    assert len(told) == 3
    np.testing.assert_allclose((told[2] @ told[2].T).toarray(), 0.5 * (words @ words.T).toarray(), rtol=1e-5)
    assert sides_of(bare, []) == []


def test_words_weigh_by_rarity_count_once_and_have_unit_length() -> None:
    # Two texts, the first of two items: word 0 is everywhere, 1 in the first text, 2 twice in the second.
    tokens = Tokens.of([[0, 1], [2, 0, 2, 3], []], 5)
    words = tokens.weighted(np.array([0, 0, 1, 2])).toarray()
    once, twice = np.log(4 / 3), np.log(4 / 2)
    first = np.array([once, twice, 0, 0, 0])
    second = np.array([once, 0, np.log(4), np.log(4), 0])
    want = [first / np.linalg.norm(first), first / np.linalg.norm(first), second / np.linalg.norm(second)]
    np.testing.assert_allclose(words, [*want, np.zeros(5)], rtol=1e-5)


def test_where_the_items_alone_are_more_than_the_limit_a_product_stands_for_every_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("kgdistill.train.choose", "kgdistill.models.terms.linear"):
        monkeypatch.setattr(f"{module}.LIMIT", 20)
    monkeypatch.setattr("kgdistill.train.choose.sides_count", lambda h: sides_count(h, 20))
    for users, tables in ((15, 0), (30, 1)):
        view = catalogue_of(
            {(u, i): 10 + u for u in range(users) for i in range(u, u + 4)}, (users, 40), 900
        ).view()
        choice = LinearChoice(reg=1.0, side_weight=0.0)
        assert len(neighbour_weights(view, [], choice, 3)) == tables
        assert neighbour_weights(view, [], choice, 0, 40) == ()
        (kept,) = neighbour_weights(view, [], choice, 3, 40)
        assert (kept.weights.nnz > 0) == bool(tables)
        (often,) = neighbour_weights(view, [], choice, 3, 40, rank_items=7)
        counts = view.counts.tolist()
        assert often.factored.tolist() == sorted(sorted(range(40), key=lambda i: (-counts[i], i))[:7])
        assert len(kept.factored) == (view.counts > 0).sum()
        (whole,) = item_weights(view, [], choice)
        asked, items = view.purchases[:users:3], np.arange(5, 35)
        # Of items that a user has the whole model says something, too, of which a ranking has no need.
        new = torch.from_numpy(asked[:, items].toarray() == 0)
        want, found = whole.model.score(asked, items)[new], kept.score(asked, items)[new]
        assert want.abs().max() > 0.05
        torch.testing.assert_close(found, want, rtol=0, atol=2e-3)
