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

from kgdistill.arrays import DoubleArray
from kgdistill.models.blend import Blend, HistoryModel
from kgdistill.models.candidates import best_unseen
from kgdistill.models.scorer import Scorer
from kgdistill.ranking.bootstrap import standard_error
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice
from kgdistill.train.loop import Context, Draws, Lesson, Metrics, Recipe, Trained, fit

_BOOSTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_BOOST_COSTS = 0.02
_SHOWN, _ASKED = 20, 500
"""So many places of a list, of the lists of so many users, tell how many go to new items."""
H = TypeVar("H", bound=HistoryModel)

Validate = Callable[[Scorer], Metrics]
"""Gives the validation metrics of a scorer; it sees events between the cut and the test period only."""


@dataclass
class TrainedRanker(Trained[H]):
    """A model of histories.

    Attributes:
        chosen: where the protocol fits again, the model that knew nothing of the validation events.
        lifted: what was chosen for new items (`raise_new`); empty where they are not ranked among all.
    """

    chosen: Any = field(default=None, kw_only=True)
    lifted: dict[str, float] = field(default_factory=dict, kw_only=True)


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
        trained.best_epoch, trained.history, trained.validated = done.best_epoch, done.history, done.validated
        if metrics is not None and "all" in self.catalogue.pools:
            trained.lifted = raise_new(trained.model.blend, metrics, lambda: self._places(score()))
        return trained

    def _places(self, scorer: Scorer) -> float:
        """How many places of a list go to new items: of those who have a history, as no other is lifted."""
        users = self.catalogue.users[np.diff(self.whole.purchases.indptr)[self.catalogue.users] > 0]
        users, items = users[:: max(1, len(users) // _ASKED)], self.catalogue.items
        shown = best_unseen(scorer, self.whole, users, items, min(_SHOWN, len(items)))
        new = np.isin(shown.cpu(), self.catalogue.pool("cold", self.whole))
        return float(new.sum(1).mean()) if len(users) else 0.0


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
        trained.validated, trained.lifted = chosen.validated, chosen.lifted
        trained.model.blend.new_boost.copy_(chosen.model.blend.new_boost)
    trained.seconds = time.monotonic() - begin
    return trained


def first_round(
    catalogue: TrainingData, share: float, epochs: int, validate: Validate, title: str, context: Context
) -> Round:
    """The round that validation chooses in: the latest `share` of the events before it are labels."""
    until = catalogue.select_us
    return Round(catalogue, until, catalogue.inner_cut(share, until), epochs, validate, title, context)


def raise_new(blend: Blend, metrics: Callable[[], Metrics], places: Callable[[], float]) -> dict[str, float]:
    """Lifts new items among all others as far as validation allows (`Blend.new_boost`).

    Purchases teach that new items are seldom bought, so that a ranking of the whole catalogue buries them
    and nobody ever buys them. The lift is kept whose cost, and one standard error of it over the users, come
    to 2 % of the metric over all items. Single costs are noise: a curve a·p + c·p², a and c not negative,
    goes through what the lifts cost by the places p that they give to new items. A lift means another thing
    to each model; a place means the same.

    Args:
        blend: gets the lift.
        metrics: of the model as it is; that over all items is the one whose name begins so.
        places: how many places of a list new items take, as the model is.

    Returns:
        The lift, the places with it and without, and what it costs by that curve.
    """

    def tried(boost: float) -> tuple[DoubleArray, float]:
        blend.new_boost.fill_(boost)
        overall = next(value for name, value in metrics().items() if name.startswith("all_"))
        return np.atleast_1d(np.asarray(overall, np.float64)), places()

    before, first = tried(0.0)
    boosts, gone, taken = np.array([0.0, *_BOOSTS]), [0.0], [0.0]
    for boost in _BOOSTS:
        now, shown = tried(boost)
        gone.append((before - now).mean() + standard_error(before - now))
        taken.append(shown - first)
    costs = np.array(gone) / before.mean() if before.any() else np.ones(len(boosts))
    places_taken = np.maximum.accumulate(taken)
    slope, bend = nnls(np.stack([places_taken, places_taken**2], axis=1), costs)[0]
    fine = np.linspace(0, boosts[-1], 81)
    given = np.interp(fine, boosts, places_taken)
    told = slope * given + bend * given**2
    at = int(np.flatnonzero(told <= _BOOST_COSTS)[-1])
    blend.new_boost.fill_(float(fine[at]))
    return {
        "lift": float(fine[at]),
        "places": first + float(given[at]),
        "before": first,
        "cost": float(told[at]),
    }


def log_decay(choice: LinearChoice | None) -> float:
    """Where the recency decay of a model's history starts."""
    return math.log(max(choice.decay, 2.5e-3)) if choice is not None else -6.0
