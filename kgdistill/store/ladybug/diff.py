"""What an upsert changes: incoming rows beside stored rows, in Arrow and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_LIMIT = 2**62


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, whatever the number of chunks."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def positions(data: pa.Table, stored: pa.Table, names: Sequence[str]) -> NDArray[np.int64]:
    """For each row of `data`, the row of `stored` that agrees on `names`, or -1.

    Args:
        data: incoming rows.
        stored: rows that the store holds, each combination of `names` once.
        names: columns of both, without nulls.
    """
    old = np.zeros(stored.num_rows, dtype=np.int64)
    new = np.zeros(data.num_rows, dtype=np.int64)
    size = 1
    for name in names:
        values = pc.unique(pa.chunked_array([*data[name].chunks, *stored[name].chunks], data[name].type))
        if size * max(len(values), 1) >= _LIMIT:
            # The codes would overflow: number the combinations that occur instead.
            _, dense = np.unique(np.concatenate([old, new]), return_inverse=True)
            old, new = dense[: len(old)].astype(np.int64), dense[len(old) :].astype(np.int64)
            size = len(dense)
        old = old * len(values) + _index(stored[name], values)
        new = new * len(values) + _index(data[name], values)
        size *= max(len(values), 1)
    if not len(old):
        return np.full(len(new), -1, dtype=np.int64)
    order = np.argsort(old, kind="stable")
    ranked = old[order]
    at = np.minimum(np.searchsorted(ranked, new), len(ranked) - 1)
    found: NDArray[np.int64] = np.where(ranked[at] == new, order[at], -1)
    return found


def merge(data: pa.Table, held: pa.Table, clear_nulls: bool = False) -> pa.Table:
    """The columns of `held`, each value replaced by that of the same row of `data` where that has one.

    With `clear_nulls` a null of `data` replaces the value too.
    """

    def column(name: str) -> Any:
        if name not in data.column_names:
            return held[name]
        if clear_nulls:
            return data[name]
        return pc.if_else(pc.is_valid(data[name]), data[name], held[name])

    return pa.table([column(name) for name in held.column_names], schema=held.schema)


def changed_rows(data: pa.Table, held: pa.Table, clear_nulls: bool = False) -> pa.Array:
    """True where a row of `data` would change the same row of `held`; lists always count as a change."""
    result: Any = pa.array(np.zeros(data.num_rows, dtype=bool))
    for name in data.column_names:
        given = pc.is_valid(data[name])
        if not pa.types.is_list(data[name].type):
            differs = pc.fill_null(pc.not_equal(data[name], held[name]), True)
            change = pc.and_(given, differs)
        else:
            change = given
        if clear_nulls:
            change = pc.or_(change, pc.and_(pc.is_null(data[name]), pc.is_valid(held[name])))
        result = pc.or_(result, change)
    return flat(result)


def _index(column: pa.ChunkedArray, values: pa.Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.index_in(column, value_set=values).to_numpy().astype(np.int64)
    return found
