"""Progress of anything longer than a few seconds.

On a terminal a rich bar with an estimate; elsewhere a plain line at the start, at most one every
few seconds, and one at the end. Everything goes to standard error, so that standard output stays
what the user asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_INTERVAL_S = 5.0


_about = ContextVar("_about", default="")
_said = ContextVar[set[str] | None]("_said", default=None)


@contextmanager
def said_of(name: str) -> Iterator[None]:
    """While the block runs, `name` stands before what every step does: of several, the one under way.

    Within a block its own stands behind that of the one around it.
    """
    token = _about.set(f"{_about.get()}{name}: ")
    try:
        yield
    finally:
        _about.reset(token)


class Step:
    """One piece of work under way; made by `step`."""

    def __init__(self, description: str, total: int | None, progress: Progress | None) -> None:
        self._description = description
        self._total = total
        self._progress = progress
        self._done = 0
        self._note = ""
        self._start = time.monotonic()
        self._last = self._start
        self._task = progress.add_task(description, total=total, note="") if progress is not None else None

    def advance(self, n: int = 1) -> None:
        """Counts `n` more units done."""
        self._done += n
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, n)
        elif time.monotonic() - self._last >= _PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self._line(self._position())

    def expect(self, total: int) -> None:
        """Says how many units there are, where that was not known at the start."""
        self._total = total
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=total)

    def note(self, text: str) -> None:
        """Shows `text` beside the bar, such as the current loss."""
        self._note = text
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, note=text)

    def _position(self) -> str:
        elapsed = time.monotonic() - self._start
        if not self._total:
            return f"{self._done:,}"
        left = elapsed / self._done * (self._total - self._done) if self._done else 0.0
        return f"{self._done:,}/{self._total:,}, about {left:.0f} s left"

    def _line(self, text: str) -> None:
        note = f" ({self._note})" if self._note else ""
        print(f"{self._description}: {text}{note}", file=sys.stderr, flush=True)

    def _finish(self, outcome: str) -> None:
        if self._progress is None:
            self._line(f"{outcome} in {time.monotonic() - self._start:.1f} s")


@contextmanager
def step(description: str, total: int | None = None) -> Iterator[Step]:
    """Shows `description` while the block runs.

    Args:
        description: what is being done, a few words.
        total: how many units there are to `advance` through; None when it is not known.
    """
    description = _about.get() + description
    if sys.stderr.isatty():
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield Step(description, total, progress)
        return
    work = Step(description, total, None)
    try:
        yield work
    except BaseException:
        work._finish("stopped")
        raise
    work._finish("done")


@contextmanager
def each_said_once() -> Iterator[None]:
    """In the block no notice is given a second time, nor in one around it."""
    held = _said.get()
    token = _said.set(set() if held is None else held)
    try:
        yield
    finally:
        _said.reset(token)


def notice(text: str) -> None:
    """Says something that a user must know and that is no error, on standard error."""
    said = _said.get()
    if said is not None and text in said:
        return
    if said is not None:
        said.add(text)
    print(text, file=sys.stderr, flush=True)
