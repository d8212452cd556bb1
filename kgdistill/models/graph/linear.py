"""The graph encoder: linear message passing with one learned scalar per relation and layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Relation = tuple[str, str, str]
ANCHOR, CANDIDATE = "anchor", "candidate"
"""What the two sides of the interaction are called among the messages, whatever their labels are."""
INTERACTED: Relation = (ANCHOR, "interacted", CANDIDATE)
INTERACTED_BY: Relation = (CANDIDATE, "rev_interacted", ANCHOR)


class LinearRelationalEncoder(nn.Module):
    """H^{l+1}_dst = Σ_r a^l_r · Â_r · H^l_src, no non-linearity; z = Σ_l w_l · H^l.

    With fixed H⁰ the result is a sum over relation paths, each a constant matrix times a product of
    scalars. `paths` computes those matrices once per graph; `forward` combines them, so that a training
    step costs no sparse product. Simplified as in SGC (Wu et al. 2019) and LightGCN (He et al. 2020).

    Args:
        relations: directed relations (source label, name, target label).
        layers: how many hops.
        source: the label whose H⁰ is given.
        target: the label whose z is wanted.
    """

    def __init__(self, relations: list[Relation], layers: int, source: str, target: str) -> None:
        super().__init__()
        self.relations = relations
        self.source = source
        self.target = target
        self.path_relations: list[tuple[int, ...]] = []
        reached: list[tuple[tuple[int, ...], str]] = [((), source)]
        for _ in range(layers):
            reached = [
                ((*path, r), relation[2])
                for path, label in reached
                for r, relation in enumerate(relations)
                if relation[0] == label
            ]
            self.path_relations += [path for path, label in reached if label == target]
        self.scalars = nn.Parameter(torch.full((layers, len(relations)), 0.5))
        self.layer_weights = nn.Parameter(torch.ones(layers))
        with torch.no_grad():
            # One hop carries the collaborative signal; longer paths start small.
            self.scalars[0] = 1.0
            self.layer_weights[1:] = 0.2

    def paths(self, adjacency: Mapping[Relation, Tensor], h0: Tensor) -> Tensor:
        """The constant part of every path, float32 [paths, N_target, D].

        Args:
            adjacency: per relation a normalised sparse matrix [N_dst, N_src].
            h0: the source label's vectors, float32 [N_src, D].
        """
        cache: dict[tuple[int, ...], Tensor] = {(): h0}
        for path in self.path_relations:
            for end in range(1, len(path) + 1):
                if path[:end] not in cache:
                    step = self.relations[path[end - 1]]
                    cache[path[:end]] = torch.sparse.mm(adjacency[step], cache[path[: end - 1]])
        return torch.stack([cache[path] for path in self.path_relations])

    def forward(self, paths: Tensor) -> Tensor:
        """Relational embeddings z, float32 [N_target, D], from `paths`."""
        weights = [
            self.layer_weights[len(path) - 1]
            * torch.stack([self.scalars[hop, r] for hop, r in enumerate(path)]).prod()
            for path in self.path_relations
        ]
        return torch.einsum("p,pnd->nd", torch.stack(weights), paths)
