"""The command line: it parses, calls and prints."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from kgdistill.cli._app import app
from kgdistill.errors import DiskError, KgdistillError

__all__ = ["app", "main"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: the arguments after the program's name; those of this process where None.

    Returns:
        The exit code: 0, or 2 after bad input, or 130 after Ctrl-C.
    """
    try:
        app(args=list(args) if args is not None else None, prog_name="kgdistill")
    except SystemExit as stop:
        return _flushed(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except KgdistillError as error:
        return _fail(error)
    except BrokenPipeError:
        return _silence()
    except OSError as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        return _fail(refusal)
    return _flushed(0)


def _refusal(error: OSError) -> DiskError | None:
    """The message for a disk that is full or may not be written; None for anything else."""
    where = str(error.filename or "")
    # Arrow raises some of these without an error number.
    if error.errno in _NO_ROOM or "no space left" in str(error).lower():
        hint = "free some space and start the same command again: what was finished is kept"
        return DiskError("the disk is full", where=where, hint=hint)
    if error.errno in _REFUSED:
        return DiskError((error.strerror or "refused").lower(), where=where, hint="choose another place")
    return None


def _fail(error: KgdistillError) -> int:
    # The message may hold anything that the data held: nothing in it is markup.
    print(f"kgdistill: {error}", file=sys.stderr)
    return _flushed(error.exit_code)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _silence()
    return code


def _silence() -> int:
    """Who read our output has left: nothing more to say, also not when Python flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
