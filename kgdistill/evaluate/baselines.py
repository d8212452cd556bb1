"""Peers that every comparison carries: popularity, EASE, chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from kgdistill.errors import InputError
from kgdistill.evaluate.task import EvaluationTask, Scorer
from kgdistill.progress import step

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_BLOCK_ITEMS = 4096


def popularity(task: EvaluationTask) -> Scorer:
    """Ranks items by how many eligible users had them in train, for everybody alike."""
    counts = task.item_counts.astype(np.float32)

    def score(users: Ints, candidates: Ints) -> Floats32:
        return np.broadcast_to(counts[candidates], (len(users), len(candidates)))

    return score


def random_scorer(seed: int) -> Scorer:
    """Chance: a number in [0, 1) that depends on the seed, the user and the item alone, not on chunks."""
    start = _mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))

    def score(users: Ints, candidates: Ints) -> Floats32:
        rows = _mixed(users.astype(np.uint64) ^ start)
        cells = _mixed(rows[:, None] ^ candidates.astype(np.uint64)[None, :])
        return (cells >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)

    return score


def ease(task: EvaluationTask, *, reg: float = 1000.0) -> Scorer:
    """EASE: a linear item-to-item model with a zero diagonal, in closed form (Steck 2019).

    With X the train matrix (users x warm items) and P = (XᵀX + λI)⁻¹, the weights are B = I - P / diag(P)
    and the scores XB. Where users are fewer than items, P is never formed: XP = KX with
    K = (XXᵀ + λI)⁻¹ (users x users), and diag(P) = (1 - x_jᵀ K x_j) / λ for every column x_j of X. Scores
    are then made for the users and candidates asked for.

    Memory: two dense float64 matrices of min(users, items)², 2·4,096·users, and chunk x candidates.

    Args:
        task: gives the train matrix of its eligible users and its warm items.
        reg: λ, above 0.

    Returns:
        A scorer for eligible users (ValueError for others). It knows nothing of items that are not warm:
        they score -inf, so judge it in the setting "warm".

    Raises:
        InputError: `reg` is not above 0.
    """
    if not reg > 0:
        raise InputError(f"EASE's reg is {reg}; it must be above 0")
    warm = task.candidates("warm", "validation")
    column_of = np.full(task.train.shape[1], -1, dtype=np.int64)
    column_of[warm] = np.arange(len(warm))
    row_of = np.full(task.train.shape[0], -1, dtype=np.int64)
    row_of[task.users] = np.arange(len(task.users))
    history = task.train[task.users][:, warm].astype(np.float64)
    with step("fitting EASE"):
        known = (_dual if len(task.users) < len(warm) else _primal)(history, reg)

    def score(users: Ints, candidates: Ints) -> Floats32:
        rows, columns = row_of[users], column_of[candidates]
        if (rows < 0).any():
            raise ValueError(
                f"user {int(users[rows < 0][0])} is not eligible: EASE knows no history of theirs"
            )
        scores = np.full((len(users), len(candidates)), -np.inf, dtype=np.float32)
        scores[:, columns >= 0] = known(rows, columns[columns >= 0])
        return scores

    return score


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


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
