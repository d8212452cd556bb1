"""A process that runs queries, as its parent sees it.

A query can crash an engine, outlive its timeout or take the machine's memory; in a process of its own that
costs the process and no more. `_query_child` is the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import pyarrow as pa

from kgdistill.errors import QueryError
from kgdistill.store.query import child

# For starting Python and its modules, and for whatever a request that is no query does.
START_S = 30.0
# The child ends itself this long after the timeout; what then still lives is killed a little later.
GRACE_S = 0.5
# Of one answer: twice this much is held for a moment.
ANSWER_BYTES = 256 * 2**20
# Of one answer, however small its rows: a frame's own bytes.
_FRAME = 2**20
_LOOK_S = 0.02
_SECRETS = re.compile(r"KGDISTILL_|PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY", re.IGNORECASE)


class NotBegunError(QueryError):
    """The process ended before it took the request up: another can be asked the same."""


class QueryChild:
    """One process that runs queries; it starts when asked to open something, and anew after it ended.

    Args:
        module: the module whose `main` runs in it and calls `serve`.
        where: the store's address, for messages.
        memory: the bytes that the child promises to stay under, for messages.
    """

    def __init__(self, module: str, where: str, memory: int) -> None:
        self._module = module
        self._where = where
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = False

    @property
    def alive(self) -> bool:
        """Whether the process that was asked last still runs, with all that it was told."""
        return self._process is not None and self._process.poll() is None

    def ask(
        self,
        do: str,
        request: Mapping[str, Any],
        *,
        limit: int = 0,
        timeout_s: float = START_S,
        answer_bytes: int = ANSWER_BYTES,
    ) -> pa.Table:
        """Has one request answered; to `open`, the process starts where it does not run.

        Args:
            do: the name of the handler.
            request: what the handler takes, as JSON can hold it. It goes through a pipe: nobody else sees it.
            limit: more rows than this are refused.
            timeout_s: after this long the process is ended.
            answer_bytes: a larger answer is refused.

        Raises:
            NotBegunError: the process had ended, with all that it was told.
            QueryError: refused, failed, too long, too large; or the process ended.
        """
        whole = {
            **request,
            "do": do,
            "timeout_s": timeout_s + GRACE_S,
            "rows": limit,
            "bytes": answer_bytes,
            "memory": self._memory,
        }
        message = json.dumps(whole).encode()
        if not self.alive:
            self.stop()
            if do != "open":
                raise _not_begun(self._where)
            self._process = _start(self._module)
        process = self._process
        assert process is not None
        self._begun = False
        watch = _Watch(process, timeout_s + 2 * GRACE_S, self._memory)
        try:
            answer = self._exchange(process, message, answer_bytes)
        except BaseException as error:
            if not isinstance(error, QueryError):
                self.stop()
            raise
        finally:
            watch.end()
        if answer is not None:
            return answer
        process.kill()
        code = process.wait()
        self.stop()
        raise self._ended(code, timeout_s, watch)

    def stop(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def kill(self) -> None:
        """Ends what another thread asks: it hears of it as of a crash."""
        if (process := self._process) is not None:
            process.kill()

    def _exchange(self, process: subprocess.Popen[bytes], message: bytes, most: int) -> pa.Table | None:
        """The answer; None where the process ended before it was whole, or sent more than it may."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            child.send(process.stdin, message)
        except BrokenPipeError:
            return None
        schema, size = pa.schema([]), 0
        batches: list[pa.RecordBatch] = []
        while (frame := child.receive(process.stdout, most - size + _FRAME)) is not None:
            kind, payload = frame[:1], pa.py_buffer(memoryview(frame)[1:])
            if kind == child.END:
                return pa.Table.from_batches(batches, schema)
            if kind == child.REFUSED:
                told = json.loads(frame[1:])
                if told["spent"]:
                    self.stop()
                raise QueryError(told["message"], where=self._where, hint=told["hint"])
            if kind == child.BEGUN:
                self._begun = True
            elif kind == child.SCHEMA:
                schema = pa.ipc.read_schema(payload)
            else:
                size += len(payload)
                batches.append(pa.ipc.read_record_batch(payload, schema))
        return None

    def _ended(self, code: int, timeout_s: float, watch: _Watch) -> QueryError:
        alarm = getattr(signal, "SIGALRM", None)
        if watch.late or (alarm is not None and code == -alarm):
            return query_error(child.too_long(timeout_s), self._where)
        if not self._begun:
            return _not_begun(self._where)
        if watch.peak > self._memory // 4:
            return query_error(child.too_much_memory(self._memory), self._where)
        return QueryError(
            f"the query crashed its process (exit code {code}), maybe for want of memory: it may take "
            f"{self._memory / 2**20:,.0f} MiB; the store is unharmed",
            where=self._where,
            hint="write the query another way: return columns, not whole nodes or paths; narrow it",
        )


class _Watch:
    """Ends a process that takes too long or too much, should its own fences not hold.

    Attributes:
        late: whether it was ended for its time.
        peak: the most resident bytes seen, 0 where the system does not say.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float, memory: int) -> None:
        self.late = False
        self.peak = 0
        self._process = process
        self._until = time.monotonic() + seconds
        self._memory = memory
        self._done = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def end(self) -> None:
        """Looks no more."""
        self._done.set()

    def _look(self) -> None:
        while not self._done.wait(_LOOK_S):
            self.late = time.monotonic() > self._until
            self.peak = max(self.peak, _resident(self._process.pid))
            if self.late or self.peak > self._memory:
                self._process.kill()
                return


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):  # it has ended, or this is no Linux
        return 0


def _not_begun(where: str) -> NotBegunError:
    return NotBegunError("the process for queries was ended", where=where, hint="ask again")


def query_error(refusal: child.RefusedError, where: str) -> QueryError:
    """A refusal as the user's error."""
    return QueryError(refusal.message, where=where, hint=refusal.hint)


def _start(module: str) -> subprocess.Popen[bytes]:
    # The same modules as here, but none from the folder that the user happens to stand in.
    path = [os.path.abspath(place) for place in sys.path if place]
    code = f"import sys; sys.path[:] = {path!r}; from {module} import main; main()"
    command = [sys.executable, "-I", "-c", code, str(os.getpid())]
    clean = {name: value for name, value in os.environ.items() if not _SECRETS.search(name)}
    # On Linux a process's end is bound to the *thread* that started it: this one lives as long as we do.

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean)

    return _starter(os.getpid()).submit(start).result()


@lru_cache(maxsize=1)
def _starter(pid: int) -> ThreadPoolExecutor:
    """The thread that starts query processes; one of its own after a fork."""
    del pid
    return ThreadPoolExecutor(1, thread_name_prefix="kgdistill-query")
