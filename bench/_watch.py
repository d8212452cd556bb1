"""Watches a training step by step: when each was over, its loss, where its tensors are, what is moved."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kgdistill.train.loop import TrainState

if TYPE_CHECKING:
    from typing_extensions import Self


def tensors(thing: Any, name: str, seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that can be reached from a thing by attributes, keys and places, with the way to it."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        yield name, thing
    elif isinstance(thing, Mapping):
        for key, value in list(thing.items()):
            yield from tensors(value, f"{name}[{key!r}]", seen)
    elif isinstance(thing, list | tuple):
        for place, value in enumerate(thing):
            yield from tensors(value, f"{name}[{place}]", seen)
    elif type(thing).__module__.startswith("kgdistill.") or isinstance(thing, nn.Module):
        yield from tensors(getattr(thing, "__dict__", {}), name, seen)


class Places:
    """Looks where tensors are.

    Attributes:
        device: where they should be.
        looked: how many were looked at.
        astray: the ways to those that are elsewhere.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.looked = 0
        self.astray: list[str] = []

    def look(self, thing: Any, name: str) -> None:
        """At every tensor of a thing."""
        for way, tensor in tensors(thing, name):
            self.looked += 1
            if tensor.device.type != self.device.type:
                self.astray.append(f"{way} is on {tensor.device}")


class Crossings(TorchFunctionMode):
    """Notes what goes between NumPy and torch, or from one device to another, while a step is taken.

    A single number may leave: the losses do.

    Args:
        refuse: raises AssertionError there, in place of a note.

    Attributes:
        steps: how many were taken.
        noted: each lesson whose step it was, with the function that did it.
    """

    def __init__(self, *, refuse: bool = False) -> None:
        super().__init__()
        self.refuse, self.steps, self.noted = refuse, 0, set[str]()
        self._lesson: Any = None

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Within it every step of every training is watched."""
        step, from_numpy = TrainState.step, torch.from_numpy

        def watched(state: TrainState) -> None:
            self.steps, self._lesson = self.steps + 1, state.lesson
            try:
                with self:
                    step(state)
            finally:
                self._lesson = None

        def read(array: Any) -> Tensor:
            # The only way in that no mode is told of.
            self._note(from_numpy)
            return from_numpy(array)

        with patch.object(TrainState, "step", watched), patch.object(torch, "from_numpy", read):
            yield self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        first = args[0] if args else None
        moved = isinstance(first, Tensor) and isinstance(out, Tensor) and first.device != out.device
        copied = func is Tensor.copy_ and args[0].device != args[1].device
        listed = func in (torch.tensor, torch.as_tensor) and not isinstance(first, Tensor) and out.dim()
        if moved or copied or listed or func in (Tensor.numpy, Tensor.__array__):
            self._note(func)
        return out

    def _note(self, func: Any) -> None:
        # What a test that looks on does is no part of the step.
        if self._lesson is not None and _called_by().startswith("kgdistill."):
            lesson = type(self._lesson)
            said = f"{lesson.__module__}.{lesson.__qualname__}: {func.__name__}"
            if self.refuse:
                raise AssertionError(f"in a step of training, {said}")
            self.noted.add(said)


def _called_by() -> str:
    """The module that a function of torch is called from."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] in (__name__.split(".")[0], "torch"):
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


class EnoughError(Exception):
    """As many steps were taken as were wanted."""


class Watch:
    """Stands where checkpoints are kept, keeps none, and notes each step.

    Attributes:
        places: looks where the tensors of each training are.
        limit: after so many steps a training of `titles` is ended; None ends none.
        steps: of each training by its title: the second at which each step was over, and its loss.
        total: how many steps each training would take.
    """

    def __init__(self, places: Places, limit: int | None = None, titles: tuple[str, ...] = ()) -> None:
        self.places, self.limit, self.titles = places, limit, titles
        self.steps: dict[str, list[tuple[float, float]]] = {}
        self.total: dict[str, int] = {}
        self._began = time.perf_counter()

    def start(self) -> None:
        """The clock starts."""
        self._began = time.perf_counter()

    def load(self, title: str) -> None:
        """Nothing was kept."""

    def save(self, title: str, state: TrainState) -> None:
        """Called after every step."""
        steps = self.steps.setdefault(title, [])
        steps.append((time.perf_counter() - self._began, state.losses.get("loss", [math.nan])[-1]))
        self.total[title] = state.total
        if len(steps) == 1:
            begin = time.perf_counter()
            self.places.look(state.model, f"{title}: model")
            self.places.look(state.lesson, f"{title}: lesson")
            for held in state.optimizer.state.values():
                # Adam counts its steps on the CPU by intention.
                moments = {key: value for key, value in held.items() if key != "step"}
                self.places.look(moments, f"{title}: optimizer")
            self._began += time.perf_counter() - begin
        if title in self.titles and len(steps) == self.limit:
            raise EnoughError

    def seconds(self, title: str) -> float:
        """Until the last step, or until it would be over at the pace of those that were taken."""
        steps = self.steps[title]
        pace = (steps[-1][0] - steps[0][0]) / max(len(steps) - 1, 1)
        return steps[-1][0] + pace * (self.total[title] - len(steps))

    def took(self, title: str) -> float:
        """Seconds of a training's own steps, at their pace."""
        steps = self.steps[title]
        return (steps[-1][0] - steps[0][0]) / max(len(steps) - 1, 1) * len(steps)
