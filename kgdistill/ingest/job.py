"""Ingestion jobs: sources, by a mapping, into the archive and from there into a store."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.errors import InputError, KgdistillError
from kgdistill.ingest._fold import engine
from kgdistill.ingest._model import REJECT_SCHEMA
from kgdistill.ingest._references import check_references
from kgdistill.ingest._stage import Unit, stage
from kgdistill.ingest.archive import (
    Archive,
    Failure,
    JobRecord,
    StagedSource,
    disk_errors,
    utc_now,
)
from kgdistill.ingest.mapping import CompiledSource, Mapping
from kgdistill.ingest.projection import (
    Applied,
    Writer,
    apply,
    check_same_archive,
    folder_beside,
    pending,
)
from kgdistill.ingest.readers import Source, find_sources, fingerprint, table_source
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema

Stager = Callable[[list[Unit], Path, int, Schema], list[StagedSource]]
"""Stages every unit; the single process is `stage_here`, another engine gives its own."""


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
        late: accepted events from before the latest one that was known before.
        reasons: (reason, column, rows) of the rejected ones, the most frequent first.
        rejects_path: where they were written; None where there are none.
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
    late: int = 0
    reasons: list[tuple[str, str, int]] = field(default_factory=list)
    rejects_path: Path | None = None
    applied: Applied = field(default_factory=Applied)
    read_seconds: float = 0.0
    apply_seconds: float = 0.0


def run_job(
    store: GraphStore,
    mapping: Mapping,
    root: str | Path,
    *,
    archive: str | Path,
    schema: Schema,
    tables: AnyMapping[str, pa.Table | Path] | None = None,
    salt: bytes | None = None,
    rejects_path: str | Path | None = None,
    max_reject_share: float = 0.01,
    since: datetime | None = None,
    stager: Stager | None = None,
    writer: Writer | None = None,
    wait_s: float = 0.0,
    threads: int = 2,
) -> JobReport:
    """Reads the sources that are new or changed and brings the store up to date.

    A job that was stopped anywhere leaves the store as it was, or in a state that the same call, or
    `resume`, completes. Reading nothing new still applies what an earlier job left.

    Args:
        store: an open store.
        mapping: what the columns are in the graph.
        root: the folder below which the mapping's files are.
        archive: the folder of accepted rows; one for each store.
        schema: the graph's schema.
        tables: by the mapping's source name, a table or a file instead of the files below `root`.
        salt: for values that are hashed.
        rejects_path: where rows that do not fit are written, .csv or .parquet.
        max_reject_share: from 0 to 1; with more rejected rows, the job is refused and nothing is changed.
        since: events before it are skipped; None for all.
        stager: how the sources are read; None: in this process.
        writer: what writes to the store in place of its own methods; None: these.
        wait_s: how long to wait for another job.
        threads: for folding.

    Raises:
        InputError: a source cannot be read, or too many of its rows are rejected.
        StoreLockedError: another job is at work.
        DiskError, StoreError, SchemaError: nothing that was stored is lost; the same call goes on.
    """
    if not 0 <= max_reject_share <= 1:
        raise InputError(f"max_reject_share is {max_reject_share}, not between 0 and 1")
    wanted = _rejects_target(rejects_path)
    place = archive if isinstance(archive, Archive) else Archive(archive)
    start = time.monotonic()
    with place.lock(wait_s):
        check_same_archive(store, place)
        compiled = mapping.compile(schema, salt=salt)
        report = JobReport("unchanged", place.folder)
        units = _plan(place, compiled, Path(root), tables or {}, since, report)
        if units:
            _read(
                store, mapping, schema, place, units, stager or stage_here, max_reject_share, wanted, report
            )
        report.read_seconds = time.monotonic() - start
        _apply(store, place, report, wait_s, threads, writer)
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
        _apply(store, archive, report, wait_s, threads, writer)
    return report


def stage_here(units: list[Unit], part: Path, job: int, schema: Schema) -> list[StagedSource]:
    """Stages the sources one after the other in this process."""
    with step("reading", total=sum(unit.size for unit in units)) as progress:
        staged: list[StagedSource] = []
        for unit in units:
            progress.note(unit.source.name)
            staged.append(stage(unit, part, job, schema, progress.advance))
        return staged


def _apply(
    store: GraphStore,
    archive: Archive,
    report: JobReport,
    wait_s: float,
    threads: int,
    writer: Writer | None,
) -> None:
    start = time.monotonic()
    if archive.numbers() and pending(store, archive):
        report.applied = apply(store, archive, wait_s=wait_s, threads=threads, writer=writer)
        report.state = "done"
    report.apply_seconds = time.monotonic() - start


def _plan(
    archive: Archive,
    compiled: AnyMapping[str, CompiledSource],
    root: Path,
    tables: AnyMapping[str, pa.Table | Path],
    since: datetime | None,
    report: JobReport,
) -> list[Unit]:
    """The sources that are new, or are not as they were."""
    unknown = [name for name in tables if name not in compiled]
    if unknown:
        known = ", ".join(compiled)
        raise InputError(f"the mapping has no source {unknown[0]!r}", hint=f"its sources: {known}")
    known_before = archive.versions()
    after = _latest(archive)
    units: list[Unit] = []
    for name, item in compiled.items():
        for source in _sources(name, item, root, tables.get(name)):
            mark = fingerprint(source)
            former = known_before.get(source.name)
            if former is not None and (former[0].sha256, former[0].digest) == (mark.sha256, item.digest):
                report.unchanged += 1
                continue
            units.append(Unit(len(units), source, item, mark.sha256, mark.size, after, since))
    return units


def _sources(name: str, item: CompiledSource, root: Path, given: pa.Table | Path | None) -> list[Source]:
    # What Python gives is known by the mapping's name alone: the next table given for it is its next version.
    if isinstance(given, pa.Table):
        return [table_source(name, given)]
    if given is not None:
        found = find_sources(name, [given.name], given.parent, item.options, optional=item.optional)
        return [replace(source, name=name) for source in found]
    if not item.patterns:
        raise InputError(
            f"the source {name!r} names no files, and no table was given for it",
            hint="add `files:` to the mapping",
        )
    return find_sources(name, list(item.patterns), root, item.options, optional=item.optional)


def _latest(archive: Archive) -> dict[str, datetime]:
    """By type, the latest event that the archive has."""
    latest: dict[str, datetime] = {}
    for record in archive.jobs():
        for source in record.sources:
            for name, staged in source.types.items():
                if staged.latest is not None:
                    latest[name] = max(staged.latest, latest.get(name, staged.latest))
    return latest


def _read(
    store: GraphStore,
    mapping: Mapping,
    schema: Schema,
    archive: Archive,
    units: list[Unit],
    stager: Stager,
    max_reject_share: float,
    rejects_path: Path | None,
    report: JobReport,
) -> None:
    started = utc_now()
    number, part = archive.begin()
    try:
        staged = stager(units, part, number, schema)
        with folder_beside(archive) as temporary, engine(temporary) as db:
            staged = check_references(
                db,
                schema,
                part,
                number,
                staged,
                archive.files(schema),
                {unit.place: unit.compiled.stubs for unit in units},
                lambda label: _stored_keys(store, schema, label),
            )
        _count(report, staged)
        rejects = _join_rejects(part)
        report.reasons = _reasons(rejects)
        report.rejects_path = _write_rejects(rejects, rejects_path)
        considered = report.rows - report.skipped
        if report.rejected > max_reject_share * considered:
            raise _too_many(rejects, report, considered, max_reject_share)
        shutil.rmtree(part / "rejects", ignore_errors=True)
        archive.seal(
            JobRecord(
                number=number,
                mapping=mapping.name,
                started_at=started,
                sealed_at=utc_now(),
                sources=tuple(staged),
                schema=schema,
            )
        )
    except KgdistillError as error:
        with contextlib.suppress(KgdistillError):
            message = str(error).splitlines()[0][:500]
            failure = Failure(
                number=number,
                mapping=mapping.name,
                started_at=started,
                failed_at=utc_now(),
                message=message,
            )
            archive.abandon(number, failure)
        raise
    except BaseException:
        archive.abandon(number)
        raise
    report.job = number
    report.read = [unit.source.name for unit in units]


def _count(report: JobReport, staged: list[StagedSource]) -> None:
    report.rows = sum(source.rows for source in staged)
    report.skipped = sum(source.skipped for source in staged)
    report.rejected = sum(source.rejected for source in staged)
    report.accepted = report.rows - report.skipped - report.rejected
    report.late = sum(source.late for source in staged)


def _stored_keys(store: GraphStore, schema: Schema, label: str) -> pa.Array:
    with contextlib.suppress(KgdistillError):
        return store.read_nodes(label, []).column(0).combine_chunks()
    return pa.array([], pa.string())


def _too_many(rejects: Path | None, report: JobReport, considered: int, share: float) -> InputError:
    first = next(_rows_of(rejects)) if rejects is not None else {}
    column = f", column {first['column']}" if first.get("column") else ""
    return InputError(
        f"{report.rejected:,} of {considered:,} rows do not fit, more than the allowed {share:.2%}; "
        f"the first: line {first.get('line')}{column}: {first.get('value')!r} {first.get('reason')}",
        where=str(first.get("source", "")),
        hint=f"nothing was changed; see {report.rejects_path}"
        if report.rejects_path
        else "nothing was changed; name a file with --rejects to see them all",
    )


def _rows_of(path: Path) -> Iterator[dict[str, object]]:
    for batch in pq.ParquetFile(path).iter_batches(1024):
        yield from batch.to_pylist()


def _join_rejects(part: Path) -> Path | None:
    """The rejects of all sources as one file, in the order of the sources."""
    files = sorted((part / "rejects").glob("*.parquet"))
    if not files:
        return None
    whole = part / "rejects.parquet"
    with disk_errors(part), pq.ParquetWriter(whole, REJECT_SCHEMA, compression="zstd") as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(65_536):
                writer.write_batch(batch)
    return whole


def _reasons(rejects: Path | None) -> list[tuple[str, str, int]]:
    if rejects is None:
        return []
    counts: dict[tuple[str, str], int] = {}
    for batch in pq.ParquetFile(rejects).iter_batches(65_536, columns=["reason", "column"]):
        grouped = pa.Table.from_batches([batch]).group_by(["reason", "column"]).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            key = (row["reason"], row["column"] or "")
            counts[key] = counts.get(key, 0) + row["count_all"]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, column, count) for (reason, column), count in ordered]


def _rejects_target(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    target = Path(path)
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"rejects cannot be written as {target.suffix!r}", where=str(target), hint=".csv or .parquet"
        )
    return target


def _write_rejects(rejects: Path | None, path: Path | None) -> Path | None:
    """Writes them for the user; a former file is replaced, or removed where there are none."""
    if path is None:
        return None
    with disk_errors(path):
        if rejects is None:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        if path.suffix.lower() == ".parquet":
            shutil.copyfile(rejects, part)
        else:
            with pacsv.CSVWriter(part, REJECT_SCHEMA) as writer:
                for batch in pq.ParquetFile(rejects).iter_batches(65_536):
                    writer.write_batch(batch)
        os.replace(part, path)
    return path
