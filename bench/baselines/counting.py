"""Peers that learn nothing: they count."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array

from bench.baselines.common import DAY_US, Grid, above, grid, item_counts, presence
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.tasks.match import Scorer

RECENT_GRID: Grid = grid(half_life_days=(7.0, 14.0, 30.0, 60.0, 120.0))
CATEGORY_GRID: Grid = grid(popularity=(0.0, 0.25, 0.5), shrink=(0.0,)) + grid(
    popularity=(1.0,), shrink=(0.0, 300.0, 1000.0, 3000.0)
)


def popularity(history: csr_array) -> Scorer:
    """Ranks items by how many users had them, for everybody alike."""
    return _for_all(item_counts(history).astype(np.float32))


def recent_popularity(
    history: csr_array, times_us: IntArray, *, until_us: int, half_life_days: float = 30.0
) -> Scorer:
    """Popularity in which a purchase counts for half as much per half-life of age.

    Args:
        history: float32 [users, items], canonical (no pair twice).
        times_us: int64 [history.nnz], when each pair happened, in the order of `history.data`.
        until_us: the moment of asking; ages are counted from there.
        half_life_days: above 0, in days.

    Raises:
        InputError: times that do not fit, a pair after `until_us`, or no half-life.
    """
    weights = recency(history, times_us, until_us=until_us, half_life_days=half_life_days)
    sums = np.bincount(history.indices, weights=weights, minlength=history.shape[1])
    return _for_all(sums.astype(np.float32))


def recency(history: csr_array, times_us: IntArray, *, until_us: int, half_life_days: float) -> FloatArray:
    """float32 [history.nnz]: 0.5 to the power of each pair's age in half-lives; see `recent_popularity`."""
    above("half_life_days", half_life_days)
    if times_us.shape != (history.nnz,):
        raise InputError(f"{times_us.shape} times for {history.nnz:,} pairs; one for each is needed")
    age = (until_us - times_us) / DAY_US
    if (age < 0).any():
        raise InputError(f"{int((age < 0).sum()):,} pairs come after the moment of asking")
    return np.exp2(-age / half_life_days).astype(np.float32)


def category_popularity(
    history: csr_array, groups: csr_array, *, popularity: float = 0.0, shrink: float = 0.0
) -> Scorer:
    """How much more a user buys of an item's category than everybody does.

    The score is the user's share of purchases in the category over everybody's share, the lift of market
    basket analysis (Brin et al. 1997); an item in several categories gets their mean. A category that nobody
    bought, and an item without one, has a lift of 0, as has everything for a user without history.

    Args:
        history: float32 [users, items].
        groups: float32 [items, groups], 1 where the item is in the category.
        popularity: the power of (1 + users of the item) by which the score is multiplied; 0 leaves items
            of a category tied, as they must be where nothing of them was bought.
        shrink: how many purchases at a lift of 1 are added to the user's own; 0 trusts the lift of a short
            history as much as a long one's.

    Raises:
        InputError: shapes that do not fit, `popularity` or `shrink` below 0.
    """
    above("shrink", shrink, equal=True)
    above("popularity", popularity, equal=True)
    shares, member = group_shares(history, groups)
    everybody = np.asarray((presence(history) @ member).sum(axis=0), dtype=np.float64)
    total = everybody.sum()
    inverse = np.divide(total, everybody, out=np.zeros_like(everybody), where=everybody > 0)
    lift = (shares @ diags_array(inverse)).astype(np.float32).tocsr()
    bought = np.diff(presence(history).indptr)
    own = (bought / np.maximum(bought + shrink, 1e-9)).astype(np.float32)
    boost = ((1.0 + item_counts(history)) ** popularity).astype(np.float32)

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = (lift[users] @ member[candidates].T).toarray()
        mine = own[users][:, None]
        if shrink:
            scores = scores * mine + (1 - mine)
        return scores * boost[candidates]

    return score


def group_shares(history: csr_array, groups: csr_array) -> tuple[csr_array, csr_array]:
    """Each user's shares by group [users, groups] and each item's membership; rows add up to 1, or 0."""
    if groups.shape[0] != history.shape[1]:
        raise InputError(f"groups of {groups.shape[0]:,} items for a history of {history.shape[1]:,}")
    member = rows_to_one(presence(groups))
    return rows_to_one(presence(history) @ member), member


def rows_to_one(matrix: csr_array) -> csr_array:
    """Every row divided by its sum; empty rows stay empty."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float64)
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return (diags_array(scale) @ matrix).astype(np.float32).tocsr()


def _for_all(values: FloatArray) -> Scorer:
    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        return np.broadcast_to(values[candidates], (len(users), len(candidates)))

    return score
