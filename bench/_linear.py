"""Logistic regression in the place of a run, as it stands beside every run of classes."""

from __future__ import annotations

from kgdistill.arrays import FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.evaluate.classify import ClassArm
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_baseline import Features, fit_class_baseline, subject_features
from kgdistill.train.classify import SubjectVectors, with_classes


def linear(task: ClassifyTask, title: str, features: Features = subject_features) -> ClassArm:
    """What it says."""
    made = fit_class_baseline(task, ClassifyConfig(), seed=0, features=features)
    return ClassArm(title, made.logits, made.calibration)


def encoded(vectors: SubjectVectors) -> Features:
    """What the text encoder says of each text."""

    def read(task: ClassifyTask) -> FloatArray:
        told = with_classes(task, vectors)[1].subjects
        assert told is not None
        return told

    return read
