"""The weights between items: their settings by validation, and their fit on a view."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.models.terms import ItemWeights
from kgdistill.models.terms.item_weights import LIMIT, WholeModel
from kgdistill.models.terms.linear import LinearRows, sides_count
from kgdistill.models.terms.neighbours import NeighbourItems, likely_pairs, strongest
from kgdistill.models.terms.sparse import RANK
from kgdistill.models.terms.walk import fit_walk
from kgdistill.progress import step
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.ranking.topk import top_k
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData

REGS = (30.0, 100.0, 300.0, 1000.0, 3000.0)
"""λ that are tried."""
_SIDE_WEIGHTS = (0.0, 3.0, 10.0)
_DECAYS = (0.0, 0.05, 0.15)
_ASKED = 600
_CPU = torch.device("cpu")
_Fitted = TypeVar("_Fitted")
_LEAST, _LOOKED = 8, 64


@dataclass(frozen=True)
class LinearChoice:
    """Settings of the weights between items.

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


def linear_of(
    view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice, *, device: torch.device = _CPU
) -> WholeModel:
    """The linear model of a view, fitted once."""

    def fit() -> WholeModel:
        rows = LinearRows(view.rows, sides, side_weight=choice.side_weight, device=device)
        return rows.fit(choice.reg)

    return _once(view, ("linear", choice.reg, choice.side_weight), sides, fit, device)


def item_weights(
    view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice, *, device: torch.device = _CPU
) -> tuple[ItemWeights, ...]:
    """The linear model of a view and, if wanted, the walk, as terms."""
    models = _models(view, sides, choice, device)
    return tuple(ItemWeights(name, view, model, choice.decay) for name, model in models.items())


def neighbour_weights(
    view: Interactions,
    sides: list[sp.csr_matrix],
    choice: LinearChoice,
    most: int,
    rank: int = 0,
    *,
    rank_items: int | None = None,
    device: torch.device = _CPU,
) -> tuple[NeighbourItems, ...]:
    """Of each model of `item_weights` the `most` strongest weights into each item; none for 0.

    A product of rank `rank` stands for the others among the `rank_items` items with most buyers
    (`NeighbourItems`), None for all items: for all of them where the items alone are more than `LIMIT`.

    Beyond `LIMIT` items they are looked for among those that share most (`likely_pairs`), and there are as
    many in all as `LIMIT` items would have, though at least `_LEAST` into each.
    """
    count = view.purchases.shape[1]
    each = 0
    # A product knows purchases alone: weights from other events stand in the table or nowhere.
    if sides_count(view.purchases) or view.others:
        each = most if count <= LIMIT else min(most, max(_LEAST, most * LIMIT // count))
    if not most or not (each or rank):
        return ()

    # Of equals the first.
    factored = np.sort(np.argsort(-view.counts, kind="stable")[:rank_items])

    def table(model: WholeModel) -> NeighbourItems:
        among = None
        if count > LIMIT and each:
            likely = partial(likely_pairs, view.rows, sides, max(_LOOKED, 4 * each))
            among = _once(view, ("pairs", each), sides, likely, device)
        width = count if model.mean else view.rows.shape[1]
        return strongest(model, each, count, among, rank=rank, factored=factored, width=width)

    return tuple(
        _once(view, ("table", name, choice, each, rank, rank_items), sides, partial(table, model), device)
        for name, model in _models(view, sides, choice, device).items()
    )


def _models(
    view: Interactions, sides: list[sp.csr_matrix], choice: LinearChoice, device: torch.device
) -> dict[str, WholeModel]:
    models = {"linear": linear_of(view, sides, choice, device=device)}
    if choice.walk:
        fit = partial(fit_walk, view.purchases, sides, steps=choice.walk, device=device)
        models["walk"] = _once(view, ("walk", choice.walk), sides, fit, device)
    return models


def _once(
    view: Interactions,
    key: tuple[Hashable, ...],
    sides: list[sp.csr_matrix],
    fit: Callable[[], _Fitted],
    device: torch.device,
) -> _Fitted:
    """What was fitted on this view with these sides, as long as the view lives."""
    said = hashlib.blake2b()
    for side in sides:
        for array in (side.data, side.indices, side.indptr, np.array(side.shape)):
            said.update(np.ascontiguousarray(array).tobytes())
    whole = (*key, str(device), said.digest())
    if whole not in view.fits:
        with torch.autocast(device.type, enabled=False):
            view.fits[whole] = fit()
    fitted: _Fitted = view.fits[whole]
    return fitted


def choose_linear(
    catalogue: TrainingData,
    sides: list[sp.csr_matrix],
    validation: Any,
    *,
    k: int = 20,
    device: torch.device = _CPU,
) -> LinearChoice:
    """The settings with the best NDCG@k on the validation events, one setting after another.

    Args:
        catalogue: what is known; only events before `select_us` are seen.
        sides: groups of the items, CSR [items, groups].
        validation: CSR [users, items], the events after `select_us`.
        k: ranks that count.
        device: where to compute.
    """
    view = catalogue.view(catalogue.select_us)
    asked = np.flatnonzero(np.diff(sp.csr_matrix(validation).indptr))
    asked = np.intersect1d(asked, catalogue.users)
    if not len(asked):
        return LinearChoice()
    asked = asked[:: max(1, len(asked) // _ASKED)]
    judge = LinearJudge(view, asked, catalogue.pool(catalogue.pools[0], view), validation, k)
    formed = sides_count(view.rows)
    weights = _SIDE_WEIGHTS if sides and formed else (0.0,)
    best, reached = LinearChoice(side_weight=weights[len(weights) // 2]), -1.0

    kept: WholeModel | None = None
    title = "Choosing the linear model's settings"
    if min(view.rows.shape) > LIMIT:
        title += f" (beyond {LIMIT:,} items weights are not formed: {RANK} singular vectors stand for them)"
    with step(title, total=len(REGS) + len(weights) + len(_DECAYS) - 2) as work:

        def judged(choice: LinearChoice, model: WholeModel) -> float:
            nonlocal best, reached, kept
            now = judge(model, choice.decay)
            work.advance()
            if now > reached:
                best, reached, kept = choice, now, model
            return now

        first = best.side_weight
        for weight in (first, *(w for w in weights if w != first)):
            rows = LinearRows(view.rows, sides, side_weight=weight, device=device)
            for reg in REGS if weight == first else (best.reg,):
                if judged(replace(best, reg=reg, side_weight=weight), rows.fit(reg)) < 0.98 * reached:
                    break  # λ is past its best
        assert kept is not None
        model = kept
        for decay in _DECAYS[1:]:
            judged(replace(best, decay=decay), model)
    _once(view, ("linear", best.reg, best.side_weight), sides, lambda: model, device)
    return best


class LinearJudge:
    """NDCG@k on the validation events of a model with a decay.

    Args:
        view: what is known.
        asked: users with such an event, ids.
        pool: the items to rank, ids.
        validation: CSR [users, items].
        k: ranks that count.
    """

    def __init__(self, view: Interactions, asked: IntArray, pool: IntArray, validation: Any, k: int) -> None:
        self._view, self._asked, self._pool, self._k = view, asked, pool, k
        self._right = sp.csr_matrix(validation)[asked][:, pool].toarray() > 0
        self._seen = view.purchases[asked][:, pool].toarray() > 0

    def __call__(self, model: WholeModel, decay: float) -> float:
        """The mean over the users with a right item in the pool; 0 without."""
        each = self.each(model.score(self._view.queries(self._asked, decay), self._pool))
        return float(each.mean()) if len(each) else 0.0

    def each(self, asked: Tensor) -> DoubleArray:
        """NDCG@k of the users with a right item in the pool, of scores float32 [asked, pool]."""
        scores = asked.cpu().numpy()
        scores[self._seen] = -np.inf
        items, _ = top_k(scores, self._pool, self._k)
        place = np.searchsorted(self._pool, np.where(items >= 0, items, self._pool[0]))
        hits = np.take_along_axis(self._right, place, axis=1) & (items >= 0)
        counts = self._right.sum(1).astype(np.int64)
        judged = counts > 0
        return ndcg_at_k(hits[judged], counts[judged], self._k)
