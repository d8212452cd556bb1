"""What a query and an item have in common in words; and what all terms of queries share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.tasks.lexical import LexicalIndex


class QueryTerm(ABC):
    """A term whose anchors are texts; it says at once what it says of every candidate.

    Args:
        queries: the texts of the anchors.
        device: where its numbers are wanted.
    """

    name: str
    unit: Unit

    def __init__(self, queries: Sequence[str], device: torch.device | None = None) -> None:
        self.queries = queries
        self.device = device

    @abstractmethod
    def rows(self, anchors: IntArray) -> FloatArray:
        """Of every candidate, float32 [B, candidates]."""

    def asked(self, anchors: IntArray) -> list[str]:
        """The texts of some anchors."""
        return [self.queries[a] for a in anchors]

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Of shared candidates, float32 [B, C]."""
        rows = self.rows(anchors)
        chosen = rows if len(candidates) == rows.shape[1] else rows[:, candidates]
        return torch.from_numpy(chosen).to(self.device)

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Of each anchor's own candidates int64 [B, C], float32 [B, C]."""
        return torch.from_numpy(np.take_along_axis(self.rows(anchors), lists, axis=1)).to(self.device)

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]] | None:
        """None: it is the teacher's alone."""
        return None


class WordsTerm(QueryTerm):
    """BM25; see `LexicalIndex`."""

    name = "words"
    unit: Unit = "score"

    def __init__(
        self, queries: Sequence[str], index: LexicalIndex, device: torch.device | None = None
    ) -> None:
        super().__init__(queries, device)
        self.index = index

    def rows(self, anchors: IntArray) -> FloatArray:
        """Of every candidate, float32 [B, candidates]."""
        return self.index.scores(self.asked(anchors))

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]]:
        """The index of all candidates; the same serves both terms."""
        return self.index.arrays()


class CoverageTerm(WordsTerm):
    """The share of a query's known words that an item holds."""

    name = "coverage"
    unit: Unit = "probability"

    def rows(self, anchors: IntArray) -> FloatArray:
        """Of every candidate, float32 [B, candidates]."""
        return self.index.coverage(self.asked(anchors))
