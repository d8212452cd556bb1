"""Which items the same users chose: counts, the nearest of each item, and their update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.progress import step

# A chunk of counts holds at most this many numbers, so at most 16 bytes times this.
_CHUNK_CELLS = 8_000_000


@dataclass(frozen=True)
class Choices:
    """Which user chose which item; every pair once.

    Attributes:
        user, item: codes, int64 [pairs].
        users, items: the keys behind the codes, string, in their order. More may stand there than occur.
    """

    user: IntArray
    item: IntArray
    users: pa.Array
    items: pa.Array

    @staticmethod
    def of(source: Any, target: Any, *, users: Any = None, items: Any = None) -> Choices:
        """From two string columns of equal length; repeated pairs count once.

        Args:
            source, target: Arrow string columns: users and items.
            users, items: Arrow string columns of further keys to hold a code for.
        """
        people, things = _distinct(source, users), _distinct(target, items)
        codes = codes_in(source, people) * max(len(things), 1) + codes_in(target, things)
        # Sorted and compared: several times as fast here as what np.unique does.
        codes.sort()
        pairs = codes[np.r_[True, codes[1:] != codes[:-1]]] if len(codes) else codes
        return Choices(pairs // max(len(things), 1), pairs % max(len(things), 1), people, things)

    def changed_items(self, before: Choices) -> BoolArray:
        """For each item, whether other users chose it than in `before`, which has the same keys."""
        width = max(len(self.items), 1)
        differs = np.setxor1d(
            self.user * width + self.item, before.user * width + before.item, assume_unique=True
        )
        changed = np.zeros(len(self.items), dtype=bool)
        changed[differs % width] = True
        return changed


@dataclass(frozen=True)
class Nearest:
    """The best partners of each item; arrays of equal length, each (item, partner) once.

    Attributes:
        item, partner: codes of the items, int64.
        support: how many users chose both, int64.
        more: bool; whether the item has further, worse partners that do not stand here.
    """

    item: IntArray
    partner: IntArray
    support: IntArray
    more: BoolArray

    def where(self, keep: BoolArray | IntArray) -> Nearest:
        """The rows for which `keep` is true, or those with these numbers."""
        return Nearest(self.item[keep], self.partner[keep], self.support[keep], self.more[keep])

    @staticmethod
    def joined(parts: list[Nearest]) -> Nearest:
        """All rows of all parts."""
        names = [field.name for field in fields(Nearest)]
        return Nearest(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @staticmethod
    def none() -> Nearest:
        """No rows."""
        empty = np.zeros(0, np.int64)
        return Nearest(empty, empty, empty, empty.astype(bool))


@dataclass(frozen=True)
class Former:
    """What an earlier computation with the same limits left.

    Attributes:
        nearest: its result, in codes of the items of now.
        changed: for each item, whether other users choose it now.
    """

    nearest: Nearest
    changed: BoolArray


def nearest_items(
    choices: Choices, top_k: int, min_support: int, *, spare: int = 0, former: Former | None = None
) -> tuple[Nearest, int]:
    """The best partners of each item by the cosine support / sqrt(users * users).

    Equal ones by the order of the items. Partners with fewer than `min_support` common users are none.
    With `former`, only what the changed items can have altered is counted anew: the changed items, and
    those that changed partners leave with fewer than `top_k` of which it is known that no other is better.
    For every other item the unchanged partners are as they were, and the changed ones come from the
    counts of these. Where that is more than half, everything is counted.

    Args:
        choices: who chose what.
        top_k: partners that are wanted.
        min_support: least number of common users.
        spare: further partners to find, so that a later update has some to lose.
        former: an earlier result with the same `spare`.

    Returns:
        For each item its `top_k` best partners, or all where there are fewer, and up to `spare` further
        ones; ordered by item, then from the best on. And for how many items they were counted.
    """
    if former is not None and not former.changed.any():
        return former.nearest, 0
    users = np.bincount(choices.item, minlength=len(choices.items)).astype(np.int64)
    # An item with too few users cannot reach the support with any other.
    often = users >= min_support
    keep = often[choices.item]
    matrix: Any = sparse.csr_matrix(
        (np.ones(int(keep.sum()), np.int32), (choices.user[keep], choices.item[keep])),
        shape=(len(choices.users), len(choices.items)),
    )
    kept, again, changed = Nearest.none(), often, np.zeros(len(often), dtype=bool)
    if former is not None:
        stays, redo = _untouched(former, top_k)
        if (redo & often).sum() * 2 < often.sum():
            kept, again, changed = stays, redo & often, former.changed
    found, parts = [Nearest.none()], [kept]
    rows = np.flatnonzero(again)
    with step("counting what goes together", total=len(rows)) as progress:
        for part, done in _counted(matrix, rows, int(often.sum()), min_support):
            found.append(_best(part, users, top_k + spare))
            if changed.any():
                across = Nearest(part.partner, part.item, part.support, part.more)
                across = across.where(changed[across.partner] & ~again[across.item])
                parts.append(across.where(_above_the_last(across, kept, users)))
            progress.advance(done)
    found.append(_best(Nearest.joined(parts), users, top_k + spare))
    whole = Nearest.joined(found)
    return whole.where(np.argsort(whole.item, kind="stable")), len(rows)


def first_of(nearest: Nearest, count: int) -> Nearest:
    """The `count` best of each item of what `nearest_items` returned."""
    return nearest.where(_place(nearest.item) < count)


def _untouched(former: Former, top_k: int) -> tuple[Nearest, BoolArray]:
    """What stays of the former partners, and the items whose partners have to be counted anew."""
    before, changed = former.nearest, former.changed
    same = before.where(~changed[before.partner])
    left = np.bincount(same.item, minlength=len(changed))
    redo = changed.copy()
    redo[before.item[before.more & (left[before.item] < top_k)]] = True
    return same.where(~redo[same.item]), redo


def _above_the_last(pairs: Nearest, kept: Nearest, users: IntArray) -> BoolArray:
    """Which pairs certainly come before any partner of the item that is not in `kept`."""
    if not len(kept.item):
        return np.ones(len(pairs.item), dtype=bool)
    # The last of each item; `kept` has the order of `nearest_items`.
    cosine, partner = np.full(len(users), -1.0), np.full(len(users), -1)
    cut_short = kept.where(kept.more)
    cosine[cut_short.item], partner[cut_short.item] = _squared_cosine(cut_short, users), cut_short.partner
    own, last = _squared_cosine(pairs, users), cosine[pairs.item]
    return np.asarray((own > last) | ((own == last) & (pairs.partner < partner[pairs.item])))


def _counted(matrix: Any, rows: IntArray, width: int, min_support: int) -> Iterator[tuple[Nearest, int]]:
    """The pairs of these items with any other that have the support, chunk by chunk."""
    by_item = matrix.T.tocsr()
    size = max(1, _CHUNK_CELLS // max(width, 1))
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        product: Any = (by_item[chunk] @ matrix).tocoo()
        item, partner = chunk[product.row], product.col
        keep = (product.data >= min_support) & (item != partner)
        support = product.data[keep].astype(np.int64)
        none = np.zeros(len(support), dtype=bool)
        yield Nearest(item[keep], partner[keep].astype(np.int64), support, none), len(chunk)


def _squared_cosine(pairs: Nearest, users: IntArray) -> npt.NDArray[np.float64]:
    # Exact integers above and below, so equal ones stay equal.
    squared: npt.NDArray[np.float64] = (pairs.support * pairs.support) / (
        users[pairs.item] * users[pairs.partner]
    )
    return squared


def _best(pairs: Nearest, users: IntArray, count: int) -> Nearest:
    order = np.lexsort((pairs.partner, -_squared_cosine(pairs, users), pairs.item))
    place = _place(pairs.item[order])
    more = np.zeros(len(users), dtype=bool)
    more[pairs.item[pairs.more]] = True
    more[pairs.item[order[place >= count]]] = True
    chosen = pairs.where(order[place < count])
    return Nearest(chosen.item, chosen.partner, chosen.support, more[chosen.item])


def _place(item: IntArray) -> IntArray:
    """The place of each row among those of its item, from 0; equal items stand together."""
    head = np.flatnonzero(np.r_[True, item[1:] != item[:-1]]) if len(item) else np.zeros(0, np.int64)
    place: IntArray = np.arange(len(item)) - np.repeat(head, np.diff(np.r_[head, len(item)]))
    return place


def pair_table(choices: Choices, nearest: Nearest, cut: np.datetime64) -> pa.Table:
    """Each pair of which one is among the other's nearest, with its measures.

    Returns:
        source, target (string, source < target), support (int64), lift, jaccard (float64),
        cut (timestamp us), ordered by source, then target.
    """
    count = max(len(choices.items), 1)
    low, high = np.minimum(nearest.item, nearest.partner), np.maximum(nearest.item, nearest.partner)
    codes, rows = np.unique(low * count + high, return_index=True)
    first, second, support = codes // count, codes % count, nearest.support[rows]
    users = np.bincount(choices.item, minlength=count).astype(np.int64)
    people = np.count_nonzero(np.bincount(choices.user, minlength=1))
    return pa.table(
        {
            "source": choices.items.take(pa.array(first)),
            "target": choices.items.take(pa.array(second)),
            "support": pa.array(support, type=pa.int64()),
            "lift": pa.array(support * float(people) / (users[first] * users[second]), type=pa.float64()),
            "jaccard": pa.array(support / (users[first] + users[second] - support), type=pa.float64()),
            "cut": pa.array(np.full(len(first), cut), type=pa.timestamp("us")),
        }
    )


def _distinct(*columns: Any) -> pa.Array:
    chunks = [
        chunk
        for column in columns
        if column is not None
        for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
    ]
    values = pc.unique(pa.chunked_array(chunks, type=pa.string()))
    return values.take(pc.sort_indices(values))


def codes_in(column: Any, keys: pa.Array) -> IntArray:
    """The place of each value of a string column among `keys`, where all of them are."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(pc.index_in(flat, value_set=keys)).astype(np.int64)
