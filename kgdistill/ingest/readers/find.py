"""The files that patterns name."""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import BinaryIO

from kgdistill.errors import DiskError, InputError
from kgdistill.ingest.readers.source import COMPRESSIONS, FORMATS, STDIN, Source, SourceOptions, suffixes


def find_sources(
    name: str,
    patterns: Sequence[str],
    root: str | Path,
    options: SourceOptions | None = None,
    *,
    optional: bool = False,
    spool_folder: str | Path | None = None,
) -> list[Source]:
    """The sources that the patterns of one mapping source name, sorted by name, each once.

    A pattern is a file, a glob (`*`, `?`, `[…]`, and `**` for folders of any depth), a folder (every file
    below it whose suffix tells its format), or `-` for standard input, which is spooled into a temporary
    file (in `spool_folder`) that lives as long as its source. Names that start with a dot or an
    underscore and names that end in .part are left out, unless a pattern spells that start.

    Raises:
        InputError: a pattern matches nothing (and `optional` is false), or a file's format is unknown.
        DiskError: standard input does not fit on the disk.
    """
    options = options or SourceOptions()
    if options.format is not None and options.format not in FORMATS:
        raise InputError(
            f"has the unknown format {options.format!r}", where=name, hint=f"formats: {', '.join(FORMATS)}"
        )
    base = Path(root)
    found: dict[str, Source] = {}
    for pattern in patterns:
        if pattern == STDIN:
            source = spool(name, sys.stdin.buffer, options, spool_folder)
            found[source.name] = source
            continue
        matches = list(_match(base, pattern, options))
        if not matches and not optional:
            raise InputError(
                "matches no file",
                where=f"{name}: {base / pattern}",
                hint="check the path and the data root, or mark the source as optional",
            )
        for path in matches:
            below = PurePath(os.path.relpath(path, base)).as_posix()
            if not below.isprintable():
                raise InputError(
                    "has a name that cannot be written down", where=ascii(below), hint="rename it"
                )
            found[f"{name}:{below}"] = _with_format(Source(f"{name}:{below}", path, None, options))
    return [found[key] for key in sorted(found)]


def _with_format(source: Source) -> Source:
    assert source.path is not None
    if source.options.format is not None:
        return source
    by_suffix = suffixes(source.path)[0]
    if by_suffix is None:
        raise source.fail("has a suffix that tells no format", hint=f"say its format: {', '.join(FORMATS)}")
    return replace(source, options=replace(source.options, format=by_suffix))


def _match(root: Path, pattern: str, options: SourceOptions) -> Iterator[Path]:
    literal = root / pattern
    if literal.is_file():
        yield literal
    elif literal.is_dir():
        for path in _walk(literal, ["**", "*"], set()):
            if suffixes(path)[0] is not None or (options.format is not None and _is_plain(path)):
                yield path
    else:
        parts = PurePath(pattern).parts
        plain = 0
        while plain < len(parts) and not set(parts[plain]) & set("*?["):
            plain += 1
        if plain < len(parts):
            yield from _walk(root.joinpath(*parts[:plain]), list(parts[plain:]), set())


def _is_plain(path: Path) -> bool:
    """Whether a file's name says that it is text of some kind."""
    stem, suffix = os.path.splitext(path.name.lower())
    return (os.path.splitext(stem)[1] if suffix in COMPRESSIONS else suffix) in (".txt", ".dat")


def _walk(folder: Path, parts: list[str], seen: set[str]) -> Iterator[Path]:
    """Files below a folder by the parts of a glob; a folder reached twice (by a link) is read once."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        yield from _walk(folder, rest or ["*"], set())
        for path in _entries(folder, "*"):
            if path.is_dir():
                yield from _walk(path, parts, seen)
        return
    for path in _entries(folder, part):
        if not rest:
            if path.is_file():
                yield path
        elif path.is_dir():
            yield from _walk(path, rest, set())


def _entries(folder: Path, part: str) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise InputError(f"cannot be listed: {error.strerror}", where=str(folder)) from error
    return [
        folder / name
        for name in names
        if fnmatch.fnmatchcase(name, part)
        and not name.endswith(".part")
        and (name[0] not in "._" or name[0] == part[0])
    ]


class _Spooled:
    """A temporary file that goes when nothing holds it any more."""

    def __init__(self, folder: Path | None) -> None:
        handle, name = tempfile.mkstemp(prefix=".kgdistill-", dir=folder)
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


def spool(name: str, stream: BinaryIO, options: SourceOptions, folder: str | Path | None = None) -> Source:
    """A stream as a source: `name:-`.

    Raises:
        InputError: neither the options nor its first bytes tell its format.
        DiskError: it does not fit on the disk.
    """
    kept = _Spooled(Path(folder) if folder is not None else None)
    try:
        with kept.path.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise DiskError(
            f"standard input cannot be spooled: {error.strerror or error}", where=str(kept.path.parent)
        ) from error
    source = Source(f"{name}:{STDIN}", kept.path, None, options, kept)
    if options.format is None:
        with kept.path.open("rb") as file:
            head = file.read(6)
        told = "parquet" if head[:4] == b"PAR1" else "arrow" if head == b"ARROW1" else None
        if told is None:
            raise source.fail("does not tell its format", hint=f"say its format: {', '.join(FORMATS)}")
        source = replace(source, options=replace(options, format=told))
    return source
