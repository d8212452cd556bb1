"""The text teacher learns from a task's labels before it reads its texts."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.device import at_home, taken
from kgdistill.models.heads import ClassifyHead
from kgdistill.models.text.layers import unfreeze
from kgdistill.models.text.transformer import PooledText
from kgdistill.progress import notice
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.ragged import Ragged
from kgdistill.train.class_lesson import ClassLesson
from kgdistill.train.classify import class_recipe
from kgdistill.train.loop import Context, Draws, Recipe, fit
from kgdistill.train.subject_vectors import SubjectVectors, encode_each, encode_task, middle_and_size

_BATCH, _HALVES, _HEAD, _FEWEST = 16, 2, 10.0, 40
"""Texts at a time; encoders that are tuned; the rate of the layer of classes, as a multiple of theirs; the
fewest training subjects."""


@dataclass
class TunedTexts:
    """Reads a task's texts with a text teacher that has learned from its labels.

    Two are tuned, each by half of the training texts; a training subject has its vector of the one that did
    not learn from its text. All else is read by the mean of their weights (Wortsman et al. 2022). First a
    layer of classes learns over the vectors as they were, then both together: a layer that knows nothing yet
    would tear down what the text teacher knows (Kumar et al. 2022). Below 40 training subjects nothing is
    tuned.

    Attributes:
        encoder: as it was published; it stays so.
        config: what learns, and how.
        context: where, and what it draws from.
    """

    encoder: PooledText
    config: ClassifyConfig
    context: Context
    _frozen: FloatArray | None = field(default=None, repr=False)
    _ids: list[list[int]] = field(default_factory=list, repr=False)
    _read: dict[bytes, tuple[PooledText, FloatArray]] = field(default_factory=dict, repr=False)

    def __call__(self, task: ClassifyTask) -> tuple[PooledText, SubjectVectors]:
        """The tuned text teacher and what it says of the task's texts.

        It is tuned once for a task of the same training subjects and labels, whatever else that reads.

        Raises:
            InputError: the encoder has fewer layers than are to learn, or the loss is no longer a number.
        """
        train = task.subjects("train")
        labels = [task.truth(name, "train").tobytes() for name in task.class_names]
        key = b"".join([train.tobytes(), *labels])
        if key not in self._read:
            self._read[key] = self._tuned(task, train)
        encoder, subjects = self._read[key]
        return encoder, encode_task(task, encoder, subjects=subjects)

    def _tuned(self, task: ClassifyTask, train: IntArray) -> tuple[PooledText, FloatArray]:
        assert task.texts is not None
        if self._frozen is None:
            self._frozen = encode_each(self.encoder, task.texts)
            self._ids = self.encoder.token_ids(list(task.texts))
        if len(train) < _FEWEST:
            notice(f"the text encoder stays as it is: {len(train)} training texts are fewer than {_FEWEST}")
            return self.encoder, self._frozen
        parts = [train[part] for part in _halves([self._ids[i] for i in train], self.context.draws())]
        ids = Ragged.of(self._ids, self.encoder.device)
        halves = [_Half(self, task, self._frozen, part, number) for number, part in enumerate(parts)]
        encoders = [half.learned(ids) for half in halves]
        whole, rest = _mean(encoders), np.setdiff1d(np.arange(len(task)), train)
        subjects = np.empty_like(self._frozen)
        for encoder, rows in zip((*encoders, whole), (*parts, rest), strict=True):
            subjects[rows] = encode_each(encoder, [task.texts[i] for i in rows])
        return whole, subjects


def _halves(ids: Sequence[Sequence[int]], draws: Draws) -> list[IntArray]:
    """The places of some texts, by their tokens, in two; those that are one to the encoder lie together."""
    numbers: dict[tuple[int, ...], int] = {}
    which = np.array([numbers.setdefault(tuple(row), len(numbers)) for row in ids])
    order = draws.shuffled(torch.arange(len(numbers))).numpy()
    return [np.flatnonzero(np.isin(which, part)) for part in np.array_split(order, _HALVES)]


class _Half(nn.Module):
    """A copy of the text teacher under a layer of classes."""

    def __init__(
        self, tuned: TunedTexts, task: ClassifyTask, frozen: FloatArray, without: IntArray, number: int
    ) -> None:
        super().__init__()
        config, context = tuned.config, tuned.context
        self.task, self.config, self.without, self.number = task, config, without, number
        self.draws = Draws(context.seed * _HALVES + number, context.device)
        self.encoder = _copied(tuned.encoder, config)
        self.model = self.encoder.model
        counts = {name: len(names) for name, names in task.class_names.items()}
        self.head = ClassifyHead(tuned.encoder.dim, counts, hidden=0, dropout=config.dropout)
        learned = np.setdiff1d(task.subjects("train"), without)
        middle, self.size = middle_and_size(frozen[learned])
        self.texts, self.frozen = len(learned), torch.from_numpy(frozen)
        self.middle: Tensor
        self.register_buffer("middle", torch.from_numpy(middle))
        self.to(context.device)

    def _said(self, vectors: Tensor) -> dict[str, Tensor]:
        logits: dict[str, Tensor] = self.head((vectors - self.middle) / self.size)
        return logits

    def learned(self, ids: Ragged) -> PooledText:
        """The text teacher, after both trainings, by the tokens of the task's texts, where it is."""
        config, device = self.config, self.encoder.device
        frozen = at_home(self.frozen, device)
        lesson = ClassLesson(
            self.task, lambda rows: (self._said(taken(frozen, rows, device)), None), device, config,
            without=self.without,
        )  # fmt: skip
        name = f"text teacher of the classes, {'first' if not self.number else 'second'} half"
        fit(
            self.head, lesson, class_recipe(config, None, {}), self.draws,
            title=f"Training a layer over the {name}", validate=lesson.validate,
        )  # fmt: skip

        def read(rows: Tensor) -> tuple[dict[str, Tensor], None]:
            with self.encoder.low_precision_training():
                vectors = self.encoder.vectors(ids, rows)
            return self._said(vectors), None

        few = config.model_copy(update={"batch": _BATCH})
        lesson = ClassLesson(self.task, read, device, few, without=self.without)
        recipe = Recipe(
            max(config.tune_epochs, -(-config.tune_steps * _BATCH // max(self.texts, 1))), config.tune_lr,
            weight_decay=config.weight_decay, schedule="fall", warm=0.1, clip=1.0, rates={"head": _HEAD},
        )  # fmt: skip
        fit(self, lesson, recipe, self.draws, title=f"Tuning the {name}")
        self.model.requires_grad_(False).eval()
        return self.encoder


def _copied(encoder: PooledText, config: ClassifyConfig) -> PooledText:
    """A copy whose layers of their own learn; the others are the same tensors."""
    assert config.tune != "frozen"
    learning = unfreeze(encoder.model, config.tune, config.tune_layers, setting="classify.tune_layers")
    out = _with_own(encoder, learning)
    encoder.model.requires_grad_(False)
    if encoder.head is not None:
        encoder.head.requires_grad_(False)
    return out


def _with_own(encoder: PooledText, own: Collection[nn.Parameter]) -> PooledText:
    """A copy that has some of the parameters for itself, and shares the others."""
    alone = {id(p) for p in own}
    shared = {id(p): p for p in encoder.model.parameters() if id(p) not in alone}
    out = copy.copy(encoder)
    out.model, out._low = copy.deepcopy(encoder.model, shared), None
    return out


def _mean(encoders: Sequence[PooledText]) -> PooledText:
    """One whose weights are the mean of those of copies."""
    each = list(zip(*(e.model.parameters() for e in encoders), strict=True))
    out = _with_own(encoders[0], [held[0] for held in each if held[0] is not held[1]])
    with torch.no_grad():
        for mean, held in zip(out.model.parameters(), each, strict=True):
            if mean is not held[0]:
                mean.copy_(torch.stack(held).mean(dim=0))
    return out
