"""The archive's rows in a store: applied, made anew, compared."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError, SchemaError, StoreError
from kgdistill.ingest.aliases import Merged, in_force
from kgdistill.ingest.archive import Archive, disk_errors, utc_now
from kgdistill.ingest.fold import Fold
from kgdistill.ingest.journal import Journal, with_journal
from kgdistill.ingest.model import TypeKey, type_name, types_by_name
from kgdistill.ingest.outputs import Outputs, of_run, with_outputs
from kgdistill.ingest.sql import engine
from kgdistill.progress import step
from kgdistill.store.ladybug.store import LadybugStore
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema

# Rows on the way to a store at a time: the embedded store looks at a whole table for each write.
WRITE_ROWS = 1_000_000
_WRITING = "writing the graph"
MINED = "mined"
"""The `origin` of what texts alone say."""

Writer = Callable[[TypeKey, Path], int]
"""Upserts the rows of a Parquet file in the store and returns how many; null clears. See `ray_engine`."""


@dataclass
class Applied:
    """What was written to a store.

    Attributes:
        jobs: the jobs whose rows it now holds, that it did not hold before.
        written: by type, nodes and relationships written.
        removed: by type, those removed.
        merged: by label, what aliases make one in it.
    """

    jobs: list[int] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    merged: dict[str, Merged] = field(default_factory=dict)


def pending(store: GraphStore, archive: Archive) -> list[int]:
    """The sealed jobs whose rows the store does not hold yet."""
    done = Journal(store).done(archive)
    return [number for number in archive.numbers() if number not in done]


def apply(
    store: GraphStore,
    archive: Archive,
    *,
    wait_s: float = 0.0,
    threads: int = 2,
    writer: Writer | None = None,
) -> Applied:
    """Writes to the store what the jobs that it does not hold yet change. Again after a kill: the same graph.

    A store that holds none of them gets the archive's outputs too.

    Args:
        store: an open store.
        archive: whose lock the caller holds.
        wait_s: how long to wait for another writer.
        threads: for folding.
        writer: what writes the rows in place of the store's own methods; None: these.

    Raises:
        StoreLockedError: another job writes to the store.
        StoreError, SchemaError, DiskError: from the store; the same call goes on later.
    """
    check_same_archive(store, archive)
    result = Applied(jobs=pending(store, archive))
    if not result.jobs:
        return result
    journal = Journal(store)
    first = len(result.jobs) == len(archive.numbers())
    schema = with_outputs(archive.schema(), Outputs(archive).records() if first else [])
    records = [archive.job(number) for number in result.jobs]
    with folder_beside(archive) as temporary, engine(temporary, threads=threads) as db:
        aliases = in_force(archive.jobs())
        former = in_force(record for record in archive.jobs() if record.number not in result.jobs)
        jobs = None if first else frozenset(result.jobs)
        fold = Fold(db, schema, archive.files(schema), jobs, aliases, former)
        result.merged = fold.renames.merged()
        with store.changes(wait_s=wait_s):
            # Another archive's job may have been the one that was waited for.
            check_same_archive(store, archive)
            store.apply_schema(with_journal(schema))
            journal.write(archive, records, "applying")
            _write(store, fold, temporary, first, result, writer)
            if first:
                _restore_outputs(store, archive, schema, result)
            journal.write(archive, records, "done")
    return result


def kept_by(store: GraphStore, archive: str | Path | None) -> Archive | None:
    """The archive that keeps what is written to a store.

    Args:
        store: an open store.
        archive: its folder, or None for the one that the store's journal names.

    Returns:
        None where the journal names none, or one that is not there any more.

    Raises:
        InputError: there is no archive in `archive`.
        StoreError: it is another store's.
    """
    folder = Path(archive) if archive is not None else None
    if folder is None:
        named = [Path(entry["archive"]) for entry in Journal(store).entries() if entry["archive"]]
        if not named or not (named[-1] / "archive.json").is_file():
            return None
        folder = named[-1]
    elif not (folder / "archive.json").is_file():
        raise InputError(
            "there is no archive here", where=str(folder), hint="name the store's own; a first job makes one"
        )
    place = Archive(folder)
    check_same_archive(store, place)
    return place


def check_same_archive(store: GraphStore, archive: Archive) -> None:
    """Refuses to mix two archives in one store: counts would be those of the second alone.

    Raises:
        StoreError: the store's journal names another archive.
    """
    others = {
        e["archive_id"]: e["archive"] for e in Journal(store).entries() if e["archive_id"] != archive.id
    }
    if others:
        raise StoreError(
            f"was filled from the archive {next(iter(others.values()))}, not from {archive.folder}",
            where=store.url,
            hint="name that archive with --archive, or take an empty store",
        )


@contextlib.contextmanager
def folder_beside(archive: Archive) -> Iterator[Path]:
    """A temporary folder on the archive's disk."""
    with disk_errors(archive.folder):
        folder = Path(tempfile.mkdtemp(prefix="tmp-", dir=archive.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    store: GraphStore,
    fold: Fold,
    temporary: Path,
    first: bool,
    result: Applied,
    writer: Writer | None,
    title: str = _WRITING,
) -> None:
    keys = fold.types()
    labels = [key for key in keys if isinstance(key, str)]
    with step(title, total=len(keys)) as progress:
        for key in keys:
            progress.note(type_name(key))
            fresh = first and holds_nothing(store, key)
            if not fresh and not isinstance(key, str) and fold.can_remove(key):
                _remove(store, fold, key, result)
            if writer is not None or fresh:
                written = _load(writer or store.load, fold, key, temporary)
            else:
                written = sum(_upsert(store, key, table) for table in fold.batches(key, WRITE_ROWS))
            result.written[type_name(key)] = written
            progress.advance()
        for label in labels:
            if fold.can_remove(label) and not (first and result.written[label] == 0):
                _remove(store, fold, label, result)


def _load(load: Writer, fold: Fold, key: TypeKey, temporary: Path) -> int:
    path = temporary / "load.parquet"
    rows = fold.write(key, path)
    try:
        if rows:
            load(key, path)
    finally:
        path.unlink(missing_ok=True)
    return rows


def _upsert(store: GraphStore, key: TypeKey, table: pa.Table) -> int:
    if isinstance(key, str):
        return store.write_nodes(key, table, clear_nulls=True)
    return store.write_relationships(key, table, clear_nulls=True)


def _remove(store: GraphStore, fold: Fold, key: TypeKey, result: Applied) -> None:
    count = 0
    for table in fold.removed(key, WRITE_ROWS):
        if isinstance(key, str):
            count += store.delete_nodes(key, table.column(0))
        else:
            count += store.delete_relationships(key, table)
    if count:
        result.removed[type_name(key)] = count


def holds_nothing(store: GraphStore, key: TypeKey) -> bool:
    """Whether the store holds no node or relationship of a type."""
    try:
        if isinstance(key, str):
            return int(store.read_nodes(key, []).num_rows) == 0
        return int(store.read_relationships(key, []).num_rows) == 0
    except SchemaError:
        return True


def rebuild(
    store: GraphStore,
    archive: Archive,
    *,
    wait_s: float = 0.0,
    threads: int = 2,
    writer: Writer | None = None,
    title: str = _WRITING,
) -> Applied:
    """Makes the store hold exactly what the archive says, of the archive's types; others are left alone.

    Nodes and relationships that the archive does not know are removed. What runs wrote back and what was
    derived comes back too, where its ends still are; of a run that the archive does not know it stays.

    Args:
        store: an open store, empty or not.
        archive: whose lock the caller holds.
        wait_s: how long to wait for another writer.
        threads: for folding.
        writer: what writes the rows in place of the store's own methods; None: these.
        title: shown while it runs.

    Raises:
        InputError: the archive holds no job.
        StoreError, SchemaError, DiskError: from the store; the same call goes on later.
    """
    schema = with_outputs(archive.schema(), Outputs(archive).records())
    result = Applied(jobs=archive.numbers())
    records = archive.jobs()
    with folder_beside(archive) as temporary, engine(temporary, threads=threads) as db:
        fold = Fold(db, schema, archive.files(schema), aliases=in_force(records))
        with store.changes(wait_s=wait_s):
            store.apply_schema(with_journal(schema))
            for key in reversed(fold.types()):
                _remove_strangers(store, fold, key, result)
            _write(store, fold, temporary, True, result, writer, title)
            _restore_outputs(store, archive, schema, result)
            Journal(store).write(archive, records, "done")
    return result


def _restore_outputs(store: GraphStore, archive: Archive, schema: Schema, result: Applied) -> None:
    outputs, keys = Outputs(archive), types_by_name(schema)
    for record in outputs.records():
        for file in record.files:
            key, table = keys[file.type], outputs.table(record, file)
            if isinstance(key, str) and record.kind == "derived":
                count = store.write_nodes(key, table)
            elif isinstance(key, str):
                mine = of_run(schema, key, record.name)
                with store.reindexed(key, mine):
                    count = store.write_nodes(key, table, replace=mine, clear_nulls=True)
            elif record.kind == "run":
                count = store.write_relationships(key, _held(store, key, table), replace={"run": record.name})
            else:
                ends = ["source", "target"]
                held = derived_rows(store, key)
                gone = held.join(table.select(ends), ends, join_type="left anti")
                if gone.num_rows:
                    store.delete_relationships(key, gone)
                count = store.write_relationships(key, _held(store, key, table))
            result.written[file.type] = result.written.get(file.type, 0) + count


def derived_rows(store: GraphStore, edge: EdgeType, columns: Sequence[str] = ()) -> pa.Table:
    """What a store holds of a type that was derived: all of it, or what its `origin` says was mined."""
    if "origin" not in store.schema.relationship(edge).properties:
        return store.read_relationships(edge, list(columns))
    held = store.read_relationships(edge, list(dict.fromkeys([*columns, "origin"])))
    mined = held.filter(pc.fill_null(pc.equal(held["origin"], MINED), False))
    return mined.select(["source", "target", *columns])


def _held(store: GraphStore, edge: EdgeType, table: pa.Table) -> pa.Table:
    """The rows whose ends the store holds: with a node went its relationships."""
    for side, label in (("source", edge[0]), ("target", edge[2])):
        keys = store.read_nodes(label, []).column(0).combine_chunks()
        table = table.filter(pc.is_in(table[side], value_set=keys))
    return table


def _remove_strangers(store: GraphStore, fold: Fold, key: TypeKey, result: Applied) -> None:
    if isinstance(key, str):
        held = store.read_nodes(key, [])
    else:
        identity = fold.identity(key)
        held = store.read_relationships(key, identity[2:])
    strange = fold.strangers(key, held)
    if not strange.num_rows:
        return
    if isinstance(key, str):
        removed = store.delete_nodes(key, strange.column(0))
    else:
        removed = store.delete_relationships(key, strange)
    result.removed[type_name(key)] = removed


def put_aside(url: str) -> Path | None:
    """Renames the folder of an embedded store that cannot be opened; None where there is none.

    Returns:
        Where it is now.
    """
    kind, _, rest = url.partition(":")
    folder = Path(rest).expanduser()
    if kind != "ladybug" or not (folder / "graph.lbug").exists():
        return None
    aside = folder.with_name(f"{folder.name}.damaged-{utc_now():%Y%m%dT%H%M%S}")
    with disk_errors(folder):
        os.replace(folder, aside)
    return aside


@dataclass(frozen=True)
class ArchivedGraph:
    """An archive's graph in memory, with the types that its jobs gave.

    Attributes:
        store: holds them.
        schema: those types, and those of its outputs, alone.
    """

    store: GraphStore
    schema: Schema


@contextlib.contextmanager
def archived_types(archive: Archive) -> Iterator[ArchivedGraph]:
    """The graph that an archive makes, outputs too, to be compared with a store. To be called under its lock.

    Raises:
        InputError: the archive holds no job.
    """
    outputs = Outputs(archive).records()
    whole = with_outputs(archive.schema(), outputs)
    names = types_by_name(whole)
    keys = {file.key for file in archive.files(whole)}
    keys |= {names[file.type] for record in outputs for file in record.files}
    labels = {key for key in keys if isinstance(key, str)}
    labels |= {label for key in keys if not isinstance(key, str) for label in (key[0], key[2])}
    schema = whole.restricted(labels, {key[1] for key in keys if not isinstance(key, str)})
    with folder_beside(archive) as folder, LadybugStore(folder / "graph") as store:
        rebuild(store, archive, title="making the archive's graph, to compare")
        yield ArchivedGraph(store, schema)
