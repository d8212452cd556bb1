"""The next basket without torch: what a user had, the most bought and the student's best in one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from kgdistill.ranking.habits import FEATURES, Past

WIDTH = len(FEATURES) + 2
"""How many values say what is known of a user and an item."""
_CHUNK = 64


class Proposer(Protocol):
    """A student that ranks items for users, by the rows of a `Past`."""

    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """Scores float32 [B, C] of items int64 [C], ascending."""

    def lists(self, users: IntArray, lists: IntArray) -> FloatArray:
        """Scores float32 [B, C] of each user's own list int64 [B, C]."""


@dataclass(frozen=True)
class ListSettings:
    """What is ranked beside what a user had.

    Attributes:
        popular: so many of the recently most bought items.
        proposed: so many of the student's best new items, among the `pool` recently most bought.
    """

    popular: int = 100
    proposed: int = 50
    pool: int = 2000


@dataclass(frozen=True)
class BasketLists:
    """Each user's own candidates, one after another.

    Attributes:
        users, items: int64 [n].
        offsets: int64 [users + 1]; where each user's candidates start.
        values: float32 [n, WIDTH]; the last two are the student's score of an item that the user had,
            and of one that they had not, less the mean over the latter: 0 for the other kind.
    """

    users: IntArray
    items: IntArray
    offsets: IntArray
    values: FloatArray


def make_lists(
    past: Past, users: IntArray, student: Proposer | None, settings: ListSettings,
    among: BoolArray | None = None,
) -> BasketLists:  # fmt: skip
    """What is ranked for `users`: their history, the recently most bought, the student's best new ones.

    Args:
        past: what is known.
        users: int64 [B].
        student: None leaves its candidates out and its values at 0.
        settings: how many.
        among: bool [items]; the others are as if they were not there. None: all are.
    """
    most = past.popular if among is None else past.popular[among[past.popular]]
    pool = np.sort(most[: settings.pool])
    parts: list[IntArray] = []
    scores: list[FloatArray] = []
    had: list[BoolArray] = []
    for start in range(0, len(users), _CHUNK):
        now = users[start : start + _CHUNK]
        own = [past.own(int(user)) for user in now]
        if among is not None:
            own = [mine[among[mine]] for mine in own]
        more = [most[: settings.popular]] * len(now)
        if student is not None and len(pool):
            given = student(now, pool)
            for row, mine in enumerate(own):
                order = np.argsort(np.where(np.isin(pool, mine), np.inf, -given[row]), kind="stable")
                more[row] = np.concatenate([more[row], pool[order[: settings.proposed]]])
        lists = [np.union1d(a, b) for a, b in zip(own, more, strict=True)]
        parts += lists
        had += [np.isin(items, mine) for items, mine in zip(lists, own, strict=True)]
        if student is not None:
            padded = np.zeros((len(now), max(map(len, lists))), np.int64)
            for row, items in enumerate(lists):
                padded[row, : len(items)] = items
            given = student.lists(now, padded)
            scores += [given[row, : len(items)] for row, items in enumerate(lists)]
    lengths = np.array([len(items) for items in parts], dtype=np.int64)
    flat = np.concatenate([np.zeros(0, np.int64), *parts])
    owner = np.repeat(users, lengths)
    values = np.zeros((len(flat), WIDTH), np.float32)
    values[:, :-2] = past.features(owner, flat)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for row, score in enumerate(scores):
        if not len(score):
            continue
        level = score[~had[row]].mean() if not had[row].all() else score.mean()
        where = slice(offsets[row], offsets[row + 1])
        values[where, -2] = np.where(had[row], score - level, 0)
        values[where, -1] = np.where(had[row], 0, score - level)
    return BasketLists(owner, flat, offsets, values)


@dataclass(frozen=True)
class RepeatNetwork:
    """Two layers over standardised values, with a GELU between.

    Attributes:
        mean, scale: float32 [WIDTH]; what zero mean and unit variance were over in training.
        inner, inner_bias: float32 [H, WIDTH] and [H].
        outer, outer_bias: float32 [H] and [1].
        informed: whether it has learned from the student's values; if not, they stand at their mean.
    """

    mean: FloatArray
    scale: FloatArray
    inner: FloatArray
    inner_bias: FloatArray
    outer: FloatArray
    outer_bias: FloatArray
    informed: bool

    def scores(self, values: FloatArray) -> FloatArray:
        """float32 [n] of values float32 [n, WIDTH]."""
        inputs = (values - self.mean) / self.scale
        if not self.informed:
            inputs[:, -2:] = 0.0
        hidden = (inputs @ self.inner.T + self.inner_bias).astype(np.float64)
        hidden *= 0.5 * (1 + _erf(hidden / np.sqrt(2)))
        out: FloatArray = (hidden @ self.outer + self.outer_bias).astype(np.float32)
        return out


@dataclass(frozen=True)
class RepeatScorer:
    """Scores any users and items: the network for a user's own list, all else below it by popularity.

    Attributes:
        network: fitted.
        past: what is known.
        student: None where it may not be used.
        settings: what is ranked.
        among: as `make_lists`.
    """

    network: RepeatNetwork
    past: Past
    student: Proposer | None
    settings: ListSettings
    among: BoolArray | None = None

    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `users` (ids) and `candidates` (ids, ascending)."""
        place = np.full(self.past.shape[1], -1, np.int64)
        place[candidates] = np.arange(len(candidates))
        # What nobody bought comes last.
        rank = np.full(self.past.shape[1], self.past.shape[1], np.float32)
        rank[self.past.popular] = np.arange(len(self.past.popular), dtype=np.float32)
        rest = -1 - rank[candidates] / len(rank)
        lists = make_lists(self.past, users, self.student, self.settings, self.among)
        scores = self.network.scores(lists.values)
        out = np.empty((len(users), len(candidates)), np.float32)
        for row in range(len(users)):
            where = slice(lists.offsets[row], lists.offsets[row + 1])
            out[row] = rest + scores[where].min(initial=0)
            asked = place[lists.items[where]]
            out[row, asked[asked >= 0]] = scores[where][asked >= 0]
        return out


def _erf(x: DoubleArray) -> DoubleArray:
    """The error function, to 1.5e-7 (Abramowitz and Stegun, 7.1.26): what a float32 can tell."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    powers = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    out: DoubleArray = np.sign(x) * (1 - powers * np.exp(-(x**2)))
    return out
