"""Heads that tell classes, one output per target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.tasks.ragged import Ragged, placed
from kgdistill.tasks.word_features import WordTable

Words: TypeAlias = tuple[Tensor, Tensor, Tensor]


class WordRows:
    """The words of some texts on a device."""

    def __init__(self, table: WordTable, device: torch.device) -> None:
        self._columns = Ragged(placed(table.columns, device), placed(table.starts, device))
        self._weights = placed(table.weights, device)

    def of(self, rows: Tensor) -> Words:
        """What `FusedHead` takes of texts int64 [B]."""
        places, offsets = self._columns.places(rows)
        return self._columns.values[places], self._weights[places], offsets


class ClassifyHead(nn.Module):
    """Logits of every target from the same features.

    Args:
        width: of the features.
        classes: how many each target has, by name.
        hidden: width of the shared layer; 0 leaves it out.
        dropout: of features and of the shared layer.
    """

    def __init__(self, width: int, classes: Mapping[str, int], *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden) if hidden else None
        # A module cannot be called as one of its own methods is: a target may be named "type".
        self.counts = list(classes.values())
        self.outputs = nn.ModuleDict({f"of {t}": nn.Linear(hidden or width, n) for t, n in classes.items()})
        self.dropout = dropout

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """float32 [B, width] -> logits by target, float32 [B, classes]."""
        x = F.dropout(features, self.dropout, self.training)
        if self.hidden is not None:
            x = F.dropout(F.relu(self.hidden(x)), self.dropout, self.training)
        return {name.removeprefix("of "): output(x) for name, output in self.outputs.items()}


class FusedHead(nn.Module):
    """What is said of classes: a head over dense features, and beside it each word's own weights.

    Args:
        head: of the dense features.
        words: how many there are; 0 leaves them out.
    """

    def __init__(self, head: ClassifyHead, words: int) -> None:
        super().__init__()
        self.head = head
        width = sum(head.counts)
        # From 0: a word says nothing until it has been learned.
        self.words = nn.EmbeddingBag(words, width, mode="sum") if words else None
        if self.words is not None:
            nn.init.zeros_(self.words.weight)

    def forward(self, features: Tensor, words: Words | None) -> dict[str, Tensor]:
        """Logits by target, float32 [B, classes].

        Args:
            features: float32 [B, width].
            words: columns int64 [T] and weights float32 [T], and where each row's begin, int64 [B].
        """
        logits: dict[str, Tensor] = self.head(features)
        if self.words is None or words is None:
            return logits
        columns, weights, offsets = words
        said = self.words(columns, offsets, per_sample_weights=weights)
        parts = said.split(self.head.counts, dim=1)
        return {name: x + part for (name, x), part in zip(logits.items(), parts, strict=True)}


class StaticClassifier(nn.Module):
    """The student: the mean of a text's token vectors, what stands beside the subject, and words, in a head.

    Args:
        table: of the tokens, float32 [V, D]; None where texts are not read.
        head: over the text vector and the features beside it.
    """

    def __init__(self, table: Tensor | None, head: FusedHead) -> None:
        super().__init__()
        self.table = (
            None
            if table is None
            else nn.EmbeddingBag.from_pretrained(table.clone(), mode="mean", freeze=False)
        )
        self.head = head

    def text(self, flat: Tensor, offsets: Tensor) -> Tensor:
        """Vectors of length √D, float32 [B, D]; 0 without tokens.

        Args:
            flat: token ids of all texts, int64 [T].
            offsets: where each text's begin, int64 [B].
        """
        assert self.table is not None
        vectors: Tensor = self.table(flat, offsets)
        unit: Tensor = F.normalize(vectors, dim=-1) * float(vectors.shape[1]) ** 0.5
        return unit

    def forward(self, text: Tensor | None, beside: Tensor, words: Words | None) -> dict[str, Tensor]:
        """Logits by target; `text` as `text()` gave it, `beside` float32 [B, beside]."""
        features = beside if text is None else torch.cat([text, beside], dim=1)
        logits: dict[str, Tensor] = self.head(features, words)
        return logits
