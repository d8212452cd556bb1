"""What it costs to show new items: Recall of new items by what their lift takes from the whole ranking.

A lift is added to every new item's score where the whole catalogue is ranked (`Blend.new_boost`). The front
says what any lift would do; which one a model has was chosen on validation, and is no part of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.comparisons import Resamples
from bench.suites.decoys import WIDE, levels, up_to
from bench.suites.judge import Judge
from kgdistill.arrays import DoubleArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.scorer import Scorer

LIFTS: tuple[float, ...] = tuple(i / 10 for i in range(31))
COSTS = (0.02, 0.05)
"""Of the NDCG over all items."""
_ALL, _NEW = WIDE


@dataclass(frozen=True)
class Front:
    """One arm with every lift.

    Attributes:
        arm: its short name.
        decoys: how many stand beside each new item.
        lifts: what was added to the score of new items.
        overall: NDCG over all items, float64 [lifts], mean of seeds and users.
        recall: of new items in the whole catalogue, float64 [lifts, users], mean of seeds.
    """

    arm: str
    decoys: int
    lifts: Sequence[float]
    overall: DoubleArray
    recall: DoubleArray

    def rows(self, *, samples: int = 4000, level: float = 0.95, seed: int = 0) -> Iterator[dict[str, Any]]:
        """For each of `COSTS` the highest lift that costs no more, and the recall with its interval."""
        drawn = Resamples(self.recall.shape[1], samples=samples, level=level, seed=seed)
        costs = 1 - self.overall / self.overall[0]
        for cost in COSTS:
            at = int(np.flatnonzero(costs <= cost)[-1])
            told = drawn.draw(self.recall[[at]])[0].estimate()
            yield {
                "arm": self.arm, "decoys": self.decoys, "cost": cost, "lift": self.lifts[at],
                "recall": told.mean, "low": told.low, "high": told.high,
            }  # fmt: skip


def fronts(arm: str, scorers: Sequence[Scorer], judge: Judge) -> list[Front]:
    """The fronts of an arm's seeds, one without decoys and one for each number of them.

    Args:
        arm: its short name.
        scorers: one of each seed; their lifts stay as they were.
        judge: its test is opened.
    """
    judge.task.open_test()
    return [_front(arm, scorers, judge, level) for level in (0, *levels(judge.decoys))]


def _front(arm: str, scorers: Sequence[Scorer], judge: Judge, level: int) -> Front:
    task = up_to(judge.task, level) if judge.decoys else judge.task
    k = task.protocol.k
    overall, recall = [], []
    for scorer in scorers:
        blend = scorer.model.blend
        own = blend.new_boost.clone()
        judged = []
        for lift in LIFTS:
            blend.new_boost.fill_(lift)
            judged.append(
                evaluate_arm(scorer, task, arm=arm, title=arm, k=k, settings=(_ALL, _NEW), progress=False)
            )
        blend.new_boost.copy_(own)
        overall.append([found.mean(_ALL) for found in judged])
        recall.append([found.settings[_NEW].values("recall") for found in judged])
    return Front(arm, level, LIFTS, np.mean(overall, axis=0), np.mean(recall, axis=0))
