"""Logistic regression in the place of a run: chosen on validation, then fitted on that too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.evaluate.classify import ClassArm
from kgdistill.ranking.calibration import calibrate
from kgdistill.tasks.classify import ClassifyTask

Judge: TypeAlias = Callable[[IntArray, IntArray], float]
"""Of what is right and what is told; the more, the better."""


class Linear(NamedTuple):
    """What a baseline says.

    Attributes:
        logits: of every subject by the model that learned from train alone, float32 [subjects, classes].
        refitted: the same, by one that learned from validation too.
        strength: what validation chose.
    """

    logits: FloatArray
    refitted: FloatArray
    strength: float


def texts_to_learn(task: ClassifyTask) -> list[str]:
    """Those of train and validation."""
    assert task.texts is not None
    return [task.texts[i] for i in task.on_everything().subjects("train")]


def logistic(
    task: ClassifyTask,
    target: str,
    x: Any,
    strengths: Sequence[float],
    *,
    judge: Judge,
    max_iter: int = 1000,
) -> Linear:
    """Logistic regression of the strength C that validation likes best.

    Args:
        task: what is told.
        target: of it, with one class a subject.
        x: features of every subject.
        strengths: which C are tried; the first of the best is taken.
        judge: of validation.
        max_iter: of the solver.
    """
    from sklearn.linear_model import LogisticRegression

    def fitted(fold: ClassifyTask, strength: float) -> FloatArray:
        rows, truth = fold.subjects("train", target), fold.truth(target, "train")
        model = LogisticRegression(C=strength, max_iter=max_iter).fit(x[rows], truth.argmax(axis=1))
        scores = model.decision_function(x)
        logits = np.full((len(fold), truth.shape[1]), -20.0, np.float32)
        logits[:, model.classes_] = scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], 1)
        return logits

    valid, right = task.subjects("validation", target), task.truth(target, "validation").argmax(axis=1)
    tried = [fitted(task, strength) for strength in strengths]
    best = int(np.argmax([judge(right, logits[valid].argmax(axis=1)) for logits in tried]))
    refitted = fitted(task.on_everything(), strengths[best])
    return Linear(tried[best], refitted, strengths[best])


def chosen_arm(
    task: ClassifyTask, target: str, x: Any, title: str, *, judge: Judge, max_iter: int = 1000
) -> ClassArm:
    """`logistic` of C from 0.1 to 100, refitted, with the temperature of what validation chose."""
    made = logistic(task, target, x, (0.1, 1.0, 10.0, 100.0), judge=judge, max_iter=max_iter)
    held, right = made.logits[task.subjects("validation", target)], task.truth(target, "validation")
    known = calibrate(held, right, several=False, reject=False)
    return ClassArm(title, {target: made.refitted}, {target: known})


def accurate(right: IntArray, told: IntArray) -> float:
    """The share that is right."""
    return float((right == told).mean())


def macro(right: IntArray, told: IntArray) -> float:
    """Macro-F1."""
    from sklearn.metrics import f1_score

    return float(f1_score(right, told, average="macro"))
