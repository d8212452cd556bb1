"""Teacher and student of classes learn from validation too, for as long as it chose."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from _classes import CONFIG, WordEncoder, World, context, make_classes, spec, utterances, world

from kgdistill.train.classify import ClassTeacher
from kgdistill.train.classify_files import load_class_teacher, save_class_teacher
from kgdistill.train.novelty import fit_class_student, fit_class_teacher

OTHER = "anchor"
"""Tells the first intent in the validation and in half of the test, and stands nowhere else."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    tables = utterances(480)
    for i, row in enumerate(tables["Utterance"]):
        row["split"] = ["train", "train", "validation", "test"][i // 3 % 4]
        if i % 3 == 0 and (row["split"] == "validation" or (row["split"] == "test" and i % 2)):
            row["text"] = row["text"].replace("coin", OTHER)
    return world(make_classes(tables, tmp_path_factory.mktemp("refit") / "s", spec()))


@pytest.fixture(scope="module")
def teacher(made: World) -> ClassTeacher:
    return fit_class_teacher(made.task, made.vectors, CONFIG, context())


def told_by_the_other_word(made: World, found: np.ndarray) -> float:
    column = made.task.class_names["intent"].index("refund")
    texts = made.task.texts
    assert texts is not None
    rows = [i for i in made.task.subjects("test") if OTHER in texts[i]]
    assert len(rows) > 10
    return float((found[rows].argmax(1) == column).mean())


def test_what_validation_alone_shows_is_learned_by_a_teacher_that_is_refitted(
    made: World, teacher: ClassTeacher
) -> None:
    chosen = teacher.chosen
    assert chosen is not None
    after, before = (model.logits(made.task, made.vectors)["intent"] for model in (teacher, chosen))
    assert told_by_the_other_word(made, after) > 0.9
    assert told_by_the_other_word(made, before) < 0.6
    # Of what it learned from a member speaks that did not, of the validation too.
    assert set(np.flatnonzero(teacher.folds >= 0)) == {
        *made.task.subjects("train"),
        *made.task.subjects("validation"),
    }


def test_validation_chooses_the_epochs_and_the_calibration_once(made: World, teacher: ClassTeacher) -> None:
    once = fit_class_teacher(made.task, made.vectors, CONFIG.model_copy(update={"refit": False}), context())
    assert once.chosen is None
    assert teacher.calibration == once.calibration
    assert teacher.epochs == once.epochs > 0
    # Before its first epoch a member has no loss.
    starts = [i for i, row in enumerate(once.history) if "loss" not in row]
    members = [once.history[a:b] for a, b in pairwise([*starts, len(once.history)])]
    reached = [[sum(v for k, v in row.items() if k.startswith("valid/")) for row in m[1:]] for m in members]
    assert once.epochs == int(np.median([1 + int(np.argmax(values)) for values in reached]))
    assert teacher.chosen is not None
    assert teacher.seconds > teacher.chosen.seconds
    assert [row["loss"] for row in teacher.history[1:3]] == [row["loss"] for row in once.history[1:3]]


def test_a_student_is_refitted_and_its_choice_knows_nothing_of_validation(
    made: World, teacher: ClassTeacher
) -> None:
    encoder = WordEncoder()
    student = fit_class_student(made.task, encoder, made.vectors, CONFIG, context(), teacher=teacher)
    once = fit_class_student(
        made.task, encoder, made.vectors, CONFIG.model_copy(update={"refit": False}), context(),
        teacher=teacher.chosen,
    )  # fmt: skip
    assert told_by_the_other_word(made, student.logits(made.task)["intent"]) > 0.9
    assert told_by_the_other_word(made, once.logits(made.task)["intent"]) < 0.75
    assert student.calibration == once.calibration
    assert student.epochs == once.epochs
    assert student.seconds > once.seconds / 2


def test_a_teacher_is_stored_with_the_one_that_was_chosen(
    made: World, teacher: ClassTeacher, tmp_path: Path
) -> None:
    save_class_teacher(tmp_path, teacher)
    again = load_class_teacher(tmp_path)
    assert again.chosen is not None
    assert teacher.chosen is not None
    for one, other in ((again, teacher), (again.chosen, teacher.chosen)):
        for name, logits in one.logits(made.task, made.vectors).items():
            np.testing.assert_array_equal(logits, other.logits(made.task, made.vectors)[name])
    save_class_teacher(tmp_path / "once", replace(teacher, chosen=None))
    assert load_class_teacher(tmp_path / "once").chosen is None
