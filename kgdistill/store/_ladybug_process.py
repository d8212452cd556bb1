"""The query process of an embedded store, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import QueryError, StoreError
from kgdistill.store import _ladybug_reader
from kgdistill.store._ladybug_reader import receive, send

# The engine stops most queries itself; one that does not look at the clock is killed this much later.
_GRACE_S = 1.0
# For starting and opening the file.
_START_S = 30.0


class QueryProcess:
    """Runs queries on one file in a process of its own.

    A query can crash the engine or outlive its timeout; here that costs a process and no more. Starting it
    takes a few tenths of a second, once; a query then costs about a millisecond more than in-process.

    Args:
        path: the database file; no process may hold it for writing while `reading` is true.
        where: the store's address, for messages.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self._where = where
        self._process: subprocess.Popen[bytes] | None = None
        self.reading = False

    def query(self, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float) -> pa.Table:
        """Runs one query, see `run_read_only`; opens the file where it is not open.

        Raises:
            QueryError: what is wrong with the query.
            StoreError: the file cannot be opened.
        """
        if not self.reading:
            self._open()
        request = {"cypher": cypher, "parameters": dict(parameters), "limit": limit, "timeout_s": timeout_s}
        answer, in_time, code = self._ask(request, timeout_s + _GRACE_S)
        if answer is None:
            if in_time:
                raise QueryError(
                    f"the query crashed the database engine (exit code {code}); the store is unharmed",
                    where=self._where,
                    hint="write the query another way: return columns, not whole nodes or paths",
                )
            raise QueryError(f"the query took longer than {timeout_s:g} s", where=self._where)
        if answer[:1] == b"E":
            raise QueryError(answer[1:].decode(), where=self._where)
        with pa.ipc.open_stream(pa.py_buffer(answer[1:])) as reader:
            return reader.read_all()

    def _open(self) -> None:
        answer, _, code = self._ask({"open": str(self.path)}, _START_S)
        if answer is None or answer[:1] != b"T":
            self.stop()
            text = answer[1:].decode() if answer else f"the query process ended (exit code {code})"
            raise StoreError(f"cannot be opened for reading: {text}", where=self._where)
        # From here on the process holds the file; the engine sets no lock on one that is only read.
        self.reading = True

    def release(self) -> None:
        """Closes the file, so that it can be opened for writing; the process stays."""
        if self.reading:
            self._ask({"close": True}, _GRACE_S)
            self.reading = False

    def stop(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        self.reading = False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _ask(self, request: dict[str, Any], patience: float) -> tuple[bytes | None, bool, int | None]:
        """The answer, or None where the process died; whether that was in time; its exit code."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(patience, give_up)
        timer.daemon = True
        timer.start()
        try:
            try:
                send(process.stdin, json.dumps(request).encode())
                answer = receive(process.stdout)
            except BrokenPipeError:
                answer = None
            code = process.wait() if answer is None else None
        except BaseException:
            self.stop()
            raise
        finally:
            timer.cancel()
        if answer is None:
            self.stop()
        return answer, not late.is_set(), code

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            script = str(Path(_ladybug_reader.__file__).resolve())
            # The script's own folder must not stand on the path: its module names are ours.
            code = f"import sys, runpy; runpy.run_path({script!r}, run_name='__main__')"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._process
