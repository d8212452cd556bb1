"""How the models of classes read subjects: a student's logits by id, words as tensors, and class centres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.beside import NodeTable, beside_features
from kgdistill.models.heads import StaticClassifier, Words
from kgdistill.models.text.words import WordTokens
from kgdistill.ranking.centres import Centres
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.word_features import WordFeatures, WordTable


def words_of(table: WordTable | None, rows: IntArray, device: torch.device) -> Words | None:
    """What `FusedHead` takes of the words of some subjects."""
    if table is None:
        return None
    part = table.rows(rows)
    columns, weights, offsets = (
        torch.from_numpy(array).to(device) for array in (part.columns, part.weights, part.starts[:-1])
    )
    return columns, weights, offsets


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
        model: StaticClassifier,
        task: ClassifyTask,
        tokenizer: Tokenizer | None,
        max_tokens: int,
        tables: Sequence[NodeTable],
        words: WordFeatures | None,
        unseen: float = 0.0,
    ) -> None:
        self._model, self._unseen = model, unseen
        self._device = next(model.parameters()).device
        members = [beside.members for beside in task.neighbours]
        self._beside = torch.from_numpy(beside_features(tables, members, len(task)))
        self._ids: list[list[int]] | None = None
        if tokenizer is not None and task.texts is not None:
            self._ids = WordTokens(tokenizer).ids(list(task.texts), max_tokens)
        self._words = words.read(task.texts) if words is not None and task.texts is not None else None

    def logits(self, rows: IntArray) -> tuple[dict[str, Tensor], Tensor | None]:
        """Logits by target, and the text vectors."""
        text = None
        if self._ids is not None:
            ids = [self._ids[i] for i in rows]
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            flat = torch.tensor([i for row in ids for i in row], dtype=torch.long)
            if self._model.training and self._unseen:
                seen = torch.rand(len(flat)) >= self._unseen
                owner = np.repeat(np.arange(len(ids)), lengths)[seen.numpy()]
                flat, lengths = flat[seen], np.bincount(owner, minlength=len(ids))
            starts = torch.from_numpy(np.cumsum(lengths) - lengths)
            text = self._model.text(flat.to(self._device), starts.to(self._device))
        beside = self._beside_of(rows)
        return self._model(text, beside, words_of(self._words, rows, self._device)), text

    def dense(self, rows: IntArray, text: Tensor | None) -> Tensor:
        """What the head reads beside words, float32 [B, features]; `text` as `logits` gave it."""
        beside = self._beside_of(rows)
        return beside if text is None else torch.cat([text, beside], dim=1)

    def _beside_of(self, rows: IntArray) -> Tensor:
        return self._beside[torch.from_numpy(rows)].to(self._device)
