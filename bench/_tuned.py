"""Models of classes whose text teacher learns from the labels, for several benches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kgdistill.config import ClassifyConfig
from kgdistill.models.text.transformer import PooledText
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.classify import ClassStudent, ClassTeacher
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import SubjectVectors
from kgdistill.train.tune_classes import TunedTexts


class Tuned(NamedTuple):
    """A teacher, what its text teacher says of the texts, and its students, each by its tower."""

    teacher: ClassTeacher
    vectors: SubjectVectors
    students: dict[str, ClassStudent]


def tuned(
    task: ClassifyTask,
    encoder: PooledText,
    config: ClassifyConfig,
    context: Context,
    *,
    towers: Sequence[str] = ("table",),
) -> Tuned:
    """All of them, trained."""
    config = config.model_copy(update={"tune": "top"})
    reader = TunedTexts(encoder, config, context)
    own, vectors = reader(task)
    teacher = fit_class_teacher(task, vectors, config, context, reader=reader)
    students = {
        tower: fit_class_student(
            task, own, vectors, config.model_copy(update={"tower": tower}), context,
            teacher=teacher, reader=reader,
        )
        for tower in towers
    }  # fmt: skip
    return Tuned(teacher, vectors, students)
