"""The linear item-to-item experts: their settings by validation, and their fit on a view."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import FloatArray
from kgdistill.models.terms.items import (
    LIMIT,
    LinearItems,
    NeighbourItems,
    WalkItems,
    fit_linear,
    fit_walk,
    strongest,
)
from kgdistill.progress import step
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.ranking.topk import top_k
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData

_REGS = (30.0, 100.0, 300.0, 1000.0, 3000.0)
_SIDE_WEIGHTS = (0.0, 3.0, 10.0)
_DECAYS = (0.0, 0.05, 0.15)
_ASKED = 600


@dataclass(frozen=True)
class LinearChoice:
    """Settings of the linear experts.

    Attributes:
        reg: λ.
        side_weight: weight of the items' groups as further rows.
        decay: how fast a history loses its say, exp(−decay · rank).
        walk: steps of the walk beside it; 0 leaves the walk out.
    """

    reg: float = 300.0
    side_weight: float = 3.0
    decay: float = 0.0
    walk: int = 0

    def settings(self) -> dict[str, float]:
        """The values by name."""
        return asdict(self)


def sides_of(catalogue: TrainingData, families: list[ItemGroups]) -> list[sp.csr_matrix]:
    """What makes two items alike beside their buyers: shared groups, by 1 / the group's size, and words.

    Args:
        catalogue: its words, where it has them, count half.
        families: pairs of families are left out.
    """
    sides = []
    for family in families:
        if family.kind != "pair":
            size = np.maximum(np.asarray((family.incidence > 0).sum(0)).ravel(), 1)
            sides.append(sp.csr_matrix(family.incidence @ sp.diags(1 / np.sqrt(size))))
    if catalogue.words is not None:
        sides.append(sp.csr_matrix(np.sqrt(0.5) * catalogue.words))
    return sides


def linear_of(view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice) -> LinearItems:
    """The linear expert of a view."""
    return fit_linear(view.purchases, sides, reg=choice.reg, side_weight=choice.side_weight)


def experts_of(
    view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice
) -> tuple[LinearItems | WalkItems, ...]:
    """The linear expert of a view and, if wanted, the walk."""
    walk = (fit_walk(view.purchases, sides, steps=choice.walk),) if choice.walk else ()
    return (linear_of(view, sides, choice), *walk)


def neighbours_of(
    view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice, most: int
) -> tuple[NeighbourItems, ...]:
    """Of each of `experts_of` the `most` strongest weights into each item.

    None for 0, and for catalogues beyond `LIMIT`: the tables would outgrow the student.
    """
    count = view.purchases.shape[1]
    if not most or count > LIMIT:
        return ()
    return tuple(strongest(model, most, count) for model in experts_of(view, sides, choice))


def choose_linear(
    catalogue: TrainingData, sides: list[sp.csr_matrix], validation: Any, *, k: int = 20
) -> LinearChoice:
    """The settings with the best NDCG@k on the validation events, one setting after another.

    Args:
        catalogue: what is known; only events before `select_us` are seen.
        sides: groups of the items, CSR [items, groups].
        validation: CSR [users, items], the events after `select_us`.
        k: ranks that count.
    """
    view = catalogue.view(catalogue.select_us)
    asked = np.flatnonzero(np.diff(sp.csr_matrix(validation).indptr))
    asked = np.intersect1d(asked, catalogue.users)
    if not len(asked):
        return LinearChoice()
    asked = asked[:: max(1, len(asked) // _ASKED)]
    pool = catalogue.pool(catalogue.pools[0], view)
    right = sp.csr_matrix(validation)[asked][:, pool].toarray() > 0
    seen = view.purchases[asked][:, pool].toarray() > 0

    def quality(model: LinearItems, decay: float) -> float:
        scores: FloatArray = model.score(view.queries(asked, decay), pool)
        scores[seen] = -np.inf
        items, _ = top_k(scores, pool, k)
        place = np.searchsorted(pool, np.where(items >= 0, items, pool[0]))
        hits = np.take_along_axis(right, place, axis=1) & (items >= 0)
        counts = right.sum(1).astype(np.int64)
        judged = counts > 0
        return float(ndcg_at_k(hits[judged], counts[judged], k).mean()) if judged.any() else 0.0

    best, reached = LinearChoice(side_weight=_SIDE_WEIGHTS[1]), -1.0
    model: LinearItems | None = None
    # Beyond the size where sides take part, only one side weight exists.
    weights = _SIDE_WEIGHTS if sides and view.purchases.shape[1] <= LIMIT else (0.0,)
    with step(
        "Choosing the linear expert's settings", total=len(_REGS) + len(weights) + len(_DECAYS) - 2
    ) as work:
        for reg in _REGS:
            tried = linear_of(view, sides, LinearChoice(reg, weights[len(weights) // 2]))
            now = quality(tried, 0.0)
            work.advance()
            if now > reached:
                best, reached, model = LinearChoice(reg, weights[len(weights) // 2]), now, tried
            elif now < 0.98 * reached:
                break  # λ is past its best
        for weight in weights:
            if weight == best.side_weight:
                continue
            tried = linear_of(view, sides, LinearChoice(best.reg, weight))
            now = quality(tried, 0.0)
            work.advance()
            if now > reached:
                best, reached, model = LinearChoice(best.reg, weight), now, tried
        assert model is not None
        for decay in _DECAYS[1:]:
            now = quality(model, decay)
            work.advance()
            if now > reached:
                best, reached = LinearChoice(best.reg, best.side_weight, decay), now
    return best
