"""Teacher and student of classes whose text teacher learns from the labels, for several benches."""

from __future__ import annotations

from kgdistill.config import ClassifyConfig
from kgdistill.models.text.transformer import PooledText
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.classify import ClassStudent, ClassTeacher, SubjectVectors
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.tune_classes import TunedTexts


def tuned(
    task: ClassifyTask, encoder: PooledText, config: ClassifyConfig, context: Context
) -> tuple[ClassTeacher, ClassStudent, SubjectVectors]:
    """Both, and what the tuned text teacher says of the texts."""
    config = config.model_copy(update={"tune": "top"})
    reader = TunedTexts(encoder, config, context)
    own, vectors = reader(task)
    teacher = fit_class_teacher(task, vectors, config, context, reader=reader)
    student = fit_class_student(task, own, vectors, config, context, teacher=teacher, reader=reader)
    return teacher, student, vectors
