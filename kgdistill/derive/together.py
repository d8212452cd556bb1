"""What is bought together: items of the same baskets, and for which of them that is beyond chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import gammainc

from kgdistill.arrays import BoolArray, DoubleArray, IntArray
from kgdistill.progress import step

# So many pairs of a basket's items are counted at a time, some 150 MB; one item may need more.
_CELLS = 2_000_000
_GRID = 1024


@dataclass(frozen=True)
class Baskets:
    """Which basket holds which item, each item once; rows of a user stand together, and so do a basket's.

    Attributes:
        user, basket, item: codes, int64 [rows]; baskets are counted from 0.
    """

    user: IntArray
    basket: IntArray
    item: IntArray

    @staticmethod
    def of(user: IntArray, item: IntArray, at_us: IntArray, window_us: int) -> Baskets:
        """Baskets from events: one begins with an event and holds what its user does within the window.

        Args:
            user, item: codes, int64 [events].
            at_us: when, microseconds, int64 [events].
            window_us: how long after its first event a basket lasts; 0: events of the same moment alone.
        """
        order = np.lexsort((at_us, user))
        user, item, at_us = user[order], item[order], at_us[order]
        moments = np.flatnonzero(_changes(user, at_us))
        opens, last, first = np.zeros(len(user), np.int64), -1, 0
        for row, who, when in zip(
            moments.tolist(), user[moments].tolist(), at_us[moments].tolist(), strict=True
        ):
            if who != last or when - first > window_us:
                opens[row], last, first = 1, who, when
        return _each_once(user, np.cumsum(opens) - 1, item)

    def of_groups(self, group: IntArray) -> Baskets:
        """The baskets with the group of each item in its place.

        Args:
            group: of every item, int64 [items]; below 0 for none.
        """
        code = group[self.item]
        some = code >= 0
        basket = self.basket[some]
        # Counted anew, as some are empty now.
        return _each_once(self.user[some], np.cumsum(_changes(basket)) - 1, code[some])

    def users_of(self, items: int) -> IntArray:
        """How many users have each item, int64 [items]."""
        order = np.lexsort((self.user, self.item))
        item = self.item[order]
        return np.bincount(item[_changes(item, self.user[order])], minlength=items).astype(np.int64)


@dataclass(frozen=True)
class Partners:
    """Of each item what was in one basket with it, in compressed rows.

    Attributes:
        indptr: where each item's rows begin, int64 [items + 1].
        partner: codes, int64 [rows].
        support: how many users had both in one basket, int64 [rows].
        expected: how many would by chance, float64 [rows].
        beyond: whether the support is beyond chance, bool [rows].
        users: how many users have each item, int64 [items].
        tested: how many pairs could have been beyond chance.
    """

    indptr: IntArray
    partner: IntArray
    support: IntArray
    expected: DoubleArray
    beyond: BoolArray
    users: IntArray
    tested: int


def partners(
    baskets: Baskets, items: int, min_support: int = 3, false_share: float = 0.05, *, keep: int = 20
) -> Partners:
    """Which items are in one basket, and for which of them that is beyond chance.

    By chance is: every basket keeps its size, every item its number of baskets, and which is where is drawn
    (the configuration model). Two items of d and e baskets are then together in x·s(s-1) baskets of size s,
    x = d·e / (T(T-1)) with T rows in all, and the users who have them together are a sum of independent
    chances 1 - exp(-x Σ s(s-1)), the sum over a user's baskets. A user counts once, however often; as an item
    may be drawn into a basket twice, rather too many are expected of the most bought. The tail of such a sum
    lies below that of the Poisson distribution with the same mean from one above that mean on (Hoeffding
    1956; Anderson & Samuels 1967). Of all pairs of items with enough users, those are beyond chance that the
    procedure of Benjamini & Hochberg (1995) leaves.

    Time grows with the sum of the squares of the baskets' sizes, memory with the pairs that may be kept.

    Args:
        baskets: who had what together.
        items: how many there are.
        min_support: least number of users who had both in one basket, for what is beyond chance.
        false_share: expected share of pairs among those beyond chance that are so by chance.
        keep: of each item so many partners of the largest support, and as many of those beyond chance whose
            support exceeds the expected one most; of equals the first.
    """
    users = baskets.users_of(items)
    able = int((users >= min_support).sum())
    tested = able * (able - 1) // 2
    sizes = np.bincount(baskets.basket).astype(np.int64)
    # No more pairs than this can have the support, so that a larger p is never small enough.
    most = int((sizes * (sizes - 1)).sum()) // 2 // min_support
    limit = false_share * min(1.0, most / max(tested, 1))
    often, perhaps = [_Rows.none()], [_Rows.none()]
    chance = _Chance(baskets, sizes, items)
    with step("counting what is bought together", total=len(baskets.item)) as progress:
        for item, partner, support, done in _counted(baskets, sizes, items):
            rows = _Rows(item, partner, support, chance(item, partner), np.ones(len(item)))
            some = (support >= min_support) & (support >= rows.expected + 1)
            rows.tail[some] = gammainc(support[some], rows.expected[some])
            often.append(rows.first(-rows.support, keep))
            perhaps.append(rows.where(rows.tail <= limit))
            progress.advance(done)
    found = _Rows.joined(perhaps)
    # Each pair stands there both ways.
    found = found.where(_small_enough(found.tail, 2 * tested, false_share))
    best = found.first(found.expected - found.support, keep)
    both = _Rows.joined([*often, best])
    codes, once = np.unique(both.item * items + both.partner, return_index=True)
    both = both.where(once)
    beyond = np.isin(codes, found.item * items + found.partner)
    indptr = np.searchsorted(both.item, np.arange(items + 1))
    return Partners(indptr, both.partner, both.support, both.expected, beyond, users, tested)


@dataclass(frozen=True)
class _Rows:
    """Pairs, with the chance of their support or a larger one."""

    item: IntArray
    partner: IntArray
    support: IntArray
    expected: DoubleArray
    tail: DoubleArray

    @staticmethod
    def none() -> _Rows:
        empty = np.zeros(0, np.int64)
        return _Rows(empty, empty, empty, np.zeros(0), np.zeros(0))

    @staticmethod
    def joined(parts: Sequence[_Rows]) -> _Rows:
        return _Rows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(_Rows)))

    def where(self, keep: BoolArray | IntArray) -> _Rows:
        return _Rows(*(getattr(self, f.name)[keep] for f in fields(_Rows)))

    def first(self, by: DoubleArray | IntArray, count: int) -> _Rows:
        """Of each item the `count` rows with the smallest value, then with the smallest code."""
        order = np.lexsort((self.partner, by, self.item))
        head = np.flatnonzero(_changes(self.item[order]))
        place = np.arange(len(order)) - np.repeat(head, np.diff(np.r_[head, len(order)]))
        return self.where(order[place < count])


class _Chance:
    """How many users would have two items in one basket by chance."""

    def __init__(self, baskets: Baskets, sizes: IntArray, items: int) -> None:
        self._degree = np.bincount(baskets.item, minlength=items).astype(np.float64)
        rows = float(len(baskets.item))
        self._all = max(rows * (rows - 1), 1.0)
        of = baskets.user[_changes(baskets.basket)]
        ways = np.bincount(of, weights=(sizes * (sizes - 1)).astype(np.float64))
        ways, times = np.unique(ways[ways > 0], return_counts=True)
        # One curve for all pairs: users by what the degrees of two items multiply to.
        x = np.logspace(-16, 0, _GRID)
        means = [float((times * -np.expm1(-at * ways)).sum()) for at in x]
        self._curve = np.log(x), np.log(np.maximum(means, 1e-300))

    def __call__(self, item: IntArray, partner: IntArray) -> DoubleArray:
        x = self._degree[item] * self._degree[partner] / self._all
        return np.asarray(np.exp(np.interp(np.log(x), *self._curve)))


def _counted(
    baskets: Baskets, sizes: IntArray, items: int
) -> Iterator[tuple[IntArray, IntArray, IntArray, int]]:
    """Item, partner and support, each item whole, chunk by chunk; and how many rows are done with it."""
    starts = np.cumsum(sizes) - sizes
    by_item = np.argsort(baskets.item, kind="stable")
    item_ends = np.cumsum(np.bincount(baskets.item, minlength=items))
    # A row of an item needs as many cells as its basket has rows.
    cells = np.cumsum(sizes[baskets.basket[by_item]])
    at = 0
    while at < len(by_item):
        end = int(np.searchsorted(cells, (cells[at - 1] if at else 0) + _CELLS, side="right"))
        end = int(item_ends[np.searchsorted(item_ends, max(end, at + 1))])
        rows = by_item[at:end]
        done, at = end - at, end
        basket = baskets.basket[rows]
        counts = sizes[basket]
        first = np.repeat(starts[basket] - (np.cumsum(counts) - counts), counts)
        other = baskets.item[first + np.arange(len(first))]
        # Rows of an item are in the order of the users, and stay so among equal pairs.
        code = np.repeat(baskets.item[rows], counts) * items + other
        order = np.argsort(code, kind="stable")
        code = code[order]
        code = code[_changes(code, np.repeat(baskets.user[rows], counts)[order])]
        heads = np.flatnonzero(_changes(code))
        support, code = np.diff(np.r_[heads, len(code)]), code[heads]
        apart = code // items != code % items
        yield code[apart] // items, code[apart] % items, support[apart], done


def _small_enough(p: DoubleArray, tested: int, false_share: float) -> BoolArray:
    """Which of the smallest p-values of `tested` ones the procedure of Benjamini & Hochberg takes."""
    ordered = np.sort(p)
    passes = np.flatnonzero(ordered <= false_share * np.arange(1, len(p) + 1) / max(tested, 1))
    return np.asarray(p <= ordered[passes[-1]]) if len(passes) else np.zeros(len(p), np.bool_)


def _each_once(user: IntArray, basket: IntArray, item: IntArray) -> Baskets:
    order = np.lexsort((item, basket))
    order = order[_changes(basket[order], item[order])]
    return Baskets(user[order], basket[order], item[order])


def _changes(*columns: IntArray) -> BoolArray:
    """Which rows differ from the row before, the first among them."""
    new = np.zeros(len(columns[0]), np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new
