"""The archive: the accepted rows of every job, from which a store can be made again.

    ARCHIVE/archive.json            what it is, and the id that the journal of a store names
    ARCHIVE/jobs/000001/job.json    one job: its mapping, its sources with their hashes, its counts
    ARCHIVE/jobs/000001/rows/TYPE/  Parquet: the accepted rows of a type, a file for each source
    ARCHIVE/jobs/000001/rejects.parquet
    ARCHIVE/jobs/000002.part/       a job that is being read; worth nothing when its process has gone
    ARCHIVE/failures.jsonl          jobs that were refused
    ARCHIVE/outputs/                what runs and derivations wrote to the store: see `outputs`

A job's folder is renamed into its place when all its rows are in it: it is there as a whole, or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kgdistill.errors import DiskError, InputError, SchemaError, StoreLockedError
from kgdistill.ingest.idle import PieceRows
from kgdistill.ingest.model import Notice, TypeKey, types_by_name
from kgdistill.private import make_private, private_folder, private_tree
from kgdistill.store.schema import Schema

_ABOUT = "archive.json"
_PART = ".part"
_FAILURES = "failures.jsonl"


class StagedType(BaseModel):
    """What one source gave to one type.

    Attributes:
        rows: accepted rows.
        columns: the properties that have a value in any of them.
        ids: whether events carry ids.
        overlaps: whether events may stand in other sources too.
        deletes: whether rows remove something.
        latest: the latest event's time.
        files: names of the Parquet files below the type's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    columns: tuple[str, ...] = ()
    ids: bool = False
    overlaps: bool = False
    deletes: bool = False
    latest: datetime | None = None
    files: tuple[str, ...] = ()


class StagedSource(BaseModel):
    """One source of a job: a file in one version, and what became of its rows.

    Attributes:
        name: the mapping's name for it, a colon, and its path below the data's root.
        sha256: of its bytes.
        size: bytes.
        digest: of the part of the mapping that read it.
        rows: rows read; accepted, skipped and rejected ones together.
        skipped: rows that the mapping leaves out.
        rejected: rows that do not fit.
        eventless: of a source that makes events, other rows that make none.
        pieces: what each node, relationship and tree of the mapping makes, in their order.
        late: accepted event rows from before the latest event that was known before.
        types: by type, such as `Product` or `User-BOUGHT-Product`.
        notices: what was odd about rows that were accepted.
        plain_sha256: of its bytes without compression, where it is compressed; else empty.
        joined: of all that its rows found in joins; empty where there are none.
        seconds: how long reading took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    size: int
    digest: str
    rows: int
    skipped: int
    rejected: int
    eventless: int = 0
    pieces: tuple[PieceRows, ...] = ()
    late: int = 0
    types: dict[str, StagedType] = Field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    plain_sha256: str = ""
    joined: str = ""
    seconds: float = 0.0

    @property
    def content(self) -> str:
        """What is the same for two files that hold the same, whether compressed or not."""
        return self.plain_sha256 or self.sha256


class JobRecord(BaseModel):
    """One job as the archive keeps it; times are UTC, whatever zone its files meant.

    `aliases` are those of its mapping then: by label, other names and the keys that they stand for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    mapping: str
    time_zone: str = "UTC"
    started_at: datetime
    sealed_at: datetime
    sources: tuple[StagedSource, ...]
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)
    schema_: Schema = Field(alias="schema")

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(source.rows for source in self.sources)

    @property
    def skipped(self) -> int:
        """Rows that the mapping leaves out."""
        return sum(source.skipped for source in self.sources)

    @property
    def rejected(self) -> int:
        """Rows that do not fit."""
        return sum(source.rejected for source in self.sources)

    @property
    def accepted(self) -> int:
        """Rows that are in the graph."""
        return self.rows - self.skipped - self.rejected


class Failure(BaseModel):
    """A job that was refused; nothing of it is kept but this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    mapping: str
    started_at: datetime
    failed_at: datetime
    message: str


@dataclass(frozen=True)
class RowFile:
    """One Parquet file of the archive.

    Attributes:
        path: the file.
        key: the type of its rows.
        job: the job's number.
        source: the source's place in the job.
        name: the source's name.
        newest: the job that read the newest version of the source.
        staged: what it holds.
    """

    path: Path
    key: TypeKey
    job: int
    source: int
    name: str
    newest: int
    staged: StagedType

    @property
    def superseded(self) -> bool:
        """Whether a later job read another version of the source."""
        return self.newest != self.job


class Archive:
    """A folder of accepted rows. One job at a time writes to it.

    Args:
        folder: made where it does not exist.

    Raises:
        InputError: the folder holds something else, or an archive of another version.
        DiskError: it cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        about = self.folder / _ABOUT
        with disk_errors(self.folder):
            if not about.exists():
                if self.folder.exists() and not all(map(_begun, self.folder.iterdir())):
                    raise InputError(
                        f"holds other things, but no {_ABOUT}: not an archive",
                        where=str(self.folder),
                        hint="name a new or empty folder with --archive",
                    )
                private_folder(self.folder)
                private_folder(self.folder / "jobs")
                values = {"format": 1, "id": uuid.uuid4().hex, "created": _now().isoformat()}
                _write_text(about, json.dumps(values, indent=1) + "\n")
            try:
                values = json.loads(about.read_text(encoding="utf-8"))
                self.id = str(values["id"])
                known = values["format"] == 1
            except (ValueError, KeyError, TypeError) as error:
                raise InputError("is damaged", where=str(about), hint="restore it from a backup") from error
        if not known:
            raise InputError(
                f"is an archive of the format {values['format']}; this version reads 1", where=str(about)
            )
        self._records: dict[int, JobRecord] = {}

    @contextlib.contextmanager
    def lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Holds the archive for one job; the lock ends with the process.

        Raises:
            StoreLockedError: another job holds it, for longer than `wait_s` seconds.
        """
        with disk_errors(self.folder):
            file = open(self.folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115
            make_private(self.folder / "lock")
        try:
            _flock(file, self.folder, wait_s)
            # The process id helps people only: a full disk must not stand in the way.
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), str(os.getpid()).encode())
            yield
        finally:
            file.close()

    def numbers(self) -> list[int]:
        """The sealed jobs, in their order."""
        return sorted(int(p.name) for p in (self.folder / "jobs").iterdir() if p.name.isdigit())

    def unfinished(self) -> list[int]:
        """Jobs that were being read: under way, or left by a process that has gone."""
        found = (p.name[: -len(_PART)] for p in (self.folder / "jobs").iterdir() if p.name.endswith(_PART))
        return sorted(int(name) for name in found if name.isdigit())

    def job(self, number: int) -> JobRecord:
        """A sealed job.

        Raises:
            InputError: its record is damaged.
        """
        if number not in self._records:
            file = self._job_folder(number) / "job.json"
            try:
                self._records[number] = JobRecord.model_validate_json(file.read_bytes())
            except (OSError, ValidationError) as error:
                raise InputError(
                    "is missing or damaged", where=str(file), hint="restore it from a backup"
                ) from error
        return self._records[number]

    def jobs(self) -> list[JobRecord]:
        """Every sealed job, in their order."""
        return [self.job(number) for number in self.numbers()]

    def failures(self) -> list[Failure]:
        """The jobs that were refused, in their order."""
        file = self.folder / _FAILURES
        if not file.exists():
            return []
        found: list[Failure] = []
        for line in file.read_text(encoding="utf-8").splitlines():
            # A kill in the middle of writing leaves half a line.
            with contextlib.suppress(ValidationError):
                found.append(Failure.model_validate_json(line))
        return found

    def rejects(self, number: int) -> Path:
        """Where the rejected rows of a sealed job are; the file is missing where there were none."""
        return self._job_folder(number) / "rejects.parquet"

    def begin(self) -> tuple[int, Path]:
        """The next job's number and an empty folder for it; what unfinished jobs left is removed.

        To be called under `lock`.
        """
        with disk_errors(self.folder):
            left = self.unfinished()
            number = max([0, *self.numbers(), *left, *(f.number for f in self.failures())]) + 1
            for old in left:
                shutil.rmtree(self.part(old), ignore_errors=True)
            part = self.part(number)
            private_folder(part)
            private_folder(part / "rows")
        return number, part

    def seal(self, record: JobRecord) -> None:
        """Puts a job's folder in its place: from here on its rows are part of the graph."""
        part = self.part(record.number)
        with disk_errors(self.folder):
            _write_text(part / "job.json", record.model_dump_json(indent=1, by_alias=True) + "\n")
            private_tree(part)
            for path in part.rglob("*"):
                sync(path)
            os.replace(part, self._job_folder(record.number))
            sync(self.folder / "jobs")
        self._records[record.number] = record

    def abandon(self, number: int, failure: Failure | None = None) -> None:
        """Removes what a job has staged; keeps `failure` in the history."""
        shutil.rmtree(self.part(number), ignore_errors=True)
        if failure is not None:
            file = self.folder / _FAILURES
            with disk_errors(self.folder), file.open("a", encoding="utf-8") as stream:
                make_private(file)
                # On a line of its own, whatever a kill has left before it.
                stream.write("\n" * (stream.tell() > 0) + failure.model_dump_json())

    def versions(self) -> dict[str, tuple[StagedSource, int]]:
        """By name, the version of each source that counts, and the job that read it."""
        return {source.name: (source, record.number) for record in self.jobs() for source in record.sources}

    def schema(self) -> Schema:
        """Every type that any job's schema has; where they differ, as the last one says.

        Raises:
            InputError: there is no job.
        """
        records = self.jobs()
        if not records:
            raise InputError("holds no job yet", where=str(self.folder), hint="ingest something first")
        whole = records[-1].schema_
        for record in reversed(records[:-1]):
            if record.schema_ != whole:
                whole = whole.joined(record.schema_)
        return whole

    def files(self, schema: Schema, *, staged: JobRecord | None = None) -> list[RowFile]:
        """Every file of rows, those of `staged` (not yet sealed) too.

        Args:
            schema: types that it lacks are left out.
            staged: a job under way.
        """
        keys = types_by_name(schema)
        records = [*self.jobs(), *([staged] if staged is not None else [])]
        last = {source.name: record.number for record in records for source in record.sources}
        found: list[RowFile] = []
        for record in records:
            here = self._job_folder(record.number) if record is not staged else self.part(record.number)
            for place, source in enumerate(record.sources):
                for name, kept in source.types.items():
                    if name not in keys:
                        continue
                    newest = last[source.name]
                    for file in kept.files:
                        path = here / "rows" / name / file
                        found.append(
                            RowFile(path, keys[name], record.number, place, source.name, newest, kept)
                        )
        return found

    def part(self, number: int) -> Path:
        """Where a job is staged."""
        return self.folder / "jobs" / f"{number:06d}{_PART}"

    def _job_folder(self, number: int) -> Path:
        return self.folder / "jobs" / f"{number:06d}"


def _begun(path: Path) -> bool:
    """Whether it is what a kill or a full disk may leave of an archive's beginning."""
    return path.name == f"{_ABOUT}.new" or (path.name == "jobs" and not any(path.iterdir()))


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """A full disk, or one that refuses, as one clear error."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"cannot be written: {error.strerror or error}",
            where=str(error.filename or where),
            hint="free some space, or name another folder, and run the same command again",
        ) from error


def _flock(file: IO[str], folder: Path, wait_s: float) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: the store's own lock has to do
        return
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if time.monotonic() < end:
                time.sleep(min(0.2, wait_s))
                continue
            file.seek(0)
            owner = file.read().strip() or "another"
            raise StoreLockedError(
                f"the job of process {owner} is using this archive",
                where=str(folder),
                hint="wait until it is done, or wait here with --wait SECONDS",
            ) from error


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".new")
    part.write_text(text, encoding="utf-8")
    make_private(part)
    os.replace(part, path)


def sync(path: Path) -> None:
    """Brings a file or folder from the system's memory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


def utc_now() -> datetime:
    """The time in UTC, without a zone, as the records keep it."""
    return _now()


def job_schema(folder: Path, own: Schema) -> Schema:
    """The schema of the former jobs in the archive `folder`, with what `own` adds."""
    if not (folder / _ABOUT).is_file():
        return own
    former = Archive(folder)
    if not former.numbers():
        return own
    kept = former.schema()
    try:
        return kept.joined(own)
    except SchemaError:
        return kept


def default_archive(url: str) -> Path:
    """Where a store's archive is unless somebody says otherwise.

    Beside an embedded store: `ladybug:shop.db` has `shop.db.archive`; for a server, in the working folder.
    """
    kind, _, rest = url.partition(":")
    if kind == "ladybug":
        path = Path(rest).expanduser()
        return path.with_name(path.name + ".archive")
    place = "".join(c if c.isalnum() or c in ".-" else "-" for c in rest.strip("/")) or "memory"
    return Path(f"kgdistill-{place}.archive")
