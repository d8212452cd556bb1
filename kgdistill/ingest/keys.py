"""The keys of rows, and an index that tells which row has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.ingest.mapping.cast import no_number, plain_array


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """Rows that are looked up by a key.

    Attributes:
        hashes: uint64 [rows], ascending: of the keys.
        keys: in that order, each once.
        longest: the most different keys of one hash.
    """

    hashes: npt.NDArray[np.uint64]
    keys: Any
    longest: int

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64], keys: Any) -> KeyIndex:
        """The index of keys that stand by their hashes, each once."""
        starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)])
        longest = int(np.diff(np.r_[starts, len(hashes)]).max(initial=0))
        return cls(hashes, keys, longest)

    def rows(self, keys: pa.Array) -> IntArray:
        """For each key its row here, -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.hashes, hashes_of(keys))
        for step in range(self.longest):
            place = np.minimum(at + step, len(self.hashes) - 1)
            held = plain_array(self.keys.take(pa.array(place)))
            same = np.asarray(pc.fill_null(pc.equal(held, keys), False)).astype(bool)
            found[same] = place[same]
        return found


def begins(keys: Any) -> BoolArray:
    """Where another key begins than that of the row before, bool [rows]."""
    again = pc.equal(keys.slice(1), keys.slice(0, max(len(keys) - 1, 0)))
    new: BoolArray = np.r_[True, ~np.asarray(again).astype(bool)][: len(keys)]
    return new


def one_key(texts: Sequence[pa.Array]) -> pa.Array:
    """The columns' texts as one key; null where one of them has none."""
    texts = [pc.if_else(pa.array(~no_number(text)), text, pa.scalar(None, pa.string())) for text in texts]
    if len(texts) == 1:
        return texts[0]
    # With their lengths before them, no two keys read alike.
    sizes = [pc.cast(pc.utf8_length(text), pa.string()) for text in texts]
    return pc.binary_join_element_wise(*sizes, *texts, " ", null_handling="emit_null")


def hashes_of(keys: pa.Array) -> npt.NDArray[np.uint64]:
    """The hash of each key, uint64 [rows]; two keys may have the same."""
    hashes: npt.NDArray[np.uint64] = pd.util.hash_array(keys.to_numpy(zero_copy_only=False), categorize=False)
    return hashes
