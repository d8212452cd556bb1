"""Text and relational embeddings in one vector: the formula, and what must not reach it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from kgdistill.models.graph.encoders import EncoderName, LinearEncoder
from kgdistill.models.graph.fused import Fused, FusedItems, NodeTexts
from kgdistill.models.graph.messages import ANCHOR, CANDIDATE, MessageGraph, Messages
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups

CPU, META = torch.device("cpu"), torch.device("meta")
USERS, ITEMS, TEXTS, E, D, COLD = 6, 8, 5, 7, 4, 2
BRANDS = "@MADE_BY"


def graph() -> MessageGraph:
    """The last two items have no buyers; all have one of three brands."""
    bought = (np.random.default_rng(0).random((USERS, ITEMS)) < 0.5).astype(np.float32)
    bought[:, -2:] = 0
    matrix = sp.csr_matrix(bought)
    brand = sp.csr_matrix(np.eye(3, dtype=np.float32)[np.arange(ITEMS) % 3])
    return MessageGraph(
        Interactions(matrix, np.zeros(matrix.nnz, np.float32), COLD), [ItemGroups("MADE_BY", brand)], None,
        fact_weight=0.5, near_weight=0.0, device=CPU,
    )  # fmt: skip


def texts() -> dict[str, NodeTexts]:
    torch.manual_seed(1)
    return {
        CANDIDATE: NodeTexts(torch.randn(TEXTS, E), torch.arange(ITEMS) * 2 % TEXTS),
        BRANDS: NodeTexts(torch.randn(2, E), torch.tensor([0, 1, 0])),
    }


def model(*, encoder: EncoderName = "linear", use_graph: bool = True) -> FusedItems:
    torch.manual_seed(0)
    made = graph()
    fused = FusedItems(
        E, D, {label: n for label, n in made.sizes.items() if label != ANCHOR},
        made.relations if use_graph else [], encoder=encoder, layers=3, min_count=COLD,
    )  # fmt: skip
    for parameter in fused.parameters():
        nn.init.normal_(parameter)
    if use_graph:
        fused.known[-2:] = False
    return fused


@torch.no_grad()
def of(fused: FusedItems, messages: Messages | None, **other: Any) -> Fused:
    out: Fused = fused(other.get("texts", texts()), messages, other.get("keep"))
    return out


@torch.no_grad()
def test_vectors_are_gated_as_the_formula_says() -> None:
    fused, messages, read = model(), graph().messages(), texts()
    got = of(fused, messages)

    def projected(layer: nn.Linear, label: str) -> Tensor:
        return read[label].vectors[read[label].rows] @ layer.weight.T

    t = projected(fused.text, CANDIDATE)
    starts = {
        CANDIDATE: projected(fused.start, CANDIDATE) + fused.ids["n0"] * fused.known[:, None],
        BRANDS: projected(fused.start, BRANDS) + fused.ids["n1"],
    }
    z = LinearEncoder(3)(starts, messages)
    buyers = messages.counts
    assert set(buyers.tolist()) >= {0.0, 3.0}
    state = torch.stack([torch.log1p(buyers) / 5, (buyers < COLD).float()], 1)
    g = torch.sigmoid(torch.cat([t, z, state], 1) @ fused.gate.weight.T + fused.gate.bias)
    assert got.relational is not None
    assert got.gate is not None
    for mine, want in (
        (got.text, t), (got.relational, z), (got.gate, g), (got.vectors, g * t + (1 - g) * z),
    ):  # fmt: skip
        torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-5)


def test_an_item_whose_z_is_dropped_is_its_text_and_the_others_are_as_before() -> None:
    fused, messages, keep = model(), graph().messages(), torch.arange(ITEMS) % 2 == 0
    plain, dropped = of(fused, messages), of(fused, messages, keep=keep)
    assert torch.equal(dropped.vectors[~keep], dropped.text[~keep])
    torch.testing.assert_close(dropped.vectors[keep], plain.vectors[keep])
    assert ((plain.vectors - plain.text).abs().sum(1) > 1e-3).all()


def test_an_item_that_is_not_known_has_no_id() -> None:
    fused, messages = model(), graph().messages()
    nobodys = ~fused.known
    before = of(fused, messages).relational
    assert before is not None
    with torch.no_grad():
        fused.ids["n0"][nobodys] += 5.0
    unmoved = of(fused, messages).relational
    assert unmoved is not None
    assert torch.equal(unmoved, before)
    with torch.no_grad():
        fused.ids["n0"][~nobodys] += 5.0
    moved = of(fused, messages).relational
    assert moved is not None
    assert not torch.allclose(moved, before)


def test_what_is_new_has_no_id_either() -> None:
    fused, messages = model(), graph().messages()
    new = torch.arange(ITEMS) == 0
    with torch.no_grad():
        one = fused(texts(), messages, new=new).relational
        fused.ids["n0"][0] += 5.0
        two = fused(texts(), messages, new=new).relational
        known = fused(texts(), messages).relational
    assert torch.equal(one, two)
    assert not torch.allclose(one[0], known[0])


def test_the_texts_of_groups_reach_the_items_along_the_facts() -> None:
    fused, messages, read = model(), graph().messages(), texts()
    # The first and the third brand are called the same.
    other = read | {BRANDS: NodeTexts(read[BRANDS].vectors + torch.tensor([[1.0], [0.0]]), read[BRANDS].rows)}
    one, two = of(fused, messages), of(fused, messages, texts=other)
    assert one.relational is not None
    assert two.relational is not None
    moved = (one.relational - two.relational).abs().sum(1) > 1e-4
    assert moved[torch.arange(ITEMS) % 3 != 1].all()
    assert torch.equal(one.text, two.text)
    nameless = of(fused, messages, texts={CANDIDATE: read[CANDIDATE]}).relational
    assert nameless is not None
    assert not torch.allclose(nameless, one.relational)


def test_without_relations_it_is_the_text_and_has_no_z() -> None:
    fused = model(use_graph=False)
    assert [name for name, _ in fused.named_parameters()] == ["text.weight"]
    got = of(fused, graph().messages())
    assert got.relational is None
    assert got.gate is None
    read = texts()[CANDIDATE]
    torch.testing.assert_close(got.vectors, (read.vectors @ fused.text.weight.T)[read.rows])
    assert torch.equal(got.text, got.vectors)


@pytest.mark.parametrize("encoder", ["linear", "sage", "hgt"])
def test_every_weight_gets_a_gradient_under_autocast_too(encoder: EncoderName) -> None:
    fused = model(encoder=encoder)
    with torch.autocast("cpu", torch.bfloat16):
        got: Fused = fused(texts(), graph().messages())
    assert got.gate is not None
    assert {x.dtype for x in (got.vectors, got.text, got.relational, got.gate) if x is not None} == {
        torch.float32
    }
    got.vectors.pow(2).sum().backward()  # type: ignore[no-untyped-call]
    without = {n for n, p in fused.named_parameters() if p.grad is None or not p.grad.any()}
    # The last layer's way to what is no candidate leads nowhere; the keys' bias shifts all attention alike.
    assert not {n for n in without if not n.startswith("encoder.convs")}
    assert len(without) < len(list(fused.named_parameters())) / 3


def test_it_starts_small_with_more_z_than_text() -> None:
    made = graph()
    torch.manual_seed(0)
    sizes = {CANDIDATE: ITEMS, BRANDS: 3}
    fused = FusedItems(E, D, sizes, made.relations, encoder="linear", layers=2, min_count=COLD)
    gate = of(fused, made.messages()).gate
    assert gate is not None
    torch.testing.assert_close(gate, torch.full_like(gate, 1 / (1 + np.exp(2.0))))


def test_every_tensor_stays_on_the_models_device() -> None:
    fused = model().to(META)
    assert {p.device.type for p in [*fused.parameters(), *fused.buffers()]} == {"meta"}
    there = {label: NodeTexts(t.vectors.to(META), t.rows.to(META)) for label, t in texts().items()}
    # A tensor made without naming a device is on the CPU and does not mix. Sparse ones do not go there.
    read = fused._starts(there, None)
    alone = model(use_graph=False).to(META)(there, None)
    assert {x.device.type for x in (*read.values(), alone.vectors)} == {"meta"}
    assert alone.vectors.shape == (ITEMS, D)
