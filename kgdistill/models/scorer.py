"""A trained model over a view, as a scorer of any users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.blend import Evidence
from kgdistill.models.student import Student
from kgdistill.models.teacher import FusedTeacher
from kgdistill.models.terms.items import ItemModel
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups

_LATEST = 5


@dataclass(frozen=True)
class Witnesses:
    """What a model asks beside its own vectors, over one view.

    Attributes:
        view: what is known.
        families: typed affinities.
        linear: item-to-item models of the view.
        decay: recency decay of the histories that these see.
        text: text vectors of unit length, float32 [items, E], compared with the history; None without.
    """

    view: Interactions
    families: list[ItemGroups]
    linear: tuple[ItemModel, ...] = ()
    decay: float = 0.0
    text: FloatArray | None = None

    @property
    def typed_count(self) -> int:
        """How many typed affinities there are."""
        return len(self.families) + (0 if self.text is None else 2)

    @property
    def affinity_count(self) -> int:
        """How many estimates of a purchase probability there are beside the vectors' own."""
        return len(self.linear)

    def pairs(self, users: IntArray, items: IntArray) -> tuple[FloatArray, FloatArray]:
        """Typed affinities float32 [B, C, M] and linear ones [B, C, A] of users and shared items."""
        typed = self.view.typed(self.families, users, items, more=self.typed_count - len(self.families))
        if self.text is not None:
            near, mean = self._nearness(users)
            text = self.text[items].T
            for start in range(0, len(users), 16):
                part = near[start : start + 16]
                # One product for all of them; many small ones are slower.
                like = (part.reshape(-1, part.shape[-1]) @ text).reshape(*part.shape[:2], -1)
                typed[start : start + 16, :, -2] = like.max(1)
            typed[:, :, -1] = mean @ text
        others = np.empty((len(users), len(items), self.affinity_count), np.float32)
        queries = self.view.queries(users, self.decay)
        for a, model in enumerate(self.linear):
            others[..., a] = model.score(queries, items)
        return typed, others

    def lists(self, users: IntArray, lists: IntArray) -> tuple[FloatArray, FloatArray]:
        """The same for each user's own list, int64 [B, C]."""
        typed = self.view.typed_lists(self.families, users, lists)
        if self.text is not None:
            near, mean = self._nearness(users)
            text = self.text[lists]
            most = np.einsum("bce,bne->bcn", text, near).max(-1)
            typed = np.concatenate(
                [typed, most[..., None], np.einsum("bce,be->bc", text, mean)[..., None]], axis=-1
            )
        others = np.empty((*lists.shape, self.affinity_count), np.float32)
        items, place = np.unique(lists, return_inverse=True)
        queries = self.view.queries(users, self.decay)
        for a, model in enumerate(self.linear):
            scores = model.score(queries, items)
            others[..., a] = np.take_along_axis(scores, place.reshape(lists.shape), axis=1)
        return typed.astype(np.float32), others

    def _nearness(self, users: IntArray) -> tuple[FloatArray, FloatArray]:
        """Text of the latest items [B, n, E] (zeros where there are none) and the history's mean [B, E]."""
        assert self.text is not None
        latest = self.view.latest(users, _LATEST)
        near = np.where((latest >= 0)[..., None], self.text[latest], np.float32(0))
        mean = np.asarray(self.view.purchases[users] @ self.text)
        length = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
        return near, (mean / length).astype(np.float32)


@dataclass
class Scorer:
    """Scores users against candidates with item vectors that were computed once.

    Calling it gives float32 [B, C] on the CPU; memory is B × C × (families + 20) floats.
    """

    model: FusedTeacher | Student
    witnesses: Witnesses
    vectors: Tensor
    fold: Tensor

    @property
    def view(self) -> Interactions:
        """What is known."""
        return self.witnesses.view

    @property
    def families(self) -> list[ItemGroups]:
        """The typed affinities in use."""
        return self.witnesses.families

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self.vectors.device

    def user_vectors(self, users: IntArray) -> Tensor:
        """float32 [B, D]."""
        items, offsets, ranks = (t.to(self.device) for t in self.view.history(users))
        return self.model.users(self.vectors, self.fold, items, offsets, ranks)

    @torch.no_grad()
    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `users` (ids) and `candidates` (ids)."""
        out = np.empty((len(users), len(candidates)), np.float32)
        for start in range(0, len(users), 64):
            now = users[start : start + 64]
            typed, others = self.witnesses.pairs(now, candidates)
            evidence = evidence_of(self.view, now, candidates, typed, others, self.device)
            vectors = self.vectors[torch.from_numpy(candidates).to(self.device)]
            scores = self.model.rank(self.user_vectors(now), vectors, evidence)
            out[start : start + 64] = scores.float().cpu().numpy()
        return out

    @torch.no_grad()
    def lists(self, users: IntArray, lists: IntArray) -> FloatArray:
        """Scores float32 [B, C] of each user's own list int64 [B, C]."""
        typed, others = self.witnesses.lists(users, lists)
        evidence = evidence_of(self.view, users, lists, typed, others, self.device)
        vectors = self.vectors[torch.from_numpy(lists).to(self.device)]
        scores = self.model.score(self.user_vectors(users), vectors, evidence)
        out: FloatArray = scores.float().cpu().numpy().astype(np.float32)
        return out


def evidence_of(
    view: Interactions,
    users: IntArray,
    items: IntArray,
    typed: FloatArray,
    others: FloatArray,
    device: torch.device,
) -> Evidence:
    """What a scorer knows of these users and items, on the device."""
    return Evidence(
        counts=torch.from_numpy(view.counts[items]).to(device),
        recent=torch.from_numpy(view.recent[items]).to(device),
        typed=torch.from_numpy(typed).to(device),
        lengths=torch.from_numpy(view.lengths(users)).to(device),
        affinities=torch.from_numpy(others).to(device),
    )
