"""A file that comes into place whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kgdistill.errors import DiskError


@contextlib.contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Where to write; what stands there in the end takes the place of `file`, whose folder is made.

    Raises:
        DiskError: it cannot be written; a former file stays.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, file)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(file)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
