"""Opens files, compressed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.readers.source import Source, suffixes


def compression_of(source: Source) -> str | None:
    """gzip, zstd or None, by the first bytes, then by the name.

    Raises:
        InputError: the file cannot be read.
    """
    assert source.path is not None
    try:
        with source.path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise source.fail(f"cannot be read: {error.strerror or error}") from error
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head == b"\x28\xb5\x2f\xfd":
        return "zstd"
    return suffixes(source.path)[1] if head else None


@contextmanager
def open_bytes(source: Source) -> Iterator[tuple[Any, Any]]:
    """The file's bytes without compression, and the file below (whose position tells what was consumed).

    Raises:
        InputError: the file cannot be read, or is damaged or cut off (at any later read within).
    """
    codec = compression_of(source)
    try:
        with pa.OSFile(str(source.path), "rb") as raw:
            if codec is None:
                yield raw, raw
            else:
                with pa.CompressedInputStream(raw, codec) as stream:
                    yield stream, raw
    except OSError as error:
        raise _damaged(source, codec, error) from error


def _damaged(source: Source, codec: str | None, error: OSError) -> InputError:
    if codec is None:
        return source.fail(f"cannot be read: {error.strerror or error}")
    if "Truncated" in str(error):
        return source.fail(f"is cut off: its {codec} data ends too early", hint="copy it again")
    return source.fail(f"is damaged: {error}", hint="copy it again, or name it without .gz or .zst")


def count_lines(block: bytes) -> int:
    """How many lines a block has; the last one need not be ended."""
    lines = block.count(b"\n")
    if b"\r" in block:
        lines += block.count(b"\r") - block.count(b"\r\n")
    return lines + (not block.endswith((b"\n", b"\r")))
