"""How the models of classes read subjects: a student's logits by id, words as tensors, and class centres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from kgdistill.models.beside import NodeTable, beside_features
from kgdistill.models.device import at_home, taken
from kgdistill.models.heads import StaticClassifier, WordRows
from kgdistill.ranking.centres import Centres
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.ragged import Ragged, thinned
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.class_text import Split, TextClassifier


def words_of(words: WordFeatures | None, task: ClassifyTask, device: torch.device) -> WordRows | None:
    """The words of the subjects on a device; None where texts are not read."""
    return None if words is None or task.texts is None else WordRows(words.read(task.texts), device)


def class_centres(task: ClassifyTask, features: Callable[[], Any]) -> dict[str, Centres]:
    """`Centres` of the training subjects, for each target that can be none of its classes.

    Args:
        task: what is told.
        features: give those of every subject, an array or a sparse matrix, [subjects, F]; asked only then.
    """
    names = [name for name in task.class_names if task.spec.targets[name].none_of_them is not None]
    read: Any = features() if names else None
    return {name: Centres.of(read[task.subjects("train", name)], task.truth(name, "train")) for name in names}


class ClassReader:
    """A student's logits of subjects by id."""

    def __init__(
        self,
        model: TextClassifier,
        task: ClassifyTask,
        split: Split | None,
        tables: Sequence[NodeTable],
        words: WordFeatures | None,
        unseen: float = 0.0,
    ) -> None:
        # The marks around a text are to stay where layers read it.
        self._model, self._unseen = model, unseen if isinstance(model, StaticClassifier) else 0.0
        self.device = next(model.parameters()).device
        members = [beside.members for beside in task.neighbours]
        beside = beside_features(tables, members, len(task))
        self._beside = at_home(torch.from_numpy(beside), self.device)
        self._ids: Ragged | None = None
        if split is not None and task.texts is not None:
            self._ids = Ragged.of(split(list(task.texts)), self.device)
        self._words = words_of(words, task, self.device)

    @property
    def lengths(self) -> Tensor | None:
        """Of the texts, int64 [subjects], where layers read them: short ones wait for long ones."""
        if self._ids is None or isinstance(self._model, StaticClassifier):
            return None
        return self._ids.starts.diff()

    def logits(self, rows: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Logits by target, and the text vectors, of subjects int64 [B] on the device."""
        text = None
        if self._ids is not None:
            read = self._ids.take(rows)
            if self._model.training and self._unseen:
                read = thinned(*read, self._unseen)
            text = self._model.text(*read)
        words = None if self._words is None else self._words.of(rows)
        return self._model(text, taken(self._beside, rows, self.device), words), text

    def dense(self, rows: Tensor, text: Tensor | None) -> Tensor:
        """What the head reads beside words, float32 [B, features]; `text` as `logits` gave it."""
        beside = taken(self._beside, rows, self.device)
        return beside if text is None else torch.cat([text, beside], dim=1)
