"""What is fetched or made once and kept in the user's cache folder, and the programs that make it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kgdistill.errors import KgdistillError, ToolMissingError
from kgdistill.progress import step
from kgdistill.resources import cache_root


def made_once(name: str, make: Callable[[Path], Path], *, doing: str, failed: str) -> Path:
    """A folder of the cache; made where it is not there yet, whole or not at all.

    Args:
        name: of the folder.
        make: is given an empty folder beside it; returns what is to be kept, that one or one within.
        doing: what a reader is told meanwhile.
        failed: how the message begins when it cannot be made.

    Raises:
        ToolMissingError: it cannot be made.
    """
    root = cache_root()
    final = root / name
    if final.is_dir():
        return final
    partial: Path | None = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
        with step(doing):
            whole = make(partial)
        try:
            whole.rename(final)
        except OSError:
            # Somebody else made the same one meanwhile.
            if not final.is_dir():
                raise
    except OSError as error:
        raise ToolMissingError(f"{failed}: {error}", where=str(root)) from error
    except ToolMissingError:
        raise
    except KgdistillError as error:
        raise ToolMissingError(f"{failed}: {error.message}", where=str(root)) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return final


def run_program(
    command: Sequence[str | Path], failed: str, *, error: type[KgdistillError], seconds: float, cwd: Path
) -> None:
    """Runs a program that knows nothing of the Python it is started from.

    Args:
        command: the program and its arguments.
        failed: how the message begins when it fails.
        error: what is raised then, with the last line that it wrote to standard error.
        seconds: after so many it has failed.
        cwd: the folder it runs in.
    """
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=keep,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as late:
        raise error(f"{failed}: it was not done after {seconds:.0f} s", where=str(cwd)) from late
    except OSError as broken:
        raise error(f"{failed}: {broken}", where=str(cwd)) from broken
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise error(f"{failed}: {lines[-1].strip()[:300]}", where=str(cwd))
