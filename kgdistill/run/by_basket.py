"""Matching by history where what was had before may be right again: judged as the next basket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.evaluate.baselines import popularity
from kgdistill.evaluate.document import metrics_document
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run import artefacts
from kgdistill.run.history_match import HistoryMatch
from kgdistill.tasks.basket import HALF_LIVES, RepeatTask, personal_frequency, repeat_task
from kgdistill.tasks.histories import frozen_purchases
from kgdistill.tasks.match import Scorer


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
        _, left_out = self.run.judged()
        arms, task = self.run.pipeline.arms, self.repeats(opened=True)
        (folder / "topk").mkdir()
        results = []
        for name, scorer in self._next(task):
            result = evaluate_arm(scorer, task, arm=name, title=arms[name].title, k=task.protocol.k)
            pq.write_table(result.topk, folder / "topk" / f"{name}.parquet")
            results.append(result)
        there = {result.arm for result in results}
        comparisons = [pair for pair in self.run.pipeline.comparisons if there.issuperset(pair)]
        document = metrics_document(task, results, comparisons)
        artefacts.save_metrics(folder, document | {"left_out": left_out, "void": {}})

    def _next(self, task: RepeatTask) -> Iterator[tuple[str, Scorer]]:
        yield "popularity", popularity(task)
        yield "frequency", personal_frequency(task, "test", half_life=self._half_life())
        yield "basket", self.repeat_scorer(task, "test")

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
