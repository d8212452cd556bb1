"""A run whose models were trained before a property could list several values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.errors import ArtefactError
from kgdistill.run import artefacts
from kgdistill.run.run import Run
from kgdistill.run.stages import seal
from kgdistill.store import MemoryStore

STAGES = ("text", "choice", "teacher", "targets", "student")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("kgdistill.tasks.item_groups.lists_values", lambda values: True)
    small: dict[str, Any] = {"epochs": 1, "candidates": 10, "random": 5, "evaluate_every": 1}
    with MemoryStore() as store:
        fill_shop(store)
        made = Run.create(
            tmp_path / "run", store, task="recommend", device="cpu", student=small,
            text={"encoder": str(tiny_encoder(tmp_path / "tiny", layers=1)), "precision": "float32"},
            teacher={"dim": 8, "layers": 2, "graph_steps": 8, **small},
        )  # fmt: skip
    made.make_each(STAGES)
    return made


def _as_formerly(run: Run, name: str) -> str:
    """Takes out what a former version did not say; returns the name of this making."""
    folder = run.folder / name
    for file in folder.rglob("config.json"):
        told = json.loads(file.read_text(encoding="utf-8"))
        assert told.pop("split")
        file.write_text(json.dumps(told), encoding="utf-8")
    return seal(folder, run._inputs(name), 1.0).made


def test_what_compares_lists_whole_is_made_anew_and_told_why(run: Run) -> None:
    student = _as_formerly(run, "student")
    with pytest.raises(ArtefactError, match="before a property could list several values") as raised:
        artefacts.load_student(run.folder / "student", run.by_history.fields)
    assert "kgdistill fit makes it anew, with all others" in raised.value.hint
    kept = {name: run.need(name).made for name in STAGES}
    run.make_each(STAGES)
    assert {name for name in STAGES if run.need(name).made != kept[name]} == {"student"}
    assert kept["student"] == student
    artefacts.load_student(run.read("student"), run.by_history.fields)


def test_a_stage_shared_with_another_run_stays_whole_there(run: Run, tmp_path: Path) -> None:
    made = _as_formerly(run, "student")
    (run.folder / "student").rename(tmp_path / "theirs")
    (run.folder / "student").symlink_to(tmp_path / "theirs")
    run.make("student")
    assert json.loads((tmp_path / "theirs" / "stage.json").read_bytes())["made"] == made
    assert not (run.folder / "student").is_symlink()
    assert run.need("student").made != made
