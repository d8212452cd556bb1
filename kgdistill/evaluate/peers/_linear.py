"""EASE: the linear item-to-item model in closed form."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from kgdistill.evaluate.peers._common import (
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
from kgdistill.models.linear import fit_linear
from kgdistill.progress import step

EASE_GRID: Grid = grid(reg=(5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0))


def ease(
    history: csr_array, *, reg: float = 200.0, items: Ints | None = None, unknown: Unknown = "0"
) -> Scorer:
    """EASE: a linear item-to-item model with a zero diagonal (Steck 2019).

    It is `fit_linear` without sides: of the users or of the items, whichever are fewer.

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
    seen = csr_matrix(presence(history))
    modelled = np.flatnonzero(item_counts(seen) > 0) if items is None else items
    among = seen[:, modelled]
    with step("fitting EASE"):
        model = fit_linear(among, [], reg=reg, side_weight=0.0, limit=max(among.shape))
    column_of = np.full(history.shape[1], -1, dtype=np.int64)
    column_of[modelled] = np.arange(len(modelled))

    def score(users: Ints, candidates: Ints) -> Floats32:
        return model.score(among[users], column_of[candidates])

    return where_unknown(score, column_of >= 0, unknown)
