"""How a score is put together from what a model knows about a user and an item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIXED = 1000
"""How many items of each user the perceptron orders when whole catalogues are ranked."""

BEHIND = 1000.0
"""Taken from the scores of the others, so that they stay behind: far more than scores differ by."""


def item_state(counts: Tensor, min_count: int) -> Tensor:
    """What the gates see of an item, float32 [N, 2]: scaled log(1 + buyers), and whether it is cold."""
    counts = counts.float()
    return torch.stack([torch.log1p(counts) / 5.0, (counts < min_count).float()], dim=-1)


@dataclass(frozen=True)
class Evidence:
    """What a scorer knows of B users and C items beside their vectors; [C] where all users share the items.

    Attributes:
        counts: buyers, int64 [B, C] or [C].
        recent: buyers weighted by recency, float32, same shape.
        typed: typed affinities, float32 [B, C, M]; `ExpertBlend.set_scales` learns their units.
        lengths: log(1 + items in the history), float32 [B].
        affinities: further estimates of a purchase probability, float32 [B, C, A]; A may be 0.
    """

    counts: Tensor
    recent: Tensor
    typed: Tensor
    lengths: Tensor
    affinities: Tensor


class ExpertBlend(nn.Module):
    """Adds up affinities, popularity and typed affinities, weighted by the item's and the user's state.

    score = Σ_a w_a·log(eps_a + eps_a·softplus(r_a/eps_a)) + w_p·log(1 + buyers) + w_q·log(1 + recent
    buyers) + Σ_m w_m·affinity_m, where the weights are linear in `item_state` and log(1 + history). The
    logarithm makes an affinity r, which estimates a purchase probability, a logit like the other terms.
    With `hidden` a small perceptron over the same terms is added; it starts at 0. Cold items get `new_boost`
    on top, which is 0 in training.

    Args:
        experts: how many typed affinities there are.
        affinities: how many estimates r of a purchase probability there are.
        hidden: width of the perceptron; 0 leaves it out.
    """

    def __init__(self, experts: int, *, affinities: int = 1, hidden: int = 0) -> None:
        super().__init__()
        self.affinities = affinities
        terms = affinities + 2 + experts
        self.weights = nn.Linear(2, terms)
        self.user = nn.Linear(1, terms, bias=False)
        self.log_eps = nn.Parameter(torch.full((affinities,), -3.9))
        self.mixer = (
            nn.Sequential(nn.Linear(terms + 3, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, 1))
            if hidden
            else None
        )
        # Typed affinities come in their own units: counts, cosines, logarithms.
        self.typed_scale: Tensor
        self.register_buffer("typed_scale", torch.ones(experts))
        self.new_boost: Tensor
        self.register_buffer("new_boost", torch.zeros(()))
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.user.weight)
        with torch.no_grad():
            # Few buyers make a weak collaborative signal: cold items start on their typed affinities.
            self.weights.weight[0, 1] = -0.8 / affinities
            start = [1.0 / affinities] * affinities + [0.1, 0.1] + [0.1] * experts
            self.weights.bias.copy_(torch.tensor(start))
        if self.mixer is not None:
            for parameter in list(self.mixer.children())[2].parameters():
                nn.init.zeros_(parameter)

    @torch.no_grad()
    def set_scales(self, typed: Tensor, affinities: Tensor) -> None:
        """Measures the units of the experts before training.

        Each typed affinity is divided by its standard deviation over `typed` [N, M]; each further affinity
        starts with eps at that of its values, `affinities` [N, A].
        """
        if len(typed) > 1:
            spread = typed.float().std(0) if typed.shape[1] else self.typed_scale
            # One that never varies here has no unit: it must not explode where it does.
            self.typed_scale.copy_(torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 1.0))
            if affinities.shape[1]:
                self.log_eps[1:] = affinities.float().std(0).clamp(min=1e-8).log()

    def forward(self, affinity: Tensor, evidence: Evidence, min_count: int) -> Tensor:
        """Scores, float32 [B, C], from the vectors' affinity r [B, C] and the evidence."""
        eps = self.log_eps.float().exp()
        r = torch.cat([affinity[..., None].float(), evidence.affinities.float()], dim=-1)
        logit = torch.log(eps * F.softplus(r / eps) + eps)
        state = item_state(evidence.counts, min_count)
        popularity = torch.stack([torch.log1p(evidence.counts.float()), torch.log1p(evidence.recent)], -1)
        typed = evidence.typed.float() * self.typed_scale
        terms = torch.cat([logit, popularity.expand(*logit.shape[:2], 2), typed], dim=-1)
        weights = self.weights(state).float()
        user = self.user(evidence.lengths[:, None] / 5.0).float()
        score: Tensor = (terms * weights).sum(-1) + torch.einsum("bct,bt->bc", terms, user)
        score = score + self.new_boost * state[..., 1]
        if self.mixer is None:
            return score
        return score + self._mixed(terms, state, evidence.lengths)

    @torch.no_grad()
    def ranked(self, affinity: Tensor, evidence: Evidence, min_count: int) -> Tensor:
        """As `forward` for items that all users share, but the perceptron orders only some of them.

        Those are the first `MIXED` of each user by the linear sum; the others keep their order behind
        them. Terms are added one after another: side by side they would be copied several times.
        """
        eps = self.log_eps.float().exp()
        state = item_state(evidence.counts, min_count)
        weights, user = self.weights(state).float(), self.user(evidence.lengths[:, None] / 5.0).float()
        given = [affinity.float(), *evidence.affinities.unbind(-1)]
        planes = [torch.log(e * F.softplus(r / e) + e) for r, e in zip(given, eps, strict=True)]
        for known in (evidence.counts.float(), evidence.recent):
            planes.append(torch.log1p(known).expand(affinity.shape))
        units = [*affinity.new_ones(len(planes)), *self.typed_scale]
        planes += evidence.typed.unbind(-1)
        score = (self.new_boost * state[..., 1]).expand(affinity.shape).clone()
        for t, (plane, unit) in enumerate(zip(planes, units, strict=True)):
            score.addcmul_(plane, (weights[:, t] * unit).expand(plane.shape))
            score.addcmul_(plane, (user[:, t, None] * unit).expand(plane.shape))
        if self.mixer is None:
            return score
        best = score.topk(min(MIXED, score.shape[1]), dim=1).indices
        some = torch.stack([p.gather(1, best) * u for p, u in zip(planes, units, strict=True)], dim=-1)
        mixed = score.gather(1, best) + self._mixed(some, state[best], evidence.lengths)
        behind = score - BEHIND if best.shape[1] < score.shape[1] else score
        return behind.scatter(1, best, mixed)

    def _mixed(self, terms: Tensor, state: Tensor, lengths: Tensor) -> Tensor:
        assert self.mixer is not None
        known = (lengths / 5.0)[:, None, None].expand(*terms.shape[:2], 1)
        inputs = torch.cat([terms, state.expand(*terms.shape[:2], 2), known], dim=-1)
        mixed: Tensor = self.mixer(inputs).float().squeeze(-1)
        return mixed


def decayed(ranks: Tensor, log_decay: Tensor) -> Tensor:
    """Attention to the history by recency: exp(−decay · rank), rank 0 for the latest item."""
    return torch.exp(-torch.exp(log_decay) * ranks)


def fold_in(items: Tensor, log_ridge: Tensor) -> Tensor:
    """The ridge fold-in, float32 [D, D]: (FᵀF + λI)⁻¹, so that u = Σ_h f_h · fold_in.

    It solves min_u |x_u − F u|² + λ|u|² for a history x_u, as ALS does (Hu, Koren, Volinsky 2008).

    Args:
        items: vectors of the warm items, float32 [N, D].
        log_ridge: log λ, a scalar.
    """
    with torch.autocast(items.device.type, enabled=False):
        items = items.float()
        gram = items.T @ items
        eye = torch.eye(len(gram), device=items.device)
        inverse: Tensor = torch.linalg.inv(gram + log_ridge.float().exp() * eye)
    return inverse


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


class HistoryModel(nn.Module):
    """What teacher and student share: a user is the history's item vectors, a score the blend's.

    Attributes:
        blend: puts a score together.
        log_ridge: log λ of the fold-in, a scalar.
        recency: of the history (`decayed`), a scalar.
        min_count: an item with fewer buyers is cold.
    """

    blend: ExpertBlend
    log_ridge: Tensor
    recency: Tensor
    min_count: int

    def fold(self, items: Tensor, warm: Tensor) -> Tensor:
        """The fold-in matrix of these item vectors, float32 [D, D]."""
        return fold_in(items[warm], self.log_ridge)

    def users(self, items: Tensor, fold: Tensor, history: Tensor, offsets: Tensor, ranks: Tensor) -> Tensor:
        """User vectors, float32 [B, D], by recency attention over the history and the ridge fold-in.

        Args:
            items: vectors of all items, [N, D].
            fold: `fold` of the warm items, [D, D].
            history: item positions, int64 [H]; offsets: int64 [B]; ranks: 0 for the latest, float32 [H].
        """
        return pool_history(items, history, offsets, decayed(ranks, self.recency)) @ fold

    def score(self, users: Tensor, items: Tensor, evidence: Evidence) -> Tensor:
        """Scores, float32 [B, C]; items [C, D], or [B, C, D] for each user's own list."""
        affinity = users @ items.T if items.dim() == 2 else torch.einsum("bd,bcd->bc", users, items)
        score: Tensor = self.blend(affinity, evidence, self.min_count)
        return score

    def rank(self, users: Tensor, items: Tensor, evidence: Evidence) -> Tensor:
        """Scores of a whole catalogue, float32 [B, C], for its ranking (`ExpertBlend.ranked`)."""
        return self.blend.ranked(users @ items.T, evidence, self.min_count)
