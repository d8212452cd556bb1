"""What a model may see of a snapshot up to a time, as matrices and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.ragged import Ragged, placed

_CPU = torch.device("cpu")
_DAY_US = 86_400e6
RECENT_DAYS = 30.0
"""After so many days a purchase is half as recent, where a shop does not say otherwise (`half_life`)."""


@dataclass(frozen=True)
class OtherEvents:
    """Events of another kind between the same users and items: never right, but part of a history.

    Attributes:
        name: the relationship's type.
        weight: of one beside a purchase, at most 1; 0 where they are left out, and none is among the pairs.
        pairs: float32 CSR [users, items].
        times: same sparsity, when each first happened, microseconds since 1970.
    """

    name: str
    weight: float
    pairs: sp.csr_matrix
    times: sp.csr_matrix


@dataclass(frozen=True)
class Histories:
    """What a training reads of a view in every step, as tensors on one device.

    Attributes:
        bought: the items of each user, in the order of `Interactions.purchases`.
        ranks: of each of them (`Interactions.ranks`), float32 [events].
        counts: buyers of each item, int64 [items].
        lengths: log(1 + items in the history) of each user, float32 [users].
    """

    bought: Ragged
    ranks: Tensor
    counts: Tensor
    lengths: Tensor


@dataclass
class Interactions:
    """Interactions before `until`, over the snapshot's dense ids, with what follows from them.

    Attributes:
        purchases: float32 CSR [users, items], 1 where the user bought the item before `until`.
        ages: days before `until`, float32, aligned with `purchases.data`.
        counts: buyers of each item, int64 [items].
        recent: the same, each halved for every `recent_days` of its age, float32 [items].
        ranks: how many items the user bought after it, float32, aligned with `purchases.data`; items of one
            moment count as bought in the order of their ids.
        min_count: an item with fewer buyers is cold.
        recent_days: the half-life of `recent`.
        others: events of further kinds before the same moment, and what one of them weighs beside a purchase.
        fits: what was fitted on it and what with, to be fitted once.
    """

    purchases: sp.csr_matrix
    ages: FloatArray
    min_count: int
    others: tuple[tuple[float, Interactions], ...] = ()
    recent_days: float = RECENT_DAYS
    counts: IntArray = field(init=False)
    recent: FloatArray = field(init=False)
    ranks: FloatArray = field(init=False)
    fits: dict[Any, Any] = field(init=False, default_factory=dict)
    _shares: dict[ItemGroups, tuple[sp.csr_matrix, FloatArray]] = field(init=False, default_factory=dict)
    _on: dict[torch.device, Histories] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        bought, items = self.purchases.indices, self.purchases.shape[1]
        self.counts = np.bincount(bought, minlength=items).astype(np.int64)
        self.recent = self.recency(self.recent_days)
        users = np.repeat(np.arange(self.purchases.shape[0]), np.diff(self.purchases.indptr))
        order = np.lexsort((-bought, self.ages, users))
        self.ranks = np.empty(len(order), np.float32)
        self.ranks[order] = np.arange(len(order)) - self.purchases.indptr[users[order]]

    def recency(self, days: float) -> FloatArray:
        """Buyers of each item, each halved for every so many days of its age, float32 [items]."""
        weights = np.exp2(-self.ages / days)
        recent = np.bincount(self.purchases.indices, weights, minlength=self.purchases.shape[1])
        out: FloatArray = recent.astype(np.float32)
        return out

    @property
    def warm(self) -> IntArray:
        """Items with at least `min_count` buyers, ascending."""
        return np.flatnonzero(self.counts >= self.min_count).astype(np.int64)

    @cached_property
    def rows(self) -> sp.csr_matrix:
        """All that histories hold, float32 CSR [users, kinds * items]; the purchases' columns come first.

        An event of a further kind stands with its weight in a column of its own, so that it is learned where
        it leads to.
        """
        further = [weight * other.purchases for weight, other in self.others]
        return sp.csr_matrix(sp.hstack([self.purchases, *further])) if further else self.purchases

    def lengths(self, users: IntArray) -> FloatArray:
        """log(1 + items in the history), float32 [B]."""
        lengths = np.diff(self.purchases.indptr)[users]
        out: FloatArray = np.log1p(lengths).astype(np.float32)
        return out

    def on(self, device: torch.device) -> Histories:
        """The histories on a device, where they stay: 12 bytes of each event."""
        if device not in self._on:
            everybody = np.arange(self.purchases.shape[0])
            self._on[device] = Histories(
                Ragged.columns(self.purchases, device),
                *(placed(a, device) for a in (self.ranks, self.counts, self.lengths(everybody))),
            )
        return self._on[device]

    def history(self, users: IntArray | Tensor, device: torch.device = _CPU) -> tuple[Tensor, Tensor, Tensor]:
        """Items int64 [H], offsets int64 [B] and ranks float32 [H] of these users' histories, on a device."""
        known = self.on(device)
        places, offsets = known.bought.places(placed(users, device))
        return known.bought.values[places], offsets, known.ranks[places]

    def _places(self, users: IntArray) -> tuple[IntArray, IntArray]:
        starts, ends = self.purchases.indptr[users], self.purchases.indptr[users + 1]
        lengths = (ends - starts).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum()), offsets

    def queries(self, users: IntArray, decay: float) -> sp.csr_matrix:
        """The histories weighted by recency, exp(−decay · rank) in each kind: CSR [B, kinds * items]."""
        flat, offsets = self._places(users)
        weights = np.exp(-decay * self.ranks[flat]).astype(np.float32)
        rows = (weights, self.purchases.indices[flat], np.append(offsets, len(flat)))
        own = sp.csr_matrix(rows, shape=(len(users), self.purchases.shape[1]))
        further = [weight * other.queries(users, decay) for weight, other in self.others]
        return sp.csr_matrix(sp.hstack([own, *further])) if further else own

    def group_shares(self, family: ItemGroups) -> tuple[sp.csr_matrix, FloatArray]:
        """Each user's share of purchases in each group, CSR [users, groups], and everybody's, float32."""
        # By the groups themselves: shuffled ones have the same name.
        if family not in self._shares:
            bought = sp.csr_matrix(self.purchases @ family.incidence)
            everybody = np.asarray(bought.sum(0)).ravel()
            everybody = (everybody / max(everybody.sum(), 1e-9)).astype(np.float32)
            total = np.maximum(np.asarray(bought.sum(1)).ravel(), 1e-9)
            self._shares[family] = (sp.csr_matrix(sp.diags(1 / total) @ bought), everybody)
        return self._shares[family]


def interactions_before(
    purchases: sp.csr_matrix,
    first_at: sp.csr_matrix,
    *,
    until_us: int,
    min_count: int,
    others: Iterable[OtherEvents] = (),
    recent_days: float = RECENT_DAYS,
) -> Interactions:
    """The view of the events strictly before `until_us`.

    Args:
        purchases: float32 CSR [users, items].
        first_at: same sparsity, the events' times in microseconds.
        until_us: microseconds since 1970; events at or after it are left out.
        min_count: an item with fewer buyers is cold.
        others: events of further kinds.
        recent_days: the half-life of recent popularity.
    """
    coo, times = purchases.tocoo(), first_at.tocoo().data
    keep = times < until_us
    ages = ((until_us - times[keep]) / _DAY_US).astype(np.float32)
    matrix = sp.csr_matrix((ages, (coo.row[keep], coo.col[keep])), shape=purchases.shape)
    kept = matrix.data.copy()
    matrix.data = np.ones_like(kept, dtype=np.float32)
    further = tuple(
        (other.weight, interactions_before(other.pairs, other.times, until_us=until_us, min_count=min_count))
        for other in others
    )
    return Interactions(matrix, kept, min_count, further, recent_days)
