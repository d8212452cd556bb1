"""A student of classes that reads texts by transformer layers: what a word says hangs on its neighbours."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from kgdistill.models.heads import FusedHead, Words
from kgdistill.models.text.transformer import PooledText
from kgdistill.tasks.ragged import Ragged


class LayeredClassifier(nn.Module):
    """What `StaticClassifier` is, with layers of a text teacher in the place of its table.

    Args:
        tower: cut from the text teacher; it has no head of its own.
        head: over the text vector and the features beside it.
    """

    def __init__(self, tower: PooledText, head: FusedHead) -> None:
        super().__init__()
        self.tower, self.layers, self.head = tower, tower.model, head
        self._bare: Tensor
        self.register_buffer("_bare", torch.tensor(tower.token_ids([""])[0]), persistent=False)

    def text(self, flat: Tensor, offsets: Tensor) -> Tensor:
        """Vectors of length √W, float32 [B, W]; 0 where there is nothing but what stands around any text.

        Args:
            flat: token ids of all texts, marks and all, int64 [T].
            offsets: where each text's begin, int64 [B].
        """
        ids = Ragged(flat, torch.cat([offsets, offsets.new_tensor([len(flat)])]))
        rows = torch.arange(len(offsets), device=offsets.device)
        with self.tower.low_precision_training() if self.training else nullcontext():
            vectors = self.tower.vectors(ids, rows).float()
        places = offsets[:, None] + torch.arange(len(self._bare), device=offsets.device)
        bare = (flat[places.clamp(max=len(flat) - 1)] == self._bare).all(dim=1)
        read = ~(bare & (ids.starts.diff() == len(self._bare)))
        scaled: Tensor = vectors * read[:, None] * float(vectors.shape[1]) ** 0.5
        return scaled

    def forward(self, text: Tensor, beside: Tensor, words: Words | None) -> dict[str, Tensor]:
        """As `StaticClassifier`."""
        logits: dict[str, Tensor] = self.head(torch.cat([text, beside], dim=1), words)
        return logits
