"""The command line: it parses, calls and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from typer import Typer

from kgdistill.cli.app import app
from kgdistill.cli.output import say
from kgdistill.errors import KgdistillError
from kgdistill.refusals import refusal

__all__ = ["app", "main"]


def main(args: Sequence[str] | None = None, command: Typer | None = None, name: str = "kgdistill") -> int:
    """Runs one command.

    Args:
        args: the arguments after the program's name; those of this process where None.
        command: what is run; the whole command line where None.
        name: of the program.

    Returns:
        The exit code: 0, or 2 after bad input, or 130 after Ctrl-C.
    """
    _wait_passively()
    try:
        (command or app)(args=list(args) if args is not None else None, prog_name=name)
    except SystemExit as stop:
        return _flushed(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except KgdistillError as error:
        return _fail(error)
    except BrokenPipeError:
        return _silence()
    except Exception as error:
        found = refusal(error)
        if found is None:
            raise
        return _fail(found)
    return _flushed(0)


def _wait_passively() -> None:
    """Threads of torch that have nothing to do sleep, unless the user's own settings say otherwise.

    By default they spin, which takes the processor from whatever else runs beside a training. It has to be
    said before torch is loaded.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _fail(error: KgdistillError) -> int:
    # The message may hold anything that the data held: nothing in it is markup.
    say(f"kgdistill: {error}")
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
