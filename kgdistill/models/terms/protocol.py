"""What a term of a score is: one class, computed in torch, that teacher, student and bundle share."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy.typing as npt
from torch import Tensor

from kgdistill.arrays import IntArray

Unit = Literal["probability", "count", "cosine", "score"]
"""What a blend makes of a term: the logit of an estimate of a probability, log(1 + a count), or, of a cosine
or a score of the term's own scale, the number in units of its spread."""


class Term(Protocol):
    """One part of a score: what it says of anchors and candidates, on the run's device."""

    @property
    def name(self) -> str:
        """What a reader calls it."""

    @property
    def unit(self) -> Unit:
        """In which its numbers are."""

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Of anchors int64 [B] and shared candidates int64 [C]: float32 [B, C], or [C] where all agree."""

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Of each anchor's own list int64 [B, C]: float32 [B, C]."""

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]] | None:
        """What a bundle of these candidates keeps of it; None for what is the teacher's alone."""
