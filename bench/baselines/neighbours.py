"""Item neighbours by co-purchase: ItemKNN and RP3β."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack

from bench.baselines.common import Grid, Unknown, above, grid, item_counts, presence, where_unknown
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.progress import step
from kgdistill.tasks.match import Scorer

ITEM_KNN_GRID: Grid = grid(neighbours=(50, 200, 1000), shrink=(0.0, 10.0, 100.0))
RP3BETA_GRID: Grid = grid(alpha=(0.6, 0.8, 1.0), beta=(0.0, 0.2, 0.4, 0.6), neighbours=(100, None))

_BLOCK_ITEMS = 256


def item_knn(
    history: csr_array, *, neighbours: int = 200, shrink: float = 10.0, unknown: Unknown = "0"
) -> Scorer:
    """Sums the similarities of an item with those that the user had (Sarwar et al. 2001).

    The similarity of two items is users of both / (√(users of one · users of the other) + shrink); each item
    keeps its `neighbours` most similar others, ties by id.

    Memory: items x `neighbours` cells of 12 bytes, about 256 · items · 30 bytes, and chunk x candidates.

    Args:
        history: float32 [users, items].
        neighbours: how many others an item keeps, at least 1.
        shrink: what pulls similarities that rest on few users towards 0; at least 0.
        unknown: what items score that nobody had.

    Raises:
        InputError: a value out of range.
    """
    above("neighbours", neighbours, 1, equal=True)
    above("shrink", shrink, equal=True)
    seen = presence(history)
    counts = item_counts(seen)
    by_item = seen.T.tocsr()

    def similarity(rows: IntArray) -> FloatArray:
        both: FloatArray = (by_item[rows] @ seen).toarray()
        # The root of the product, in float64: equal similarities stay equal.
        below = np.sqrt(np.outer(counts[rows], counts)) + shrink
        alike: FloatArray = np.divide(both, below, out=np.zeros_like(below), where=below > 0).astype(
            np.float32
        )
        return alike

    with step("fitting ItemKNN"):
        # Rows are the items to be scored: each asks its own neighbours whether the user had them.
        weights = _strongest(similarity, seen.shape[1], neighbours).T.tocsc()

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = (seen[users] @ weights[:, candidates]).toarray()
        return scores

    return where_unknown(score, counts > 0, unknown)


def rp3beta(
    history: csr_array,
    *,
    alpha: float = 0.8,
    beta: float = 0.4,
    neighbours: int | None = None,
    unknown: Unknown = "0",
) -> Scorer:
    """A random walk user → item → user → item, popular ends divided down (Christoffel et al. 2015; RP3β).

    Every step's probability is taken to the power `alpha`, as in P3α (Cooper et al. 2014), and the end's
    score is divided by its users to the power `beta`.

    Memory: without `neighbours` chunk x users and chunk x candidates; with them as `item_knn`.

    Args:
        history: float32 [users, items].
        alpha: above 0.
        beta: at least 0.
        neighbours: how many ends are kept of the walks from an item, highest after the division; None: all.
        unknown: what items score that nobody had.

    Raises:
        InputError: a value out of range.
    """
    above("alpha", alpha)
    above("beta", beta, equal=True)
    seen = presence(history)
    counts = item_counts(seen)
    popular = np.maximum(counts, 1).astype(np.float32) ** np.float32(-beta)
    to_item = _steps(seen, alpha)
    to_user = _steps(seen.T.tocsr(), alpha)
    ends = to_item.tocsc()

    if neighbours is None:

        def score(users: IntArray, candidates: IntArray) -> FloatArray:
            through = (to_item[users] @ to_user).toarray()
            reached: FloatArray = (ends[:, candidates].T @ through.T).T
            return reached * popular[candidates]

    else:
        above("neighbours", neighbours, 1, equal=True)

        def walks(rows: IntArray) -> FloatArray:
            reached: FloatArray = (to_user[rows] @ to_item).toarray()
            return reached * popular

        with step("fitting RP3β"):
            weights = _strongest(walks, seen.shape[1], neighbours).tocsc()

        def score(users: IntArray, candidates: IntArray) -> FloatArray:
            scores: FloatArray = (to_item[users] @ weights[:, candidates]).toarray()
            return scores

    return where_unknown(score, counts > 0, unknown)


def _steps(matrix: csr_array, alpha: float) -> csr_array:
    """Row-stochastic, every probability to the power `alpha`."""
    sums = np.maximum(np.diff(matrix.indptr), 1).astype(np.float64)
    return (diags_array(sums**-alpha) @ matrix).astype(np.float32).tocsr()


def _strongest(rows_of: Callable[[IntArray], FloatArray], items: int, most: int) -> csr_array:
    """Each row's `most` largest positive cells but its own, ties by column; CSR float32 [items, items]."""
    blocks = []
    for start in range(0, items, _BLOCK_ITEMS):
        rows = np.arange(start, min(start + _BLOCK_ITEMS, items))
        cells = rows_of(rows)
        cells[np.arange(len(rows)), rows] = 0.0
        if most < items:
            cut = np.partition(cells, items - most, axis=1)[:, items - most, None]
            free = most - (cells > cut).sum(axis=1, keepdims=True)
            tied = cells == cut
            cells[(cells < cut) | (tied & (np.cumsum(tied, axis=1) > free))] = 0.0
        blocks.append(csr_array(cells))
    return vstack(blocks, format="csr") if blocks else csr_array((0, 0), dtype=np.float32)
