"""The term of nearness in text between what was bought and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.tasks.interactions import Interactions

_LATEST = 5
_USERS = 16


@dataclass(frozen=True)
class NearText:
    """The cosine between an item's text and the history's: the nearest of the latest, or the mean of all.

    Attributes:
        view: whose histories.
        text: vectors of unit length, float32 [items, E], on the device.
        of: which part of a history.
    """

    view: Interactions
    text: Tensor
    of: Literal["latest", "all"]
    unit: Unit = field(default="cosine", init=False)

    @property
    def name(self) -> str:
        """Which of the two."""
        return f"text, {self.of}"

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Float32 [B, C] of users and shared items."""
        text = self.text[torch.from_numpy(candidates).to(self.text.device)].T
        if self.of == "all":
            return self._mean(anchors) @ text
        out = text.new_empty(len(anchors), text.shape[1])
        for start in range(0, len(anchors), _USERS):
            near = self._near(anchors[start : start + _USERS])
            # One product for all of them; many small ones are slower.
            like = (near.flatten(0, 1) @ text).reshape(*near.shape[:2], -1)
            torch.amax(like, 1, out=out[start : start + _USERS])
        return out

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Float32 [B, C] of each user's own list."""
        text = self.text[torch.from_numpy(lists).to(self.text.device)]
        if self.of == "all":
            return torch.einsum("bce,be->bc", text, self._mean(anchors))
        return torch.einsum("bce,bne->bcn", text, self._near(anchors)).amax(-1)

    def packed(self, candidates: IntArray) -> None:
        """Nothing: a bundle holds no text vectors of the teacher."""

    def _near(self, anchors: IntArray) -> Tensor:
        """Text of the latest items, [B, n, E]; zeros where there are none."""
        latest = torch.from_numpy(self.view.latest(anchors, _LATEST)).to(self.text.device)
        return self.text[latest] * (latest >= 0)[..., None]

    def _mean(self, anchors: IntArray) -> Tensor:
        """The direction of the history's mean, [B, E]."""
        items, offsets, _ = (t.to(self.text.device) for t in self.view.history(anchors))
        if not len(items):
            return self.text.new_zeros(len(anchors), self.text.shape[1])
        total = F.embedding_bag(items, self.text, offsets, mode="sum")
        return F.normalize(total, dim=1, eps=1e-9)
