"""Ranking metrics with binary relevance, one value per user."""

from __future__ import annotations

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, IntArray


def ndcg_at_k(hits: BoolArray, relevant: IntArray, k: int) -> DoubleArray:
    """Normalised discounted cumulative gain of the first `k` ranks.

    `sum(hit_r / log2(r + 1)) / sum(1 / log2(r + 1) for r <= min(relevant, k))`, ranks from 1
    (Järvelin & Kekäläinen 2002, binary gain).

    Args:
        hits: bool [U, at least k or all there is]; whether the item at each rank is relevant.
        relevant: int64 [U]; how many relevant items there are to be found.
        k: how many ranks count.

    Returns:
        float64 [U], in [0, 1].

    Raises:
        ValueError: a user without a relevant item, more hits than relevant items, `k` below 1, or
            shapes that do not fit.
    """
    top = _checked(hits, relevant, k)
    discount = 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))
    ideal = np.cumsum(discount)[np.minimum(relevant, k) - 1]
    gain: DoubleArray = (top @ discount[: top.shape[1]]) / ideal
    return np.minimum(gain, 1.0)


def recall_at_k(hits: BoolArray, relevant: IntArray, k: int) -> DoubleArray:
    """The share of a user's relevant items within the first `k` ranks.

    Args, returns and errors are those of `ndcg_at_k`.
    """
    top = _checked(hits, relevant, k)
    share: DoubleArray = top.sum(axis=1) / relevant.astype(np.float64)
    return share


def mrr_at_k(hits: BoolArray, relevant: IntArray, k: int) -> DoubleArray:
    """One over the rank of the first relevant item; 0 where none is within the first `k` ranks.

    Args, returns and errors are those of `ndcg_at_k`.
    """
    top = _checked(hits, relevant, k)
    if top.shape[1] == 0:
        return np.zeros(len(top))
    return np.where(top.any(axis=1), 1.0 / (top.argmax(axis=1) + 1.0), 0.0)


def _checked(hits: BoolArray, relevant: IntArray, k: int) -> BoolArray:
    """The first `k` columns of `hits`."""
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    if hits.ndim != 2 or relevant.shape != hits.shape[:1]:
        raise ValueError(f"hits {hits.shape} and relevant {relevant.shape} do not fit: [U, k] and [U]")
    top = hits[:, :k].astype(np.bool_, copy=False)
    if (relevant < 1).any():
        raise ValueError("a user has no relevant item: no metric is defined; leave such users out")
    if (top.sum(axis=1) > relevant).any():
        raise ValueError("a user has more hits than relevant items")
    return top
