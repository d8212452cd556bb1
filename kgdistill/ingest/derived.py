"""Relationships computed from events: products bought by the same users."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from kgdistill.errors import InputError
from kgdistill.ingest._model import GraphTables
from kgdistill.ingest._validate import codes_of
from kgdistill.progress import step
from kgdistill.store.protocol import EdgeType, GraphStore

ALSO_BOUGHT: EdgeType = ("Product", "ALSO_BOUGHT", "Product")
BOUGHT: EdgeType = ("User", "BOUGHT", "Product")
# A chunk of co-purchase counts holds at most this many numbers, so at most 16 bytes times this.
_CHUNK_CELLS = 8_000_000


def also_bought(
    source: GraphTables | GraphStore | pa.Table, *, cut: datetime, top_k: int = 20, min_support: int = 5
) -> pa.Table:
    """Which products were bought by the same users, from purchases strictly before `cut`.

    A purchase counts when first_at < cut and first_quantity is above 0 or null. `support` is how many
    users bought both, `lift` is support * users / (buyers of one * buyers of the other) with the users
    who bought anything. A pair stays when one is among the other's `top_k` by the cosine
    support / sqrt(buyers * buyers), which lets neither the popular nor the rare win; equal ones by the
    order of their ids. Needs about 300 MB on a hundred thousand products, whatever their pairs.

    Args:
        source: tables, a store, or the BOUGHT table alone.
        cut: naive is UTC.
        top_k: partners for each product, at least 1.
        min_support: least number of common users, at least 1.

    Returns:
        source, target (string, source < target), support (int64), lift (float64), cut (timestamp us),
        ordered by source, then target.

    Raises:
        InputError: top_k or min_support below 1.
    """
    for name, value in (("top_k", top_k), ("min_support", min_support)):
        if value < 1:
            raise InputError(f"{name} is {value}; it is at least 1")
    moment = cut.astimezone(timezone.utc).replace(tzinfo=None) if cut.tzinfo is not None else cut
    bought = _bought_before(source, moment)
    user, users = codes_of(bought["source"])
    item, items = codes_of(bought["target"])
    matrix: Any = sparse.csr_matrix(
        (np.ones(len(user), np.int32), (user, item)), shape=(len(users), len(items))
    )
    matrix.data[:] = 1
    buyers = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int64)
    # A product with too few buyers cannot reach the support with any other.
    often = np.flatnonzero(buyers >= min_support)
    first, second, support = _pairs(matrix[:, often], buyers[often], top_k, min_support)
    first, second = often[first], often[second]
    order = np.lexsort((second, first))
    first, second, support = first[order], second[order], support[order]
    lift = support * float(len(users)) / (buyers[first] * buyers[second])
    return pa.table(
        {
            "source": items.take(pa.array(first)),
            "target": items.take(pa.array(second)),
            "support": pa.array(support, type=pa.int64()),
            "lift": pa.array(lift, type=pa.float64()),
            "cut": pa.array(np.full(len(first), np.datetime64(moment, "us")), type=pa.timestamp("us")),
        }
    )


def write_also_bought(store: GraphStore, *, cut: datetime, top_k: int = 20, min_support: int = 5) -> int:
    """Computes ALSO_BOUGHT from the store's BOUGHT before `cut` and puts it in place of the former.

    Returns:
        How many relationships were written.

    Raises:
        InputError: as `also_bought`.
        StoreError: from the store; the former relationships then stay.
    """
    table = also_bought(store, cut=cut, top_k=top_k, min_support=min_support)
    former: list[datetime] = pc.unique(store.read_relationships(ALSO_BOUGHT, ["cut"])["cut"]).to_pylist()
    # Only a store that something else wrote to holds several cuts: all but one go first.
    for old in former[1:]:
        store.write_relationships(ALSO_BOUGHT, table.slice(0, 0), replace={"cut": old})
    return store.write_relationships(ALSO_BOUGHT, table, replace={"cut": former[0]} if former else None)


def _bought_before(source: GraphTables | GraphStore | pa.Table, cut: datetime) -> pa.Table:
    columns = ["first_at", "first_quantity"]
    if isinstance(source, pa.Table):
        bought = source
    elif isinstance(source, GraphTables):
        bought = source.edges[BOUGHT]
    else:
        bought = source.read_relationships(BOUGHT, columns)
    keep = pc.less(bought["first_at"], pa.scalar(cut, pa.timestamp("us")))
    if "first_quantity" in bought.column_names:
        keep = pc.and_(keep, pc.fill_null(pc.greater(bought["first_quantity"], 0), True))
    return bought.filter(keep)


def _pairs(
    matrix: Any, buyers: npt.NDArray[np.int64], top_k: int, min_support: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs (smaller, larger, support) of the columns of a users x products matrix of ones."""
    count = matrix.shape[1]
    by_item = matrix.T.tocsr()
    rows = max(1, _CHUNK_CELLS // max(count, 1))
    found: list[npt.NDArray[np.int64]] = []
    with step("products bought together", total=count) as progress:
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            product: Any = (by_item[start:stop] @ matrix).tocoo()
            row, column, support = product.row + start, product.col, product.data.astype(np.int64)
            keep = (support >= min_support) & (row != column)
            row, column, support = row[keep].astype(np.int64), column[keep].astype(np.int64), support[keep]
            # The square of the cosine: exact integers above and below, so equal ones stay equal.
            cosine = (support * support) / (buyers[row] * buyers[column])
            order = np.lexsort((column, -cosine, row))
            row, column, support = row[order], column[order], support[order]
            head = np.flatnonzero(np.r_[True, row[1:] != row[:-1]]) if len(row) else np.zeros(0, np.int64)
            lengths = np.diff(np.r_[head, len(row)])
            place = np.arange(len(row)) - np.repeat(head, lengths)
            best = place < top_k
            row, column, support = row[best], column[best], support[best]
            found.append(np.stack([np.minimum(row, column), np.maximum(row, column), support]))
            progress.advance(stop - start)
    if not found:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    both = np.concatenate(found, axis=1)
    _, unique = np.unique(both[0] * count + both[1], return_index=True)
    return both[0][unique], both[1][unique], both[2][unique]
