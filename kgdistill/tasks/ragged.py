"""Rows of different lengths as tensors on one device, of which any can be taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import IntArray


def placed(array: npt.NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """An array as a tensor on a device."""
    return (array if isinstance(array, Tensor) else torch.from_numpy(array)).to(device)


@dataclass(frozen=True)
class Ragged:
    """Rows of whole numbers, one after another.

    Attributes:
        values: int64 [L].
        starts: where each row begins, and the end, int64 [rows + 1].
    """

    values: Tensor
    starts: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], device: torch.device) -> Ragged:
        """From one list a row."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.fromiter((value for row in rows for value in row), np.int64, int(lengths.sum()))
        return cls.split(flat, np.cumsum(lengths) - lengths, device)

    @classmethod
    def split(cls, values: IntArray, offsets: IntArray, device: torch.device) -> Ragged:
        """From values int64 [L] and where each row begins, int64 [rows]."""
        return cls(placed(values, device), placed(np.append(offsets, len(values)), device))

    @classmethod
    def columns(cls, matrix: sp.csr_matrix, device: torch.device) -> Ragged:
        """The columns that a CSR matrix holds in each row."""
        starts, columns = (placed(a.astype(np.int64), device) for a in (matrix.indptr, matrix.indices))
        return cls(columns, starts)

    def places(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where the values of some rows int64 [B] stand, int64 [H], and where each row begins, int64 [B]."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        offsets = lengths.cumsum(0) - lengths
        flat = torch.repeat_interleave(starts - offsets, lengths)
        return flat + torch.arange(len(flat), device=flat.device), offsets

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The values of some rows int64 [B], int64 [H], and where each row begins, int64 [B]."""
        places, offsets = self.places(rows)
        return self.values[places], offsets

    @cached_property
    def _keys(self) -> Tensor:
        """Row and value as one ascending number."""
        owner = torch.repeat_interleave(self.starts.diff())
        return ((owner << 32) + self.values).sort().values

    def holds(self, rows: Tensor, values: Tensor) -> Tensor:
        """Which of the values int64 [B, C], less than 2³², stand in their own row int64 [B]: bool [B, C]."""
        asked = (rows << 32)[:, None] + values
        if not len(self._keys):
            return torch.zeros_like(asked, dtype=torch.bool)
        at = torch.searchsorted(self._keys, asked).clamp_(max=len(self._keys) - 1)
        return self._keys[at] == asked


def thinned(values: Tensor, offsets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Rows, as `Ragged.take` gives them, without this share of their values: torch draws which."""
    keep = torch.rand(len(values), device=values.device) >= share
    counts = torch.bincount(owners(offsets, len(values))[keep], minlength=len(offsets))
    return values[keep], counts.cumsum(0) - counts


def owners(offsets: Tensor, count: int) -> Tensor:
    """The row of each of `count` values of rows that begin at `offsets` int64 [B]: int64 [count]."""
    at = torch.arange(count, device=offsets.device)
    return torch.searchsorted(offsets, at, right=True) - 1
