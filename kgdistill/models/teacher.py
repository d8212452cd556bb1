"""The fused teacher: text and relational embeddings, gated into one scorer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kgdistill.models.blend import ExpertBlend, fold_in, item_state, pool_history
from kgdistill.models.graph import LinearRelationalEncoder, Relation


class FusedTeacher(nn.Module):
    """Scores items for users from text, relational embeddings and typed paths.

    f = g⊙t + (1−g)⊙z with t = W_t·text and g = σ(W[t; z; log(1+buyers); is_cold]). Norms are kept: a
    relational embedding's length carries how sure it is. Without a graph (`use_graph` False) f = t.

    Args:
        text_dim: width of the text embeddings.
        dim: width of the relational space.
        relations: what the graph encoder passes messages along.
        layers: hops of the graph encoder.
        experts: how many typed path affinities the scorer gets.
        min_count: an item with fewer buyers is cold.
        use_graph: whether z takes part.
    """

    def __init__(
        self,
        *,
        text_dim: int,
        dim: int,
        relations: list[Relation],
        layers: int,
        experts: int,
        min_count: int,
        use_graph: bool = True,
    ) -> None:
        super().__init__()
        self.min_count = min_count
        self.use_graph = use_graph
        self.layers = layers
        # The projection is solved in closed form before training and then only mixed.
        self.text = nn.Linear(text_dim, dim, bias=False).requires_grad_(False)
        self.mix = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.mix.weight)
        self.encoder = LinearRelationalEncoder(relations, layers, "User", "Product") if use_graph else None
        self.gate = nn.Linear(2 * dim + 2, dim)
        self.blend = ExpertBlend(experts)
        self.log_ridge = nn.Parameter(torch.tensor(-1.6))
        self.recency = nn.Parameter(torch.tensor(-6.0))
        nn.init.zeros_(self.gate.weight)
        with torch.no_grad():
            # Cold items start on their text, warm ones on the graph.
            self.gate.weight[:, -1] = 3.0
            self.gate.bias.fill_(-4.0)

    def items(
        self, text: Tensor, paths: Tensor | None, counts: Tensor, z_keep: Tensor | None = None
    ) -> Tensor:
        """Fused item vectors f, float32 [N, D].

        Args:
            text: projected text embeddings (`project`), float32 [N, D].
            paths: `LinearRelationalEncoder.paths`, or None without a graph.
            counts: buyers before the cut, int64 [N].
            z_keep: bool [N]; False drops an item's z (then it is its text alone).
        """
        t: Tensor = self.mix(text)
        if self.encoder is None or paths is None:
            alone: Tensor = t.float()
            return alone
        z = self.encoder(paths)
        gate = torch.sigmoid(self.gate(torch.cat([t, z, item_state(counts, self.min_count)], dim=-1)))
        if z_keep is not None:
            gate = torch.where(z_keep[:, None], gate, torch.ones_like(gate))
        fused: Tensor = (gate * t + (1 - gate) * z).float()
        return fused

    def project(self, text: Tensor) -> Tensor:
        """Text embeddings [N, T] in the relational space, float32 [N, D], before `mix`."""
        projected: Tensor = self.text(text)
        return projected

    def relational(self, paths: Tensor) -> Tensor:
        """The relational embeddings z alone, float32 [N, D]."""
        if self.encoder is None:
            raise ValueError("a teacher without a graph has no relational embeddings")
        z: Tensor = self.encoder(paths)
        return z

    def users(self, items: Tensor, fold: Tensor, history: Tensor, offsets: Tensor, ages: Tensor) -> Tensor:
        """User vectors, float32 [B, D], by recency attention over the history and the ridge fold-in.

        Args:
            items: f of all items, [N, D].
            fold: `fold_in` of the warm items, [D, D].
            history: item positions, int64 [H]; offsets: int64 [B]; ages: days before the cut, float32 [H].
        """
        weights = torch.exp(-torch.exp(self.recency) * ages / 30.0)
        return pool_history(items, history, offsets, weights) @ fold

    def fold(self, items: Tensor, warm: Tensor) -> Tensor:
        """The fold-in matrix of these item vectors, float32 [D, D]."""
        return fold_in(items[warm], self.log_ridge)

    def score(self, users: Tensor, items: Tensor, counts: Tensor, typed: Tensor) -> Tensor:
        """Scores, float32 [B, C]; items [C, D], or [B, C, D] for each user's own list; typed [B, C, M]."""
        affinity = users @ items.T if items.dim() == 2 else torch.einsum("bd,bcd->bc", users, items)
        score: Tensor = self.blend(
            affinity, item_state(counts, self.min_count), torch.log1p(counts.float()), typed
        )
        return score
