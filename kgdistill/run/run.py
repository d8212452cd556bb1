"""A run: from the graph to answers, stage by stage.

Every stage reads artefacts of the run folder and leaves one; `run_stage` skips what stands there from
the same inputs, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from kgdistill.arrays import FloatArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.explore.writeback import ANSWERS
from kgdistill.progress import each_said_once, said_of, step
from kgdistill.run.base import RunBase
from kgdistill.run.create import (
    TaskLike,
    check_new,
    check_same_task,
    check_validation,
    draft,
    over_held,
    task_spec,
)
from kgdistill.run.stages import write_private
from kgdistill.run.tower import make_tower, tower_of
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.joined import RUNS, Joined, join, name_runs, no_task, runs_in
from kgdistill.serve.next_basket import with_habits
from kgdistill.store import GraphStore
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.histories import gone
from kgdistill.tasks.sensitive import sensitive_of
from kgdistill.tasks.spec import MatchSpec, TaskSpec

if TYPE_CHECKING:
    import torch

    from kgdistill.run.by_audience import AudienceMatch
    from kgdistill.run.by_classes import Classifying
    from kgdistill.run.by_text import TextMatch
    from kgdistill.run.history_match import HistoryMatch
    from kgdistill.run.maker import Maker

_WIDE = 300
_USUAL = {"audience": "TARGETED", "answer": "ANSWERED", "text": "FOUND"}
"""By kind of task, what its answers are written as, unless the task says so."""
_USERS = 1000
"""How many are answered between two steps of the progress."""


@runtime_checkable
class Holder(Protocol):
    """What holds an open store, such as a `Graph`."""

    @property
    def store(self) -> GraphStore:
        """The open store."""
        ...


class Results(dict[str, Any]):
    """What `evaluate/metrics.json` holds; printed, a table with intervals."""

    def __str__(self) -> str:
        from kgdistill.run.report import metrics_table

        console = Console(file=StringIO(), width=_WIDE)
        with console.capture() as capture:
            console.print(metrics_table(self))
        return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


class Run(RunBase):
    """A run folder with its configuration, and the stages that it makes.

    Args:
        folder: where everything of the run goes.
        config: the resolved configuration.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.threads:
            import torch

            torch.set_num_threads(self.config.threads)

    @overload
    @classmethod
    def create(
        cls,
        folder: str | Path,
        graph: GraphStore | Holder,
        *,
        task: TaskLike | None = None,
        tasks: None = None,
        where: str = "configuration",
        **settings: Any,
    ) -> Run: ...
    @overload
    @classmethod
    def create(
        cls,
        folder: str | Path,
        graph: GraphStore | Holder,
        *,
        task: None = None,
        tasks: Sequence[TaskLike],
        where: str = "configuration",
        **settings: Any,
    ) -> Runs: ...
    @classmethod
    def create(
        cls,
        folder: str | Path,
        graph: GraphStore | Holder,
        *,
        task: TaskLike | None = None,
        tasks: Sequence[TaskLike] | None = None,
        where: str = "configuration",
        **settings: Any,
    ) -> Run | Runs:
        """Makes a run: settles its task, cut, split and settings, and freezes the graph.

        Of a folder that holds a run already, what is not given stays as it is.

        Args:
            folder: where everything of the run goes.
            graph: a `Graph` or an open store.
            task: a name, a file, what a file holds, or a spec; None: the settings', or recommend.
            tasks: several, each of which becomes a run; their bundles answer as one (`Runs`).
            where: stands for the settings in messages.
            settings: sections of the configuration, such as `seed=1`, `teacher={"dim": 64}`,
                `protocol={"cut": "2024-03-01", "test_start": "2024-04-01"}`; the rest is chosen.

        Raises:
            InputError: the task or a setting is wrong, or nothing is left to train or validate on.
        """
        store = graph.store if isinstance(graph, Holder) else graph
        if not isinstance(store, GraphStore):
            raise InputError(f"{store!r:.80} is no graph", hint="give kgdistill.Graph(...) or an open store")
        if tasks is not None:
            if task is not None:
                raise InputError("give one of: task, tasks", where=where)
            return Runs.create(folder, store, tasks, where=where, **settings)
        check_new(Path(folder))
        if task is not None and (Path(folder) / "bundle" / "config.json").is_file():
            # Another task's bundle would be lost.
            check_same_task(RunBase.open(folder).config.task, task_spec(task), str(folder))
        drafted = draft(over_held(Path(folder), settings, task), task=task, where=where)
        run = cls(Path(folder), drafted.settled(store))
        run.take_snapshot(store)
        check_validation(run)
        return run

    @cached_property
    def device(self) -> torch.device:
        """Where training runs."""
        from kgdistill.models.device import choose_device

        return choose_device(self.config.device)

    @cached_property
    def by_history(self) -> HistoryMatch:
        """What the stages make, and the models ready to score."""
        from kgdistill.run.by_basket import BasketMatch
        from kgdistill.run.history_match import HistoryMatch

        return (BasketMatch if self.config.kind == "basket" else HistoryMatch)(self, self.device)

    @cached_property
    def by_text(self) -> TextMatch:
        """The same of a run whose anchors are known by their text."""
        from kgdistill.run.by_answers import AnswerMatch
        from kgdistill.run.by_text import TextMatch

        return (AnswerMatch if self.config.kind == "answer" else TextMatch)(self, self.device)

    @cached_property
    def by_classes(self) -> Classifying:
        """The same of a run that tells classes."""
        from kgdistill.run.by_classes import Classifying

        return Classifying(self, self.device)

    @cached_property
    def by_audience(self) -> AudienceMatch:
        """The same of a run that finds an audience."""
        from kgdistill.run.by_audience import AudienceMatch

        return AudienceMatch(self, self.device)

    @property
    def maker(self) -> Maker:
        """What makes the stages of this kind of task."""
        if self.config.kind == "audience":
            return self.by_audience
        if self.config.kind in ("history", "basket"):
            return self.by_history
        return self.by_classes if self.config.kind == "classify" else self.by_text

    def make(self, name: str) -> None:
        """Makes one stage, unless it stands there from the same inputs.

        Raises:
            ArtefactError: a stage that it stands on is not there, or no longer fits.
        """
        for below in self.pipeline.stages[name].stands_on if name != "evaluate" else ():
            self.need(below)
        self.maker.renew(name)
        self._stage(name, self._inputs(name), partial(self.maker.leave, name))
        if name == "text":  # what was read of the former texts
            for kind in ("by_history", "by_text", "by_classes", "by_audience"):
                self.__dict__.pop(kind, None)

    @property
    def fitted(self) -> tuple[str, ...]:
        """The stages that `fit` makes: the pipeline's, without those that are `idle`."""
        return tuple(name for name in self.pipeline.fitted if not self.idle(name))

    def idle(self, name: str) -> bool:
        """Whether a stage is a control that can show nothing on this graph; those before it stand there."""
        return name in self.pipeline.arms and name in self.maker.void

    def make_each(self, names: Iterable[str]) -> list[str]:
        """Makes stages in order, without those that are `idle`; returns the others' names."""
        made = []
        for name in names:
            if not self.idle(name):
                self.make(name)
                made.append(name)
        return made

    def fit(self) -> None:
        """Makes all between the snapshot and the evaluation that is not `idle`; what stands there is kept.

        Raises:
            RunLockedError: another process trains in this folder.
        """
        tower_of(self)  # that it is missing is told before anything is trained
        with each_said_once(), self.lock():
            self.make_each(self.pipeline.fitted)

    def evaluate(self) -> Results:
        """Judges every arm that is there once on the test split; returns what metrics.json holds.

        An arm that an evaluation cannot do without has to be there; a control that is not, or no longer fits,
        is left out and named under `left_out`; one that can show nothing on this graph under `void`; what is
        sensitive and was allowed to a task that ranks under `sensitive`.
        """
        kinds, left_out = self.judged()
        inputs = {**self._inputs("evaluate", judged=kinds), "left_out": left_out}
        self._stage("evaluate", inputs, self._judge)
        text = (self.read("evaluate") / "metrics.json").read_text(encoding="utf-8")
        return Results(json.loads(text))

    def _judge(self, folder: Path) -> None:
        self.maker.make("evaluate", folder)
        task = self.config.task
        if self.config.allow_sensitive and isinstance(task, MatchSpec):
            file = folder / "metrics.json"
            told = json.loads(file.read_text(encoding="utf-8"))
            told["sensitive"] = sensitive_of(task, self.snapshot.schema)
            file.write_text(json.dumps(told, indent=2), encoding="utf-8")

    def bundle(self) -> Bundle:
        """The deployable student.

        Raises:
            ArtefactError: it is not packed, or no longer fits.
        """
        self.need("bundle")
        return load_bundle(self.folder / "bundle")

    def recommendations(self, k: int = 20, *, store: GraphStore | None = None) -> pa.Table:
        """The best `k` products for every user with enough purchases: user, product, rank, score.

        Where the task ranks what is bought again, also `reason`: how often and when it was bought.

        They rest on all purchases that are known by now, after the cut too, and leave out what was bought;
        none of it reaches a model or a figure.

        Args:
            k: for each user.
            store: says what was bought, and which products there still are, as it is now; without, the run's
                folder says it as of the snapshot.
        """
        bundle = self.bundle()
        least, label = self.config.discovery.min_user_events, self.config.discovery.candidates
        left = gone(store, label, bundle.keys) if store is not None else []
        pasts = self.pasts(bundle.keys, store)
        asked = {user: history for user, history in pasts.known.items() if len(history.items) >= least}
        again = bundle.repeats is not None
        schema = ANSWERS.append(pa.field("reason", pa.string())) if again else ANSWERS
        columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        with step("Recommending", total=len(asked)) as work:
            for start in range(0, len(asked), _USERS):
                part = list(asked.items())[start : start + _USERS]
                answers = bundle.recommend_many(
                    [pasts.of(user) for user, _ in part], k,
                    exclude=[[*history.beside, *left] for _, history in part],
                )  # fmt: skip
                for (user, _), answer in zip(part, answers, strict=True):
                    if again:
                        answer = with_habits(bundle, answer, pasts.of(user))
                        columns["reason"] += [hit.because or None for hit in answer]
                    for hit in answer:
                        columns["user"].append(user)
                        columns["product"].append(hit.id)
                        columns["rank"].append(hit.rank)
                        columns["score"].append(hit.score)
                work.advance(len(part))
        table = pa.table(columns, schema=schema)
        out = pa.BufferOutputStream()
        pq.write_table(table, out)
        write_private(self.folder / "recommendations.parquet", out.getvalue().to_pybytes())
        return table

    @property
    def writes(self) -> bool:
        """Whether its answers have a place in the graph."""
        task, kind = self.config.task, self.config.kind
        return kind not in ("basket", "classify") or task.output is not None

    @property
    def answered_as(self) -> EdgeType:
        """The relationship that answers are written back as.

        Raises:
            InputError: the task names none, and is no task whose answers have a usual one.
        """
        task = self.config.task
        if isinstance(task, MatchSpec) and (usual := _USUAL.get(self.config.kind)):
            return (task.anchors.label, task.output or usual, task.candidates.label)
        protocol = self.config.discovery
        return (protocol.anchors, task.output or "RECOMMENDED", protocol.candidates)

    def audiences(self, k: int = 100) -> pa.Table:
        """The likeliest `k` of every anchor that starts at the cut or later: user, product, rank, score.

        As in `recommendations`, `user` is who asks, here the anchor, and `product` what is ranked, here the
        candidate.
        """
        bundle = self.bundle()
        asked = bundle.audiences
        columns: dict[str, list[Any]] = {"user": [], "product": [], "rank": [], "score": []}
        for key in [] if asked is None else asked.later:
            assert asked is not None
            for member in asked.of_campaigns([key], k)[0]:
                told = (key, member.id, member.rank, member.probability)
                for name, value in zip(columns, told, strict=True):
                    columns[name].append(value)
        return pa.table(columns, schema=ANSWERS)

    def embeddings(self) -> list[tuple[str, list[str], FloatArray]]:
        """What is written back: (space, item keys, vectors float32 [N, D])."""
        return self.by_history.embeddings()


def train_all(run: Run, notify: Callable[[str], None] = lambda text: None) -> Results:
    """Every stage after the snapshot, in order; returns the metrics."""
    with run.lock():
        run.fit()
        notify("judging every arm on the test period")
        return run.evaluate()


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
        if name not in self._runs:
            raise no_task("run", name, self)
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
        if isinstance(tasks, str | Mapping):
            raise InputError(f"{tasks!r:.60} is one task", hint="give a list, or task=", where="tasks")
        path = Path(folder)
        specs = [task_spec(task) for task in tasks]
        names = [spec.name for spec in specs]
        if not specs or len(set(names)) < len(names):
            raise InputError(f"{', '.join(names) or 'none'}: name each task once", where="tasks")
        held = runs_in(path)
        if held is None and path.exists() and (not path.is_dir() or any(path.iterdir())):
            one = (path / "config.json").is_file()
            message = "is the run of one task" if one else "holds something else than several runs"
            hint = "name a new folder" + (": each of several tasks becomes a run inside it" if one else "")
            raise InputError(message, where=str(path), hint=hint)
        known, given = dict(held or {}), {}
        one_tower = any(Run.open(path / inside).config.one_tower for inside in known.values())
        for spec in specs:
            if spec.name in known:
                _check_held(Run.open(path / known[spec.name]), spec, settings)
                continue
            by_time = getattr(spec.protocol, "split", None) == "time"
            whole = {"one_tower": True, **settings} if one_tower else settings
            given[spec.name] = {k: v for k, v in whole.items() if by_time or k != "protocol"}
            # What is wrong with one is told before the graph is frozen for another.
            draft(given[spec.name], task=spec, where=where).settled(graph)
        for spec in specs:
            if spec.name in given:
                inside = f"{path.resolve().name}-{spec.name}"
                try:
                    Run.create(path / inside, graph, task=spec, where=where, **given[spec.name])
                except BaseException:
                    # Nothing is left of one that could not be made, so that the same call can be made again.
                    shutil.rmtree(path / inside, ignore_errors=True)
                    if path.is_dir() and not any(path.iterdir()):
                        path.rmdir()
                    raise
                known[spec.name] = inside
                name_runs(path, known)
        return cls.open(path)

    @classmethod
    def open(cls, folder: str | Path) -> Runs:
        """Runs that exist.

        Raises:
            ArtefactError: there are none in `folder`, or one is gone.
        """
        path = Path(folder)
        names = runs_in(path)
        if names is None:
            raise ArtefactError(f"holds no {RUNS}, and so not several runs", where=str(path))
        return cls(path, {name: Run.open(path / inside) for name, inside in names.items()})

    def fit(self) -> None:
        """Makes everything of every run up to its bundle, and puts these together; what fits is kept."""
        with each_said_once():
            make_tower(self.folder, self)
            for name, run in self.items():
                with said_of(name):
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
        """Judges every run on its test; one that nothing judges is left out."""
        return {name: run.evaluate() for name, run in self.items() if run.judges}


def _check_held(run: RunBase, spec: TaskSpec, settings: Mapping[str, Any]) -> None:
    """Refuses another task of the name, or settings, for a run that is there."""
    hint = f"to add it here give it another name than {spec.name!r} (name: in its file)"
    hint += ", or name a new folder"
    check_same_task(run.config.task, spec, str(run.folder), hint)
    if settings:
        raise InputError("has settings already", where=str(run.folder), hint="name a new folder")
