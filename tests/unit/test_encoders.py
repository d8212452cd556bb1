"""The graph encoders behind one interface, against dense layers and PyTorch Geometric."""

from __future__ import annotations

import copy
import warnings
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kgdistill.models.graph import encoders as module
from kgdistill.models.graph.encoders import EncoderName, HeteroEncoder, LinearEncoder, make_encoder
from kgdistill.models.graph.messages import (
    ANCHOR,
    CANDIDATE,
    INTERACTED,
    MessageGraph,
    Messages,
    Relation,
)
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups

with warnings.catch_warnings():
    # On importing, PyTorch Geometric uses parts of torch that a newer torch warns of.
    warnings.simplefilter("ignore")
    from torch_geometric.nn import LGConv

NAMES: tuple[EncoderName, ...] = get_args(EncoderName)
USERS, ITEMS, DIM = 9, 8, 4
Start = dict[str, Tensor]


def parts(seed: int = 0) -> tuple[Any, dict[str, Any], Any]:
    """Purchases, facts by name and nearness, dense."""
    draw = np.random.default_rng(seed)
    bought = (draw.random((USERS, ITEMS)) < 0.35).astype(np.float32)
    # The last item and the last user have nothing.
    bought[:, -1] = 0
    bought[-1] = 0
    brand = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2, 0, 1]]
    near = np.triu(draw.random((ITEMS, ITEMS)) < 0.2, 1)
    return bought, {"MADE_BY": brand, "path > parent.2": brand[:, :2]}, (near | near.T).astype(np.float32)


def graph_of(bought: Any, facts: dict[str, Any], near: Any | None) -> MessageGraph:
    matrix = sp.csr_matrix(bought)
    return MessageGraph(
        Interactions(matrix, np.zeros(matrix.nnz, np.float32), 2),
        [ItemGroups(name, sp.csr_matrix(held)) for name, held in facts.items()],
        None if near is None else sp.csr_matrix(near),
        fact_weight=0.5, near_weight=0.3, device=torch.device("cpu"),
    )  # fmt: skip


def start(graph: MessageGraph, seed: int = 0) -> Start:
    torch.manual_seed(seed)
    return {label: torch.randn(n, DIM) for label, n in graph.sizes.items() if label != ANCHOR}


def made(name: EncoderName, graph: MessageGraph, *, layers: int = 3, awake: bool = True) -> Any:
    torch.manual_seed(7)
    encoder = make_encoder(name, graph.relations, layers=layers, dim=DIM)
    if awake and isinstance(encoder, HeteroEncoder):
        nn.init.normal_(encoder.out.weight)
    return encoder


@torch.no_grad()
def z_of(encoder: Any, starts: Start, messages: Messages) -> Tensor:
    z: Tensor = encoder(starts, messages)
    return z


def naive(graph: MessageGraph, starts: Start, layers: int) -> Tensor:
    """The mean of the candidates' states, every label's state made anew from all relations in each layer."""
    dense = {relation: a.matrix.to_dense() for relation, a in graph.messages().relations.items()}
    state = {label: starts.get(label, torch.zeros(n, DIM)) for label, n in graph.sizes.items()}
    seen = [state[CANDIDATE]]
    for _ in range(layers):
        following = {label: torch.zeros_like(h) for label, h in state.items()}
        for (source, _, target), matrix in dense.items():
            following[target] += matrix @ state[source]
        state = following
        seen.append(state[CANDIDATE])
    return torch.stack(seen).mean(0)


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 5))
def test_the_linear_encoder_is_the_mean_of_its_layers(seed: int, layers: int) -> None:
    graph = graph_of(*parts(seed))
    starts = start(graph, seed)
    got = z_of(LinearEncoder(layers), starts, graph.messages())
    torch.testing.assert_close(got, naive(graph, starts, layers), rtol=1e-4, atol=1e-5)


def test_over_the_interactions_alone_it_is_lightgcn_from_the_items() -> None:
    bought, _, _ = parts()
    graph = graph_of(bought, {}, None)
    starts = start(graph)
    got = z_of(LinearEncoder(4), starts, graph.messages())

    users, items = torch.from_numpy(bought).nonzero(as_tuple=True)
    edges = torch.stack([torch.cat([users, items + USERS]), torch.cat([items + USERS, users])])
    state = torch.cat([torch.zeros(USERS, DIM), starts[CANDIDATE]])
    layers = [state]
    for _ in range(4):
        layers.append(LGConv()(layers[-1], edges))
    torch.testing.assert_close(got, torch.stack(layers).mean(0)[USERS:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weights_learn_and_every_kind_starts_where_the_linear_one_is(name: EncoderName) -> None:
    graph = graph_of(*parts())
    encoder, messages = made(name, graph, awake=False), graph.messages()
    starts = {label: nn.Parameter(h) for label, h in start(graph).items()}
    torch.testing.assert_close(encoder(starts, messages), LinearEncoder(3)(starts, messages))
    goal = torch.randn(ITEMS, DIM)
    before = copy.deepcopy(dict(encoder.named_parameters()))
    optimizer = torch.optim.Adam([*encoder.parameters(), *starts.values()], lr=0.05)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            z = encoder(starts, messages)
        assert z.dtype == torch.float32
        loss = (z - goal).pow(2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(h.grad is not None and h.grad.any() for h in starts.values())
        optimizer.step()
    assert losses[-1] < losses[0] * (0.5 if isinstance(encoder, HeteroEncoder) else 0.8)
    moved = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
    assert ("out.weight" in moved) == isinstance(encoder, HeteroEncoder)
    layers = {n.split(".")[1] for n in moved if n.startswith("convs")}
    assert layers == ({"0", "1", "2"} if isinstance(encoder, HeteroEncoder) else set())


def test_sage_adds_up_the_weighted_messages_of_each_relation() -> None:
    graph = graph_of(*parts())
    encoder = made("sage", graph, layers=2)
    starts, messages = start(graph), graph.messages()
    first = naive(graph, starts, 2)
    state = {label: h / first.pow(2).mean().sqrt() for label, h in starts.items()}
    state[ANCHOR] = torch.zeros(USERS, DIM)
    with torch.no_grad():
        for layer in encoder.convs:
            came: dict[str, list[Tensor]] = {}
            for relation, adjacency in messages.relations.items():
                conv = layer.convs[encoder._edge[relation]]
                source, target = state[relation[0]], state[relation[2]]
                message = conv.lin_l(adjacency.matrix.to_dense() @ source) + conv.lin_r(target)
                came.setdefault(relation[2], []).append(message)
            state = {label: torch.stack(all_of).mean(0).relu() for label, all_of in came.items()}
        want = first + first.pow(2).mean().sqrt() * encoder.out(state[CANDIDATE])
    torch.testing.assert_close(z_of(encoder, starts, messages), want, rtol=1e-4, atol=1e-4)


def test_hgt_is_told_sources_then_targets() -> None:
    matrix = graph_of(*parts()).messages().relations[INTERACTED].matrix
    targets, sources = matrix.to_dense().nonzero(as_tuple=True)
    assert torch.equal(module._edge_index(matrix), torch.stack([sources, targets]))


@pytest.mark.parametrize("name", NAMES)
def test_the_numbering_of_users_and_items_does_not_matter(name: EncoderName) -> None:
    bought, facts, near = parts()
    graph = graph_of(bought, facts, near)
    encoder, starts = made(name, graph), start(graph)
    users, items = np.random.default_rng(0).permutation(USERS), np.random.default_rng(1).permutation(ITEMS)
    moved = graph_of(
        bought[users][:, items], {n: held[items] for n, held in facts.items()}, near[items][:, items]
    )
    z = z_of(encoder, starts | {CANDIDATE: starts[CANDIDATE][items]}, moved.messages())
    torch.testing.assert_close(z, z_of(encoder, starts, graph.messages())[items], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_label_that_is_missing_starts_at_0(name: EncoderName) -> None:
    graph = graph_of(*parts())
    encoder, starts, messages = made(name, graph), start(graph), graph.messages()
    told = starts | {ANCHOR: torch.zeros(USERS, DIM)}
    torch.testing.assert_close(z_of(encoder, starts, messages), z_of(encoder, told, messages))
    told[ANCHOR] = torch.ones(USERS, DIM)
    assert not torch.allclose(z_of(encoder, starts, messages), z_of(encoder, told, messages))


@pytest.mark.parametrize("name", NAMES)
def test_an_item_reaches_others_within_the_hops_and_no_further(
    name: EncoderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A chain: item 0 - user 0 - item 1 - user 1 - item 2.
    chain = np.array([[1, 1, 0], [0, 1, 1]], np.float32)
    graph = graph_of(chain, {}, None)
    encoder, messages = made(name, graph, layers=2), graph.messages()
    # The size of the linear part is one number of the whole graph: hold it.
    monkeypatch.setattr(module, "_rms", lambda x: torch.ones(()))
    moved = torch.zeros(3, dtype=torch.bool)
    for seed in range(20):  # a ReLU may cut a sign off
        one = start(graph, seed)
        two = {CANDIDATE: torch.cat([-one[CANDIDATE][:1], one[CANDIDATE][1:]])}
        moved |= (z_of(encoder, one, messages) - z_of(encoder, two, messages)).abs().amax(1) > 1e-6
    assert moved.tolist() == [True, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_no_relation_to_the_candidates_is_refused(name: EncoderName) -> None:
    away: list[Relation] = [(CANDIDATE, "rev_interacted", ANCHOR)]
    with pytest.raises(ValueError, match="no relation leads to a candidate"):
        make_encoder(name, away, layers=2, dim=DIM)
    with pytest.raises(ValueError, match="no relation leads to a candidate"):
        make_encoder(name, [], layers=2, dim=DIM)
