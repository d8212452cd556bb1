"""The random walk over purchases and item facts, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.terms.item_weights import LIMIT, DenseItems, FactorItems, places, spread
from kgdistill.models.terms.linear import known_items, sides_count
from kgdistill.models.terms.sparse import RANK, csr_tensor, leading

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class KernelWalk:
    """The walk by the users, where they are fewer than the items: Tⁿ = D⁻¹ Xᵀ K X.

    Attributes:
        items: int64 [I], ascending ids.
        rows: X, float64 CSC [users, I].
        kernel: K = (C⁻¹ X D⁻¹ Xᵀ)ⁿ⁻¹ C⁻¹, float64 [users, users].
        scale: 1 / D, float64 [I].
    """

    items: IntArray
    rows: sp.csc_matrix
    kernel: Tensor
    scale: npt.NDArray[np.float64]
    mean: bool = True

    def score(self, histories: sp.csr_matrix, items: IntArray) -> Tensor:
        """Scores float32 [B, C] of `items` (ids) for histories CSR [B, all items]; 0 for unknown items."""
        query = sp.csr_matrix(histories[:, self.items], dtype=np.float64)
        query = sp.diags(1 / np.maximum(np.asarray(query.sum(1)).ravel(), 1e-9)) @ query
        known, columns = places(self.items, items)
        left = torch.from_numpy((query @ sp.diags(self.scale) @ self.rows.T).toarray()).to(self.kernel)
        return spread((self._columns(columns) @ (left @ self.kernel).T).T.float(), known)

    def into(self, start: int, end: int, among: Tensor | None = None) -> Tensor:
        """As `WholeModel.into`."""
        right = (self._columns(np.arange(start, end)) @ self.kernel.T).T
        weights = self._columns(np.arange(len(self.items))) @ right
        weights *= torch.from_numpy(self.scale).to(weights)[:, None]
        return weights if among is None else weights.gather(0, among.to(weights.device))

    def times(self, x: Tensor, *, back: bool = False) -> Tensor:
        """As `WholeModel.times`."""
        columns = self._columns(np.arange(len(self.items)))
        rows = csr_tensor(sp.csr_matrix(self.rows), self.kernel.device, torch.float64)
        scale, wide = torch.from_numpy(self.scale).to(self.kernel)[:, None], x.to(self.kernel)
        kernel = self.kernel.T if back else self.kernel
        whole = columns @ (kernel @ (rows @ (wide * scale if back else wide)))
        inner = sp.csr_matrix(self.rows.T) @ self.kernel.cpu().numpy()
        own = torch.from_numpy(np.asarray(self.rows.T.multiply(inner).sum(1))).to(self.kernel)
        return ((whole if back else whole * scale) - own * scale * wide).float()

    def packed(self, candidates: IntArray) -> None:
        """Nothing: a bundle keeps each item's strongest weights (`NeighbourItems`)."""

    def _columns(self, columns: IntArray) -> Tensor:
        """Those of the rows' columns, as rows: sparse float64 [C, users]."""
        return csr_tensor(sp.csr_matrix(self.rows[:, columns].T), self.kernel.device, torch.float64)

    @property
    def parameters(self) -> int:
        """How many numbers scoring needs."""
        return int(self.kernel.numel() + self.rows.nnz + len(self.scale))


def fit_walk(
    histories: sp.csr_matrix,
    sides: list[sp.csr_matrix],
    *,
    steps: int,
    side_weight: float = 0.3,
    limit: int = LIMIT,
    device: torch.device = _CPU,
) -> DenseItems | KernelWalk | FactorItems:
    """Where a random walk from the history ends: item → user, group or word → item, several times.

    One step is T = D⁻¹ Σ_b w_b S_b C_b⁻¹ S_bᵀ over the purchases and the sides S_b, with C_b the column
    sums and D the row sums; the score is q Tⁿ for a history q that sums to 1 (P3 of Cooper et al. 2014 is
    the case n = 1 without sides). More steps smooth more, which short histories ask for. With
    A = D^-½ [√w_b S_b C_b^-½] the steps are Tⁿ = D^-½ (A Aᵀ)ⁿ D^½: formed by 2 n sparse products; for
    more than `limit` items between the users, without sides, where these are no more than `limit`; else by
    the leading `RANK` singular vectors of A, as high powers leave little else.

    Args:
        histories: CSR [users, items].
        sides: CSR [items, features] each, not negative.
        steps: n, at least 1.
        side_weight: of every side, against 1 of the purchases.
        limit: the most items between which every weight is formed.
        device: where to compute.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    use_sides = sides_count(histories, limit) and bool(sides) and side_weight > 0
    items, known = known_items(histories, whole=histories.shape[1] if use_sides else 0)
    parts = [(1.0, sp.csr_matrix(known.T)), *((side_weight, side) for side in (sides if use_sides else []))]
    degree = np.zeros(len(items))
    blocks = []
    for weight, part in parts:
        columns = np.maximum(np.asarray(part.sum(0)).ravel(), 1e-9)
        degree += weight * np.asarray(part.sum(1)).ravel()
        blocks.append(part @ sp.diags(np.sqrt(weight / columns)))
    root = np.sqrt(degree)
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    halves = sp.csr_matrix(sp.diags(inverse) @ sp.hstack(blocks), dtype=np.float32)
    before, after = (torch.from_numpy(a.astype(np.float32)).to(device) for a in (inverse, root))
    if len(items) > limit and not sides_count(histories, limit):
        return _between_users(items, known, steps, device)
    if len(items) > limit:
        values, vectors = leading(halves, RANK, device)
        left, right = vectors * before[:, None] * values**steps, vectors * after[:, None]
        return FactorItems(items, left, right, mean=True)
    forward, back = csr_tensor(halves, device), csr_tensor(sp.csr_matrix(halves.T), device)
    power = torch.eye(len(items), device=device)
    for _ in range(steps):
        power = forward @ (back @ power)
    return DenseItems(items, power * before[:, None] * after, mean=True)


def _between_users(items: IntArray, known: sp.csr_matrix, steps: int, device: torch.device) -> KernelWalk:
    scale = 1 / np.maximum(np.asarray(known.sum(0)).ravel(), 1e-9)
    users = 1 / np.maximum(np.asarray(known.sum(1)).ravel(), 1e-9)
    once = (sp.diags(users) @ known @ sp.diags(scale) @ known.T).toarray()
    kernel = np.linalg.matrix_power(once, steps - 1) * users[None, :]
    return KernelWalk(items, known.tocsc(), torch.from_numpy(kernel).to(device), scale)
