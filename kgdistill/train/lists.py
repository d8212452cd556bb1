"""Candidate lists to learn from: each user's hardest unseen items and random ones, and which were right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.models.blend import Blend
from kgdistill.models.candidates import best_unseen
from kgdistill.models.scorer import Terms
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.losses import sampled_softmax

MANY = 20_000
"""Up to so many users, hard negatives are looked for for each."""


@dataclass(frozen=True)
class Lists:
    """Candidate lists with labels for the users of a view.

    Attributes:
        users: int64 [U].
        items: int64 [U, C].
        labels: bool [U, C].
        left_out: bool [U, C]: what the user bought before, and repeats; it counts neither way.
        values: what the terms say, float32 [U, C, terms].
    """

    users: IntArray
    items: IntArray
    labels: BoolArray
    left_out: BoolArray
    values: FloatArray

    def of(self, users: IntArray) -> Lists | None:
        """The part that belongs to these users; None where none does."""
        rows = np.flatnonzero(np.isin(self.users, users))
        return Lists(*(getattr(self, f.name)[rows] for f in fields(self))) if len(rows) else None

    def loss(self, scores: Tensor) -> Tensor:
        """The sampled softmax of their scores, [U, C]."""
        labels, left_out = (torch.from_numpy(a).to(scores.device) for a in (self.labels, self.left_out))
        return sampled_softmax(scores, labels, mask=left_out)


def negatives(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: Interactions,
    users: IntArray,
    pool: IntArray,
    *,
    top: int,
    random: int,
    rng: np.random.Generator,
    chunk: int = 256,
) -> IntArray:
    """Each user's hardest unseen items of `pool` and some random ones, int64 [U, top + random]."""
    top, random = min(top, len(pool)), random if len(pool) > top else 0
    best = best_unseen(scorer, view.purchases, users, pool, top)
    parts = (users[start : start + chunk] for start in range(0, len(users), chunk))
    drawn = [rng.integers(0, len(pool), (len(part), random)) for part in parts]
    out: IntArray = np.concatenate([best, pool[np.concatenate(drawn)]], axis=1)
    return out


def learners(users: IntArray, labels: sp.csr_matrix) -> IntArray:
    """Whose labels are learned from: of more than `MANY` users every so-manieth of those that have any."""
    if len(users) <= MANY:
        return users
    having = users[np.diff(labels.indptr)[users] > 0]
    some: IntArray = having[:: max(1, -(-len(having) // MANY))]
    return some


def labelled(users: IntArray, items: IntArray, labels: sp.csr_matrix, terms: Terms) -> Lists | None:
    """Lists with the labels among them; users without one are left out, and None is where nobody has one.

    Args:
        users: int64 [U].
        items: each user's list, int64 [U, C].
        labels: CSR [users, items], the events after the view of `terms`.
        terms: what they say of the lists is attached; what their view knows is left out.
    """
    rows = np.repeat(users, items.shape[1])
    hit = np.asarray(labels[rows, items.ravel()]).reshape(items.shape) > 0
    # A random item may repeat one of the list; the first place counts.
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, 1)
    repeat = np.zeros_like(hit)
    np.put_along_axis(repeat, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], 1)
    # Where a user has few unseen items, bought ones fill the list.
    known = terms.view.purchases
    left_out = repeat | (np.asarray(known[rows, items.ravel()]).reshape(items.shape) > 0)
    hit &= ~left_out
    keep = hit.any(1)
    if not keep.any():
        return None
    users, items = users[keep], items[keep]
    return Lists(users, items, hit[keep], left_out[keep], terms.values(users, items))


def label_pools(catalogue: TrainingData, view: Interactions, labels: sp.csr_matrix) -> dict[str, IntArray]:
    """The items that lists are drawn from, by the name of the pool; those of fewer than two are left out."""
    sold = np.asarray(labels.sum(0)).ravel() > 0
    pools = {name: catalogue.pool(name, view) for name in catalogue.pools}
    # Judged among themselves, cold items that nobody bought afterwards teach nothing.
    pools = {name: pool[sold[pool]] if name == "cold" else pool for name, pool in pools.items()}
    return {name: pool for name, pool in pools.items() if len(pool) > 1}


def set_scales(blend: Blend, lists: Iterable[Lists | None]) -> None:
    """Measures the terms' units on the lists (`Blend.set_scales`)."""
    given = [part for part in lists if part is not None]
    if given:
        values = np.concatenate([p.values.reshape(p.items.size, p.values.shape[-1]) for p in given])
        blend.set_scales(torch.from_numpy(values))
