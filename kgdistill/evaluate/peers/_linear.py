"""EASE: the linear item-to-item model in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from kgdistill.evaluate.peers._common import (
    Floats,
    Floats32,
    Grid,
    Ints,
    Unknown,
    above,
    grid,
    item_counts,
    presence,
    where_unknown,
)
from kgdistill.evaluate.task import Scorer
from kgdistill.progress import step

EASE_GRID: Grid = grid(reg=(5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0))

_BLOCK_ITEMS = 4096


def ease(
    history: csr_array, *, reg: float = 200.0, items: Ints | None = None, unknown: Unknown = "0"
) -> Scorer:
    """EASE: a linear item-to-item model with a zero diagonal (Steck 2019).

    With X the history (users x modelled items) and P = (XᵀX + λI)⁻¹, the weights are B = I - P / diag(P)
    and the scores XB. Where users are fewer than items, P is never formed: XP = KX with
    K = (XXᵀ + λI)⁻¹ (users x users), and diag(P) = (1 - x_jᵀ K x_j) / λ for every column x_j of X. Scores
    are then made for the users and candidates asked for.

    Memory: two dense float64 matrices of min(users, items)², 2·4,096·users, and chunk x candidates.

    Args:
        history: float32 [users, items].
        reg: λ, above 0.
        items: int64, ascending: the items to model; None: those with a user.
        unknown: what the others score.

    Returns:
        A scorer; users without a modelled item score 0 everywhere.

    Raises:
        InputError: `reg` is not above 0.
    """
    above("EASE's reg", reg)
    seen = presence(history)
    modelled = np.flatnonzero(item_counts(seen) > 0) if items is None else items
    column_of = np.full(history.shape[1], -1, dtype=np.int64)
    column_of[modelled] = np.arange(len(modelled))
    among = seen[:, modelled].astype(np.float64)
    rows = np.flatnonzero(np.diff(among.indptr) > 0)
    row_of = np.full(history.shape[0], -1, dtype=np.int64)
    row_of[rows] = np.arange(len(rows))
    among = among[rows]
    with step("fitting EASE"):
        known = (_dual if len(rows) < len(modelled) else _primal)(among, reg)

    def score(users: Ints, candidates: Ints) -> Floats32:
        mine = row_of[users]
        scores = np.zeros((len(users), len(candidates)), dtype=np.float32)
        if len(candidates) and (mine >= 0).any():
            scores[mine >= 0] = known(mine[mine >= 0], column_of[candidates])
        return scores

    return where_unknown(score, column_of >= 0, unknown)


def _dual(history: Any, reg: float) -> Callable[[Ints, Ints], Floats]:
    kernel = _inverse((history @ history.T).toarray(), reg)
    by_column = history.tocsc()
    diagonal = np.empty(history.shape[1])
    for start in range(0, len(diagonal), _BLOCK_ITEMS):
        columns = by_column[:, start : start + _BLOCK_ITEMS].T.tocsr()
        diagonal[start : start + _BLOCK_ITEMS] = columns.multiply(columns @ kernel).sum(axis=1)
    diagonal = (1.0 - diagonal) / reg

    def score(rows: Ints, columns: Ints) -> Floats:
        asked = by_column[:, columns]
        projected = (asked.T @ kernel[rows].T).T
        projected /= diagonal[columns]
        scores: Floats = asked[rows].toarray() - projected
        return scores

    return score


def _primal(history: Any, reg: float) -> Callable[[Ints, Ints], Floats]:
    weights = _inverse((history.T @ history).toarray(), reg)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)

    def score(rows: Ints, columns: Ints) -> Floats:
        scores: Floats = history[rows] @ weights[:, columns]
        return scores

    return score


def _inverse(gram: Floats, reg: float) -> Floats:
    gram[np.diag_indices_from(gram)] += reg
    inverse: Floats = cho_solve(cho_factor(gram, overwrite_a=True), np.eye(len(gram)), overwrite_b=True)
    return inverse
