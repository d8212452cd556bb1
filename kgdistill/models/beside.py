"""What stands beside a subject, as numbers: a history or a fact is the mean of its nodes' rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.text.vocabulary import principal_axes
from kgdistill.tasks.item_groups import rows_to_one
from kgdistill.tasks.log_counts import LogCounts
from kgdistill.tasks.neighbours import Neighbours

_ROWS, _HOLDERS = 4096, 5
"""Rows at a time; and how many subjects have something of a group, before it tells anything of them."""


@dataclass(frozen=True)
class NodeTable:
    """One kind of neighbours.

    Attributes:
        relationship, label, history: see `Neighbours`.
        rows: float32 [nodes, F].
        middle, spread: of log(1 + how many nodes a subject has).
        counts: of a history, how much of it is of each group, a block for each fact of its nodes.
    """

    relationship: str
    label: str
    history: bool
    rows: FloatArray
    middle: float
    spread: float
    counts: tuple[LogCounts, ...] = ()

    @property
    def width(self) -> int:
        """Of what `of` gives."""
        return int(self.rows.shape[1]) + 1 + sum(block.width for block in self.counts)

    def of(self, members: sp.csr_matrix) -> FloatArray:
        """The mean of each subject's rows, 0 of none, how many, and `counts`: float32 [subjects, width]."""
        counts, means = np.diff(members.indptr), self.rows.shape[1]
        out = np.empty((len(counts), means + 1), np.float32)
        for start in range(0, len(counts), _ROWS):
            part = rows_to_one(members[start : start + _ROWS])
            out[start : start + _ROWS, :-1] = part @ self.rows
        out[:, -1] = (np.log1p(counts) - self.middle) / self.spread
        return np.concatenate([out, *(block.of(_lists(members)) for block in self.counts)], axis=1)


def node_table(
    beside: Neighbours,
    vectors: FloatArray | None,
    learned: IntArray,
    *,
    rank: int,
    dim: int | None = None,
) -> NodeTable:
    """The numbers of one kind of neighbours.

    Side by side, each block scaled to a mean variance of 1 over the subjects: the text vectors of the nodes;
    the nodes themselves, and each of their facts, by a truncated SVD of who has which, where a node or a
    group that everybody has counts little (TF-IDF); of a history also, by a truncated SVD, the logarithm of
    how much of it is of each group.

    Args:
        beside: the neighbours of all subjects.
        vectors: of the nodes' texts, float32 [nodes, E]; None where they have none.
        learned: the subjects that axes and scales are learned from, int64; none of validation or test.
        rank: most axes of each SVD.
        dim: most axes of the text vectors; None keeps them as they are.
    """
    shares = rows_to_one(beside.members[learned])
    blocks = []
    if vectors is not None:
        blocks.append(
            vectors if dim is None else np.asarray(vectors @ principal_axes(vectors, dim), np.float32)
        )
    ties: list[sp.csr_matrix] = [sp.csr_matrix(sp.identity(beside.members.shape[1], np.float32))]
    for groups in [*ties, *beside.groups.values()]:
        axes = _axes(sp.csr_matrix(shares @ groups), rank)
        if axes.shape[1]:
            blocks.append(np.asarray(groups @ axes, np.float32))
    held = np.diff(shares.indptr) > 0
    scaled = [block for block in (_scaled(block, shares[held]) for block in blocks) if block is not None]
    lengths = np.log1p(np.diff(beside.members[learned].indptr))
    middle, spread = (float(lengths.mean()), float(lengths.std())) if len(lengths) else (0.0, 0.0)
    rows = np.concatenate(scaled, axis=1) if scaled else np.zeros((beside.members.shape[1], 0), np.float32)
    counts = _log_counts(beside, learned, rank) if beside.history else ()
    return NodeTable(
        beside.relationship, beside.label, beside.history, np.ascontiguousarray(rows, np.float32),
        middle, spread if spread > 1e-6 else 1.0, counts,
    )  # fmt: skip


def node_tables(
    neighbours: Sequence[Neighbours],
    vectors: Mapping[str, FloatArray],
    learned: IntArray,
    *,
    rank: int,
    dim: int | None = None,
) -> list[NodeTable]:
    """`node_table` of each kind; `vectors` are those of the texts of each label."""
    return [
        node_table(
            beside, vectors.get(beside.label) if any(beside.texts) else None, learned, rank=rank, dim=dim
        )
        for beside in neighbours
    ]


def beside_features(tables: Sequence[NodeTable], members: Sequence[sp.csr_matrix], count: int) -> FloatArray:
    """All kinds side by side, float32 [count, sum of widths]."""
    parts = [table.of(matrix) for table, matrix in zip(tables, members, strict=True)]
    return np.concatenate([np.zeros((count, 0), np.float32), *parts], axis=1)


def _log_counts(beside: Neighbours, learned: IntArray, rank: int) -> tuple[LogCounts, ...]:
    """A block for each fact of the nodes whose groups tell the learned subjects apart."""
    members, out = beside.members[learned], []
    for groups in beside.groups.values():
        counted = sp.csr_matrix(members @ (groups > 0).astype(np.float32))
        counted.data = np.log1p(counted.data)
        mean = np.asarray(counted.mean(axis=0)).ravel()
        spread = np.sqrt(np.maximum(np.asarray(counted.multiply(counted).mean(axis=0)).ravel() - mean**2, 0))
        told = (np.bincount(counted.indices, minlength=groups.shape[1]) >= _HOLDERS) & (spread > 1e-6)
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=told)
        weighted = sp.csr_matrix(counted @ sp.diags(weight))
        k = min(rank, min(weighted.shape) - 1)
        if k < 1 or not told.any():
            continue
        axes = svds(weighted.astype(np.float64), k=k, v0=np.ones(min(weighted.shape)))[2][::-1]
        # An axis that no subject differs along is left as it is: it says 0.
        block = LogCounts(
            groups.indptr.astype(np.int64), groups.indices.astype(np.int64),
            np.ascontiguousarray((weight[:, None] * axes.T).astype(np.float32)), np.zeros(k, np.float32),
        )  # fmt: skip
        out.append(block.scaled(_lists(members)))
    return tuple(out)


def _lists(members: sp.csr_matrix) -> list[IntArray]:
    """The nodes of each subject."""
    return [part.astype(np.int64) for part in np.split(members.indices, members.indptr[1:-1])]


def _axes(shares: sp.csr_matrix, rank: int) -> FloatArray:
    """Weighted right singular vectors, float32 [columns, at most rank]."""
    holders = np.bincount(shares.indices, minlength=shares.shape[1])
    weight = np.log((1 + shares.shape[0]) / (1 + holders)).astype(np.float32)
    weighted = sp.csr_matrix(shares @ sp.diags(weight))
    k = min(rank, min(weighted.shape) - 1)
    if k < 1 or not weighted.nnz or not weighted.data.any():
        return np.zeros((shares.shape[1], 0), np.float32)
    # ARPACK starts at random unless it is told where.
    axes = svds(weighted.astype(np.float64), k=k, v0=np.ones(min(weighted.shape)))[2][::-1]
    return np.asarray(weight[:, None] * axes.T, np.float32)


def _scaled(block: FloatArray, shares: sp.csr_matrix) -> FloatArray | None:
    """Rows whose means over the subjects have mean 0 and a mean variance of 1; None where all are alike."""
    if not shares.shape[0]:
        return None
    seen = np.asarray(shares @ block, np.float64)
    middle = seen.mean(axis=0)
    size = float(np.sqrt(((seen - middle) ** 2).mean()))
    return np.asarray((block - middle) / size, np.float32) if size > 1e-5 else None
