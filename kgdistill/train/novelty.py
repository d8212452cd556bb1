"""Where "none of them" begins, for a task that was shown nothing of it: left-out classes stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.vocabulary import TokenSource
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.classes import Classified, decide, mcc, probabilities, softened
from kgdistill.ranking.confidence import precise_from
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import Logits
from kgdistill.train.classify import (
    ClassStudent,
    ClassTeacher,
    SubjectVectors,
    train_class_student,
    train_class_teacher,
)
from kgdistill.train.loop import Context
from kgdistill.train.made_texts import taught
from kgdistill.train.tower import SharedTower

_FOLDS, _HELD, _WHOLE = 8, 0.2, 10_000
Refit = Callable[[ClassifyTask], tuple[Logits, Mapping[str, Calibration]]]
"""Trains a model anew on a task, and says what it makes of every subject."""


@dataclass(frozen=True)
class LeftOut:
    """What a model said that was trained without some classes.

    Attributes:
        said: of subjects that it did not learn from; those of the classes left out are out of scope.
        weights: how much each counts, int64 [subjects].
    """

    said: Classified
    weights: IntArray


def fit_class_teacher(
    task: ClassifyTask, vectors: SubjectVectors, config: ClassifyConfig, context: Context
) -> ClassTeacher:
    """`train_class_teacher`, where "none of them" begins, and with `config.refit` again on everything."""
    teacher = train_class_teacher(task, vectors, config, context)

    def refit(fold: ClassifyTask) -> tuple[Logits, Mapping[str, Calibration]]:
        again = train_class_teacher(fold, vectors, config, _alone(context))
        return again.logits(fold, vectors), again.calibration

    teacher.calibration = settled(
        task, teacher.logits(task, vectors), teacher.calibration, refit, config, context.seed
    )
    if config.refit:
        teacher = train_class_teacher(task.on_everything(), vectors, config, context, chosen=teacher)
    return teacher


def fit_class_student(
    task: ClassifyTask,
    encoder: TokenSource | None,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    context: Context,
    *,
    teacher: ClassTeacher | None,
    tower: SharedTower | None = None,
) -> ClassStudent:
    """`train_class_student` on what the teacher tells (`taught`), and where "none of them" begins.

    What is left out for that is kept from the teacher too, which is trained anew beside the student. With
    `config.refit` once more on everything, told by the teacher that was.
    """
    encoder = None if encoder is None else RememberedText(encoder)

    def train(
        fold: ClassifyTask, told_by: ClassTeacher | None, where: Context, chosen: ClassStudent | None = None
    ) -> ClassStudent:
        lesson = taught(told_by, fold, encoder, vectors, config, where.seed)
        return train_class_student(
            lesson.task, encoder, lesson.vectors, config, where, soft=lesson.soft, tower=tower, chosen=chosen
        )

    def refit(fold: ClassifyTask) -> tuple[Logits, Mapping[str, Calibration]]:
        alone = _alone(context)
        again = None if teacher is None else train_class_teacher(fold, vectors, config, alone)
        student = train(fold, again, alone)
        return student.logits(fold), student.calibration

    student = train(task, teacher if teacher is None else teacher.chosen or teacher, context)
    student.calibration = settled(
        task, student.logits(task), student.calibration, refit, config, context.seed
    )
    if config.refit:
        student = train(task.on_everything(), teacher, context, student)
    return student


def settled(
    task: ClassifyTask,
    logits: Logits,
    calibration: Mapping[str, Calibration],
    refit: Refit,
    config: ClassifyConfig,
    seed: int,
) -> dict[str, Calibration]:
    """The calibration with the thresholds of targets that can be none of their classes.

    Where validation has subjects that are out of scope, they chose already. Else the model is trained eight
    times without an eighth of the classes and a fifth of the other training subjects, and the threshold is
    the one whose MCC over all that was left out is best, `config.out_of_scope` of it being out of scope. From
    which probability on a class is believed is chosen there too, on validation where nothing was left out.

    Args:
        task: its test stays closed.
        logits: of every subject by the model.
        calibration: chosen on validation.
        refit: trains the model anew.
        config: how.
        seed: of what is left out.
    """
    out = dict(calibration)
    for name in task.class_names:
        if task.several(name):
            continue
        truth, held = task.truth(name, "validation"), calibration[name]
        p = probabilities(logits[name][task.subjects("validation", name)], held.temperature, several=False)
        said = [LeftOut(Classified(truth, p, decide(p, 0.0, several=False)), np.ones(len(p), np.int64))]
        if task.spec.targets[name].none_of_them is not None and truth.any(axis=1).all():
            folds = left_out_folds(task, name, refit, share=config.out_of_scope, seed=seed)
            held, said = replace(held, threshold=best_threshold(folds, held.softness)), folds or said
        out[name] = replace(held, sure=_sure(said, config.precision))
    return out


def _sure(folds: Sequence[LeftOut], precision: float) -> float:
    """From which probability on at least this share of the likeliest classes is right."""
    p = np.concatenate([fold.said.probabilities.max(axis=1) for fold in folds])
    right = np.concatenate([(fold.said.truth & fold.said.chosen).any(axis=1) for fold in folds])
    return precise_from(p, right, precision, np.concatenate([fold.weights for fold in folds]))


def left_out_folds(task: ClassifyTask, name: str, refit: Refit, *, share: float, seed: int) -> list[LeftOut]:
    """What models say that were trained without some of a target's classes.

    Args:
        task: its test stays closed.
        name: of a target with one class a subject.
        refit: trains a model.
        share: of the weights, what counts as out of scope.
        seed: of what is left out.
    """
    rng = np.random.default_rng(seed)
    rows, truth = task.subjects("train", name), task.truth(name, "train")
    valid, valid_truth = task.subjects("validation", name), task.truth(name, "validation")
    classes, folds = truth.shape[1], []
    if classes < 3:  # without one of two there is nothing to tell apart
        return []
    # Few at a time: a model of fewer classes is surer of each than the one that is used.
    for group in np.array_split(rng.permutation(classes), min(_FOLDS, classes)):
        strange = np.zeros(classes, np.bool_)
        strange[group] = True
        gone = truth[:, strange].any(axis=1)
        held = gone | (rng.random(len(rows)) < _HELD)
        lost = np.concatenate([rows[held], valid[valid_truth[:, strange].any(axis=1)]])
        fold = task.without(lost, {name: group})
        if not held[~gone].any() or not len(fold.subjects("validation", name)) or not gone.any():
            continue
        logits, calibration = refit(fold)
        p = probabilities(logits[name][rows[held]], calibration[name].temperature, several=False)
        right = truth[held] & ~strange
        known = right.any(axis=1)
        weights = np.where(known, (1 - share) / known.sum(), share / (~known).sum())
        folds.append(LeftOut(Classified(right, p, decide(p, 0.0, several=False)), _integers(weights)))
    return folds


def best_threshold(folds: Sequence[LeftOut], softness: float) -> float:
    """The softened probability below which "none of them" is said: the mean MCC of the folds is the greatest.

    Midway between the least and the greatest that decide so; 0 without folds.
    """
    if not folds:
        return 0.0
    seen = np.concatenate([softened(fold.said.probabilities, softness).max(axis=1) for fold in folds])
    tried = np.unique(np.quantile(seen, np.linspace(0, 1, 101)))
    reached = [np.mean([_mcc_at(fold, t, softness) for fold in folds]) for t in tried]
    best = tried[np.isclose(reached, max(reached))]
    # Down to the next probability below, nothing is decided otherwise.
    below = seen[seen < best[0]].max(initial=0.0)
    return float((below + best[-1]) / 2)


def _mcc_at(fold: LeftOut, threshold: float, softness: float) -> float:
    p: FloatArray = fold.said.probabilities
    chosen = decide(p, threshold, several=False, softness=softness)
    return mcc(Classified(fold.said.truth, p, chosen), fold.weights)


def _integers(weights: FloatArray) -> IntArray:
    return np.rint(weights * _WHOLE).astype(np.int64)


def _alone(context: Context) -> Context:
    """The same without a checkpoint, which knows one training of each title."""
    return Context(context.device, context.seed)
