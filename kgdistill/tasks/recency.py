"""How soon what was bought lately is old news in a shop."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.ranking.topk import top_k
from kgdistill.tasks.interactions import RECENT_DAYS, Interactions

_SHORTER = (15.0, 7.5, 3.75)
_ASKED = 1_000
_K = 20
_SURE = 2.0
"""Standard errors by which a shorter one must be better."""


def half_life(known: Interactions, later: sp.csr_matrix, users: IntArray, items: IntArray) -> float:
    """After how many days a purchase says half as much of what is bought next.

    Each half-life orders all items alike for everybody. A shorter one than the usual is taken where its
    NDCG@20 is surely better.

    Args:
        known: what is known.
        later: CSR [users, items], what was bought soon afterwards.
        users: whose purchases count, ids.
        items: that can be recommended, ids; those that too few have bought are left out.
    """
    pool = np.intersect1d(items, known.warm)
    asked = np.intersect1d(users, np.flatnonzero(np.diff(later.indptr)))
    asked = asked[:: max(1, -(-len(asked) // _ASKED))]
    right = later[asked][:, pool].toarray() > 0
    asked, right = asked[right.any(1)], right[right.any(1)]
    if len(asked) < 2:
        return RECENT_DAYS
    seen = known.purchases[asked][:, pool].toarray() > 0

    def reached(days: float) -> DoubleArray:
        scores = np.where(seen, -np.inf, known.recency(days)[pool])
        first, _ = top_k(scores, np.arange(len(pool)), _K)
        hits = np.take_along_axis(right, np.maximum(first, 0), axis=1) & (first >= 0)
        return ndcg_at_k(hits, right.sum(1).astype(np.int64), _K)

    usual = reached(RECENT_DAYS)
    more = {days: reached(days) - usual for days in _SHORTER}
    best = max(more, key=lambda days: float(more[days].mean()))
    unsure = float(more[best].std(ddof=1)) / np.sqrt(len(asked))
    return best if more[best].mean() > _SURE * unsure else RECENT_DAYS
