"""The term of recent popularity: how many bought an item lately."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.tasks.interactions import Interactions


@dataclass(frozen=True)
class RecentPopularity:
    """Buyers of an item, each halved for every 30 days of its age; the same for every user.

    Attributes:
        view: what is known.
        device: where to compute.
    """

    view: Interactions
    device: torch.device
    name: str = field(default="recent popularity", init=False)
    unit: Unit = field(default="count", init=False)

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Float32 [C]."""
        return torch.from_numpy(self.view.recent[candidates]).to(self.device)

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Float32 [B, C] of each user's own list."""
        return self.pairs(anchors, lists)

    def packed(self, candidates: IntArray) -> dict[str, FloatArray]:
        """The weighted counts."""
        return {"recent": self.view.recent[candidates]}
