"""Each item's strongest weights of a model, what is left of the others, and where to look among many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.terms.item_weights import WholeModel, bags
from kgdistill.models.terms.linear import widened
from kgdistill.models.terms.sparse import csr_tensor, leading_pairs

_CPU = torch.device("cpu")
_BLOCK = 512
_SHARED = 256


@dataclass(frozen=True)
class NeighbourItems:
    """What a student keeps of a model: each item's strongest weights, and for the others a low-rank product.

    Attributes:
        weights: float32 CSR [kinds * items, items], from what a history holds (`Interactions.rows`) to a
            recommended item.
        factored: ids of the items that a product of low rank knows, ascending, int64 [F].
        left, right: float32 [F, r]; left · rightᵀ stands for the weights among these that are not kept.
        mean: whether a history counts by its mean, as in a walk, or by its sum.

    Scores are computed where `left` and `right` are.
    """

    weights: sp.csr_matrix
    factored: IntArray
    left: Tensor
    right: Tensor
    mean: bool = False

    @property
    def device(self) -> torch.device:
        """Where scores are computed."""
        return self.left.device

    def on(self, device: torch.device) -> NeighbourItems:
        """The same there."""
        return replace(self, left=self.left.to(device), right=self.right.to(device))

    def score(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all columns]; 0 for unknown items."""
        if histories.shape[1] > self.weights.shape[0]:
            histories = sp.csr_matrix(histories[:, : self.weights.shape[0]])
        out = self._table(histories, items)
        if self.left.numel() and histories.nnz:
            asked = bags(sp.csr_matrix(histories[:, self.factored], dtype=np.float32), self.left)
            columns, rows = (torch.from_numpy(place).to(self.device) for place in self._factored(items))
            out = out.index_add(1, columns, asked @ self.right[rows].T)
        if self.mean:
            total = np.maximum(np.asarray(histories.sum(1), dtype=np.float32), np.float32(1e-9))
            out = out / torch.from_numpy(total).to(self.device)
        return out

    def _table(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """What the weights that are kept say, float32 [B, C]."""
        users, width = histories.shape[0], self.weights.shape[1]
        if not self.weights.nnz:
            return torch.zeros(users, len(items), device=self.device)
        starts, ends = (self.weights.indptr[histories.indices + end].astype(np.int64) for end in (0, 1))
        lengths = ends - starts
        flat = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        owner = np.repeat(np.repeat(np.arange(users), np.diff(histories.indptr)), lengths)
        cells = torch.from_numpy(owner * width + self.weights.indices[flat]).to(self.device)
        values = torch.from_numpy(self.weights.data[flat] * np.repeat(histories.data, lengths))
        summed = torch.zeros(users * width, device=self.device).index_add_(
            0, cells, values.to(self.device, torch.float32)
        )
        out = summed.reshape(users, width)
        if len(items) < width or (np.diff(items) != 1).any():
            out = out[:, torch.from_numpy(items).to(self.device)]
        return out

    def _factored(self, items: IntArray) -> tuple[IntArray, IntArray]:
        """Which of some items the product knows, by their places, and their rows in it."""
        rows = np.searchsorted(self.factored, items)
        rows[rows == len(self.factored)] = 0
        known = self.factored[rows] == items if len(self.factored) else np.zeros(len(items), np.bool_)
        return np.flatnonzero(known), rows[known]

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]]:
        """The weights among these candidates, as CSR, and the factors of the others."""
        width, count = self.weights.shape
        rows_of = (np.arange(0, width, count)[:, None] + candidates).ravel()
        weights = self.weights[rows_of][:, candidates]
        places, rows = self._factored(candidates)
        return {
            "factored": places.astype(np.int32),
            "left": self.left.cpu().numpy()[rows],
            "right": self.right.cpu().numpy()[rows],
            "data": weights.data,
            "indices": weights.indices.astype(np.int32),
            "indptr": weights.indptr.astype(np.int64),
        }

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs: each weight and where it stands, the factors and whose they are."""
        return 2 * int(self.weights.nnz) + self.left.numel() + self.right.numel() + len(self.factored)


def strongest(
    model: WholeModel,
    most: int,
    count: int,
    among: IntArray | None = None,
    *,
    rank: int = 0,
    factored: IntArray | None = None,
    width: int | None = None,
) -> NeighbourItems:
    """The `most` largest positive weights into each item; memory is items × `_BLOCK` floats without `among`.

    Args:
        model: any.
        most: per item.
        count: how many items there are in all.
        among: for each of all items the ids of others to look among, int64 [items or more, M], -1 for none
            (`likely_pairs`); None looks among all.
        rank: of the product that stands for the other weights (`_left_over`).
        factored: ids of the items among which it does, ascending; None for all that the model knows.
        width: how many columns histories have, the items the first of them; None for the items alone.
    """
    shape, items = (width or count, count), model.items[model.items < count]
    place = np.full(max(shape[0], 0 if among is None else len(among)) + 1, -1, np.int64)  # the last: none
    place[model.items] = np.arange(len(model.items))
    parts: list[list[IntArray]] = []
    device = _CPU
    for start in range(0, len(items) if most else 0, _BLOCK):
        into = items[start : start + _BLOCK]
        rows = None if among is None else torch.from_numpy(place[among[into]].T)
        asked = None if rows is None else rows.clamp(min=0)
        weights = model.into(start, start + len(into), asked).float()
        device = weights.device
        if rows is None:
            column = torch.arange(len(into), device=device)
            weights = weights.index_put((column + start, column), weights.new_zeros(()))
        else:
            own = torch.arange(start, start + len(into))
            weights = torch.where(((rows < 0) | (rows == own)).to(device), 0.0, weights)
        values, best = (a.cpu() for a in weights.topk(min(most, len(weights)), dim=0))
        best = best if rows is None else rows.gather(0, best)
        row, column = torch.nonzero(values > 0, as_tuple=True)
        parts.append([model.items[best[row, column]], into[column], values[row, column].numpy()])
    table = sp.csr_matrix(shape, dtype=np.float32)
    if parts:
        rows_, columns, data = (np.concatenate(column) for column in zip(*parts, strict=True))
        table = sp.csr_matrix((data, (rows_, columns)), shape=shape, dtype=np.float32)
        table.sort_indices()
    factored = items if factored is None else np.intersect1d(factored, items)
    factored = factored if rank else factored[:0]
    left, right = _left_over(model, table, rank, factored, device)
    return NeighbourItems(table, factored, left, right, model.mean)


def _left_over(
    model: WholeModel, table: sp.csr_matrix, rank: int, factored: IntArray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The best product of rank `rank` for the weights left out among some items: float32 [F, r] twice."""
    count = len(factored)
    if not min(rank, count):
        return torch.zeros(count, 0, device=device), torch.zeros(count, 0, device=device)
    kept = table[factored][:, factored]
    sides = {back: csr_tensor(sp.csr_matrix(kept.T if back else kept), device) for back in (False, True)}
    place = torch.from_numpy(np.searchsorted(model.items, factored)).to(device)

    def rest(x: Tensor, *, back: bool = False) -> Tensor:
        whole = x.new_zeros(len(model.items), x.shape[1]).index_copy_(0, place, x)
        return model.times(whole, back=back)[place] - sides[back] @ x

    return leading_pairs(rest, partial(rest, back=True), (count, count), rank, device)[1:]


def likely_pairs(histories: sp.csr_matrix, sides: list[sp.csr_matrix], most: int) -> IntArray:
    """Of each item the `most` others that share the most with it: ids, int64 [items, most], -1 for none.

    Users, groups and words count by one over the root of their size on each side, as in one step of a walk;
    of one with more than `_SHARED` items so many are drawn, so that the cost grows with the events.

    Args:
        histories: CSR [users, items], or with more columns after them.
        sides: CSR [items, features] each, not negative.
        most: per item.
    """
    halves, width = [], histories.shape[1]
    for part in (histories.T, *(widened(side.T, width).T for side in sides)):
        thin = _thinned(sp.csc_matrix(part))
        size = np.maximum(np.asarray(thin.sum(0)).ravel(), 1e-9)
        halves.append(thin @ sp.diags(1 / np.sqrt(size)))
    half = sp.csr_matrix(sp.hstack(halves), dtype=np.float32)
    back = sp.csr_matrix(half.T)
    out = np.full((half.shape[0], most), -1, np.int64)
    for start in range(0, half.shape[0], _BLOCK):
        shared = sp.csr_matrix(half[start : start + _BLOCK] @ back)
        for row, (low, high) in enumerate(zip(shared.indptr, shared.indptr[1:], strict=False), start=start):
            items, values = shared.indices[low:high], shared.data[low:high]
            items, values = items[items != row], values[items != row]
            if len(items) > most:
                items = items[np.argpartition(-values, most - 1)[:most]]
            out[row, : len(items)] = items
    return out


def _thinned(matrix: sp.csc_matrix) -> sp.csc_matrix:
    """`matrix` with at most `_SHARED` entries a column, drawn from a fixed start;"""
    lengths = np.diff(matrix.indptr)
    column = np.repeat(np.arange(matrix.shape[1]), lengths)
    order = np.lexsort((np.random.default_rng(0).random(matrix.nnz), column))
    place = np.empty(matrix.nnz, np.int64)
    place[order] = np.arange(matrix.nnz) - matrix.indptr[column[order]]
    kept = place < _SHARED
    return sp.csc_matrix(
        (matrix.data[kept], (matrix.indices[kept], column[kept])), shape=matrix.shape, dtype=np.float64
    )
