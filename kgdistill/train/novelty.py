"""Where "none of them" begins, for a task that was shown nothing of it: left-out classes stand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.vocabulary import TokenSource
from kgdistill.ranking.calibration import Calibration, chosen_evidence, temperature
from kgdistill.ranking.classes import Classified, decide, likeliest, mcc, probabilities
from kgdistill.ranking.confidence import Confidence, fit_confidence, precise_from
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import Logits
from kgdistill.train.classify import (
    ClassStudent,
    ClassTeacher,
    train_class_student,
    train_class_teacher,
)
from kgdistill.train.loop import Context
from kgdistill.train.made_texts import taught
from kgdistill.train.subject_vectors import SubjectVectors
from kgdistill.train.tower import SharedTower

_FOLDS, _HELD, _WHOLE = 8, 0.2, 10_000
Near = Mapping[str, FloatArray]
"""Of each target that can be none of its classes, `Centres.near` of every subject, float32 [subjects]."""
Refit = Callable[[ClassifyTask], tuple[Logits, Near]]
"""Trains a model anew on a task, and says what it makes of every subject."""
Reader = Callable[[ClassifyTask], tuple[TokenSource, SubjectVectors]]
"""Reads a task's texts by a text teacher that has learned from its labels."""


@dataclass(frozen=True)
class LeftOut:
    """What a model said that was trained without some classes.

    Attributes:
        logits: of subjects that it did not learn from, float32 [subjects, classes].
        near: of the same, `Centres.near`, float32 [subjects].
        truth: bool [subjects, classes]; those of the classes left out have none.
        weights: how much each counts, int64 [subjects].
        knew: which classes the model did, bool [subjects, classes].
    """

    logits: FloatArray
    near: FloatArray
    truth: BoolArray
    weights: IntArray
    knew: BoolArray

    def told(self, known: Calibration) -> tuple[FloatArray, IntArray, FloatArray]:
        """Probabilities [subjects, classes] and the likeliest class of those that the model knew, with its
        `chosen_evidence` as a model of all classes would have it."""
        logits = np.where(self.knew, self.logits, -np.inf).astype(np.float32)
        p = probabilities(logits, known.temperature, several=False)
        best = likeliest(p, known.weights)
        rests = chosen_evidence(p, self.near, best)
        # What a model is not sure of it divides among fewer where it knows fewer.
        others = np.maximum(self.knew.sum(axis=1) - 1, 1)
        rests[:, 0] += np.log(others / max(self.knew.shape[1] - 1, 1))
        return p, best, rests


def fit_class_teacher(
    task: ClassifyTask,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    context: Context,
    *,
    reader: Reader | None = None,
) -> ClassTeacher:
    """`train_class_teacher`, where "none of them" begins, and with `config.refit` again on everything.

    What is left out for that is kept from the text teacher too, where the `reader` reads anew.
    """
    teacher = train_class_teacher(task, vectors, config, context)

    def refit(fold: ClassifyTask) -> tuple[Logits, Near]:
        read = vectors if reader is None else reader(fold)[1]
        again = train_class_teacher(fold, read, config, _alone(context))
        return again.logits(fold, read), again.near(fold, read)

    said = teacher.logits(task, vectors), teacher.near(task, vectors)
    teacher.calibration = settled(task, said, teacher.calibration, refit, config, context.seed)
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
    reader: Reader | None = None,
) -> ClassStudent:
    """`train_class_student` on what the teacher tells (`taught`), and where "none of them" begins.

    What is left out for that is kept from the teacher too, which is trained anew beside the student. With
    `config.refit` once more on everything, told by the teacher that was.
    """
    texts = None if encoder is None else RememberedText.of(encoder), vectors

    def train(
        fold: ClassifyTask,
        told_by: ClassTeacher | None,
        where: Context,
        chosen: ClassStudent | None = None,
        texts: tuple[TokenSource | None, SubjectVectors] = texts,
    ) -> ClassStudent:
        lesson = taught(told_by, fold, *texts, config, where.seed)
        return train_class_student(
            lesson.task, texts[0], lesson.vectors, config, where, soft=lesson.soft, tower=tower, chosen=chosen
        )

    def refit(fold: ClassifyTask) -> tuple[Logits, Near]:
        alone, read = _alone(context), texts if reader is None else reader(fold)
        again = None if teacher is None else train_class_teacher(fold, read[1], config, alone)
        student = train(fold, again, alone, texts=read)
        return student.said(fold)

    student = train(task, teacher if teacher is None else teacher.chosen or teacher, context)
    said = student.said(task)
    student.calibration = settled(task, said, student.calibration, refit, config, context.seed)
    if config.refit:
        student = train(task.on_everything(), teacher, context, student)
    return student


def settled(
    task: ClassifyTask,
    said: tuple[Logits, Near],
    calibration: Mapping[str, Calibration],
    refit: Refit,
    config: ClassifyConfig,
    seed: int,
) -> dict[str, Calibration]:
    """The calibration with what decides on "none of them", of targets that can be none of their classes.

    Where validation has subjects that are out of scope, they choose. Else the model is trained eight times
    without an eighth of the classes and a fifth of the other training subjects; what it says of all that was
    left out chooses, `config.out_of_scope` of it being out of scope, and makes its logits probabilities too:
    it is more than validation holds. From where on a class is believed is chosen there as well, on validation
    where nothing was left out.

    Args:
        task: its test stays closed.
        said: of every subject by the model.
        calibration: chosen on validation.
        refit: trains the model anew.
        config: how.
        seed: of what is left out.
    """
    out, (logits, near) = dict(calibration), said
    for name in task.class_names:
        if task.several(name):
            continue
        rows, truth = task.subjects("validation", name), task.truth(name, "validation")
        held, beside = calibration[name], near.get(name)
        folds = [_valid(logits[name][rows], None if beside is None else beside[rows], truth)]
        if beside is not None and truth.any(axis=1).all():
            folds = left_out_folds(task, name, refit, share=config.out_of_scope, seed=seed) or folds
        every = _pooled(folds)
        known = every.truth.any(axis=1)
        if beside is not None and known.any():
            t = temperature(every.logits[known], every.truth[known], several=False)
            held = replace(held, temperature=t)
        if beside is not None and not known.all():
            held = replace(held, familiar=familiarity(folds, held, config.precision))
        out[name] = replace(held, sure=_sure(every, held, config.precision))
    return out


def _valid(logits: FloatArray, near: FloatArray | None, truth: BoolArray) -> LeftOut:
    """What was left out anyway: the validation, each subject once."""
    every = np.ones(len(truth), np.int64)
    near = np.zeros(len(truth), np.float32) if near is None else near
    return LeftOut(logits, near, truth, every, np.ones_like(truth))


def _pooled(folds: Sequence[LeftOut]) -> LeftOut:
    return LeftOut(*(np.concatenate([getattr(fold, f.name) for fold in folds]) for f in fields(LeftOut)))


def _sure(every: LeftOut, known: Calibration, precision: float) -> float:
    """From where on at least this share of what is believed is right."""
    p, best, rests = every.told(known)
    believed = p[np.arange(len(p)), best] if known.familiar is None else known.familiar.of(rests)
    return precise_from(believed, every.truth[np.arange(len(p)), best], precision, every.weights)


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
    first, text = task.copies(rows)
    if classes < 3:  # without one of two there is nothing to tell apart
        return []
    # Few at a time: a model of fewer classes is surer of each than the one that is used.
    for group in np.array_split(rng.permutation(classes), min(_FOLDS, classes)):
        strange = np.zeros(classes, np.bool_)
        strange[group] = True
        gone = truth[:, strange].any(axis=1)
        # A text that has one of them and another class as well is not learned from either.
        taken = np.bincount(text, gone) > 0
        held = taken[text] | (rng.random(len(rows))[first][text] < _HELD)
        lost = np.concatenate([rows[held], valid[valid_truth[:, strange].any(axis=1)]])
        fold = task.without(lost, {name: group})
        if not held[~gone].any() or not len(fold.subjects("validation", name)) or not gone.any():
            continue
        if fold.truth(name, "train").any(axis=0).sum() < 2:  # nothing is left to tell apart
            continue
        logits, near = refit(fold)
        right = truth[held] & ~strange
        known = right.any(axis=1)
        weights = np.where(known, (1 - share) / known.sum(), share / (~known).sum())
        knew = np.broadcast_to(~strange, right.shape)
        folds.append(
            LeftOut(logits[name][rows[held]], near[name][rows[held]], right, _integers(weights), knew)
        )
    return folds


def familiarity(folds: Sequence[LeftOut], known: Calibration, precision: float) -> Confidence:
    """How probably the class that is chosen of a subject is right, and from where on it is told.

    Below the threshold "none of them" is said; the mean MCC of the folds is greatest there. It lies midway
    between the least and the greatest that decide so.

    Args:
        folds: what was left out, some of it out of scope.
        known: temperature and weights of the classes.
        precision: see `fit_confidence`.
    """
    every = _pooled(folds)
    p, best, rests = every.told(known)
    right = every.truth[np.arange(len(p)), best]
    fitted = fit_confidence(rests, right, precision=precision, weights=every.weights)
    seen, chosen = fitted.of(rests), decide(p, 0.0, several=False, weights=known.weights)
    ends = np.cumsum([len(fold.truth) for fold in folds])[:-1]
    parts = list(zip(folds, *(np.split(each, ends) for each in (p, chosen, seen)), strict=True))

    def reached(least: float) -> float:
        return float(np.mean([
            mcc(Classified(fold.truth, said, classes & (worth >= least)[:, None]), fold.weights)
            for fold, said, classes, worth in parts
        ]))  # fmt: skip

    tried = np.unique(np.quantile(seen, np.linspace(0, 1, 101)))
    found = np.array([reached(least) for least in tried])
    best = tried[np.isclose(found, found.max())]
    # Down to the next below, nothing is decided otherwise.
    below = seen[seen < best[0]].max(initial=0.0)
    return replace(fitted, threshold=float((below + best[-1]) / 2))


def _integers(weights: FloatArray) -> IntArray:
    return np.rint(weights * _WHOLE).astype(np.int64)


def _alone(context: Context) -> Context:
    """The same without a checkpoint, which knows one training of each title."""
    return Context(context.device, context.seed)
