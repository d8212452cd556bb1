"""LightGCN on purchases alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from bench.baselines.common import Grid, Unknown, above, from_vectors, grid, item_counts, presence
from kgdistill.errors import InputError
from kgdistill.tasks.match import Scorer
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, fit

LIGHTGCN_GRID: Grid = grid(layers=(3, 4), lr=(0.002, 0.005), weight_decay=(1e-4, 1e-3))
"""The epochs are `watch`'s to choose."""


def lightgcn(
    history: csr_array,
    *,
    dim: int = 64,
    layers: int = 3,
    epochs: int = 100,
    lr: float = 0.005,
    weight_decay: float = 1e-4,
    batch: int = 4096,
    seed: int = 0,
    unknown: Unknown = "0",
    watch: Callable[[int, Scorer], bool] | None = None,
    watch_every: int = 10,
) -> Scorer:
    """LightGCN: embeddings propagated over purchases, the layers' mean, the BPR loss (He et al. 2020).

    Args:
        history: float32 [users, items].
        dim, layers: the embeddings' size and how many times they are propagated.
        epochs, lr, batch: of Adam, one drawn negative for each pair (never one that the user had).
        weight_decay: of the squared embeddings before propagation, by pair of the batch, halved.
        seed: of the embeddings, the order and the negatives.
        unknown: what items score that nobody had.
        watch: called with (epochs done, scorer as it is then) every `watch_every` epochs; True ends the
            training. What it answers must not rest on the test split.

    Raises:
        InputError: a value out of range, or a history without pairs.
    """
    for name, value in (("dim", dim), ("layers", layers), ("epochs", epochs), ("batch", batch)):
        above(name, value, 1, equal=True)
    above("lr", lr)
    seen = presence(history)
    if not seen.nnz:
        raise InputError("nobody had anything: LightGCN has nothing to learn from")
    # Items that nobody had would only cost: most of a large catalogue.
    known = np.flatnonzero(item_counts(seen) > 0)
    among = seen[:, known]
    draws = Context(torch.device("cpu"), seed).draws()
    model = _Table(among, dim, layers, draws)

    def scorer() -> Scorer:
        with torch.no_grad():
            out = model().numpy()
        vectors = np.zeros((history.shape[1], dim), dtype=np.float32)
        vectors[known] = out[len(out) - len(known) :]
        return from_vectors(out[: len(out) - len(known)], vectors, seen, unknown)

    def enough(epoch: int) -> bool:
        return watch is not None and epoch % watch_every == 0 and watch(epoch, scorer())

    lesson = _Lesson(model, among, weight_decay, batch, enough)
    fit(model, lesson, Recipe(epochs, lr), draws, title="Training LightGCN")
    return scorer()


class _Table(torch.nn.Module):
    """Vectors of users and items before propagation, [users + items, dim]."""

    def __init__(self, history: csr_array, dim: int, layers: int, draws: Draws) -> None:
        super().__init__()
        start = torch.empty(sum(history.shape), dim).normal_(0, 0.1, generator=draws.torch)
        self.table, self.layers = torch.nn.Parameter(start), layers
        self.adjacency = normalised_adjacency(history)

    def forward(self) -> Tensor:
        """The vectors after propagation."""
        return propagate(self.table, self.adjacency, self.layers)


class _Lesson(Lesson[Tensor]):
    """Pairs in batches, one drawn negative for each; `until` says when it is enough."""

    def __init__(
        self, model: _Table, history: csr_array, decay: float, batch: int, until: Callable[[int], bool]
    ) -> None:
        self.model, self.decay, self.batch, self.until = model, decay, batch, until
        self.users, self.items = history.shape
        pairs = np.repeat(np.arange(self.users), np.diff(history.indptr)), history.indices
        self.left, self.right = (torch.from_numpy(part.astype(np.int64)) for part in pairs)
        self.codes = torch.sort(self.left * self.items + self.right).values

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """All pairs, shuffled."""
        return torch.split(torch.randperm(len(self.left), generator=draws.torch), self.batch)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """BPR, and the squared vectors of the batch."""
        user, positive = self.left[batch], self.right[batch]
        negative = _negatives(user, self.items, self.codes, draws.torch)
        out, table = self.model(), self.model.table
        good, bad = self.users + positive, self.users + negative
        margin = (out[user] * (out[good] - out[bad])).sum(dim=1)
        own = table[user].square() + table[good].square() + table[bad].square()
        return {
            "bpr": (1.0, torch.nn.functional.softplus(-margin).mean()),
            "decay": (1.0, 0.5 * self.decay * own.sum() / len(batch)),
        }

    def enough(self, epoch: int) -> bool:
        """See `fit`."""
        return self.until(epoch)


def normalised_adjacency(history: csr_array) -> Tensor:
    """Sparse CSR float32 [users + items, users + items]: 1 / √(degree · degree) for every pair, both ways."""
    seen = presence(history)
    users, items = seen.shape
    scale = [1.0 / np.sqrt(np.maximum(np.bincount(i, minlength=n), 1)) for i, n in _ends(seen)]
    rows = np.repeat(np.arange(users), np.diff(seen.indptr))
    value = (scale[0][rows] * scale[1][seen.indices]).astype(np.float32)
    both: Any = csr_array(
        (
            np.concatenate([value, value]),
            (np.concatenate([rows, users + seen.indices]), np.concatenate([users + seen.indices, rows])),
        ),
        shape=(users + items, users + items),
    )
    parts = (both.indptr.astype(np.int64), both.indices.astype(np.int64), both.data)
    rows_at, columns, values = map(torch.from_numpy, parts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows_at, columns, values, both.shape, check_invariants=True)


def propagate(table: Tensor, adjacency: Tensor, layers: int) -> Tensor:
    """The mean of `table` [nodes, E] and its products with the adjacency, once to `layers` times."""
    layer, total = table, table
    for _ in range(layers):
        layer = _Product.apply(adjacency, layer)
        total = total + layer
    return total / (layers + 1)


class _Product(torch.autograd.Function):
    """A symmetric sparse matrix times a dense one; its gradient is the same product again."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, dense: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.adjacency @ gradients[0]


def _ends(seen: csr_array) -> tuple[tuple[Any, int], tuple[Any, int]]:
    users, items = seen.shape
    return (np.repeat(np.arange(users), np.diff(seen.indptr)), users), (seen.indices, items)


def _negatives(user: Tensor, items: int, codes: Tensor, draw: torch.Generator) -> Tensor:
    """int64, shape of `user`: for each an item that they did not have; drawn at most 20 times."""
    drawn = torch.randint(items, user.shape, generator=draw)
    for _ in range(20):
        code = user * items + drawn
        at = torch.searchsorted(codes, code).clamp_(max=len(codes) - 1)
        again = (codes[at] == code).nonzero().squeeze(1)
        if not len(again):
            break
        drawn[again] = torch.randint(items, again.shape, generator=draw)
    return drawn
