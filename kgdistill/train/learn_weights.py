"""What further events of a history weigh, where a task leaves that to the shop's own events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.models.terms.linear import LinearRows
from kgdistill.progress import step
from kgdistill.ranking.bootstrap import surely_above_0
from kgdistill.tasks.event_weights import EventWeight
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.positives import LEARNED, Weight
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import REGS, LinearJudge

_TRIED = (1.0, 0.5, 0.2, 0.1, 0.05)
_ASKED, _USERS, _COLUMNS = 2_000, 20_000, 3_000
_CPU = torch.device("cpu")


def learn_weights(
    catalogue: TrainingData, weights: Mapping[str, Weight], *, k: int = 20, device: torch.device = _CPU
) -> dict[str, EventWeight]:
    """The weights that a task leaves to be learned, by the events before `select_us` alone.

    The last tenth of these is what a linear model of the others is to lead to. λ is chosen without the kinds
    in question. Then one kind after another takes the weight with the best NDCG@k, where that is surely
    better than to leave it out. The cost is bounded: it looks at some `_USERS` users, asks `_ASKED` of them,
    and knows `_COLUMNS` items, the most frequent of each kind.

    Args:
        catalogue: what is known, with the events of every kind of `weights`, whatever they weigh there.
        weights: as the task declares them, in the order in which kinds are taken in.
        k: ranks that count.
        device: where to compute.
    """
    part = _Part(catalogue, k, device)
    taken = {name: float(weight) for name, weight in weights.items() if weight != LEARNED}
    asked = [name for name in weights if name not in taken]
    found: dict[str, EventWeight] = {}
    with step("Learning what further events weigh", total=len(REGS) + len(_TRIED) * len(asked)) as work:

        def judged(weights: Mapping[str, float], reg: float) -> DoubleArray:
            work.advance()
            return part.judged(weights, reg)

        reg, without = max(((r, judged(taken, r)) for r in REGS), key=lambda one: _mean(one[1]))
        for name in asked:
            each = {w: judged({**taken, name: w}, reg) for w in _TRIED}
            best = max(each, key=lambda w: _mean(each[w]))
            surely = surely_above_0(each[best] - without)
            weight = best if surely else 0.0
            found[name] = EventWeight(weight, _mean(each[best]), _mean(without), k, len(without))
            if surely:
                taken[name], without = best, each[best]
    return found


class _Part:
    """A part of a catalogue that is small enough to fit many linear models on.

    Args:
        catalogue: with the events of further kinds.
        k: ranks that count.
        device: where models are fitted.
    """

    def __init__(self, catalogue: TrainingData, k: int, device: torch.device) -> None:
        known, later = catalogue.latest()
        most = _COLUMNS // (1 + len(known.others))
        pool = np.intersect1d(catalogue.items, known.warm)
        pool = np.sort(pool[np.argsort(-known.counts[pool], kind="stable")[:most]])
        asked = np.intersect1d(catalogue.users, np.flatnonzero(np.diff(later[:, pool].indptr)))
        asked = _some(asked, _ASKED)
        users = np.append(asked, _some(np.setdiff1d(catalogue.users, asked), _USERS - len(asked)))
        # Everybody's own column tells what is popular, which else any further event would.
        self._own = sp.hstack([_held(known, users, pool), np.ones((len(users), 1), np.float32)])
        self._further = {
            other.name: _held(view, users, np.argsort(-view.counts, kind="stable")[:most])
            for other, (_, view) in zip(catalogue.others, known.others, strict=True)
        }
        self._asked, self._pool, self._device = asked, pool, device
        self._judge = LinearJudge(known, asked, pool, later, k)

    def judged(self, weights: Mapping[str, float], reg: float) -> DoubleArray:
        """NDCG of each user who is asked."""
        further = [weight * self._further[name] for name, weight in weights.items()]
        rows = sp.csr_matrix(sp.hstack([self._own, *further]))
        if not len(self._asked):
            return np.zeros(0)
        model = LinearRows(rows, [], side_weight=0.0, device=self._device).fit(reg)
        return self._judge.each(model.score(rows[: len(self._asked)], self._pool))


def _held(view: Interactions, users: IntArray, items: IntArray) -> sp.csr_matrix:
    """What some users did with some items, CSR [users, all items]."""
    kept = np.zeros(view.purchases.shape[1], np.float32)
    kept[items] = 1.0
    rows = sp.csr_matrix(view.purchases[users] @ sp.diags(kept))
    rows.eliminate_zeros()
    return rows


def _some(ids: IntArray, most: int) -> IntArray:
    """At most so many, evenly spread."""
    return ids[:: max(1, -(-len(ids) // most))]


def _mean(each: DoubleArray) -> float:
    return float(each.mean()) if len(each) else 0.0
