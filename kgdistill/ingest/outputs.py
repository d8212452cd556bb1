"""What runs and derivations wrote to a store, in its archive: ingested rows alone do not make it again.

    ARCHIVE/outputs/000001/output.json    whose it is, and its files with their hashes
    ARCHIVE/outputs/000001/TYPE.parquet   the rows of a type
    ARCHIVE/outputs/000002.part/          being written; worth nothing when its process has gone

A folder is renamed into its place when all is in it. Of one run, or one derived type, the highest number
counts; the former one is removed after that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from kgdistill.errors import InputError
from kgdistill.ingest.archive import Archive, disk_errors, sync, utc_now
from kgdistill.ingest.model import TypeKey, type_name, types_by_name
from kgdistill.private import private_folder, private_tree
from kgdistill.store.schema import Schema, load_schema

_PART = ".part"
_RECORD = "output.json"

Kind = Literal["run", "derived"]


class OutputFile(BaseModel):
    """The rows of one type: the type's name, how many, and the SHA-256 of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    rows: int
    sha256: str


class OutputRecord(BaseModel):
    """What one run wrote back, or one derivation made; the time is UTC.

    Attributes:
        number: its folder's; of one kind and name the highest counts.
        kind: `run` for what carries a run's name; `derived` for all of a type.
        name: the run's, or the type's.
        written_at: when.
        files: a file for each type.
        declared: those types, where a job's schema need not have them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    kind: Kind
    name: str
    written_at: datetime
    files: tuple[OutputFile, ...]
    declared: Schema | None = None


class Outputs:
    """The outputs in an archive.

    Args:
        archive: an archive.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._folder = archive.folder / "outputs"

    def records(self) -> list[OutputRecord]:
        """The outputs that count, in the order in which they were written.

        Raises:
            InputError: a record is damaged.
        """
        newest = {(record.kind, record.name): record for record in map(self._record, self._numbers())}
        return sorted(newest.values(), key=lambda record: record.number)

    def table(self, record: OutputRecord, file: OutputFile) -> pa.Table:
        """The rows of a file.

        Raises:
            InputError: it is missing, or not as it was written.
        """
        path = self._folder / f"{record.number:06d}" / f"{file.type}.parquet"
        try:
            if _hash(path) == file.sha256:
                return pq.read_table(path, memory_map=False)
            reason = "is damaged"
        except (OSError, pa.ArrowException) as error:
            reason = f"cannot be read: {error}"
        again = "write the run back" if record.kind == "run" else "derive it"
        raise InputError(reason, where=str(path), hint=f"restore it from a backup, or {again} again")

    @contextlib.contextmanager
    def keep(
        self,
        kind: Kind,
        name: str,
        tables: Mapping[TypeKey, pa.Table],
        *,
        schema: Schema | None = None,
        wait_s: float = 0.0,
    ) -> Iterator[None]:
        """Keeps what the block writes to the store: staged before it, put in place right after it.

        Where the block raises, the former output stays. Holds the archive's lock.

        Args:
            kind, name: whose it is.
            tables: all that it is, by type.
            schema: has these types, where the archive's own need not.
            wait_s: how long to wait for a job.

        Raises:
            StoreLockedError: a job holds the archive.
            DiskError: it cannot be written; the block is not run.
        """
        with self._archive.lock(wait_s):
            declared = None if schema is None else _part_of(schema, tables)
            part, record = self._stage(kind, name, tables, declared)
            try:
                yield
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            self._seal(part, record)

    def drop(self, kind: Kind, name: str) -> bool:
        """Removes an output; whether there was one. The caller holds the archive's lock.

        Raises:
            DiskError: it cannot be removed.
        """
        found = self._of(kind, name)
        self._remove(found)
        return bool(found)

    def _stage(
        self, kind: Kind, name: str, tables: Mapping[TypeKey, pa.Table], declared: Schema | None
    ) -> tuple[Path, OutputRecord]:
        with disk_errors(self._folder):
            private_folder(self._folder)
            for left in self._folder.glob(f"*{_PART}"):
                shutil.rmtree(left, ignore_errors=True)
            number = max([0, *self._numbers()]) + 1
            part = self._folder / f"{number:06d}{_PART}"
            part.mkdir(mode=0o700)
            files: list[OutputFile] = []
            for key, table in tables.items():
                path = part / f"{type_name(key)}.parquet"
                pq.write_table(table, path, compression="zstd")
                files.append(OutputFile(type=type_name(key), rows=table.num_rows, sha256=_hash(path)))
            record = OutputRecord(
                number=number,
                kind=kind,
                name=name,
                written_at=utc_now(),
                files=tuple(files),
                declared=declared,
            )
            (part / _RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
            private_tree(part)
            for path in part.iterdir():
                sync(path)
        return part, record

    def _seal(self, part: Path, record: OutputRecord) -> None:
        former = self._of(record.kind, record.name)
        with disk_errors(self._folder):
            os.replace(part, self._folder / f"{record.number:06d}")
            sync(self._folder)
        self._remove(former)

    def _of(self, kind: Kind, name: str) -> list[OutputRecord]:
        return [held for held in map(self._record, self._numbers()) if (held.kind, held.name) == (kind, name)]

    def _remove(self, records: list[OutputRecord]) -> None:
        with disk_errors(self._folder):
            for old in records:
                gone = self._folder / f"{old.number:06d}{_PART}"
                os.replace(self._folder / f"{old.number:06d}", gone)
                shutil.rmtree(gone, ignore_errors=True)

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())

    def _record(self, number: int) -> OutputRecord:
        file = self._folder / f"{number:06d}" / _RECORD
        try:
            return OutputRecord.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(
                "is missing or damaged", where=str(file), hint="restore it from a backup"
            ) from error


def of_run(schema: Schema, key: TypeKey, run: str) -> dict[str, str]:
    """What tells a run's rows of a type from those of others: as `replace` of a write takes it."""
    if isinstance(key, str) and "run" not in schema.node(key).properties:
        return {schema.node(key).key: run}
    return {"run": run}


def _part_of(schema: Schema, keys: Iterable[TypeKey]) -> Schema:
    """These types alone, with the labels that they lead between."""
    edges = [key for key in keys if not isinstance(key, str)]
    labels = {key for key in keys if isinstance(key, str)} | {end for edge in edges for end in edge[::2]}
    part = schema.restricted(labels, {edge[1] for edge in edges})
    ends = {name: tuple((e[0], e[2]) for e in edges if e[1] == name) for name in part.relationships}
    kept = {n: rel.model_copy(update={"endpoints": ends[n]}) for n, rel in part.relationships.items()}
    return part.model_copy(update={"relationships": kept})


def with_outputs(schema: Schema, records: list[OutputRecord]) -> Schema:
    """`schema` with the types of outputs that it lacks, as these or the project's own schema declare them.

    Raises:
        SchemaError: it contradicts them.
        InputError: an output is of a type that none of these has.
    """
    for record in records:
        if record.declared is not None:
            schema = schema.joined(record.declared)
    names = {file.type for record in records for file in record.files} - types_by_name(schema).keys()
    if not names:
        return schema
    own = load_schema()
    known = types_by_name(own)
    for name in sorted(names - known.keys()):
        raise InputError(f"the archive has an output of the type {name}, which no schema of its jobs has")
    keys = [known[name] for name in names]
    edges = [key for key in keys if not isinstance(key, str)]
    labels = {key for key in keys if isinstance(key, str)} | {end for edge in edges for end in edge[::2]}
    nodes = {label: schema.nodes.get(label, own.nodes[label]) for label in labels}
    part = own.restricted(labels, {edge[1] for edge in edges}).relationships
    return schema.joined(Schema(version=1, nodes=nodes, relationships=part))


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(2**20):
            found.update(piece)
    return found.hexdigest()
