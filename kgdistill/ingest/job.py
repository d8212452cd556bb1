"""Ingestion jobs: sources, by a mapping, into the archive and from there into a store."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kgdistill.errors import InputError, KgdistillError, SchemaError
from kgdistill.ingest.aliases import in_force, joined
from kgdistill.ingest.archive import Archive, Failure, JobRecord, StagedSource, utc_now
from kgdistill.ingest.fold import Fold
from kgdistill.ingest.former import Removal, files_of, removals, twins
from kgdistill.ingest.idle import IdlePiece, eventless_rows, idle_pieces
from kgdistill.ingest.joins import Joins, load_joins
from kgdistill.ingest.mapping.load import CompiledSource, Mapping
from kgdistill.ingest.mapping.plan import JoinPlan
from kgdistill.ingest.model import REJECT_SCHEMA, GraphTables, Notice
from kgdistill.ingest.overlaps import doubled
from kgdistill.ingest.projection import Applied, Writer, apply, check_same_archive, folder_beside, pending
from kgdistill.ingest.readers import (
    Source,
    SourceOptions,
    encodings_of,
    find_sources,
    fingerprint,
    plain_hash,
    table_source,
)
from kgdistill.ingest.references import check_references
from kgdistill.ingest.rejects import join_rejects, reasons, rejects_target, too_many, write_rejects
from kgdistill.ingest.repeats import repeats
from kgdistill.ingest.sql import engine
from kgdistill.ingest.stage import Unit, stage
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema

Given: TypeAlias = "pa.Table | pd.DataFrame | Path"
"""What Python gives for a source: a table, or the path of a file."""

Stager = Callable[[list[Unit], Path, int, Schema], list[StagedSource]]
"""Stages every unit; the single process is `stage_here`, another engine gives its own."""


@dataclass(frozen=True)
class JobOptions:
    """How a job is done.

    Attributes:
        rejects_path: where rows that do not fit are written, .csv or .parquet.
        max_reject_share: from 0 to 1; with more rejected rows, the job is refused and nothing is changed.
        max_removed_share: from 0 to 1; where a new version of a source lacks more of the events that the
            former one gave (and more than a few), the job is refused and nothing is changed.
        since: events before it are skipped; None for all.
        stager: how the sources are read; None: in this process.
        writer: what writes to the store in place of its own methods; None: these.
        wait_s: how long to wait for another job.
        threads: for folding.

    Raises:
        InputError: a share is not between 0 and 1.
    """

    rejects_path: str | Path | None = None
    max_reject_share: float = 0.01
    max_removed_share: float = 0.2
    since: datetime | None = None
    stager: Stager | None = None
    writer: Writer | None = None
    wait_s: float = 0.0
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("max_reject_share", "max_removed_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise InputError(f"{name} is {share}, not between 0 and 1")


@dataclass
class JobReport:
    """What a job did.

    Attributes:
        state: `done`, or `unchanged` where there was nothing to do.
        job: its number in the archive; None where nothing was read.
        archive: the archive's folder.
        read: sources read.
        unchanged: sources that an earlier job had read as they are.
        rows: input rows; `accepted`, `skipped` and `rejected` together.
        eventless: by the mapping's name, of sources that make events the rows that fit and make none.
        idle: pieces of the mapping that made nothing of what was read.
        late: accepted events from before the latest one that was known before.
        repeated: by type, rows that give way to another row of this job: of single events to the first by
            time, else to the last.
        reasons: (reason, column, rows) of the rejected ones, the most frequent first.
        rejects_path: where they were written; None where there are none.
        gone: event rows that former versions of the sources gave, and that the new ones lack.
        encodings: of the sources read that are no UTF-8.
        warnings: what is odd about sources and rows that were accepted.
        applied: what the store was told.
        read_seconds, apply_seconds: wall time.
    """

    state: Literal["done", "unchanged"]
    archive: Path
    job: int | None = None
    read: list[str] = field(default_factory=list)
    unchanged: int = 0
    rows: int = 0
    accepted: int = 0
    skipped: int = 0
    rejected: int = 0
    eventless: dict[str, int] = field(default_factory=dict)
    idle: list[IdlePiece] = field(default_factory=list)
    late: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    reasons: list[tuple[str, str, int]] = field(default_factory=list)
    rejects_path: Path | None = None
    gone: int = 0
    encodings: dict[str, str] = field(default_factory=dict)
    warnings: list[Notice] = field(default_factory=list)
    applied: Applied = field(default_factory=Applied)
    read_seconds: float = 0.0
    apply_seconds: float = 0.0


def run_job(
    store: GraphStore,
    mapping: Mapping,
    root: str | Path,
    options: JobOptions | None = None,
    *,
    archive: str | Path,
    schema: Schema,
    tables: AnyMapping[str, Given] | None = None,
    salt: bytes | None = None,
) -> JobReport:
    """Reads the sources that are new or changed and brings the store up to date.

    A job that was stopped anywhere leaves the store as it was, or in a state that the same call, or
    `resume`, completes. Reading nothing new still applies what an earlier job left.

    Args:
        store: an open store.
        mapping: what the columns are in the graph.
        root: the folder below which the mapping's files are.
        options: how it is done.
        archive: the folder of accepted rows; one for each store.
        schema: the graph's schema.
        tables: by the mapping's source name (of a join SOURCE.JOIN), a table or a file instead of the files
            below `root`.
        salt: for values that are hashed.

    Raises:
        InputError: a source cannot be read, too many rows are rejected, or too many events would go.
        StoreLockedError: another job is at work.
        DiskError, StoreError, SchemaError: nothing that was stored is lost; the same call goes on.
    """
    how = options or JobOptions()
    wanted = rejects_target(how.rejects_path)
    place = archive if isinstance(archive, Archive) else Archive(archive)
    start = time.monotonic()
    with place.lock(how.wait_s):
        check_same_archive(store, place)
        compiled = mapping.compile(schema, salt=salt)
        report = JobReport("unchanged", place.folder)
        aliases = mapping.read_aliases(schema, Path(root))
        joined([in_force(r for r in place.jobs() if r.mapping != mapping.name), aliases], mapping.name)
        units = _plan(place, compiled, Path(root), tables or {}, how.since, report)
        if units or aliases != in_force(r for r in place.jobs() if r.mapping == mapping.name):
            _Reading(place, mapping, schema, how, keys_in(store), aliases).read(units, wanted, report)
        report.read_seconds = time.monotonic() - start
        _apply(store, place, report, how)
    return report


def resume(
    store: GraphStore,
    archive: Archive,
    *,
    wait_s: float = 0.0,
    threads: int = 2,
    writer: Writer | None = None,
) -> JobReport:
    """Applies what sealed jobs left undone; what was being read is forgotten, and read again by its own job.

    Raises:
        StoreLockedError: another job is at work.
        DiskError, StoreError, SchemaError: as in `run_job`.
    """
    with archive.lock(wait_s):
        for number in archive.unfinished():
            archive.abandon(number)
        report = JobReport("unchanged", archive.folder)
        _apply(store, archive, report, JobOptions(wait_s=wait_s, threads=threads, writer=writer))
    return report


def keys_in(store: GraphStore) -> Callable[[str], pa.Array]:
    """Asks a store for all keys of a label."""

    def keys(label: str) -> pa.Array:
        # Only a label that the store does not know: with a store that is away every end would be missing.
        with contextlib.suppress(SchemaError):
            return store.read_nodes(label, []).column(0).combine_chunks()
        return pa.array([], pa.string())

    return keys


def graph_tables(
    mapping: Mapping,
    root: str | Path = ".",
    *,
    schema: Schema,
    tables: AnyMapping[str, Given] | None = None,
    salt: bytes | None = None,
    stored_keys: Callable[[str], pa.Array] | None = None,
) -> GraphTables:
    """The graph that a mapping makes of its sources, as tables and without a store or an archive.

    Args:
        mapping: what the columns are in the graph.
        root: the folder below which the mapping's files are.
        schema: the graph's schema.
        tables: by the mapping's source name (of a join SOURCE.JOIN), a table or a file instead of the files
            below `root`.
        salt: for values that are hashed.
        stored_keys: keys of a label that stand elsewhere; a relationship may end there too.

    Returns:
        Nodes and relationships by type, each key once, and the rejected rows.

    Raises:
        InputError: a source cannot be read.
        DiskError: there is no room for the rows on the way.
    """
    compiled = mapping.compile(schema, salt=salt)
    with tempfile.TemporaryDirectory(prefix="kgdistill-") as folder:
        archive = Archive(Path(folder) / "archive")
        report = JobReport("unchanged", archive.folder)
        units = _plan(archive, compiled, Path(root), tables or {}, None, report)
        known = stored_keys or (lambda _: pa.array([], pa.string()))
        how = JobOptions(max_reject_share=1.0, max_removed_share=1.0)
        aliases = mapping.read_aliases(schema, Path(root))
        _Reading(archive, mapping, schema, how, known, aliases).read(units, None, report)
        found = GraphTables({}, {})
        with engine(Path(folder)) as db:
            fold = Fold(db, schema, archive.files(schema), aliases=aliases)
            held = set(fold.types())
            made = {key for item in compiled.values() for key in item.keys}
            for key in [*schema.nodes, *schema.edges()]:
                if key not in made and key not in held:
                    continue
                parts = fold.batches(key, 1_000_000) if key in held else iter(())
                order = [(name, "ascending") for name in fold.identity(key)]
                whole = pa.concat_tables([fold.empty(key), *parts]).sort_by(order)
                if isinstance(key, str):
                    found.nodes[key] = whole
                else:
                    found.edges[key] = whole
        rejects = archive.rejects(1)
        kept = pq.read_table(rejects) if rejects.exists() else REJECT_SCHEMA.empty_table()
    return GraphTables(found.nodes, found.edges, kept)


def stage_here(units: list[Unit], part: Path, job: int, schema: Schema) -> list[StagedSource]:
    """Stages the sources one after the other in this process."""
    with step("reading", total=sum(unit.size for unit in units)) as progress:
        staged: list[StagedSource] = []
        for unit in units:
            progress.note(unit.source.name)
            staged.append(stage(unit, part, job, schema, progress.advance))
        return staged


def _apply(store: GraphStore, archive: Archive, report: JobReport, how: JobOptions) -> None:
    start = time.monotonic()
    if archive.numbers() and pending(store, archive):
        report.applied = apply(store, archive, wait_s=how.wait_s, threads=how.threads, writer=how.writer)
        report.state = "done"
    report.apply_seconds = time.monotonic() - start


def foresee(
    mapping: Mapping,
    root: str | Path,
    *,
    archive: Archive,
    schema: Schema,
    tables: AnyMapping[str, Given] | None = None,
    salt: bytes | None = None,
) -> tuple[list[Removal], list[Notice]]:
    """What a job would find out about sources that the archive knows; nothing is changed.

    New versions of sources are read as a whole; whether the ends of relationships exist is not looked up.

    Returns:
        The events that new versions lack, and the sources that hold what another holds too.

    Raises:
        InputError: a source cannot be read.
        DiskError: there is no room for the rows on the way.
    """
    report = JobReport("unchanged", archive.folder)
    units = _plan(archive, mapping.compile(schema, salt=salt), Path(root), tables or {}, None, report)
    known = [source for source, _ in archive.versions().values()]
    contents = Counter([*(unit.plain_sha256 or unit.sha256 for unit in units), *(s.content for s in known)])
    again = [
        unit for unit in units if unit.former is not None or contents[unit.plain_sha256 or unit.sha256] > 1
    ]
    again = [replace(unit, place=place) for place, unit in enumerate(again)]
    with tempfile.TemporaryDirectory(prefix="kgdistill-") as folder, engine(Path(folder)) as db:
        staged = stage_here(again, Path(folder), 0, schema) if again else []
        files = files_of(Path(folder), 0, staged, schema)
        gone = removals(db, schema, again, staged, files, archive.files(schema))
    return gone, twins(staged, known, schema)


def _plan(
    archive: Archive,
    compiled: AnyMapping[str, CompiledSource],
    root: Path,
    tables: AnyMapping[str, Given],
    since: datetime | None,
    report: JobReport,
) -> list[Unit]:
    """The sources that are new, or are not as they were."""
    places = [p for name, item in compiled.items() for p in (name, *(f"{name}.{j.name}" for j in item.joins))]
    unknown = [name for name in tables if name not in places]
    if unknown:
        known = ", ".join(places)
        raise InputError(f"the mapping has no source {unknown[0]!r}", hint=f"its sources: {known}")
    known_before = archive.versions()
    after = latest_events(archive)
    units: list[Unit] = []
    for name, item in compiled.items():
        sources = sources_of(name, item, root, tables.get(name))
        joins = joins_of(name, item, root, tables) if sources else Joins()
        report.warnings += joins.notices
        for source in sources:
            mark, joined = fingerprint(source), joins.mark(source)
            former = known_before.get(source.name)
            same = (mark.sha256, item.digest, joined)
            if former is not None and (former[0].sha256, former[0].digest, former[0].joined) == same:
                report.unchanged += 1
                continue
            # Of another version of a source that was read before most lines are old: none of them is late.
            before = after if former is None else {}
            version = former[0] if former is not None else None
            plain = ""
            # What is wrong with a file, reading will say.
            with contextlib.suppress(InputError):
                plain = plain_hash(source)
            unit = Unit(len(units), source, item, mark.sha256, mark.size, before, since, plain, version)
            units.append(replace(unit, joins=joins, joined=joined))
    return units


def joins_of(name: str, item: CompiledSource, root: Path, tables: AnyMapping[str, Given]) -> Joins:
    """What the rows of one source of a mapping look up, read into memory.

    Raises:
        InputError: as `sources_of` and `load_joins`.
    """
    places = [(f"{name}.{join.name}", join) for join in item.joins]
    return load_joins(item.joins, [sources_of(p, join, root, tables.get(p)) for p, join in places])


def sources_of(name: str, item: CompiledSource | JoinPlan, root: Path, given: Given | None) -> list[Source]:
    """The sources behind one of a mapping or one of its joins: what Python gives, or the files below `root`.

    Raises:
        InputError: there is neither.
    """
    # What Python gives is known by the mapping's name alone: the next table given for it is its next version.
    if isinstance(given, pa.Table | pd.DataFrame):
        written = SourceOptions(fill_down=item.options.fill_down, each=item.options.each)
        return [table_source(name, given, written)]
    if isinstance(given, Path):
        found = find_sources(name, [given.name], given.parent, item.options, optional=item.optional)
        return [replace(source, name=name) for source in found]
    if not item.patterns:
        told = f"the source {name!r} names no files, and no table was given for it"
        raise InputError(told, hint="add `files:` to the mapping")
    return find_sources(name, list(item.patterns), root, item.options, optional=item.optional)


def latest_events(archive: Archive) -> dict[str, datetime]:
    """By type, the latest event that the archive has."""
    latest: dict[str, datetime] = {}
    for record in archive.jobs():
        for source in record.sources:
            for name, staged in source.types.items():
                if staged.latest is not None:
                    latest[name] = max(staged.latest, latest.get(name, staged.latest))
    return latest


@dataclass(frozen=True)
class _Reading:
    """A job from its sources to sealed rows in the archive."""

    archive: Archive
    mapping: Mapping
    schema: Schema
    how: JobOptions
    stored_keys: Callable[[str], pa.Array]
    aliases: dict[str, dict[str, str]]

    def read(self, units: list[Unit], rejects_path: Path | None, report: JobReport) -> None:
        started = utc_now()
        number, part = self.archive.begin()
        try:
            staged, gone = self._stage(units, number, part, report)
            self._refuse(gone, join_rejects(part), rejects_path, report)
            shutil.rmtree(part / "rejects", ignore_errors=True)
            self.archive.seal(
                JobRecord(
                    number=number,
                    mapping=self.mapping.name,
                    time_zone=self.mapping.time_zone,
                    started_at=started,
                    sealed_at=utc_now(),
                    sources=tuple(staged),
                    aliases=self.aliases,
                    schema=self.schema,
                )
            )
        except KgdistillError as error:
            with contextlib.suppress(KgdistillError):
                failure = Failure(
                    number=number,
                    mapping=self.mapping.name,
                    started_at=started,
                    failed_at=utc_now(),
                    message=str(error).splitlines()[0][:500],
                )
                self.archive.abandon(number, failure)
            raise
        except BaseException:
            self.archive.abandon(number)
            raise
        report.job = number
        report.read = [unit.source.name for unit in units]
        report.encodings = encodings_of(unit.source for unit in units)

    def _stage(
        self, units: list[Unit], number: int, part: Path, report: JobReport
    ) -> tuple[list[StagedSource], list[Removal]]:
        """The sources as they stand in `part`, and what their former versions had beside."""
        schema, archive = self.schema, self.archive
        staged = (self.how.stager or stage_here)(units, part, number, schema) if units else []
        stubs = {unit.place: unit.compiled.stubs for unit in units}
        with folder_beside(archive) as temporary, engine(temporary) as db:
            archived = archive.files(schema)
            staged = check_references(db, schema, part, number, staged, archived, stubs, self.stored_keys)
            files = files_of(part, number, staged, schema)
            report.repeated = repeats(db, schema, files)
            gone = removals(db, schema, units, staged, files, archived)
            copies = twins(staged, [source for source, _ in archive.versions().values()], schema)
            doubles = doubled(db, schema, files, archived, {copy.source for copy in copies})
        report.rows = sum(source.rows for source in staged)
        report.skipped = sum(source.skipped for source in staged)
        report.rejected = sum(source.rejected for source in staged)
        report.accepted = report.rows - report.skipped - report.rejected
        parts = [(source.name, source.rows, source.eventless, source.pieces) for source in staged]
        report.eventless, report.idle = eventless_rows(parts), idle_pieces(parts)
        report.late = sum(source.late for source in staged)
        report.warnings += [notice for source in staged for notice in source.notices]
        report.warnings += copies + doubles
        return staged, gone

    def _refuse(
        self, gone: list[Removal], rejects: Path | None, rejects_path: Path | None, report: JobReport
    ) -> None:
        """Raises InputError where too much is rejected or would go; the rejects are written before."""
        report.reasons = reasons(rejects)
        report.rejects_path = write_rejects(rejects, rejects_path)
        considered, most = report.rows - report.skipped, self.how.max_reject_share
        if rejects is not None and report.rejected > most * considered:
            raise too_many(rejects, report.rejected, considered, most, report.rejects_path)
        for removal in gone:
            if removal.above(self.how.max_removed_share):
                raise removal.refusal(self.how.max_removed_share)
        report.gone = sum(removal.gone for removal in gone)
