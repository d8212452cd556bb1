"""The graph encoder against propagation, layer by layer, as its formula says."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgdistill.models.graph.linear import LinearRelationalEncoder, Relation

SIZES = {"User": 5, "Product": 7, "Brand": 3}
RELATIONS: list[Relation] = [
    ("User", "BOUGHT", "Product"),
    ("Product", "rev_BOUGHT", "User"),
    ("Product", "MADE_BY", "Brand"),
    ("Brand", "rev_MADE_BY", "Product"),
    ("Product", "ALSO", "Product"),
]


def random_graph(seed: int) -> tuple[dict[Relation, Tensor], Tensor]:
    draw = np.random.default_rng(seed)
    adjacency = {}
    for relation in RELATIONS:
        shape = SIZES[relation[2]], SIZES[relation[0]]
        dense = draw.normal(size=shape) * (draw.random(shape) < 0.4)
        # COO: the kind that makes no warning on its way.
        adjacency[relation] = torch.from_numpy(dense.astype(np.float32)).to_sparse_coo()
    return adjacency, torch.from_numpy(draw.normal(size=(SIZES["User"], 4)).astype(np.float32))


def naive(encoder: LinearRelationalEncoder, adjacency: dict[Relation, Tensor], h0: Tensor) -> Tensor:
    state = {label: torch.zeros(n, h0.shape[1]) for label, n in SIZES.items()}
    state["User"] = h0
    z = torch.zeros(SIZES["Product"], h0.shape[1])
    for layer in range(encoder.scalars.shape[0]):
        following = {label: torch.zeros_like(h) for label, h in state.items()}
        for r, relation in enumerate(encoder.relations):
            source, _, target = relation
            following[target] += encoder.scalars[layer, r] * (adjacency[relation].to_dense() @ state[source])
        state = following
        z = z + encoder.layer_weights[layer] * state["Product"]
    return z


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 4))
def test_summing_paths_equals_propagating_layer_by_layer(seed: int, layers: int) -> None:
    adjacency, h0 = random_graph(seed)
    encoder = LinearRelationalEncoder(RELATIONS, layers, "User", "Product")
    torch.manual_seed(seed)
    torch.nn.init.normal_(encoder.scalars)
    torch.nn.init.normal_(encoder.layer_weights)
    with torch.no_grad():
        got = encoder(encoder.paths(adjacency, h0))
        want = naive(encoder, adjacency, h0)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


def test_the_encoder_is_linear_in_what_the_users_start_with() -> None:
    adjacency, one = random_graph(1)
    _, two = random_graph(2)
    encoder = LinearRelationalEncoder(RELATIONS, 3, "User", "Product")
    with torch.no_grad():
        z = [encoder(encoder.paths(adjacency, h)) for h in (one, two, 2 * one - 3 * two)]
    torch.testing.assert_close(z[2], 2 * z[0] - 3 * z[1], rtol=1e-4, atol=1e-4)
    assert z[0].abs().sum() > 0


def test_every_layers_scalar_on_a_path_to_the_products_gets_a_gradient() -> None:
    adjacency, h0 = random_graph(3)
    encoder = LinearRelationalEncoder(RELATIONS, 2, "User", "Product")
    encoder(encoder.paths(adjacency, h0)).pow(2).sum().backward()
    gradient = encoder.scalars.grad
    assert gradient is not None
    # From users one hop leads over BOUGHT alone, and the second over what leaves a product for a product.
    assert gradient.ne(0).tolist() == [[True, False, False, False, False], [False, False, False, False, True]]
