"""The losses of the first step are what their formulas say of the models before training, counted by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from _planted import Planted, kind_world
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.scorer import Scorer
from kgdistill.models.student import Student
from kgdistill.tasks.interactions import Interactions
from kgdistill.train import teacher
from kgdistill.train.loop import Context
from kgdistill.train.student import student_scorer
from kgdistill.train.targets import Targets
from kgdistill.train.teacher import teacher_scorer

Floats = npt.NDArray[np.float64]
CPU = torch.device("cpu")
SHARE = 0.15
# One step of everybody, over lists of everything, with nothing left to chance.
WHOLE: dict[str, Any] = {"batch": 1000, "candidates": 1000, "random": 0, "evaluate_every": 1}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return kind_world().planted(tmp_path_factory.mktemp("first") / "world")


def log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def task_loss(scorer: Scorer, inner: Interactions, labels: Any, users: Any, pool: Any) -> float:
    """Of each user with a label in the pool the mean of -log softmax over what it had not bought."""
    scores = scorer(users, pool).astype(np.float64)
    losses = []
    for row, user in enumerate(users):
        new = inner.purchases[[user]].toarray()[0, pool] == 0
        right = labels[[user]].toarray()[0, pool][new] > 0
        if right.any():
            losses.append(-log_softmax(scores[row, new])[right].mean())
    assert losses
    return float(np.mean(losses))


@pytest.mark.parametrize("cold_weight", [0.5, 2.0])
def test_the_teachers_first_step_by_hand(planted: Planted, cold_weight: float) -> None:
    catalogue = planted.catalogue()
    trained = {
        epochs: train_teacher(
            catalogue, planted.facts(),
            TeacherConfig(
                dim=8, layers=2, epochs=epochs, inner_share=SHARE, cold_weight=cold_weight, graph_steps=20,
                **WHOLE,
            ),
            device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
        )
        for epochs in (0, 1)
    }  # fmt: skip
    record = trained[1].history[1]
    inner_us = catalogue.inner_cut(SHARE)
    inner = catalogue.view(inner_us)
    labels = catalogue.purchases.multiply(catalogue.times >= inner_us).tocsr()
    labels.eliminate_zeros()
    # The blend learns over the vectors of a training that ended before the labels.
    again = teacher.fit_fusion(
        catalogue, trained[0].inputs(catalogue).graph(inner, trained[0].config, CPU), trained[0].config,
        Context(CPU, 0), title="again",
    )  # fmt: skip
    scorer = teacher_scorer(dataclasses.replace(trained[0], fusion=again), catalogue, inner, CPU)
    sold = np.asarray(labels.sum(0)).ravel() > 0
    pools = {
        "warm": np.flatnonzero(inner.counts >= 3),
        # Cold items that nobody bought afterwards teach nothing among themselves.
        "cold": np.flatnonzero((inner.counts < 3) & sold),
    }
    want = {name: task_loss(scorer, inner, labels, catalogue.users, pool) for name, pool in pools.items()}
    assert record["loss/warm"] == pytest.approx(want["warm"], rel=1e-4)
    assert record["loss/cold"] == pytest.approx(want["cold"], rel=1e-4)
    assert record["loss"] == pytest.approx(want["warm"] + cold_weight * want["cold"], rel=1e-4)


@pytest.fixture(scope="module")
def targets(planted: Planted) -> Targets:
    """Two lists side by side for every user in another order, and vectors; all of them drawn."""
    draw, catalogue = np.random.default_rng(7), planted.catalogue()
    users = draw.permutation(catalogue.users)
    items = np.stack([draw.choice(100, 12, replace=False) for _ in users])
    return Targets(
        users, items, (3 * draw.normal(size=items.shape)).astype(np.float32), (8, 12),
        draw.normal(size=(100, 8)).astype(np.float32),
    )  # fmt: skip


@pytest.mark.parametrize(
    "weights",
    [
        {"task_weight": 0.65},
        {"task_weight": 0.65, "temperature": 5.0},
        {"list_weight": 0.3, "task_weight": 40.0},
    ],
)
def test_the_students_first_step_by_hand(planted: Planted, targets: Targets, weights: dict[str, Any]) -> None:
    catalogue = planted.catalogue()
    # The experts of the inner view are other ones: left out here.
    config = StudentConfig(id_dropout=0, neighbours=0, **WHOLE, **weights)
    trained = {
        epochs: train_student(
            catalogue, planted.facts(), planted.tokens, lambda until_us: targets,
            config.model_copy(update={"epochs": epochs}), dim=8, inner_share=SHARE, device=CPU, seed=0,
            validate=lambda scorer: {"constant": 0.0},
        )
        for epochs in (0, 1)
    }  # fmt: skip
    record, start = trained[1].history[1], trained[0]
    pupil = student_scorer(start, catalogue, planted.tokens, catalogue.view(), CPU)

    # The list loss: T² KL(teacher || student) of each list by itself, at the temperature.
    t = config.temperature
    mine, theirs = pupil.lists(targets.users, targets.items).astype(np.float64), targets.scores
    lists = 0.0
    for start_at, end in ((0, 8), (8, 12)):
        rows = []
        for s, w in zip(mine[:, start_at:end], theirs[:, start_at:end].astype(np.float64), strict=True):
            log_p = log_softmax(w / t)
            rows.append(t**2 * (np.exp(log_p) * (log_p - log_softmax(s / t))).sum())
        lists += float(np.mean(rows))
    assert record["loss/list"] == pytest.approx(lists, rel=1e-4)

    inner_us = catalogue.inner_cut(SHARE)
    inner = catalogue.view(inner_us)
    labels = catalogue.purchases.multiply(catalogue.times >= inner_us).tocsr()
    labels.eliminate_zeros()
    before = student_scorer(start, catalogue, planted.tokens, inner, CPU)
    sold = np.asarray(labels.sum(0)).ravel() > 0
    pools = (np.flatnonzero(inner.counts >= 3), np.flatnonzero((inner.counts < 3) & sold))
    task = sum(task_loss(before, inner, labels, catalogue.users, pool) for pool in pools)
    assert record["loss/task"] == pytest.approx(task, rel=1e-4)

    share = labels.nnz / (labels.nnz + 30_000)
    whole = config.list_weight * lists + config.task_weight * share * task
    assert record["loss"] == pytest.approx(whole, rel=1e-4)


def test_an_undistilled_students_first_step_is_its_labels_alone(planted: Planted) -> None:
    catalogue = planted.catalogue()
    trained = [
        train_student(
            catalogue, planted.facts(), planted.tokens, None,
            StudentConfig(id_dropout=0, neighbours=0, epochs=epochs, **WHOLE), dim=8, inner_share=SHARE,
            device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
        )
        for epochs in (0, 1)
    ]  # fmt: skip
    record = trained[1].history[1]
    assert {name for name in record if name.startswith("loss")} == {"loss", "loss/task"}
    inner_us = catalogue.inner_cut(SHARE)
    inner = catalogue.view(inner_us)
    labels = catalogue.purchases.multiply(catalogue.times >= inner_us).tocsr()
    before = student_scorer(trained[0], catalogue, planted.tokens, inner, CPU)
    sold = np.asarray(labels.sum(0)).ravel() > 0
    pools = (np.flatnonzero(inner.counts >= 3), np.flatnonzero((inner.counts < 3) & sold))
    task = sum(task_loss(before, inner, labels, catalogue.users, pool) for pool in pools)
    assert record["loss"] == record["loss/task"] == pytest.approx(task, rel=1e-4)


def test_what_is_dropped_is_the_share_that_was_asked_for(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[float] = []
    real = Student.items

    def items(self: Any, text: Any, rows: Any, keep: Any = None) -> Any:
        if keep is not None:
            kept.append(float(keep.float().mean()))
        return real(self, text, rows, keep)

    monkeypatch.setattr(Student, "items", items)
    train_student(
        planted.catalogue(), [], planted.tokens, None,
        StudentConfig(epochs=3, id_dropout=0.4, **{**WHOLE, "batch": 10}), dim=4, inner_share=SHARE,
        device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
    )  # fmt: skip
    assert np.mean(kept) == pytest.approx(0.6, abs=0.05)
