"""The term of popularity: how many bought an item before."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.tasks.interactions import Interactions


@dataclass(frozen=True)
class Popularity:
    """Buyers of an item, the same for every user.

    Attributes:
        view: what is known.
        device: where to compute.
    """

    view: Interactions
    device: torch.device
    name: str = field(default="popularity", init=False)
    unit: Unit = field(default="count", init=False)

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Float32 [C]."""
        return torch.from_numpy(self.view.counts[candidates]).to(self.device).float()

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Float32 [B, C] of each user's own list."""
        return self.pairs(anchors, lists)

    def packed(self, candidates: IntArray) -> dict[str, IntArray]:
        """The counts."""
        return {"counts": self.view.counts[candidates]}
