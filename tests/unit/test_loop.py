"""The training loop: it goes on from its state bit for bit, keeps the best epoch, and follows its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from _train import KilledError, Memory
from torch import Tensor, nn

from kgdistill.errors import InputError
from kgdistill.train.loop import (
    Context,
    Draws,
    Lesson,
    LossTerms,
    Recipe,
    Trained,
    TrainState,
    _optimizer,
    fit,
)

RECIPE = Recipe(epochs=4, lr=0.05, rates={"0": 0.5})


class Rows(Lesson[Tensor]):
    """A regression that draws wherever it can, and from epoch 3 on aims at what the model was then."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.inputs = torch.linspace(-1, 1, 40).reshape(10, 4)
        self.wanted = torch.linspace(0, 2, 10)

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        if epoch == 3:
            with torch.no_grad():
                self.wanted = self.model(self.inputs).squeeze(-1) + 1
        return draws.batches(torch.arange(10), 3, even=True)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        noise = torch.rand(len(batch), generator=draws.torch) + torch.rand(())
        error = self.model(self.inputs[batch]).squeeze(-1) - self.wanted[batch] - 0.1 * noise
        return {"squared": (1.0, error.square().mean()), "absolute": (0.5, error.abs().mean())}

    def state_dict(self) -> dict[str, Any]:
        return {"wanted": self.wanted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.wanted = state["wanted"]


def train(
    recipe: Recipe = RECIPE, memory: Memory | None = None, values: Sequence[float] = ()
) -> Trained[nn.Sequential]:
    draws = Context(torch.device("cpu"), 7).draws()
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.3), nn.Linear(5, 1))
    lesson = Rows(model)

    def validate() -> dict[str, float]:
        assert not model.training
        with torch.no_grad():
            return {"fit": -float((model(lesson.inputs).squeeze(-1) - 1).square().mean())}

    asked = iter(values)
    given = (lambda: {"it": next(asked)}) if values else validate
    return fit(model, lesson, recipe, draws, title="Training", validate=given, checkpoint=memory)


def told(trained: Trained[Any]) -> Any:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in trained.history]


def same(one: Trained[Any], other: Trained[Any]) -> bool:
    held = other.model.state_dict()
    return all(torch.equal(tensor, held[name]) for name, tensor in one.model.state_dict().items())


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, schedule="fall", warm=0.2, weight_decay=0.01, clip=0.5, evaluate_every=2),
        replace(RECIPE, schedule="one_cycle", evaluate_first=True, later=True),
    ],
    ids=["plain", "fall", "cycle"],
)
def test_a_training_stopped_after_any_step_goes_on_bit_for_bit(recipe: Recipe) -> None:
    whole = train(recipe)
    for steps in range(1, 13):
        memory = Memory(steps)
        with pytest.raises(KilledError):
            train(recipe, memory)
        torch.manual_seed(1234)  # another process would stand elsewhere
        resumed = train(recipe, memory)
        assert same(whole, resumed), steps
        assert told(whole) == told(resumed)
        assert (whole.best_epoch, len(whole.history)) == (resumed.best_epoch, 5)


def test_a_state_that_was_kept_is_no_longer_touched() -> None:
    class First(Memory):
        def save(self, title: str, state: TrainState) -> None:
            self.kept = self.kept or {title: state.state_dict()}

    memory = First()
    whole = train(memory=memory)
    assert memory.kept["Training"]["position"] == len(memory.kept["Training"]["history"]) == 1
    assert same(whole, train(memory=memory))


@pytest.mark.parametrize(
    ("values", "more", "best", "asked"),
    [
        ((1.0, 3.0, 2.0, 2.5), {}, 2, [1, 2, 3, 4]),
        ((3.0, 1.0, 2.0, 2.5, 0.0), {"evaluate_first": True}, 0, [0, 1, 2, 3, 4]),
        ((3.0, 2.0), {"evaluate_every": 2}, 2, [2, 4]),
        ((1.0,), {"evaluate_every": 3, "epochs": 0}, 0, [0]),
        ((0.0, 0.0, 0.0, 0.0), {}, 1, [1, 2, 3, 4]),
        ((float("nan"), 1.0, 1.0, 1.0), {}, 1, [1, 2, 3, 4]),
    ],
)
def test_the_epoch_that_validates_best_is_kept(
    values: Sequence[float], more: dict[str, Any], best: int, asked: list[int]
) -> None:
    trained = train(replace(RECIPE, **more), values=values)
    assert trained.best_epoch == best
    assert [r["epoch"] for r in trained.history if "valid/it" in r] == asked
    # The same training to that epoch alone.
    alone = train(replace(RECIPE, epochs=best), values=range(9))
    assert same(trained, alone)


@pytest.mark.parametrize(
    ("epochs", "later", "kept"),
    [
        # By four users: 0.06 below, where their differences leave room for an error of 0.15.
        ([[0.0, 1.0, 0.0, 1.0], [0.5, 0.4, 0.0, 0.86]], True, 2),
        ([[0.0, 1.0, 0.0, 1.0], [0.5, 0.4, 0.0, 0.86]], False, 1),
        # The same mean, but everybody loses as much.
        ([[0.0, 1.0, 0.0, 1.0], [-0.06, 0.94, -0.06, 0.94]], True, 1),
        # Each is level with the one before, the third below the first: nothing slides down step by step.
        ([[1.0, 1.0, 1.0, 1.0], [0.0, 1.15, 1.0, 1.0], [0.0, 1.15, 0.0, 1.15]], True, 2),
        ([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.1], [0.0, 0.2, 0.0, 0.1]], False, 3),
    ],
)
def test_a_later_epoch_is_kept_that_users_do_not_show_to_be_worse(
    epochs: list[list[float]], later: bool, kept: int
) -> None:
    asked = iter(epochs)
    draws, model = Draws(0), nn.Linear(4, 1)

    def validate() -> dict[str, Any]:
        users = np.array(next(asked))
        return {"half": users / 2, "other": users / 2}

    recipe = replace(RECIPE, epochs=len(epochs), later=later)
    trained = fit(model, Rows(model), recipe, draws, title="Training", validate=validate)
    assert trained.best_epoch == kept
    assert trained.validated is not None
    assert trained.validated.tolist() == epochs[kept - 1]
    assert [r["valid/half"] for r in trained.history[1:]] == pytest.approx([np.mean(e) / 2 for e in epochs])


def test_without_validation_the_last_epoch_is_kept() -> None:
    draws, model = Draws(0), nn.Linear(4, 1)
    trained = fit(model, Rows(model), RECIPE, draws, title="Training")
    assert trained.best_epoch == 4
    assert not any(name.startswith("valid") for record in trained.history for name in record)
    assert set(trained.history[1]) == {"epoch", "loss", "loss/squared", "loss/absolute", "seconds"}


class Line(Lesson[int]):
    """A loss whose gradient is 1 everywhere: Adam goes its rate at every step."""

    def __init__(self, model: nn.Module, batches: Sequence[int] = (0, 1)) -> None:
        self.model, self.batches = model, batches

    def plan(self, epoch: int, draws: Draws) -> Sequence[int]:
        return self.batches

    def loss(self, batch: int, draws: Draws) -> LossTerms:
        total: Tensor = sum((p.sum() for p in self.model.parameters()), torch.zeros(()))
        return {"line": (1.0, total)} if batch >= 0 else {}

    def enough(self, epoch: int) -> bool:
        return epoch == 3


def far(recipe: Recipe, model: nn.Module | None = None, batches: Sequence[int] = (0, 1)) -> dict[str, float]:
    """How far each parameter went."""
    model = model or nn.Linear(2, 1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, Line(model, batches), recipe, Draws(0), title="Training")
    return {name: float((before[name] - p.detach()).mean()) for name, p in model.named_parameters()}


def test_rates_are_shares_by_the_beginning_of_a_name_and_what_wants_no_gradient_stays() -> None:
    model = nn.ModuleDict({"tables": nn.Linear(2, 1), "other": nn.Linear(2, 1), "solved": nn.Linear(2, 1)})
    model["solved"].requires_grad_(False)
    moved = far(Recipe(epochs=1, lr=0.01, rates={"tables": 0.1}), model)
    want = {"tables": 0.002, "other": 0.02, "solved": 0.0}
    assert moved == {
        f"{name}.{part}": pytest.approx(v, abs=1e-6)
        for name, v in want.items()
        for part in ("weight", "bias")
    }


def test_a_gradient_far_below_eps_moves_nothing() -> None:
    model = nn.ModuleDict({"blend": nn.Linear(2, 1), "other": nn.Linear(2, 1)})
    moved = far(Recipe(epochs=1, lr=0.01, eps={"blend": 1e5}), model)
    assert moved["other.weight"] == pytest.approx(0.02, rel=1e-3)
    assert 0 < moved["blend.weight"] < 1e-6


@pytest.mark.parametrize(
    ("more", "shares"),
    [
        ({"schedule": "fall"}, [1, 0.75, 0.5, 0.25]),
        ({"schedule": "fall", "warm": 0.5}, [1e-3, 0.501, 1, 0.5]),
        ({}, [1, 1, 1, 1]),
    ],
)
def test_the_rate_follows_its_schedule_over_all_steps(more: dict[str, Any], shares: list[float]) -> None:
    moved = far(Recipe(epochs=2, lr=0.01, **more))
    assert moved["weight"] == pytest.approx(0.01 * sum(shares), rel=1e-3)


def test_a_batch_that_teaches_nothing_moves_nothing_and_training_ends_where_it_is_enough() -> None:
    assert far(Recipe(epochs=2, lr=0.01), batches=(-1, -1)) == {"weight": 0.0, "bias": 0.0}
    assert far(Recipe(epochs=9, lr=0.01))["weight"] == pytest.approx(3 * 2 * 0.01, rel=1e-3)


def test_where_no_batch_teaches_anything_no_loss_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    assert "(epoch 4, loss " in capsys.readouterr().err
    monkeypatch.setattr(Rows, "loss", lambda self, batch, draws: {})
    train()
    assert "(epoch 4)" in capsys.readouterr().err


def test_a_gradient_is_clipped_over_all_parameters() -> None:
    model = nn.Linear(3, 1)
    norms: list[float] = []

    class Steep(Line):
        def plan(self, epoch: int, draws: Draws) -> Sequence[int]:
            grads = [p.grad for p in self.model.parameters() if p.grad is not None]
            norms.extend([float(torch.cat([g.flatten() for g in grads]).norm())] if grads else [])
            return super().plan(epoch, draws)

    fit(model, Steep(model), Recipe(epochs=2, lr=0.01, clip=0.5), Draws(0), title="Training")
    assert norms == [pytest.approx(0.5, rel=1e-4)]  # each of four gradients is 1


def test_weights_decay_where_that_is_asked_for() -> None:
    one, other = (far(Recipe(epochs=1, lr=0.01, weight_decay=w), nn.Linear(2, 1))["bias"] for w in (0.0, 5.0))
    assert one != pytest.approx(other, rel=1e-3)


def test_a_loss_that_is_no_number_ends_training_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"(?s)epoch \d, step \d.*learning rate"):
        train(Recipe(epochs=50, lr=1e30))


def test_adam_goes_over_whole_weights_in_one_pass_and_over_views_in_none() -> None:
    whole = torch.nn.Linear(3, 2)
    strided = torch.nn.Linear(3, 2)
    strided.weight = torch.nn.Parameter(torch.zeros(3, 2).T)
    for decay in (0.0, 0.1):
        recipe = Recipe(1, 0.1, weight_decay=decay)
        assert [bool(_optimizer(m, recipe).defaults["fused"]) for m in (whole, strided)] == [True, False]
