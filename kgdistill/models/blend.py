"""How a score is put together from what a model knows about a user and an item."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def item_state(counts: Tensor, min_count: int) -> Tensor:
    """What the gates see of an item, float32 [N, 2]: scaled log(1 + buyers), and whether it is cold."""
    counts = counts.float()
    return torch.stack([torch.log1p(counts) / 5.0, (counts < min_count).float()], dim=-1)


class ExpertBlend(nn.Module):
    """Adds up collaborative affinity, popularity and typed affinities, weighted by the item's state.

    score = w_c·log(eps + eps·softplus(r/eps)) + w_p·log(1 + buyers) + Σ_m w_m·affinity_m, where the
    weights are linear in `item_state`. The logarithm makes the affinity r, which estimates a purchase
    probability, a logit like the other terms.

    Args:
        experts: how many typed affinities there are.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.weights = nn.Linear(2, 2 + experts)
        nn.init.zeros_(self.weights.weight)
        with torch.no_grad():
            # Few buyers make a weak collaborative signal: cold items start on their typed affinities.
            self.weights.weight[0, 1] = -0.8
            self.weights.bias.copy_(torch.tensor([1.0, 0.1, *([0.05] * experts)]))
        self.log_eps = nn.Parameter(torch.tensor(-3.9))

    def forward(self, affinity: Tensor, state: Tensor, log_counts: Tensor, typed: Tensor) -> Tensor:
        """Scores, float32 [B, C].

        Args:
            affinity: r, [B, C].
            state: `item_state` of the items, [B, C, 2] or [C, 2].
            log_counts: log(1 + buyers), [B, C] or [C].
            typed: [B, C, M].
        """
        weights = self.weights(state).float()
        eps = self.log_eps.float().exp()
        logit = torch.log(eps * F.softplus(affinity.float() / eps) + eps)
        score: Tensor = weights[..., 0] * logit + weights[..., 1] * log_counts
        if typed.shape[-1]:
            score = score + (weights[..., 2:] * typed).sum(-1)
        return score


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
