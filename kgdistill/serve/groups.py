"""Which groups of a family items are in, as a bundle's scores read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class Groups:
    """The groups of some items in one family; an item in several is in each by an equal share.

    Attributes:
        codes: item by item, int64 [E]; `count` where an item has none.
        starts: where each item's begin, int64 [C + 1]; None where each has one, which is looked up faster.
        count: how many groups there are.
    """

    codes: IntArray
    starts: IntArray | None
    count: int

    @classmethod
    def of_family(cls, arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Groups:
        """As a bundle's arrays hold them: CSR, with empty rows."""
        count, lengths = len(arrays[f"{name}.everybody"]), np.diff(arrays[f"{name}.indptr"])
        filled = np.maximum(lengths, 1)
        codes = np.full(int(filled.sum()), count, np.int64)
        codes[np.repeat(lengths > 0, filled)] = arrays[f"{name}.indices"]
        return cls(codes, _starts(filled) if (lengths > 1).any() else None, count)

    def of(self, items: IntArray) -> Groups:
        """Those of some items."""
        if self.starts is None:
            return Groups(self.codes[items], None, self.count)
        begin, end = self.starts[items], self.starts[items + 1]
        return Groups(self.codes[ranges(begin, end)[0]], _starts(end - begin), self.count)

    @cached_property
    def owner(self) -> IntArray:
        """Whose each code is, int64 [E]."""
        each = np.arange(len(self.codes) if self.starts is None else len(self.starts) - 1)
        return each if self.starts is None else np.repeat(each, np.diff(self.starts))

    @cached_property
    def each(self) -> DoubleArray:
        """By how much an item is in each of its groups, float64 [C]."""
        each: DoubleArray = 1.0 / np.bincount(self.owner)
        return each

    @cached_property
    def members(self) -> tuple[IntArray, IntArray]:
        """Items ordered by group, and where each group begins; one past the last are those without."""
        order = np.argsort(self.codes, kind="stable")
        starts = _starts(np.bincount(self.codes, minlength=self.count + 1))
        return order if self.starts is None else self.owner[order], starts

    def within(self, group: int) -> DoubleArray:
        """By how much each item is in one group, float64 [C]."""
        mine = (self.codes == group) * self.each[self.owner]
        return np.bincount(self.owner, mine).astype(np.float64, copy=False)

    def means(self, values: FloatArray) -> FloatArray:
        """Of each item the mean of what is said of its codes, float32 [E] -> [C]."""
        if self.starts is None:
            return values
        out: FloatArray = np.add.reduceat(values, self.starts[:-1]) * self._each
        return out

    @cached_property
    def _each(self) -> FloatArray:
        return self.each.astype(np.float32)


def ranges(starts: npt.NDArray[Any], ends: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """All numbers of some ranges, one after another, and the range of each."""
    lengths = (ends - starts).astype(np.int64)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    before = np.cumsum(lengths) - lengths
    return np.arange(len(owner)) + (starts - before)[owner], owner


def _starts(lengths: npt.NDArray[Any]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
