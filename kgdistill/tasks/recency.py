"""How soon what was bought lately is old news in a shop."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.ranking.bootstrap import surely_above_0
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.tasks.interactions import RECENT_DAYS, Interactions

_SHORTER = (15.0, 7.5, 3.75)
_ASKED = 1_000
_K = 20


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
    asked = asked[np.diff(later[asked][:, pool].indptr) > 0]
    if len(asked) < 2:
        return RECENT_DAYS
    usual = recent_ndcg(known, later, asked, pool, RECENT_DAYS)
    more = {days: recent_ndcg(known, later, asked, pool, days) - usual for days in _SHORTER}
    best = max(more, key=lambda days: float(more[days].mean()))
    return best if surely_above_0(more[best]) else RECENT_DAYS


def recent_ndcg(
    known: Interactions, later: sp.csr_matrix, users: IntArray, pool: IntArray, days: float
) -> DoubleArray:
    """NDCG@20 of the items that were bought lately, without those that a user had, float64 [users].

    Args:
        known, later: as of `half_life`.
        users: of whom each bought something of the pool afterwards.
        pool: items that can be recommended, ascending; ties go to the smaller.
        days: the half-life.
    """
    right, seen = later[users][:, pool], known.purchases[users][:, pool]
    # So many of the order that everybody finds as many new ones among them.
    reach = _K + int(np.diff(seen.indptr).max())
    first = np.argsort(-known.recency(days)[pool], kind="stable")[:reach]
    unseen = seen[:, first].toarray() == 0
    place = unseen.cumsum(1)
    rows, columns = np.nonzero(unseen & (place <= _K))
    hits = np.zeros((len(users), _K), np.bool_)
    hits[rows, place[rows, columns] - 1] = (right[:, first].toarray() > 0)[rows, columns]
    return ndcg_at_k(hits, np.diff(right.indptr).astype(np.int64), _K)
