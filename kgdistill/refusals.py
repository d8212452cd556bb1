"""What the machine refuses, told from every library's way of saying it: a full disk, too little memory, and
a library that is not installed."""

from __future__ import annotations

import contextlib
import errno
import traceback
from collections.abc import Iterator

from kgdistill.errors import DiskError, KgdistillError, MemoryShortError, ToolMissingError

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "a file may not grow that large here"}  # fmt: skip
# Arrow, safetensors and tokenizers raise errors of their own, without a number.
_NO_ROOM_WORDS = {
    "no space left": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
}
_NO_MEMORY_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "failed to allocate",
    "not enough memory",
    "failed to map segment",
    "can't start new thread",
    "bad_alloc",
    "storage size calculation overflowed",
    "array is too big",
)
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
# What the extras bring, and those of our packages that make do with the small one.
_LIBRARIES = frozenset(("charset_normalizer", "duckdb", "fastapi", "matplotlib", "orjson", "pandas", "scipy",
    "sentence_transformers", "starlette", "tensorboard", "torch", "torch_geometric", "transformers",
    "uvicorn"))  # fmt: skip
_INGEST = frozenset(("ingest", "derive", "graphcheck", "store", "explore", "datasets", "watch"))


def refusal(error: BaseException, where: str = "") -> KgdistillError | None:
    """The one message for a full disk, one that may not be written, too little memory, a missing library.

    Args:
        error: whatever was raised; what it was raised from counts too.
        where: said where the error names no file.

    Returns:
        None for anything else, which is a defect of ours or bad input.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and not isinstance(link, KgdistillError):
        seen.add(id(link))
        found = _one(link, where)
        if found is not None:
            return found
        link = link.__cause__ or link.__context__
    return None


def _one(error: BaseException, where: str) -> KgdistillError | None:
    if isinstance(error, ModuleNotFoundError):
        return _not_installed(error)
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    named = str(error.filename) if isinstance(error, OSError) and error.filename else where
    if number not in _NO_ROOM and isinstance(error, Exception):
        number = next((n for words, n in _NO_ROOM_WORDS.items() if words in text.lower()), number)
    if number in _NO_ROOM:
        hint = "free some space and start the same command again: what was finished is kept"
        return DiskError(_NO_ROOM[number], where=named, hint=hint)
    if number in _REFUSED and isinstance(error, OSError):
        return DiskError((error.strerror or "refused").lower(), where=named, hint="choose another place")
    # An ImportError where there is no room for a library.
    kinds = RuntimeError | ValueError | ImportError
    short = isinstance(error, kinds) and any(words in text.lower() for words in _NO_MEMORY_WORDS)
    if isinstance(error, MemoryError) or short or number == errno.ENOMEM:
        told = f": {text.splitlines()[0][:200]}" if text.strip() else ""
        return MemoryShortError(
            f"there is not enough memory{told}",
            where=where,
            hint="use a machine with more memory, or smaller settings: dim, batch, candidates",
        )
    return None


def _not_installed(error: ModuleNotFoundError) -> KgdistillError | None:
    """Names the extra that brings the library: the one of whichever package of ours asked for it."""
    library = (error.name or "").partition(".")[0]
    if library not in _LIBRARIES:
        return None
    asking, demo = "", False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        ours, _, rest = str(frame.f_globals.get("__name__", "")).partition(".")
        asking = rest.partition(".")[0] if ours == "kgdistill" else asking
        demo = demo or (ours, rest) == ("kgdistill", "demo")
    extra = "demo" if demo else "page" if asking == "page" else "ingest" if asking in _INGEST else "train"
    return ToolMissingError(
        f"this needs {library}, which is not installed", hint=f"pip install 'kgdistill[{extra}]'"
    )


@contextlib.contextmanager
def clear_refusals(where: str) -> Iterator[None]:
    """Turns what the machine refuses within the block into its one message."""
    try:
        yield
    except KgdistillError:
        raise
    except Exception as error:
        found = refusal(error, where)
        if found is None:
            raise
        raise found from error
