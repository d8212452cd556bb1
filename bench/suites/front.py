"""What it costs to show new items: Recall of new items by what their lift takes from the whole ranking.

A lift is added to every new item's score where the whole catalogue is ranked (`Blend.new_boost`). The front
says what any lift would do; which one a model has was chosen on validation, and is no part of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.comparisons import Resamples
from bench.suites.decoys import WIDE, levels, up_to
from bench.suites.judge import Judge
from kgdistill.arrays import DoubleArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.tasks.match import MatchTask

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
        """For each of `COSTS` the highest lift that costs no more, against none, and the recall with it.

        The interval is over users, with the lift as it is: that the same users chose it is not in it.
        """
        drawn = Resamples(self.recall.shape[1], samples=samples, level=level, seed=seed)
        for cost in COSTS:
            at = int(np.flatnonzero(self.overall >= (1 - cost) * self.overall[0])[-1])
            told = drawn.draw(self.recall[[at]])[0].estimate()
            yield {
                "arm": self.arm, "decoys": self.decoys, "cost": cost, "lift": self.lifts[at],
                "recall": told.mean, "low": told.low, "high": told.high,
            }  # fmt: skip


def fronts(arm: str, seeds: Sequence[Callable[[], Scorer]], judge: Judge) -> list[Front]:
    """The fronts of an arm, one without decoys and one for each number of them.

    Args:
        arm: its short name.
        seeds: each makes the scorer of one seed, whose lift stays as it was; one is held at a time.
        judge: its test is opened. Where no new item is bought in it there is no front.
    """
    judge.task.open_test()
    tasks = (
        {0: judge.task} if not judge.decoys else {n: up_to(judge.task, n) for n in (0, *levels(judge.decoys))}
    )
    tasks = {level: task for level, task in tasks.items() if _bought(task)}
    found: dict[int, list[tuple[list[float], list[DoubleArray]]]] = {level: [] for level in tasks}
    for make in seeds:
        scorer = make()
        for level, task in tasks.items():
            found[level].append(_judged(arm, scorer, task))
    return [
        Front(
            arm, level, LIFTS, np.mean([o for o, _ in parts], axis=0), np.mean([r for _, r in parts], axis=0)
        )
        for level, parts in found.items()
    ]


def _bought(task: MatchTask) -> bool:
    """Whether anybody who is judged buys a new item in the test."""
    return bool(task.positives("test")[task.users][:, task.judged(_NEW, "test")].nnz)


def _judged(arm: str, scorer: Scorer, task: MatchTask) -> tuple[list[float], list[DoubleArray]]:
    """The NDCG over all items with each lift, and the recall of new items by user."""
    blend = scorer.model.blend
    own = blend.new_boost.clone()
    overall, recall = [], []
    for lift in LIFTS:
        blend.new_boost.fill_(lift)
        found = evaluate_arm(
            scorer, task, arm=arm, title=arm, k=task.protocol.k, settings=(_ALL, _NEW), progress=False
        )
        overall.append(found.mean(_ALL))
        recall.append(found.settings[_NEW].values("recall"))
    blend.new_boost.copy_(own)
    return overall, recall
