"""People's data: files and folders for their owner alone, and ids in place of what tells who they are."""

from __future__ import annotations

import contextlib
import hmac
import os
from pathlib import Path

_FILE, _FOLDER = 0o600, 0o700


def hash_of(text: str, salt: bytes) -> str:
    """HMAC-SHA256 of a text, the first 32 hexadecimal digits; one function for every label."""
    return hmac.digest(salt, text.encode(), "sha256").hex()[:32]


def private_folder(path: Path) -> None:
    """Makes a folder, and its parents, where it is missing; one that is there keeps its mode.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_FOLDER)
    if not path.is_dir():
        raise NotADirectoryError(20, "is not a folder", str(path))


def make_private(file: Path, former: Path | None = None) -> None:
    """Takes a file's permissions away from everybody else.

    Args:
        file: what was just written.
        former: the file whose place it takes; what its owner allowed the group stays allowed.
    """
    mode = _FILE
    with contextlib.suppress(OSError):
        if former is not None:
            mode |= former.stat().st_mode & 0o060
    # A file system without permissions (FAT, some network mounts) refuses: there is nothing to take away.
    with contextlib.suppress(OSError):
        os.chmod(file, mode)


def private_tree(folder: Path) -> None:
    """The same for everything below a folder, and the folder itself."""
    with contextlib.suppress(OSError):
        os.chmod(folder, _FOLDER)
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            os.chmod(path, _FOLDER if path.is_dir() else _FILE)
