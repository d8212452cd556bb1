"""What the parts of a bundle have in common: settings, arrays and files, each checked before it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from kgdistill.errors import ArtefactError

Arrays = dict[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
_Held = TypeVar("_Held", bound="HeldPart")
ARRAYS = "model.safetensors"
ANEW = "copy the whole bundle again, or delete its folder and make it anew: kgdistill train student"


class BundlePart(Protocol):
    """One part of a bundle; what it lacks, the bundle cannot be asked.

    A part is made by `from_arrays(settings, arrays, files, items)`, which raises `ArtefactError` where these
    do not fit together, and gives back what it was made of. Names of arrays and files are its own; the bundle
    keeps those of different parts apart.
    """

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """What JSON can hold of it."""

    def arrays(self) -> Arrays:
        """What `model.safetensors` holds of it."""

    def files(self) -> dict[str, bytes]:
        """Files of its own in the bundle's folder, by their path in it."""


class HeldPart:
    """A `BundlePart` that is no more than its settings and arrays, which a part checks before it holds them.

    Args:
        given, held: settings and arrays.
        items: how many the bundle has.
    """

    def __init__(self, given: Mapping[str, Any], held: Arrays, items: int) -> None:
        self._given, self._held = dict(given), held

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        return self._given

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        return self._held

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        return {}

    @classmethod
    def from_arrays(
        cls: type[_Held], settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> _Held:
        """See `BundlePart`."""
        return cls(settings, arrays, items)


def refuse(why: str, file: str = ARRAYS) -> ArtefactError:
    """What a part raises that cannot be used."""
    return ArtefactError(why, where=file, hint=ANEW)


def check_settings(settings: Mapping[str, Any], checks: Mapping[str, bool]) -> None:
    """Refuses settings of which one is not as it must be; `checks` says so by name."""
    for name, holds in checks.items():
        if not holds:
            missing = "missing" if name not in settings else "of the wrong kind"
            raise refuse(f"the setting {name!r} is {missing}", "config.json")


def check_arrays(part: str, arrays: Arrays, wanted: Shapes) -> None:
    """Refuses arrays that are not those wanted.

    Args:
        part: named in the message.
        arrays: of the part.
        wanted: by name the dtype and the shape; -1 stands for any length.
    """
    if odd := sorted(wanted.keys() ^ arrays.keys()):
        raise refuse(f"the array '{part}.{odd[0]}' is {'missing' if odd[0] in wanted else 'unknown'}")
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if (
            array.dtype != dtype
            or array.ndim != len(shape)
            or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True))
        ):
            raise refuse(f"{part}.{name} is {array.dtype} {array.shape}, not {dtype} {shape}")
        if dtype == "float32" and not np.isfinite(array).all():
            raise refuse(f"{part}.{name} holds a number that is not finite")


def check_table(name: str, indptr: npt.NDArray[Any], indices: npt.NDArray[Any], width: int) -> None:
    """Refuses what is no sparse table in compressed rows of `width` columns."""
    inside = not len(indices) or (indices.min() >= 0 and indices.max() < width)
    rises = len(indptr) and indptr[0] == 0 and indptr[-1] == len(indices) and (np.diff(indptr) >= 0).all()
    if not (inside and rises):
        raise refuse(f"{name} is no sparse table")


def whole(value: Any, least: int = 0) -> bool:
    """Whether a setting is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def number(value: Any) -> bool:
    """Whether a setting is a number that can be computed with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def is_confidence(value: Any, *, numbers: int) -> bool:
    """Whether it can be a `Confidence` over so many numbers."""
    lists = ("weights", "middle", "spread")
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), list) and len(value[name]) == numbers for name in lists)
        and all(number(one) for name in lists for one in value[name])
        and all(one > 0 for one in value["spread"])
        and all(number(value.get(name)) for name in ("bias", "threshold"))
    )


def all_of(value: Any, kind: type) -> bool:
    """Whether a setting is a list of one kind."""
    return isinstance(value, list) and all(isinstance(v, kind) for v in value)
