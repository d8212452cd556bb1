"""Stages of a run: each leaves one folder, whole or not at all, and is skipped when nothing changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kgdistill.config import ClassifyConfig
from kgdistill.errors import ArtefactError
from kgdistill.private import private_tree
from kgdistill.refusals import clear_refusals
from kgdistill.snapshot.files import file_hash, staged_folder

_MARK = "stage.json"
_LEFT = (".partial", ".former")


class Mark(BaseModel):
    """What `stage.json` says of a finished stage; written last.

    Attributes:
        inputs: the digest of what it was made from.
        values: what it was made from.
        made: names this making of it; later stages take it as an input, so that they follow when a stage is
            made again.
        seconds: how long it took.
        files: size and SHA-256 of each file by its path; a snapshot inside is vouched for by its manifest.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[2]
    inputs: str
    values: dict[str, Any]
    made: str
    seconds: float
    files: dict[str, tuple[int, str]]


def digest(values: Mapping[str, Any]) -> str:
    """A hash of JSON-able values, independent of their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def without(settings: Mapping[str, Any], start: str) -> dict[str, Any]:
    """Settings but for those whose name begins so."""
    return {name: value for name, value in settings.items() if not name.startswith(start)}


def as_formerly(config: dict[str, Any]) -> dict[str, Any]:
    """A run's settings without those that change nothing, of which runs of former versions say nothing."""
    classify = config["classify"]
    for name, alone in ClassifyConfig.ALONE.items():
        if classify[name] == alone:
            classify = without(classify, name)
    return {**config, "classify": classify}


def read_mark(folder: Path) -> Mark | None:
    """The mark of a finished stage; None where it is not finished, or of another version."""
    try:
        return Mark.model_validate_json((folder / _MARK).read_bytes())
    except (OSError, ValidationError):
        return None


def finished(folder: Path) -> str | None:
    """The digest of the inputs that a finished stage was made from; None when it is not finished."""
    mark = read_mark(folder)
    return None if mark is None else mark.inputs


def verify(folder: Path, mark: Mark, *, again: str) -> None:
    """Checks every file of a finished stage against its mark.

    Args:
        folder: of the stage.
        mark: of the stage.
        again: the command that makes the stage anew, for the message.

    Raises:
        ArtefactError: a file is missing, or is not what was written; it says what to delete.
    """
    hint = f"delete {folder}, then make it anew: {again}"
    for name, (size, wanted) in mark.files.items():
        file = folder / name
        try:
            if file.stat().st_size != size:
                raise ArtefactError(
                    f"holds {file.stat().st_size:,} bytes, not the {size:,} that were written",
                    where=str(file),
                    hint=hint,
                )
            actual = file_hash(file)
        except FileNotFoundError as error:
            raise ArtefactError("is missing", where=str(file), hint=hint) from error
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(file), hint=hint) from error
        if actual != wanted:
            raise ArtefactError("was damaged or altered after it was written", where=str(file), hint=hint)


def seal(folder: Path, inputs: Mapping[str, Any], seconds: float) -> Mark:
    """Writes the mark of a stage whose files stand in `folder`."""
    values = json.loads(json.dumps(inputs, default=str))
    vouched = {p.parent for p in folder.rglob("manifest.json")}
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / _MARK):
        if file.name == "manifest.json" or not vouched & set(file.parents):
            files[file.relative_to(folder).as_posix()] = (file.stat().st_size, file_hash(file))
    mark = Mark(
        format=2, inputs=digest(inputs), values=values, made=uuid.uuid4().hex, seconds=round(seconds, 3),
        files=files,
    )  # fmt: skip
    (folder / _MARK).write_text(mark.model_dump_json(indent=1), encoding="utf-8")
    return mark


def run_stage(
    run: Path, name: str, inputs: Mapping[str, Any], make: Callable[[Path], None], *, private: bool = True
) -> str:
    """Makes RUN/name with `make`, unless it stands there from the same inputs; returns their digest.

    `make` writes into a temporary sibling that takes the stage's place when it returns, so that a stage that
    was stopped is made again by the next start and a finished one is not.

    Args:
        run: the run's folder, which no other process may be writing.
        name: of the stage.
        inputs: what it is made from, JSON-able.
        make: writes the stage's files into the folder that it is given.
        private: whether its owner alone may read it, as what tells of people is; else whom the umask lets.

    Raises:
        DiskError: the disk is full or refuses; what stood there before still does.
        MemoryShortError: there is not enough memory.
    """
    key = digest(inputs)
    target = run / name
    if finished(target) == key:
        return key
    if target.is_symlink():
        target.unlink()  # shared with another run, which keeps its own
    begin = time.monotonic()
    with clear_refusals(str(target)):
        with staged_folder(target) as partial:
            make(partial)
            seal(partial, inputs, time.monotonic() - begin)
            (private_tree if private else _public_tree)(partial)
        if private:
            with contextlib.suppress(OSError):
                target.chmod(0o700)  # it was opened as it was put into place
    return key


def sweep(run: Path) -> None:
    """Removes what a killed process left of unfinished stages; only with the run folder's lock."""
    for left in run.glob(".*"):
        if left.is_dir() and (left.name.endswith(_LEFT) or ".part-" in left.name):
            shutil.rmtree(left, ignore_errors=True)


def write_private(path: Path, data: bytes) -> None:
    """Puts a file that tells of people into place at once; its owner alone may read it."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        error.filename = str(path)  # the other name is nobody's business
        raise
    finally:
        part.unlink(missing_ok=True)


def _public_tree(folder: Path) -> None:
    # Libraries write with modes of their own: safetensors 0600, others as the umask says.
    mask = os.umask(0o077)
    os.umask(mask)
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
