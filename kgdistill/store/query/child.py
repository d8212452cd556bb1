"""A query process from the inside: its fences, and the loop that answers its parent.

A module that runs queries calls `serve` with its handlers. `_query_process` is the other side.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import re
import signal
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

import pyarrow as pa

BEGUN, SCHEMA, BATCH, END, REFUSED = b"?", b"S", b"B", b".", b"E"
TOO_MANY_ROWS, ROW_LIMIT = "the query gives more than", "--limit, limit="
# What engines and Arrow say.
_OUT_OF_MEMORY = ("bad_alloc", "unable to allocate memory", "buffer pool is full", "malloc of size")
_PR_SET_PDEATHSIG = 1
_PIECE = 2**22
_SIZE = struct.Struct("!Q")
_status: IO[str] | None = None

Handler = Callable[[dict[str, Any]], Iterable[pa.RecordBatch]]
"""Takes a request, yields its answer; the first batch says the columns, with rows or without."""


class RefusedError(Exception):
    """A query that is not run, or that failed.

    Args:
        message: for the user: what is wrong.
        hint: what to do next.
        spent: the process that ran it is of no more use: an engine may keep what it was refused for.
    """

    def __init__(self, message: str, hint: str = "", *, spent: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.spent = spent


def too_long(seconds: float) -> RefusedError:
    """The refusal of a query that was stopped for its time."""
    return RefusedError(
        f"the query took longer than {seconds:g} s", "narrow it, or allow more time (--timeout, timeout_s=)"
    )


def too_many_rows(limit: int) -> RefusedError:
    """The refusal of an answer with more rows than `limit`."""
    return RefusedError(
        f"{TOO_MANY_ROWS} {limit:,} rows",
        f"add LIMIT to it, or raise the row limit ({ROW_LIMIT})",
    )


def too_many_bytes(limit: int) -> RefusedError:
    """The refusal of an answer of more bytes than `limit`."""
    return RefusedError(
        f"the answer takes more than {limit / 2**20:,.0f} MiB, the limit of an answer's size",
        "return fewer rows or columns, or parts of long texts and lists",
    )


def too_much_memory(limit: int) -> RefusedError:
    """The refusal of a query that needs more bytes of memory than `limit`."""
    return RefusedError(
        f"the query needs more than {limit / 2**20:,.0f} MiB of memory, the limit of a query",
        "narrow it: match fewer nodes, aggregate earlier, make no long lists or texts",
        spent=True,
    )


def unique_columns(names: Iterable[str]) -> None:
    """Refuses an answer in which two columns have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RefusedError(
                f"two columns of the answer are called {name!r}",
                "give each a name of its own: RETURN … AS name",
            )
        seen.add(name)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError | pa.ArrowMemoryError) or any(w in text for w in _OUT_OF_MEMORY)


def allow_memory(more: int | None) -> None:
    """From now on this process can take `more` bytes and none above, where the system has such a limit.

    None lifts that.
    """
    if _status is None:
        return
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        _status.seek(0)
        held = re.search(r"VmData:\s+(\d+) kB", _status.read())
        limit = most if more is None or held is None else int(held[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def columns_of(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows, which says the columns of an answer."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def send(pipe: IO[bytes], payload: bytes | pa.Buffer, kind: bytes = b"") -> None:
    """Writes one message: its length, then `kind` and `payload`."""
    pipe.write(_SIZE.pack(len(kind) + len(payload)) + kind)
    pipe.write(payload)
    pipe.flush()


def receive(pipe: IO[bytes], most: int | None = None) -> bytes | None:
    """Reads one message; None where the other side has gone, or says more than `most` bytes."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size = _SIZE.unpack(head)[0]
    if most is not None and size > most:
        return None
    body = pipe.read(size)
    return body if len(body) == size else None


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answers the parent's requests until it has gone; never returns.

    A request is JSON with `do` (the handler's name), `timeout_s`, `rows`, `bytes`, `memory` (these only to
    be kept or named) and what the handler takes. An answer is the word that it is begun, a schema and batches
    of rows, then an end, or a refusal at any place.

    Args:
        handlers: by name.
    """
    parent = int(sys.argv[1])
    _fence(parent)
    answers = os.fdopen(os.dup(1), "wb")
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    # What an engine prints must stand neither among the answers nor on the user's terminal.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    while True:
        request = json.loads(requests.get())
        _deadline(request["timeout_s"])
        try:
            send(answers, b"", BEGUN)
            _answer(answers, handlers[request["do"]], request)
        except BrokenPipeError:
            os._exit(0)
        finally:
            _deadline(0)


def _listen(pipe: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    while (message := receive(pipe)) is not None:
        requests.put(message)
    # The parent has gone: nobody waits for what the query would still do.
    os._exit(0)


def _answer(pipe: IO[bytes], handler: Handler, request: dict[str, Any]) -> None:
    try:
        rows = size = 0
        for number, batch in enumerate(handler(request)):
            if number == 0:
                unique_columns(batch.schema.names)
                send(pipe, batch.schema.serialize(), SCHEMA)
            rows += batch.num_rows
            if rows > request["rows"]:
                raise too_many_rows(request["rows"])
            # In small pieces: each is held twice for a moment.
            step = max(1, batch.num_rows * _PIECE // max(1, batch.nbytes))
            for start in range(0, batch.num_rows, step):
                payload = batch.slice(start, step).serialize()
                size += len(payload)
                if size > request["bytes"]:
                    raise too_many_bytes(request["bytes"])
                send(pipe, payload, BATCH)
            del batch
        send(pipe, b"", END)
    except BrokenPipeError:
        raise
    except Exception as error:
        refusal = error if isinstance(error, RefusedError) else _unexpected(error, request)
        told = {"message": refusal.message, "hint": refusal.hint, "spent": refusal.spent}
        send(pipe, json.dumps(told).encode(), REFUSED)


def _unexpected(error: Exception, request: dict[str, Any]) -> RefusedError:
    if out_of_memory(error):
        return too_much_memory(request["memory"])
    # Its text may hold anything, a file's content too.
    return RefusedError(f"the query cannot be run ({type(error).__name__})", "write it another way")


def _deadline(seconds: float) -> None:
    # The signal's own action ends the process, whatever an engine is doing and whoever holds Python's lock.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _fence(parent: int) -> None:
    """Ends with its parent; no files written, no core, no terminal's Ctrl-C, an empty working folder."""
    global _status
    # The parent gets Ctrl-C too, and ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # Kept open: a fence around the files may come later.
        _status = open("/proc/self/status", encoding="ascii", errors="replace")  # noqa: SIM115
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)
    # A relative path in a query leads nowhere: this folder is empty, and gone already.
    try:
        nowhere = tempfile.mkdtemp()
        os.chdir(nowhere)
        os.rmdir(nowhere)
    except OSError:
        os.chdir(os.sep)
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
