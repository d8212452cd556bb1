"""The figures of `bench/tasks.py`: several seeds, paired differences, Holm over everything in the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import tasks
from bench._task_figures import class_rows
from bench.task_documents import documents
from bench.tasks import RESULTS, TABLES, TASKS, corrected, rows_of, tables
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


def test_the_correction_goes_over_all_data_of_a_task() -> None:
    tasks = {
        "a": {"title": "intent: a", "compared": [{"p": 0.01}, {"p": 0.5}]},
        "b": {"title": "intent: b", "compared": [{"p": 0.02}]},
        "c": {"title": "target: c", "compared": [{"p": 0.03}]},
    }
    corrected(tasks)
    assert [pair["p_holm"] for pair in tasks["a"]["compared"]] == pytest.approx([0.03, 0.5])
    assert tasks["b"]["compared"][0]["p_holm"] == pytest.approx(0.04)
    assert tasks["c"]["compared"][0]["p_holm"] == pytest.approx(0.03)


def test_every_task_that_was_measured_has_its_table_and_each_figure_its_line() -> None:
    found = documents(RESULTS.parent)
    assert {held["title"].partition(":")[0] for held in found.values()} == {
        "intent", "sentiment", "profile", "target", "alerts",
    }  # fmt: skip
    page = TABLES.read_text(encoding="utf-8")
    assert page == tables(found), "python -m bench.tasks --tables"
    assert "p by Holm over all comparisons of a task." in page
    for held in found.values():
        assert {pair[end] for pair in held["compared"] for end in ("arm", "other")} <= {
            row["arm"] for row in held["figures"]
        }
    assert page.count("\n| ") == sum(1 + len(held["figures"]) + 1 for held in found.values())
    assert page.count(", p ") == sum(len(held["compared"]) for held in found.values())


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_module(name: str) -> None:
    assert callable(rows_of(name))


def test_a_task_works_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(seeds: int, work: Path) -> dict[str, object]:
        (work / "reviews.csv").write_text("as every task writes what it draws")
        return {"seeds": seeds}

    monkeypatch.setattr(tasks, "rows_of", lambda name: rows)
    monkeypatch.setattr(tasks, "RESULTS", tmp_path / "tasks.json")
    tasks.measure("reviews_zh", 2, tmp_path / "new" / "work")
    assert json.loads((tmp_path / "tasks.json").read_text()) == {"reviews_zh": {"seeds": 2}}
    assert (tmp_path / "new" / "work" / "reviews_zh" / "reviews.csv").exists()
