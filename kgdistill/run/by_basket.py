"""Matching by history where what was had before may be right again: judged as the next basket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.evaluate.baselines import popularity
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run.history_match import Contender, HistoryMatch
from kgdistill.tasks.basket import HALF_LIVES, RepeatTask, personal_frequency, repeat_task
from kgdistill.tasks.histories import frozen_purchases


class BasketMatch(HistoryMatch):
    """As `HistoryMatch`; its student is judged with a repeat feature, fitted before the test's start."""

    def repeats(self, *, opened: bool) -> RepeatTask:
        """The task with every event of every pair; the test stays closed unless it is to be judged."""
        run = self.run
        known = frozen_purchases(run.snapshot, pq.read_table(run.holdout), run.config.discovery.interaction)
        bought = known.filter(known["bought"]).select(["user", "product", "at"])
        lines = bought.rename_columns(["source", "target", "at"])
        task = repeat_task(run.task, lines.filter(pc.is_valid(lines["at"])))
        if opened:
            task.open_test()
        return task

    def _judge(self, folder: Path) -> None:
        task = self.repeats(opened=True)
        self._judge_each(task, self._next(task), folder, void={})

    def _next(self, task: RepeatTask) -> Iterator[Contender]:
        yield Contender("popularity", popularity(task))
        yield Contender("frequency", personal_frequency(task, "test", half_life=self._half_life()))
        yield Contender("basket", self.repeat_scorer(task, "test"))

    def _half_life(self) -> timedelta:
        """Of the personal frequency, by validation."""
        closed = self.repeats(opened=False)

        def reached(half_life: timedelta) -> float:
            scorer = personal_frequency(closed, "validation", half_life=half_life)
            result = evaluate_arm(
                scorer, closed, arm="frequency", title="frequency", split="validation",
                k=closed.protocol.k, progress=False,
            )  # fmt: skip
            return result.mean("warm")

        return max(HALF_LIVES, key=reached)
