"""Ingestion on several processes or machines, by Ray: the same job, read and written by many.

Sources are read, validated and batched on Ray Data, and a Neo4j is written by several workers. Everything
else of the job (references, fold, journal) stays where it is. The sources and the archive must be in folders
that every machine sees under the same path, and every machine needs this package.

    with RayEngine(workers=4) as engine:
        writer = engine.neo4j_writer("neo4j://db:7687", user="neo4j", password=password)
        options = JobOptions(stager=engine.stage, writer=writer)
        run_job(store, mapping, root, options, archive=archive, schema=schema)
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from kgdistill.errors import InputError, StoreError
from kgdistill.ingest.archive import StagedSource, disk_errors
from kgdistill.ingest.job import Stager
from kgdistill.ingest.joins import Joins
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.ray.pieces import joined, pieces
from kgdistill.ingest.ray.tools import (
    adding,
    check_answers,
    import_ray,
    outcome,
    ray_data,
    ray_errors,
    result_of,
    tallied,
)
from kgdistill.ingest.stage import Unit, stage
from kgdistill.store.neo4j.parts import ParallelWrite, PartWriter, rounds, split
from kgdistill.store.schema import Schema

# Fewer rows are not worth the way to a worker.
_WORTH_ROWS = 2_000


class RayEngine:
    """Ray for as long as the block lasts; started, or joined, when it is first needed.

    A Ray that this process has started or joined before is used, and left as it is.

    Args:
        address: of a cluster (`auto`, `HOST:PORT`, `ray://HOST:PORT` is not supported); None: a Ray of our
            own on this machine.
        workers: how many sources are read, and parts written, at a time; None: as many as there are CPUs.
            Never more than there are.

    Raises:
        InputError: `workers` is below 1, or the address is of no use.
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"{workers} workers cannot do anything", hint="name 1 or more")
        if address is not None and address.startswith("ray://"):
            raise InputError(
                "the Ray client is not supported",
                where=address,
                hint="run this on a machine of the cluster, with the address `auto`",
            )
        self._address, self._wanted = address, workers
        self._crews: list[Neo4jWriter] = []
        self._ray: Any = None
        self._is_ours = False
        self._workers = 0

    def stage(self, units: list[Unit], part: Path, job: int, schema: Schema) -> list[StagedSource]:
        """A `Stager`: the same files and records as from a single process.

        Sources are the pieces of work, of large Parquet files their row groups (then a type has a file for
        each piece): any other large file is read by a single worker. Standard input is read here.

        Raises:
            ToolMissingError: Ray is not installed.
            InputError: a source cannot be read; of several the one found first.
            DiskError: the archive cannot be written.
            KgdistillError: workers died again and again.
        """
        here = [unit for unit in units if unit.source.keep is not None]
        there = [unit for unit in units if unit.source.keep is None]
        total = sum(unit.size for unit in units)
        staged: dict[int, StagedSource] = {}
        if there:
            self.make_room()
            self._start()
        with tallied(part / "tally", "reading", total) as tally:
            if there:
                with ray_errors(self._ray, "reading"):
                    staged |= self._stage_there(there, part, job, schema, tally)
            for unit in here:
                staged[unit.place] = stage(unit, part, job, schema, adding(tally / f"{unit.place}"))
        with disk_errors(part):
            shutil.rmtree(part / "staging", ignore_errors=True)
        return [staged[unit.place] for unit in units]

    def neo4j_writer(self, url: str, *, user: str, password: str) -> Neo4jWriter:
        """A `projection.Writer` for `run_job`, `resume`, `apply` and `rebuild` on the Neo4j at `url`.

        Rows are upserted by several workers, each with a connection of its own, so that none waits for
        another's locks. Stopped anywhere, the same call goes on.

        Args:
            url: the address, as every worker sees it.
            user: the user's name.
            password: the user's password.
        """
        crew = Neo4jWriter(self, url, user, password)
        self._crews.append(crew)
        return crew

    def make_room(self, keep: Neo4jWriter | None = None) -> None:
        """Ends the workers of every writer but `keep`: they hold the CPUs that others would wait for."""
        for crew in self._crews:
            if crew is not keep:
                crew.dismiss()

    def close(self) -> None:
        """Stops what was started."""
        self.make_room()
        ray, self._ray = self._ray, None
        if ray is not None and self._is_ours:
            self._is_ours = False
            ray.shutdown()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stage_there(
        self, units: list[Unit], part: Path, job: int, schema: Schema, tally: Path
    ) -> dict[int, StagedSource]:
        ray = self._ray
        cut = {unit.place: pieces(unit) for unit in units}
        work_list = [(place, i) for place, parts in cut.items() for i in range(len(parts))]
        held = {(p, i): ray.put(replace(cut[p][i], joins=Joins())) for p, i in work_list}
        # The sources of one name in the mapping share what they look up.
        once = {id(unit.joins): ray.put(unit.joins) for unit in units}
        joins = {unit.place: once[id(unit.joins)] for unit in units}
        known = ray.put(schema)

        def work(row: dict[str, Any]) -> dict[str, Any]:
            place, i = int(row["place"]), int(row["piece"])
            unit, asked, rules = ray.get([held[place, i], joins[place], known])
            unit = replace(unit, joins=asked)
            return {**row, "outcome": outcome(_stage_one, unit, i, part, job, rules, tally)}

        # The largest first, so that none of them is left for the end.
        work_list.sort(key=lambda at: -cut[at[0]][at[1]].size)
        rows = [{"place": place, "piece": i} for place, i in work_list]
        told: dict[tuple[int, int], StagedSource] = {}
        with ray_data(ray) as data:
            found = data.from_items(rows, override_num_blocks=len(rows)).map(
                work, compute=data.TaskPoolStrategy(size=self._workers)
            )
            for row in found.iter_rows():
                told[int(row["place"]), int(row["piece"])] = result_of(row["outcome"])
        staged = {}
        for unit in units:
            parts = [told[unit.place, i] for i in range(len(cut[unit.place]))]
            staged[unit.place] = joined(unit, parts, schema)
        return staged

    def _start(self) -> tuple[Any, int]:
        """Ray, and the number of workers."""
        if self._ray is None:
            ray = import_ray()
            if not ray.is_initialized():
                self._init(ray)
                self._is_ours = True
            self._ray = ray
            cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
            self._workers = min(self._wanted or cpus, cpus)
        return self._ray, self._workers

    def _init(self, ray: Any) -> None:
        if self._address not in (None, "auto"):
            check_answers(str(self._address))
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self._address is not None:
                ray.init(address=self._address, **quiet)
                return
            cpus = self._wanted or os.cpu_count() or 1
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"Ray cannot be {'joined' if self._address else 'started'}: {text[0]}",
                where=self._address or "",
                hint="start one with `ray start --head`, or leave the address out"
                if self._address
                else "run the job without it: --engine local",
            ) from error


def ray_stager(address: str | None = None, *, workers: int | None = None) -> Stager:
    """A `Stager` that starts or joins Ray for each job; see `RayEngine`."""

    def run(units: list[Unit], part: Path, job: int, schema: Schema) -> list[StagedSource]:
        with RayEngine(address, workers=workers) as engine:
            return engine.stage(units, part, job, schema)

    return run


class Neo4jWriter:
    """The workers that write to one Neo4j, and who directs them; made by `RayEngine.neo4j_writer`.

    Attributes:
        retries: how many transactions had to be tried again, as after a deadlock.
    """

    def __init__(self, engine: RayEngine, url: str, user: str, password: str) -> None:
        self._engine, self._address = engine, (url, user, password)
        self._lead: ParallelWrite | None = None
        self._workers: list[Any] = []
        self.retries = 0

    def __call__(self, key: TypeKey, file: Path) -> int:
        """Upserts the rows of a Parquet file, in a block of `changes` of the store; returns how many.

        Args:
            key: a label or an edge type.
            file: as for `GraphStore.load`, but the type may hold something. A null removes the stored value.

        Raises:
            InputError, SchemaError: the file does not fit; nothing is written.
            StoreError, DiskError: the same call goes on later.
            KgdistillError: a worker died; the same call goes on later.
        """
        url, user, password = self._address
        if self._lead is None:
            self._lead = ParallelWrite(url, user=user, password=password)
        total = self._lead.check(key, file)
        if total < _WORTH_ROWS:
            return self._lead.write_here(key, file)
        self._engine.make_room(self)
        ray, count = self._engine._start()
        count = min(count, -(-total // _WORTH_ROWS))
        with disk_errors(file.parent):
            folder = Path(tempfile.mkdtemp(prefix="parts-", dir=file.parent))
        try:
            cells = split(key, file, count, folder / "rows") if count > 1 else {(0, 0): [file]}
            while len(self._workers) < count:
                kind = ray.remote(num_cpus=1, max_restarts=0)(_Worker)
                self._workers.append(kind.remote(url, user, password))
            with (
                tallied(folder / "tally", f"writing {type_name(key)}", total) as tally,
                ray_errors(ray, "writing"),
                self._lead.turn(key, count) as turn,
            ):
                written = 0
                for number, plan in enumerate(rounds(key, count)):
                    turn.ensure()
                    under_way = []
                    for i, mine in enumerate(plan):
                        files = [path for cell in mine for path in cells.get(cell, [])]
                        if files:
                            call = self._workers[i].write.remote
                            place = tally / f"{number}-{i}"
                            under_way.append(call(key, files, turn.fences[i], turn.create, place))
                    # All have ended when one's error is raised.
                    for rows, again in [result_of(answer) for answer in ray.get(under_way)]:
                        written, self.retries = written + rows, self.retries + again
        except BaseException:
            self.dismiss()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if written != total:
            raise StoreError(f"{total - written:,} of {total:,} rows were not written", where=type_name(key))
        return written

    def dismiss(self) -> None:
        """Ends the workers and the connection."""
        workers, self._workers = self._workers, []
        for worker in workers:
            with contextlib.suppress(Exception):
                self._engine._ray.kill(worker)
        if self._lead is not None:
            self._lead.close()
            self._lead = None


class _Worker:
    """Runs in a process of its own; its connection is made when it is first needed."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._address = url, user, password
        self._store: PartWriter | None = None

    def write(self, key: TypeKey, files: Sequence[Path], fence: str, create: bool, tally: Path) -> bytes:
        return outcome(self._write, key, files, fence, create, tally)

    def _write(
        self, key: TypeKey, files: Sequence[Path], fence: str, create: bool, tally: Path
    ) -> tuple[int, int]:
        if self._store is None:
            url, user, password = self._address
            self._store = PartWriter(url, user=user, password=password)
        return self._store.write_files(key, files, fence, create=create, advance=adding(tally))


def _stage_one(unit: Unit, piece: int, part: Path, job: int, schema: Schema, tally: Path) -> StagedSource:
    """Stages a source in a folder of its own: of a worker that died, nothing is left in the job's files."""
    own = part / "staging" / f"{unit.place:05d}-{uuid.uuid4().hex}"
    add = adding(tally / own.name)

    def advance(size: int) -> None:
        if not part.exists():
            raise InputError("the job was given up meanwhile", where=str(part))
        add(size)

    def name(file: str) -> str:
        return file if unit.source.groups is None else file.replace(".parquet", f"-{piece:05d}.parquet")

    with disk_errors(part):
        own.mkdir(parents=True)
    staged = stage(unit, own, job, schema, advance)
    with disk_errors(part):
        for file in sorted(own.rglob("*.parquet")):
            target = part / file.relative_to(own).with_name(name(file.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    types = {
        key: kept.model_copy(update={"files": tuple(name(file) for file in kept.files)})
        for key, kept in staged.types.items()
    }
    return staged.model_copy(update={"types": types})
