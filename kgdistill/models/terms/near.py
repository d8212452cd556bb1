"""How near a query and an item stand in meaning."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.protocol import Unit


class NearTerm:
    """Cosines of vectors that one encoder made.

    Args:
        queries: unit vectors of the anchors, float32 [Q, E].
        items: unit vectors of the candidates, float32 [N, E].
        device: where they are compared.
    """

    name = "near"
    unit: Unit = "cosine"

    def __init__(self, queries: FloatArray, items: FloatArray, device: torch.device | None = None) -> None:
        self.queries = torch.from_numpy(queries).to(device)
        self.items = torch.from_numpy(items).to(device)

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Of shared candidates, float32 [B, C]."""
        whole = len(candidates) == len(self.items)
        return self.queries[anchors] @ (self.items if whole else self.items[candidates]).T

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Of each anchor's own candidates int64 [B, C], float32 [B, C]."""
        return torch.einsum("be,bce->bc", self.queries[anchors], self.items[lists])

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]]:
        """The candidates' vectors."""
        return {"vectors": self.items[candidates].cpu().numpy()}
