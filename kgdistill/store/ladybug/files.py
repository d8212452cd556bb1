"""The folder of an embedded store: its lock, its file, and the copy that a block of changes works on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from kgdistill.errors import DiskError, StoreError, StoreLockedError
from kgdistill.private import make_private, private_folder

FILE = "graph.lbug"
NEXT = "next.lbug"
_LOCK = "lock"
_SIDE = (".wal", ".shadow", ".tmp", ".wal.checkpoint")
# The ioctl FICLONE of Linux: a copy that shares its blocks, where the file system can.
_FICLONE = 0x40049409


def check_folder(folder: Path, where: str) -> None:
    """Makes the folder where it is missing; StoreError where it is or holds something else."""
    hint = "name a new or empty folder"
    try:
        if folder.exists() and not folder.is_dir():
            raise StoreError("is a file, not the folder of an embedded store", where=where, hint=hint)
        private_folder(folder)
        names = (p.name for p in folder.iterdir())
        others = sorted(n for n in names if n != _LOCK and not n.startswith(NEXT))
    except OSError as error:
        raise StoreError(f"cannot be used: {error.strerror}", where=where, hint=hint) from error
    if others and FILE not in others:
        raise StoreError(
            f"holds other things ({others[0]}, …) but no {FILE}: not an embedded store",
            where=where,
            hint=hint,
        )


def lock_folder(folder: Path, where: str) -> IO[str] | None:
    """Takes the folder's lock, which the system frees when the process ends; StoreLockedError if held."""
    # Ladybug locks its file only while it is open, and it is closed between a write and a query.
    try:
        import fcntl
    except ImportError:  # not a POSIX system: Ladybug's own lock has to do
        return None
    try:
        file = open(folder / _LOCK, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", where=where) from error
    make_private(folder / _LOCK)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise locked(where, f"process {owner}" if owner else "another process") from error
    # The process id helps people only: a full disk must not stand in the way.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    return file


def locked(where: str, who: str) -> StoreLockedError:
    """The error that says who holds the store."""
    return StoreLockedError(
        f"{who} is using this embedded store",
        where=where,
        hint="wait until it is done or end it; for several at once use a Neo4j store",
    )


def is_settled(file: Path) -> bool:
    """Whether everything stands in the file itself: no log is left that would be applied to it."""
    return not any(Path(f"{file}{end}").exists() for end in _SIDE)


def discard_copy(folder: Path) -> None:
    """Removes what a block of changes left that did not end; only with the folder's lock."""
    for path in folder.glob(f"{NEXT}*"):
        path.unlink(missing_ok=True)


def start_copy(folder: Path, where: str, *, with_log: bool = False) -> Path:
    """Copies the file of the store; returns the copy's path.

    Args:
        folder: the store's.
        where: its address, for messages.
        with_log: what stands beside the file and would be applied to it too.

    Raises:
        DiskError: there is no room for it.
    """
    discard_copy(folder)
    copy = folder / NEXT
    ends = ["", *(end for end in _SIDE if with_log and Path(f"{folder / FILE}{end}").exists())]
    try:
        for end in ends:
            source, target = Path(f"{folder / FILE}{end}"), Path(f"{copy}{end}")
            target.touch(0o600)
            if not _cloned(source, target):
                shutil.copyfile(source, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            discard_copy(folder)
        raise DiskError(
            f"there is no room for a copy of {FILE}, which changes are made in: {error.strerror}; "
            "the store is as it was",
            where=where,
            hint="free some space and run the same command again",
        ) from error
    return copy


def set_log_aside(folder: Path, where: str) -> Path:
    """Renames what stands beside the file and cannot be applied to it; returns where the first of it is now.

    Raises:
        DiskError: the disk refuses.
    """
    aside = folder / f"unread-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
    found = [end for end in _SIDE if Path(f"{folder / FILE}{end}").exists()]
    try:
        for end in found:
            os.replace(f"{folder / FILE}{end}", f"{aside}{end}")
        _synced(folder)
    except OSError as error:
        raise DiskError(f"its log cannot be put aside: {error.strerror}", where=where) from error
    return Path(f"{aside}{found[0]}")


def put_in_place(folder: Path, where: str) -> None:
    """Makes the settled copy the store's file, on the disk and not only in the system's memory.

    Raises:
        DiskError: the disk refuses; the store's file is as it was.
    """
    copy = folder / NEXT
    try:
        make_private(copy, folder / FILE)
        _synced(copy)
        os.replace(copy, folder / FILE)
        _synced(folder)
    except OSError as error:
        raise DiskError(
            f"the changes cannot be put in place: {error.strerror}",
            where=where,
            hint="free some space and run the same command again",
        ) from error


def _cloned(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            return False
    return True


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
