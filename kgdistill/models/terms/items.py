"""Linear item-to-item models over purchases and item facts, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import lapack

from kgdistill.arrays import FloatArray, IntArray

_BLOCK = 4096
LIMIT = 6000
"""The largest matrix between items, or between users, that is formed."""


class ItemModel(Protocol):
    """Scores items from histories alone."""

    def score(self, histories: sp.csr_matrix, items: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""


@dataclass(frozen=True)
class _Formed:
    """Weights between items, formed or as a product through the rows; subclasses say what they are.

    Attributes:
        items: int64 [I], ascending ids of the items that have a row entry.
        weights: float32 [I, I] where they were formed, else None.
        rows: CSR [rows, I] and `kernel` float64 [rows, rows] in the second case, else None.
        scale: float64 [I].
    """

    items: IntArray
    weights: FloatArray | None
    rows: sp.csr_matrix | None
    kernel: npt.NDArray[np.float64] | None
    scale: npt.NDArray[np.float64]

    def score(self, histories: sp.csr_matrix, items: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        known, columns = _places(self.items, items)
        out = np.zeros((histories.shape[0], len(items)), np.float32)
        if not len(columns):
            return out
        query = self._query(sp.csr_matrix(histories[:, self.items]).astype(np.float64))
        if self.weights is None:
            out[:, known] = self._through(query, columns)
        else:
            # Histories are short: cheaper than copying a part of the weights.
            out[:, known] = (query.astype(np.float32) @ self.weights)[:, columns]
        return out

    def _query(self, query: sp.csr_matrix) -> sp.csr_matrix:
        return query

    def _through(self, query: sp.csr_matrix, columns: IntArray) -> npt.NDArray[np.float64]:
        raise NotImplementedError

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""
        if self.weights is not None:
            return int(self.weights.size)
        assert self.rows is not None
        assert self.kernel is not None
        return int(self.kernel.size + self.rows.nnz + len(self.scale))


@dataclass(frozen=True)
class LinearItems(_Formed):
    """EASE (Steck 2019) with the items' groups as further rows (collective EASE, Jeunen et al. 2020).

    Rows R are histories X and, where given, one row per group of a side; with P = (RᵀR + λI)⁻¹ the
    weights are B = I − P / diag(P), a zero diagonal, and the scores X B. With fewer items than rows P is
    formed; otherwise XP = (X − (XRᵀ) K R) / λ with K = (RRᵀ + λI)⁻¹ is never larger than rows × rows.
    `scale` is 1 / diag(P).

    Attributes:
        reg: λ.
    """

    reg: float

    def _through(self, query: sp.csr_matrix, columns: IntArray) -> npt.NDArray[np.float64]:
        assert self.rows is not None
        assert self.kernel is not None
        left = (query @ self.rows.T).toarray() @ self.kernel
        asked = query[:, columns].toarray()
        projected = asked - np.asarray((self.rows[:, columns].T @ left.T).T)
        out: npt.NDArray[np.float64] = asked - projected / self.reg * self.scale[columns]
        return out


def fit_linear(
    histories: sp.csr_matrix,
    sides: list[sp.csr_matrix],
    *,
    reg: float,
    side_weight: float,
    limit: int = LIMIT,
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
    use_sides = bool(sides) and side_weight > 0 and histories.shape[1] <= limit
    items, known = _known(histories, use_sides, limit)
    blocks: list[Any] = [known]
    if use_sides:
        blocks += [np.sqrt(side_weight) * side.T for side in sides]
    rows = sp.csr_matrix(sp.vstack(blocks)) if len(blocks) > 1 else known
    if len(items) <= rows.shape[0] and len(items) <= limit:
        inverse = _inverse((rows.T @ rows).toarray(), reg)
        scale = 1 / np.diag(inverse)
        # By rows, as scoring reads them.
        weights = np.ascontiguousarray(-inverse * scale, dtype=np.float32)
        np.fill_diagonal(weights, 0.0)
        return LinearItems(items, weights, None, None, scale, reg)
    kernel = _inverse((rows @ rows.T).toarray(), reg)
    columns = rows.tocsc()
    diagonal = np.empty(len(items))
    for start in range(0, len(items), _BLOCK):
        block = columns[:, start : start + _BLOCK].T.tocsr()
        diagonal[start : start + _BLOCK] = np.asarray(block.multiply(block @ kernel).sum(axis=1)).ravel()
    scale = reg / (1.0 - diagonal)
    return LinearItems(items, None, columns, kernel, scale, reg)


def _known(histories: sp.csr_matrix, everything: bool, limit: int) -> tuple[IntArray, sp.csr_matrix]:
    """The items with a row entry (or all), and the histories over them that are not empty."""
    counts = np.bincount(histories.indices, minlength=histories.shape[1])
    items = np.arange(histories.shape[1]) if everything else np.flatnonzero(counts)
    known = sp.csr_matrix(histories[:, items]).astype(np.float64)
    known = known[np.flatnonzero(np.diff(known.indptr))]
    if known.shape[0] > limit and len(items) > limit:
        active = np.sort(np.argsort(-np.diff(known.indptr), kind="stable")[:limit])
        known = known[active]
    return items.astype(np.int64), known


@dataclass(frozen=True)
class WalkItems(_Formed):
    """Where a random walk from the history ends: item → user, group or word → item, several times.

    One step is T = D⁻¹ Σ_b w_b S_b C_b⁻¹ S_bᵀ over the purchases and the sides S_b, with C_b the column
    sums and D the row sums; the score is q Tⁿ for a history q that sums to 1 (P3 of Cooper et al. 2014 is
    the case n = 1 without sides). More steps smooth more, which short histories ask for. `weights` are Tⁿ,
    or `kernel` is (C⁻¹ S D⁻¹ Sᵀ)ⁿ⁻¹ C⁻¹ over the users alone; `scale` is 1 / D.
    """

    def _query(self, query: sp.csr_matrix) -> sp.csr_matrix:
        total = np.maximum(np.asarray(query.sum(1)).ravel(), 1e-9)
        return sp.csr_matrix(sp.diags(1 / total) @ query)

    def _through(self, query: sp.csr_matrix, columns: IntArray) -> npt.NDArray[np.float64]:
        assert self.rows is not None
        assert self.kernel is not None
        left = (query @ sp.diags(self.scale) @ self.rows.T).toarray() @ self.kernel
        out: npt.NDArray[np.float64] = np.asarray((self.rows[:, columns].T @ left.T).T)
        return out


def fit_walk(
    histories: sp.csr_matrix,
    sides: list[sp.csr_matrix],
    *,
    steps: int,
    side_weight: float = 0.3,
    limit: int = LIMIT,
) -> WalkItems:
    """Fits the walk.

    Args:
        histories: CSR [users, items].
        sides: CSR [items, features] each, not negative. They take part only while the items stay within
            `limit`.
        steps: n, at least 1.
        side_weight: of every side, against 1 of the purchases.
        limit: largest matrix to form; where users and items are both more, the most active users count.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    use_sides = bool(sides) and side_weight > 0 and histories.shape[1] <= limit
    items, known = _known(histories, use_sides, limit)
    if len(items) <= limit:
        one, degree = np.zeros((len(items), len(items))), np.zeros(len(items))
        parts = [(1.0, known.T), *((side_weight, side) for side in (sides if use_sides else []))]
        for weight, part in parts:
            columns = np.maximum(np.asarray(part.sum(0)).ravel(), 1e-9)
            one += weight * (part @ sp.diags(1 / columns) @ part.T).toarray()
            degree += weight * np.asarray(part.sum(1)).ravel()
        scale = 1 / np.maximum(degree, 1e-9)
        step = np.asarray(one * scale[:, None], dtype=np.float32)
        return WalkItems(items, np.linalg.matrix_power(step, steps), None, None, scale)
    scale = 1 / np.maximum(np.asarray(known.sum(0)).ravel(), 1e-9)
    users = 1 / np.maximum(np.asarray(known.sum(1)).ravel(), 1e-9)
    through = (sp.diags(users) @ known @ sp.diags(scale) @ known.T).toarray()
    kernel = np.linalg.matrix_power(through, steps - 1) * users[None, :]
    return WalkItems(items, None, known, kernel, scale)


@dataclass(frozen=True)
class NeighbourItems:
    """Each item's strongest weights of a linear model: what a small student keeps of it.

    Attributes:
        weights: float32 CSR [all items, all items], from an item of the history to a recommended one.
        mean: whether a history counts by its mean, as in the walk, or by its sum.
    """

    weights: sp.csr_matrix
    mean: bool = False

    def score(self, histories: sp.csr_matrix, items: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        out: FloatArray = (histories @ self.weights[:, items]).toarray().astype(np.float32)
        if self.mean:
            out /= np.maximum(np.asarray(histories.sum(1), dtype=np.float32), np.float32(1e-9))
        return out

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs: each weight and where it stands."""
        return 2 * int(self.weights.nnz)


def strongest(model: LinearItems | WalkItems, most: int, count: int) -> NeighbourItems:
    """The `most` largest positive weights into each item.

    Memory is items × items floats.

    Args:
        model: any.
        most: per item.
        count: how many items there are in all.
    """
    one = sp.csr_matrix(sp.identity(count, format="csr")[model.items])
    weights = model.score(one, model.items)
    np.fill_diagonal(weights, 0)
    most = min(most, len(weights))
    rows = np.argpartition(-weights, most - 1, axis=0)[:most]
    values = np.take_along_axis(weights, rows, axis=0)
    columns = np.broadcast_to(np.arange(weights.shape[1]), rows.shape)
    kept = values > 0
    shape = (count, count)
    places = (model.items[rows[kept]], model.items[columns[kept]])
    return NeighbourItems(sp.csr_matrix((values[kept], places), shape=shape), isinstance(model, WalkItems))


def _places(held: IntArray, items: IntArray) -> tuple[npt.NDArray[np.bool_], IntArray]:
    """Which of `items` are among the ascending ids `held`, and where those stand."""
    if not len(held):
        return np.zeros(len(items), np.bool_), np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(held, items), len(held) - 1)
    known = held[place] == items
    return known, place[known]


def _inverse(gram: npt.NDArray[np.float64], reg: float) -> npt.NDArray[np.float64]:
    if not len(gram):
        return gram
    gram[np.diag_indices_from(gram)] += reg
    # From the Cholesky factor itself: a third of the work of solving for every column of the identity.
    factor, failed = lapack.dpotrf(gram, lower=1, clean=0, overwrite_a=1)
    inverse, singular = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise np.linalg.LinAlgError("the regularised Gram matrix is not positive definite")
    # Only the lower half is filled.
    lower = np.tril(inverse)
    whole: npt.NDArray[np.float64] = lower + np.tril(lower, -1).T
    return whole
