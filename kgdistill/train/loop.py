"""The one training loop: steps, validation, the epoch that is kept, and a state to go on from bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from kgdistill.arrays import DoubleArray
from kgdistill.errors import InputError
from kgdistill.progress import Step, step
from kgdistill.ranking.bootstrap import standard_error
from kgdistill.train.losses import combine

B = TypeVar("B")
M = TypeVar("M")
Module = TypeVar("Module", bound=nn.Module)
LossTerms = Mapping[str, tuple[float, Tensor]]
"""The terms of a loss by name: each its weight, and a scalar."""
Metrics: TypeAlias = Mapping[str, float | DoubleArray]
"""By name a metric as one number, or each user's part in it, float64 [users]: their mean is the metric."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        epochs: passes.
        lr: Adam's rate.
        rates: shares of it for the parameters whose name begins so ("blend" for "blend.mixer.0.weight").
        eps: Adam's, likewise, where it is not 1e-8: a gradient far below it moves nothing.
        weight_decay: AdamW's; 0 is Adam.
        schedule: of the rate: it stays, falls to 0 in a straight line, or goes through one cycle.
        warm: share of the steps over which the rate rises before it falls.
        clip: longest gradient, over all parameters.
        evaluate_every: epochs between two validations; the last epoch is always validated.
        evaluate_first: validates the model before training too; it may be the one that is kept.
        later: an epoch after the best is preferred that falls short of it by less than a standard error, user
            by user: nobody can tell which is better, and the later one has learned more.
    """

    epochs: int
    lr: float
    rates: Mapping[str, float] = field(default_factory=dict)
    eps: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.0
    schedule: Literal["constant", "fall", "one_cycle"] = "constant"
    warm: float = 0.0
    clip: float = math.inf
    evaluate_every: int = 1
    evaluate_first: bool = False
    later: bool = False


@dataclass
class Trained(Generic[M]):
    """What came of a training.

    Attributes:
        model: with the weights that are kept.
        history: one record per epoch, the one before training (0) first: mean losses, validation, seconds.
        best_epoch: the epoch whose weights these are.
        validated: each user's part in the sum of its validation metrics, float64 [users]; None without.
        seconds: how long it took.
    """

    model: M
    history: list[dict[str, float]] = field(default_factory=list, kw_only=True)
    best_epoch: int = field(default=0, kw_only=True)
    validated: DoubleArray | None = field(default=None, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)


class Draws:
    """Every source of chance of a training: generators of its own, and torch's, which dropout draws from.

    Attributes:
        torch: the training's own.
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.torch = torch.Generator().manual_seed(seed)
        beside = device is not None and device.type != "cpu"
        self._device: Any = torch.get_device_module(device) if beside else None

    def shuffled(self, ids: Tensor) -> Tensor:
        """Ids int64 [N] in an order that is drawn on the CPU, so that every device has the same."""
        return ids[torch.randperm(len(ids), generator=self.torch).to(ids.device)]

    def alike(self, ids: Tensor, lengths: Tensor, size: int) -> list[Tensor]:
        """Ids int64 [N] in batches in random order, each of texts of like length, int64 [N]."""
        parts: list[Tensor] = []
        for pool in self.batches(torch.arange(len(ids), device=ids.device), 16 * size):
            parts += torch.split(ids[pool[lengths[pool].argsort(stable=True)]], size)
        return [parts[i] for i in torch.randperm(len(parts), generator=self.torch).tolist()]

    def batches(self, ids: Tensor, size: int, *, even: bool = False) -> list[Tensor]:
        """Shuffled ids in batches of `size`, the last of what is left; with `even` none is less."""
        if even:
            return list(torch.tensor_split(self.shuffled(ids), max(len(ids) // size, 1)))
        return list(torch.split(self.shuffled(ids), size)) if len(ids) else []

    def state_dict(self) -> dict[str, Any]:
        """Where all of them stand, torch's own among them."""
        return {
            "torch": self.torch.get_state(),
            "cpu": torch.get_rng_state(),
            "device": None if self._device is None else self._device.get_rng_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts all of them back."""
        self.torch.set_state(state["torch"])
        torch.set_rng_state(state["cpu"])
        if self._device is not None:
            self._device.set_rng_state(state["device"])


class Lesson(Generic[B]):
    """What is learned from: which batches make an epoch, and what a batch costs."""

    def plan(self, epoch: int, draws: Draws) -> Sequence[B]:
        """The batches of an epoch, from 1 on, in their order: ids, not what is made of them."""
        raise NotImplementedError

    def loss(self, batch: B, draws: Draws) -> LossTerms:
        """The terms of a batch's loss; none where it teaches nothing."""
        raise NotImplementedError

    def enough(self, epoch: int) -> bool:
        """Asked after each epoch: True ends the training."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """What later epochs rest on beside the model."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts it back."""


class Checkpoint(Protocol):
    """Keeps the state of trainings, each by its title."""

    def load(self, title: str) -> Mapping[str, Any] | None:
        """What `TrainState.state_dict` said when it was kept; None to begin anew."""

    def save(self, title: str, state: TrainState) -> None:
        """Called after every step; asks the state for its `state_dict` as often as it likes."""


@dataclass(frozen=True)
class Context:
    """Where a training runs, and what it draws from.

    Attributes:
        device: of the model.
        seed: of first weights, samples, batches and dropout.
        checkpoint: keeps the state on the way; None keeps none.
    """

    device: torch.device
    seed: int
    checkpoint: Checkpoint | None = None

    def draws(self) -> Draws:
        """Fresh generators; torch itself is seeded too, for first weights and dropout."""
        torch.manual_seed(self.seed)
        return Draws(self.seed, self.device)


class TrainState:
    """All that a training is at a moment: another that loads it goes on from there, bit for bit."""

    def __init__(self, model: nn.Module, lesson: Lesson[Any], recipe: Recipe, draws: Draws) -> None:
        self.model, self.lesson, self.recipe, self.draws = model, lesson, recipe, draws
        self.optimizer = _optimizer(model, recipe)
        self.schedule: torch.optim.lr_scheduler.LRScheduler | None = None
        self.total = 0
        self.epoch, self.position = 0, 0
        self.batches: Sequence[Any] = ()
        self.losses: dict[str, list[float]] = {}
        self.history: list[dict[str, float]] = []
        self.best: DoubleArray | None = None
        self.best_epoch = 0
        self.validated: DoubleArray | None = None
        self.best_weights: dict[str, Tensor] = {}
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been trained."""
        return time.monotonic() - self._begin

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything: tensors, arrays and plain values."""
        state = {name: getattr(self, name) for name in _PLAIN}
        for name in ("model", "lesson", "draws", "optimizer"):
            state[name] = getattr(self, name).state_dict()
        state["schedule"] = None if self.schedule is None else self.schedule.state_dict()
        return copy.deepcopy({**state, "seconds": self.seconds})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to what `state_dict` said."""
        state = copy.deepcopy(dict(state))
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.schedule = _schedule(self.optimizer, self.recipe, self.total)
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        for name in ("model", "lesson", "optimizer", "draws"):
            getattr(self, name).load_state_dict(state[name])
        self._begin = time.monotonic() - state["seconds"]

    def begin_epoch(self) -> None:
        """Plans the next epoch."""
        self.epoch, self.position, self.losses = self.epoch + 1, 0, {}
        self.batches = self.lesson.plan(self.epoch, self.draws)
        if self.epoch == 1:
            self.total = max(self.recipe.epochs * len(self.batches), 1)
            self.schedule = _schedule(self.optimizer, self.recipe, self.total)

    def step(self) -> None:
        """Learns from the next batch.

        Raises:
            InputError: the loss is no longer a number.
        """
        terms = self.lesson.loss(self.batches[self.position], self.draws)
        self.position += 1
        if not any(weight for weight, _ in terms.values()):
            return
        loss, parts = combine(terms)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip < math.inf:
            moving = [p for p in self.model.parameters() if p.requires_grad]
            torch.nn.utils.clip_grad_norm_(moving, self.recipe.clip)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        names = ("loss", *(f"loss/{k}" for k in parts))
        # They leave the device together.
        for name, value in zip(names, torch.stack([loss.detach(), *parts.values()]).tolist(), strict=True):
            self.losses.setdefault(name, []).append(value)
        if not math.isfinite(self.losses["loss"][-1]):
            raise InputError(
                f"the loss became {self.losses['loss'][-1]} in epoch {self.epoch}, step {self.position}",
                hint="lower the learning rate",
            )

    def end_epoch(self, validate: Callable[[], Metrics] | None) -> None:
        """Records the epoch (0: before training), validates it where that is due, keeps the best weights."""
        record = {"epoch": float(self.epoch), **{k: float(np.mean(v)) for k, v in self.losses.items()}}
        last = self.epoch == self.recipe.epochs
        due = self.epoch % self.recipe.evaluate_every == 0 if self.epoch else self.recipe.evaluate_first
        if validate is not None and (due or last):
            self.model.eval()
            metrics = validate()
            record |= {f"valid/{k}": float(np.mean(v)) for k, v in metrics.items()}
            reached = np.atleast_1d(np.sum([np.asarray(v, np.float64) for v in metrics.values()], axis=0))
            behind = None if self.best is None else self.best - reached
            if behind is None or behind.mean() < (standard_error(behind) if self.recipe.later else 0.0):
                self.best_epoch, self.validated = self.epoch, reached
                self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            if behind is None or behind.mean() < 0:
                self.best = reached
        self.history.append({**record, "seconds": self.seconds})


_PLAIN = (
    "total", "epoch", "position", "batches", "losses", "history", "best", "best_epoch", "best_weights",
    "validated",
)  # fmt: skip


def fit(
    model: Module,
    lesson: Lesson[Any],
    recipe: Recipe,
    draws: Draws,
    *,
    title: str,
    validate: Callable[[], Metrics] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained[Module]:
    """Trains a model in place.

    Args:
        model: what is trained: those of its parameters that want a gradient.
        lesson: the batches and their losses.
        recipe: how.
        draws: what the lesson draws from; made before the model, so that its first weights are drawn too.
        title: shown while it runs.
        validate: metrics of the model as it is; the epoch of the greatest sum is kept (see `Recipe.later`);
            without, the last.
        checkpoint: keeps the state after each step; where it has one of this title, training goes on there.

    Raises:
        InputError: the loss is no longer a number.
    """
    state = TrainState(model, lesson, recipe, draws)
    kept = None if checkpoint is None else checkpoint.load(title)
    if kept is not None:
        state.load_state_dict(kept)
    else:
        state.end_epoch(validate)
    with step(title) as work:
        while len(state.history) <= recipe.epochs:
            if state.epoch < len(state.history):
                state.begin_epoch()
            work.expect(state.total)
            _epoch(state, work, title, checkpoint)
            state.end_epoch(validate)
            if lesson.enough(state.epoch):
                break
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    else:
        state.best_epoch = state.epoch
    model.eval()
    return Trained(
        model, history=state.history, best_epoch=state.best_epoch, validated=state.validated,
        seconds=state.seconds,
    )  # fmt: skip


def _epoch(state: TrainState, work: Step, title: str, checkpoint: Checkpoint | None) -> None:
    state.model.train()
    while state.position < len(state.batches):
        state.step()
        if checkpoint is not None:
            checkpoint.save(title, state)
        last = state.losses.get("loss", [])[-1:]
        work.note(", ".join([f"epoch {state.epoch}", *(f"loss {value:.4f}" for value in last)]))
        work.advance()


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate, eps = (
                next((value for start, value in values.items() if f"{name}.".startswith(f"{start}.")), usual)
                for values, usual in ((recipe.rates, 1.0), (recipe.eps, 1e-8))
            )
            groups.setdefault((recipe.lr * rate, eps), []).append(parameter)
    moving = [{"params": parameters, "lr": rate, "eps": eps} for (rate, eps), parameters in groups.items()]
    # In one pass over the weights: most of a step is this where a table is large. Of views it is wrong.
    parameters = [p for part in groups.values() for p in part]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_contiguous() for p in parameters)
    if recipe.weight_decay:
        return torch.optim.AdamW(moving, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
    return torch.optim.Adam(moving, lr=recipe.lr, fused=fused)


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    if recipe.schedule == "constant" or not total:
        return None
    if recipe.schedule == "one_cycle":
        most = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, most, total_steps=total)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _rise_and_fall(s / total, recipe.warm))


def _rise_and_fall(done: float, warm: float) -> float:
    """Share of the learning rate after this share of the steps."""
    rise = done / warm + 1e-3 if warm else 1.0
    return min(rise, (1 - done) / (1 - warm), 1.0)
