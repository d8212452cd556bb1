"""What messages are passed along, against dense matrices and brute force."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.models.graph import messages as module
from kgdistill.models.graph.messages import (
    ANCHOR,
    CANDIDATE,
    INTERACTED,
    NEAR_TEXT,
    MessageGraph,
    text_neighbours,
)
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups, rows_to_one

CPU = torch.device("cpu")
USERS, ITEMS = 5, 6
Dense = npt.NDArray[np.float64]


class World:
    """A drawn graph, dense: purchases, facts of two families, nearness."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.bought = draw.random((USERS, ITEMS)) < 0.4
        self.facts = {"MADE_BY": draw.random((ITEMS, 3)) < 0.4, "IN > parent": draw.random((ITEMS, 2)) < 0.5}
        near = np.triu(draw.random((ITEMS, ITEMS)) < 0.3, 1)
        self.near = near | near.T
        self.kept = self.bought & (draw.random(self.bought.shape) < 0.6)

    def graph(self, fact_weight: float, near_weight: float) -> MessageGraph:
        bought = sp.csr_matrix(self.bought.astype(np.float32))
        families = [
            ItemGroups(name, rows_to_one(sp.csr_matrix(held.astype(np.float32))))
            for name, held in self.facts.items()
        ]
        pair = ItemGroups("MADE_BY & IN", sp.csr_matrix(np.ones((ITEMS, 1), np.float32)), "pair")
        return MessageGraph(
            Interactions(bought, np.zeros(bought.nnz, np.float32), 2), [*families, pair],
            sp.csr_matrix(self.near.astype(np.float32)),
            fact_weight=fact_weight, near_weight=near_weight, device=CPU,
        )  # fmt: skip

    def want(self, bought: npt.NDArray[np.bool_], fact_weight: float, near_weight: float) -> dict[str, Dense]:
        """D^-½ A D^-½ of all nodes at once, cut into the blocks [targets, sources] by relation."""
        sizes = {ANCHOR: USERS, CANDIDATE: ITEMS} | {f"@{n}": held.shape[1] for n, held in self.facts.items()}
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
        part = {label: slice(starts[label], starts[label] + n) for label, n in sizes.items()}
        joint = np.zeros((sum(sizes.values()),) * 2)
        joint[part[CANDIDATE], part[ANCHOR]] = bought.T
        for name, held in self.facts.items():
            joint[part[CANDIDATE], part[f"@{name}"]] = fact_weight * held
        joint += joint.T
        joint[part[CANDIDATE], part[CANDIDATE]] = near_weight * self.near
        degree = joint.sum(1)
        root = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
        joint = root[:, None] * joint * root
        blocks = {"interacted": (CANDIDATE, ANCHOR), "rev_interacted": (ANCHOR, CANDIDATE)}
        for name in self.facts if fact_weight else ():
            blocks |= {f"rev_{name}": (CANDIDATE, f"@{name}"), name: (f"@{name}", CANDIDATE)}
        if near_weight and self.near.any():
            blocks["near_text"] = (CANDIDATE, CANDIDATE)
        return {name: joint[part[target], part[source]] for name, (target, source) in blocks.items()}


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16), facts=st.sampled_from([0.0, 0.3, 2.0]), near=st.sampled_from([0.0, 0.3, 1.5]),
    some=st.booleans(),
)  # fmt: skip
def test_messages_are_the_blocks_of_the_jointly_normalised_matrix(
    seed: int, facts: float, near: float, some: bool
) -> None:
    world = World(seed)
    graph = world.graph(facts, near)
    users, items = (ends.numpy() for ends in graph.interactions)
    assert sorted(zip(users, items, strict=True)) == list(zip(*np.nonzero(world.bought), strict=True))
    kept = world.kept if some else world.bought
    keep = torch.from_numpy(world.kept[users, items]) if some else None
    got = graph.messages(keep)

    assert list(got.relations) == graph.relations
    want = world.want(kept, facts, near)
    assert sorted(name for _, name, _ in got.relations) == sorted(want)
    for (source, name, target), adjacency in got.relations.items():
        dense = adjacency.matrix.to_dense().numpy()
        assert dense.shape == (graph.sizes[target], graph.sizes[source])
        np.testing.assert_allclose(dense, want[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.array_equal(adjacency.back.to_dense().numpy(), dense.T), name
        assert adjacency.lengths.tolist() == (want[name] > 0).sum(1).tolist(), name
    # What pools histories looks at the interactions alone, and leaves out the same ones.
    lengths, buyers = kept.sum(1), kept.sum(0)
    pool = kept / np.sqrt(np.maximum(lengths, 1)[:, None] * np.maximum(buyers, 1))
    np.testing.assert_allclose(got.pool.matrix.to_dense().numpy(), pool, rtol=1e-5)
    assert np.array_equal(got.pool.back.to_dense().numpy(), got.pool.matrix.to_dense().numpy().T)
    assert got.pool.lengths.tolist() == lengths.tolist()
    assert got.counts.tolist() == buyers.tolist()


def test_weights_of_0_leave_facts_and_nearness_out_of_the_graph() -> None:
    world = World(3)
    assert world.near.any()
    bare = world.graph(0.0, 0.0)
    assert bare.relations == [INTERACTED, (CANDIDATE, "rev_interacted", ANCHOR)]
    assert set(bare.sizes) == {ANCHOR, CANDIDATE}
    full = world.graph(0.3, 0.3)
    assert NEAR_TEXT in full.relations
    # Pairs of families pass no messages.
    assert set(full.sizes) == {ANCHOR, CANDIDATE, "@MADE_BY", "@IN > parent"}


def test_the_gradient_of_a_message_is_that_of_the_dense_product() -> None:
    torch.manual_seed(0)
    for relation, adjacency in World(1).graph(0.3, 0.3).messages().relations.items():
        dense = torch.randn(adjacency.matrix.shape[1], 4, requires_grad=True)
        weight = torch.randn(adjacency.matrix.shape[0], 4)
        (weight * (adjacency @ dense).sin()).sum().backward()  # type: ignore[no-untyped-call]
        other = dense.detach().clone().requires_grad_()
        want = weight * (adjacency.matrix.to_dense() @ other).sin()
        want.sum().backward()  # type: ignore[no-untyped-call]
        assert dense.grad is not None
        assert dense.grad.count_nonzero(), relation
        torch.testing.assert_close(dense.grad, other.grad, msg=str(relation))


def test_messages_are_added_up_in_float32_also_under_autocast() -> None:
    adjacency = World(1).graph(0.3, 0.3).messages().relations[INTERACTED]
    dense = torch.randn(USERS, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = adjacency @ dense
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, adjacency.matrix.to_dense() @ dense.float())


@settings(max_examples=60)
@given(seed=st.integers(0, 2**16), most=st.integers(1, 4), block=st.integers(1, 9))
def test_near_texts_are_those_of_a_search_one_by_one(seed: int, most: int, block: int) -> None:
    draw = np.random.default_rng(seed)
    text = draw.normal(size=(7, 5)).astype(np.float32) + 3
    rows = draw.integers(0, 7, 12)
    items = np.flatnonzero(draw.random(12) < 0.8)
    counts = draw.permutation(12)
    with patch.object(module, "_CELLS", 7 * block):
        got = text_neighbours(text, rows, items, counts, most, CPU)

    centred = (text - text.mean(0)).astype(np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    # The most bought of the items of a text speaks for it.
    speaker = {int(r): max((i for i in items if rows[i] == r), key=lambda i: counts[i]) for r in rows[items]}
    want = np.zeros((12, 12))
    for item in items:
        own = rows[item]
        others = sorted((r for r in speaker if r != own), key=lambda r, own=own: -float(unit[r] @ unit[own]))  # type: ignore[misc]
        for near in [*others[:most], own]:
            if speaker[near] != item:
                want[item, speaker[near]] = want[speaker[near], item] = 1
    np.testing.assert_array_equal(got.toarray(), want)
    assert got.dtype == np.float32
    assert got.nnz == want.sum()


def test_near_texts_are_symmetric_and_nobody_is_near_to_itself_or_to_what_cannot_be_recommended() -> None:
    draw = np.random.default_rng(0)
    items = np.arange(10, 40)
    near = text_neighbours(
        draw.normal(size=(20, 4)).astype(np.float32), np.arange(50) % 20, items, np.arange(50), 3, CPU
    )
    assert (near != near.T).nnz == 0
    assert near.diagonal().sum() == 0
    assert np.unique(near.nonzero()).tolist() == items.tolist()


@pytest.mark.parametrize("items", [[], [1], [1, 4]])
def test_few_texts_have_few_neighbours(items: list[int]) -> None:
    text, rows = np.eye(3, dtype=np.float32), np.array([0, 1, 2, 0, 1])
    near = text_neighbours(text, rows, np.array(items, np.int64), np.arange(5), 4, CPU)
    assert near.nnz == 2 * (len(items) == 2)


def test_of_many_texts_only_those_of_the_most_bought_items_are_looked_among() -> None:
    draw = np.random.default_rng(0)
    text, items, counts = draw.normal(size=(9, 4)).astype(np.float32), np.arange(9), draw.permutation(9)
    with patch.object(module, "LOOKED_AMONG", 3):
        near = text_neighbours(text, items, items, counts, 2, CPU)
    bought = np.flatnonzero(counts >= 6)
    rows, columns = near.nonzero()
    assert all(a in bought or b in bought for a, b in zip(rows, columns, strict=True))
    assert set(rows) == set(items)
