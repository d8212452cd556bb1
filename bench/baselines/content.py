"""Peers that know items by what they are: their text, their brand."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array

from bench.baselines.common import Grid, above, grid, presence
from bench.baselines.counting import group_shares, rows_to_one
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.tasks.match import Scorer

TEXT_GRID: Grid = grid(power=(1, 4, 16))

_BLOCK_ITEMS = 1024


def text_knn(
    history: csr_array, vectors: FloatArray, *, recency: FloatArray | None = None, power: int = 1
) -> Scorer:
    """The mean over the user's items of their text's cosine with an item's, to a power.

    At power 1 that is the cosine with the user's mean text vector (Rocchio 1971) up to its length; the higher
    the power, the more the nearest of the user's items decide (cosines below 0 then count as 0).

    Items whose vector is all zeros have no text and score 0, as does everything for a user without history.
    Above power 1 a call compares the asked users' items with the candidates, 1,024 of them at a time: about
    8 · 1,024 · candidates bytes.

    Args:
        history: float32 [users, items], canonical where `recency` is given.
        vectors: float32 [items, E], of any length.
        recency: float32 [history.nnz], how much each pair counts in the mean, in the order of
            `history.data` (`recency(…)` gives it); None: all alike.
        power: at least 1.

    Raises:
        InputError: shapes that do not fit, or `power` below 1.
    """
    above("power", power, 1, equal=True)
    if vectors.shape[0] != history.shape[1]:
        raise InputError(f"vectors of {vectors.shape[0]:,} items for a history of {history.shape[1]:,}")
    unit = _unit(vectors)
    weighted = presence(history)
    if recency is not None:
        if recency.shape != (history.nnz,):
            raise InputError(f"{recency.shape} weights for {history.nnz:,} pairs; one for each is needed")
        weighted = csr_array((recency.astype(np.float32), history.indices, history.indptr), history.shape)
    weighted = rows_to_one(weighted)
    profiles: FloatArray = weighted @ unit

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        among = unit[candidates].T
        if power == 1:
            scores: FloatArray = profiles[users] @ among
            return scores
        scores = np.zeros((len(users), len(candidates)), dtype=np.float32)
        mine = weighted[users].tocsc()
        held = np.flatnonzero(np.diff(mine.indptr) > 0)
        for start in range(0, len(held), _BLOCK_ITEMS):
            block = held[start : start + _BLOCK_ITEMS]
            scores += mine[:, block] @ (np.maximum(unit[block] @ among, 0) ** power)
        return scores

    return score


def group_knn(history: csr_array, groups: csr_array) -> Scorer:
    """The share of a user's purchases that fall into the item's group, such as its brand.

    An item in several groups gets the mean over them; items without one score 0, and so does everything for
    a user without history. It is text_knn with one-hot vectors.

    Args:
        history: float32 [users, items].
        groups: float32 [items, groups].

    Raises:
        InputError: shapes that do not fit.
    """
    shares, member = group_shares(history, groups)

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = (shares[users] @ member[candidates].T).toarray()
        return scores

    return score


def metadata_vectors(groups: csr_array) -> csr_array:
    """One-hot groups weighted by log(items / items of the group), rows of length 1 (TF-IDF, Salton 1988).

    Args:
        groups: float32 [items, groups]: brand, category, size, … side by side.
    """
    ones = presence(groups)
    counts = np.maximum(np.bincount(ones.indices, minlength=groups.shape[1]), 1)
    weighted = (ones @ diags_array(np.log(max(groups.shape[0], 1) / counts))).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1), dtype=np.float64))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return (diags_array(scale) @ weighted).astype(np.float32).tocsr()


def metadata_knn(history: csr_array, groups: csr_array) -> Scorer:
    """The cosine of an item's `metadata_vectors` with the sum of the user's items', up to the user's length.

    Args and errors are those of `group_knn`.
    """
    if groups.shape[0] != history.shape[1]:
        raise InputError(f"groups of {groups.shape[0]:,} items for a history of {history.shape[1]:,}")
    unit = metadata_vectors(groups)
    profiles = (presence(history) @ unit).tocsr()

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = (profiles[users] @ unit[candidates].T).toarray()
        return scores

    return score


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = np.divide(
        vectors, length, out=np.zeros_like(vectors, dtype=np.float32), where=length > 0
    )
    return unit
