"""The next basket, repeats included: what a user buys in a period, whether they had it before or not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.ranking.habits import Past
from kgdistill.tasks.match import MatchTask, Scorer, Split, SplitPairs
from kgdistill.tasks.protocol import DiscoveryProtocol

HALF_LIVES: tuple[timedelta, ...] = tuple(timedelta(weeks=w) for w in (4, 8, 12, 16, 20, 30, 52))
"""What the personal frequency's half-life is tried at on validation."""


class RepeatTask(MatchTask):
    """As `MatchTask`, but nothing is masked and a pair stands in every split in which it was bought.

    Made by `repeat_task`. The setting is "warm": what anybody eligible had bought before the split is ranked.

    Attributes:
        lines: users int64 [N], items int64 [N] and microseconds since 1970 int64 [N]: every eligible purchase
            before the test's start, repeats included, by time.
    """

    def __init__(self, lines: tuple[IntArray, IntArray, IntArray], **fields: Any) -> None:
        super().__init__(**fields)
        self.lines = lines

    def history(self, split: Split) -> csr_array:
        """The pairs bought before `split`; 1 each."""
        both = csr_array(super().history(split), copy=True)
        both.data[:] = 1.0
        return both

    def seen(self, split: Split) -> csr_array:
        """Nothing: what they had may be shown again."""
        self._check(split)
        return csr_array(self.train.shape, dtype=np.float32)

    def past(self, until_us: int, moment_us: int | None = None) -> Past:
        """The lines before `until_us`, and what those before a moment, or else all of them, say."""
        users, items, at = (column[self.lines[2] < until_us] for column in self.lines)
        shape = (int(self.train.shape[0]), int(self.train.shape[1]))
        return Past(users, items, at, until_us if moment_us is None else moment_us, shape)

    def decayed_counts(self, split: Split, half_life: timedelta) -> csr_array:
        """float32 CSR [all users, all items]: purchases before `split`, halved per half-life of age.

        Raises:
            InputError: the half-life is not above 0.
        """
        if half_life <= timedelta(0):
            raise InputError(f"the half-life {half_life} is not above 0")
        until = self.history_until_us(split)
        users, items, at = self.lines
        known = at < until
        age = (until - at[known]) / (half_life / timedelta(microseconds=1))
        weights = np.exp2(-age).astype(np.float32)
        return csr_array((weights, (users[known], items[known])), shape=self.train.shape)


def repeat_task(task: MatchTask, lines: pa.Table) -> RepeatTask:
    """The repeat task beside a discovery task: the same users and items, the same periods.

    Args:
        task: the discovery task; its users, items, keys and moments are taken over.
        lines: every purchase: source and target (string keys) and at (timestamp, UTC); those of other users
            or items are left out. The graph holds the first purchase of a pair alone, so that these come
            from the data set.

    Raises:
        InputError: a column is missing.
    """
    for name in ("source", "target", "at"):
        if name not in lines.column_names:
            raise InputError(f"lack the column {name!r}", where="purchase lines")
    protocol = task.protocol.model_copy(
        update={
            "name": f"{task.protocol.name}-repeat",
            "title": f"{task.protocol.title}: repeats included",
            "refit": True,
            "min_item_users": 1,
            "settings": ("warm",),
        }
    )
    users = _ids(lines["source"], task.user_keys, task.users)
    items = _ids(lines["target"], task.item_keys, task.items)
    at = np.asarray(lines["at"].to_numpy(), dtype="datetime64[us]").astype(np.int64)
    kept = (users >= 0) & (items >= 0)
    order = np.lexsort((items[kept], users[kept], at[kept]))
    users, items, at = users[kept][order], items[kept][order], at[kept][order]
    cut, start, end = (_micros(m) for m in (protocol.cut, protocol.test_start, protocol.test_end))
    shape = task.train.shape

    def pairs(among: npt.NDArray[np.bool_]) -> csr_array:
        codes = np.unique(users[among] * np.int64(shape[1]) + items[among])
        rows, columns = np.divmod(codes, shape[1])
        return csr_array((np.ones(len(codes), np.float32), (rows, columns)), shape=shape)

    before = at < start
    return RepeatTask(
        (users[before], items[before], at[before]),
        protocol=protocol,
        pairs=SplitPairs(pairs(at < cut), pairs((at >= cut) & before), pairs((at >= start) & (at < end))),
        users=task.users,
        items=task.items,
        user_keys=task.user_keys,
        item_keys=task.item_keys,
    )


def describe_repeat(protocol: DiscoveryProtocol) -> list[str]:
    """The protocol of a repeat task in words; one sentence each."""
    return [
        "Interaction: every purchase of a product; a product counts once per user and period.",
        f"Split by time (UTC): train before {protocol.cut}, validation from then and before "
        f"{protocol.test_start}, test from then on.",
        "Users and products: those of the discovery protocol.",
        "Every product that one of them had bought before the period is ranked; nothing is left out.",
        f"NDCG@{protocol.k} (binary gain, ideal cut at min(relevant, {protocol.k})).",
        "What is chosen is chosen on validation; purchases up to the test's start may be known in the test.",
    ]


def personal_frequency(task: RepeatTask, split: Split, *, half_life: timedelta) -> Scorer:
    """How often the user bought it, purchases halved in weight per half-life; ties by everybody's purchases.

    Raises:
        InputError: the half-life is not above 0.
    """
    mine = task.decayed_counts(split, half_life)
    until = task.history_until_us(split)
    _, items, at = task.lines
    everybody = np.bincount(items[at < until], minlength=task.train.shape[1]).astype(np.float32)
    # A float32 holds seven digits: enough for the ties, too little to change an order.
    everybody *= np.float32(1e-6) / max(float(everybody.max()), 1.0)

    def score(users: IntArray, candidates: IntArray) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = mine[users][:, candidates].toarray() + everybody[candidates]
        return scores

    return score


def _ids(keys: pa.ChunkedArray, known: pa.Array, eligible: IntArray) -> IntArray:
    """The id of each key; -1 for one that is unknown or not eligible."""
    found = pc.index_in(keys.combine_chunks().cast(pa.string()), value_set=known.cast(pa.string()))
    ids = np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
    held = np.zeros(len(known) + 1, dtype=np.bool_)
    held[eligible] = True
    return np.where(held[ids], ids, -1)


def _micros(moment: Any) -> int:
    never = np.iinfo(np.int64).max
    return int(never if moment is None else np.datetime64(moment, "us").astype(np.int64))
