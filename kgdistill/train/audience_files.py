"""Heads that find an audience, on disk: safetensors and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kgdistill.errors import ArtefactError
from kgdistill.ranking.calibration import Calibration
from kgdistill.train.audience import AudienceStudent, AudienceTeacher, PairHead


def save_audience_teacher(folder: Path, teacher: AudienceTeacher) -> None:
    """Writes its heads and what calibrates them."""
    told = {"temperature": teacher.calibration.temperature, "seconds": teacher.seconds}
    _save(folder, teacher.heads, told, teacher.history)


def load_audience_teacher(folder: Path) -> AudienceTeacher:
    """Reads what `save_audience_teacher` wrote; ArtefactError where it cannot be read."""
    heads, told = _load(folder)
    return AudienceTeacher(heads, Calibration(told["temperature"], 0.5), seconds=told["seconds"])


def save_audience_student(folder: Path, student: AudienceStudent) -> None:
    """Writes its head and what makes probabilities of it."""
    names = ("temperature", "spread", "soft", "seconds")
    _save(folder, [student.head], {name: getattr(student, name) for name in names}, student.history)


def load_audience_student(folder: Path) -> AudienceStudent:
    """Reads what `save_audience_student` wrote; ArtefactError where it cannot be read."""
    (head,), told = _load(folder)
    return AudienceStudent(head, told["temperature"], told["spread"], told["soft"], seconds=told["seconds"])


def _save(
    folder: Path, heads: list[PairHead], told: dict[str, float], history: list[dict[str, float]]
) -> None:
    state = {
        f"{i}.{name}": held.detach().cpu().contiguous()
        for i, head in enumerate(heads)
        for name, held in head.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    # Of every head the last epoch is kept.
    config = {"heads": len(heads), "best_epoch": int(history[-1]["epoch"]), **told}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _load(folder: Path) -> tuple[list[PairHead], dict[str, Any]]:
    try:
        told: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
        heads = []
        for i in range(told["heads"]):
            mine = {n.removeprefix(f"{i}."): v for n, v in state.items() if n.startswith(f"{i}.")}
            hidden, width = mine["hidden.weight"].shape
            head = PairHead(np.zeros((1, width), np.float32), np.zeros(1, np.bool_), hidden, 0.0)
            head.load_state_dict(mine)
            heads.append(head.eval())
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtefactError(
            f"cannot be read: {error}", where=str(folder), hint="delete its folder and run the stage again"
        ) from error
    return heads, told
