"""The query process of an embedded store, as its parent sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import QueryError, StoreError
from kgdistill.store.ladybug.reader import MEMORY, sendable
from kgdistill.store.query.process import QueryChild


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
