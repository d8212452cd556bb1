"""Stages of a run: each leaves one folder, whole or not at all, and is skipped when nothing changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_MARK = "stage.json"


def digest(values: Mapping[str, Any]) -> str:
    """A hash of JSON-able values, independent of their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def finished(folder: Path) -> str | None:
    """The digest of the inputs that a finished stage was made from; None when it is not finished."""
    return _marked(folder, "inputs")


def made(folder: Path) -> str | None:
    """What names this making of a finished stage; None when it is not finished.

    Later stages take it as an input, so that they follow when a stage is made again.
    """
    # Stages from before there were such names are told apart by their inputs.
    return _marked(folder, "made") or _marked(folder, "inputs")


def _marked(folder: Path, name: str) -> str | None:
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = mark.get(name) if isinstance(mark, dict) else None
    return found if isinstance(found, str) else None


def run_stage(run: Path, name: str, inputs: Mapping[str, Any], make: Callable[[Path], None]) -> str:
    """Makes RUN/name with `make`, unless it stands there from the same inputs; returns their digest.

    `make` writes into a temporary sibling that is renamed when it returns, so that a stage that was
    stopped is made again by the next start and a finished one is not.
    """
    key = digest(inputs)
    target = run / name
    if finished(target) == key:
        return key
    partial = run / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    begin = time.monotonic()
    make(partial)
    mark = {"inputs": key, "made": uuid.uuid4().hex, "seconds": round(time.monotonic() - begin, 3)}
    (partial / _MARK).write_text(json.dumps(mark), encoding="utf-8")
    former = run / f".{name}.former"
    shutil.rmtree(former, ignore_errors=True)
    if target.exists():
        target.rename(former)
    partial.rename(target)
    shutil.rmtree(former, ignore_errors=True)
    return key
