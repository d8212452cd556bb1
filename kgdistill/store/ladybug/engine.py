"""The embedded database behind a `LadybugStore`: one per path and process, locked, errors made clear."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import ladybug
import pyarrow as pa

from kgdistill.errors import DiskError, StoreDamagedError, StoreError, StoreLockedError
from kgdistill.progress import notice
from kgdistill.store.ladybug import files
from kgdistill.store.ladybug.open import open_database, translate
from kgdistill.store.ladybug.process import QueryProcesses
from kgdistill.store.ladybug.reader import run_read_only
from kgdistill.store.query.child import RefusedError
from kgdistill.store.query.process import query_error
from kgdistill.store.schema import Schema

_POLL_S = 0.05
_engines: dict[Path, Engine] = {}
_engines_lock = threading.Lock()


def acquire(folder: Path | None, wait_s: float = 0.0) -> Engine:
    """The engine of `folder`, shared by every store of this process; a fresh one in memory for None.

    Raises:
        StoreLockedError: another process holds the folder, still after `wait_s` seconds.
        StoreError: the folder is no store, or its file cannot be read.
    """
    if folder is None:
        return Engine(None)
    path = folder.expanduser().absolute()
    until = time.monotonic() + wait_s
    while True:
        try:
            return _shared(path)
        except StoreLockedError:
            if time.monotonic() >= until:
                raise
            time.sleep(_POLL_S)


def _shared(path: Path) -> Engine:
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
        self._changing = False
        # What went wrong in a block of changes that only memory may still hold: such a block is not kept.
        self._spoiled: Exception | None = None
        self._readers = None if folder is None else QueryProcesses(folder / files.FILE, self.where)
        if folder is not None:
            files.check_folder(folder, self.where)
            self._lock_file = files.lock_folder(folder, self.where)
        try:
            if folder is not None:
                files.discard_copy(folder)
                if not (folder / files.FILE).exists():
                    self._begin(folder)
                elif not files.is_settled(folder / files.FILE):
                    self._recover(folder)
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the database and gives the folder free."""
        with self._lock:
            if self._readers is not None:
                self._readers.stop()
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
                known = translate(error, self.where)
                if isinstance(known, DiskError):
                    self._spoiled = known
                raise known from error

    @contextlib.contextmanager
    def changes(self, wait_s: float) -> Iterator[None]:
        """A block after which all that was written in it is kept, or nothing; see `GraphStore.changes`.

        It works on a copy of the file, which takes the file's place at the end. Other threads of this
        process wait for the block to end, and it for their queries.
        """
        until = time.monotonic() + max(0.0, wait_s)
        if not self._lock.acquire(timeout=max(0.0, wait_s)):
            raise files.locked(self.where, "another thread of this process")
        try:
            if self._changing:
                raise StoreError("is being changed already: blocks of changes do not nest", where=self.where)
            if self._readers is not None and not self._readers.rest(max(0.0, until - time.monotonic())):
                raise files.locked(self.where, "another thread of this process")
            self._changing = True
            try:
                if self.folder is None:
                    yield
                else:
                    with self._copy(self.folder):
                        yield
            finally:
                self._changing = False
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _copy(self, folder: Path) -> Iterator[None]:
        self._close_database()
        schema, self._spoiled = self.stored, None
        self._use(files.start_copy(folder, self.where))
        try:
            yield
            if self._lock_file is None:
                raise StoreError("was closed inside its block of changes; nothing is kept", where=self.where)
            if self._spoiled is not None:
                raise self._spoiled
            self._settle()
            files.put_in_place(folder, self.where)
        except BaseException:
            self.stored = schema
            raise
        finally:
            self._close_database()
            self._use(folder / files.FILE)
            with contextlib.suppress(OSError):
                files.discard_copy(folder)

    def _begin(self, folder: Path) -> None:
        """Makes an empty store, which is there as a whole or not."""
        open_database(folder / files.NEXT, self.where).close()
        files.put_in_place(folder, self.where)

    def _recover(self, folder: Path) -> None:
        """Applies the log that stands beside the file; keeps it aside where the engine cannot.

        Only a version that wrote to the file itself, or another program, leaves one. On a copy first: a log
        that cannot be applied must not cost the file that it stands beside.
        """
        try:
            try:
                _settled(files.start_copy(folder, self.where, with_log=True), self.where)
            except StoreDamagedError:
                _settled(files.start_copy(folder, self.where), self.where)
                aside = files.set_log_aside(folder, self.where)
                notice(
                    f"{self.where}: a write was cut off here, and its log cannot be applied; the store is "
                    f"opened as it was before that write, and the log is kept as {aside.name}"
                )
            else:
                _settled(folder / files.FILE, self.where)
        finally:
            files.discard_copy(folder)

    def _use(self, file: Path) -> None:
        assert self._readers is not None
        self._readers.use(file)

    def _settle(self) -> None:
        """Closes the copy with all of it in its file; raises where that cannot be."""
        assert self._readers is not None
        file = self._readers.path
        if self._database is None and files.is_settled(file):
            return
        with self.connection() as connection:
            rows(connection, "CHECKPOINT")
            held = _counts(connection)
        self._close_database()
        if not files.is_settled(file):
            raise DiskError(
                f"{file.name} could not be written in full", where=self.where, hint="free some space"
            )
        # The engine has been seen to acknowledge what a full disk did not take: believe the file alone.
        there = _counted(file, self.where)
        if there != held:
            raise DiskError(f"{file.name} was not written in full", where=self.where, hint="free some space")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A connection inside one write transaction: all of the block is kept, or nothing.

        Outside a block of changes it is one itself. The engine's log is not to be trusted with this: after a
        kill it has replayed a part of a transaction that was never committed.
        """
        with self.block(), self._transaction() as connection:
            yield connection

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """The block of changes that is open, or one of its own; waits for other threads."""
        with self._lock:
            if self._readers is not None and not self._changing:
                self._readers.rest()
            with contextlib.nullcontext() if self._changing else self.changes(0.0):
                yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
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
                self._spoiled = translate(error, self.where)
                raise self._spoiled from error

    def query(self, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float) -> pa.Table:
        """Runs one read-only query.

        On a file it runs in a process of its own, several at once; a write waits for them. This process
        closes the file meanwhile and opens it again for what it reads itself (about 40 ms, measured). A query
        after a query costs 2 ms. In memory there is no second process: there one query runs after the other,
        and one that does not look at the clock is not stopped.

        Raises:
            QueryError: a mistake in it, a write, the timeout or the limit.
        """
        if self._readers is not None:
            with contextlib.ExitStack() as stack:
                with self._lock:
                    if self._changing:
                        self._settle()
                    self._close_database()
                    reader = stack.enter_context(self._readers.taken())
                return reader.query(cypher, parameters, limit, timeout_s)
        with self.connection() as connection:
            try:
                return run_read_only(connection, cypher, parameters, limit, timeout_s)
            except RefusedError as error:
                raise query_error(error, self.where) from error

    def _open(self) -> None:
        if self._database is not None:
            return
        if self._readers is None:
            self._database = open_database(None, self.where)
            return
        if self._changing:
            self._readers.release()
        # The store's own file is only read, by queries at the same time too: what writes has a copy.
        self._database = open_database(self._readers.path, self.where, read_only=not self._changing)

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(RuntimeError):
                database.close()


def _settled(file: Path, where: str) -> None:
    """Opens a file with the log beside it and leaves all of it in the file.

    Raises:
        StoreDamagedError: that cannot be done.
        DiskError: there is no room.
    """
    database = open_database(file, where)
    try:
        connection = ladybug.Connection(database)
        try:
            _counts(connection)
            rows(connection, "CHECKPOINT")
        finally:
            connection.close()
    except RuntimeError as error:
        known = translate(error, where)
        if isinstance(known, DiskError):
            raise known from error
        raise StoreDamagedError(f"{file.name} cannot be read: {error}", where=where) from error
    finally:
        with contextlib.suppress(RuntimeError):
            database.close()


def _counted(file: Path, where: str) -> dict[str, int]:
    """How many rows each table of a file holds, as another process would find it."""
    database = open_database(file, where, read_only=True)
    try:
        connection = ladybug.Connection(database)
        try:
            return _counts(connection)
        finally:
            connection.close()
    except RuntimeError as error:
        raise translate(error, where) from error
    finally:
        database.close()


def _counts(connection: Any) -> dict[str, int]:
    """How many rows each table holds."""
    result = {}
    for table in rows(connection, "CALL show_tables() RETURN *").to_pylist():
        pattern = "(x:`{}`)" if table["type"] == "NODE" else "()-[x:`{}`]->()"
        count = rows(connection, f"MATCH {pattern.format(table['name'])} RETURN count(*) AS n")
        result[table["name"]] = int(count["n"][0].as_py())
    return result
