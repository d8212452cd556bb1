"""Trainings of small worlds, from loose values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train import student, teacher
from kgdistill.train.choose import LinearChoice
from kgdistill.train.loop import Checkpoint, Context, TrainState
from kgdistill.train.rounds import Validate
from kgdistill.train.targets import Targets

CPU = torch.device("cpu")


class KilledError(Exception):
    """The process is no more."""


class Memory:
    """A checkpoint that keeps every state; the process ends after `stop` steps."""

    def __init__(self, stop: int = -1) -> None:
        self.stop = stop
        self.kept: dict[str, Any] = {}

    def load(self, title: str) -> Mapping[str, Any] | None:
        """What was kept of it last."""
        return self.kept.get(title)

    def save(self, title: str, state: TrainState) -> None:
        """Keeps it, and dies where it is time."""
        self.kept[title] = state.state_dict()
        self.stop -= 1
        if not self.stop:
            raise KilledError


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
