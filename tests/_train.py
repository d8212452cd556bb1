"""Trainings of small worlds, from loose values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train import student, teacher
from kgdistill.train.choose import LinearChoice
from kgdistill.train.loop import Checkpoint, Context
from kgdistill.train.rounds import Validate
from kgdistill.train.targets import Targets

CPU = torch.device("cpu")


def train_teacher(
    catalogue: TrainingData,
    families: list[ItemGroups],
    config: TeacherConfig,
    *,
    validate: Validate,
    device: torch.device = CPU,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    **inputs: Any,
) -> teacher.TrainedTeacher:
    """A teacher; `inputs` are of `TeacherInputs`."""
    given = teacher.TeacherInputs(catalogue, families, **inputs)
    return teacher.train_teacher(given, config, Context(device, seed, checkpoint), validate)


def train_student(
    catalogue: TrainingData,
    families: list[ItemGroups],
    tokens: Tokens,
    targets: Callable[[int], Targets] | None,
    config: StudentConfig,
    *,
    dim: int,
    inner_share: float,
    validate: Validate,
    device: torch.device = CPU,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    linear: LinearChoice | None = None,
    sides: Sequence[Any] = (),
) -> student.TrainedStudent:
    """A student."""
    given = student.StudentInputs(
        catalogue, families, tokens, dim, inner_share, linear or LinearChoice(), sides
    )
    return student.train_student(given, targets, config, Context(device, seed, checkpoint), validate)
