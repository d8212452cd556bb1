"""RecTools' sequential models, trained in an environment of their own: RecTools 0.19 needs an older NumPy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array

from bench.baselines.common import Grid, above, from_vectors, grid, presence
from bench.baselines.lent import LentScorer, left_vectors, lent_environment
from bench.cache import run_program
from kgdistill.arrays import IntArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.progress import step
from kgdistill.tasks.match import Scorer

RectoolsModel = Literal["SASRec", "eSASRec"]

RECTOOLS_GRID: Grid = grid(dropout_rate=(0.2, 0.5))
"""The epochs are `watch`'s to choose."""

_NEEDED = (
    "numpy==1.26.4",
    "scipy==1.14.1",
    "pandas==2.2.3",
    "setuptools<81",
    "attrs==23.2.0",
    "pydantic==2.14.4",
    "typeguard==4.6.1",
    "tqdm",
    "fsspec",
    "packaging",
    "pyyaml",
    "lightning-utilities==0.15.3",
)
_NEEDED_ALONE = (
    "rectools==0.19.0",
    "pytorch-lightning==2.5.2",
    "torchmetrics==1.9.0",
    "pm-implicit==0.7.3",
)
_CHECK = "from rectools.models import SASRecModel"
_LONGEST = 50
_OVERHEAD_SECONDS = 600


def rectools(
    history: csr_array,
    times_us: IntArray,
    *,
    model: RectoolsModel = "SASRec",
    workdir: Path,
    budget_seconds: float = 300.0,
    epochs: int = 40,
    seed: int = 0,
    watch: Callable[[int, Scorer], bool] | None = None,
    **values: Any,
) -> LentScorer:
    """SASRec (Kang & McAuley 2018) with a softmax over all items, or eSASRec (2025), by RecTools.

    All of the history is trained on, in its order. Items that nobody had score 0.

    Args:
        history: float32 [users, items].
        times_us: int64 [nnz], in the order of its data: when each happened.
        model: which one; eSASRec has other layers and a softmax over drawn negatives.
        workdir: where files are written: under workdir/MODEL.
        budget_seconds: of training; where it ends first, the model is taken as it is then.
        epochs: at most so many.
        seed: fixes the result unless the time runs out.
        watch: called with (epoch, scorer as it was then) for each epoch once all are trained, until it says
            True. What it answers must not rest on the test split.
        **values: RecTools' own names, over 64 factors, two blocks and heads, batches of 128 and a rate of
            0.002.

    Raises:
        InputError: a value out of range, times of another number, or no user with two pairs.
        ToolMissingError: the environment cannot be made.
        ArtefactError: the training failed or gave no usable vectors.
    """
    above("budget_seconds", budget_seconds)
    above("epochs", epochs, 1, equal=True)
    lengths = np.diff(history.indptr)
    if len(times_us) != history.nnz:
        raise InputError(f"{len(times_us):,} times for {history.nnz:,} pairs")
    if not (lengths > 1).any():
        raise InputError(f"nobody had two things, one after the other: {model} has nothing to learn from")
    folder = (workdir / model).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    users = np.repeat(np.arange(history.shape[0]), lengths)
    np.savez(folder / "pairs.npz", users=users, items=history.indices.astype(np.int64), times=times_us)
    shape = {
        "n_factors": 64,
        "n_blocks": 2,
        "n_heads": 2,
        "session_max_len": min(_LONGEST, int(lengths.max())),
    }
    job: Mapping[str, Any] = {
        "model": model,
        "users": history.shape[0],
        "items": history.shape[1],
        "epochs": epochs,
        "budget_seconds": budget_seconds,
        "threads": 2,
        "seed": seed,
        "values": {**shape, "batch_size": 128, "lr": 0.002, **values},
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    program = Path(__file__).with_name("rectools_run.py").resolve()
    with step(f"training RecTools' {model} (at most {budget_seconds:.0f} s)"):
        run_program(
            [environment(), "-I", "-W", "ignore", program, folder / "job.json"],
            f"RecTools' {model} failed",
            error=ArtefactError,
            seconds=2 * budget_seconds + _OVERHEAD_SECONDS,
            cwd=folder,
        )
    report = json.loads((folder / "report.json").read_text("utf-8"))
    if report["pairs"] != history.nnz:
        raise ArtefactError(f"RecTools read {report['pairs']:,} of {history.nnz:,} pairs", where=str(folder))

    def scorer(epoch: int) -> Scorer:
        mine, theirs = (
            left_vectors(folder / f"{side}-{epoch}.npy", count, "RecTools")
            for side, count in (("users", history.shape[0]), ("items", history.shape[1]))
        )
        return from_vectors(mine, theirs, presence(history), "0")

    for epoch in range(1, report["epochs"] + 1) if watch is not None else ():
        if watch is not None and watch(epoch, scorer(epoch)):
            break
    last = report["epochs"]
    return LentScorer(scorer(last), last, report["seconds"], report["parameters"])


def environment() -> Path:
    """The Python of RecTools' environment, which is made where it is not there yet.

    Raises:
        ToolMissingError: it cannot be made: offline, no room, or a Python for which there is no NumPy 1.26.
    """
    return lent_environment("RecTools", _NEEDED, _NEEDED_ALONE, _CHECK)
