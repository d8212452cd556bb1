"""A trained model over a view, as a scorer of any users and items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.blend import UNITS, Evidence
from kgdistill.models.device import home
from kgdistill.models.student import Student
from kgdistill.models.teacher import FusedTeacher
from kgdistill.models.terms import (
    ItemWeights,
    Popularity,
    RecentPopularity,
    SharedGroups,
    Term,
    Unit,
)
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.ragged import placed


@dataclass(frozen=True)
class Terms:
    """What a model asks beside its own vectors, over one view: its terms, in the order of its blend.

    Attributes:
        view: what is known.
        terms: ordered by their units, as `UNITS`.
        device: where they compute.
    """

    view: Interactions
    terms: tuple[Term, ...]
    device: torch.device

    @property
    def units(self) -> tuple[Unit, ...]:
        """Of the terms."""
        return tuple(term.unit for term in self.terms)

    @property
    def parameters(self) -> int:
        """How many numbers the weights between items are."""
        return sum(term.model.parameters for term in self.terms if isinstance(term, ItemWeights))

    def over(self, view: Interactions) -> Terms:
        """The same terms for other histories; what was fitted stays."""
        terms: tuple[Any, ...] = self.terms
        return Terms(view, tuple(replace(term, view=view) for term in terms), self.device)

    def pairs(self, users: IntArray, items: IntArray) -> Evidence:
        """Of users int64 [B] and shared items int64 [C]."""
        with torch.autocast(self.device.type, enabled=False):
            terms = tuple(term.pairs(users, items) for term in self.terms)
        return self.evidence(placed(users, self.device), placed(items, self.device), terms)

    def values(self, users: IntArray, lists: IntArray, *, chunk: int = 256) -> Tensor:
        """What the terms say of each user's own list, int64 [B, C]: float32 [B, C, terms], see `home`."""
        shape = (*lists.shape, len(self.terms))
        out = torch.empty(shape, device=home(4 * math.prod(shape), self.device))
        for start in range(0, len(users), chunk):
            part = slice(start, start + chunk)
            for t, term in enumerate(self.terms):
                with torch.autocast(self.device.type, enabled=False):
                    out[part, :, t] = term.lists(users[part], lists[part])
        return out

    def evidence(self, users: Tensor, items: Tensor, terms: tuple[Tensor, ...]) -> Evidence:
        """Of users int64 [B] and items int64 [B, C] or [C] on the device, with what the terms say of them."""
        known = self.view.on(self.device)
        return Evidence(counts=known.counts[items], lengths=known.lengths[users], terms=terms)


def terms_of(
    view: Interactions,
    families: Sequence[ItemGroups],
    weights: Sequence[ItemWeights] = (),
    *,
    device: torch.device,
) -> Terms:
    """The terms of a model that ranks items by histories.

    Args:
        view: what is known.
        families: groups that items share.
        weights: between items.
        device: where to compute.
    """
    terms: list[Term] = [
        *weights,
        Popularity(view, device),
        RecentPopularity(view, device),
        *(SharedGroups(view, family, device) for family in families),
    ]
    return Terms(view, tuple(sorted(terms, key=lambda term: UNITS.index(term.unit))), device)


@dataclass
class Scorer:
    """Scores users against candidates with item vectors that were computed once.

    Calling it gives float32 [B, C] on the CPU; memory is 64 × C × (terms + 20) floats beside them.
    """

    model: FusedTeacher | Student
    terms: Terms
    vectors: Tensor

    @property
    def view(self) -> Interactions:
        """What is known."""
        return self.terms.view

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self.vectors.device

    def user_vectors(self, users: IntArray | Tensor) -> Tensor:
        """float32 [B, D]."""
        counts = self.view.on(self.device).counts
        return self.model.users(self.vectors, counts, *self.view.history(users, self.device))

    @torch.no_grad()
    def scores(self, users: IntArray, candidates: IntArray) -> Tensor:
        """Scores float32 [B, C] of `users` (ids) and `candidates` (ids), on the device."""
        out = torch.empty(len(users), len(candidates), dtype=torch.float32, device=self.device)
        vectors = self.vectors[placed(candidates, self.device)]
        for start in range(0, len(users), 64):
            now = users[start : start + 64]
            out[start : start + 64] = self.model.score(
                self.user_vectors(now), vectors, self.terms.pairs(now, candidates)
            )
        return out

    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """`scores` on the CPU, float32 [B, C]."""
        out: FloatArray = self.scores(users, candidates).cpu().numpy()
        return out

    @torch.no_grad()
    def lists(self, users: IntArray, lists: IntArray) -> FloatArray:
        """Scores float32 [B, C] of each user's own list int64 [B, C]."""
        rows, items = placed(users, self.device), placed(lists, self.device)
        said = self.terms.values(users, lists).to(self.device).unbind(-1)
        evidence = self.terms.evidence(rows, items, said)
        scores = self.model.score(self.user_vectors(rows), self.vectors[items], evidence)
        out: FloatArray = scores.float().cpu().numpy()
        return out
