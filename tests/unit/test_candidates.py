"""The best items of a large catalogue are those of a small one, found among a shortlist."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _shop import Shop
from _train import train_teacher
from torch.overrides import TorchFunctionMode

from kgdistill.config import TeacherConfig
from kgdistill.models import candidates
from kgdistill.models.candidates import Shortlist, best_unseen
from kgdistill.models.scorer import Scorer, terms_of
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.terms import linear, walk
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.train import lists
from kgdistill.train.choose import LinearChoice, item_weights, neighbour_weights
from kgdistill.train.lists import learners
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scorer(shop: Shop) -> Scorer:
    catalogue = shop.catalogue()
    trained = train_teacher(
        catalogue, shop.facts(), TeacherConfig(dim=6, layers=2, epochs=2, candidates=10, graph_steps=20),
        device=CPU, seed=0, validate=lambda scorer: {"x": 0.0},
        linear=LinearChoice(reg=5.0, side_weight=1.0, walk=2),
    )  # fmt: skip
    return teacher_scorer(trained, catalogue, catalogue.view(), CPU)


def test_a_shortlist_of_everything_has_the_same_best(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    users, pool, bought = np.arange(60), np.arange(2, 79), scorer.view.purchases
    monkeypatch.setattr(candidates, "_CHUNK", 17)
    exact = best_unseen(scorer, scorer.view, users, pool, 9).numpy()
    monkeypatch.setattr(candidates, "LARGE", 50)
    short = best_unseen(scorer, scorer.view, users, pool, 9).numpy()
    scores = scorer(users, np.arange(80))
    scores[bought.toarray() > 0] = -np.inf
    for row in range(60):
        # Equal scores may change places.
        np.testing.assert_allclose(
            np.sort(scores[row, short[row]]), np.sort(scores[row, exact[row]]), rtol=1e-5, atol=1e-6
        )
        assert len(set(short[row])) == 9
        assert not set(short[row]) & set(bought[[row]].indices)


def test_a_shortlist_names_the_near_the_linked_the_popular_and_the_groups_own(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("_NEAR", 4), ("_LINKED", 3), ("_POPULAR", 2), ("_GROUPS", 1), ("_MEMBERS", 2)):
        monkeypatch.setattr(candidates, name, most)
    users, pool = np.array([3, 41]), np.arange(5, 80)
    places, scores = (part.numpy() for part in Shortlist(scorer, pool)(users))
    exact = scorer.lists(users, pool[places])
    finite = np.isfinite(scores)
    np.testing.assert_allclose(scores[finite], exact[finite], rtol=1e-5, atol=1e-5)
    near = (scorer.user_vectors(users) @ scorer.vectors[pool].T).argsort(1, descending=True)[:, :4].numpy()
    linked = scorer.terms.terms[0].pairs(users, pool).argsort(1, descending=True)[:, :3].numpy()
    popular = np.argsort(-scorer.view.recent[pool], kind="stable")[:2]
    facts = scorer.terms.terms[4:]
    for row, user in enumerate(users):
        named = places[row, finite[row]]
        assert len(set(named)) == len(named) < 40
        assert set(near[row]) | set(linked[row]) | set(popular) <= set(named)
        for term in facts[:1]:
            said = term.pairs(np.array([user]), pool)[0].numpy()  # type: ignore[attr-defined]
            best = np.flatnonzero(said == said.max())
            most = best[np.argsort(-scorer.view.recent[pool[best]], kind="stable")[:2]]
            assert set(most) & set(named)


def test_of_many_users_some_who_have_labels_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = sp.csr_matrix((np.arange(12)[:, None] % 3 == 0).astype(np.float32))
    users = np.array([0, 1, 2, 3, 6, 9])
    assert learners(users, labels).tolist() == users.tolist()
    monkeypatch.setattr(lists, "MANY", 5)
    assert learners(users, labels).tolist() == [0, 3, 6, 9]
    monkeypatch.setattr(lists, "MANY", 3)
    assert learners(users, labels).tolist() == [0, 6]


class Largest(TorchFunctionMode):
    """The most numbers in any tensor that was made meanwhile."""

    most = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.layout == torch.strided:
            self.most = max(self.most, out.numel())
        return out


def test_thirty_thousand_items_are_never_held_against_one_another_nor_against_all_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items, users, draw = 30_000, 7000, np.random.default_rng(0)
    pairs = np.unique(np.repeat(np.arange(users), 6) * items + draw.integers(0, items, 6 * users))
    at = np.divmod(pairs, items)
    bought = sp.csr_matrix((np.ones(len(pairs), np.float32), at), shape=(users, items))
    view = Interactions(bought, np.ones(len(pairs), np.float32), 2)
    kinds = sp.csr_matrix((np.ones(items, np.float32), (np.arange(items), np.arange(items) % 300)))
    family = ItemGroups("KIND", kinds)
    for form in (linear, walk):
        monkeypatch.setattr(form, "RANK", 8)
    choice = LinearChoice(reg=10.0, side_weight=1.0, walk=2)
    tracemalloc.start()
    with Largest() as largest:
        weights = item_weights(view, [kinds], choice)
        tables = neighbour_weights(view, [kinds], choice, 20)
        terms = terms_of(view, [family], weights, device=CPU)
        model = Student(StudentShape(vocabulary=2, warm_items=1, dim=8, units=terms.units, min_count=2))
        scorer = Scorer(model, terms, torch.randn(items, 8))
        best = best_unseen(scorer, view, np.arange(100), np.arange(items), 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert best.shape == (100, 20)
    assert max(table.weights.nnz for table in tables) <= 8 * items
    block = 512 * items
    assert largest.most <= block
    assert peak <= 8 * block
