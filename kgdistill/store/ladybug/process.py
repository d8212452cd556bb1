"""The query processes of an embedded store, as their parent sees them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import QueryError, StoreError
from kgdistill.store.ladybug.open import memory
from kgdistill.store.ladybug.reader import MEMORY, sendable
from kgdistill.store.query.process import NotBegunError, QueryChild

_LOOK_S = 0.05


class QueryProcess:
    """Runs queries on one file in a process of its own.

    Starting it takes a few tenths of a second, once; a query then costs about a millisecond more than
    in-process.

    Args:
        path: the database file; no process may hold it for writing while `reading` is true.
        where: the store's address, for messages.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self._where = where
        self._child = QueryChild("kgdistill.store.ladybug.reader", where, MEMORY)
        self._open = False

    @property
    def reading(self) -> bool:
        """Whether the process holds the file."""
        return self._open and self._child.alive

    def query(self, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float) -> pa.Table:
        """Runs one query, see `run_read_only`; opens the file where it is not open.

        Raises:
            QueryError: what is wrong with the query, or a limit that it went over.
            StoreError: the file cannot be opened.
        """
        try:
            return self._asked(cypher, parameters, limit, timeout_s)
        except NotBegunError:
            # It was ended from outside while it waited.
            return self._asked(cypher, parameters, limit, timeout_s)

    def _asked(self, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float) -> pa.Table:
        if not self.reading:
            try:
                self._child.ask("open", {"file": str(self.path)})
            except QueryError as error:
                self.stop()
                raise StoreError(
                    f"cannot be opened for reading: {error.message}", where=self._where
                ) from error
            # From here on the process holds the file; the engine sets no lock on one that is only read.
            self._open = True
        values = {name: sendable(value) for name, value in parameters.items()}
        request = {"cypher": cypher, "parameters": values, "engine_timeout_s": timeout_s}
        return self._child.ask("query", request, limit=limit, timeout_s=timeout_s)

    def release(self) -> None:
        """Closes the file, so that it can be opened for writing; the process stays."""
        if self.reading:
            try:
                self._child.ask("close", {})
            except QueryError:
                self.stop()
        self._open = False

    def stop(self) -> None:
        """Ends the process."""
        self._child.stop()
        self._open = False

    def kill(self) -> None:
        """Ends the process under the query of another thread, which is told."""
        self._child.kill()


class QueryProcesses:
    """Query processes of one file, each for one query at a time; another starts where all are busy.

    Args:
        path: the database file; no process may hold it for writing while any of these has it open.
        where: the store's address, for messages.
        most: so many queries run at once; None: as many as fit in half of the memory, two to four.
    """

    def __init__(self, path: Path, where: str, most: int | None = None) -> None:
        self.path = path
        self._where = where
        self._most = most or min(4, max(2, memory() // 2 // MEMORY))
        self._idle = [QueryProcess(path, where)]
        self._busy: list[QueryProcess] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self) -> Iterator[QueryProcess]:
        """A process that nobody else uses; waits for one where as many as may be are busy."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or len(self._busy) < self._most)
            # The one that was used last: the others' pages may be long out of the memory.
            process = self._idle.pop() if self._idle else QueryProcess(self.path, self._where)
            self._busy.append(process)
        try:
            yield process
        finally:
            with self._changed:
                self._busy.remove(process)
                self._idle.append(process)
                self._changed.notify_all()

    def rest(self, wait_s: float | None = None) -> bool:
        """Waits until no query runs, at most so long; whether none does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, wait_s)

    def use(self, path: Path) -> None:
        """Closes the file everywhere, and reads another from now on; no query may run."""
        self.release()
        self.path = path
        for process in self._idle:
            process.path = path

    def release(self) -> None:
        """Closes the file in all processes, which stay; no query may run."""
        for process in self._idle:
            process.release()

    def stop(self) -> None:
        """Ends the processes, with what they run."""
        while not self.rest(_LOOK_S):
            for process in list(self._busy):
                process.kill()
        for process in self._idle:
            process.stop()
        self._idle.clear()
