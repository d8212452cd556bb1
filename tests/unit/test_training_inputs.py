"""No input of training knows the labels: worlds that differ from the inner cut on give it the same arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from _planted import Planted, late_world
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.blend import Blend, HistoryModel
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.targets import Targets

CPU = torch.device("cpu")
SHARE = 0.1
LINEAR = LinearChoice(reg=5.0, side_weight=1.0, decay=0.05, walk=2)
WHOLE: dict[str, Any] = {"batch": 25, "candidates": 1000, "random": 0, "epochs": 2, "evaluate_every": 2}
POOL = 30
"""Items with enough buyers, which are all: how wide a list with labels is."""
Seen = dict[str, list[Any]]
OF_TERMS = {"probability": "affinities", "count": "popularity", "score": "groups"}
"""What terms of a unit are called here."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Planted]:
    """`one` and `other` differ from the inner cut on, and `before` differs from both before it."""
    folder = tmp_path_factory.mktemp("late")
    made = {"one": late_world(), "other": late_world(5), "before": late_world(early=1)}
    planted = {name: world.planted(folder / name) for name, world in made.items()}
    for one in planted.values():
        catalogue = one.catalogue()
        late = catalogue.times.data >= catalogue.inner_cut(SHARE)
        assert late.sum() == 60
        assert (catalogue.view(catalogue.inner_cut(SHARE)).counts >= 3).all()
    return planted


def record(monkeypatch: pytest.MonkeyPatch, train: Callable[[], Any]) -> Seen:
    """What passes into a model where it learns; the real methods run."""
    seen: Seen = {}
    last: dict[str, Any] = {}

    def note(**arrays: Any) -> None:
        for name, array in arrays.items():
            seen.setdefault(name, []).append(torch.as_tensor(array).detach().numpy().copy())

    users, blend = HistoryModel.users, Blend.forward

    def spy_users(self: Any, vectors: Any, counts: Any, history: Any, offsets: Any, ranks: Any) -> Any:
        last.update(history=history, offsets=offsets, ranks=ranks, buyers=counts, vectors=vectors)
        return users(self, vectors, counts, history, offsets, ranks)

    def spy_blend(self: Any, affinity: Any, evidence: Any, min_count: int) -> Any:
        # Lists with labels are as wide as the pool; those of a teacher are not.
        if torch.is_grad_enabled() and affinity.shape[1] == POOL:
            note(**last, counts=evidence.counts, lengths=evidence.lengths)
            for unit, name in OF_TERMS.items():
                given = zip(self.units, evidence.terms, strict=True)
                terms = [term for of, term in given if of == unit]
                note(**{name: torch.stack(terms, -1) if terms else torch.empty(*affinity.shape, 0)})
        return blend(self, affinity, evidence, min_count)

    with monkeypatch.context() as patch:
        patch.setattr(HistoryModel, "users", spy_users)
        patch.setattr(Blend, "forward", spy_blend)
        trained = train()
    seen["scales"] = [trained.model.blend.typed_scale.numpy()]
    assert len(seen["history"]) >= 2 * 3
    return seen


@pytest.fixture(scope="module")
def teachers(worlds: dict[str, Planted]) -> dict[str, Seen]:
    config = TeacherConfig(dim=8, layers=3, inner_share=SHARE, graph_steps=20, **WHOLE)

    def train(planted: Planted) -> Any:
        return train_teacher(
            planted.catalogue(), planted.facts(), config, device=CPU, seed=0, linear=LINEAR,
            validate=lambda scorer: {"constant": 0.0},
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        return {name: record(patch, lambda one=one: train(one)) for name, one in worlds.items()}


@pytest.fixture(scope="module")
def students(worlds: dict[str, Planted]) -> dict[str, Seen]:
    return _students(worlds, distilled=False)


@pytest.fixture(scope="module")
def distilled(worlds: dict[str, Planted]) -> dict[str, Seen]:
    return _students(worlds, distilled=True)


def _students(worlds: dict[str, Planted], *, distilled: bool) -> dict[str, Seen]:
    config = StudentConfig(id_dropout=0, task_weight=0.65, **WHOLE)

    def train(planted: Planted) -> Any:
        catalogue = planted.catalogue()
        draw = np.random.default_rng(0)
        items = np.stack([draw.choice(30, 7, replace=False) for _ in catalogue.users])
        targets = Targets(
            catalogue.users, items, draw.normal(size=items.shape).astype(np.float32), (7,),
            draw.normal(size=(30, 8)).astype(np.float32),
        )  # fmt: skip
        return train_student(
            catalogue, planted.facts(), planted.tokens, (lambda until_us: targets) if distilled else None,
            config, dim=8, inner_share=SHARE, device=CPU, seed=0, linear=LINEAR,
            sides=sides_of(catalogue, planted.facts()), validate=lambda scorer: {"constant": 0.0},
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        return {name: record(patch, lambda one=one: train(one)) for name, one in worlds.items()}


def assert_blind(seen: dict[str, Seen], name: str, *, shows: bool = True) -> None:
    """The input is the same whatever happens late; the spy is not blind: it shows what happens before."""
    one, other, before = (seen[world][name] for world in ("one", "other", "before"))
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)
    if shows:
        assert any(a.shape != b.shape or (a != b).any() for a, b in zip(one, before, strict=False))


@pytest.mark.parametrize(
    "name",
    [
        "vectors", "buyers", "history", "ranks", "counts", "popularity", "groups", "affinities",
        "scales",
    ],
)  # fmt: skip
def test_an_input_of_the_teacher_knows_nothing_from_the_inner_cut_on(
    teachers: dict[str, Seen], name: str
) -> None:
    assert_blind(teachers, name)


@pytest.mark.parametrize("name", ["offsets", "lengths"])
def test_lengths_of_the_teacher_are_those_before_the_inner_cut(teachers: dict[str, Seen], name: str) -> None:
    # They are the same in every world; what they must be is known.
    assert_blind(teachers, name, shows=False)
    want: dict[str, Any] = {"offsets": 9 * np.arange(25), "lengths": np.log1p(9)}
    np.testing.assert_allclose(teachers["one"][name][0], want[name], rtol=1e-6)


@pytest.mark.parametrize("name", ["buyers", "history", "ranks", "counts", "popularity", "groups", "scales"])
@pytest.mark.parametrize("kind", ["students", "distilled"])
def test_an_input_of_the_students_task_knows_nothing_from_the_inner_cut_on(
    request: pytest.FixtureRequest, kind: str, name: str
) -> None:
    assert_blind(request.getfixturevalue(kind), name)


@pytest.mark.parametrize("kind", ["students", "distilled"])
def test_lengths_of_the_students_task_are_those_before_the_inner_cut(
    request: pytest.FixtureRequest, kind: str
) -> None:
    seen = request.getfixturevalue(kind)
    np.testing.assert_allclose(seen["one"]["lengths"][0], np.log1p(9), rtol=1e-6)
    np.testing.assert_array_equal(seen["one"]["offsets"][0], 9 * np.arange(25))


@pytest.mark.parametrize("kind", ["students", "distilled"])
def test_the_linear_experts_of_the_students_task_know_nothing_from_the_inner_cut_on(
    request: pytest.FixtureRequest, kind: str
) -> None:
    seen = request.getfixturevalue(kind)
    assert_blind(seen, "affinities")
    assert seen["one"]["affinities"][0].shape[-1] == 2
