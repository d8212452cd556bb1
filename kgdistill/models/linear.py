"""A linear item-to-item model over purchases and item facts, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_BLOCK = 4096


@dataclass(frozen=True)
class LinearItems:
    """EASE (Steck 2019) with the items' groups as further rows (collective EASE, Jeunen et al. 2020).

    Rows R are histories X and, where given, one row per group of a side; with P = (RᵀR + λI)⁻¹ the
    weights are B = I − P / diag(P), a zero diagonal, and the scores X B. With fewer items than rows P is
    formed; otherwise XP = (X − (XRᵀ) K R) / λ with K = (RRᵀ + λI)⁻¹ is never larger than rows × rows.

    Attributes:
        items: int64 [I], ascending ids of the items that have a row entry.
        weights: float64 [I, I] in the first case, else None.
        rows: CSR [rows, I] and `kernel` float64 [rows, rows] in the second case, else None.
        scale: float64 [I], 1 / diag(P).
        reg: λ.
    """

    items: IntArray
    weights: npt.NDArray[np.float64] | None
    rows: sp.csr_matrix | None
    kernel: npt.NDArray[np.float64] | None
    scale: npt.NDArray[np.float64]
    reg: float

    def score(self, histories: sp.csr_matrix, items: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        place = np.searchsorted(self.items, items)
        place[place == len(self.items)] = 0
        known = self.items[place] == items if len(self.items) else np.zeros(len(items), bool)
        columns = place[known]
        out = np.zeros((histories.shape[0], len(items)), np.float32)
        if not len(columns):
            return out
        query = sp.csr_matrix(histories[:, self.items]).astype(np.float64)
        if self.weights is not None:
            out[:, known] = query @ self.weights[:, columns]
            return out
        assert self.rows is not None
        assert self.kernel is not None
        left = (query @ self.rows.T).toarray() @ self.kernel
        asked = query[:, columns].toarray()
        projected = asked - np.asarray((self.rows[:, columns].T @ left.T).T)
        out[:, known] = asked - projected / self.reg * self.scale[columns]
        return out

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""
        if self.weights is not None:
            return int(self.weights.size)
        assert self.rows is not None
        assert self.kernel is not None
        return int(self.kernel.size + self.rows.nnz + len(self.scale))


def fit_linear(
    histories: sp.csr_matrix,
    sides: list[sp.csr_matrix],
    *,
    reg: float,
    side_weight: float,
    limit: int = 6000,
) -> LinearItems:
    """Fits the model.

    Args:
        histories: CSR [users, items].
        sides: CSR [items, features] each, S; SSᵀ is how alike two items are. They take part only while the
            items stay within `limit`, where they cost next to nothing.
        reg: λ, above 0.
        side_weight: weight of the sides' rows.
        limit: largest matrix to invert; where users and items are both more, the most active users count.

    Raises:
        ValueError: `reg` is not above 0.
    """
    if not reg > 0:
        raise ValueError(f"reg is {reg}; it must be above 0")
    counts = np.bincount(histories.indices, minlength=histories.shape[1])
    use_sides = bool(sides) and side_weight > 0 and histories.shape[1] <= limit
    items = np.arange(histories.shape[1]) if use_sides else np.flatnonzero(counts)
    known = sp.csr_matrix(histories[:, items]).astype(np.float64)
    known = known[np.flatnonzero(np.diff(known.indptr))]
    if known.shape[0] > limit and len(items) > limit:
        active = np.sort(np.argsort(-np.diff(known.indptr), kind="stable")[:limit])
        known = known[active]
    blocks: list[Any] = [known]
    if use_sides:
        blocks += [np.sqrt(side_weight) * side.T for side in sides]
    rows = sp.csr_matrix(sp.vstack(blocks)) if len(blocks) > 1 else known
    if len(items) <= rows.shape[0] and len(items) <= limit:
        inverse = _inverse((rows.T @ rows).toarray(), reg)
        scale = 1 / np.diag(inverse)
        weights = -inverse * scale
        np.fill_diagonal(weights, 0.0)
        return LinearItems(items.astype(np.int64), weights, None, None, scale, reg)
    kernel = _inverse((rows @ rows.T).toarray(), reg)
    columns = rows.tocsc()
    diagonal = np.empty(len(items))
    for start in range(0, len(items), _BLOCK):
        block = columns[:, start : start + _BLOCK].T.tocsr()
        diagonal[start : start + _BLOCK] = np.asarray(block.multiply(block @ kernel).sum(axis=1)).ravel()
    scale = reg / (1.0 - diagonal)
    return LinearItems(items.astype(np.int64), None, columns, kernel, scale, reg)


def _inverse(gram: npt.NDArray[np.float64], reg: float) -> npt.NDArray[np.float64]:
    gram[np.diag_indices_from(gram)] += reg
    inverse: npt.NDArray[np.float64] = cho_solve(
        cho_factor(gram, overwrite_a=True), np.eye(len(gram)), overwrite_b=True
    )
    return inverse
