"""The embedded database behind a `LadybugStore`: one per path and process, locked, errors made clear."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import ladybug
import pyarrow as pa

from kgdistill.errors import DiskError, KgdistillError, QueryError, StoreError, StoreLockedError
from kgdistill.store._ladybug_process import QueryProcess
from kgdistill.store._ladybug_reader import RefusedError, run_read_only
from kgdistill.store.schema import Schema

_FILE = "graph.lbug"
_LOCK = "lock"
_engines: dict[Path, Engine] = {}
_engines_lock = threading.Lock()


def acquire(folder: Path | None) -> Engine:
    """The engine of `folder`, shared by every store of this process; a fresh one in memory for None.

    Raises:
        StoreLockedError: another process holds the folder.
        StoreError: the folder is no store, or its file cannot be read.
    """
    if folder is None:
        return Engine(None)
    path = folder.expanduser().absolute()
    with _engines_lock:
        # A second read-write Database on one path in one process loses commits: share the first.
        engine = _engines.get(path)
        if engine is None:
            engine = _engines[path] = Engine(path)
        else:
            engine.users += 1
        return engine


def release(engine: Engine) -> None:
    """Gives back what `acquire` gave; the last user closes the file."""
    with _engines_lock:
        engine.users -= 1
        if engine.users == 0:
            if engine.folder is not None:
                _engines.pop(engine.folder, None)
            engine.close()


def rows(connection: Any, cypher: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """Runs one statement and frees its result before the connection can go away."""
    result = connection.execute(cypher, dict(parameters or {}))
    try:
        return result.get_as_arrow(-1)
    finally:
        result.close()


def translate(error: Exception, where: str) -> KgdistillError:
    """What Ladybug said, as one clear error."""
    text = str(error)
    low = text.lower()
    if any(words in low for words in ("no space left", "cannot write to file", "file too large")):
        # Even where the engine says that it committed, the write has been seen missing after reopening.
        return DiskError(
            "the disk is full or cannot be written; the write is not complete, earlier ones are kept",
            where=where,
            hint="free some space and run the same command again",
        )
    if "could not set lock" in low:
        return _locked(where, "another process")
    if "buffer pool is full" in low or "buffer manager" in low or "bad_alloc" in low:
        return StoreError(f"not enough memory: {text}", where=where, hint="write or read in smaller parts")
    return StoreError(text, where=where)


class Engine:
    """A Ladybug database and the lock on its folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.users = 1
        self.stored = Schema(version=1, nodes={}, relationships={})
        self.where = "memory:" if folder is None else f"ladybug:{folder}"
        self._lock = threading.RLock()
        self._database: Any = None
        self._lock_file: IO[str] | None = None
        self._reader = None if folder is None else QueryProcess(folder / _FILE, self.where)
        if folder is not None:
            _check_folder(folder, self.where)
            self._lock_file = _lock_folder(folder, self.where)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the database and gives the folder free."""
        with self._lock:
            if self._reader is not None:
                self._reader.stop()
            self._close_database()
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """A read-write connection; Ladybug's errors come out as ours.

        A new one each time: a connection keeps every prepared statement, and running a kept COPY a second
        time crashes the engine.
        """
        with self._lock:
            self._open()
            try:
                connection = ladybug.Connection(self._database)
                try:
                    yield connection
                finally:
                    connection.close()
            except RuntimeError as error:
                raise translate(error, self.where) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A connection inside one write transaction: all of the block is kept, or nothing."""
        with self.connection() as connection:
            rows(connection, "BEGIN TRANSACTION")
            try:
                yield connection
            except BaseException:
                # The engine has already rolled back where one of its own statements failed.
                with contextlib.suppress(RuntimeError):
                    rows(connection, "ROLLBACK")
                raise
            try:
                rows(connection, "COMMIT")
            except RuntimeError as error:
                # What memory holds and what the file holds may now differ: believe the file.
                connection.close()
                self._close_database()
                raise translate(error, self.where) from error

    def query(self, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float) -> pa.Table:
        """Runs one read-only query.

        On a file it runs in a process of its own, which needs the file to itself: this process closes it
        and opens it again for the next write (about 40 ms, measured). A query after a query costs 2 ms. In
        memory there is no second process: there a query that does not look at the clock is not stopped.

        Raises:
            QueryError: a mistake in it, a write, the timeout or the limit.
        """
        with self._lock:
            if self._reader is not None:
                self._close_database()
                return self._reader.query(cypher, parameters, limit, timeout_s)
            with self.connection() as connection:
                try:
                    return run_read_only(connection, cypher, parameters, limit, timeout_s)
                except RefusedError as error:
                    raise QueryError(str(error), where=self.where) from error

    def _open(self) -> None:
        if self._database is not None:
            return
        if self._reader is not None:
            self._reader.release()
        if self.folder is None:
            self._database = ladybug.Database()
            return
        try:
            self._database = ladybug.Database(str(self.folder / _FILE))
        except RuntimeError as error:
            known = translate(error, self.where)
            if type(known) is not StoreError:
                raise known from error
            raise StoreError(
                f"{_FILE} cannot be opened: {error}",
                where=self.where,
                hint="it is damaged, or was written by another version. It can be made again: move the "
                "folder away and ingest the data into a new one",
            ) from error

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(RuntimeError):
                database.close()


def _check_folder(folder: Path, where: str) -> None:
    hint = "name a new or empty folder"
    try:
        if folder.exists() and not folder.is_dir():
            raise StoreError("is a file, not the folder of an embedded store", where=where, hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(p.name for p in folder.iterdir() if p.name != _LOCK)
    except OSError as error:
        raise StoreError(f"cannot be used: {error.strerror}", where=where, hint=hint) from error
    if others and _FILE not in others:
        raise StoreError(
            f"holds other things ({others[0]}, …) but no {_FILE}: not an embedded store",
            where=where,
            hint=hint,
        )


def _lock_folder(folder: Path, where: str) -> IO[str] | None:
    # Ladybug locks its file only while it is open, and it is closed between a write and a query.
    try:
        import fcntl
    except ImportError:  # not a POSIX system: Ladybug's own lock has to do
        return None
    try:
        file = open(folder / _LOCK, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", where=where) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise _locked(where, f"process {owner}" if owner else "another process") from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _locked(where: str, who: str) -> StoreLockedError:
    return StoreLockedError(
        f"{who} is using this embedded store",
        where=where,
        hint="wait until it is done or end it; for several at once use a Neo4j store",
    )
