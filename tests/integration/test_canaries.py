"""The canaries sing where they should, and fall silent where they must."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _shop import BOUGHT, PROTOCOL, Shop, fill_shop
from _tiny_encoder import tiny_encoder
from _train import train_teacher

from bench.sanity_checks import chance_interval, permuted_purchases, plant_edge
from kgdistill.config import TeacherConfig, resolve_config
from kgdistill.errors import LeakError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run.run import Run
from kgdistill.run.stages import read_mark, seal
from kgdistill.snapshot import check_no_future, open_snapshot
from kgdistill.store import MemoryStore
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")


def shown(shop: Shop, catalogue: TrainingData) -> float:
    """NDCG on the test of a fused teacher that learned from `catalogue` and knows nothing else."""
    teacher = train_teacher(
        catalogue, shop.facts(),
        TeacherConfig(dim=8, layers=2, epochs=3, candidates=20, random=5, graph_steps=30),
        device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
    )  # fmt: skip
    task = shop.task()
    task.open_test()
    scorer = teacher_scorer(teacher, catalogue, catalogue.view(), CPU)
    return evaluate_arm(scorer, task, arm="t", title="t", settings=["warm"], k=10, progress=False).mean(
        "warm"
    )


def test_a_model_of_permuted_purchases_falls_to_chance_and_that_of_the_real_ones_does_not(shop: Shop) -> None:
    task = shop.task()
    task.open_test()
    chance = chance_interval(task, split="test", setting="warm", k=10)
    assert chance.low < chance.mean < chance.high
    assert shown(shop, shop.catalogue()) > 1.5 * chance.high
    for seed in (0, 1):
        assert chance.low <= shown(shop, permuted_purchases(shop.catalogue(), seed=seed)) <= chance.high


def test_permuting_keeps_how_many_and_when_and_nothing_else(shop: Shop) -> None:
    catalogue = shop.catalogue()
    found = permuted_purchases(catalogue, seed=3)
    lengths = np.diff(catalogue.purchases.indptr)
    assert (np.diff(found.purchases.indptr) == lengths).all()
    assert (found.purchases.data == 1).all()
    assert np.isin(found.purchases.indices, catalogue.items).all()
    for user in np.flatnonzero(lengths):
        mine, before = (
            np.sort(c.times.data[c.times.indptr[user] : c.times.indptr[user + 1]]) for c in (found, catalogue)
        )
        assert mine.tolist() == before.tolist()
    kept = found.purchases.multiply(catalogue.purchases).nnz / catalogue.purchases.nnz
    # By chance a user gets back as many of their own as the share of the items that they have.
    assert kept == pytest.approx(lengths.mean() / len(catalogue.items), abs=0.06)
    again = permuted_purchases(catalogue, seed=3)
    assert (again.purchases.indices == found.purchases.indices).all()


class Poison:
    """The test split, for whom it is not."""

    def __getattr__(self, name: str) -> Any:
        raise LeakError(f"training asked for {name} of the test split")


def run_of(tmp_path: Path, refit: bool) -> Run:
    """The shop's run with its texts encoded."""
    small = {"epochs": 1, "candidates": 10, "random": 2, "evaluate_every": 1}
    config = resolve_config(
        {
            "protocol": PROTOCOL.model_copy(update={"refit": refit}).model_dump(),
            "text": {"encoder": str(tiny_encoder(tmp_path / "encoder", layers=1)), "precision": "float32"},
            "teacher": {"dim": 4, "layers": 2, "graph_steps": 8, **small},
            "student": small,
            "device": "cpu",
            "threads": 1,
        }
    )
    run = Run(tmp_path / "run", config)
    with MemoryStore() as store:
        fill_shop(store)
        run.take_snapshot(store)
    run.make("text")
    return run


@pytest.mark.parametrize("refit", [False, True])
def test_one_edge_planted_after_the_cut_fails_the_run(tmp_path: Path, refit: bool) -> None:
    run = run_of(tmp_path, refit)
    cut = run.config.discovery.snapshot_cut
    folder = run.folder / "graph" / "snapshot"
    # The last moment before the cut is none of the leak check's business, the next one is.
    plant_edge(folder, BOUGHT, cut - timedelta(microseconds=1))
    check_no_future(open_snapshot(folder))
    plant_edge(folder, BOUGHT, cut)
    mark = read_mark(folder.parent)
    assert mark is not None
    seal(folder.parent, mark.values, 0.0)  # as if the snapshot itself had been taken so
    for stage in (lambda r: r.make("teacher"), lambda r: r.by_history.catalogue, lambda r: r.task):
        with pytest.raises(LeakError, match="1 rows of User-BOUGHT-Product are not before the cut"):
            stage(Run.open(run.folder))
    assert not (run.folder / "teacher").exists()


@pytest.mark.parametrize("refit", [False, True])
def test_every_stage_of_training_does_without_the_test_split(tmp_path: Path, refit: bool) -> None:
    run = run_of(tmp_path, refit)
    assert run.task.validation.nnz
    run.task._later["test"] = Poison()  # type: ignore[assignment]
    for name in (
        "teacher",
        "teacher_text",
        "teacher_shuffled",
        "targets",
        "student",
        "student_nodistill",
        "student_nolists",
        "bundle",
    ):
        run.make(name)
    # The poison works: even an opened task gives nothing else.
    run.task.open_test()
    with pytest.raises(LeakError, match="training asked for"):
        run.task.candidates("cold", "test")
