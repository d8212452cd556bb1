"""How much of a history is of each group, on a logarithmic scale: NumPy alone, to serve too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray

PARTS = ("starts", "groups", "axes", "middle")


@dataclass(frozen=True)
class LogCounts:
    """log(1 + how many of a subject's nodes are of each group), along the axes in which subjects differ.

    A mean of rows says what share of a history is of a group; this says how much, where the second coat tells
    less than the first.

    Attributes:
        starts: where each node's groups begin, int64 [nodes + 1].
        groups: of the nodes one after the other, int64 [M].
        axes: float32 [groups, F].
        middle: is taken away, float32 [F].
    """

    starts: IntArray
    groups: IntArray
    axes: FloatArray
    middle: FloatArray

    @property
    def width(self) -> int:
        """Of what `of` gives."""
        return int(self.axes.shape[1])

    def of(self, members: Sequence[IntArray]) -> FloatArray:
        """What is said of each subject, float32 [subjects, width]; `members` are its nodes, each once."""
        out = np.empty((len(members), self.width), np.float32)
        for i, nodes in enumerate(members):
            lengths = self.starts[nodes + 1] - self.starts[nodes]
            within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            held, counts = np.unique(
                self.groups[np.repeat(self.starts[nodes], lengths) + within], return_counts=True
            )
            out[i] = np.log1p(counts).astype(np.float32) @ self.axes[held] - self.middle
        return out

    def scaled(self, members: Sequence[IntArray]) -> LogCounts:
        """The same with a mean of 0 and a mean variance of 1 over some subjects."""
        seen = replace(self, middle=np.zeros_like(self.middle)).of(members).astype(np.float64)
        size = max(float(np.sqrt(((seen - seen.mean(axis=0)) ** 2).mean())), 1e-6)
        axes = (self.axes / size).astype(np.float32)
        return replace(self, axes=axes, middle=(seen.mean(axis=0) / size).astype(np.float32))

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Its arrays by name, to be stored."""
        return {f"{name}.{part}": getattr(self, part) for part in PARTS}

    @classmethod
    def stored(cls, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> LogCounts:
        """What `arrays` gave; KeyError where one is not there."""
        return cls(*(arrays[f"{name}.{part}"] for part in PARTS))
