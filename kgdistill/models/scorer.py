"""A trained model over a view, as a scorer of any users and items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.blend import UNITS, Evidence
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
            return self._evidence(users, items, tuple(term.pairs(users, items) for term in self.terms))

    def values(self, users: IntArray, lists: IntArray, *, chunk: int = 256) -> FloatArray:
        """What the terms say of each user's own list, int64 [B, C]: float32 [B, C, terms]."""
        out = np.empty((*lists.shape, len(self.terms)), np.float32)
        for start in range(0, len(users), chunk):
            part = slice(start, start + chunk)
            for t, term in enumerate(self.terms):
                with torch.autocast(self.device.type, enabled=False):
                    out[part, :, t] = term.lists(users[part], lists[part]).cpu().numpy()
        return out

    def lists(self, users: IntArray, lists: IntArray, values: FloatArray | None = None) -> Evidence:
        """Of each user's own list, int64 [B, C]; `values` where they are known already."""
        known = torch.from_numpy(self.values(users, lists) if values is None else values).to(self.device)
        return self._evidence(users, lists, known.unbind(-1))

    def _evidence(self, users: IntArray, items: IntArray, terms: tuple[Tensor, ...]) -> Evidence:
        return Evidence(
            counts=torch.from_numpy(self.view.counts[items]).to(self.device),
            lengths=torch.from_numpy(self.view.lengths(users)).to(self.device),
            terms=terms,
        )


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

    @cached_property
    def _counts(self) -> Tensor:
        return torch.from_numpy(self.view.counts).to(self.device)

    def user_vectors(self, users: IntArray) -> Tensor:
        """float32 [B, D]."""
        items, offsets, ranks = (t.to(self.device) for t in self.view.history(users))
        return self.model.users(self.vectors, self._counts, items, offsets, ranks)

    @torch.no_grad()
    def scores(self, users: IntArray, candidates: IntArray) -> Tensor:
        """Scores float32 [B, C] of `users` (ids) and `candidates` (ids), on the device."""
        out = torch.empty(len(users), len(candidates), dtype=torch.float32, device=self.device)
        vectors = self.vectors[torch.from_numpy(candidates).to(self.device)]
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
        vectors = self.vectors[torch.from_numpy(lists).to(self.device)]
        scores = self.model.score(self.user_vectors(users), vectors, self.terms.lists(users, lists))
        out: FloatArray = scores.float().cpu().numpy().astype(np.float32)
        return out
