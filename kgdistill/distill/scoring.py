"""A trained model over a view, as a scorer of any users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kgdistill.distill.view import Family, FloatArray, IntArray, View
from kgdistill.models.student import Student
from kgdistill.models.teacher import FusedTeacher


@dataclass
class Scorer:
    """Scores users against candidates with item vectors that were computed once.

    Calling it gives float32 [B, C] on the CPU; memory is B × C × (families + 2) floats.
    """

    model: FusedTeacher | Student
    view: View
    families: list[Family]
    vectors: Tensor
    fold: Tensor

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self.vectors.device

    def user_vectors(self, users: IntArray) -> Tensor:
        """float32 [B, D]."""
        items, offsets, ages = (t.to(self.device) for t in self.view.history(users))
        if isinstance(self.model, FusedTeacher):
            return self.model.users(self.vectors, self.fold, items, offsets, ages)
        return self.model.users(self.vectors, self.fold, items, offsets)

    @torch.no_grad()
    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        """Scores float32 [B, C] of `users` (ids) and `candidates` (ids)."""
        typed = torch.from_numpy(self.view.typed(self.families, users, candidates)).to(self.device)
        index = torch.from_numpy(candidates).to(self.device)
        counts = torch.from_numpy(self.view.counts[candidates]).to(self.device)
        scores = self.model.score(self.user_vectors(users), self.vectors[index], counts, typed)
        out: FloatArray = scores.float().cpu().numpy().astype(np.float32)
        return out

    @torch.no_grad()
    def lists(self, users: IntArray, lists: IntArray) -> FloatArray:
        """Scores float32 [B, C] of each user's own list int64 [B, C]."""
        typed = torch.from_numpy(self.view.typed_lists(self.families, users, lists)).to(self.device)
        index = torch.from_numpy(lists).to(self.device)
        counts = torch.from_numpy(self.view.counts[lists]).to(self.device)
        scores = self.model.score(self.user_vectors(users), self.vectors[index], counts, typed)
        out: FloatArray = scores.float().cpu().numpy().astype(np.float32)
        return out
