"""What the graph encoder passes messages along: the edges of a view, and what is left of them in a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.sparse import sparse_rows
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups

Relation = tuple[str, str, str]
ANCHOR, CANDIDATE = "anchor", "candidate"
"""What the two sides of the interaction are called among the messages, whatever their labels are."""
INTERACTED: Relation = (ANCHOR, "interacted", CANDIDATE)
NEAR_TEXT: Relation = (CANDIDATE, "near_text", CANDIDATE)

LOOKED_AMONG = 50_000
"""The most texts among which the nearest are looked for."""
_CELLS = 1 << 26
"""So many nearnesses are held at a time."""


class _Product(torch.autograd.Function):
    """A sparse matrix times a dense one, with the transposed matrix at hand for the gradient."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, matrix: Tensor, back: Tensor, dense: Tensor
    ) -> Tensor:
        ctx.back = back  # type: ignore[attr-defined]
        product: Tensor = matrix @ dense
        return product

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[None, None, Tensor]:
        with torch.autocast(gradients[0].device.type, enabled=False):
            return None, None, ctx.back @ gradients[0].contiguous()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Adjacency:
    """A sparse matrix and its transpose.

    Attributes:
        matrix: float32 CSR [rows, columns].
        back: float32 CSR [columns, rows].
    """

    matrix: Tensor
    back: Tensor

    @property
    def lengths(self) -> Tensor:
        """Entries of each row, int64 [rows]."""
        return self.matrix.crow_indices().diff()

    @property
    def reverse(self) -> Adjacency:
        """The same, the other way round."""
        return Adjacency(self.back, self.matrix)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """float32 [columns, D] -> [rows, D], in float32 also under autocast."""
        with torch.autocast(dense.device.type, enabled=False):
            product: Tensor = _Product.apply(self.matrix, self.back, dense.float())
        return product


@dataclass(frozen=True)
class Messages:
    """What is passed in a step.

    Attributes:
        relations: by (source label, name, target label) what comes to the targets from the sources,
            D^-½ A D^-½ with the degrees over all relations, [targets, sources]; both ways.
        pool: each interaction by one over the roots of its two ends' degrees, [anchors, candidates].
        counts: how many anchors interacted with each candidate, float32 [candidates].
    """

    relations: Mapping[Relation, Adjacency]
    pool: Adjacency
    counts: Tensor


@dataclass(frozen=True)
class _Edges:
    """One relation: ends ordered by the target and, by `order`, by the source."""

    source: Tensor
    target: Tensor
    order: Tensor
    weight: float

    def matrix(self, values: Tensor, keep: Tensor | None, shape: tuple[int, int]) -> Adjacency:
        """The values of the edges that are kept as a matrix [targets, sources]."""
        sides = []
        for rows, columns, value, kept, size in (
            (self.target, self.source, values, keep, shape),
            (
                self.source[self.order], self.target[self.order], values[self.order],
                None if keep is None else keep[self.order], (shape[1], shape[0]),
            ),
        ):  # fmt: skip
            part = (rows, columns, value) if kept is None else (rows[kept], columns[kept], value[kept])
            sides.append(sparse_rows(*part, size))
        return Adjacency(*sides)


class MessageGraph:
    """The edges of a view, from which interactions can be left out.

    Args:
        view: what is known.
        families: item groups along the facts; pairs of families are left out.
        near: items that are near in text, CSR [items, items], symmetric; None without.
        fact_weight, near_weight: of a fact and of a nearness, against 1 of an interaction.
        device: where the edges are.
    """

    def __init__(
        self,
        view: Interactions,
        families: Sequence[ItemGroups],
        near: sp.csr_matrix | None,
        *,
        fact_weight: float,
        near_weight: float,
        device: torch.device,
    ) -> None:
        self.device = device
        anchors, candidates = view.purchases.shape
        self.sizes = {ANCHOR: anchors, CANDIDATE: candidates}
        self._edges: dict[Relation, _Edges] = {INTERACTED: self._of(view.purchases.T, 1.0)}
        for family in families:
            if family.kind != "pair" and fact_weight > 0:
                label = f"@{family.name}"
                self.sizes[label] = family.groups
                relation = (label, f"rev_{family.name}", CANDIDATE)
                self._edges[relation] = self._of(family.incidence, fact_weight)
        if near is not None and near.nnz and near_weight > 0:
            self._edges[NEAR_TEXT] = self._of(near, near_weight)

    def _of(self, matrix: sp.spmatrix, weight: float) -> _Edges:
        coo = sp.csr_matrix(matrix).tocoo()
        target, source = (torch.from_numpy(a.astype(np.int64)).to(self.device) for a in (coo.row, coo.col))
        return _Edges(source, target, torch.sort(source, stable=True).indices, weight)

    @property
    def relations(self) -> list[Relation]:
        """Directed, as `Messages.relations` has them."""
        return relations_of(list(self._edges))

    @property
    def interactions(self) -> tuple[Tensor, Tensor]:
        """Anchors and candidates of the interactions, int64 [E] each."""
        edges = self._edges[INTERACTED]
        return edges.source, edges.target

    def messages(self, keep: Tensor | None = None) -> Messages:
        """What is passed without the interactions that are not in `keep`, bool [E]; None keeps all."""
        degree = {label: torch.zeros(size, device=self.device) for label, size in self.sizes.items()}
        for relation, edges in self._edges.items():
            kept = keep if relation == INTERACTED else None
            for label, ends in ((relation[0], edges.source), (relation[2], edges.target)):
                if relation[0] == relation[2] and ends is edges.source:
                    continue  # a symmetric matrix names each edge twice
                ends = ends if kept is None else ends[kept]
                degree[label].index_add_(0, ends, torch.full_like(ends, edges.weight, dtype=torch.float32))
        root = {label: _inverse_root(d) for label, d in degree.items()}
        relations: dict[Relation, Adjacency] = {}
        for (source, name, target), edges in self._edges.items():
            values = edges.weight * root[target][edges.target] * root[source][edges.source]
            kept = keep if name == INTERACTED[1] else None
            matrix = edges.matrix(values, kept, (self.sizes[target], self.sizes[source]))
            relations[source, name, target] = matrix
            if source != target:
                relations[target, _back(name), source] = matrix.reverse
        counts, pool = self._pool(keep)
        return Messages(relations, pool, counts)

    def _pool(self, keep: Tensor | None) -> tuple[Tensor, Adjacency]:
        edges, shape = self._edges[INTERACTED], (self.sizes[CANDIDATE], self.sizes[ANCHOR])
        sides = []
        for ends, size in ((edges.target, shape[0]), (edges.source, shape[1])):
            ends = ends if keep is None else ends[keep]
            sides.append(torch.bincount(ends, minlength=size).float())
        values = _inverse_root(sides[0])[edges.target] * _inverse_root(sides[1])[edges.source]
        return sides[0], edges.matrix(values, keep, shape).reverse


def relations_of(edges: Sequence[Relation]) -> list[Relation]:
    """Each relation, and its way back where that is another."""
    out = []
    for source, name, target in edges:
        out.append((source, name, target))
        if source != target:
            out.append((target, _back(name), source))
    return out


def _back(name: str) -> str:
    return name.removeprefix("rev_") if name.startswith("rev_") else f"rev_{name}"


def _inverse_root(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), torch.zeros_like(degree))


def text_neighbours(
    text: FloatArray, rows: IntArray, items: IntArray, counts: IntArray, most: int, device: torch.device
) -> sp.csr_matrix:
    """Items that are nearest in text, by cosine: float32 CSR [items, items], symmetric, of 0 and 1.

    A text stands for its most bought item, so that many items of one text do not all meet.

    Args:
        text: embeddings of the distinct texts, float32 [T, E].
        rows: row of each item in `text`, int64 [all items].
        items: that can be recommended; the others have no neighbours.
        counts: buyers, int64 [all items].
        most: neighbours of each text, before the matrix is made symmetric.
        device: where to compare.
    """
    order = items[np.argsort(counts[items], kind="stable")]
    speaker = np.full(len(text), -1, np.int64)
    speaker[rows[order]] = order  # the last, most bought one stays
    spoken = np.flatnonzero(speaker >= 0)
    unit = torch.nn.functional.normalize(torch.from_numpy(text - text.mean(0)).to(device), dim=1)
    # Of very many texts only those of the most bought items are looked among: the cost stays linear.
    heard = np.sort(spoken[np.argsort(-counts[speaker[spoken]], kind="stable")[:LOOKED_AMONG]])
    among, places = unit[torch.from_numpy(heard).to(device)], torch.from_numpy(heard).to(device)
    rows_at_once = max(1, _CELLS // max(len(heard), 1))
    nearest = []
    for start in range(0, len(spoken), rows_at_once):
        part = torch.from_numpy(spoken[start : start + rows_at_once]).to(device)
        like = (unit[part] @ among.T).masked_fill(part[:, None] == places[None], -torch.inf)
        best = like.topk(min(most, max(len(heard) - 1, 0)), dim=1).indices
        nearest.append(heard[best.cpu().numpy()])
    neighbours = np.full((len(text), nearest[0].shape[1] + 1 if nearest else 1), -1, np.int64)
    if nearest:
        neighbours[spoken, :-1] = speaker[np.concatenate(nearest)]
    neighbours[:, -1] = speaker
    near = neighbours[rows[items]]
    matrix = sp.csr_matrix(
        (np.ones(near.size, np.float32), (np.repeat(items, near.shape[1]), near.ravel())),
        shape=(len(rows), len(rows)),
    )
    matrix = sp.csr_matrix(matrix + matrix.T)
    matrix.setdiag(0)
    matrix.eliminate_zeros()
    matrix.data[:] = 1.0
    return matrix
