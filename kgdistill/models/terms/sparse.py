"""SciPy matrices as torch tensors, and the leading singular vectors of a large one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

RANK = 256
"""How many vectors stand for a matrix between more than `LIMIT` items."""
_MORE, _ROUNDS = 32, 2


def csr_tensor(matrix: sp.csr_matrix, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """A SciPy matrix as a sparse CSR tensor."""
    indptr, indices = (torch.from_numpy(a.astype(np.int64)) for a in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data).to(dtype)
    with warnings.catch_warnings():  # its products are all that is needed of this layout
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            indptr, indices, values, size=matrix.shape, device=device, check_invariants=False
        )


def leading(matrix: sp.csr_matrix, rank: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`leading_of` a SciPy matrix."""
    return leading_of(csr_tensor(matrix, device), csr_tensor(sp.csr_matrix(matrix.T), device), rank)


Times = Callable[[Tensor], Tensor]
"""A matrix that is never formed, times a dense one."""


def leading_pairs(
    forward: Times, back: Times, shape: tuple[int, int], rank: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest squared singular values of a matrix, with what they belong to on both sides.

    By subspace iteration from a fixed random start (Halko et al. 2011).

    Args:
        forward, back: the matrix and its transpose, times float32 [columns or rows, w].
        shape: rows and columns.
        rank: how many; at most the smaller side.
        device: where the products are.

    Returns:
        float32 [r] squared singular values; [rows, r] left singular vectors; [columns, r] right ones, each as
        long as its singular value. Left times right transposed is the best product of that rank.
    """
    wide, rank = min(rank + _MORE, *shape), min(rank, *shape)
    start = torch.randn(shape[1], wide, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(forward(start.to(device))).Q
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(forward(back(basis))).Q
    across = back(basis)
    values, turned = torch.linalg.eigh((across.T @ across).double())
    order = torch.arange(wide - 1, wide - 1 - rank, -1, device=device)
    first = turned[:, order].float()
    return values[order].clamp(min=0).float(), basis @ first, across @ first


def leading_of(forward: Tensor, back: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The largest squared singular values [r] and the left vectors [rows, r], float32, of a sparse matrix.

    Args:
        forward, back: the matrix [rows, columns] and its transpose.
        rank: how many; at most the smaller side.
    """
    rows, columns = forward.shape
    return leading_pairs(forward.matmul, back.matmul, (rows, columns), rank, forward.device)[:2]


def sparse_rows(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse CSR tensor of entries that come by row, int64 [E], [E] and float32 [E]."""
    starts = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
    starts[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():  # its products are all that is needed of this layout
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(starts, columns, values, size=shape, check_invariants=False)
