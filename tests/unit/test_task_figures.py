"""The figures of `bench/tasks.py`: several seeds, paired differences, Holm over everything in the file."""

from __future__ import annotations

import numpy as np
import pytest

from bench._task_figures import class_rows
from bench.tasks import TASKS, corrected, rows_of
from kgdistill.ranking.classes import Classified


def said(right: float, seed: int) -> Classified:
    draw = np.random.default_rng(seed)
    truth = np.eye(2, dtype=np.bool_)[np.arange(400) % 2]
    chosen = np.where((draw.random(400) < right)[:, None], truth, ~truth)
    return Classified(truth, chosen.astype(np.float32), chosen, False)


def test_a_better_arm_is_told_and_an_equal_one_is_not() -> None:
    arms = {
        "good": ("good", [said(0.9, 1), said(0.9, 2)]),
        "poor": ("poor", [said(0.7, 3)]),
        "same": ("same", [said(0.9, 1), said(0.9, 2)]),
    }
    found = class_rows("mood", arms, [("good", "poor"), ("good", "same")], samples=300)
    good, poor, _ = found["figures"]
    assert len(good["seeds"]) == 2
    assert good["mean"] == pytest.approx(np.mean(good["seeds"]))
    assert good["low"] < good["mean"] < good["high"]
    better, equal = found["compared"]
    assert better["mean"] == pytest.approx(good["mean"] - poor["mean"])
    assert better["p"] < 0.01 < better["low"]
    assert (equal["mean"], equal["p"]) == (0, 1)


def test_the_correction_goes_over_all_tasks() -> None:
    tasks = {"a": {"compared": [{"p": 0.01}, {"p": 0.5}]}, "b": {"compared": [{"p": 0.02}]}, "c": {}}
    corrected(tasks)
    assert [pair["p_holm"] for pair in tasks["a"]["compared"]] == pytest.approx([0.03, 0.5])
    assert tasks["b"]["compared"][0]["p_holm"] == pytest.approx(0.04)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_module(name: str) -> None:
    assert callable(rows_of(name))
