"""Teacher and student of a task that tells classes, on disk: safetensors and JSON, nothing unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer
from torch import nn

from kgdistill.errors import ArtefactError
from kgdistill.models.beside import NodeTable
from kgdistill.models.heads import ClassifyHead, FusedHead, StaticClassifier
from kgdistill.models.layered import LayeredClassifier
from kgdistill.models.text.prefixes import Manner
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.centres import centre_arrays, stored_centres
from kgdistill.ranking.confidence import Confidence
from kgdistill.tasks.log_counts import LogCounts
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.classify import ClassStudent, ClassTeacher

_ARRAYS, _ABOUT, _TOKENIZER, _CHOSEN = "model.safetensors", "classes.json", "tokenizer.json", "chosen"
_TOWER = "tower"


def save_class_teacher(folder: Path, teacher: ClassTeacher) -> None:
    """Writes a teacher into a folder."""
    dropout = teacher.members[0].head.dropout
    beside = {"size": teacher.size, "dropout": dropout, "members": len(teacher.members)}
    arrays: dict[str, npt.NDArray[Any]] = {"folds": teacher.folds}
    if teacher.middle is not None:
        arrays["middle"] = teacher.middle
    _save(folder, teacher, nn.ModuleList(teacher.members), arrays, beside)
    if teacher.chosen is not None:
        save_class_teacher(Path(folder) / _CHOSEN, teacher.chosen)


def load_class_teacher(folder: Path) -> ClassTeacher:
    """What `save_class_teacher` wrote.

    Raises:
        ArtefactError: a file is missing, damaged or of something else.
    """
    folder = Path(folder)
    try:
        about, arrays, state = _load(folder)
        middle = arrays.get("middle")
        width = sum(table.width for table in about["tables"]) + (0 if middle is None else len(middle))
        hidden = _hidden(state, "0.head.hidden.weight")
        members = nn.ModuleList(_head(about, width, hidden) for _ in range(about["members"]))
        members.load_state_dict(state)
        chosen = load_class_teacher(folder / _CHOSEN) if (folder / _CHOSEN).exists() else None
        return ClassTeacher(
            [*members.eval()], arrays["folds"], middle, about["size"], **_common(about), chosen=chosen
        )
    except _BROKEN as error:
        raise ArtefactError("holds no teacher of classes", where=str(folder)) from error


def save_class_student(folder: Path, student: ClassStudent) -> None:
    """Writes a student into a folder."""
    model = student.model
    beside: dict[str, Any] = {"max_tokens": student.max_tokens, "dropout": model.head.head.dropout}
    if isinstance(model, LayeredClassifier):
        beside["manner"] = asdict(model.tower.manner)
        _save(folder, student, nn.ModuleDict({"head": model.head}), {}, beside)
        model.tower.save(Path(folder) / _TOWER)
        return
    _save(folder, student, model, {}, beside)
    if student.tokenizer is not None:
        student.tokenizer.save(str(Path(folder) / _TOKENIZER))


def load_class_student(folder: Path) -> ClassStudent:
    """What `save_class_student` wrote.

    Raises:
        ArtefactError: a file is missing, damaged or of something else.
    """
    folder = Path(folder)
    try:
        about, _, state = _load(folder)
        table, width = state.get("table.weight"), sum(t.width for t in about["tables"])
        hidden, most = _hidden(state, "head.head.hidden.weight"), about["max_tokens"]
        if "manner" in about:
            tower = TransformerText(str(folder / _TOWER), max_tokens=most, precision="float32")
            tower.manner = Manner(about["manner"]["pooling"], tuple(about["manner"]["prefixes"]))
            layered = LayeredClassifier(tower, _head(about, width + tower.dim, hidden))
            nn.ModuleDict({"head": layered.head}).load_state_dict(state)
            return ClassStudent(layered.eval(), None, most, **_common(about))
        tokenizer = None if table is None else Tokenizer.from_file(str(folder / _TOKENIZER))
        width += 0 if table is None else table.shape[1]
        model = StaticClassifier(table, _head(about, width, hidden))
        model.load_state_dict(state)
        return ClassStudent(model.eval(), tokenizer, most, **_common(about))
    except Exception as error:
        # The tokenizer's own errors have no type but Exception.
        raise ArtefactError("holds no student of classes", where=str(folder)) from error


_BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def _save(
    folder: Path,
    trained: ClassTeacher | ClassStudent,
    module: nn.Module,
    arrays: Mapping[str, npt.NDArray[Any]],
    about: Mapping[str, Any],
) -> None:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = {f"module.{k}": v.detach().cpu().numpy() for k, v in module.state_dict().items()}
    for i, table in enumerate(trained.tables):
        held[f"tables.{i}"] = table.rows
        for j, block in enumerate(table.counts):
            held |= block.arrays(f"tables.{i}.{j}")
    held |= centre_arrays(trained.centres)
    if trained.words is not None:
        held["idf"] = trained.words.idf
    whole = {k: np.ascontiguousarray(v) for k, v in {**held, **arrays}.items()}
    # Bytes, as save_file reports a full disk as an error of its own kind.
    (folder / _ARRAYS).write_bytes(save(whole))
    text = {
        **about,
        "words": None if trained.words is None else trained.words.words,
        "tables": [
            [t.relationship, t.label, t.history, t.middle, t.spread, len(t.counts)] for t in trained.tables
        ],
        "classes": trained.classes,
        "several": sorted(trained.several),
        "centres": sorted(trained.centres),
        "calibration": {name: asdict(c) for name, c in trained.calibration.items()},
        "epochs": trained.epochs,
        "history": trained.history,
        "seconds": trained.seconds,
    }
    (folder / _ABOUT).write_text(json.dumps(text, indent=1, ensure_ascii=False), encoding="utf-8")


def _load(folder: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[str, torch.Tensor]]:
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    arrays = load_file(folder / _ARRAYS)
    about["tables"] = [
        NodeTable(
            relationship,
            label,
            history,
            arrays[f"tables.{i}"],
            middle,
            spread,
            tuple(LogCounts.stored(f"tables.{i}.{j}", arrays) for j in range(counts)),
        )
        for i, (relationship, label, history, middle, spread, counts) in enumerate(about["tables"])
    ]
    about["centres"] = stored_centres(about["centres"], arrays)
    if about["words"] is not None:
        about["words"] = WordFeatures(tuple(about["words"]), arrays["idf"])
    state = {
        k.removeprefix("module."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("module.")
    }
    return about, arrays, state


def _common(about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "words": about["words"],
        "tables": about["tables"],
        "classes": {name: tuple(classes) for name, classes in about["classes"].items()},
        "several": frozenset(about["several"]),
        "calibration": {name: _calibration(c) for name, c in about["calibration"].items()},
        "centres": about["centres"],
        "epochs": about["epochs"],
        "history": about["history"],
        "seconds": about["seconds"],
    }


def _calibration(held: Mapping[str, Any]) -> Calibration:
    familiar = held["familiar"]
    read = {"weights": tuple(held["weights"]), "familiar": familiar and Confidence.stored(familiar)}
    return Calibration(**{**held, **read})


def _head(about: Mapping[str, Any], width: int, hidden: int) -> FusedHead:
    words = 0 if about["words"] is None else len(about["words"].words)
    return FusedHead(ClassifyHead(width, _counts(about), hidden=hidden, dropout=about["dropout"]), words)


def _counts(about: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, int]:
    return {name: len(classes) for name, classes in about["classes"].items()}


def _hidden(state: Mapping[str, torch.Tensor], name: str) -> int:
    return len(state[name]) if name in state else 0
