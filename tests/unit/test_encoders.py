"""The graph encoders behind one interface, against PyTorch Geometric and against what must not matter."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from kgdistill.models.graph.encoders import (
    EncoderName,
    GraphEncoder,
    HeteroEncoder,
    PropagationEncoder,
    decayed,
    make_encoder,
    symmetric,
)
from kgdistill.models.graph.linear import (
    ANCHOR,
    CANDIDATE,
    INTERACTED,
    INTERACTED_BY,
    LinearRelationalEncoder,
    Relation,
)
from kgdistill.models.graph.messages import message_adjacency, message_relations
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups

with warnings.catch_warnings():
    # On importing, PyTorch Geometric uses parts of torch that a newer torch warns of.
    warnings.simplefilter("ignore")
    from torch_geometric.nn import HeteroConv, LGConv, SAGEConv

NAMES: tuple[EncoderName, ...] = get_args(EncoderName)
USERS, ITEMS, DIM = 9, 8, 4
BOUGHT = INTERACTED
Graph = tuple[list[Relation], dict[Relation, Tensor], dict[str, int]]


def purchases(seed: int = 0) -> sp.csr_matrix:
    draw = np.random.default_rng(seed)
    dense = (draw.random((USERS, ITEMS)) < 0.35).astype(np.float32)
    # The last item and the last user have nothing.
    dense[:, -1] = 0
    dense[-1] = 0
    return sp.csr_matrix(dense)


def graph(*, min_count: int = 2) -> Graph:
    """The matrices that training makes: spectral purchases, and facts by the mean of the warm items."""
    view = Interactions(purchases(), np.zeros(purchases().nnz, np.float32), min_count)
    brand = sp.csr_matrix(np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2, 0, 1]])
    families = [ItemGroups("MADE_BY", brand), ItemGroups("path > parent.2", brand[:, :2].tocsr())]
    adjacency = message_adjacency(view, families, 2.5, torch.device("cpu"))
    return message_relations(families), adjacency, {f"@{f.name}": f.groups for f in families}


def start(seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(USERS, DIM), torch.randn(ITEMS, DIM)


def made(name: EncoderName, made_of: Graph, *, layers: int = 3, awake: bool = True) -> Any:
    torch.manual_seed(7)
    encoder = make_encoder(name, made_of[0], layers=layers, dim=DIM, groups=made_of[2])
    if awake and isinstance(encoder, HeteroEncoder):
        nn.init.normal_(encoder.out.weight)
    return encoder


def z_of(encoder: GraphEncoder, adjacency: dict[Relation, Tensor], h0: Tensor, text: Tensor | None) -> Tensor:
    with torch.no_grad():
        return encoder.encode(encoder.prepare(adjacency, h0, text))


def renumbered(matrix: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    dense = matrix.to_dense()
    dense = dense if rows is None else dense[rows]
    return (dense if columns is None else dense[:, columns]).to_sparse_coo()


def test_propagation_is_lightgcn_with_items_that_start_at_zero() -> None:
    torch.manual_seed(0)
    weighted = torch.from_numpy(purchases().T.toarray()) * (0.5 + torch.rand(ITEMS, USERS))
    encoder = PropagationEncoder(BOUGHT, layers=5)
    h0, _ = start()
    # The normalisation undoes any scale, so the spectral one of the training graph does not matter.
    paths = encoder.paths({BOUGHT: (3.7 * weighted).to_sparse_coo()}, h0)

    items, users = weighted.nonzero(as_tuple=True)
    edges = torch.stack([torch.cat([users, items + USERS]), torch.cat([items + USERS, users])])
    weights = weighted[items, users].repeat(2)
    state = torch.cat([h0, torch.zeros(ITEMS, DIM)])
    layers = []
    for _ in range(5):
        state = LGConv()(state, edges, weights)
        layers.append(state[USERS:])
    torch.testing.assert_close(paths, torch.stack(layers[::2]), rtol=1e-5, atol=1e-6)
    assert layers[1].count_nonzero() == layers[3].count_nonzero() == 0
    torch.testing.assert_close(encoder(paths), torch.stack(layers[::2]).mean(0))


def test_the_linear_encoder_is_the_default_one_and_loads_its_weights() -> None:
    relations, adjacency, _ = graph()
    ours = made("linear", graph())
    theirs = LinearRelationalEncoder(relations, 3, ANCHOR, CANDIDATE)
    torch.nn.init.normal_(theirs.scalars)
    ours.load_state_dict(theirs.state_dict())
    h0, text = start()
    with torch.no_grad():
        want = theirs(theirs.paths(adjacency, h0))
    assert torch.equal(z_of(ours, adjacency, h0, text), want)


def test_sage_over_the_training_matrices_is_pygs_mean_over_the_edges() -> None:
    relations, adjacency, groups = made_of = graph(min_count=0)
    encoder = made("sage", made_of, layers=2)
    h0, text = start()
    got = z_of(encoder, adjacency, h0, text)

    edges = {}
    layers = []
    for i, relation in enumerate(relations):
        rows, columns = adjacency[relation].coalesce().indices()
        edges[f"{relation[0]}", f"r{i}", f"{relation[2]}"] = torch.stack([columns, rows])
    state = {ANCHOR: h0 / h0.pow(2).mean().sqrt(), CANDIDATE: text / text.pow(2).mean().sqrt()}
    state |= {label: encoder.groups[encoder._node[label]] for label in groups}
    with torch.no_grad():
        for ours in encoder.convs:
            convs = {}
            for edge, relation in zip(edges, relations, strict=True):
                convs[edge] = SAGEConv((DIM, DIM), DIM, aggr="mean")
                convs[edge].load_state_dict(ours.convs[encoder._edge[relation]].state_dict())
            layers.append(HeteroConv(convs, aggr="mean"))
            state = {label: h.relu() for label, h in layers[-1](state, edges).items()}
        first = adjacency[BOUGHT].to_dense() @ h0
        want = first + first.pow(2).mean().sqrt() * encoder.out(state[CANDIDATE])
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_numbering_of_users_and_items_does_not_matter(name: EncoderName) -> None:
    relations, adjacency, _ = made_of = graph()
    encoder = made(name, made_of)
    h0, text = start()
    order = {ANCHOR: torch.randperm(USERS), CANDIDATE: torch.randperm(ITEMS)}
    moved = {r: renumbered(m, order.get(r[2]), order.get(r[0])) for r, m in adjacency.items()}
    assert list(moved) == relations
    z = z_of(encoder, moved, h0[order[ANCHOR]], text[order[CANDIDATE]])
    torch.testing.assert_close(z, z_of(encoder, adjacency, h0, text)[order[CANDIDATE]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_of_zero_is_no_message(name: EncoderName) -> None:
    made_of = graph()
    adjacency = made_of[1]
    encoder = made(name, made_of)
    h0, text = start()
    stored = {}
    for relation, matrix in adjacency.items():
        everywhere = torch.ones(matrix.shape).nonzero().T
        values = matrix.to_dense()[everywhere[0], everywhere[1]]
        stored[relation] = torch.sparse_coo_tensor(everywhere, values, matrix.shape, check_invariants=False)
    z = z_of(encoder, stored, h0, text)
    torch.testing.assert_close(z, z_of(encoder, adjacency, h0, text), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_user_reaches_the_items_within_the_hops_and_no_others(name: EncoderName) -> None:
    relations: list[Relation] = [BOUGHT, INTERACTED_BY]
    # A chain: user 0 - item 0 - user 1 - item 1 - user 2 - item 2.
    chain = torch.zeros(3, 3)
    chain[[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]] = 1.0
    adjacency = {relations[0]: chain.to_sparse_coo(), relations[1]: chain.T.contiguous().to_sparse_coo()}
    encoder = made(name, (relations, adjacency, {}), layers=3)
    # Signs may be cut off by a ReLU: look at many starts.
    moved = torch.zeros(3, dtype=torch.bool)
    for seed in range(20):
        torch.manual_seed(seed)
        h0 = torch.randn(3, DIM)
        # The same size, which hetero layers take out.
        one, two = (encoder.prepare(adjacency, h, None) for h in (h0, torch.cat([-h0[:1], h0[1:]])))
        if one.nodes:
            # The first term's size is one number of the whole graph: hold it.
            two = replace(two, paths=one.paths)
        with torch.no_grad():
            moved |= (encoder.encode(one) - encoder.encode(two)).abs().amax(1) > 1e-6
    assert moved.tolist() == [True, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_weights_learn_and_every_kind_starts_from_the_purchases(name: EncoderName) -> None:
    made_of = graph()
    encoder = made(name, made_of, awake=False)
    h0, text = start()
    prepared = encoder.prepare(made_of[1], h0, text)
    if isinstance(encoder, HeteroEncoder):
        torch.testing.assert_close(encoder.encode(prepared), torch.sparse.mm(made_of[1][BOUGHT], h0))
    goal = torch.randn(ITEMS, DIM)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
    losses = []
    before = copy.deepcopy(dict(encoder.named_parameters()))
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            z = encoder.encode(prepared)
        assert z.dtype == torch.float32
        loss = (z - goal).pow(2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # The hetero layers see the text and can fit; a handful of scalars can only improve.
    assert losses[-1] < losses[0] * (0.5 if isinstance(encoder, HeteroEncoder) else 1.0)
    if isinstance(encoder, HeteroEncoder):
        moved = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
        assert {"groups.n2", "groups.n3", "direct_weights", "out.weight"} <= moved
        assert {n.split(".")[1] for n in moved if n.startswith("convs")} == {"0", "1", "2"}


def test_missing_labels_and_relations_are_told() -> None:
    relations, _, groups = graph()
    with pytest.raises(ValueError, match="@MADE_BY"):
        make_encoder("sage", relations, layers=2, dim=DIM, groups={})
    with pytest.raises(ValueError, match="no relation leads from anchor to candidate"):
        make_encoder("linear", relations[1:], layers=2, dim=DIM, groups=groups)


def test_symmetric_normalisation_leaves_a_largest_singular_value_of_one() -> None:
    matrix = torch.from_numpy(purchases().toarray()) * torch.rand(USERS, ITEMS)
    values = torch.linalg.svdvals(symmetric(matrix.to_sparse_coo()).to_dense())
    torch.testing.assert_close(values[0], torch.tensor(1.0))


def test_a_purchase_is_halved_once_per_half_life_and_keeps_its_place() -> None:
    bought = sp.csr_matrix(np.array([[1, 0, 1], [0, 2, 1]], np.float32))
    ages = np.array([0, 30, 60, 15], np.float32)
    faded = decayed(bought, ages, 30.0)
    np.testing.assert_allclose(faded.toarray(), [[1, 0, 0.5], [0, 0.5, 2**-0.5]], rtol=1e-6)
    assert faded.dtype == np.float32
    assert bought.data.tolist() == [1, 1, 2, 1]
    np.testing.assert_array_equal(decayed(bought, ages, float("inf")).data, bought.data)
    # Ages that all grow alike change the scale alone, which a normalisation takes out.
    older = decayed(bought, ages + 45, 30.0)
    np.testing.assert_allclose(older.data / older.data[0], faded.data / faded.data[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("ages", "half_life", "message"),
    [([0, 1], 30.0, "2 ages for 3"), ([0, 1, 2], 0.0, "half-life"), ([0, 1, -1], 30.0, "cut")],
)
def test_ages_that_do_not_fit_are_refused(ages: list[float], half_life: float, message: str) -> None:
    bought = sp.csr_matrix(np.array([[1, 0, 1], [0, 0, 1]], np.float32))
    with pytest.raises(ValueError, match=message):
        decayed(bought, np.array(ages, np.float32), half_life)
