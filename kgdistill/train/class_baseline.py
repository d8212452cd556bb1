"""What people would use in the place of a model of classes: a logistic regression of the same."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.text.vocabulary import most_words
from kgdistill.ranking.calibration import Calibration
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.neighbours import Neighbours
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.calibrations import calibrations
from kgdistill.train.class_lesson import Logits, worth
from kgdistill.train.class_reader import class_centres
from kgdistill.train.novelty import Near, settled

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""The inverse penalties (C) that are tried."""
Features: TypeAlias = Callable[[ClassifyTask], sp.csr_matrix | FloatArray]
"""Of every subject of a task, and behind them of what is written on its classes, [N, F]; what they learn,
they learn from its training subjects and those."""
MOST = 20_000_000
"""Subjects times classes of a target, above which it is not fitted: each takes some 125 bytes."""
_STEPS, _STILL, _NEVER = 500, 1e-5, 20.0


@dataclass(frozen=True)
class ClassBaseline:
    """What a logistic regression says.

    Attributes:
        logits: of every subject.
        calibration: of each target, chosen on validation as a teacher's.
        strengths: of each target the C that validation chose.
        parameters: how many numbers it has.
        seconds: of fitting, the choice included.
        near: of each target that can be none of its classes, `Centres.near` of every subject.
    """

    logits: Logits
    calibration: dict[str, Calibration]
    strengths: dict[str, float]
    parameters: int
    seconds: float
    near: Near


def what_is_read(task: ClassifyTask) -> str:
    """What `subject_features` are, in words."""
    words, counts = task.texts is not None, bool(task.neighbours)
    return " and ".join(["words"] * words + ["log counts"] * counts)


def subject_features(task: ClassifyTask) -> sp.csr_matrix:
    """TF-IDF of the words of each text, beside log(1 + count) of what stands beside a subject.

    Of a history, or a fact, counted is how much there is in all, and of each group that facts of its nodes
    lead to; of each node where they have none. Counts are scaled by their spread over the training subjects
    and, as the words of a text are, to a length of about 1.

    Returns:
        float32 [N, F], of the subjects, and behind them of what is written on the classes.
    """
    task = task.with_class_texts()
    learned = task.subjects("train")
    blocks = [_counted(beside, learned) for beside in task.neighbours]
    if task.texts is not None:
        most = most_words(map(len, task.class_names.values()))
        words = WordFeatures.of([task.texts[i] for i in learned], most=most)
        table = words.read(task.texts)
        shape = (len(task), len(words.words))
        blocks.append(sp.csr_matrix((table.weights, table.columns, table.starts), shape=shape))
    return sp.csr_matrix(sp.hstack(blocks))


def _counted(beside: Neighbours, learned: IntArray) -> sp.csr_matrix:
    parts = [beside.members @ (groups > 0).astype(np.float32) for groups in beside.groups.values()]
    table = sp.csr_matrix(sp.hstack([beside.members.sum(axis=1), *(parts or [beside.members])]))
    table.data = np.log1p(table.data)
    seen = table[learned]
    mean = np.asarray(seen.mean(axis=0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(seen.multiply(seen).mean(axis=0)).ravel() - mean**2, 0))
    told = spread > 1e-6
    weight = np.divide(1, spread * np.sqrt(told.sum()), out=np.zeros_like(spread), where=told)
    return sp.csr_matrix(table @ sp.diags(weight.astype(np.float32)))


def fit_class_baseline(
    task: ClassifyTask, config: ClassifyConfig, *, seed: int, features: Features = subject_features
) -> ClassBaseline:
    """Logistic regression of each target: validation chooses C, then it is fitted on what validated too.

    C is the first of those with the best macro-F1. It learns from what a teacher does, what is written on
    classes included, and what makes its logits a decision is chosen as a teacher's.

    Args:
        task: what is told; its test stays closed.
        config: `balance`, `precision`, `out_of_scope` and `refit` hold as of a teacher.
        seed: of what is left out where nothing shows what is out of scope.
        features: what is read.
    """
    begin = time.monotonic()
    tried = _fitted(task, features, dict.fromkeys(task.class_names, STRENGTHS))[0]
    strengths, chosen = {}, {}
    for name, by_strength in tried.items():
        rows, truth = task.subjects("validation", name), task.truth(name, "validation")
        reached = [worth(x[rows], truth, several=task.several(name))[0] for x in by_strength]
        best = int(np.argmax(reached))
        strengths[name], chosen[name] = STRENGTHS[best], by_strength[best]

    def fit(fold: ClassifyTask) -> tuple[Logits, int]:
        said, parameters = _fitted(fold, features, {name: (c,) for name, c in strengths.items()})
        return {name: logits[0] for name, logits in said.items()}, parameters

    def refit(fold: ClassifyTask) -> tuple[Logits, Near]:
        return fit(fold)[0], _near(fold, features)

    said = chosen, _near(task, features)
    known = settled(task, said, calibrations(task, chosen, config.balance), refit, config, seed)
    whole = task.on_everything() if config.refit else task
    logits, parameters = fit(whole)
    near = _near(whole, features)
    return ClassBaseline(logits, known, strengths, parameters, time.monotonic() - begin, near)


def _near(task: ClassifyTask, features: Features) -> Near:
    """Of each target that can be none of its classes, `Centres.near` of every subject."""
    read = cache(lambda: features(task))
    centres = class_centres(task.with_class_texts(), read)
    return {name: held.near(read()[: len(task)]) for name, held in centres.items()}


def _fitted(
    task: ClassifyTask, features: Features, strengths: dict[str, Sequence[float]]
) -> tuple[dict[str, list[FloatArray]], int]:
    """By target the logits by each strength, float32 [subjects, classes]; and how many numbers that takes."""
    longer = task.with_class_texts()
    x = features(task).astype(np.float64)
    out = {}
    for name, tried in strengths.items():
        rows, truth = longer.subjects("train", name), longer.truth(name, "train")
        if task.several(name):
            columns = [_binary(x, rows, truth[:, c], tried, len(task)) for c in range(truth.shape[1])]
            out[name] = [np.stack(of_c, axis=1) for of_c in zip(*columns, strict=True)]
        else:
            out[name] = list(_one_of(x, rows, truth, tried, len(task)))
    return out, sum(map(len, task.class_names.values())) * (x.shape[1] + 1)


def _one_of(
    x: sp.csr_matrix | DoubleArray, rows: IntArray, truth: BoolArray, strengths: Sequence[float], count: int
) -> Iterator[FloatArray]:
    """Of one class a subject: what is out of scope teaches nothing; a class that nobody has is never told."""
    held = truth.any(axis=1)
    classes = np.flatnonzero(truth.any(axis=0))
    for scores in _scores(x, rows[held], truth[held].argmax(axis=1), strengths, count):
        logits = np.repeat(scores.min(axis=1, keepdims=True) - _NEVER, truth.shape[1], axis=1)
        logits[:, classes] = scores
        yield logits.astype(np.float32)


def _binary(
    x: sp.csr_matrix | DoubleArray, rows: IntArray, holds: BoolArray, strengths: Sequence[float], count: int
) -> list[FloatArray]:
    """Of one class of several, float32 [subjects] for each strength."""
    if holds.all() or not holds.any():
        return [np.full(count, _NEVER if holds.all() else -_NEVER, np.float32)] * len(strengths)
    return [
        (scores[:, 1] - scores[:, 0]).astype(np.float32)
        for scores in _scores(x, rows, holds.astype(np.int64), strengths, count)
    ]


def _scores(
    x: sp.csr_matrix | DoubleArray, rows: IntArray, classes: IntArray, strengths: Sequence[float], count: int
) -> Iterator[DoubleArray]:
    """Of the first `count` subjects, by each strength, float64 [count, distinct classes]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not x.shape[1]:
        x = np.zeros((x.shape[0], 1))  # nothing is read: how common each is remains
    if len(np.unique(classes)) < 2:
        yield from [np.zeros((count, 1))] * len(strengths)
        return
    # Each begins where the one before ended: the optimum is the same, and nearer.
    model = LogisticRegression(max_iter=_STEPS, tol=_STILL, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(x[rows], classes)
        scores = model.decision_function(x[:count])
        yield scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)
