"""A run folder without its models: configuration, lock, snapshot, and which stages stand and fit."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.config import RunConfig, read_held, resolve_config
from kgdistill.errors import ArtefactError, InputError, RunLockedError
from kgdistill.ingest.journal import Journal
from kgdistill.moment import naive_utc
from kgdistill.private import private_folder
from kgdistill.run import stages
from kgdistill.run.chain import Pipeline, mismatch, pipeline_of
from kgdistill.run.stages import Mark, digest, finished, read_mark, run_stage, sweep, verify, write_private
from kgdistill.serve.joined import RUNS, runs_in
from kgdistill.snapshot import Snapshot, open_snapshot, take_events, take_snapshot
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import kept_schema
from kgdistill.tasks.event_weights import in_numbers, load_weights
from kgdistill.tasks.histories import (
    Pasts,
    UserHistory,
    frozen_purchases,
    histories,
    latest_purchase,
    stored_purchases,
    timed_lines,
)
from kgdistill.tasks.judgements import stored_judgements
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.positives import LEARNED, Weight
from kgdistill.tasks.spec import ClassifySpec, MatchSpec

if TYPE_CHECKING:
    from typing_extensions import Self

_CONFIG, _LOCK, _OWNER = "config.json", ".lock", ".lock.owner"
_HOLDOUT, _LATER = "holdout.parquet", "later"
TOWER = "tower"
"""The folder, beside those of several runs, of the text tower that they share."""


@dataclass
class RunBase:
    """A run folder with its configuration; reading it needs no torch.

    Args:
        folder: where everything of the run goes; made for its owner alone where it is missing.
        config: the resolved configuration.

    Raises:
        RunLockedError: the configuration is another than the folder's, and a process is training there.
        ArtefactError: the folder cannot be made.
    """

    folder: Path
    config: RunConfig

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        try:
            private_folder(self.folder)
        except OSError as error:
            reason = f"cannot be made a run folder: {(error.strerror or 'refused').lower()}"
            raise ArtefactError(reason, where=str(self.folder), hint="name another: --run") from error
        # Opening a run to read it must not touch it.
        try:
            same = RunConfig.model_validate(read_held(self.folder / _CONFIG)) == self.config
        except (InputError, ValueError):
            same = False
        if not same:
            with self.lock():
                write_private(self.folder / _CONFIG, self.config.model_dump_json(indent=2).encode())

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """A run that exists.

        Raises:
            ArtefactError: there is none in `folder`.
            InputError: its configuration cannot be read.
        """
        path = Path(folder) / _CONFIG
        if (names := runs_in(Path(folder))) is not None:
            inside = ", ".join(shlex.quote(str(Path(folder) / name)) for name in names.values())
            raise ArtefactError("holds several runs", where=str(folder), hint=f"name one: {inside}")
        if not path.is_file():
            hint = f"kgdistill snapshot --run {shlex.quote(str(folder))} makes one, of your own graph"
            raise ArtefactError("is no run folder", where=str(folder), hint=hint)
        return cls(Path(folder), resolve_config(read_held(path), where=str(path)))

    @property
    def pipeline(self) -> Pipeline:
        """The stages and arms of this kind of task."""
        return pipeline_of(self.config)

    # The lock ---------------------------------------------------------------------------------

    @cached_property
    def _lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self.folder / _LOCK, timeout=0)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run folder for one process, which may take it several times; it ends with the process.

        Whoever reads alone needs no lock: a stage takes its place when it is whole.

        Raises:
            RunLockedError: another process holds it.
        """
        try:
            self._lock.acquire()
        except filelock.Timeout:
            owner = self._owner()
            raise RunLockedError(
                f"another process{owner} is training in this run folder",
                where=str(self.folder),
                hint="wait until it is done, or name another folder: --run",
            ) from None
        try:
            if self._lock.lock_counter == 1:
                sweep(self.folder)
                # The process id helps people only: a full disk must not stand in the way.
                with contextlib.suppress(OSError):
                    (self.folder / _OWNER).write_text(str(os.getpid()), encoding="ascii")
            yield
        finally:
            self._lock.release()

    def _owner(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return f" (pid {int((self.folder / _OWNER).read_text(encoding='ascii'))})"
        return ""

    # Stages that stand and fit ----------------------------------------------------------------

    def need(self, name: str) -> Mark:
        """The mark of a finished stage that stands on the snapshot and the settings in force.

        Raises:
            ArtefactError: the stage, or one that it stands on, is not finished or no longer fits; the message
                says what makes it.
        """
        mark, stages = read_mark(self.folder / name), self.pipeline.stages
        if mark is None:
            raise ArtefactError(
                f"the stage {name!r} is not finished",
                where=str(self.folder),
                hint=f"run it first: {self._command(name)}",
            )
        # A model is told before what merely stands on it, and before the texts, which nobody trains by name.
        below = [up for up in stages[name].stands_on if mark.values.get(up) is not None]
        for up in below:
            if up not in ("text", "graph"):
                self.need(up)
        now = self._graph_settings() if name == "graph" else self._inputs(name, judged=below)
        reason = mismatch(stages, name, mark.values, json.loads(json.dumps(now, default=str)))
        if reason and TOWER in now and now[TOWER] is None:
            raise self.no_tower()
        if reason:
            raise ArtefactError(
                f"{stages[name].title} {reason}",
                where=str(self.folder / name),
                hint=f"make it anew: {self._command(name)}",
            )
        if "text" in below:
            self.need("text")
        return mark

    def read(self, name: str) -> Path:
        """The folder of a stage, to read: it fits, and its files are those that were written.

        Raises:
            ArtefactError: as `need`, or a file is missing or damaged; the message says what to delete.
        """
        mark = self.need(name)
        if mark.made not in self._verified:
            verify(self.folder / name, mark, again=self._command(name))
            self._verified.add(mark.made)
        return self.folder / name

    @cached_property
    def _verified(self) -> set[str]:
        return set()

    def judged(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """The trained arms that an evaluation judges, and those that it leaves out with the reason.

        Raises:
            ArtefactError: an arm that it cannot do without is not there, or no longer fits.
        """
        there: list[str] = []
        left_out: dict[str, str] = {}
        for name in self.pipeline.trained:
            role = self.pipeline.arms[name].role
            try:
                self.need(name)
                there.append(name)
            except ArtefactError as error:
                if role == "needed":
                    raise
                if read_mark(self.folder / name) is not None:
                    left_out[name] = error.message
                elif role == "control":
                    left_out[name] = f"{self.pipeline.stages[name].title} was not trained"
        return tuple(there), left_out

    def _command(self, name: str) -> str:
        command = [*self.pipeline.stages[name].command.split(), "--run", str(self.folder)]
        if name == "graph":
            # Without its file the snapshot would start from the settings' defaults.
            mark = read_mark(self.folder / "graph")
            store = mark.values.get("store") if mark is not None else None
            command += ["--config", str(self.folder / _CONFIG), "--store", str(store or "URL")]
        return shlex.join(command)

    def _settings(self, *names: str) -> dict[str, Any]:
        whole = stages.as_formerly(self.config.model_dump(mode="json"))
        return {name: whole[name] for name in names}

    def _graph_settings(self) -> dict[str, Any]:
        allowed = self._settings("allow_sensitive") if self.config.allow_sensitive else {}
        if self.config.kind == "audience":
            return {"cut": "by anchors", **self._settings("task"), **allowed}
        if self.config.protocol is None:
            return {"cut": None, "interaction": None, **allowed}
        protocol = self.config.protocol
        cut = protocol.snapshot_cut.isoformat()
        return {"cut": cut, "interaction": list(protocol.interaction), **allowed}

    def _data(self) -> dict[str, str]:
        """What names the data: the snapshot's content, and what was put aside for validation and test."""
        manifest = json.loads((self.read("graph") / "snapshot" / "manifest.json").read_bytes())
        return {"snapshot": manifest["content_hash"], "holdout": self.need("graph").files[_HOLDOUT][1]}

    @property
    def takes_tower(self) -> bool:
        """Whether its student reads texts with the tower that several runs share."""
        task, kind = self.config.task, self.config.kind
        by_text = kind in ("text", "answer") or (
            isinstance(task, ClassifySpec) and "text" in task.subjects.by
        )
        return self.config.one_tower and by_text

    @property
    def tower_folder(self) -> Path:
        """Where that tower stands."""
        return self.folder.resolve().parent / TOWER

    def no_tower(self) -> ArtefactError:
        """What is raised where that tower is not there."""
        whole = self.tower_folder.parent
        hint = "move the run back beside the others that share it; a task of its own takes no one_tower"
        if (whole / RUNS).is_file():
            hint = f"make it: kgdistill fit --run {whole}"
        message = "the text tower that several tasks share is not there"
        return ArtefactError(message, where=str(self.tower_folder), hint=hint)

    def _made(self, name: str) -> str | None:
        mark = read_mark(self.folder / name)
        return None if mark is None else mark.made

    def _inputs(self, name: str, judged: Sequence[str] = ()) -> dict[str, Any]:
        """What a stage is made from: the data, the stages it stands on, and the settings in force."""
        stage, data = self.pipeline.stages[name], self._data()
        inputs: dict[str, Any] = {key: data[key] for key in stage.data}
        below = judged if name == "evaluate" else stage.stands_on
        inputs |= {up: self._made(up) for up in below if up != "graph"}
        inputs |= {**self._settings(*stage.settings), **stage.further(self.config)}
        arm = self.pipeline.arms.get(name)
        if "classify" in inputs and arm is not None and arm.learner == "teacher":
            inputs["classify"] = stages.without(inputs["classify"], "tower")  # no teacher reads by it
        if isinstance(self.config.task, MatchSpec):
            inputs["reads"] = list(self.config.task.candidates.by)
        if name == "student" and self.takes_tower:
            mark = read_mark(self.tower_folder)
            inputs[TOWER] = None if mark is None else mark.made
        if name == "text" and self.config.text.tune != "frozen":
            # A tuned encoder has learned from the events that these give it.
            share = self.config.teacher.inner_share
            inputs |= {**data, **self._settings("protocol", "seed"), "inner_share": share}
        return inputs

    def _stage(self, name: str, inputs: dict[str, Any], make: Callable[[Path], None]) -> None:
        """Makes a stage under the lock, unless it stands there from these inputs."""
        if finished(self.folder / name) != digest(inputs):
            with self.lock():
                run_stage(self.folder, name, inputs, make, private=self.pipeline.stages[name].private)

    # What it was taken from -------------------------------------------------------------------

    def take_snapshot(self, store: GraphStore) -> None:
        """Freezes the graph at the protocol's cut; what comes later is put aside for evaluation."""
        protocol = self.config.protocol

        def make(folder: Path) -> None:
            if self.config.kind == "audience":
                later = self._two_snapshots(store, folder)
            elif protocol is None:
                self._freeze(store, folder / "snapshot", None)
                later = self._judgements(store)
            else:
                cut = protocol.snapshot_cut
                self._freeze(store, folder / "snapshot", cut)
                later = take_events(store, protocol.interaction, start=cut, end=None, include_future=True)
            with (folder / _HOLDOUT).open("wb") as file:
                pq.write_table(later, file)

        # Rows that a later job brings make another graph.
        jobs = [[e["archive_id"], e["job_number"]] for e in Journal(store).entries() if e["state"] == "done"]
        inputs = {"store": store.url, "jobs": jobs, **self._graph_settings()}
        if not self._reads_sensitive and (left_out := kept_schema(store).sensitive):
            inputs["left_out"] = left_out  # declared so later, it leaves the snapshot too
        self._stage("graph", inputs, make)
        self.__dict__.pop("snapshot", None)
        self.__dict__.pop("later", None)
        self.__dict__.pop("task", None)
        # Where people look for it.
        link = self.folder / "snapshot"
        if not link.is_symlink() and not link.exists():
            link.symlink_to(Path("graph") / "snapshot")

    def _freeze(self, store: GraphStore, folder: Path, cut: datetime | None) -> Snapshot:
        """A snapshot of what the task may read: one that ranks reads nothing sensitive, unless allowed."""
        sensitive, zone = self._reads_sensitive, Journal(store).time_zone()
        return take_snapshot(store, folder, cut=cut, needed=self._labels(), sensitive=sensitive, zone=zone)

    @property
    def _reads_sensitive(self) -> bool:
        return isinstance(self.config.task, ClassifySpec) or self.config.allow_sensitive

    def _two_snapshots(self, store: GraphStore, folder: Path) -> pa.Table:
        """Freezes the graph as it is now, for evaluation and answers, and before the test's first anchor."""
        from kgdistill.tasks.audience_task import audience_cut

        task = self.config.task
        assert isinstance(task, MatchSpec)
        everything = self._freeze(store, folder / _LATER, None)
        self._freeze(store, folder / "snapshot", audience_cut(everything, task))
        return pa.table({"later": [everything.content_hash]})

    def _judgements(self, store: GraphStore) -> pa.Table:
        """What people judged, put aside like later events; empty where the task names none."""
        task = self.config.task
        if isinstance(task, MatchSpec) and task.judged_by is not None:
            return stored_judgements(store, task)
        return pa.table({})

    @property
    def judges(self) -> bool:
        """Whether anything judges: of a task that grades judge, only where the graph held some."""
        task = self.config.task
        by_grades = isinstance(task, MatchSpec) and task.judged_by is not None
        return not by_grades or pq.read_metadata(self.holdout).num_rows > 0

    @property
    def holdout(self) -> Path:
        """The file with what was put aside: for evaluation alone."""
        return self.read("graph") / _HOLDOUT

    def _labels(self) -> tuple[str, ...]:
        """The labels that must have nodes."""
        task = self.config.task
        if isinstance(task, ClassifySpec):
            return (task.subjects.label,)
        asking = (task.anchors.label,) if "history" in task.anchors.by else ()
        return (*asking, task.candidates.label)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The snapshot of the run."""
        folder = self.read("graph")
        try:
            return open_snapshot(folder / "snapshot")
        except ArtefactError as error:
            # Taken again from the same rows it would be kept.
            hint = f"delete {folder}, then make it anew: {self._command('graph')}"
            raise ArtefactError(error.message, where=error.where, hint=hint) from error

    def texts(self) -> list[str]:
        """What stands to be read: the texts of the nodes that the task asks about and ranks."""
        task = self.config.task
        labels = (
            (task.subjects.label,)
            if isinstance(task, ClassifySpec)
            else (task.anchors.label, task.candidates.label)
        )
        there = [label for label in dict.fromkeys(labels) if label in self.snapshot.labels]
        return [text for label in there for text in self.snapshot.texts(label)]

    @cached_property
    def later(self) -> Snapshot:
        """All that was known as a run was made that finds an audience: for evaluation and answers."""
        return open_snapshot(self.read("graph") / _LATER)

    @cached_property
    def task(self) -> MatchTask:
        """The evaluation task; its test split stays closed until `evaluate`."""
        events = pq.read_table(self.holdout)
        return build_task(self.snapshot, events, self.config.discovery)

    @property
    def declared_weights(self) -> dict[str, Weight]:
        """Further events that a history of the task holds, and what one weighs, or that this is learned."""
        task = self.config.task
        return dict(task.positives.weights) if isinstance(task, MatchSpec) else {}

    @property
    def weights(self) -> dict[str, float]:
        """The same in numbers: where they are learned as they were chosen, 0 for what is left out.

        Raises:
            ArtefactError: they are still to be learned.
        """
        declared = self.declared_weights
        learned = load_weights(self.read("choice")) if LEARNED in declared.values() else {}
        return in_numbers(declared, learned)

    def others(self, store: GraphStore | None = None, *, user: str | None = None) -> dict[str, pa.Table]:
        """All that is known by now of the further events of a history; as `purchases`, by the event's type.

        Without a store, what was known before the cut.
        """
        out, schema = {}, self.snapshot.schema
        for name, edge in self.config.discovery.beside(self.declared_weights).items():
            reverse, above = self.config.discovery.reverse, self.config.discovery.above
            if store is not None:
                out[name] = stored_purchases(store, edge, schema, user=user, reverse=reverse, above=above)
            elif edge in self.snapshot.edge_types:
                table = frozen_purchases(self.snapshot, None, edge, reverse=reverse, above=above)
                out[name] = table if user is None else table.filter(pc.equal(table["user"], user))
        return out

    def pasts(
        self,
        keys: Sequence[str],
        store: GraphStore | None = None,
        *,
        user: str | None = None,
        before: datetime | None = None,
    ) -> Pasts:
        """What users did with the items of a bundle: `purchases` and `others` as histories.

        Args:
            keys: the bundle's.
            store, user: as `purchases`.
            before: only what was done before this time.
        """

        def told(table: pa.Table) -> dict[str, UserHistory]:
            known = table if before is None else table.filter(pc.less(table["at"], before))
            return histories(known, keys)

        others = {name: told(table) for name, table in self.others(store, user=user).items()}
        bought = self.purchases(store, user=user)
        timed = timed_lines(bought, before or self._present(store)) if self.config.kind == "basket" else None
        return Pasts(self.config.discovery.interaction[1], told(bought), others, timed)

    def _present(self, store: GraphStore | None) -> datetime | None:
        """Right after the latest purchase of anybody that is known, and not after now; None without any."""
        if store is not None:
            latest = latest_purchase(store, self.config.discovery.interaction, self.snapshot.schema)
        else:
            latest = pc.max(self.purchases()["at"]).as_py()
        # A mistyped year would make everything overdue.
        now = naive_utc(datetime.now(timezone.utc))
        return None if latest is None else min(latest + timedelta(microseconds=1), now)

    def purchases(self, store: GraphStore | None = None, *, user: str | None = None) -> pa.Table:
        """All that is known by now of who bought what: for answers alone, as it reaches past the cut.

        Args:
            store: says it as it is now; without, the snapshot and what came after it when it was taken.
            user: that user's alone.

        Returns:
            See `stored_purchases`.
        """
        protocol, schema = self.config.discovery, self.snapshot.schema
        edge, reverse, above = protocol.interaction, protocol.reverse, protocol.above
        if store is not None:
            return stored_purchases(store, edge, schema, user=user, reverse=reverse, above=above)
        later = pq.read_table(self.read("graph") / _HOLDOUT)
        table = frozen_purchases(self.snapshot, later, edge, reverse=reverse, above=above)
        return table if user is None else table.filter(pc.equal(table["user"], user))
