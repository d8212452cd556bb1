"""What people would use instead: peers on plain inputs, each from its paper, with a small grid.

Every function takes the history that may be known (CSR float32 [users, items], ids as in the snapshot) and
returns a scorer for every user and every item. Users without history get the same score everywhere
(`with_fallback` gives them something better); items of which a peer knows nothing score 0, or -inf where it
is asked to never show them. The grids are what a benchmark tries on validation; the defaults stand where
there is nothing to choose by.
"""

from bench.baselines.blend import WEIGHTS, blend, standardised, tuned_blend
from bench.baselines.common import Grid, Unknown, with_fallback
from bench.baselines.content import TEXT_GRID, group_knn, metadata_knn, text_knn
from bench.baselines.counting import (
    CATEGORY_GRID,
    RECENT_GRID,
    category_popularity,
    popularity,
    recency,
    recent_popularity,
)
from bench.baselines.factors import ALS_GRID, BPR_GRID, implicit_als, implicit_bpr
from bench.baselines.lent import LentScorer
from bench.baselines.lightgcn import LIGHTGCN_GRID, lightgcn
from bench.baselines.linear import EASE_GRID, ease
from bench.baselines.neighbours import ITEM_KNN_GRID, RP3BETA_GRID, item_knn, rp3beta
from bench.baselines.recbole import RECBOLE_GRIDS, RecboleModel, recbole
from bench.baselines.rectools import RECTOOLS_GRID, RectoolsModel, rectools

__all__ = [
    "ALS_GRID",
    "BPR_GRID",
    "CATEGORY_GRID",
    "EASE_GRID",
    "ITEM_KNN_GRID",
    "LIGHTGCN_GRID",
    "RECBOLE_GRIDS",
    "RECENT_GRID",
    "RECTOOLS_GRID",
    "RP3BETA_GRID",
    "TEXT_GRID",
    "WEIGHTS",
    "Grid",
    "LentScorer",
    "RecboleModel",
    "RectoolsModel",
    "Unknown",
    "blend",
    "category_popularity",
    "ease",
    "group_knn",
    "implicit_als",
    "implicit_bpr",
    "item_knn",
    "lightgcn",
    "metadata_knn",
    "popularity",
    "recbole",
    "recency",
    "recent_popularity",
    "rectools",
    "rp3beta",
    "standardised",
    "text_knn",
    "tuned_blend",
    "with_fallback",
]
