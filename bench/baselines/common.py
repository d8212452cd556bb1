"""What the peers share: types, scorers made of vectors, users and items without history."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.evaluate.baselines import Unknown, above, item_counts, presence, where_unknown
from kgdistill.tasks.match import Scorer

__all__ = [
    "DAY_US", "Grid", "Unknown", "above", "grid", "item_counts",
    "presence", "where_unknown", "with_fallback",
]  # fmt: skip


Grid: TypeAlias = tuple[dict[str, Any], ...]
"""Sets of keyword arguments to try on validation."""

DAY_US = 86_400_000_000


def grid(**axes: tuple[Any, ...]) -> Grid:
    """Every combination of the axes' values, the last axis fastest."""
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def from_vectors(users_by: FloatArray, items_by: FloatArray, history: csr_array, unknown: Unknown) -> Scorer:
    """Inner products of vectors float32 [users, E] and [items, E].

    Those without history have no vector that was learned from anything: users score 0 everywhere,
    items score `unknown`.
    """
    has = presence(history)
    mine = np.where(np.diff(has.indptr)[:, None] > 0, users_by, 0).astype(np.float32)
    known = item_counts(has) > 0

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = mine[users] @ items_by[candidates].T
        return scores

    return where_unknown(score, known, unknown)


def with_fallback(scorer: Scorer, history: csr_array, fallback: Scorer) -> Scorer:
    """`scorer`, but users without history get what `fallback` says, such as popularity."""
    has = np.diff(presence(history).indptr) > 0

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        new = ~has[users]
        if not new.any():
            return scorer(users, candidates)
        scores = np.empty((len(users), len(candidates)), dtype=np.float32)
        scores[new] = fallback(users[new], candidates)
        if not new.all():
            scores[~new] = scorer(users[~new], candidates)
        return scores

    return score
