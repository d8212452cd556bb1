"""What purchase lines before a moment say of a pair, an item and a user: how often, how lately, when due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import numpy as np

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError

DAY_US = 86_400_000_000
HALF_LIVES = (14.0, 28.0, 56.0, 112.0, 364.0)
"""Days after which a purchase counts half; one feature each."""
FEATURES: tuple[str, ...] = (
    *(f"pair, half-life {days:g} days" for days in HALF_LIVES),
    "pair, days of purchase",
    "pair, bought once",
    "pair, days since the last",
    "pair, the user's shopping days since the last",
    "pair, share of the shopping days since the first",
    "pair, how overdue",
    "pair, far from due",
    "pair, its own interval",
    "pair, none yet",
    "item, buyers who buy again",
    "item, interval",
    "item, purchases",
    "item, recent purchases",
    "item, trend",
    "item, recent purchases, had before",
    "user, shopping days",
    "user, recent shopping days",
    "user, days since the last",
    "user, different items",
)
"""What `Past.features` gives, in order."""
_RECENT = 28.0


Time: TypeAlias = datetime | str
"""A text is a date or a time in ISO 8601; without a zone it is UTC."""


@dataclass(frozen=True)
class Timed:
    """Every purchase of a user with its time, and when is asked.

    Attributes:
        lines: keys and times, in any order.
        at: the moment of asking, before which purchases count; None: right after the latest of these, or
            where that is later, the moment up to which a bundle knows what everybody bought.
    """

    lines: Sequence[tuple[str | int, Time]]
    at: Time | None = None


@dataclass(frozen=True)
class ItemHabits:
    """What everybody's purchase lines say of items.

    Attributes:
        values: float32 [items, 5]; the features that begin with "item", but for the last of them.
        interval: float64 [items]; the days after which it is usually bought again.
        popular: int64; the items that were bought, the recently most bought first.
    """

    values: FloatArray
    interval: DoubleArray
    popular: IntArray


@dataclass
class Past:
    """Purchase lines strictly before a moment, and what they say of pairs, items and users.

    Several lines of a pair on one day (24 hours, counted back from the moment) count once.

    Attributes:
        users, items: int64 [N]; whose line, and of what.
        at: int64 [N], microseconds since 1970. Lines at or after `until_us` are dropped.
        until_us: the moment.
        shape: users and items that there are.
        of_items: what is known of the items; None: what these lines say.
    """

    users: IntArray
    items: IntArray
    at: IntArray
    until_us: int
    shape: tuple[int, int]
    of_items: ItemHabits | None = None
    item_habits: ItemHabits = field(init=False)
    codes: IntArray = field(init=False)
    starts: IntArray = field(init=False)
    _pair: FloatArray = field(init=False)
    _user: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        wide = np.int64(self.shape[1])
        known = self.at < self.until_us
        if not known.any():
            raise InputError("no purchase lies before the moment", hint="choose a later one")
        # The last microsecond before the moment is of day 0.
        age = (self.until_us - 1 - self.at[known]) // DAY_US
        code = self.users[known] * wide + self.items[known]
        order = np.lexsort((-age, code))
        code, age = code[order], age[order]
        first = np.ones(len(code), dtype=np.bool_)
        first[1:] = (np.diff(code) != 0) | (np.diff(age) != 0)
        code, age = code[first], age[first]
        self.codes, begin, pair, count = np.unique(
            code, return_index=True, return_inverse=True, return_counts=True
        )
        user, item = np.divmod(self.codes, wide)
        self.starts = np.searchsorted(user, np.arange(self.shape[0] + 1)).astype(np.int64)
        oldest, latest = age[begin], age[begin + count - 1]
        self.item_habits = self.of_items or _item_habits(
            (code % wide, age), (item, count, oldest - latest), self.shape[1]
        )
        span, gaps = (oldest - latest).astype(np.float64), count - 1.0
        interval = self.item_habits.interval
        own = (span + interval[item]) / (gaps + 1)
        late = np.log((latest + 1) / own)
        since_first, since_last = self._shopping_days(user, oldest, latest)
        columns = [
            np.log(np.bincount(pair, np.exp2(-age / days), minlength=len(user)) + 0.03) for days in HALF_LIVES
        ]
        columns += [
            np.log(count),
            count == 1,
            np.log1p(latest),
            np.log1p(since_last),
            np.log((count + 0.5) / (since_first + 2)),
            late,
            np.minimum(late + np.log(2), 0),
            np.log(own),
        ]
        self._pair = np.stack(columns, axis=1).astype(np.float32)

    def _shopping_days(self, user: IntArray, oldest: IntArray, latest: IntArray) -> tuple[IntArray, IntArray]:
        """For each pair the user's shopping days from its first day on, and after its last; fills `_user`."""
        known = self.at < self.until_us
        age = (self.until_us - 1 - self.at[known]) // DAY_US
        wide = np.int64(age.max() + 2)
        days = np.unique(self.users[known] * wide + age)
        start = np.searchsorted(days, np.arange(self.shape[0] + 1) * wide)
        who, when = np.divmod(days, wide)
        recent = np.bincount(who, np.exp2(-when / _RECENT), minlength=self.shape[0])
        last = np.full(self.shape[0], age.max() + 1, dtype=np.int64)
        np.minimum.at(last, who, when)
        columns = [np.log1p(np.diff(start)), np.log(recent + 0.1), np.log1p(last)]
        self._user = np.stack([*columns, np.log1p(np.diff(self.starts))], axis=1).astype(np.float32)
        since_first = np.searchsorted(days, user * wide + oldest, side="right") - start[user]
        since_last = np.searchsorted(days, user * wide + latest) - start[user]
        return since_first.astype(np.int64), since_last.astype(np.int64)

    @property
    def popular(self) -> IntArray:
        """See `ItemHabits`."""
        return self.item_habits.popular

    def own(self, user: int) -> IntArray:
        """Items that the user had, ascending."""
        return self.codes[self.starts[user] : self.starts[user + 1]] % self.shape[1]

    def features(self, users: IntArray, items: IntArray) -> FloatArray:
        """float32 [n, features] of the pairs (users[i], items[i])."""
        code = users * np.int64(self.shape[1]) + items
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        had = self.codes[place] == code
        out = np.zeros((len(code), len(FEATURES)), np.float32)
        pairs = self._pair.shape[1]
        out[had, :pairs] = self._pair[place[had]]
        out[:, pairs] = ~had
        out[:, pairs + 1 : pairs + 6] = self.item_habits.values[items]
        out[:, pairs + 6] = self.item_habits.values[items, 3] * had
        out[:, pairs + 7 :] = self._user[users]
        return out


def _item_habits(
    lines: tuple[IntArray, IntArray], pairs: tuple[IntArray, IntArray, IntArray], items: int
) -> ItemHabits:
    """What lines say of the items.

    Args:
        lines: of each the item and its age in days.
        pairs: of each user and item that they had the item, the days of purchase, and how many days lie
            between the first and the last.
        items: how many there are.
    """
    what, age = lines
    item, count, days = pairs
    every = np.bincount(item, count, minlength=items)
    recent = np.bincount(what, np.exp2(-age / _RECENT), minlength=items)
    slow = np.bincount(what, np.exp2(-age / (4 * _RECENT)), minlength=items)
    order = np.argsort(-recent, kind="stable").astype(np.int64)
    # An item's rates are pulled towards everybody's where few say anything.
    again = count > 1
    buyers = np.bincount(item, minlength=items)
    rate = (np.bincount(item, again, minlength=items) + 5 * again.mean()) / (buyers + 5)
    span, gaps = days.astype(np.float64), count - 1.0
    usual = span.sum() / max(gaps.sum(), 1.0) if gaps.sum() else 30.0
    interval = (np.bincount(item, span, minlength=items) + 5 * usual) / (
        np.bincount(item, gaps, minlength=items) + 5
    )
    values = np.zeros((items, 5), np.float32)
    values[:, 0] = np.log(rate / (1 - rate + 1e-3))
    values[:, 1] = np.log(interval)
    values[:, 2] = np.log1p(every)
    values[:, 3] = np.log(recent + 0.1)
    values[:, 4] = np.log((recent + 1) / (slow / 4 + 1))
    return ItemHabits(values, interval, order[buyers[order] > 0])
