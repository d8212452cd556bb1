"""Ray kept quiet, its workers' errors told as ours, and their progress shown."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import shutil
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kgdistill.errors import InputError, KgdistillError, ToolMissingError
from kgdistill.ingest.archive import disk_errors
from kgdistill.progress import step

_LOOK_S = 0.5


def outcome(work: Callable[..., Any], *arguments: Any) -> bytes:
    """What it returns, or the refusal that it raises: Ray would wrap that into an error of its own."""
    try:
        return pickle.dumps(work(*arguments))
    except KgdistillError as error:
        return pickle.dumps(error)


def result_of(answer: bytes) -> Any:
    """What `outcome` holds; raises the refusal."""
    value = pickle.loads(answer)
    if isinstance(value, KgdistillError):
        raise value
    return value


@contextlib.contextmanager
def ray_errors(ray: Any, doing: str) -> Iterator[None]:
    """Tells of a dead worker as a KgdistillError."""
    try:
        yield
    except Exception as error:
        # A RayTaskError is a defect of ours, and shows the worker's own traceback.
        if ray is None or not isinstance(error, ray.exceptions.RayError):
            raise
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise KgdistillError(
            f"a Ray worker died while {doing}: {lines[0]}",
            hint="run the same command again, with fewer workers where memory was short",
        ) from error


def import_ray() -> Any:
    """Ray with Ray Data; ToolMissingError without."""
    # Read when it is imported: no reports to its makers, no talk of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise ToolMissingError(
            f"the engine ray needs Ray, which cannot be loaded: {error}",
            hint="pip install 'kgdistill[ray]'",
        ) from error
    return ray


def check_answers(address: str) -> None:
    """Raises InputError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        if not host or not port.isdigit():
            raise InputError("is no address of a Ray", where=address, hint="HOST:PORT, or auto")
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray answers: {error}",
            where=address,
            hint="start one with `ray start --head`, or leave the address out",
        ) from error


@contextlib.contextmanager
def ray_data(ray: Any) -> Iterator[Any]:
    """Ray Data that keeps its messages to its log files."""
    logger = logging.getLogger("ray.data")
    talkers = [h for h in logger.handlers if isinstance(h, logging.StreamHandler)]
    levels = [handler.level for handler in talkers]
    with warnings.catch_warnings():
        # It warns of settings that are its own defaults.
        warnings.simplefilter("ignore", DeprecationWarning)
        settings = ray.data.DataContext.get_current()
    bars = settings.enable_progress_bars
    settings.enable_progress_bars = False
    for handler in talkers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield ray.data
    finally:
        settings.enable_progress_bars = bars
        for handler, level in zip(talkers, levels, strict=True):
            handler.setLevel(level)


def adding(file: Path) -> Callable[[int], None]:
    """A function that keeps the sum of what it is told in a file."""
    total = 0

    def add(count: int) -> None:
        nonlocal total
        total += count
        # It is for people to look at; the work does not depend on it.
        with contextlib.suppress(OSError):
            file.write_text(str(total))

    return add


@contextlib.contextmanager
def tallied(folder: Path, description: str, total: int) -> Iterator[Path]:
    """A folder in which workers say how far they are; shown as progress."""
    with disk_errors(folder):
        folder.mkdir(parents=True)
    ended = threading.Event()
    with step(description, total=total) as progress:

        def watch() -> None:
            seen, over = 0, False
            while not over:
                over = ended.wait(_LOOK_S)
                now = min(total, sum(_number(file) for file in folder.glob("*")))
                if now > seen:
                    progress.advance(now - seen)
                    seen = now

        watcher = threading.Thread(target=watch, name="kgdistill-progress", daemon=True)
        watcher.start()
        try:
            yield folder
        finally:
            ended.set()
            watcher.join()
            shutil.rmtree(folder, ignore_errors=True)


def _number(file: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return 0
