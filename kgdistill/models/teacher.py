"""The fused teacher: how its vectors and terms make a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from kgdistill.models.blend import Blend, HistoryModel
from kgdistill.models.graph.encoders import EncoderName
from kgdistill.models.terms.protocol import Unit


@dataclass(frozen=True)
class TeacherShape:
    """What a teacher's weights are, beside the graph that it passes messages along.

    Attributes:
        text_dim: width of the text embeddings.
        dim: width of the relational space.
        layers: hops of the graph encoder.
        units: of the terms beside the vectors, in the order of `UNITS`.
        min_count: an item with fewer buyers is cold.
        use_graph: whether z takes part.
        encoder: of the graph.
    """

    text_dim: int
    dim: int
    layers: int
    units: Sequence[Unit]
    min_count: int
    use_graph: bool = True
    encoder: EncoderName = "linear"


class FusedTeacher(HistoryModel):
    """Scores items for users from the fused vectors (`FusedItems`) and the terms beside them.

    Args:
        shape: of the weights.
        log_decay: where the history's recency decay starts (`decayed`).
    """

    def __init__(self, shape: TeacherShape, *, log_decay: float = -6.0) -> None:
        super().__init__()
        self.shape, self.min_count = shape, shape.min_count
        self.blend = Blend(shape.units)
        self.recency = nn.Parameter(torch.tensor(log_decay))
