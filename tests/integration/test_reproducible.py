"""The same seed gives the same bits, on several threads too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from _planted import Planted, kind_world
from _train import KilledError, Memory, train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")
# Steps of so many pairs that threads share their work.
LARGE: dict[str, Any] = {"batch": 80, "candidates": 60, "random": 10, "epochs": 10, "evaluate_every": 10}
GRAPH: dict[str, Any] = {"dim": 24, "layers": 2, "graph_steps": 12, "graph_batch": 100}


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return kind_world().planted(tmp_path_factory.mktemp("again") / "world")


def teach(planted: Planted) -> Any:
    return train_teacher(
        planted.catalogue(), planted.facts(), TeacherConfig(**GRAPH, **LARGE), device=CPU, seed=0,
        validate=lambda scorer: {"constant": 0.0}, linear=LinearChoice(walk=2),
    )  # fmt: skip


def state(trained: Any) -> dict[str, torch.Tensor]:
    """Every weight."""
    parts = [trained.model, *([trained.fusion] if hasattr(trained, "fusion") else [])]
    return {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.state_dict().items()}


@pytest.fixture(scope="module")
def targets(planted: Planted) -> Targets:
    catalogue = planted.catalogue()
    scorer = teacher_scorer(teach(planted), catalogue, catalogue.view(), CPU)
    return make_targets(scorer, catalogue, top=60, random=10, seed=0)


def study(planted: Planted, targets: Targets) -> Any:
    catalogue = planted.catalogue()
    return train_student(
        catalogue, planted.facts(), planted.tokens, lambda until_us: targets, StudentConfig(**LARGE), dim=24,
        inner_share=0.15, device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
        linear=LinearChoice(walk=2), sides=sides_of(catalogue, planted.facts()),
    )  # fmt: skip


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("who", ["teacher", "student"])
def test_two_trainings_on_two_threads_give_the_same_bits(
    planted: Planted, targets: Targets, who: str
) -> None:
    one, *others = [teach(planted) if who == "teacher" else study(planted, targets) for _ in range(3)]
    for other in others:
        for name, tensor in state(one).items():
            assert torch.equal(tensor, state(other)[name]), name
        assert [r["loss"] for r in one.history[1:]] == [r["loss"] for r in other.history[1:]]


@pytest.mark.usefixtures("two_threads")
def test_the_same_teacher_writes_down_the_same_targets(planted: Planted, targets: Targets) -> None:
    catalogue = planted.catalogue()
    scorer = teacher_scorer(teach(planted), catalogue, catalogue.view(), CPU)
    one, other = (make_targets(scorer, catalogue, top=60, random=10, seed=0) for _ in range(2))
    for name in ("users", "items", "scores", "relational"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(
    planted: Planted, targets: Targets, who: str
) -> None:
    # It is fitted twice, and the teacher looks for negatives anew in its third epoch.
    catalogue = planted.catalogue()
    catalogue = dataclasses.replace(catalogue, select_us=catalogue.inner_cut(0.3))
    config = {**LARGE, "batch": 40, "epochs": 4, "evaluate_every": 4}

    def train(memory: Memory) -> Any:
        more: dict[str, Any] = {"checkpoint": memory, "validate": lambda scorer: {"constant": 0.0}}
        facts = planted.facts()
        if who == "teacher":
            return train_teacher(catalogue, facts, TeacherConfig(**GRAPH, **config), **more)
        return train_student(
            catalogue, facts, planted.tokens, lambda until: targets, StudentConfig(**config), dim=24,
            inner_share=0.15, **more,
        )  # fmt: skip

    count = Memory()
    whole = train(count)
    steps = -1 - count.stop
    # The teacher's vectors are fitted over three views: to choose, what was known then and before its labels,
    # and everything.
    assert len(count.kept) == (5 if who == "teacher" else 2)
    for stop in (1, steps // 4 + 2, steps // 2 - 1, steps // 2 + 2, steps - 1):
        memory = Memory(stop)
        with pytest.raises(KilledError):
            train(memory)
        resumed = train(memory)
        # What was done is not done again.
        assert -memory.stop == steps - stop
        for name, tensor in state(whole).items():
            assert torch.equal(tensor, state(resumed)[name]), (stop, name)
        assert [r["loss"] for r in whole.history[1:]] == [r["loss"] for r in resumed.history[1:]]
