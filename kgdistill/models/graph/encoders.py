"""The graph encoders to choose from: linear (default), SAGE and HGT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from kgdistill.models.graph.messages import ANCHOR, CANDIDATE, Adjacency, Messages, Relation

EncoderName = Literal["linear", "sage", "hgt"]
State = Mapping[str, Tensor]
"""Vectors of the nodes by label, float32 [nodes, D]."""


class GraphEncoder(Protocol):
    """Turns a graph and what its nodes start with into relational embeddings of the candidates."""

    def __call__(self, start: State, messages: Messages) -> Tensor:
        """Relational embeddings z, float32 [candidates, D], also under autocast.

        Args:
            start: H⁰ of the labels; one that is missing, as that of the anchors is, starts at 0.
            messages: what is passed.
        """
        ...


def make_encoder(name: EncoderName, relations: Sequence[Relation], *, layers: int, dim: int) -> GraphEncoder:
    """The encoder of this name, an `nn.Module`.

    Args:
        name: which one.
        relations: directed relations (source label, name, target label).
        layers: hops.
        dim: width of H⁰ and z.

    Raises:
        ValueError: no relation leads to the candidates.
    """
    if not any(target == CANDIDATE for _, _, target in relations):
        raise ValueError(f"no relation leads to a {CANDIDATE}: there is nothing to encode")
    if name == "linear":
        return LinearEncoder(layers)
    return HeteroEncoder(name, relations, layers=layers, dim=dim)


class LinearEncoder(nn.Module):
    """H^{l+1} = Σ_r Â_r · H^l and z the mean of H^0 … H^L, as LightGCN (He et al. 2020), over all relations.

    Nothing in it is learned but H⁰: weights of relations and layers were tried, and fit the labels at hand
    better and later ones worse (`bench/README.md`).

    Args:
        layers: L.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, start: State, messages: Messages) -> Tensor:
        """See `GraphEncoder`."""
        state: dict[str, Tensor] = dict(start)
        total = state[CANDIDATE].float()
        for _ in range(self.layers):
            state = _hop(state, messages.relations)
            if CANDIDATE in state:
                total = total + state[CANDIDATE]
        return total / (self.layers + 1)


def _hop(state: State, relations: Mapping[Relation, Adjacency]) -> dict[str, Tensor]:
    reached: dict[str, Tensor] = {}
    for (source, _, target), adjacency in relations.items():
        if source in state:
            came = adjacency @ state[source]
            reached[target] = reached[target] + came if target in reached else came
    return reached


def _pyg() -> Any:
    with warnings.catch_warnings():
        # On importing, PyTorch Geometric uses parts of torch that a newer torch warns of.
        warnings.simplefilter("ignore")
        from torch_geometric import nn as layers
    return layers


def _rms(x: Tensor) -> Tensor:
    return x.pow(2).mean().sqrt().clamp_min(1e-12)


def _edge_index(matrix: Tensor) -> Tensor:
    """Sources, then targets of a CSR matrix [targets, sources]: int64 [2, E]."""
    lengths = matrix.crow_indices().diff()
    targets = torch.arange(len(lengths), device=matrix.device).repeat_interleave(lengths)
    return torch.stack([matrix.col_indices(), targets])


class HeteroEncoder(nn.Module):
    """z of `LinearEncoder` + s · W · H^L of PyG's SAGE or HGT layers (Hamilton et al. 2017, Hu et al. 2020).

    W starts at zero, so that z starts where the linear one is and learns what the layers add; s is the size
    of the first. SAGE takes the weights of the messages, HGT has attention in their place.

    Args:
        kind: "sage" or "hgt".
        relations: directed relations (source label, name, target label).
        layers: how many hops.
        dim: width of H⁰ and z; "hgt" has two heads where it is even.
    """

    def __init__(
        self, kind: Literal["sage", "hgt"], relations: Sequence[Relation], *, layers: int, dim: int
    ) -> None:
        super().__init__()
        self.kind = kind
        self.linear = LinearEncoder(layers)
        labels = list(dict.fromkeys(label for r in relations for label in (r[0], r[2])))
        # Labels and relations may have names that a module may not have.
        self._node = {label: f"n{i}" for i, label in enumerate(labels)}
        self._edge = {r: (self._node[r[0]], f"r{i}", self._node[r[2]]) for i, r in enumerate(relations)}
        self.convs = nn.ModuleList(self._layer(dim) for _ in range(layers))
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def _layer(self, dim: int) -> nn.Module:
        pyg = _pyg()
        layer: nn.Module
        if self.kind == "sage":
            layer = pyg.HeteroConv(
                {edge: pyg.SAGEConv((dim, dim), dim, aggr="sum") for edge in self._edge.values()}, aggr="mean"
            )
        else:
            metadata = (list(self._node.values()), list(self._edge.values()))
            layer = pyg.HGTConv(dim, dim, metadata, heads=2 - dim % 2)
        return layer

    def forward(self, start: State, messages: Messages) -> Tensor:
        """See `GraphEncoder`."""
        first = self.linear(start, messages)
        scale = _rms(first.detach())
        dim = first.shape[1]
        with torch.autocast(first.device.type, enabled=False):
            state = {
                self._node[label]: h.float() / scale for label, h in start.items() if label in self._node
            }
            if ANCHOR in self._node:
                anchors = messages.pool.matrix.shape[0]
                state.setdefault(self._node[ANCHOR], first.new_zeros(anchors, dim))
            layout = (lambda m: m) if self.kind == "sage" else _edge_index
            edges = {name: layout(messages.relations[r].matrix) for r, name in self._edge.items()}
            for conv in self.convs:
                reached: dict[str, Tensor] = conv(state, edges)
                # HGT has its own non-linearity and keeps what a node had; what nothing reaches stays.
                state = state | {n: h.relu() if self.kind == "sage" else h for n, h in reached.items()}
            added: Tensor = self.out(state[self._node[CANDIDATE]])
            z: Tensor = first + scale * added
        return z
