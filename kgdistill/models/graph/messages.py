"""What the graph encoder passes messages along, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray
from kgdistill.models.graph.linear import CANDIDATE, INTERACTED, INTERACTED_BY, Relation
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import (
    ItemGroups,
    rows_to_one,
)


def torch_sparse(matrix: sp.csr_matrix, device: torch.device) -> Tensor:
    """A SciPy matrix as a coalesced sparse torch tensor, float32."""
    coo = sp.csr_matrix(matrix).tocoo()
    index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    tensor = torch.sparse_coo_tensor(index, values, coo.shape, check_invariants=False)
    return tensor.coalesce().to(device)


@dataclass(frozen=True)
class Svd:
    """The leading user vectors of a view, in a fixed basis.

    Attributes:
        users: float32 [users, D], orthonormal columns.
        scale: the largest singular value of the warm purchase matrix.
    """

    users: FloatArray
    scale: float


def user_svd(view: Interactions, dim: int, *, like: Svd | None = None) -> Svd:
    """H⁰ of the users: the leading left singular vectors of users × warm items.

    One linear hop from them gives items the ideal low-pass filter of the purchase graph (Shen et al.
    2021, "How powerful is graph convolution for recommendation?").

    Args:
        view: what is known.
        dim: how many vectors; fewer when the graph is smaller (padded with zeros).
        like: rotate the basis onto this one (orthogonal Procrustes), so that weights learned there hold here.
    """
    matrix = view.purchases[:, view.warm].astype(np.float64)
    rank = min(dim, min(matrix.shape) - 1)
    vectors = np.zeros((matrix.shape[0], dim))
    scale = 1.0
    if rank > 0 and matrix.nnz:
        start = np.ones(min(matrix.shape))
        left, values, _ = sp.linalg.svds(matrix, k=rank, v0=start)
        order = np.argsort(-values)
        left = left[:, order]
        # The sign of a singular vector is arbitrary: make its largest entry positive.
        left *= np.sign(left[np.abs(left).argmax(0), np.arange(rank)])
        vectors[:, :rank] = left
        scale = float(values.max())
    if like is not None:
        u, _, vt = np.linalg.svd(vectors.T @ like.users)
        vectors = vectors @ (u @ vt)
    return Svd(vectors.astype(np.float32), scale)


def message_relations(families: list[ItemGroups]) -> list[Relation]:
    """The graph encoder's directed relations: purchases and single facts, both ways."""
    relations = [INTERACTED, INTERACTED_BY]
    for family in families:
        if family.kind != "pair":
            relations.append((CANDIDATE, family.name, f"@{family.name}"))
            relations.append((f"@{family.name}", f"rev_{family.name}", CANDIDATE))
    return relations


def group_sizes(families: list[ItemGroups]) -> dict[str, int]:
    """How many groups each label of the message relations has."""
    return {f"@{f.name}": f.groups for f in families}


def message_adjacency(
    view: Interactions, families: list[ItemGroups], scale: float, device: torch.device
) -> dict[Relation, Tensor]:
    """Normalised adjacency per relation: purchases by the spectral norm, facts by the mean."""
    warm = (view.counts >= view.min_count).astype(np.float32)
    bought = sp.csr_matrix(view.purchases.T / scale)
    adjacency: dict[Relation, Tensor] = {
        INTERACTED: torch_sparse(bought, device),
        INTERACTED_BY: torch_sparse(sp.csr_matrix(view.purchases / scale), device),
    }
    for family in families:
        if family.kind == "pair":
            continue
        # Only items with enough buyers speak for their brand or category.
        towards = rows_to_one(sp.csr_matrix(family.incidence.multiply(warm[:, None]).T))
        adjacency[CANDIDATE, family.name, f"@{family.name}"] = torch_sparse(towards, device)
        adjacency[f"@{family.name}", f"rev_{family.name}", CANDIDATE] = torch_sparse(family.incidence, device)
    return adjacency
