"""The text tower that several runs share: a stage beside their folders."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgdistill.errors import InputError
from kgdistill.progress import said_of
from kgdistill.run.base import TOWER, RunBase
from kgdistill.run.stages import read_mark, run_stage, verify

if TYPE_CHECKING:
    from kgdistill.run.run import Run
    from kgdistill.train.tower import SharedTower


def make_tower(folder: Path, runs: Mapping[str, Run]) -> None:
    """Makes the tower of those runs that take it, unless it stands there from the same texts.

    What it is made from, all that the runs' students learn from, is made first.

    Raises:
        InputError: their text encoders are not the same.
        RunLockedError: another process trains in one of their folders.
    """
    takers = {name: run for name, run in runs.items() if run.takes_tower}
    if not takers:
        return
    with ExitStack() as locks:
        inputs: dict[str, Any] = {}
        for name, run in takers.items():
            locks.enter_context(run.lock())
            below = run.pipeline.stages["student"].stands_on
            with said_of(name):
                for stage in below:
                    run.make(stage)
            made = {up: run.need(up).made for up in below}
            inputs[name] = {**made, "dim": _dim(run), "seed": run.config.seed}

        def make(inside: Path) -> None:
            # Here, as it loads torch, which other stages do without.
            from kgdistill.run.artefacts import save_tower

            save_tower(inside, _trained(takers))

        run_stage(folder, TOWER, inputs, make)


def _trained(runs: Mapping[str, Run]) -> SharedTower:
    from kgdistill.train.tower import train_shared_tower

    makers = {name: run.maker for name, run in runs.items()}
    encoders = {name: maker.encoder.name for name, maker in makers.items()}
    if len(set(encoders.values())) > 1:
        told = ", ".join(f"{encoder} ({name})" for name, encoder in encoders.items())
        hint = "name one for all: text: {encoder: NAME}; or leave out --one-tower"
        raise InputError(f"one text tower cannot follow several text encoders: {told}", hint=hint)
    first = next(iter(makers.values()))
    return train_shared_tower(
        [maker.tower_texts() for maker in makers.values()], first.encoder, max(map(_dim, runs.values())),
        first.run.config.text.max_tokens, first.context,
    )  # fmt: skip


def _dim(run: RunBase) -> int:
    config = run.config
    return config.classify.dim if config.kind == "classify" else config.search.dim


def tower_of(run: RunBase) -> SharedTower | None:
    """The tower that a run's student reads with; None where it has one of its own.

    Raises:
        ArtefactError: it is not made, or damaged.
    """
    if not run.takes_tower:
        return None
    from kgdistill.run.artefacts import load_tower

    folder = run.tower_folder
    mark = read_mark(folder)
    if mark is None:
        raise run.no_tower()
    verify(folder, mark, again=f"kgdistill fit --run {folder.parent}")
    return load_tower(folder)
