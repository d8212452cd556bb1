"""A model of histories is fitted once, or a second time on everything where the protocol fits again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from scipy.optimize import nnls

from kgdistill.models.blend import Blend, HistoryModel
from kgdistill.models.scorer import Scorer
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice
from kgdistill.train.loop import Context, Draws, Lesson, Recipe, Trained, fit

_BOOSTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_BOOST_COSTS = 0.02
H = TypeVar("H", bound=HistoryModel)

Validate = Callable[[Scorer], dict[str, float]]
"""Gives the validation metrics of a scorer; it sees events between the cut and the test period only."""


@dataclass
class TrainedRanker(Trained[H]):
    """A model of histories.

    Attributes:
        chosen: where the protocol fits again, the model that knew nothing of the validation events.
    """

    chosen: Any = field(default=None, kw_only=True)


R = TypeVar("R", bound=TrainedRanker[Any])


@dataclass(frozen=True)
class Round:
    """One fit of a model: the latest of what is known are labels, what lies before them is read.

    Attributes:
        catalogue: users, items and purchases before the cut.
        until_us: what is known ends here.
        inner_us: labels begin here.
        epochs: passes.
        validate: on the validation events; None where they are among the labels.
        title: shown while it runs.
        context: where it runs.
    """

    catalogue: TrainingData
    until_us: int
    inner_us: int
    epochs: int
    validate: Validate | None
    title: str
    context: Context

    @cached_property
    def whole(self) -> Interactions:
        """Everything known."""
        return self.catalogue.view(self.until_us)

    @cached_property
    def inner(self) -> Interactions:
        """What lies before the labels."""
        return self.catalogue.view(self.inner_us)

    @cached_property
    def labels(self) -> sp.csr_matrix:
        """CSR [users, items]: what was bought after the inner view."""
        labels = sp.csr_matrix(self.whole.purchases - self.inner.purchases)
        labels.eliminate_zeros()
        return labels

    def run(
        self, trained: R, lesson: Lesson[Any], recipe: Recipe, draws: Draws, score: Callable[[], Scorer]
    ) -> R:
        """Fits the model, keeps the epoch that validates best, and lifts new items where all are ranked.

        Args:
            trained: the model with what it needs to score; filled in.
            lesson, recipe, draws: see `fit`.
            score: the model as it is, over everything known.
        """
        judge = self.validate
        metrics = None if judge is None else (lambda: judge(score()))
        done = fit(
            trained.model, lesson, recipe, draws, title=self.title, validate=metrics,
            checkpoint=self.context.checkpoint,
        )  # fmt: skip
        trained.best_epoch, trained.history = done.best_epoch, done.history
        if metrics is not None and "all" in self.catalogue.pools:
            raise_new(trained.model.blend, metrics)
        return trained


def choose_and_refit(first: Round, fit_once: Callable[[Round], R]) -> R:
    """Fits a model and, where the protocol fits again, once more for as many epochs as validated best.

    The second time what chose the epoch is what there is to learn from.

    Args:
        first: the round that validation chooses in.
        fit_once: fits a fresh model.
    """
    begin = time.monotonic()
    catalogue = first.catalogue
    trained = fit_once(first)
    if catalogue.refits:
        chosen, best = trained, max(1, trained.best_epoch)
        again = Round(
            catalogue, catalogue.cut_us, catalogue.select_us, best, None, f"{first.title}, on everything",
            first.context,
        )  # fmt: skip
        trained = fit_once(again)
        trained.best_epoch, trained.history, trained.chosen = best, chosen.history, chosen
        trained.model.blend.new_boost.copy_(chosen.model.blend.new_boost)
    trained.seconds = time.monotonic() - begin
    return trained


def first_round(
    catalogue: TrainingData, share: float, epochs: int, validate: Validate, title: str, context: Context
) -> Round:
    """The round that validation chooses in: the latest `share` of the events before it are labels."""
    until = catalogue.select_us
    return Round(catalogue, until, catalogue.inner_cut(share, until), epochs, validate, title, context)


def raise_new(blend: Blend, metrics: Callable[[], dict[str, float]]) -> None:
    """Lifts new items among all others as far as validation allows (`Blend.new_boost`).

    Purchases teach that new items are seldom bought, so that a ranking of the whole catalogue buries them
    and nobody ever buys them. The lift is kept that costs 2 % of the metric over all items, by a curve
    a·b + c·b² through what all lifts b cost, a and c not negative: single costs are noise.
    """

    def overall(boost: float) -> float:
        blend.new_boost.fill_(boost)
        return next(value for name, value in metrics().items() if name.startswith("all_"))

    before, boosts = overall(0.0), np.array(_BOOSTS)
    costs = np.array([1 - overall(boost) / before for boost in _BOOSTS]) if before else np.ones(len(boosts))
    slope, bend = nnls(np.stack([boosts, boosts**2], axis=1), costs)[0]
    fine = np.linspace(0, boosts[-1], 61)
    allowed = fine[slope * fine + bend * fine**2 <= _BOOST_COSTS]
    blend.new_boost.fill_(float(allowed[-1]))


def log_decay(choice: LinearChoice | None) -> float:
    """Where the recency decay of a model's history starts."""
    return math.log(max(choice.decay, 2.5e-3)) if choice is not None else -6.0
