"""Sampled neighbourhoods: what may be drawn, and that they equal the full batch in expectation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgdistill.models.encoders import LinearEncoder, PropagationEncoder
from kgdistill.models.graph import Relation
from kgdistill.models.sampler import NeighbourSampler, neighbour_samplers, sampled_paths

BOUGHT: Relation = ("User", "BOUGHT", "Product")
BACK: Relation = ("Product", "rev_BOUGHT", "User")
RELATIONS: list[Relation] = [
    BOUGHT,
    BACK,
    ("Product", "MADE_BY", "Brand"),
    ("Brand", "rev_MADE_BY", "Product"),
    ("Product", "ALSO", "Product"),
]
SIZES = {"User": 8, "Product": 7, "Brand": 3}
DIM = 4
COPIES = 10_000
"""Independent repetitions of the statistical tests, run at once as unconnected copies of the graph."""


@dataclass
class Rows:
    """A multigraph's CSR rows, unsorted in time, with ties and repeated edges."""

    indptr: Tensor
    indices: Tensor
    times: Tensor
    weights: Tensor

    def sampler(self) -> NeighbourSampler:
        return NeighbourSampler(self.indptr, self.indices, self.times, self.weights)

    def eligible(self, node: int, before: int, excluded: set[tuple[int, int]]) -> set[int]:
        row = range(int(self.indptr[node]), int(self.indptr[node + 1]))
        sent = {e: int(self.indices[e]) for e in row if int(self.times[e]) < before}
        return {e for e, source in sent.items() if (node, source) not in excluded}


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    seed, nodes = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    random = np.random.default_rng(seed)
    degrees = random.integers(0, 9, nodes)
    edges = int(degrees.sum())
    return Rows(
        torch.from_numpy(np.concatenate([[0], degrees.cumsum()]).astype(np.int64)),
        torch.from_numpy(random.integers(0, 5, edges)),
        torch.from_numpy(random.integers(0, 7, edges)),
        torch.from_numpy(random.random(edges).astype(np.float32)),
    )


@settings(max_examples=150, deadline=None)
@given(rows(), st.integers(1, 10), st.booleans(), st.data())
def test_draws_are_edges_before_their_time_that_are_not_excluded_and_all_where_they_fit(
    graph: Rows, fanout: int, replace: bool, data: st.DataObject
) -> None:
    ids = st.integers(0, len(graph.indptr) - 2)
    nodes = data.draw(st.lists(ids, max_size=5))
    before = data.draw(st.lists(st.integers(-1, 8), min_size=len(nodes), max_size=len(nodes)))
    pairs = data.draw(st.lists(st.tuples(ids, st.integers(0, 6)), max_size=6))
    sample = graph.sampler().sample(
        torch.tensor(nodes, dtype=torch.int64),
        fanout,
        before=torch.tensor(before, dtype=torch.int64),
        exclude=torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T,
        replace=replace,
        generator=torch.Generator().manual_seed(data.draw(st.integers(0, 2**32))),
    )
    assert torch.equal(sample.source, graph.indices[sample.edge])
    assert torch.equal(sample.weight, graph.weights[sample.edge])
    for place, (node, until) in enumerate(zip(nodes, before, strict=True)):
        allowed = graph.eligible(node, until, set(pairs))
        drawn = sample.edge[sample.target == place].tolist()
        assert sample.degree[place] == len(allowed)
        assert set(drawn) <= allowed
        if replace:
            assert len(drawn) == (fanout if allowed else 0)
        else:
            assert len(drawn) == len(set(drawn)) == min(fanout, len(allowed))
        if drawn:
            scale = sample.scale[sample.target == place]
            torch.testing.assert_close(scale, torch.full_like(scale, len(allowed) / len(drawn)))


def test_every_subset_of_the_eligible_edges_is_equally_likely() -> None:
    # Node 1 has 6 edges, of which the latest is too late and one is excluded: 3 of 4 give 4 subsets.
    sampler = NeighbourSampler(
        torch.tensor([0, 2, 8]),
        torch.tensor([0, 1, 5, 4, 3, 2, 1, 0]),
        torch.tensor([1, 2, 9, 3, 1, 5, 4, 2]),
    )
    draws = 20_000
    sample = sampler.sample(
        torch.ones(draws, dtype=torch.int64), 3, before=9, exclude=torch.tensor([[1], [3]]),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    sets = torch.zeros(draws, dtype=torch.int64).index_add_(0, sample.target, 2**sample.source)
    subsets, counts = sets.unique(return_counts=True)
    assert subsets.tolist() == sorted(2**4 + 2**2 + 2**1 + 2**0 - 2**left_out for left_out in (4, 2, 1, 0))
    deviations = (counts - draws / 4) / (draws * 1 / 4 * 3 / 4) ** 0.5
    assert deviations.abs().max() < 4


@pytest.mark.parametrize("replace", [False, True])
def test_the_mean_and_the_weighted_sum_of_neighbours_are_unbiased(replace: bool) -> None:
    random = np.random.default_rng(3)
    indptr, indices = torch.tensor([0, 0, 1, 9]), torch.from_numpy(random.integers(0, 6, 9))
    weights = torch.from_numpy(random.random(9).astype(np.float32))
    vectors = torch.from_numpy(random.normal(size=(6, DIM)).astype(np.float32))
    nodes = torch.arange(3).repeat(COPIES)
    sample = NeighbourSampler(indptr, indices, weights=weights).sample(
        nodes, 3, replace=replace, generator=torch.Generator().manual_seed(1)
    )
    sums = torch.stack(
        [torch.zeros(DIM), weights[0] * vectors[indices[0]], weights[1:] @ vectors[indices[1:]]]
    )
    means = torch.stack([torch.zeros(DIM), vectors[indices[0]], vectors[indices[1:]].mean(0)])
    drawn = vectors[sample.source]
    close_in_the_mean(sample.sum(drawn).reshape(COPIES, 3, DIM), sums)
    close_in_the_mean(sample.mean(drawn).reshape(COPIES, 3, DIM), means)


def close_in_the_mean(estimates: Tensor, exact: Tensor) -> None:
    """Estimates [COPIES, ...] average to the exact [...] within 4.5 standard errors, and they do vary."""
    errors = estimates.double().std(0) / COPIES**0.5
    assert (errors > 1e-4).any()
    off = (estimates.double().mean(0) - exact).abs()
    assert (off <= 4.5 * errors + 1e-5).all()
    # The test can tell: a bias of a tenth of the exact values would be seen.
    assert 4.5 * errors.square().mean().sqrt() < 0.1 * exact.square().mean().sqrt()


def toy() -> tuple[dict[Relation, Tensor], dict[Relation, Tensor], Tensor]:
    """Matrices of positive weights, purchase times [N_dst, N_src] and H⁰."""
    random = np.random.default_rng(5)
    dense = {}
    for relation in RELATIONS:
        shape = SIZES[relation[2]], SIZES[relation[0]]
        weights = (0.2 + random.random(shape)) * (random.random(shape) < 0.6)
        dense[relation] = torch.from_numpy(weights.astype(np.float32))
    dense[BACK] = dense[BOUGHT].T.contiguous()
    times = torch.from_numpy(random.integers(0, 10, (SIZES["Product"], SIZES["User"])))
    h0 = torch.from_numpy((1 + random.normal(size=(SIZES["User"], DIM))).astype(np.float32))
    return dense, {BOUGHT: times, BACK: times.T.contiguous()}, h0


def coo(dense: dict[Relation, Tensor]) -> dict[Relation, Tensor]:
    return {relation: matrix.to_sparse_coo() for relation, matrix in dense.items()}


def aligned(times: dict[Relation, Tensor], sparse: dict[Relation, Tensor]) -> dict[Relation, Tensor]:
    return {r: moments[tuple(sparse[r].coalesce().indices())] for r, moments in times.items()}


def copied(sparse: dict[Relation, Tensor], copies: int) -> dict[Relation, Tensor]:
    """Unconnected copies of a graph, so that one call gives independent estimates."""
    blocks = {}
    for relation, matrix in sparse.items():
        held = matrix.coalesce()
        step = torch.tensor(held.shape)[:, None, None] * torch.arange(copies)[:, None]
        index = (held.indices()[:, None, :] + step).reshape(2, -1)
        shape = (held.shape[0] * copies, held.shape[1] * copies)
        blocks[relation] = torch.sparse_coo_tensor(
            index, held.values().repeat(copies), shape, check_invariants=False
        ).coalesce()
    return blocks


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("kind", ["linear", "propagation"])
def test_sampled_paths_equal_the_full_batch_in_expectation(kind: str, replace: bool) -> None:
    dense, times, h0 = toy()
    encoder = (
        LinearEncoder(RELATIONS, 3, "User", "Product") if kind == "linear" else PropagationEncoder(BOUGHT, 3)
    )
    operators = dict(encoder.operators(coo(dense)))
    # What is known before time 8, with the weights of the whole graph.
    kept = {r: operators[r].to_dense() * (times[r] < 8 if r in times else 1) for r in operators}
    nodes = torch.tensor([0, 2, 3, 6])
    with torch.no_grad():
        if kind == "linear":
            exact = encoder.paths(coo(kept), h0)[:, nodes]
        else:
            forth, back = kept[BOUGHT], kept[BACK]
            exact = torch.stack([forth @ h0, forth @ back @ forth @ h0])[:, nodes]
        z = encoder(exact)

    blocks = copied(operators, COPIES)
    moments = {r: t.repeat(COPIES) for r, t in aligned(times, operators).items() if r in operators}
    seeds = (nodes + SIZES["Product"] * torch.arange(COPIES)[:, None]).flatten()
    with torch.no_grad():
        estimate = sampled_paths(
            encoder, neighbour_samplers(blocks, moments), h0.repeat(COPIES, 1), seeds, [2, 3, 2],
            before=8, replace=replace, generator=torch.Generator().manual_seed(2),
        )  # fmt: skip
        every = estimate.reshape(len(estimate), COPIES, len(nodes), DIM)
        close_in_the_mean(every.transpose(0, 1), exact)
        close_in_the_mean(encoder(estimate).reshape(COPIES, len(nodes), DIM), z)


def test_label_edges_are_no_messages_in_either_direction() -> None:
    dense, times, h0 = toy()
    encoder = LinearEncoder(RELATIONS, 3, "User", "Product")
    nodes = torch.arange(SIZES["Product"])
    items, users = (index[::3] for index in dense[BOUGHT].nonzero(as_tuple=True))
    hidden = {r: matrix.clone() for r, matrix in dense.items()}
    hidden[BOUGHT][items, users] = 0
    hidden[BACK][users, items] = 0
    samplers = neighbour_samplers(coo(dense), aligned(times, coo(dense)))
    with torch.no_grad():
        # With room for every neighbour the sampled paths are exact.
        got = sampled_paths(encoder, samplers, h0, nodes, [99] * 3, labels=(users, items))
        torch.testing.assert_close(got, encoder.paths(coo(hidden), h0))
        whole = sampled_paths(encoder, samplers, h0, nodes, [99] * 3)
        torch.testing.assert_close(whole, encoder.paths(coo(dense), h0))
    assert not torch.allclose(got, whole)


def test_each_hop_has_its_own_fanout() -> None:
    dense, _, h0 = toy()
    encoder = LinearEncoder(RELATIONS, 3, "User", "Product")
    with torch.no_grad():
        got = sampled_paths(
            encoder, neighbour_samplers(coo(dense)), h0, torch.arange(SIZES["Product"]), [99, 99, 1],
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        exact = [
            torch.allclose(a, b, rtol=1e-4) for a, b in zip(got, encoder.paths(coo(dense), h0), strict=True)
        ]
    assert exact == [len(path) < 3 for path in encoder.path_relations]


def test_what_cannot_be_sampled_is_told() -> None:
    indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([0, 1, 0])
    with pytest.raises(ValueError, match="ascend"):
        NeighbourSampler(torch.tensor([0, 1, 2]), indices)
    with pytest.raises(ValueError, match="2 times for 3 edges"):
        NeighbourSampler(indptr, indices, torch.tensor([1, 2]))
    sampler = NeighbourSampler(indptr, indices)
    with pytest.raises(ValueError, match="no time"):
        sampler.sample(torch.tensor([0]), 2, before=5)
    with pytest.raises(ValueError, match="fanout"):
        sampler.sample(torch.tensor([0]), 0)
    encoder = PropagationEncoder(BOUGHT, 3)
    with pytest.raises(ValueError, match="2 fanouts for 3 hops"):
        sampled_paths(encoder, {}, torch.zeros(1, 1), torch.tensor([0]), [4, 4])
