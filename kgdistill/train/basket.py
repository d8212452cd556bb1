"""What a user buys next, had before or not: habits of the pair, the item and the user, beside the student.

A small network ranks each user's own history together with the most bought items and the student's best. It
learns from rolling windows: what was known at a moment, and what was bought in the period after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse as sp
from torch import Tensor, nn

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.scorer import Scorer
from kgdistill.progress import step
from kgdistill.ranking.habits import Past
from kgdistill.ranking.repeats import ListSettings, RepeatNetwork, RepeatScorer, make_lists
from kgdistill.ranking.units import units_of
from kgdistill.tasks.basket import RepeatTask
from kgdistill.tasks.interactions import interactions_before
from kgdistill.tasks.match import Split
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, fit
from kgdistill.train.losses import sampled_softmax

_BATCHES = 10
"""At least so many in an epoch, however few the lists are."""


@dataclass(frozen=True)
class RepeatSettings(ListSettings):
    """How the network is fitted and what it ranks.

    Attributes:
        windows: rolling windows before the split's moment, each as long as the validation period.
        hidden, epochs, batch, lr, l2: the network's width and its training by Adam.
        sampled: at most so many of a user's items enter one list in training, drawn evenly.
    """

    windows: int = 4
    hidden: int = 32
    epochs: int = 12
    batch: int = 64
    lr: float = 6e-3
    l2: float = 1e-5
    sampled: int = 400


class RepeatModel(nn.Module):
    """Two layers over standardised values."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def standardise(self, values: Tensor) -> Tensor:
        """Zero mean and unit variance over what it learned from; [..., width]."""
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        return (values - mean) / scale

    def forward(self, values: Tensor) -> Tensor:
        """Scores [...] of standardised values [..., width]."""
        out: Tensor = self.layers(values).squeeze(-1)
        return out

    def network(self, *, informed: bool) -> RepeatNetwork:
        """The same without torch; `informed` as there."""
        state = {name: tensor.numpy() for name, tensor in self.state_dict().items()}
        return RepeatNetwork(
            state["mean"], state["scale"], state["layers.0.weight"], state["layers.0.bias"],
            state["layers.2.weight"][0], state["layers.2.bias"], informed,
        )  # fmt: skip


@dataclass(frozen=True)
class _Examples:
    """A window's lists, sampled; `witnessed`: whether the student's values may be learned from."""

    values: FloatArray
    bought: BoolArray
    offsets: IntArray
    witnessed: bool


def _examples(
    past: Past, end_us: int, users: IntArray, student: Scorer | None, settings: RepeatSettings,
    rng: np.random.Generator,
) -> _Examples:  # fmt: skip
    """What was known at `past.until_us` and what was bought from then on and before `end_us`."""
    lists = make_lists(past, users, student, settings)
    period = (past.at >= past.until_us) & (past.at < end_us)
    wide = np.int64(past.shape[1])
    bought = np.isin(lists.users * wide + lists.items, past.users[period] * wide + past.items[period])
    kept: list[IntArray] = []
    for start, stop in zip(lists.offsets[:-1], lists.offsets[1:], strict=True):
        rows = np.arange(start, stop)
        if len(rows) > settings.sampled:
            rows = np.sort(rng.choice(rows, settings.sampled, replace=False))
        # A user who bought none of their list teaches nothing.
        if bought[rows].any():
            kept.append(rows)
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in kept])]).astype(np.int64)
    chosen = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    return _Examples(lists.values[chosen], bought[chosen], offsets, student is not None)


class _Lesson(Lesson[Tensor]):
    """Users' lists in batches.

    Args:
        model: takes its standardisation from the values.
        windows: some with a list.
        settings: how many lists at a time.
    """

    def __init__(self, model: RepeatModel, windows: list[_Examples], settings: RepeatSettings) -> None:
        self.model, self.settings = model, settings
        values = np.concatenate([window.values for window in windows])
        witnessed = np.repeat([w.witnessed for w in windows], [len(w.bought) for w in windows])
        mean, scale = units_of(values)
        if witnessed.any():
            mean[-2:], scale[-2:] = units_of(values[witnessed, -2:])
        model.get_buffer("mean").copy_(torch.from_numpy(mean))
        model.get_buffer("scale").copy_(torch.from_numpy(scale))
        self.inputs = model.standardise(torch.from_numpy(values))
        # Where the student is not known its values say nothing: they stand at their mean.
        self.inputs[torch.from_numpy(~witnessed), -2:] = 0.0
        self.bought = torch.from_numpy(np.concatenate([window.bought for window in windows]))
        self.lengths = torch.cat([torch.from_numpy(window.offsets).diff() for window in windows])
        self.offsets = self.lengths.cumsum(0) - self.lengths

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """Lists, shuffled."""
        count = len(self.lengths)
        return draws.batches(torch.arange(count), min(self.settings.batch, max(1, count // _BATCHES)))

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """Softmax cross-entropy over each list, and the squared weights."""
        lengths = self.lengths[batch, None]
        column = torch.arange(int(lengths.max()))
        absent = column >= lengths
        place = (self.offsets[batch, None] + column).masked_fill(absent, 0)
        scores = self.model(self.inputs[place])
        decay = torch.stack([(p**2).sum() for p in self.model.parameters()]).sum()
        return {
            "list": (1.0, sampled_softmax(scores, self.bought[place], mask=absent)),
            "decay": (self.settings.l2, decay),
        }


def fit_repeat(windows: list[_Examples], settings: RepeatSettings, *, seed: int) -> RepeatModel:
    """Fits the network by softmax cross-entropy over each user's list.

    Raises:
        InputError: nobody bought anything in any window.
    """
    windows = [window for window in windows if len(window.bought)]
    if not windows:
        raise InputError(
            "no window before the split holds a purchase to learn from", hint="choose a later cut"
        )
    draws = Context(torch.device("cpu"), seed).draws()
    model = RepeatModel(windows[0].values.shape[1], settings.hidden)
    lesson, recipe = (
        _Lesson(model, windows, settings),
        Recipe(settings.epochs, settings.lr, schedule="one_cycle"),
    )
    return fit(model, lesson, recipe, draws, title="Fitting the repeat model").model


def informed(student: Scorer, past: Past, catalogue: TrainingData) -> Scorer:
    """The same student with the lines of `past` as the histories that it reads; its weights stay."""
    known = past.at < past.until_us
    coded = past.users[known] * np.int64(past.shape[1]) + past.items[known]
    codes, place = np.unique(coded, return_inverse=True)
    first = np.full(len(codes), past.until_us, dtype=np.int64)
    np.minimum.at(first, place, past.at[known])
    at = (codes // past.shape[1], codes % past.shape[1])
    ones = sp.csr_matrix((np.ones(len(codes), np.float32), at), shape=past.shape)
    times = sp.csr_matrix((first, at), shape=past.shape)
    view = interactions_before(ones, times, until_us=past.until_us, min_count=catalogue.min_count)
    return replace(student, terms=student.terms.over(view))


def train_repeats(
    student: Scorer, catalogue: TrainingData, task: RepeatTask, split: Split, *, seed: int,
    settings: RepeatSettings | None = None,
) -> RepeatNetwork:  # fmt: skip
    """What the repeat task learns from what lies before the split alone.

    The student has learned from purchases up to the catalogue's cut, so that its scores flatter it in windows
    that begin earlier: there they are left out, and altogether where no window begins at the cut or later.

    Args:
        student: a trained student; only what it scores is read.
        catalogue: whose cut is the one that the student was trained up to.
        task: the lines, users and moments.
        split: "validation" sees lines before the cut; "test" those before the test's start.
        seed: of the network's weights and samples.
        settings: how it is fitted.

    Raises:
        InputError: too little lies before the split.
    """
    settings = settings or RepeatSettings()
    until = task.history_until_us(split)
    period = task.history_until_us("test") - task.history_until_us("validation")
    rng = np.random.default_rng(seed)
    windows: list[_Examples] = []
    with step("Looking back for the repeat model", total=settings.windows) as work:
        for back in range(1, settings.windows + 1):
            moment = until - back * period
            if (task.lines[2] < moment).any():
                past = task.past(until, moment)
                known = informed(student, past, catalogue) if moment >= catalogue.cut_us else None
                windows.append(_examples(past, moment + period, task.users, known, settings, rng))
            work.advance()
    witnessed = any(window.witnessed for window in windows)
    return fit_repeat(windows, settings, seed=seed).network(informed=witnessed)


def repeat_scorer(
    student: Scorer, catalogue: TrainingData, task: RepeatTask, split: Split, *, seed: int,
    settings: RepeatSettings | None = None,
) -> RepeatScorer:  # fmt: skip
    """A scorer of the repeat task, from `train_repeats`, whose arguments it takes."""
    network = train_repeats(student, catalogue, task, split, seed=seed, settings=settings)
    return scorer_of(network, student, catalogue, task, split, settings or RepeatSettings())


def scorer_of(
    network: RepeatNetwork, student: Scorer, catalogue: TrainingData, task: RepeatTask, split: Split,
    settings: ListSettings,
) -> RepeatScorer:  # fmt: skip
    """A fitted network over all that is known before a split, with the student where it learned from it."""
    past = task.past(task.history_until_us(split))
    proposer = informed(student, past, catalogue) if network.informed else None
    return RepeatScorer(network, past, proposer, settings)
