"""Text and relational embeddings of the candidates, gated into one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kgdistill.models.blend import item_state, rows_of
from kgdistill.models.graph.encoders import EncoderName, GraphEncoder, make_encoder
from kgdistill.models.graph.messages import CANDIDATE, Messages, Relation

_START = 0.1
"""The size of what ids and projections start with."""
GATE = -2.0
"""The gate starts at σ of it: little text beside z."""


@dataclass(frozen=True)
class NodeTexts:
    """What is read of the nodes of one label.

    Attributes:
        vectors: of the distinct texts, centred and with a mean length of √E: float32 [T, E].
        rows: of each node in `vectors`, int64 [nodes].
    """

    vectors: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Fused:
    """What comes of the candidates.

    Attributes:
        vectors: f, float32 [N, D].
        text: t, the projected text, float32 [N, D].
        relational: z, float32 [N, D]; None without a graph.
        gate: g, how much of each number is text, float32 [N, D]; None without a graph.
    """

    vectors: Tensor
    text: Tensor
    relational: Tensor | None = None
    gate: Tensor | None = None


class FusedItems(nn.Module):
    """f = g⊙t + (1−g)⊙z with t = W_t·text and g = σ(W[t; z; log(1+buyers); is_cold]).

    z is the graph encoder's over H⁰ = P·text, for every label with texts, + a learned id, of the candidates
    that are `known`. Norms are kept: how long a vector is tells how much is bought. Without a graph f = t.

    Attributes:
        known: which candidates anybody interacted with, bool [N]; all until it is said.

    Args:
        text_dim: width of the text embeddings.
        dim: width of the relational space.
        sizes: nodes by label, with ids of their own: the candidates, groups.
        relations: what messages are passed along; none leaves the graph out.
        encoder, layers: see `make_encoder`.
        min_count: a candidate with fewer buyers is cold.
    """

    def __init__(
        self,
        text_dim: int,
        dim: int,
        sizes: Mapping[str, int],
        relations: Sequence[Relation],
        *,
        encoder: EncoderName,
        layers: int,
        min_count: int,
    ) -> None:
        super().__init__()
        self.min_count = min_count
        self.sizes, self.relations = dict(sizes), list(relations)
        self.text = nn.Linear(text_dim, dim, bias=False)
        nn.init.normal_(self.text.weight, std=_START / text_dim**0.5)
        self.encoder: GraphEncoder | None = None
        if relations:
            self.encoder = make_encoder(encoder, relations, layers=layers, dim=dim)
            self.start = nn.Linear(text_dim, dim, bias=False)
            nn.init.zeros_(self.start.weight)
            # Labels may have names that a module may not have.
            self._at = {label: f"n{i}" for i, label in enumerate(sizes)}
            self.ids = nn.ParameterDict(
                {self._at[label]: nn.Parameter(_START * torch.randn(n, dim)) for label, n in sizes.items()}
            )
            self.known: Tensor
            self.register_buffer("known", torch.ones(sizes[CANDIDATE], dtype=torch.bool))
            self.gate = nn.Linear(2 * dim + 2, dim)
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, GATE)

    def ids_of(self, label: str) -> nn.Parameter:
        """The learned ids of a label's nodes, float32 [nodes, D]."""
        ids: nn.Parameter = self.ids[self._at[label]]
        return ids

    def forward(
        self,
        texts: Mapping[str, NodeTexts],
        messages: Messages,
        keep: Tensor | None = None,
        new: Tensor | None = None,
    ) -> Fused:
        """What comes of the candidates.

        Args:
            texts: by label; the candidates' at least.
            messages: what is passed.
            keep: bool [N]; False drops a candidate's z (then it is its text alone).
            new: bool [N]; True takes a candidate's id away, as if nobody knew it.
        """
        own = texts[CANDIDATE]
        text = rows_of(self.text(own.vectors).float(), own.rows)
        if self.encoder is None:
            return Fused(text, text)
        z = self.encoder(self._starts(texts, new), messages)
        state = item_state(messages.counts, self.min_count)
        gate = torch.sigmoid(self.gate(torch.cat([text, z, state], dim=-1))).float()
        share = gate if keep is None else torch.where(keep[:, None], gate, torch.ones_like(gate))
        return Fused(share * text + (1 - share) * z, text, z, gate)

    def _starts(self, texts: Mapping[str, NodeTexts], new: Tensor | None) -> dict[str, Tensor]:
        starts: dict[str, Tensor] = {}
        for label, name in self._at.items():
            start: Tensor = self.ids[name]
            if label == CANDIDATE:
                has = self.known if new is None else self.known & ~new
                start = start * has[:, None]
            if label in texts:
                start = start + rows_of(self.start(texts[label].vectors).float(), texts[label].rows)
            starts[label] = start
        return starts
