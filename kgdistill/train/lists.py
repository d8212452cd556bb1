"""Candidate lists to learn from: each user's hardest unseen items and random ones, and which were right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.blend import Blend
from kgdistill.models.candidates import best_unseen
from kgdistill.models.device import home, taken
from kgdistill.models.scorer import Terms
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.ragged import Ragged, placed
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.losses import sampled_softmax

MANY = 20_000
"""Up to so many users, hard negatives are looked for for each."""


@dataclass(frozen=True)
class Lists:
    """Candidate lists with labels for the users of a view, on the device or, if they are large, beside it.

    Attributes:
        users: int64 [U], ascending.
        items: int64 [U, C].
        labels: bool [U, C].
        left_out: bool [U, C]: what the user bought before, and repeats; it counts neither way.
        values: what the terms say, float32 [U, C, terms].
    """

    users: Tensor
    items: Tensor
    labels: Tensor
    left_out: Tensor
    values: Tensor

    def of(self, users: Tensor) -> Lists | None:
        """The part that belongs to these users int64 [B], where they are; None where none does."""
        asked = users.to(self.users.device)
        rows = torch.searchsorted(self.users, asked).clamp_(max=len(self.users) - 1)
        rows = rows[self.users[rows] == asked].sort().values
        return (
            Lists(*(taken(getattr(self, f.name), rows, users.device) for f in fields(self)))
            if len(rows)
            else None
        )

    def loss(self, scores: Tensor) -> Tensor:
        """The sampled softmax of their scores, [U, C]."""
        return sampled_softmax(scores, self.labels, mask=self.left_out)


def negatives(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: Interactions,
    users: IntArray,
    pool: IntArray,
    *,
    top: int,
    random: int,
    rng: torch.Generator,
) -> Tensor:
    """Each user's hardest unseen items of `pool` and some random ones, int64 [U, top + random]."""
    top, random = min(top, len(pool)), random if len(pool) > top else 0
    best = best_unseen(scorer, view, users, pool, top)
    # Drawn on the CPU, so that every device has the same.
    drawn = torch.randint(len(pool), (len(users), random), generator=rng)
    return torch.cat([best, placed(pool, best.device)[drawn.to(best.device)]], dim=1)


def learners(users: IntArray, labels: sp.csr_matrix) -> IntArray:
    """Whose labels are learned from: of more than `MANY` users every so-manieth of those that have any."""
    if len(users) <= MANY:
        return users
    having = users[np.diff(labels.indptr)[users] > 0]
    some: IntArray = having[:: max(1, -(-len(having) // MANY))]
    return some


def labelled(users: IntArray, items: Tensor, labels: sp.csr_matrix, terms: Terms) -> Lists | None:
    """Lists with the labels among them; users without one are left out, and None is where nobody has one.

    Args:
        users: int64 [U], ascending.
        items: each user's list, int64 [U, C].
        labels: CSR [users, items], the events after the view of `terms`.
        terms: what they say of the lists is attached; what their view knows is left out.
    """
    at = home(4 * items.numel() * len(terms.terms), terms.device)
    rows, items = placed(users, at), items.to(at)
    hit = Ragged.columns(labels, at).holds(rows, items)
    # A random item may repeat one of the list; the first place counts.
    ranked, order = items.sort(dim=1, stable=True)
    repeat = torch.zeros_like(hit).scatter_(1, order[:, 1:], ranked[:, 1:] == ranked[:, :-1])
    # Where a user has few unseen items, bought ones fill the list.
    left_out = repeat | terms.view.on(at).bought.holds(rows, items)
    hit &= ~left_out
    keep = hit.any(1)
    if not keep.any():
        return None
    rows, items = rows[keep], items[keep]
    values = terms.values(*(part.cpu().numpy() for part in (rows, items)))
    return Lists(rows, items, hit[keep], left_out[keep], values)


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
        blend.set_scales(torch.cat([part.values.flatten(0, 1) for part in given]))
