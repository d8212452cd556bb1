"""How a score is put together from what a model knows about a user and an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import FloatArray
from kgdistill.models.terms.protocol import Unit


def item_state(counts: Tensor, min_count: int) -> Tensor:
    """What the gates see of an item, float32 [N, 2]: scaled log(1 + buyers), and whether it is cold."""
    counts = counts.float()
    return torch.stack([torch.log1p(counts) / 5.0, (counts < min_count).float()], dim=-1)


UNITS: tuple[Unit, ...] = ("probability", "count", "score", "cosine")
"""In this order a blend takes its terms."""


@dataclass(frozen=True)
class Evidence:
    """What a scorer knows of B users and C items beside their vectors; [C] where all users share the items.

    Attributes:
        counts: buyers, int64 [B, C] or [C].
        lengths: log(1 + items in the history), float32 [B].
        terms: what each term says, in its unit, float32 [B, C], or [C] where it says the same to all users.
    """

    counts: Tensor
    lengths: Tensor
    terms: tuple[Tensor, ...] = ()


class Blend(nn.Module):
    """Adds up the vectors' affinity and the terms, weighted by the item's and the user's state.

    score = Σ_t w_t·x_t, where the weights are linear in `item_state` and log(1 + history). The vectors'
    affinity, the first, is a logit as it is; of a term x_t is log(eps + eps·softplus(r / eps)) of a
    probability r, which makes it a logit too, log(1 + c) of a count c, and a cosine or a score in units of
    its spread. Cold items get `new_boost` on top, which is 0 in training, but for users without a history, of
    whom nothing says which new items would fit.

    Args:
        units: of the terms, in the order of `UNITS`.

    Raises:
        ValueError: the units come in another order.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        super().__init__()
        if sorted(units, key=UNITS.index) != list(units):
            raise ValueError(f"terms come in the order {', '.join(UNITS)}, not {', '.join(units)}")
        self.units = tuple(units)
        self.estimates = self.units.count("probability")
        self.counted = self.units.count("count")
        terms = 1 + len(self.units)
        self.weights = nn.Linear(2, terms)
        self.user = nn.Linear(1, terms, bias=False)
        self.log_eps = nn.Parameter(torch.full((self.estimates,), -3.9))
        self.typed_scale: Tensor
        self.register_buffer("typed_scale", torch.ones(terms - 1 - self.estimates - self.counted))
        self.new_boost: Tensor
        self.register_buffer("new_boost", torch.zeros(()))
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.user.weight)
        with torch.no_grad():
            self.weights.bias.fill_(0.1)
            self.weights.bias[: 1 + self.estimates] = 1.0 / (1 + self.estimates)

    @torch.no_grad()
    def set_scales(self, values: Tensor) -> None:
        """Measures the terms' units before training, on `values` of them, float32 [N, terms].

        A cosine or a score is divided by its standard deviation; a probability starts with eps at that of
        its values.
        """
        if len(values) < 2:
            return
        spread = values.float().std(0)
        probabilities, own = spread[: self.estimates], spread[self.estimates + self.counted :]
        # One that never varies here has no unit: it must not explode where it does.
        self.typed_scale.copy_(torch.where(own > 1e-6, 1 / own.clamp(min=1e-6), 1.0))
        self.log_eps.copy_(probabilities.clamp(min=1e-8).log())

    def forward(self, affinity: Tensor, evidence: Evidence, min_count: int) -> Tensor:
        """Scores, float32 [B, C], from the vectors' affinity [B, C] and the evidence.

        Terms are added one after another: side by side, whole catalogues would be copied several times.
        """
        state = item_state(evidence.counts, min_count)
        weights, user = self.weights(state).float(), self.user(evidence.lengths[:, None] / 5.0).float()
        eps, counted = self.log_eps.float().exp(), 1 + self.estimates + self.counted
        planes = [affinity.float(), *(term.float() for term in evidence.terms)]
        for t, e in enumerate(eps, start=1):
            planes[t] = torch.log(e * F.softplus(planes[t] / e) + e)
        for t in range(1 + self.estimates, counted):
            planes[t] = torch.log1p(planes[t])
        units = [*affinity.new_ones(counted), *self.typed_scale]
        lifted = state[..., 1] * (evidence.lengths > 0)[:, None]
        score = (self.new_boost * lifted).expand(affinity.shape).clone()
        # In place where nothing is learned from it.
        add = Tensor.addcmul if torch.is_grad_enabled() else Tensor.addcmul_
        for t, (plane, unit) in enumerate(zip(planes, units, strict=True)):
            score = add(score, plane, weights[..., t] * unit)
            score = add(score, plane, user[:, t, None] * unit)
        return score


def decayed(ranks: Tensor, log_decay: Tensor) -> Tensor:
    """Attention to the history by recency: exp(−decay · rank), rank 0 for the latest item."""
    return torch.exp(-torch.exp(log_decay) * ranks)


def pool_history(vectors: Tensor, items: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sums item vectors over each user's history, float32 [B, D].

    Args:
        vectors: [N, D].
        items: positions in `vectors`, int64 [H], users one after another.
        offsets: where each user's history starts, int64 [B].
        weights: attention weight of each event, float32 [H]; None weighs all alike.
    """
    if not len(items):
        return vectors.new_zeros(len(offsets), vectors.shape[1])
    return F.embedding_bag(items, vectors.float(), offsets, mode="sum", per_sample_weights=weights)


def rows_of(vectors: Tensor, index: Tensor) -> Tensor:
    """`vectors[index]`, [..., D] of an index int64 [...], with gradients that add up in one order.

    The gradients of plain indexing add up in whichever order the threads come, so that two trainings differ.
    """
    return F.embedding(index, vectors)


@dataclass(frozen=True)
class Head:
    """How a model weighs what it knows.

    Attributes:
        units: of the terms of its blend.
        weights: of the vectors' affinity and of each term: two for `item_state`, a constant, one for the
            user's length; float32 [1 + terms, 4].
        log_decay: of its histories (`decayed`).
    """

    units: tuple[Unit, ...]
    weights: FloatArray
    log_decay: float


class HistoryModel(nn.Module):
    """What teacher and student share: a user is the history's item vectors, a score the blend's.

    Attributes:
        blend: puts a score together.
        recency: of the history (`decayed`), a scalar.
        min_count: an item with fewer buyers is cold.
    """

    blend: Blend
    recency: Tensor
    min_count: int

    def users(self, items: Tensor, counts: Tensor, history: Tensor, offsets: Tensor, ranks: Tensor) -> Tensor:
        """User vectors, float32 [B, D]: the history's vectors, each over √buyers, by √length.

        It is one hop of symmetric propagation (He et al. 2020) from the items, with the attention that
        recency leaves to each of them.

        Args:
            items: vectors of all items, [N, D].
            counts: their buyers, int64 [N]; one that nobody bought counts as bought once.
            history: item positions, int64 [H]; offsets: int64 [B]; ranks: 0 for the latest, float32 [H].
        """
        attention = decayed(ranks, self.recency)
        weights = attention * counts[history].clamp(min=1).float().rsqrt()
        pooled = pool_history(items, history, offsets, weights)
        total = pool_history(items.new_ones(len(items), 1), history, offsets, attention)
        return pooled * total.clamp(min=1e-6).rsqrt()

    def score(self, users: Tensor, items: Tensor, evidence: Evidence) -> Tensor:
        """Scores, float32 [B, C]; items [C, D], or [B, C, D] for each user's own list."""
        affinity = users @ items.T if items.dim() == 2 else torch.einsum("bd,bcd->bc", users, items)
        score: Tensor = self.blend(affinity, evidence, self.min_count)
        return score

    @property
    def head(self) -> Head:
        """How it weighs what it knows, to hand down."""
        blend = self.blend
        weights = torch.cat([blend.weights.weight, blend.weights.bias[:, None], blend.user.weight], dim=1)
        return Head(blend.units, weights.detach().float().cpu().numpy(), float(self.recency.detach()))

    @torch.no_grad()
    def follow(self, head: Head) -> None:
        """Starts at the weights of another model.

        Probabilities and counts are the same terms in both. Of other units, or where that has another number
        of them, each term gets an equal share of what those weigh together.
        """
        blend, weights = self.blend, torch.from_numpy(head.weights)
        mine, theirs = np.array([None, *blend.units]), np.array([None, *head.units])
        for unit in (None, *UNITS):
            to, of = np.flatnonzero(mine == unit), np.flatnonzero(theirs == unit)
            if not len(to) or not len(of):
                continue
            same = len(to) == len(of) and unit in (None, "probability", "count")
            rows = weights[of] if same else weights[of].sum(0, keepdim=True) / len(to)
            rows = rows.to(self.recency)
            blend.weights.weight[to], blend.weights.bias[to] = rows[:, :2], rows[:, 2]
            blend.user.weight[to] = rows[:, 3:]
        self.recency.fill_(head.log_decay)
