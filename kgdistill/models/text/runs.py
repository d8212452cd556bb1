"""Tokens of scripts without blanks: runs of neighbouring characters, which overlap as no tokenizer's do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import IntArray
from kgdistill.words import PAIRED

MARK = " "
"""Stands before a run in a vocabulary: a tokenizer that splits at blanks never says it of its own."""
LONGEST = 3
"""Characters of a run, at most: pairs, and words that are longer."""
_BITS = 21
"""Of a code point, so that three fit into an int64."""
_BREAK = "\n"


class RunTokens:
    """Ids of the runs that a vocabulary holds beside the tokens of its tokenizer.

    Args:
        vocabulary: ids by token; those that begin with `MARK` are runs.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        runs = {word[1:]: i for word, i in vocabulary.items() if word.startswith(MARK)}
        self._tables: dict[int, tuple[IntArray, IntArray]] = {}
        for size in range(2, LONGEST + 1):
            keys = {_key(run): i for run, i in runs.items() if len(run) == size}
            order = sorted(keys)
            ids = np.array([keys[key] for key in order], np.int64)
            if order:
                self._tables[size] = np.array(order, np.int64), ids

    def __bool__(self) -> bool:
        return bool(self._tables)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The runs of each text, in the order in which they begin."""
        codes, together = _read(texts)
        places, found = [], []
        for size, (keys, ids) in self._tables.items():
            at, key = _runs(codes, together, size)
            row = np.searchsorted(keys, key)
            held = keys[np.minimum(row, len(keys) - 1)] == key
            places.append(at[held])
            found.append(ids[row[held]])
        place = np.concatenate(places)
        order = np.argsort(place, kind="stable")
        starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        ends = np.searchsorted(place[order], starts).tolist()
        flat = np.concatenate(found)[order].tolist()
        return [flat[a:b] for a, b in pairwise(ends)]


def frequent_runs(texts: Iterable[str], *, least: int, most: int) -> list[str]:
    """The runs that most texts hold, at least `least`: the commonest first, equals by their characters."""
    held: Counter[str] = Counter()
    for text in texts:
        codes, together = _read([text])
        mine = {
            text[i : i + size]
            for size in range(2, LONGEST + 1)
            for i in _runs(codes, together, size)[0].tolist()
        }
        held.update(mine)
    often = sorted((-count, run) for run, count in held.items() if count >= least)
    return [run for _, run in often[: max(most, 0)]]


def _key(run: str) -> int:
    key = 0
    for char in run:
        key = key << _BITS | ord(char)
    return key


@cache
def _scripts() -> npt.NDArray[np.uint8]:
    """By code point a number for each script whose words are runs, 0 for all else."""
    out = np.zeros(0x110000, np.uint8)
    kinds = sorted({kind for kind, _ in PAIRED})
    for kind, ranges in PAIRED:
        for low, high in ranges:
            out[low : high + 1] = 1 + kinds.index(kind)
    return out


def _read(texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The code points of texts, each with a break behind, and whether each is of one script with the next."""
    joined = _BREAK.join([*texts, ""]).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(joined, np.uint32).astype(np.int64)
    kind = _scripts()[codes]
    return codes, (kind[:-1] == kind[1:]) & (kind[1:] > 0)


def _runs(codes: IntArray, together: npt.NDArray[np.bool_], size: int) -> tuple[IntArray, IntArray]:
    """Where runs of so many characters begin, and the key of each."""
    joined = together[: len(together) - size + 2]
    for i in range(1, size - 1):
        joined = joined & together[i : len(together) - size + 2 + i]
    at = np.flatnonzero(joined)
    key = codes[at]
    for i in range(1, size):
        key = key << _BITS | codes[at + i]
    return at, key
