"""A bundle on disk: `config.json` says what every other file must be, and nothing else is answered from."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from kgdistill.errors import ArtefactError, DiskError
from kgdistill.moment import zone_named
from kgdistill.serve.items import Items
from kgdistill.serve.parts import ANEW, ARRAYS, Arrays, BundlePart
from kgdistill.serve.readings import Readings

if TYPE_CHECKING:
    from kgdistill.snapshot import Snapshot

FORMAT = 9
ITEMS = "items.arrow"
SHARED = "shared.files"
"""Beside joined bundles: what several of them hold, each file once, by its SHA-256."""
_WORTH = 1 << 16
"""Bytes from which on a file is held once."""
# What config.json holds beside the settings.
_BESIDE = ("parts", "items", "files", "sha256")


def bundle_config(task: Mapping[str, Any], label: str, reads: Readings, snapshot: Snapshot) -> dict[str, Any]:
    """The settings of a bundle that belong to no part.

    Args:
        task: as it was declared.
        label: of what it answers with, or of the subjects that it classifies.
        reads: how what is asked is read.
        snapshot: that it was trained on.
    """
    return {
        "format": FORMAT,
        "task": dict(task),
        "label": label,
        "reads": reads.settings(),
        "snapshot": snapshot.content_hash,
        "cut": str(snapshot.cut),
        "zone": snapshot.zone,
    }


def told_zone(config: Mapping[str, Any]) -> str:
    """The time zone in which a bundle tells times; UTC where this machine knows none of that name."""
    name = str(config.get("zone") or "UTC")
    try:
        return name if name == "UTC" or zone_named(name) else "UTC"
    except ValueError:
        return "UTC"


def write_bundle(folder: Path, config: Mapping[str, Any], items: Items, parts: list[BundlePart]) -> None:
    """Writes every file and, last, config.json: without it nothing loads the folder.

    Args:
        folder: made where it is not there.
        config: the settings that belong to no part.
        items: what is answered with.
        parts: what answers.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    arrays = {f"{p.name}.{k}": np.ascontiguousarray(v) for p in parts for k, v in p.arrays().items()}
    files = {ITEMS: items.to_bytes(), ARRAYS: save(arrays)}
    for part in parts:
        files |= part.files()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").unlink(missing_ok=True)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        told = {
            **config,
            "parts": {part.name: part.settings() for part in parts},
            "items": len(items),
            "files": {name: _measured(data) for name, data in files.items()},
        }
        told["sha256"] = _digest(told)
        (folder / "config.json").write_text(json.dumps(told, indent=2), encoding="utf-8")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DiskError(
            "the disk is full" if full else f"cannot be written: {error.strerror or error}",
            where=str(folder),
            hint="free some space and run the same command again" if full else "choose another place",
        ) from error


def share_files(folder: Path, bundles: Sequence[str]) -> None:
    """Puts what several bundles in a folder hold into `SHARED` beside them, where `read_bundle` finds it.

    Args:
        folder: of the bundles.
        bundles: the folder of each.
    """
    places: dict[str, list[Path]] = {}
    for name in bundles:
        told = _json(folder / name / "config.json")["files"]
        for file, measured in told.items():
            if measured["bytes"] >= _WORTH:
                places.setdefault(measured["sha256"], []).append(folder / name / file)
    for digest, files in places.items():
        if len(files) > 1:
            (folder / SHARED).mkdir(exist_ok=True)
            files[0].replace(folder / SHARED / digest)
            for file in files[1:]:
                file.unlink()


class Stored(dict[str, bytes]):
    """The files of a bundle by name, all of them as they were written, and what config.json says beside.

    Attributes:
        config: the settings that belong to no part.
        parts: the settings of each part.
        size: how many items there are.
    """

    config: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    size: int

    def arrays(self) -> dict[str, Arrays]:
        """The arrays of each part.

        Raises:
            ArtefactError: they cannot be read.
        """
        try:
            loaded = load(self[ARRAYS])
        except (ValueError, SafetensorError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=ARRAYS, hint=ANEW) from error
        split: dict[str, Arrays] = {name: {} for name in self.parts}
        for name, array in loaded.items():
            part, _, own = name.partition(".")
            if part not in split:
                raise ArtefactError(f"the array {name!r} is unknown", where=ARRAYS, hint=ANEW)
            split[part][own] = array
        return split


def read_bundle(folder: Path) -> Stored:
    """The files of a bundle, each read once and as it was written.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    file = folder / "config.json"
    config = _json(file)
    if "format" not in config and (folder / "graph").is_dir():
        raise ArtefactError(
            "is a run whose bundle is not there", where=str(folder), hint=f"kgdistill fit --run {folder}"
        )
    if config.get("format") != FORMAT:
        raise ArtefactError(
            f"has format {str(config.get('format'))[:20]}, this version reads {FORMAT}",
            where=str(file),
            hint="make the bundle anew: kgdistill train student --run RUN",
        )
    beside = {name: config.pop(name, None) for name in _BESIDE}
    if beside["sha256"] != _digest({**config, **{name: beside[name] for name in _BESIDE[:-1]}}):
        raise ArtefactError("was changed after the bundle was made", where=str(file), hint=ANEW)
    stored = Stored(_files(folder, beside["files"]))
    stored.config, stored.parts, stored.size = config, beside["parts"], beside["items"]
    return stored


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():
            raise ArtefactError("is no file", where=str(file), hint=ANEW)
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not file.parent.exists():
            raise ArtefactError("is not there", where=str(file.parent), hint="check the path") from error
        raise ArtefactError("is no finished bundle", where=str(file), hint="train a student first") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=ANEW) from error
    if not isinstance(value, dict):
        raise ArtefactError("is no bundle: it holds no JSON object", where=str(file), hint=ANEW)
    return value


def _files(folder: Path, known: Any) -> dict[str, bytes]:
    """What stands in the files; refuses one that is not what config.json says."""
    read, beside = {}, folder.resolve().parent / SHARED
    for name, told in {ITEMS: None, ARRAYS: None, **(known if isinstance(known, dict) else {})}.items():
        inside = PurePosixPath(name)
        common = beside / str(told.get("sha256") if isinstance(told, dict) else "")
        if inside.is_absolute() or ".." in inside.parts:
            raise ArtefactError("names a file outside the bundle", where=str(folder / "config.json"))
        file = folder / inside
        try:
            data = next((f.read_bytes() for f in (file, common) if f.is_file()), None)
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(file), hint=ANEW) from error
        if data is None:
            hint = f"{ANEW}; of joined bundles copy the whole folder, with {SHARED}"
            raise ArtefactError("is missing, so that this is no finished bundle", where=str(file), hint=hint)
        if _measured(data) != told:
            raise ArtefactError(
                "is not the file that the bundle was made with: damaged, or of another copy",
                where=str(file),
                hint=ANEW,
            )
        read[name] = data
    return read


def _measured(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
