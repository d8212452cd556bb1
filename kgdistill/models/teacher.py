"""The fused teacher: text and relational embeddings, gated into one scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kgdistill.models.blend import Blend, HistoryModel, item_state
from kgdistill.models.graph.encoders import EncoderName, GraphEncoder, Prepared, make_encoder
from kgdistill.models.graph.linear import Relation
from kgdistill.models.terms.protocol import Unit


@dataclass(frozen=True)
class TeacherShape:
    """What a teacher's weights are, beside the relations that it passes messages along.

    Attributes:
        text_dim: width of the text embeddings.
        dim: width of the relational space.
        layers: hops of the graph encoder.
        units: of the terms beside the vectors, in the order of `UNITS`.
        hidden: width of the scorer's perceptron; 0 leaves it out.
        min_count: an item with fewer buyers is cold.
        use_graph: whether z takes part.
        encoder: of the graph.
    """

    text_dim: int
    dim: int
    layers: int
    units: Sequence[Unit]
    min_count: int
    hidden: int = 0
    use_graph: bool = True
    encoder: EncoderName = "linear"


class FusedTeacher(HistoryModel):
    """Scores items for users from text, relational embeddings and typed paths.

    f = g⊙t + (1−g)⊙z with t = W_t·text and g = σ(W[t; z; log(1+buyers); is_cold]). Norms are kept: a
    relational embedding's length carries how sure it is. Without a graph (`use_graph` False) f = t.

    Args:
        shape: of the weights.
        relations: what the graph encoder passes messages along.
        groups: how many groups each label of the relations has.
        log_decay: where the history's recency decay starts (`decayed`).
    """

    def __init__(
        self,
        shape: TeacherShape,
        relations: list[Relation],
        groups: Mapping[str, int] | None = None,
        *,
        log_decay: float = -6.0,
    ) -> None:
        super().__init__()
        self.shape, dim = shape, shape.dim
        self.min_count = shape.min_count
        # The projection is solved in closed form before training and then only mixed.
        self.text = nn.Linear(shape.text_dim, dim, bias=False).requires_grad_(False)
        self.mix = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.mix.weight)
        self.encoder: GraphEncoder | None = (
            make_encoder(shape.encoder, relations, layers=shape.layers, dim=dim, groups=groups or {})
            if shape.use_graph
            else None
        )
        self.gate = nn.Linear(2 * dim + 2, dim)
        self.blend = Blend(shape.units, hidden=shape.hidden)
        self.log_ridge = nn.Parameter(torch.tensor(-1.6))
        self.recency = nn.Parameter(torch.tensor(log_decay))
        nn.init.zeros_(self.gate.weight)
        with torch.no_grad():
            # Cold items start on their text, warm ones on the graph.
            self.gate.weight[:, -1] = 3.0
            self.gate.bias.fill_(-4.0)

    def items(
        self, text: Tensor, paths: Prepared | None, counts: Tensor, z_keep: Tensor | None = None
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
        z = self.encoder.encode(paths)
        gate = torch.sigmoid(self.gate(torch.cat([t, z, item_state(counts, self.min_count)], dim=-1)))
        if z_keep is not None:
            gate = torch.where(z_keep[:, None], gate, torch.ones_like(gate))
        fused: Tensor = (gate * t + (1 - gate) * z).float()
        return fused

    def project(self, text: Tensor) -> Tensor:
        """Text embeddings [N, T] in the relational space, float32 [N, D], before `mix`."""
        projected: Tensor = self.text(text)
        return projected

    def relational(self, paths: Prepared) -> Tensor:
        """The relational embeddings z alone, float32 [N, D]."""
        if self.encoder is None:
            raise ValueError("a teacher without a graph has no relational embeddings")
        z: Tensor = self.encoder.encode(paths)
        return z
