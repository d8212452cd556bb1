"""The student: a token table, an id table and shared text fields; no graph, no transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.models.blend import Blend, HistoryModel
from kgdistill.models.terms.protocol import Unit


@dataclass(frozen=True)
class StudentShape:
    """What a student's weights are.

    Attributes:
        vocabulary: size of the token table.
        warm_items: rows of the id table.
        dim: width of the vectors.
        units: of the terms beside the vectors, in the order of `UNITS`.
        min_count: an item with fewer buyers is cold.
    """

    vocabulary: int
    warm_items: int
    dim: int
    units: Sequence[Unit]
    min_count: int


class Student(HistoryModel):
    """Static text tower plus, for warm items, what their text does not say.

    v = text + id; text is the weighted mean of token vectors. An item without a row in the id table is its
    text alone.

    Args:
        shape: of the weights.
        log_decay: where the history's recency decay starts (`decayed`).
    """

    def __init__(self, shape: StudentShape, *, log_decay: float = -6.0) -> None:
        super().__init__()
        self.shape = shape
        self.min_count = shape.min_count
        self.tokens = nn.Embedding(shape.vocabulary, shape.dim)
        self.token_weights = nn.Parameter(torch.zeros(shape.vocabulary))
        self.ids = nn.Embedding(shape.warm_items, shape.dim)
        self.blend = Blend(shape.units)
        self.recency = nn.Parameter(torch.tensor(log_decay))
        nn.init.normal_(self.tokens.weight, std=0.01)
        nn.init.normal_(self.ids.weight, std=0.01)

    def text(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Text vectors, float32 [N, D], of token ids int64 [L] split at offsets int64 [N]."""
        weights = F.softplus(self.token_weights).index_select(0, tokens)
        total = F.embedding_bag(tokens, self.tokens.weight, offsets, mode="sum", per_sample_weights=weights)
        ends = torch.cat([offsets[1:], offsets.new_tensor([len(tokens)])])
        sums = torch.cat([weights.new_zeros(1), weights.cumsum(0)])
        text: Tensor = total / (sums[ends] - sums[offsets]).clamp(min=1e-6)[:, None]
        return text

    def items(self, text: Tensor, rows: Tensor, id_keep: Tensor | None = None) -> Tensor:
        """Item vectors v, float32 [N, D].

        Args:
            text: text vectors, [N, D].
            rows: row in the id table, int64 [N]; -1 where there is none.
            id_keep: bool [N]; False drops an item's id.
        """
        has = rows >= 0
        if id_keep is not None:
            has = has & id_keep
        ids: Tensor = self.ids(rows.clamp(min=0))
        return torch.where(has[:, None], text + ids, text)
