"""What a model of classes learns from: labels, and what a teacher says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.device import at_home, taken
from kgdistill.ranking.classes import Classified, decide, macro_f1, probabilities
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.ragged import placed
from kgdistill.train.loop import Draws, Lesson, LossTerms
from kgdistill.train.losses import list_distillation, relational_cosine

_ROWS, _LAYERED_ROWS = 512, 64
"""Of validation, subjects at a time, and of any where layers read their texts."""
Logits = Mapping[str, FloatArray]
"""Of each target, float32 [subjects, classes]."""


class ClassLesson(Lesson[Tensor]):
    """Labels of the training subjects, and what the teacher says of these and of unlabelled ones.

    Args:
        task: what is told; its test stays closed.
        logits: of some subjects, int64 [B] -> logits by target, and text vectors float32 [B, D] or None.
        device: where the model is, and the subjects that `logits` is asked for.
        config: weights, temperature, batch and patience.
        soft: the teacher's logits of every subject.
        wanted: the teacher's text vectors in the student's space, float32 [subjects, D].
        without: subjects that are not learned from.
        lengths: of the subjects' texts, int64 [subjects], where those of a batch are to be alike.
    """

    def __init__(
        self,
        task: ClassifyTask,
        logits: Callable[[Tensor], tuple[dict[str, Tensor], Tensor | None]],
        device: torch.device,
        config: ClassifyConfig,
        *,
        soft: Logits | None = None,
        wanted: Tensor | None = None,
        without: Sequence[int] | IntArray = (),
        lengths: Tensor | None = None,
    ) -> None:
        self._task, self._logits, self._config, self._device = task, logits, config, device
        told = soft or {}
        self._soft = {name: at_home(torch.from_numpy(held), device) for name, held in told.items()}
        self._wanted = None if wanted is None else at_home(wanted, device)
        train = task.subjects("train")
        learned = train if soft is None else np.concatenate([train, task.unlabelled])
        self._subjects = placed(learned[~np.isin(learned, without)], device)
        self._labels: dict[str, tuple[Tensor, Tensor]] = {}
        for name in task.class_names:
            rows, truth = task.subjects("train", name), task.truth(name, "train")
            known = torch.zeros(len(task), dtype=torch.bool)
            labels = torch.zeros(len(task), truth.shape[1])
            known[torch.from_numpy(rows)] = True
            labels[torch.from_numpy(rows)] = torch.from_numpy(truth.astype(np.float32))
            self._labels[name] = known.to(device), at_home(labels, device)
        self._lengths = lengths
        self._best, self._since = -np.inf, 0

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """See `Lesson`."""
        if self._lengths is not None:
            return draws.alike(self._subjects, self._lengths[self._subjects], self._config.batch)
        return draws.batches(self._subjects, self._config.batch, even=True)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """See `Lesson`."""
        config = self._config
        logits, text = self._logits(batch)
        terms: dict[str, tuple[float, Tensor]] = {}
        for name, x in logits.items():
            known, labels = (taken(part, batch, self._device) for part in self._labels[name])
            several = self._task.several(name)
            if known.any():
                weight = config.task_weight if self._soft else 1.0
                terms[f"task/{name}"] = weight, label_loss(x[known], labels[known], several=several)
            if self._soft:
                soft = taken(self._soft[name], batch, self._device)
                terms[f"list/{name}"] = (
                    config.list_weight, soft_loss(x, soft, config.temperature, several=several)
                )  # fmt: skip
        if text is not None and self._wanted is not None:
            terms["text"] = (
                config.text_weight,
                relational_cosine(text, taken(self._wanted, batch, self._device)),
            )
        return terms

    def validate(self) -> dict[str, float]:
        """What the validation subjects say, the mean over the targets: the greater the sum, the better.

        Without a teacher macro-F1 and the log-likelihood; with one how near its word is, as of the list loss,
        which a few dozen subjects tell better than their labels do.
        """
        reached = [self._reached(name) for name in self._task.class_names]
        means = {name: float(np.mean([each[name] for each in reached])) for name in reached[0]}
        total = sum(means.values())
        better = total > self._best
        self._best, self._since = max(self._best, total), 0 if better else self._since + 1
        return means

    def _reached(self, name: str) -> dict[str, float]:
        rows, truth = self._task.subjects("validation", name), self._task.truth(name, "validation")
        several, places = self._task.several(name), placed(rows, self._device)
        with torch.inference_mode():
            order, size = read_order(places, self._lengths, _ROWS)
            # Layers cannot read a batch without a text.
            parts = [part for part in torch.split(places[order], size) if len(part)]
            read = [self._logits(part)[0][name].float() for part in parts]
            x = torch.cat(read)[order.argsort()] if read else torch.zeros(truth.shape, device=self._device)
            if self._soft:
                soft = taken(self._soft[name], places, self._device)
                apart = soft_loss(x, soft, self._config.temperature, several=several)
                return {"imitation": -float(apart) if len(rows) else 0.0}
        f1, likelihood = worth(x.cpu().numpy(), truth, several=several)
        return {"macro_f1": f1, "log_likelihood": likelihood}

    def enough(self, epoch: int) -> bool:
        """Whether validation has not become better for as many epochs as the patience lasts."""
        return self._since >= self._config.patience

    def state_dict(self) -> dict[str, Any]:
        """See `Lesson`."""
        return {"best": float(self._best), "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Lesson`."""
        self._best, self._since = state["best"], state["since"]


def read_order(rows: Tensor, lengths: Tensor | None, size: int) -> tuple[Tensor, int]:
    """In which order subjects int64 [N] are read, int64 [N] places in them, and how many at a time.

    Args:
        rows: the subjects.
        lengths: of all subjects' texts where layers read them: those of like length then go together, few at
            a time, as short ones wait for long ones.
        size: how many else.
    """
    if lengths is None:
        return torch.arange(len(rows), device=rows.device), size
    return lengths[rows].argsort(stable=True), _LAYERED_ROWS


def worth(logits: FloatArray, truth: BoolArray, *, several: bool) -> tuple[float, float]:
    """What logits of subjects are worth: macro-F1, and their log-likelihood; models are chosen by the sum.

    Args:
        logits: float32 [subjects, classes].
        truth: bool [subjects, classes].
        several: whether a subject can have several classes.
    """
    p = probabilities(logits, 1.0, several=several)
    given = Classified(truth, p, decide(p, 0.5 if several else 0.0, several=several), several)
    lost = float(given.lost[given.in_scope].mean()) if given.in_scope.any() else 0.0
    return macro_f1(given, np.ones(len(truth), np.int64)), -lost


def label_loss(logits: Tensor, labels: Tensor, *, several: bool) -> Tensor:
    """Cross-entropy against labels, a scalar.

    Args:
        logits: float32 [B, C].
        labels: float32 [B, C] of 0 and 1. With one class a subject, a row of none is out of scope: every
            class is to be as likely as any other (Hendrycks et al. 2019).
        several: the mean over the classes of each one's binary cross-entropy.
    """
    if several:
        return F.binary_cross_entropy_with_logits(logits, labels)
    held = labels.sum(dim=1, keepdim=True)
    even = torch.full_like(labels, 1 / labels.shape[1])
    return F.cross_entropy(logits, torch.where(held > 0, labels, even))


def soft_loss(student: Tensor, teacher: Tensor, temperature: float, *, several: bool) -> Tensor:
    """`list_distillation` over the classes; with several, over each class and its absence."""
    if several:
        student, teacher = (
            torch.stack([x, torch.zeros_like(x)], dim=2).flatten(0, 1) for x in (student, teacher)
        )
    return list_distillation(student, teacher, temperature)
