"""Which part of a split each anchor, subject or relationship belongs to, where time does not decide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.tasks.spec import GivenSplit, HeldOut
from kgdistill.words import one_line

Parts: TypeAlias = npt.NDArray[np.int8]
PART_NAMES: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
"""By number; -1 takes no part."""
TRAIN, VALIDATION, TEST = 0, 1, 2
_HELD_OUT = "ingest it, or write else: held_out into the protocol of a copy of the task: kgdistill task show"


def key_draws(keys: Sequence[Any] | npt.NDArray[Any], seed: int) -> npt.NDArray[np.float64]:
    """A number from 0 to below 1 for each key, by a hash of the key and the seed: other keys change none."""
    draws = np.empty(len(keys), np.float64)
    for row, key in enumerate(keys):
        digest = hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        # 53 bits are what a float64 holds, so that no draw rounds up to 1.
        draws[row] = (int.from_bytes(digest, "big") >> 11) / 2**53
    return draws


def first_alike(texts: Sequence[str]) -> IntArray:
    """The first row of each one's text, int64 [N]; case, white space and compatibility forms tell none apart.

    An empty text is like no other.
    """
    firsts: dict[str, int] = {}
    lines = map(one_line, texts)
    return np.array([firsts.setdefault(line, n) if line else n for n, line in enumerate(lines)], np.int64)


def _draws(
    keys: Sequence[Any] | npt.NDArray[Any], seed: int, texts: Sequence[str] | None
) -> npt.NDArray[np.float64]:
    """`key_draws`; what has the same text shares the draw of its least key."""
    draws = key_draws(keys, seed)
    if texts is not None:
        order = np.array(sorted(range(len(keys)), key=lambda row: str(keys[row])), np.int64)
        draws[order] = draws[order][first_alike([texts[row] for row in order])]
    return draws


def applied(split: GivenSplit | HeldOut, values: Iterable[str | None]) -> GivenSplit | HeldOut:
    """A split; what takes its place where it says `else` and none of the values of its property is there."""
    if isinstance(split, HeldOut) or split.otherwise is None or any(value is not None for value in values):
        return split
    return split.held_out()


def parts_of(
    split: GivenSplit | HeldOut,
    values: Sequence[str | None],
    keys: Sequence[Any] | npt.NDArray[Any],
    texts: Sequence[str] | None = None,
) -> Parts:
    """The part of each node or relationship, int8 [N], by a split that was `applied`.

    Args:
        split, values, keys: as `given_parts`.
        texts: of each; of what is drawn, those of one text (`first_alike`) lie in one part. None: each may
            lie anywhere.

    Raises:
        InputError: as `given_parts`.
    """
    if isinstance(split, HeldOut):
        return held_out_parts(keys, split, texts)
    return given_parts(values, keys, split, texts)


def split_sentence(declared: object, split: GivenSplit | HeldOut, who: str, label: str) -> str:
    """How a split was made, in a sentence; what it takes the place of stands first."""
    if isinstance(split, GivenSplit):
        return f"The property {split.property} says which part each {who}{label} belongs to."
    instead = f"No {label} has the property {declared.property}: " if isinstance(declared, GivenSplit) else ""
    return (
        f"{instead}{split.share:.0%} of the {who}{label}s are held out for the test and "
        f"{split.validation_share:.0%} for validation, by a hash of their key (seed {split.seed})."
    )


def held_out_parts(
    keys: Sequence[Any] | npt.NDArray[Any], split: HeldOut, texts: Sequence[str] | None = None
) -> Parts:
    """The part of each anchor or subject by its key: int8 [N], numbers of `PART_NAMES`; see `parts_of`."""
    draws = _draws(keys, split.seed, texts)
    parts = np.full(len(draws), TRAIN, np.int8)
    parts[draws < split.share + split.validation_share] = VALIDATION
    parts[draws < split.share] = TEST
    return parts


def given_parts(
    values: Sequence[str | None],
    keys: Sequence[Any] | npt.NDArray[Any],
    split: GivenSplit,
    texts: Sequence[str] | None = None,
) -> Parts:
    """The part that a property names: int8 [N], numbers of `PART_NAMES`; -1 for null or any other value.

    Where no value means validation, `validation_share` of train is taken for it, by a hash of the keys.

    Args:
        values: of the property.
        keys: of the nodes; of relationships, both keys joined.
        split: which values mean what.
        texts: see `parts_of`.

    Raises:
        InputError: nothing is in train, or nothing in test; the message says which values there are.
    """
    meant = {value: number for number, name in enumerate(PART_NAMES) for value in getattr(split, name)}
    parts = np.array([meant.get(str(value), -1) for value in values], np.int8)
    if not (parts == VALIDATION).any():
        drawn = _draws(keys, split.seed, texts) < split.validation_share
        parts[(parts == TRAIN) & drawn] = VALIDATION
    for number in (TRAIN, TEST):
        if not (parts == number).any():
            there = sorted({str(value) for value in values if value is not None})
            raise no_part(split, PART_NAMES[number], there)
    return parts


def no_part(split: GivenSplit, part: str, there: Sequence[str], where: str = "") -> InputError:
    """What is raised where none of the values that are `there` means a part."""
    if not there:
        return InputError(
            f"nothing has the property {split.property!r}, which says what is trained on and what tests",
            where=where,
            hint=_HELD_OUT,
        )
    shown = ", ".join(map(repr, there[:8]))
    return InputError(
        f"no value of {split.property!r} means {part} ({', '.join(getattr(split, part))}); it holds {shown}",
        where=where,
        hint="say in the task's protocol which values mean train, validation and test",
    )
