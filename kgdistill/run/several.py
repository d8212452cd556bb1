"""Runs of several tasks over one graph, and the one folder of bundles that answers for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgdistill.errors import ArtefactError, InputError
from kgdistill.run.base import run_folder
from kgdistill.run.create import draft, task_spec
from kgdistill.run.run import Results, Run
from kgdistill.serve.joined import TASKS, Joined, join, name_tasks, tasks_in

if TYPE_CHECKING:
    from kgdistill.run.create import TaskLike
    from kgdistill.store import GraphStore


class Runs(Mapping[str, Run]):
    """Runs by the names of their tasks, each in a folder of its own.

    A run's folder, and so its name in the graph, is `FOLDER-TASK` inside FOLDER.

    Args:
        folder: of all of them.
        runs: by the name of the task.
    """

    def __init__(self, folder: Path, runs: Mapping[str, Run]) -> None:
        self.folder, self._runs = folder, dict(runs)

    def __getitem__(self, name: str) -> Run:
        return self._runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        graph: GraphStore,
        tasks: Sequence[TaskLike],
        *,
        where: str = "configuration",
        **settings: Any,
    ) -> Runs:
        """Makes a run for each task, as `Run.create`; a split by time is set for those that have one.

        Raises:
            InputError: as `Run.create`; no task, two of one name, or a folder that holds something else.
        """
        path = Path(folder)
        specs = [task_spec(task) for task in tasks]
        names = [spec.name for spec in specs]
        if not specs or len(set(names)) < len(names):
            raise InputError(f"{', '.join(names) or 'none'}: name each task once", where="tasks")
        held = tasks_in(path)
        if held is None and path.exists() and any(path.iterdir()):
            message = "holds something else than several runs"
            raise InputError(message, where=str(path), hint="name a new folder")
        given = {}
        for spec in specs:
            by_time = getattr(spec.protocol, "split", None) == "time"
            given[spec.name] = {k: v for k, v in settings.items() if by_time or k != "protocol"}
            # What is wrong with one is told before the graph is frozen for another.
            draft(given[spec.name], task=spec, where=where).settled(graph)
        # Those that were there stay.
        name_tasks(path, list(dict.fromkeys([*(held or []), *names])))
        for spec in specs:
            mine = run_folder(path, spec.name)
            Run.create(mine, graph, task=spec, where=where, **given[spec.name])
        return cls.open(path)

    @classmethod
    def open(cls, folder: str | Path) -> Runs:
        """Runs that exist.

        Raises:
            ArtefactError: there are none in `folder`, or one is gone.
        """
        path = Path(folder)
        names = tasks_in(path)
        if names is None:
            raise ArtefactError(f"holds no {TASKS}, and so not several runs", where=str(path))
        return cls(path, {name: Run.open(run_folder(path, name)) for name in names})

    def fit(self) -> None:
        """Makes everything of every run up to its bundle, and puts these together; what fits is kept."""
        for run in self.values():
            run.fit()
        self.join()

    def join(self) -> Joined:
        """Puts the bundles together, in FOLDER/bundle.

        Raises:
            ArtefactError: one is not packed, or no longer fits.
        """
        for run in self.values():
            run.need("bundle")
        return join(self.folder / "bundle", {name: run.folder / "bundle" for name, run in self.items()})

    def evaluate(self) -> dict[str, Results]:
        """Judges every run on its test."""
        return {name: run.evaluate() for name, run in self.items()}
