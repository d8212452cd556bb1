"""What a model may see of a snapshot up to a time, as matrices and tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.distill.reads import parent_fact, product_facts
from kgdistill.models.graph import Relation
from kgdistill.snapshot import Snapshot

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
_DAY_US = 86_400e6
_RECENT_DAYS = 30.0


@dataclass(frozen=True)
class Family:
    """Groups that items share: the nodes behind one typed path, or the values of one text field.

    Attributes:
        name: such as "MADE_BY" or "MADE_BY & IN_CATEGORY".
        incidence: float32 CSR [items, groups], rows summing to 1 or 0.
    """

    name: str
    incidence: sp.csr_matrix

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.incidence.shape[1])

    @cached_property
    def codes(self) -> IntArray | None:
        """The group of every item, int64 [items], `groups` where it has none; None if some have several."""
        lengths = np.diff(self.incidence.indptr)
        if (lengths > 1).any():
            return None
        codes = np.full(len(lengths), self.groups, np.int64)
        codes[lengths == 1] = self.incidence.indices
        return codes


def _rows_to_one(matrix: sp.csr_matrix) -> sp.csr_matrix:
    total = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    return sp.csr_matrix(sp.diags(scale.astype(np.float32)) @ matrix)


def _incidence(rows: IntArray, groups: IntArray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, groups)), shape=shape)
    matrix.data[:] = 1.0
    return matrix


def conjunction(first: Family, second: Family) -> Family:
    """Pairs of groups that an item belongs to at once, such as this brand in this category."""
    a, b = first.incidence.tocoo(), second.incidence.tocoo()
    pairs = pd.DataFrame({"item": a.row, "a": a.col}).merge(
        pd.DataFrame({"item": b.row, "b": b.col}), on="item"
    )
    codes, uniques = pd.factorize(pairs["a"].to_numpy(np.int64) * second.groups + pairs["b"], sort=True)
    matrix = _incidence(pairs["item"].to_numpy(), codes, (first.incidence.shape[0], max(len(uniques), 1)))
    return Family(f"{first.name} & {second.name}", _rows_to_one(matrix))


def fact_families(snapshot: Snapshot, *, shuffle: np.random.Generator | None = None) -> list[Family]:
    """Typed paths from a product along its facts: each fact, its parents, and the pairs of facts.

    Args:
        snapshot: the snapshot.
        shuffle: where given, the facts' product ends are permuted, which keeps every degree (the control).
    """
    items = snapshot.num_nodes("Product")
    base: list[Family] = []
    parents: list[Family] = []
    for edge in product_facts(snapshot):
        index = snapshot.edge_index(edge)
        matrix = _incidence(index[0], index[1], (items, snapshot.num_nodes(edge[2])))
        if shuffle is not None:
            holders = np.flatnonzero(np.diff(matrix.indptr))
            order = np.arange(items)
            order[holders] = shuffle.permutation(holders)
            matrix = sp.csr_matrix(matrix[order])
        base.append(Family(edge[1] if edge[1] != "PART_OF" else f"PART_OF {edge[2]}", _rows_to_one(matrix)))
        if (up := parent_fact(snapshot, edge)) is not None:
            above = snapshot.edge_index(up)
            hop = _incidence(above[0], above[1], (matrix.shape[1], matrix.shape[1]))
            parents.append(Family(f"{edge[1]} > parent", _rows_to_one(sp.csr_matrix(matrix @ hop))))
    # A fact that hardly any item has says nothing about a pair of facts.
    common = [f for f in base if np.diff(f.incidence.indptr).astype(bool).mean() > 0.2]
    pairs = [conjunction(a, b) for i, a in enumerate(common) for b in common[i + 1 :]]
    return common + parents + pairs


def _follows(values: sp.csr_matrix, groups: sp.csr_matrix) -> bool:
    """Whether an item's group nearly always says its value as well."""
    shared = sp.csr_matrix((groups > 0).T.astype(np.float32) @ (values > 0).astype(np.float32))
    if not shared.nnz:
        return False
    return bool(shared.max(axis=1).sum() >= 0.95 * shared.sum())


def own_fields(facts: list[Family], fields: list[Family]) -> list[Family]:
    """The text fields whose value follows from no fact (a size, a colour, where the graph lacks them)."""
    single = [f for f in fields if " & " not in f.name and "parent" not in f.name]
    direct = [f for f in facts if " & " not in f.name and "parent" not in f.name]
    return [f for f in single if not any(_follows(f.incidence, d.incidence) for d in direct)]


def beside_facts(facts: list[Family], own: list[Family]) -> list[Family]:
    """The typed affinities of the fused teacher: facts, the fields that no fact holds, and pairs of both."""
    direct = [f for f in facts if " & " not in f.name and "parent" not in f.name]
    return facts + own + [conjunction(d, f) for d in direct for f in own]


def text_families(snapshot: Snapshot) -> list[Family]:
    """Shared text fields, in words alone: each field's value, the levels of a path, and pairs of fields."""
    table = snapshot.node_table("Product")
    columns: list[tuple[str, list[str | None]]] = []
    paths: list[tuple[str, list[str | None]]] = []
    for name in snapshot.schema.node("Product").text:
        values = table.column(name).to_pylist()
        columns.append((name, values))
        if any(v is not None and " > " in v for v in values):
            upper = [v.rsplit(" > ", 1)[0] if v is not None and " > " in v else None for v in values]
            paths.append((f"{name} > parent", upper))
    families = []
    for name, values in [*columns, *paths]:
        codes, uniques = pd.factorize(pd.Series(values, dtype=object), sort=True)
        known = np.flatnonzero(codes >= 0)
        matrix = _incidence(known, codes[known], (len(values), max(len(uniques), 1)))
        families.append(Family(name, matrix))
    # Fields that nearly every item has to itself share nothing and would only cost time.
    families = [f for f in families if f.groups < 0.5 * max(f.incidence.nnz, 1)]
    singles = [f for f in families if "parent" not in f.name]
    return families + [conjunction(a, b) for i, a in enumerate(singles) for b in singles[i + 1 :]]


@dataclass
class View:
    """Interactions before `until`, over the snapshot's dense ids, with what follows from them.

    Attributes:
        purchases: float32 CSR [users, items], 1 where the user bought the item before `until`.
        ages: days before `until`, float32, aligned with `purchases.data`.
        counts: buyers of each item, int64 [items].
        recent: the same, each halved for every 30 days of its age, float32 [items].
        ranks: how many items the user bought after it, float32, aligned with `purchases.data`; items of one
            moment count as bought in the order of their ids.
        min_count: an item with fewer buyers is cold.
    """

    purchases: sp.csr_matrix
    ages: FloatArray
    min_count: int
    counts: IntArray = field(init=False)
    recent: FloatArray = field(init=False)
    ranks: FloatArray = field(init=False)
    _lift: dict[str, tuple[sp.csr_matrix, FloatArray]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        bought, items = self.purchases.indices, self.purchases.shape[1]
        self.counts = np.bincount(bought, minlength=items).astype(np.int64)
        weights = np.exp2(-self.ages / _RECENT_DAYS)
        self.recent = np.bincount(bought, weights, minlength=items).astype(np.float32)
        users = np.repeat(np.arange(self.purchases.shape[0]), np.diff(self.purchases.indptr))
        order = np.lexsort((-bought, self.ages, users))
        self.ranks = np.empty(len(order), np.float32)
        self.ranks[order] = np.arange(len(order)) - self.purchases.indptr[users[order]]

    @property
    def warm(self) -> IntArray:
        """Items with at least `min_count` buyers, ascending."""
        return np.flatnonzero(self.counts >= self.min_count).astype(np.int64)

    def lengths(self, users: IntArray) -> FloatArray:
        """log(1 + items in the history), float32 [B]."""
        lengths = np.diff(self.purchases.indptr)[users]
        out: FloatArray = np.log1p(lengths).astype(np.float32)
        return out

    def history(self, users: IntArray) -> tuple[Tensor, Tensor, Tensor]:
        """Items int64 [H], offsets int64 [B] and ranks float32 [H] of these users' histories."""
        flat, offsets = self._places(users)
        return (
            torch.from_numpy(self.purchases.indices[flat].astype(np.int64)),
            torch.from_numpy(offsets),
            torch.from_numpy(self.ranks[flat]),
        )

    def _places(self, users: IntArray) -> tuple[IntArray, IntArray]:
        starts, ends = self.purchases.indptr[users], self.purchases.indptr[users + 1]
        lengths = (ends - starts).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum()), offsets

    def latest(self, users: IntArray, most: int) -> IntArray:
        """The latest items of each history, int64 [B, most]; -1 where it is shorter."""
        flat, _ = self._places(users)
        owner = np.repeat(np.arange(len(users)), np.diff(self.purchases.indptr)[users])
        rank = self.ranks[flat].astype(np.int64)
        out = np.full((len(users), most), -1, np.int64)
        keep = rank < most
        out[owner[keep], rank[keep]] = self.purchases.indices[flat][keep]
        return out

    def queries(self, users: IntArray, decay: float) -> sp.csr_matrix:
        """The histories weighted by recency, exp(−decay · rank): float32 CSR [B, items]."""
        matrix = sp.csr_matrix(
            (np.exp(-decay * self.ranks).astype(np.float32), self.purchases.indices, self.purchases.indptr),
            shape=self.purchases.shape,
        )
        return sp.csr_matrix(matrix[users])

    def lift(self, family: Family, users: IntArray) -> FloatArray:
        """log(1 + the user's share of purchases in each group / everybody's share), [B, groups]."""
        if family.name not in self._lift:
            shares = sp.csr_matrix(self.purchases @ family.incidence)
            everybody = np.asarray(shares.sum(0)).ravel()
            everybody = (everybody / max(everybody.sum(), 1e-9)).astype(np.float32)
            total = np.maximum(np.asarray(shares.sum(1)).ravel(), 1e-9)
            self._lift[family.name] = (sp.csr_matrix(sp.diags(1 / total) @ shares), everybody)
        shares, everybody = self._lift[family.name]
        dense = shares[users].toarray().astype(np.float32)
        out: FloatArray = np.log1p(dense / np.maximum(everybody, 1e-9), dtype=np.float32)
        return out

    def typed(self, families: list[Family], users: IntArray, items: IntArray, *, more: int = 0) -> FloatArray:
        """Typed affinities of users and items, float32 [B, C, families + more]; each plane is contiguous.

        Args:
            families: whose.
            users: ids.
            items: ids.
            more: further planes to leave room for, not filled.
        """
        out = np.empty((len(families) + more, len(users), len(items)), np.float32)
        for m, family in enumerate(families):
            if family.codes is None:
                out[m] = (family.incidence[items] @ self.lift(family, users).T).T
            else:
                # Looking up is several times faster than the product.
                np.take(_padded(self.lift(family, users)), family.codes[items], axis=1, out=out[m])
        planes: FloatArray = out.transpose(1, 2, 0)
        return planes

    def typed_lists(self, families: list[Family], users: IntArray, lists: IntArray) -> FloatArray:
        """Typed affinities of each user's own list, int64 [B, C] -> float32 [B, C, families]."""
        out = np.empty((*lists.shape, len(families)), np.float32)
        for m, family in enumerate(families):
            lift = self.lift(family, users)
            if family.codes is not None:
                out[..., m] = np.take_along_axis(_padded(lift), family.codes[lists], axis=1)
                continue
            rows = family.incidence[lists.ravel()]
            owner = np.repeat(np.repeat(np.arange(len(users)), lists.shape[1]), np.diff(rows.indptr))
            cell = np.repeat(np.arange(lists.size), np.diff(rows.indptr))
            values = rows.data * lift[owner, rows.indices]
            out[..., m] = np.bincount(cell, values, minlength=lists.size).reshape(lists.shape)
        return out


def _padded(lift: FloatArray) -> FloatArray:
    """With a further group that nobody has, for items without one."""
    out: FloatArray = np.concatenate([lift, np.zeros((len(lift), 1), np.float32)], axis=1)
    return out


def make_view(purchases: sp.csr_matrix, first_at: sp.csr_matrix, *, until_us: int, min_count: int) -> View:
    """The view of the events strictly before `until_us`.

    Args:
        purchases: float32 CSR [users, items].
        first_at: same sparsity, the events' times in microseconds.
        until_us: microseconds since 1970; events at or after it are left out.
        min_count: an item with fewer buyers is cold.
    """
    coo, times = purchases.tocoo(), first_at.tocoo().data
    keep = times < until_us
    ages = ((until_us - times[keep]) / _DAY_US).astype(np.float32)
    matrix = sp.csr_matrix((ages, (coo.row[keep], coo.col[keep])), shape=purchases.shape)
    kept = matrix.data.copy()
    matrix.data = np.ones_like(kept, dtype=np.float32)
    return View(matrix, kept, min_count)


def torch_sparse(matrix: sp.csr_matrix, device: torch.device) -> Tensor:
    """A SciPy matrix as a coalesced sparse torch tensor, float32."""
    coo = sp.csr_matrix(matrix).tocoo()
    index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    tensor = torch.sparse_coo_tensor(index, values, coo.shape, check_invariants=False)
    return tensor.coalesce().to(device)


@dataclass(frozen=True)
class Spectrum:
    """The leading user vectors of a view, in a fixed basis.

    Attributes:
        users: float32 [users, D], orthonormal columns.
        scale: the largest singular value of the warm purchase matrix.
    """

    users: FloatArray
    scale: float


def user_spectrum(view: View, dim: int, *, like: Spectrum | None = None) -> Spectrum:
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
    return Spectrum(vectors.astype(np.float32), scale)


def message_relations(families: list[Family]) -> list[Relation]:
    """The graph encoder's directed relations: purchases and single facts, both ways."""
    relations: list[Relation] = [("User", "BOUGHT", "Product"), ("Product", "rev_BOUGHT", "User")]
    for family in families:
        if " & " not in family.name:
            relations.append(("Product", family.name, f"@{family.name}"))
            relations.append((f"@{family.name}", f"rev_{family.name}", "Product"))
    return relations


def group_sizes(families: list[Family]) -> dict[str, int]:
    """How many groups each label of the message relations has."""
    return {f"@{f.name}": f.groups for f in families}


def message_adjacency(
    view: View, families: list[Family], scale: float, device: torch.device
) -> dict[Relation, Tensor]:
    """Normalised adjacency per relation: purchases by the spectral norm, facts by the mean."""
    warm = (view.counts >= view.min_count).astype(np.float32)
    bought = sp.csr_matrix(view.purchases.T / scale)
    adjacency: dict[Relation, Tensor] = {
        ("User", "BOUGHT", "Product"): torch_sparse(bought, device),
        ("Product", "rev_BOUGHT", "User"): torch_sparse(sp.csr_matrix(view.purchases / scale), device),
    }
    for family in families:
        if " & " in family.name:
            continue
        # Only items with enough buyers speak for their brand or category.
        towards = _rows_to_one(sp.csr_matrix(family.incidence.multiply(warm[:, None]).T))
        adjacency["Product", family.name, f"@{family.name}"] = torch_sparse(towards, device)
        adjacency[f"@{family.name}", f"rev_{family.name}", "Product"] = torch_sparse(family.incidence, device)
    return adjacency


def batches(users: IntArray, size: int, rng: np.random.Generator | None = None) -> Iterator[IntArray]:
    """Users in batches, shuffled where a generator is given."""
    order = rng.permutation(users) if rng is not None else users
    for start in range(0, len(order), size):
        yield order[start : start + size]
