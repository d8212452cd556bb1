"""What a teacher hands down to its student."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.blend import Head
from kgdistill.models.scorer import Scorer
from kgdistill.progress import step
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.lists import negatives


@dataclass(frozen=True)
class Targets:
    """What the teacher hands down.

    Attributes:
        users: int64 [U].
        items: candidate lists, int64 [U, C].
        scores: the teacher's scores of them (soft logits), float32 [U, C].
        groups: how many lists stand side by side in a row (warm, cold), and where each ends.
        relational: fused item vectors, float32 [items, D].
        head: how the teacher weighs what it knows; None leaves a student's own start.
    """

    users: IntArray
    items: IntArray
    scores: FloatArray
    groups: tuple[int, ...]
    relational: FloatArray
    head: Head | None = None


def make_targets(teacher: Scorer, catalogue: TrainingData, *, top: int, random: int, seed: int) -> Targets:
    """Runs the teacher over the view that its scorer knows.

    Lists hold its best unseen items of every pool of the catalogue, each with random ones beside them.
    """
    rng = torch.Generator().manual_seed(seed)
    view = teacher.view
    pools = [p for p in (catalogue.pool(name, view) for name in catalogue.pools) if len(p) > 1]
    users = catalogue.users
    with step("Writing down the teacher's targets", total=len(users)) as work:
        parts, ends = [], []
        for start in range(0, len(users), 256):
            chunk = users[start : start + 256]
            rows = [negatives(teacher, view, chunk, pool, top=top, random=random, rng=rng) for pool in pools]
            parts.append(torch.cat(rows, dim=1).cpu().numpy())
            ends = list(np.cumsum([r.shape[1] for r in rows]))
            work.advance(len(chunk))
        items = np.concatenate(parts)
        scores = np.concatenate(
            [teacher.lists(users[s : s + 256], items[s : s + 256]) for s in range(0, len(users), 256)]
        )
    vectors: FloatArray = teacher.vectors.float().cpu().numpy()
    return Targets(users, items, scores, tuple(int(e) for e in ends), vectors, teacher.model.head)
