"""Matching by history where what was had before may be right again: judged as the next basket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.evaluate.baselines import popularity
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.ranking.repeats import RepeatScorer
from kgdistill.run import artefacts
from kgdistill.run.history_match import Contender, HistoryMatch
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.pack_repeats import pack_repeats
from kgdistill.tasks.basket import HALF_LIVES, RepeatTask, personal_frequency, repeat_task
from kgdistill.tasks.histories import frozen_purchases
from kgdistill.train.basket import RepeatSettings, informed, scorer_of, train_repeats
from kgdistill.train.student import TrainedStudent


class BasketMatch(HistoryMatch):
    """As `HistoryMatch`; its student is judged and served with a repeat model."""

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

    def make(self, name: str, folder: Path) -> None:
        """Makes what a stage leaves, in an empty folder."""
        if name != "repeats":
            return super().make(name, folder)
        seed = self.run.config.seed
        network = train_repeats(self.student_scorer(), self.catalogue, self._closed, "test", seed=seed)
        artefacts.save_repeats(folder, network)

    @cached_property
    def _closed(self) -> RepeatTask:
        return self.repeats(opened=False)

    def _scorer(self, student: Scorer) -> RepeatScorer:
        """The repeat model over all that the test may know."""
        network = artefacts.load_repeats(self.run.read("repeats"))
        return scorer_of(network, student, self.catalogue, self._closed, "test", RepeatSettings())

    def _served(self, trained: TrainedStudent) -> Scorer:
        past = self._closed.past(self._closed.history_until_us("test"))
        return informed(self._student_scorer(trained), past, self.catalogue)

    def _packed(self) -> Bundle:
        bundle, catalogue = super()._packed(), self.catalogue
        network = artefacts.load_repeats(self.run.read("repeats"))
        until_us = self._closed.history_until_us("test")
        bundle.repeats = pack_repeats(network, RepeatSettings(), self._closed.past(until_us), catalogue.items)
        return bundle

    def _judge(self, folder: Path) -> None:
        task = self.repeats(opened=True)
        self._judge_each(task, self._next(task), folder)

    def _next(self, task: RepeatTask) -> Iterator[Contender]:
        yield Contender("popularity", popularity(task))
        yield Contender("frequency", personal_frequency(task, "test", half_life=self._half_life()))
        yield Contender("basket", self._scorer(self.student_scorer()))

    def _half_life(self) -> timedelta:
        """Of the personal frequency, by validation."""
        closed = self._closed

        def reached(half_life: timedelta) -> float:
            scorer = personal_frequency(closed, "validation", half_life=half_life)
            result = evaluate_arm(
                scorer, closed, arm="frequency", title="frequency", split="validation",
                k=closed.protocol.k, progress=False,
            )  # fmt: skip
            return result.mean("warm")

        return max(HALF_LIVES, key=reached)
