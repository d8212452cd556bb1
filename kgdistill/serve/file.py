"""A bundle on disk: `config.json` says what every other file must be, and nothing else is answered from."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from kgdistill.errors import ArtefactError, DiskError

Arrays = dict[str, npt.NDArray[Any]]
FORMAT = 4
_ITEMS, _ARRAYS = "items.json", "model.safetensors"
# What config.json holds beside the settings.
_BESIDE = ("items", "arrays", "files", "sha256")
_ANEW = "copy the whole bundle again, or delete its folder and make it anew: kgdistill train student"
_MIXER = ("mixer.first", "mixer.first_bias", "mixer.last", "mixer.last_bias")
_CHUNK = 1 << 20


def write_bundle(
    folder: Path,
    config: Mapping[str, Any],
    arrays: Arrays,
    keys: list[str],
    titles: list[str],
    *,
    parts: Iterable[str] = (),
) -> None:
    """Writes items.json, model.safetensors and, last, config.json: without it nothing loads the folder.

    Args:
        folder: made where it is not there.
        config: the settings.
        arrays: see `Bundle`.
        keys, titles: of the items.
        parts: folders inside `folder` that stand there already and belong to the bundle.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").unlink(missing_ok=True)
        # save_file would report a full disk as an error of its own kind, without a number.
        (folder / _ARRAYS).write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
        (folder / _ITEMS).write_text(
            json.dumps({"keys": keys, "titles": titles}, ensure_ascii=False), encoding="utf-8"
        )
        files = [folder / _ITEMS, folder / _ARRAYS]
        files += sorted(f for part in parts for f in (folder / part).rglob("*") if f.is_file())
        whole = {
            **config,
            "items": len(keys),
            "arrays": {k: {"dtype": str(v.dtype), "shape": list(v.shape)} for k, v in arrays.items()},
            "files": {f.relative_to(folder).as_posix(): _measured(f) for f in files},
        }
        whole["sha256"] = _digest(whole)
        (folder / "config.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
        mode = (folder / "config.json").stat().st_mode & 0o777
        for file in files:  # some libraries write files that only their owner reads
            file.chmod(mode)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DiskError(
            "the disk is full" if full else f"cannot be written: {error.strerror or error}",
            where=str(folder),
            hint="free some space and run the same command again" if full else "choose another place",
        ) from error


def read_bundle(folder: Path) -> tuple[dict[str, Any], Arrays, Any, Any]:
    """The settings, arrays, keys and titles of a bundle whose files are all as they were written.

    `check_parts` says whether these fit together.

    Raises:
        ArtefactError: a file is missing, damaged, of another copy or of another format.
    """
    file = folder / "config.json"
    config = _json(file)
    if config.get("format") != FORMAT:
        raise ArtefactError(
            f"has format {str(config.get('format'))[:20]}, this version reads {FORMAT}",
            where=str(file),
            hint="make the bundle anew: kgdistill train student --run RUN",
        )
    beside = {name: config.pop(name, None) for name in _BESIDE}
    if beside["sha256"] != _digest({**config, **{name: beside[name] for name in _BESIDE[:-1]}}):
        raise ArtefactError("was changed after the bundle was made", where=str(file), hint=_ANEW)
    _compare(folder, beside["files"])
    items = _json(folder / _ITEMS)
    try:
        arrays: Arrays = load_file(folder / _ARRAYS)
    except (ValueError, OSError, SafetensorError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(folder / _ARRAYS), hint=_ANEW) from error
    return config, arrays, items.get("keys"), items.get("titles")


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():
            raise ArtefactError("is no file", where=str(file), hint=_ANEW)
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError("is no finished bundle", where=str(file), hint="train a student first") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(file), hint=_ANEW) from error
    if not isinstance(value, dict):
        raise ArtefactError("is no bundle: it holds no JSON object", where=str(file), hint=_ANEW)
    return value


def _compare(folder: Path, files: Any) -> None:
    """Refuses a file that is not what config.json says."""
    known = files if isinstance(files, dict) else {}
    for name, told in {_ITEMS: None, _ARRAYS: None, **known}.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise ArtefactError("names a file outside the bundle", where=str(folder / "config.json"))
        file = folder / inside
        try:
            found = _measured(file) if file.is_file() else None
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(file), hint=_ANEW) from error
        if found is None:
            raise ArtefactError("is missing, so that this is no finished bundle", where=str(file), hint=_ANEW)
        if found != told:
            raise ArtefactError(
                "is not the file that the bundle was made with: damaged, or of another copy",
                where=str(file),
                hint=_ANEW,
            )


def _measured(file: Path) -> dict[str, Any]:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(_CHUNK):
            found.update(part)
        return {"bytes": os.fstat(stream.fileno()).st_size, "sha256": found.hexdigest()}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_parts(config: Mapping[str, Any], arrays: Arrays, keys: Any, titles: Any) -> None:
    """Refuses settings, arrays, keys and titles that do not fit together.

    Raises:
        ArtefactError: what does not fit, and in which file of a bundle.
    """

    def refuse(file: str, why: str) -> ArtefactError:
        return ArtefactError(why, where=file, hint=_ANEW)

    if (bad := _bad_setting(config)) is not None:
        raise refuse("config.json", f"the setting {bad!r} is missing or of the wrong kind")
    for name, values in (("keys", keys), ("titles", titles)):
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise refuse(_ITEMS, f"{name!r} is no list of texts")
    if len(set(keys)) < len(keys):
        raise refuse(_ITEMS, "a key stands there twice")
    if len(titles) != len(keys):
        raise refuse(_ITEMS, f"there are {len(keys):,} keys and {len(titles):,} titles")
    wanted = _wanted(config, arrays, len(keys))
    if odd := sorted(wanted.keys() ^ arrays.keys()):
        raise refuse(_ARRAYS, f"the array {odd[0]!r} is {'missing' if odd[0] in wanted else 'unknown'}")
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if (
            array.dtype != dtype
            or array.ndim != len(shape)
            or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True))
        ):
            raise refuse(_ARRAYS, f"{name} is {array.dtype} {array.shape}, not {dtype} {shape}")
        if dtype == "float32" and not np.isfinite(array).all():
            raise refuse(_ARRAYS, f"{name} holds a number that is not finite")
    for name in ("counts", "recent"):
        if (arrays[name] < 0).any():
            raise refuse(_ARRAYS, f"{name} holds a negative number")
    for name, width in _tables(config, arrays, len(keys)):
        if not _is_table(arrays[f"{name}.indptr"], arrays[f"{name}.indices"], width):
            raise refuse(_ARRAYS, f"{name} is no sparse table")
    for m, family in enumerate(config["families"]):
        if (np.diff(arrays[f"family{m}.indptr"]) > 1).any():
            raise refuse(_ARRAYS, f"an item has several values in the text field {family}")


def _bad_setting(config: Mapping[str, Any]) -> str | None:
    """The first setting that no bundle can have."""

    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30

    def all_of(value: Any, kind: type) -> bool:
        return isinstance(value, list) and all(isinstance(v, kind) for v in value)

    checks = {
        "min_count": whole,
        "mixed": lambda v: whole(v) and v > 0,
        "behind": number,
        "families": lambda v: all_of(v, str),
        "neighbours": lambda v: all_of(v, bool),
        "neighbour_decay": number,
    }
    return next((name for name, check in checks.items() if not check(config.get(name))), None)


def _wanted(config: Mapping[str, Any], arrays: Arrays, items: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of every array; -1 for any length."""
    dim = arrays["vectors"].shape[-1] if "vectors" in arrays and arrays["vectors"].ndim else -1
    estimates = 1 + len(config["neighbours"])
    terms = estimates + 2 + len(config["families"])
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "vectors": ("float32", (items, dim)),
        "fold": ("float32", (dim, dim)),
        "counts": ("int64", (items,)),
        "recent": ("float32", (items,)),
        "blend.weight": ("float32", (terms, 2)),
        "blend.bias": ("float32", (terms,)),
        "blend.user": ("float32", (terms,)),
        "blend.log_eps": ("float32", (estimates,)),
        "blend.new_boost": ("float32", (1,)),
        "log_decay": ("float32", (1,)),
    }
    if any(name in arrays for name in _MIXER):
        hidden = len(arrays["mixer.last"]) if "mixer.last" in arrays and arrays["mixer.last"].ndim else -1
        shapes = [(hidden, terms + 3), (hidden,), (hidden,), (1,)]
        wanted |= {name: ("float32", shape) for name, shape in zip(_MIXER, shapes, strict=True)}
    for m in range(len(config["families"])):
        wanted |= {
            f"family{m}.indices": ("int32", (-1,)),
            f"family{m}.indptr": ("int32", (items + 1,)),
            f"family{m}.everybody": ("float32", (-1,)),
        }
    for a in range(len(config["neighbours"])):
        stored = arrays.get(f"neighbours{a}.indices", np.zeros(0))
        wanted |= {
            f"neighbours{a}.data": ("float32", (stored.size,)),
            f"neighbours{a}.indices": ("int32", (-1,)),
            f"neighbours{a}.indptr": ("int64", (items + 1,)),
        }
    return wanted


def _tables(config: Mapping[str, Any], arrays: Arrays, items: int) -> list[tuple[str, int]]:
    """Sparse tables, each with how many columns it has."""
    families = [(f"family{m}", len(arrays[f"family{m}.everybody"])) for m in range(len(config["families"]))]
    return families + [(f"neighbours{a}", items) for a in range(len(config["neighbours"]))]


def _is_table(indptr: npt.NDArray[Any], indices: npt.NDArray[Any], width: int) -> bool:
    inside = not len(indices) or (indices.min() >= 0 and indices.max() < width)
    return bool(inside and indptr[0] == 0 and indptr[-1] == len(indices) and (np.diff(indptr) >= 0).all())
