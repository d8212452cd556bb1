"""Groups that items share, along facts and in text fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from kgdistill.arrays import IntArray
from kgdistill.listed import lists_values, parts_of
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.reads import facts_of, parent_fact

_COMMON, _NEARLY, _TRIED = 0.2, 0.95, 2_000


@dataclass(frozen=True, eq=False)
class ItemGroups:
    """Groups that items share: the nodes behind one typed path, or the values of one text field.

    Attributes:
        name: such as "MADE_BY" or "MADE_BY & IN_CATEGORY".
        incidence: float32 CSR [items, groups], rows summing to 1 or 0.
        kind: "single" for one fact or field, "above" for what its groups belong to, "pair" for two at once.
        label: of the nodes that the groups are, each group's place being the node's id; None of others.
        split: the text fields of which each part of a list is a group (`lists_values`), in order.
    """

    name: str
    incidence: sp.csr_matrix
    kind: Literal["single", "above", "pair"] = "single"
    label: str | None = None
    split: tuple[str, ...] = ()

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


def rows_to_one(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Every row divided by its sum; empty rows stay empty."""
    total = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    return sp.csr_matrix(sp.diags(scale.astype(np.float32)) @ matrix)


def _incidence(rows: IntArray, groups: IntArray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, groups)), shape=shape)
    matrix.data[:] = 1.0
    return matrix


def conjunction(first: ItemGroups, second: ItemGroups) -> ItemGroups:
    """Pairs of groups that an item belongs to at once, such as this brand in this category."""
    a, b = first.incidence.tocoo(), second.incidence.tocoo()
    pairs = pd.DataFrame({"item": a.row, "a": a.col}).merge(
        pd.DataFrame({"item": b.row, "b": b.col}), on="item"
    )
    codes, uniques = pd.factorize(pairs["a"].to_numpy(np.int64) * second.groups + pairs["b"], sort=True)
    matrix = _incidence(pairs["item"].to_numpy(), codes, (first.incidence.shape[0], max(len(uniques), 1)))
    name, split = f"{first.name} & {second.name}", first.split + second.split
    return ItemGroups(name, rows_to_one(matrix), "pair", split=split)


def fact_groups(
    snapshot: Snapshot, label: str, *, shuffle: np.random.Generator | None = None
) -> list[ItemGroups]:
    """Typed paths from an item along its facts: each fact, its parents, and the pairs of facts.

    Args:
        snapshot: the snapshot.
        label: of the items.
        shuffle: where given, the facts' item ends are permuted, which keeps every degree (the control).
    """
    items = snapshot.num_nodes(label)
    times = Counter(edge[1] for edge in facts_of(snapshot, label))
    base: list[ItemGroups] = []
    parents: list[ItemGroups] = []
    for edge in facts_of(snapshot, label):
        index = snapshot.edge_index(edge)
        matrix = _incidence(index[0], index[1], (items, snapshot.num_nodes(edge[2])))
        if shuffle is not None:
            holders = np.flatnonzero(np.diff(matrix.indptr))
            order = np.arange(items)
            order[holders] = shuffle.permutation(holders)
            matrix = sp.csr_matrix(matrix[order])
        # A type may lead to several labels.
        own = edge[1] if times[edge[1]] == 1 else f"{edge[1]} {edge[2]}"
        name = own if edge[1] != "PART_OF" else f"PART_OF {edge[2]}"
        base.append(ItemGroups(name, rows_to_one(matrix), label=edge[2]))
        if (up := parent_fact(snapshot, edge)) is not None:
            above = snapshot.edge_index(up)
            hop = _incidence(above[0], above[1], (matrix.shape[1], matrix.shape[1]))
            above_it = rows_to_one(sp.csr_matrix(matrix @ hop))
            parents.append(ItemGroups(f"{own} > parent", above_it, "above", edge[2]))
    # A fact that hardly any item has says nothing about a pair of facts.
    common = [f for f in base if np.diff(f.incidence.indptr).astype(bool).mean() > _COMMON]
    pairs = [conjunction(a, b) for i, a in enumerate(common) for b in common[i + 1 :]]
    return common + parents + pairs


def _follows(values: sp.csr_matrix, groups: ItemGroups) -> bool:
    """Whether an item's group nearly always says its value as well; of the parts of a list, one part."""
    value, group = (sp.csr_matrix(matrix > 0, dtype=np.float32) for matrix in (values, groups.incidence))
    shared = sp.csr_matrix(group.T @ value)
    if not shared.nnz:
        return False
    if not groups.split and np.diff(value.indptr).max() == 1:
        return bool(shared.max(axis=1).sum() >= _NEARLY * shared.sum())
    sizes = np.repeat(group.T @ (np.diff(value.indptr) > 0), np.diff(shared.indptr))
    says = shared.data >= _NEARLY * sizes
    if not groups.split:
        return bool(shared.data[says].sum() >= _NEARLY * shared.sum())
    shared.data = says.astype(np.float32)
    told = (value.multiply(group @ shared) > 0).sum()
    return bool(told >= _NEARLY * value[np.diff(group.indptr) > 0].nnz)


def unsaid_facts(snapshot: Snapshot, label: str, fields: list[ItemGroups]) -> list[EdgeType]:
    """The facts of a label of which none of its text fields speaks: what reads words alone misses them.

    Those that hardly any node has are left out, and those whose origin is the titles.

    Args:
        snapshot: the snapshot.
        label: of the nodes.
        fields: its shared text fields (`text_groups`).
    """
    told = [f for f in fields if f.kind == "single"]
    nodes, unsaid = snapshot.num_nodes(label), []
    for edge in facts_of(snapshot, label):
        source, target = snapshot.edge_index(edge)
        fact = _incidence(source, target, (nodes, snapshot.num_nodes(edge[2])))
        common = len(np.unique(source)) > _COMMON * nodes
        mined = "origin" in snapshot.schema.relationship(edge).properties
        if common and not mined and not any(_follows(fact, field) for field in told):
            unsaid += [] if _named(snapshot, edge) else [edge]
    return unsaid


def _named(snapshot: Snapshot, edge: EdgeType) -> bool:
    """Whether the texts of most nodes hold the name of what the fact leads to, as titles hold a brand."""
    node, table = snapshot.schema.node(edge[2]), snapshot.node_table(edge[2])
    if node.name not in table.column_names:
        return False
    source, target = snapshot.edge_index(edge)
    names, texts = table[node.name].to_pylist(), snapshot.texts(edge[0])
    some = zip(source[:_TRIED].tolist(), target[:_TRIED].tolist(), strict=True)
    held = [bool(names[t]) and str(names[t]).lower() in texts[s].lower() for s, t in some]
    return sum(held) > 0.5 * len(held)


def own_fields(facts: list[ItemGroups], fields: list[ItemGroups]) -> list[ItemGroups]:
    """The text fields whose value follows from no fact (a size, a colour, where the graph lacks them)."""
    single = [f for f in fields if f.kind == "single"]
    direct = [f for f in facts if f.kind == "single"]
    return [f for f in single if not any(_follows(f.incidence, d) for d in direct)]


def beside_facts(facts: list[ItemGroups], own: list[ItemGroups]) -> list[ItemGroups]:
    """The typed affinities of the fused teacher: facts, the fields that no fact holds, and pairs of both."""
    direct = [f for f in facts if f.kind == "single"]
    return facts + own + [conjunction(d, f) for d in direct for f in own if _may_pair(d, f)]


def _may_pair(first: ItemGroups, second: ItemGroups) -> bool:
    """Two lists of an item's would make as many pairs as the product of their lengths."""
    return first.codes is not None or second.codes is not None


def text_groups(snapshot: Snapshot, label: str) -> list[ItemGroups]:
    """Shared text fields of a label, in words alone: each one's values, the levels of a path, and pairs."""
    table = snapshot.node_table(label)
    families, paths = [], []
    for name in snapshot.schema.node(label).text:
        values = table.column(name).to_pylist()
        split = lists_values(values)
        said = [() if v is None else parts_of(v) if split else (v,) for v in values]
        families.append(_said_groups(name, "single", said, (name,) if split else ()))
        if any(v is not None and " > " in v for v in values):
            upper = [(v.rsplit(" > ", 1)[0],) if v is not None and " > " in v else () for v in values]
            paths.append(_said_groups(f"{name} > parent", "above", upper))
    # Fields that nearly every item has to itself share nothing and would only cost time.
    families = [f for f in [*families, *paths] if f.groups < 0.5 * max(f.incidence.nnz, 1)]
    singles = [f for f in families if f.kind == "single"]
    return families + [
        conjunction(a, b) for i, a in enumerate(singles) for b in singles[i + 1 :] if _may_pair(a, b)
    ]


def _said_groups(
    name: str, kind: Literal["single", "above"], said: Sequence[tuple[str, ...]], split: tuple[str, ...] = ()
) -> ItemGroups:
    """A group for each value that items say."""
    items = np.repeat(np.arange(len(said)), [len(values) for values in said])
    every = pd.Series([value for values in said for value in values], dtype=object)
    codes, uniques = pd.factorize(every, sort=True)
    matrix = _incidence(items, codes, (len(said), max(len(uniques), 1)))
    return ItemGroups(name, rows_to_one(matrix), kind, split=split)
