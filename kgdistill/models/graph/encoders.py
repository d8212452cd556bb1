"""The graph encoders to choose from: linear per relation (default), propagation, SAGE and HGT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from kgdistill.models.graph.linear import ANCHOR, CANDIDATE, LinearRelationalEncoder, Relation

EncoderName = Literal["linear", "propagation", "sage", "hgt"]


@dataclass(frozen=True)
class Prepared:
    """What an encoder needs of a graph and computes once.

    Attributes:
        paths: the constant part of every relation path, float32 [paths, N_target, D].
        nodes: the given H⁰ by label, float32 [N, D]; empty where `paths` is all.
        edges: messages by relation, in the layout that the encoder's layers take; empty where `paths` is all.
    """

    paths: Tensor
    nodes: Mapping[str, Tensor] = field(default_factory=dict)
    edges: Mapping[Relation, Tensor] = field(default_factory=dict)


class GraphEncoder(Protocol):
    """Turns a graph into relational embeddings of the target label."""

    def prepare(self, adjacency: Mapping[Relation, Tensor], h0: Tensor, text: Tensor | None) -> Prepared:
        """What does not change while weights are learned.

        Args:
            adjacency: per relation a normalised sparse COO matrix, float32 [N_dst, N_src].
            h0: the source label's vectors, float32 [N_src, D].
            text: the target label's projected text, float32 [N_target, D]; the constant-path encoders
                leave it to the gate.
        """
        ...

    def encode(self, prepared: Prepared) -> Tensor:
        """Relational embeddings z, float32 [N_target, D], also under autocast."""
        ...


def make_encoder(
    name: EncoderName,
    relations: list[Relation],
    *,
    layers: int,
    dim: int,
    groups: Mapping[str, int],
    source: str = ANCHOR,
    target: str = CANDIDATE,
) -> GraphEncoder:
    """The encoder of this name, an `nn.Module`.

    Args:
        name: which one.
        relations: directed relations (source label, name, target label).
        layers: hops.
        dim: width of H⁰ and z.
        groups: how many nodes each other label has; they get learned vectors ("sage" and "hgt" only).
        source: the label whose H⁰ is given.
        target: the label whose z is wanted.

    Raises:
        ValueError: no relation leads from source to target, or a label is missing from `groups`.
    """
    direct = [r for r in relations if (r[0], r[2]) == (source, target)]
    if not direct:
        raise ValueError(f"no relation leads from {source} to {target}: there is nothing to encode")
    if name == "linear":
        return LinearEncoder(relations, layers, source, target)
    if name == "propagation":
        return PropagationEncoder(direct[0], layers)
    return HeteroEncoder(name, relations, layers=layers, dim=dim, groups=groups, source=source, target=target)


def _full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    kind = tensor.device.type
    # The meta device, which checks where tensors go, has no autocast to switch off.
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class LinearEncoder(LinearRelationalEncoder):
    """`LinearRelationalEncoder` as a `GraphEncoder`; the weights have the same names."""

    def prepare(self, adjacency: Mapping[Relation, Tensor], h0: Tensor, text: Tensor | None) -> Prepared:
        """See `GraphEncoder.prepare`."""
        return Prepared(self.paths(adjacency, h0))

    def operators(self, adjacency: Mapping[Relation, Tensor]) -> Mapping[Relation, Tensor]:
        """The matrices that a path multiplies: the adjacency as it is."""
        return adjacency

    def encode(self, prepared: Prepared) -> Tensor:
        """See `GraphEncoder.encode`."""
        with _full_precision(prepared.paths):
            z: Tensor = self(prepared.paths)
        return z


def symmetric(adjacency: Tensor) -> Tensor:
    """D_dst^-½ · A · D_src^-½ of a sparse COO matrix with weights ≥ 0, whatever its scale."""
    matrix = adjacency.coalesce()
    (rows, columns), values = matrix.indices(), matrix.values()
    inverse = []
    for index, size in zip((rows, columns), matrix.shape, strict=True):
        degree = values.new_zeros(size).index_add_(0, index, values)
        inverse.append(torch.where(degree > 0, degree.clamp_min(1e-38).rsqrt(), degree)[index])
    return torch.sparse_coo_tensor(
        matrix.indices(), values * inverse[0] * inverse[1], matrix.shape,
        is_coalesced=True, check_invariants=False,
    )  # fmt: skip


class PropagationEncoder(nn.Module):
    """Symmetric propagation over purchases alone, as LightGCN (He et al. 2020), with learned layer weights.

    Targets start at zero, so that z has one path per odd layer: Ã·h0, Ã·Ãᵀ·Ã·h0, …

    Args:
        relation: the relation from the source label to the target label.
        layers: how many hops; two more for every further path.
    """

    def __init__(self, relation: Relation, layers: int) -> None:
        super().__init__()
        self.source, name, self.target = relation
        self.relations: list[Relation] = [relation, (self.target, f"rev_{name}", self.source)]
        self.path_relations: list[tuple[int, ...]] = [(0, *(1, 0) * n) for n in range((layers + 1) // 2)]
        paths = len(self.path_relations)
        self.layer_weights = nn.Parameter(torch.full((paths,), 1.0 / paths))

    def operators(self, adjacency: Mapping[Relation, Tensor]) -> dict[Relation, Tensor]:
        """The matrices that a path multiplies: Ã and Ãᵀ, sparse COO."""
        forth = symmetric(adjacency[self.relations[0]])
        return dict(zip(self.relations, (forth, forth.t().coalesce()), strict=True))

    def paths(self, adjacency: Mapping[Relation, Tensor], h0: Tensor) -> Tensor:
        """The layers that reach the targets, float32 [paths, N_target, D]; arguments as in `prepare`."""
        forth, back = self.operators(adjacency).values()
        layers = [torch.sparse.mm(forth, h0)]
        for _ in self.path_relations[1:]:
            layers.append(torch.sparse.mm(forth, torch.sparse.mm(back, layers[-1])))
        return torch.stack(layers)

    def forward(self, paths: Tensor) -> Tensor:
        """Relational embeddings z, float32 [N_target, D], from `paths`."""
        return torch.einsum("p,pnd->nd", self.layer_weights, paths)

    def prepare(self, adjacency: Mapping[Relation, Tensor], h0: Tensor, text: Tensor | None) -> Prepared:
        """See `GraphEncoder.prepare`."""
        return Prepared(self.paths(adjacency, h0))

    def encode(self, prepared: Prepared) -> Tensor:
        """See `GraphEncoder.encode`."""
        with _full_precision(prepared.paths):
            z: Tensor = self(prepared.paths)
        return z


def _pyg() -> Any:
    with warnings.catch_warnings():
        # On importing, PyTorch Geometric uses parts of torch that a newer torch warns of.
        warnings.simplefilter("ignore")
        from torch_geometric import nn as layers
    return layers


def _rms(x: Tensor) -> Tensor:
    return x.pow(2).mean().sqrt().clamp_min(1e-12)


def _weighted_mean(adjacency: Tensor) -> Tensor:
    """Rows scaled to sum to 1 (weights ≥ 0), as CSR: the layout that PyG multiplies without a warning."""
    matrix = adjacency.coalesce()
    rows, values = matrix.indices()[0], matrix.values()
    total = values.new_zeros(matrix.shape[0]).index_add_(0, rows, values)
    scaled = torch.sparse_coo_tensor(
        matrix.indices(), values / total.clamp_min(1e-38)[rows], matrix.shape,
        is_coalesced=True, check_invariants=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return scaled.to_sparse_csr()


def _edge_index(adjacency: Tensor) -> Tensor:
    """The entries that are not 0, int64 [2, E]: sources, then targets."""
    matrix = adjacency.coalesce()
    return matrix.indices()[:, matrix.values() != 0].flip(0)


class HeteroEncoder(nn.Module):
    """PyG's heterogeneous layers: SAGE in HeteroConv (weighted means) or HGT (attention, weights unused).

    z = Σ_r a_r · Â_r · h0 + s · W · H^L over the relations that lead from source to target. W starts at zero,
    so that z starts in the space that h0 and the text projection share, and learns what the layers add;
    s is the size of the first term. H⁰ of the target is its projected text, or zero. Go backward outside
    autocast, as torch advises: its sparse product has no bfloat16.

    Args:
        kind: "sage" or "hgt".
        relations: directed relations (source label, name, target label).
        layers: how many hops.
        dim: width of H⁰ and z; "hgt" has two heads where it is even.
        groups: how many nodes each label other than source and target has.
        source: the label whose H⁰ is given.
        target: the label whose z is wanted.

    Raises:
        ValueError: a label is missing from `groups`.
    """

    def __init__(
        self,
        kind: Literal["sage", "hgt"],
        relations: list[Relation],
        *,
        layers: int,
        dim: int,
        groups: Mapping[str, int],
        source: str,
        target: str,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.relations = relations
        self.source, self.target = source, target
        labels = list(dict.fromkeys(label for r in relations for label in (r[0], r[2])))
        learned = [label for label in labels if label not in (source, target)]
        missing = [label for label in learned if label not in groups]
        if missing:
            raise ValueError(f"groups must say how many nodes {', '.join(missing)} has")
        # Labels and relations may have names that a module may not have.
        self._node = {label: f"n{i}" for i, label in enumerate(labels)}
        self._edge = {r: (self._node[r[0]], f"r{i}", self._node[r[2]]) for i, r in enumerate(relations)}
        self.groups = nn.ParameterDict(
            {self._node[label]: nn.Parameter(0.1 * torch.randn(groups[label], dim)) for label in learned}
        )
        self.direct = [r for r in relations if (r[0], r[2]) == (source, target)]
        self.direct_weights = nn.Parameter(torch.ones(len(self.direct)))
        self.convs = nn.ModuleList(self._layer(dim) for _ in range(layers))
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _layer(self, dim: int) -> nn.Module:
        pyg = _pyg()
        layer: nn.Module
        if self.kind == "sage":
            # The matrices hold the means' weights: their product is the mean.
            layer = pyg.HeteroConv(
                {edge: pyg.SAGEConv((dim, dim), dim, aggr="sum") for edge in self._edge.values()}, aggr="mean"
            )
        else:
            metadata = (list(self._node.values()), list(self._edge.values()))
            layer = pyg.HGTConv(dim, dim, metadata, heads=2 - dim % 2)
        return layer

    def prepare(self, adjacency: Mapping[Relation, Tensor], h0: Tensor, text: Tensor | None) -> Prepared:
        """See `GraphEncoder.prepare`."""
        first = torch.stack([torch.sparse.mm(adjacency[r], h0) for r in self.direct])
        layout = _weighted_mean if self.kind == "sage" else _edge_index
        start = torch.zeros_like(first[0]) if text is None else text.float()
        nodes = {self.source: h0 / _rms(h0), self.target: start / _rms(start)}
        return Prepared(first, nodes, {r: layout(adjacency[r]) for r in self.relations})

    def encode(self, prepared: Prepared) -> Tensor:
        """See `GraphEncoder.encode`."""
        with _full_precision(prepared.paths):
            state: dict[str, Tensor] = {self._node[label]: h for label, h in prepared.nodes.items()}
            state |= dict(self.groups.items())
            edges = {self._edge[r]: prepared.edges[r] for r in self.relations}
            for conv in self.convs:
                reached: dict[str, Tensor] = conv(state, edges)
                # HGT has its own non-linearity and keeps what a node had.
                following = {n: h.relu() if self.kind == "sage" else h for n, h in reached.items()}
                # A label that nothing reaches stays as it is.
                state = state | following
            first = torch.einsum("r,rnd->nd", self.direct_weights, prepared.paths)
            added: Tensor = self.out(state[self._node[self.target]])
            return first + _rms(prepared.paths.sum(0)) * added

    def forward(self, prepared: Prepared) -> Tensor:
        """The same as `encode`."""
        return self.encode(prepared)


def decayed(
    purchases: sp.csr_matrix, ages_days: npt.NDArray[np.float32], half_life_days: float
) -> sp.csr_matrix:
    """Purchases that fade: every weight is halved once per half-life.

    Args:
        purchases: float32 CSR [users, items]; it is not changed.
        ages_days: days before the cut, ≥ 0, float32, aligned with `purchases.data`.
        half_life_days: > 0; infinite for no decay.

    Returns:
        float32 CSR of the same sparsity and order; a very old purchase may weigh 0.

    Raises:
        ValueError: ages are not aligned, below 0 or not finite, or the half-life is not above 0.
    """
    if ages_days.shape != purchases.data.shape:
        raise ValueError(f"{ages_days.size} ages for {purchases.data.size} purchases: give one for each")
    if not half_life_days > 0:
        raise ValueError(f"a half-life of {half_life_days} days: give one above 0")
    if not np.isfinite(ages_days).all() or (ages_days < 0).any():
        raise ValueError("an age is below 0 or not finite: purchases at or after the cut must not be there")
    weights = purchases.data * np.exp2(-ages_days.astype(np.float64) / half_life_days)
    return sp.csr_matrix(
        (weights.astype(np.float32), purchases.indices.copy(), purchases.indptr.copy()), shape=purchases.shape
    )
