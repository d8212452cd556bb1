"""Virtual environments of a baseline's own, with PyTorch lent by ours.

Some baselines need an older NumPy than the rest. They get a virtual environment in the cache folder, made
once; PyTorch, large and independent of the NumPy it runs with, is lent. What comes back is plain arrays.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.cache import made_once, run_program
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import ArtefactError, ToolMissingError
from kgdistill.tasks.match import Scorer

_INSTALL_SECONDS = 900


@dataclass(frozen=True)
class LentScorer:
    """A scorer that was trained there, and how far its training came.

    Attributes:
        epochs: done; not a whole number where the time ran out within one.
        seconds: of training; of RecTools from the start of its program, with its vectors written.
        parameters: how many numbers the model learned.
    """

    scorer: Scorer
    epochs: float
    seconds: float
    parameters: int

    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """Scores float32 [users, candidates]."""
        return self.scorer(users, candidates)


def lent_environment(name: str, needed: Sequence[str], alone: Sequence[str], check: str) -> Path:
    """The Python of NAME's environment, which is made where it is not there yet (some minutes, 400 MB).

    Args:
        name: of the program that it is for.
        needed: what is installed with all that it needs.
        alone: what is installed without.
        check: a line of Python that must run there.

    Raises:
        ToolMissingError: it cannot be made: offline, no room, or a Python for which there is no NumPy 1.26.
    """
    lent = str(Path(torch.__file__).resolve().parents[1])
    pins = [sys.version, sys.prefix, lent, torch.__version__, *needed, *alone, check]
    digest = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    cannot = f"{name}'s environment cannot be made"

    def run(folder: Path, *command: str | Path) -> None:
        run_program(command, cannot, error=ToolMissingError, seconds=_INSTALL_SECONDS, cwd=folder)

    def make(folder: Path) -> Path:
        python = _python(folder)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(folder, sys.executable, "-m", "venv", folder)
        run(folder, *pip, "--only-binary", ":all:", *needed)
        run(folder, *pip, "--no-deps", *alone)
        packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
        # After its own packages, so that these go first.
        (packages / "lent.pth").write_text(lent + "\n", encoding="utf-8")
        run(folder, python, "-I", "-W", "ignore", "-c", check)
        return folder

    made = made_once(f"{name.lower()}-{digest}", make, doing=f"making {name}'s environment", failed=cannot)
    return _python(made)


def left_vectors(path: Path, count: int, name: str) -> FloatArray:
    """The vectors that a program of NAME's left, float32 [count, E].

    Raises:
        ArtefactError: there are none, or they are not what they should be.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{name} left no vectors: {error}", where=str(path)) from error
    if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise ArtefactError(f"{name}'s vectors are not finite float32 rows, one by id", where=str(path))
    found: FloatArray = rows
    return found


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
