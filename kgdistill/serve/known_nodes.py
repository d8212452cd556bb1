"""The nodes that the subjects of a classifier can be tied to, as a bundle holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.serve.parts import Arrays, refuse
from kgdistill.tasks.log_counts import LogCounts

Keys: TypeAlias = Sequence[str]


@dataclass(frozen=True)
class KnownNodes:
    """The nodes of one label that subjects can be tied to by one relationship.

    Attributes:
        relationship, label: such as "BOUGHT" and "Product".
        history: whether they are events.
        keys: of the nodes.
        rows: float32 [nodes, F].
        middle, spread: of log(1 + how many nodes a subject has).
        counts: how much of a history is of each group, a block for each fact of the nodes.
    """

    relationship: str
    label: str
    history: bool
    keys: tuple[str, ...]
    rows: FloatArray
    middle: float
    spread: float
    counts: tuple[LogCounts, ...] = ()

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def of(self, keys: Sequence[Keys]) -> FloatArray:
        """The mean of each subject's rows, how many, and `counts`: float32 [subjects, F + 1 + ...]."""
        out = np.zeros((len(keys), self.rows.shape[1] + 1), np.float32)
        members = []
        for i, mine in enumerate(keys):
            rows = [self.places[key] for key in dict.fromkeys(mine) if key in self.places]
            if rows:
                out[i, :-1] = self.rows[rows].mean(axis=0)
            out[i, -1] = (np.log1p(len(rows)) - self.middle) / self.spread
            members.append(np.array(rows, np.int64))
        return np.concatenate([out, *(block.of(members) for block in self.counts)], axis=1)


def counts_arrays(name: str, arrays: Arrays, nodes: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What the arrays of a block of counts have to be."""
    axes = arrays.get(f"{name}.axes")
    width = axes.shape[1] if axes is not None and axes.ndim == 2 else 0
    return {
        f"{name}.starts": ("int64", (nodes + 1,)), f"{name}.groups": ("int64", (-1,)),
        f"{name}.axes": ("float32", (-1, width)), f"{name}.middle": ("float32", (width,)),
    }  # fmt: skip


def stored_counts(name: str, arrays: Arrays) -> LogCounts:
    """The block of counts that these arrays hold; ArtefactError where they do not fit together."""
    block = LogCounts.stored(name, arrays)
    ends = np.diff(block.starts) >= 0
    if block.starts[0] or not ends.all() or block.starts[-1] != len(block.groups):
        raise refuse(f"classifier.{name}.starts do not fit the groups")
    if len(block.groups) and (block.groups.min() < 0 or block.groups.max() >= len(block.axes)):
        raise refuse(f"classifier.{name}.groups names what is not there")
    return block
