"""The best of many scores, with ties broken in one way; NumPy alone, so that a bundle needs nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kgdistill.arrays import FloatArray, IntArray

_BLOCK_CELLS = 1 << 22


def top_k(scores: FloatArray, candidates: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """The `k` best candidates of every row, best first; equal scores go to the smaller item id.

    Args:
        scores: float32 [U, C]; -inf is masked and never returned. Not changed.
        candidates: int64 [C], strictly ascending item ids.
        k: at least 1.

    Returns:
        Items int64 [U, k] and their scores float32 [U, k]; -1 and -inf where fewer than `k` remain.
        Working memory is 64 MB or one row.

    Raises:
        ValueError: NaN among the scores, shapes that do not fit, candidates out of order, `k` below 1.
    """
    check_asked(scores.shape, candidates, k)
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")

    def pick(rows: slice, most: int) -> tuple[IntArray, FloatArray]:
        block = scores[rows].astype(np.float32, copy=False)
        columns = _best_columns(block, most)
        return columns, np.take_along_axis(block, columns, axis=1)

    return by_blocks(scores.shape[0], candidates, k, pick)


def check_asked(shape: tuple[int, ...], candidates: IntArray, k: int) -> None:
    """ValueError unless scores of this shape can be asked for their `k` best."""
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    if len(shape) != 2 or candidates.shape != shape[1:]:
        raise ValueError(f"scores {shape} and candidates {candidates.shape} do not fit: [U, C], [C]")
    if (np.diff(candidates) <= 0).any():
        raise ValueError("the candidates must be strictly ascending")


def by_blocks(
    users: int, candidates: IntArray, k: int, pick: Callable[[slice, int], tuple[IntArray, FloatArray]]
) -> tuple[IntArray, FloatArray]:
    """What `pick` says of some rows at a time, their best columns and scores, as `top_k` returns it."""
    items = np.full((users, k), -1, dtype=np.int64)
    best = np.full((users, k), -np.inf, dtype=np.float32)
    kept = min(k, len(candidates))
    if kept == 0:
        return items, best
    rows = max(1, _BLOCK_CELLS // len(candidates))
    for start in range(0, users, rows):
        part = slice(start, start + rows)
        columns, found = pick(part, kept)
        items[part, :kept] = np.where(found > -np.inf, candidates[columns], -1)
        best[part, :kept] = found
    return items, best


def _best_columns(scores: FloatArray, k: int) -> IntArray:
    """int64 [rows, k]: by score from above, then by column."""
    # One integer holds score and column, so that a plain partition breaks ties exactly. The bits of a
    # float32 order like an integer once those of negative ones are flipped; + 0 makes -0 a 0.
    bits = (scores + np.float32(0)).view(np.int32)
    rising = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    keys = (~rising).astype(np.int64) << 32
    keys |= np.arange(scores.shape[1], dtype=np.int64)
    if k < scores.shape[1]:
        keys.partition(k - 1, axis=1)
    first = np.sort(keys[:, :k], axis=1)
    return first & np.int64(0xFFFFFFFF)


def best_entries(scores: FloatArray, entry: IntArray, answer: IntArray, count: int) -> FloatArray:
    """The greatest score among each answer's entries, float32 [Q, count]; -inf where it has none.

    Args:
        scores: float32 [Q, entries].
        entry, answer: int64 [pairs].
        count: of the answers.
    """
    out = np.full((count, len(scores)), -np.inf, np.float32)
    np.maximum.at(out, answer, scores.T[entry])
    return np.ascontiguousarray(out.T)
