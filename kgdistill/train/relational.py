"""The text tower learns relational embeddings: a ridge regression on the tokens of each text."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.sparse import Times, csr_tensor
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.item_groups import rows_to_one

PENALTY = 0.005
"""What a token's vector costs beside the error of one item. Of items that the regression did not see 0.01
tells most, of those that it saw less is better."""
_STEPS = 60


def fit_tokens(tokens: Tokens, rows: IntArray, vectors: FloatArray, device: torch.device) -> Tensor:
    """Token vectors T of which a text's mean comes near to the relational embeddings of its items.

    They minimise Σ_n ‖mean of T over the tokens of n − f_n‖² + λ‖T‖² over the items n, by 60 steps of
    conjugate gradients (Hestenes & Stiefel 1952).

    Args:
        tokens: of the distinct texts.
        rows: row of each item among the texts, int64 [N].
        vectors: f, float32 [N, D].
        device: where to compute.

    Returns:
        float32 [V, D]; 0 for tokens in no text.
    """
    mean = rows_to_one(tokens.counts())
    # Items of one text are one equation, as heavy as they are many.
    alike = sp.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))), (mean.shape[0], len(rows))
    )
    many = torch.from_numpy(np.asarray(alike.sum(1))).to(device)
    forward, back = csr_tensor(mean, device), csr_tensor(sp.csr_matrix(mean.T), device)
    with torch.autocast(device.type, enabled=False):
        wanted = back @ torch.from_numpy(np.asarray(alike @ vectors, np.float32)).to(device)
        return conjugate_gradients(lambda t: back @ (many * (forward @ t)) + PENALTY * t, wanted)


def conjugate_gradients(times: Times, wanted: Tensor, steps: int = _STEPS) -> Tensor:
    """X with A·X = B, each column by itself.

    Args:
        times: A, symmetric and positive definite, times float32 [V, D].
        wanted: B, float32 [V, D].
        steps: how many; fewer than it takes end between 0 and the solution.
    """
    solution, left = torch.zeros_like(wanted), wanted.clone()
    way, error = left, (left * left).sum(0)
    for _ in range(steps):
        along = times(way)
        step = error / (way * along).sum(0).clamp(min=1e-30)
        solution, left = solution + step * way, left - step * along
        now = (left * left).sum(0)
        way, error = left + now / error.clamp(min=1e-30) * way, now
    return solution
