"""Folders that are whole or not there: written beside their place, then put into it at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kgdistill.errors import DiskError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
# What a killed process left beside the folder is removed when nothing can still be writing it.
_STALE_S = 3600.0
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turns the system's refusals to write at `where` into a DiskError."""
    try:
        yield
    except OSError as error:
        # Arrow raises some of these without an error number.
        full = error.errno in _NO_ROOM or "no space left" in str(error).lower()
        reason = "the disk is full" if full else f"cannot be written: {error.strerror or error}"
        hint = "free some space and start the same command again" if full else "choose another place"
        raise DiskError(reason, where=str(where), hint=hint) from error


@contextlib.contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Gives a new empty folder beside `folder`; where the block ends well it takes `folder`'s place.

    Where the block raises, `folder` is what it was before and nothing is left beside it.

    Raises:
        DiskError: the folder cannot be made or put into place.
    """
    place = folder.resolve()
    prefix = f".{place.name}.part-"
    with disk_errors(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        for left in place.parent.glob(f"{prefix}*"):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=prefix, dir=place.parent))
    try:
        yield part
        with disk_errors(folder):
            # mkdtemp makes it for its owner alone; others may read what was published.
            part.chmod(0o777 & ~_umask())
            for inner in [part, *(p for p in part.rglob("*") if p.is_dir())]:
                _sync(inner)
            _publish(part, place)
            _sync(place.parent)
    finally:
        # After a swap this is the former folder.
        shutil.rmtree(part, ignore_errors=True)


def sync_file(path: Path) -> str:
    """Flushes a written file to the disk and returns its SHA-256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return file_hash(path)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _publish(part: Path, place: Path) -> None:
    if not place.exists():
        part.rename(place)
        return
    if _exchange(part, place):
        return
    # No exchange on this system: for a moment neither stands there, and a failure puts the former back.
    former = Path(tempfile.mkdtemp(prefix=f".{place.name}.part-", dir=place.parent)) / "former"
    place.rename(former)
    try:
        part.rename(place)
    except OSError:
        former.rename(place)
        raise
    finally:
        shutil.rmtree(former.parent, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    ends = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return bool(call(*ends, ctypes.c_uint(_RENAME_EXCHANGE)) == 0)


def _sync(folder: Path) -> None:
    # Some systems cannot open or flush a folder; the rename is then as safe as they make it.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
