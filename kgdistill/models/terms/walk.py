"""The random walk over purchases and item facts, in closed form."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from kgdistill.models.terms.item_weights import LIMIT, DenseItems, FactorItems
from kgdistill.models.terms.linear import known_items
from kgdistill.models.terms.sparse import RANK, csr_tensor, leading

_CPU = torch.device("cpu")


def fit_walk(
    histories: sp.csr_matrix,
    sides: list[sp.csr_matrix],
    *,
    steps: int,
    side_weight: float = 0.3,
    limit: int = LIMIT,
    device: torch.device = _CPU,
) -> DenseItems | FactorItems:
    """Where a random walk from the history ends: item → user, group or word → item, several times.

    One step is T = D⁻¹ Σ_b w_b S_b C_b⁻¹ S_bᵀ over the purchases and the sides S_b, with C_b the column
    sums and D the row sums; the score is q Tⁿ for a history q that sums to 1 (P3 of Cooper et al. 2014 is
    the case n = 1 without sides). More steps smooth more, which short histories ask for. With
    A = D^-½ [√w_b S_b C_b^-½] the steps are Tⁿ = D^-½ (A Aᵀ)ⁿ D^½: formed by 2 n sparse products, or, for
    more than `limit` items, by the leading `RANK` singular vectors of A, as high powers leave little else.

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
    use_sides = bool(sides) and side_weight > 0
    items, known = known_items(histories, everything=use_sides)
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
    if len(items) > limit:
        values, vectors = leading(halves, RANK, device)
        left, right = vectors * before[:, None] * values**steps, vectors * after[:, None]
        return FactorItems(items, left, right, mean=True)
    forward, back = csr_tensor(halves, device), csr_tensor(sp.csr_matrix(halves.T), device)
    power = torch.eye(len(items), device=device)
    for _ in range(steps):
        power = forward @ (back @ power)
    return DenseItems(items, power * before[:, None] * after, mean=True)
