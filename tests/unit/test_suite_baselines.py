"""The peers against their definitions, written out as loops."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from bench import baselines
from bench.baselines import content, neighbours
from bench.baselines.lightgcn import normalised_adjacency, propagate
from bench.baselines.recbole import write_atomic
from kgdistill.errors import InputError, ToolMissingError
from kgdistill.models.terms import linear
from kgdistill.tasks.match import Scorer

DAY = 86_400_000_000
USERS, ITEMS, GROUPS = 7, 11, 4
histories = arrays(np.bool_, (USERS, ITEMS))
memberships = arrays(np.bool_, (ITEMS, GROUPS))


def csr(cells: Any) -> csr_array:
    return csr_array(np.asarray(cells, dtype=np.float32))


def everything(scorer: Scorer, users: int = USERS, items: int = ITEMS) -> np.ndarray[Any, Any]:
    """All scores, after proof that a part of them does not depend on what else is asked."""
    whole = scorer(np.arange(users), np.arange(items))
    assert whole.shape == (users, items)
    assert whole.dtype == np.float32
    some, among = np.array([users - 1, 0, 2]), np.arange(1, items, 3)
    np.testing.assert_allclose(scorer(some, among), whole[np.ix_(some, among)], rtol=1e-5, atol=1e-6)
    assert scorer(some, among[:0]).shape == (3, 0)
    return np.asarray(whole)


@pytest.mark.parametrize(("users", "items"), [(9, 30), (30, 9)], ids=["dual", "primal"])
def test_ease_is_the_regression_with_a_zero_diagonal(
    users: int, items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_BLOCK", 7)
    x = np.random.default_rng(3).random((users, items)) < 0.4
    x[2], x[:, 4] = False, False
    dense, weights = x.astype(float), np.zeros((items, items))
    for j in range(items):
        rest = np.delete(dense, j, axis=1)
        gram = rest.T @ rest + 5.0 * np.eye(items - 1)
        weights[np.arange(items) != j, j] = np.linalg.solve(gram, rest.T @ dense[:, j])
    found = everything(baselines.ease(csr(x), reg=5.0), users, items)
    np.testing.assert_allclose(found, dense @ weights, atol=1e-5)
    hidden = everything(baselines.ease(csr(x), reg=5.0, unknown="-inf"), users, items)
    np.testing.assert_array_equal(hidden, np.where(x.any(axis=0), found, -np.inf))


@settings(max_examples=30)
@given(x=histories, most=st.integers(1, ITEMS + 2), shrink=st.sampled_from([0.0, 2.5]))
def test_item_knn_adds_up_the_nearest_items_cosines(x: Any, most: int, shrink: float) -> None:
    want = np.zeros(x.shape)
    for i in range(ITEMS):
        alike = []
        for j in range(ITEMS):
            both = int((x[:, i] & x[:, j]).sum())
            if j != i and both:
                value = both / (sqrt(int(x[:, i].sum()) * int(x[:, j].sum())) + shrink)
                alike.append((np.float32(value), -j))
        for value, other in sorted(alike, reverse=True)[:most]:
            want[:, i] += value * x[:, -other]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK_ITEMS", 4)
        found = everything(baselines.item_knn(csr(x), neighbours=most, shrink=shrink))
    np.testing.assert_allclose(found, want, atol=1e-5)


@settings(max_examples=30)
@given(x=histories, alpha=st.sampled_from([0.5, 1.0]), beta=st.sampled_from([0.0, 0.6]))
def test_rp3beta_walks_three_steps(x: Any, alpha: float, beta: float) -> None:
    want = np.zeros(x.shape)
    mine, buyers = x.sum(axis=1), x.sum(axis=0)
    for u in range(USERS):
        for i in np.flatnonzero(x[u]):
            for v in np.flatnonzero(x[:, i]):
                for j in np.flatnonzero(x[v]):
                    walk = (1 / mine[u]) ** alpha * (1 / buyers[i]) ** alpha * (1 / mine[v]) ** alpha
                    want[u, j] += walk / buyers[j] ** beta
    found = everything(baselines.rp3beta(csr(x), alpha=alpha, beta=beta))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    # All neighbours kept: the same, but for walks that come back to the item they left by.
    kept = everything(baselines.rp3beta(csr(x), alpha=alpha, beta=beta, neighbours=ITEMS))
    np.testing.assert_allclose(kept[~x], want[~x], rtol=1e-4, atol=1e-6)


def test_rp3beta_keeps_an_items_best_ends() -> None:
    # From item 0 one buyer reaches 1, two reach 2: with one neighbour only 2 is left.
    x = csr([[1, 0, 0], [1, 1, 1], [1, 0, 1]])
    scores = baselines.rp3beta(x, alpha=1.0, beta=0.0, neighbours=1)(np.array([0]), np.arange(3))
    np.testing.assert_allclose(scores, [[0, 0, (1 / 3) * (1 / 3 + 1 / 2)]], rtol=1e-6)


@settings(max_examples=30)
@given(x=histories, groups=memberships, power=st.sampled_from([0.0, 0.5]), shrink=st.sampled_from([0.0, 2.0]))
def test_category_popularity_is_the_personal_share_over_everybodys(
    x: Any, groups: Any, power: float, shrink: float
) -> None:
    def shares(rows: Any) -> dict[int, float]:
        bought: Counter[int] = Counter()
        for i in [i for row in rows for i in np.flatnonzero(row)]:
            for g in np.flatnonzero(groups[i]):
                bought[g] += 1 / groups[i].sum()
        return {g: n / sum(bought.values()) for g, n in bought.items()}

    everybody, want = shares(x), np.zeros(x.shape)
    for u in range(USERS):
        mine = shares(x[u : u + 1])
        for i in range(ITEMS):
            lifts = [
                mine.get(g, 0) / everybody[g] if g in everybody else 0 for g in np.flatnonzero(groups[i])
            ]
            lift, many = float(np.mean(lifts)) if lifts else 0.0, int(x[u].sum())
            if shrink:
                lift = (many * lift + shrink) / (many + shrink)
            want[u, i] = lift * (1 + x[:, i].sum()) ** power
    found = everything(baselines.category_popularity(csr(x), csr(groups), popularity=power, shrink=shrink))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


@settings(max_examples=30)
@given(x=histories, groups=memberships)
def test_brand_knn_is_the_share_of_purchases_and_metadata_knn_a_cosine(x: Any, groups: Any) -> None:
    branded = groups.copy()
    branded[branded.sum(axis=1) > 1] = [True, False, False, False]
    want, cosine = np.zeros(x.shape), np.zeros(x.shape)
    weight = np.log(ITEMS / np.maximum(groups.sum(axis=0), 1)) * groups
    length = np.linalg.norm(weight, axis=1, keepdims=True)
    unit = np.divide(weight, length, out=np.zeros_like(weight), where=length > 0)
    for u in range(USERS):
        mine = [i for i in np.flatnonzero(x[u]) if branded[i].any()]
        for i in range(ITEMS):
            if mine and branded[i].any():
                want[u, i] = np.mean([(branded[i] == branded[j]).all() for j in mine])
            cosine[u, i] = sum(unit[i] @ unit[j] for j in np.flatnonzero(x[u]))
    np.testing.assert_allclose(everything(baselines.group_knn(csr(x), csr(branded))), want, atol=1e-6)
    np.testing.assert_allclose(everything(baselines.metadata_knn(csr(x), csr(groups))), cosine, atol=1e-5)


@pytest.mark.parametrize("power", [1, 3])
def test_text_knn_is_the_weighted_mean_of_cosines_to_a_power(
    power: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_BLOCK_ITEMS", 4)
    draw = np.random.default_rng(5)
    x, vectors = draw.random((USERS, ITEMS)) < 0.3, draw.normal(size=(ITEMS, 3)).astype(np.float32)
    x[1], vectors[4] = False, 0
    history = csr(x)
    weights = draw.random(history.nnz).astype(np.float32)
    for recency in (None, weights):
        want, at = np.zeros(x.shape), 0
        for u in range(USERS):
            total = 0.0
            for i in np.flatnonzero(x[u]):
                weight = 1.0 if recency is None else recency[at]
                at, total = at + 1, total + weight
                for j in range(ITEMS):
                    below = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
                    cosine = vectors[i] @ vectors[j] / below if below else 0.0
                    want[u, j] += weight * (cosine if power == 1 else max(cosine, 0.0) ** power)
            want[u] /= total or 1.0
        found = everything(baselines.text_knn(history, vectors, recency=recency, power=power))
        np.testing.assert_allclose(found, want, atol=1e-5)


def test_popularity_counts_users_and_recent_popularity_halves_with_age() -> None:
    history = csr([[1, 1, 0], [1, 0, 0]])
    times = np.array([0, 10 * DAY, 20 * DAY])
    assert baselines.popularity(history)(np.arange(2), np.arange(3)).tolist() == [[2, 1, 0]] * 2
    scores = baselines.recent_popularity(history, times, until_us=20 * DAY, half_life_days=10.0)
    np.testing.assert_allclose(scores(np.array([1]), np.arange(3)), [[0.25 + 1, 0.5, 0]])
    with pytest.raises(InputError, match="1 pairs come after"):
        baselines.recent_popularity(history, times, until_us=19 * DAY)
    with pytest.raises(InputError, match="one for each is needed"):
        baselines.recent_popularity(history, times[1:], until_us=20 * DAY)


def test_lightgcn_propagates_as_pyg_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of PyG's own use of torch.jit
        from torch_geometric.nn import LightGCN

    x = np.random.default_rng(1).random((5, 6)) < 0.5
    reference = LightGCN(num_nodes=11, embedding_dim=4, num_layers=3)
    users, items = (torch.from_numpy(i) for i in np.nonzero(x))
    edges = torch.stack([torch.cat([users, items + 5]), torch.cat([items + 5, users])])
    table = reference.embedding.weight
    found = propagate(table, normalised_adjacency(csr(x)), 3)
    torch.testing.assert_close(found, reference.get_embedding(edges))
    upstream = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
    ours, theirs = (
        torch.autograd.grad(out, table, upstream)[0] for out in (found, reference.get_embedding(edges))
    )
    torch.testing.assert_close(ours, theirs)


def _two_tastes() -> np.ndarray[Any, Any]:
    """Users and items of two kinds, each with most of its own kind; one user and one item with nothing."""
    x = np.zeros((21, 17), dtype=bool)
    x[:10, :8], x[10:20, 8:16] = True, True
    return x & (np.random.default_rng(2).random(x.shape) < 0.6)


@pytest.mark.parametrize("name", ["lightgcn", "implicit_als", "implicit_bpr"])
def test_a_learned_peer_tells_two_tastes_apart_and_repeats_itself(name: str) -> None:
    if name != "lightgcn":
        pytest.importorskip("implicit", reason="the extra bench is not installed")
    x = _two_tastes()

    def fit(unknown: baselines.Unknown) -> np.ndarray[Any, Any]:
        history = csr(x)
        if name == "lightgcn":
            scorer = baselines.lightgcn(history, dim=8, layers=2, epochs=40, lr=0.05, unknown=unknown)
        elif name == "implicit_als":
            scorer = baselines.implicit_als(history, factors=4, regularization=1.0, unknown=unknown)
        else:
            scorer = baselines.implicit_bpr(history, factors=4, regularization=0.001, unknown=unknown)
        return everything(scorer, 21, 17)

    scores, hidden = fit("0"), fit("-inf")
    assert scores[:10, :8].min(axis=1).mean() > scores[:10, 8:16].max(axis=1).mean()
    assert scores[10:20, 8:16].min(axis=1).mean() > scores[10:20, :8].max(axis=1).mean()
    assert not scores[20].any()
    assert not scores[:, 16].any()
    assert (hidden[:, 16] == -np.inf).all()
    np.testing.assert_array_equal(hidden[:, :16], scores[:, :16])


def test_lightgcn_stops_when_it_is_told_to() -> None:
    asked: list[int] = []

    def watch(epoch: int, scorer: Scorer) -> bool:
        assert np.isfinite(scorer(np.arange(2), np.arange(3))).all()
        asked.append(epoch)
        return epoch == 4

    baselines.lightgcn(csr(_two_tastes()), dim=4, epochs=50, watch=watch, watch_every=2)
    assert asked == [2, 4]


def test_users_without_history_get_the_fallback_alone() -> None:
    history = csr([[1, 0, 1], [0, 0, 0], [1, 0, 0]])
    scorer = baselines.with_fallback(
        baselines.group_knn(history, csr(np.eye(3))), history, baselines.popularity(history)
    )
    scores = scorer(np.arange(3), np.arange(3))
    assert scores.tolist() == [[0.5, 0, 0.5], [2, 0, 1], [1, 0, 0]]
    assert scorer(np.array([1]), np.array([2])).tolist() == [[1]]


def _table(values: Any) -> Scorer:
    cells = np.asarray(values, dtype=np.float32)
    return lambda users, candidates: cells[np.ix_(users, candidates)]


def test_blend_adds_standardised_scores_and_keeps_what_is_never_shown() -> None:
    rows = np.array([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0], [1.0, -np.inf, 3.0]])
    alike = np.array([[0.1] * 3] * 3)
    blended = baselines.blend({"a": _table(rows), "b": _table(alike)}, {"a": 2.0, "b": 1.0})
    want = np.zeros((3, 3))
    want[0] = 2 * (rows[0] - rows[0].mean()) / rows[0].std()
    want[2] = [-2, -np.inf, 2]
    np.testing.assert_allclose(blended(np.arange(3), np.arange(3)), want, rtol=1e-6)


def test_the_tuned_blend_finds_the_experts_that_help() -> None:
    draw = np.random.default_rng(7)
    truth = draw.normal(size=(30, 40))
    parts = {
        "left": _table(truth + draw.normal(size=truth.shape)),
        "noise": _table(draw.normal(size=truth.shape)),
        "right": _table(truth + draw.normal(size=truth.shape)),
    }
    asked = np.arange(30), np.arange(40)
    calls: Counter[str] = Counter()

    def counted(name: str) -> Scorer:
        def score(users: Any, candidates: Any) -> Any:
            calls[name] += 1
            return parts[name](users, candidates)

        return score

    def validate(scorer: Scorer) -> float:
        return float(np.corrcoef(scorer(*asked).ravel(), truth.ravel())[0, 1])

    experts = {name: counted(name) for name in parts}
    weights, blended = baselines.tuned_blend(experts, validate)
    assert calls == dict.fromkeys(parts, 1)
    assert list(weights) == list(parts)
    assert weights["noise"] <= 0.1
    assert min(weights["left"], weights["right"]) >= 0.5
    assert max(weights.values()) == 1.0
    assert validate(blended) > max(map(validate, parts.values())) + 0.05
    assert baselines.tuned_blend(parts, validate)[0] == weights


@pytest.mark.parametrize("bad", ["reg", "alpha", "beta", "neighbours", "groups", "vectors", "weights"])
def test_a_peer_refuses_what_makes_no_sense(bad: str) -> None:
    x = csr(np.eye(3))
    tries = {
        "reg": lambda: baselines.ease(x, reg=0.0),
        "alpha": lambda: baselines.rp3beta(x, alpha=0.0),
        "beta": lambda: baselines.rp3beta(x, beta=-1.0),
        "neighbours": lambda: baselines.item_knn(x, neighbours=0),
        "groups": lambda: baselines.group_knn(x, csr(np.eye(2))),
        "vectors": lambda: baselines.text_knn(x, np.ones((2, 4), np.float32)),
        "weights": lambda: baselines.blend({"a": baselines.popularity(x)}, {"a": 0.0}),
    }
    with pytest.raises(InputError, match=f"{bad}|one of them above 0"):
        tries[bad]()


def test_recbole_gets_every_pair_and_every_item_a_fact(tmp_path: Path) -> None:
    history = csr([[1, 0, 1], [0, 0, 1]])
    brand, size = csr([[0, 1], [1, 0], [0, 0]]), csr([[1], [0], [0]])
    write_atomic(tmp_path, history, {"brand": brand, "size": size})
    lines = {path.name: path.read_text().splitlines() for path in tmp_path.iterdir()}
    assert lines == {
        "data.inter": ["user_id:token\titem_id:token", "0\t0", "0\t2", "1\t2"],
        "data.kg": [
            "head_id:token\trelation_id:token\ttail_id:token",
            "i0\tbrand\tbrand:1",
            "i1\tbrand\tbrand:0",
            "i0\tsize\tsize:0",
            "i2\tnone\tnone:2",
        ],
        "data.link": ["item_id:token\tentity_id:token", "0\ti0", "1\ti1", "2\ti2"],
    }


def test_an_environment_that_cannot_be_made_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(ToolMissingError, match=r"RecBole's environment cannot be made: .*no-python"):
        baselines.recbole(csr(np.eye(3)), workdir=tmp_path / "work")
    assert list((tmp_path / "kgdistill").iterdir()) == []
    with pytest.raises(InputError, match="learns from facts and got none"):
        baselines.recbole(csr(np.eye(3)), model="KGAT", workdir=tmp_path)
