"""Opening a file of the embedded database, in the memory that there is; its errors in our words."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ladybug

from kgdistill.errors import DiskError, KgdistillError, StoreDamagedError, StoreError
from kgdistill.store.ladybug import files

# A database in a file needs no more (measured: loading 3.2 M relationships takes as long with half of it);
# the engine's own default is 80 % of the memory.
_BUFFER_POOL = 2**30
# Below this the engine cannot work (measured: 64 MiB load 100,000 rows), nor below this much for its files.
_LEAST_POOL = 2**26
_LEAST_FILES = 2**28
# What the engine and its threads take beside the pool and the files, in virtual memory (measured: 650 MiB
# with two threads, most of it the heaps of the C library).
_BESIDE = 800 * 2**20
_M_ARENA_MAX = -8


@dataclass(frozen=True)
class Reserve:
    """How much the engine may reserve.

    Attributes:
        pool: bytes of its buffer pool.
        files: bytes of addresses for the database's file, a power of two; None for the engine's own 8 TiB.
    """

    pool: int
    files: int | None = None


def open_database(file: Path | None, where: str, *, read_only: bool = False) -> Any:
    """Opens a file, in memory for None.

    Raises:
        StoreDamagedError: it is no database, or of another version.
        StoreLockedError, DiskError, StoreError: as `translate`; also too little memory.
    """
    reserve = reserve_for(address_space_left(), file.stat().st_size if file and file.exists() else 0, where)
    options: dict[str, Any] = {"buffer_pool_size": reserve.pool}
    if reserve.files is not None:
        _few_heaps()
        options |= {"max_db_size": reserve.files, "max_num_threads": min(2, os.cpu_count() or 1)}
    elif file is None:
        options = {}
    try:
        if file is None:
            return ladybug.Database(**options)
        return ladybug.Database(str(file), read_only=read_only, **options)
    except RuntimeError as error:
        if _is_memory(str(error)):
            raise _no_memory(reserve.pool + (reserve.files or 0) + _BESIDE, None, where) from error
        known = translate(error, where)
        if type(known) is not StoreError:
            raise known from error
        raise StoreDamagedError(
            f"{files.FILE} cannot be opened: {error}",
            where=where,
            hint="it is damaged, or was written by another version. Its archive makes it anew: "
            "kgdistill store rebuild",
        ) from error


def reserve_for(left: int | None, size: int, where: str = "") -> Reserve:
    """What to reserve where `left` bytes of virtual memory may still be taken; None for no limit.

    Args:
        left: see `address_space_left`.
        size: of the database's file, in bytes: it must find room to grow.
        where: the store's address, for messages.

    Raises:
        StoreError: it is too little.
    """
    pool = min(_BUFFER_POOL, memory() // 4)
    if left is None:
        return Reserve(pool)
    # More than half of what is left is for the rest of the process: Arrow, DuckDB, their threads.
    least = 1 << (max(_LEAST_FILES, 4 * size) - 1).bit_length()
    pool = max(_LEAST_POOL, min(pool, left // 8, left - _BESIDE - least))
    if _BESIDE + pool + least > left:
        raise _no_memory(_BESIDE + _LEAST_POOL + least, left, where)
    return Reserve(pool, max(least, 1 << ((left // 4).bit_length() - 1)))


def address_space_left() -> int | None:
    """How many bytes of virtual memory this process may still take; None where nothing limits it."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    except (ImportError, AttributeError, OSError, ValueError):  # a system that does not tell
        return None


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
        return files.locked(where, "another process")
    if _is_memory(text):
        return StoreError(f"not enough memory: {text}", where=where, hint="write or read in smaller parts")
    return StoreError(text, where=where)


def _few_heaps() -> None:
    """Has the C library keep one heap for all threads: each of its heaps reserves 64 MiB or more."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _is_memory(text: str) -> bool:
    low = text.lower()
    return any(words in low for words in ("buffer pool is full", "buffer manager", "bad_alloc", "mmap for"))


def _no_memory(needed: int, left: int | None, where: str) -> StoreError:
    there = f", and the limit of this process leaves {left >> 20:,} MiB" if left is not None else ""
    return StoreError(
        f"its memory cannot be reserved: the engine needs {needed >> 20:,} MiB of virtual memory{there}; "
        "the store is unharmed",
        where=where,
        hint="raise the limit (ulimit -v, in KiB) or take it away: ulimit -v unlimited",
    )


def memory() -> int:
    """Bytes of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 4 * _BUFFER_POOL
