"""The term of weights between items: what the history, weighed by recency, says of a candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.tasks.interactions import Interactions

LIMIT = 6000
"""The most items, or the most users, between which every weight is formed."""
_ROWS = 128


class ItemModel(Protocol):
    """Scores items from histories alone."""

    def score(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]] | None:
        """What a bundle of these candidates keeps; None where that is nothing."""

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""


class WholeModel(ItemModel, Protocol):
    """An `ItemModel` that knows a weight between any two of its items."""

    @property
    def items(self) -> IntArray:
        """Ascending ids of the items that it knows, int64 [I]."""

    @property
    def mean(self) -> bool:
        """Whether a history counts by its mean, or by its sum."""

    def into(self, start: int, end: int, among: Tensor | None = None) -> Tensor:
        """The weights into the known items at `start` to `end`, float [I, end - start], from all known ones.

        With `among`, the places of some of them for each, int64 [M, end - start] on any device: float
        [M, end - start].
        """

    def times(self, x: Tensor, *, back: bool = False) -> Tensor:
        """The weights, without their diagonal, times `x`, float [I, r]; from the other side with `back`."""


@dataclass(frozen=True)
class ItemWeights:
    """Weights between items as a term: an estimate of the probability that the history leads to an item.

    Attributes:
        name: which model it is.
        view: whose histories.
        model: gives the weights.
        decay: how fast a history loses its say, exp(−decay · rank).
    """

    name: str
    view: Interactions
    model: ItemModel
    decay: float = 0.0
    unit: Unit = field(default="probability", init=False)

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Estimates, float32 [B, C], for users and shared items."""
        return self.model.score(self.view.queries(anchors, self.decay), candidates)

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Estimates, float32 [B, C], for each user's own list."""
        items, place = np.unique(lists, return_inverse=True)
        scores = self.pairs(anchors, items)
        return scores.gather(1, torch.from_numpy(place.reshape(lists.shape)).to(scores.device))

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]] | None:
        """The weights among these candidates, as CSR, where each item keeps but its strongest; else None."""
        return self.model.packed(candidates)


@dataclass(frozen=True)
class DenseItems:
    """Every weight between the known items.

    Attributes:
        items: int64 [I], ascending ids.
        weights: float32 [I, I], from an item of the history to a recommended one.
        mean: whether a history counts by its mean, as in a walk, or by its sum.
    """

    items: IntArray
    weights: Tensor
    mean: bool = False

    def score(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        query = query_of(histories, self.items, mean=self.mean)
        known, columns = places(self.items, items)
        scores = bags(query, self.weights)
        if known.all() and len(columns) == len(self.items) and (np.diff(columns) > 0).all():
            return scores
        return spread(scores[:, torch.from_numpy(columns).to(scores.device)], known)

    def into(self, start: int, end: int, among: Tensor | None = None) -> Tensor:
        """As `WholeModel.into`."""
        weights = self.weights[:, start:end]
        return weights if among is None else weights.gather(0, among.to(weights.device))

    def times(self, x: Tensor, *, back: bool = False) -> Tensor:
        """As `WholeModel.times`."""
        whole = (self.weights.T if back else self.weights) @ x
        return whole - self.weights.diagonal()[:, None] * x

    def packed(self, candidates: IntArray) -> None:
        """Nothing: a bundle keeps each item's strongest weights (`NeighbourItems`)."""

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""
        return self.weights.numel()


@dataclass(frozen=True)
class FactorItems:
    """Weights between items as a product of two low ones: leftᵀ right, apart from the diagonal, which is 0.

    Attributes:
        items: int64 [I], ascending ids.
        left, right: float32 [I, r], of an item of the history and of a recommended one.
        mean: whether a history counts by its mean, as in a walk, or by its sum.
    """

    items: IntArray
    left: Tensor
    right: Tensor
    mean: bool = False

    def score(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        query = query_of(histories, self.items, mean=self.mean)
        known, columns = places(self.items, items)
        index = torch.from_numpy(columns).to(self.right.device)
        scores = bags(query, self.left) @ self.right[index].T
        own = torch.from_numpy(query[:, columns].toarray()).to(scores)
        return spread(scores - own * (self.left[index] * self.right[index]).sum(1), known)

    def into(self, start: int, end: int, among: Tensor | None = None) -> Tensor:
        """As `WholeModel.into`."""
        right = self.right[start:end]
        if among is None:
            return self.left @ right.T
        among, out = among.to(right.device), right.new_empty(among.shape)
        for at in range(0, len(right), _ROWS):
            part = slice(at, at + _ROWS)
            out[:, part] = torch.einsum("mbr,br->mb", self.left[among[:, part]], right[part])
        return out

    def times(self, x: Tensor, *, back: bool = False) -> Tensor:
        """As `WholeModel.times`."""
        to, of = (self.right, self.left) if back else (self.left, self.right)
        return to @ (of.T @ x) - (self.left * self.right).sum(1, keepdim=True) * x

    def packed(self, candidates: IntArray) -> None:
        """Nothing: a bundle keeps each item's strongest weights (`NeighbourItems`)."""

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""
        return self.left.numel() + self.right.numel()


def places(held: IntArray, items: IntArray) -> tuple[BoolArray, IntArray]:
    """Which of `items` are among the ascending ids `held`, and where those stand."""
    if not len(held):
        return np.zeros(len(items), np.bool_), np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(held, items), len(held) - 1)
    known = held[place] == items
    return known, place[known]


def query_of(histories: sp.csr_matrix, items: IntArray, *, mean: bool) -> sp.csr_matrix:
    """The histories over the known `items`, float32 CSR [B, I]; rows that sum to 1 where `mean`."""
    query = sp.csr_matrix(histories[:, items], dtype=np.float32)
    if not mean:
        return query
    total = np.maximum(np.asarray(query.sum(1)).ravel(), 1e-9)
    return sp.csr_matrix(sp.diags((1 / total).astype(np.float32)) @ query)


def bags(query: sp.csr_matrix, weights: Tensor) -> Tensor:
    """`query` [B, I], CSR, times `weights` [I, W]: [B, W]."""
    if not query.nnz:
        return weights.new_zeros(query.shape[0], weights.shape[1])
    items, offsets = (
        torch.from_numpy(a.astype(np.int64)).to(weights.device) for a in (query.indices, query.indptr[:-1])
    )
    by = torch.from_numpy(query.data).to(weights)
    return F.embedding_bag(items, weights, offsets, mode="sum", per_sample_weights=by)


def spread(scores: Tensor, known: BoolArray) -> Tensor:
    """Scores of the known items, [B, known], among all that were asked for, [B, C]; 0 for the others."""
    if known.all():
        return scores
    out = scores.new_zeros(len(scores), len(known))
    out[:, torch.from_numpy(known).to(out.device)] = scores
    return out
