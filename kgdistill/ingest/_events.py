"""Event lines, such as order lines, to one event per pair of ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Aggregated:
    """One row per pair, ordered by source, then target; arrays of equal length.

    Attributes:
        source, target: the pair's codes.
        first_at, last_at: datetime64[us].
        first_quantity: units at first_at; 0 where no line has a quantity above 0.
        count: lines.
        spend: the sum of the lines' amounts.
        order: the lines, pair by pair.
        offsets: pair i has the lines `order[offsets[i]:offsets[i + 1]]`.
    """

    source: Ints
    target: Ints
    first_at: npt.NDArray[np.datetime64]
    last_at: npt.NDArray[np.datetime64]
    first_quantity: Ints
    count: Ints
    spend: npt.NDArray[np.float64]
    order: Ints
    offsets: Ints


def aggregate_lines(
    source: Ints,
    target: Ints,
    at: npt.NDArray[np.datetime64],
    quantity: Ints,
    amount: npt.NDArray[np.float64],
) -> Aggregated:
    """Aggregates lines by (source, target).

    The first event is the first line with a quantity above 0, and where there is none the first line,
    with quantity 0: a return alone is no purchase. Lines at one moment keep their order.

    Args:
        source, target: codes, int64 [lines], not negative.
        at: datetime64[us] [lines].
        quantity: int64 [lines].
        amount: float64 [lines].
    """
    width = int(target.max()) + 1 if len(target) else 1
    pairs: Any = source.astype(np.int64) * width + target
    order = np.lexsort((at, quantity <= 0, pairs)).astype(np.int64)
    pair, when, units, paid = pairs[order], at[order], quantity[order], amount[order]
    if len(pair) == 0:
        offsets = np.zeros(1, np.int64)
        last, spend = when, paid
    else:
        starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
        offsets = np.r_[starts, len(pair)].astype(np.int64)
        last = np.maximum.reduceat(when.astype(np.int64), starts).astype("datetime64[us]")
        spend = np.add.reduceat(paid, starts)
    heads = offsets[:-1]
    return Aggregated(
        source=pair[heads] // width,
        target=pair[heads] % width,
        first_at=when[heads],
        last_at=last,
        first_quantity=np.maximum(units[heads], 0),
        count=np.diff(offsets),
        spend=spend,
        order=order,
        offsets=offsets,
    )
