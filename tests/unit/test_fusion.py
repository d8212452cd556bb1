"""The lesson of the graph encoder and its gate: folds, labels, negatives, and going on after a kill."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _shop import COLD, Shop
from _train import KilledError, Memory
from torch import Tensor, nn

from kgdistill.config import TeacherConfig
from kgdistill.models.graph.fused import FusedItems
from kgdistill.models.graph.messages import CANDIDATE, INTERACTED, NEAR_TEXT, MessageGraph, Messages
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train import fusion
from kgdistill.train.fusion import FusionGraph, fit_fusion, fusion_graph, scaled_texts
from kgdistill.train.loop import Context, Draws

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"dim": 4, "layers": 2, "graph_steps": 12, "graph_batch": 90, "graph_negatives": 40}
Pairs = set[tuple[int, int]]


def config(**other: Any) -> TeacherConfig:
    return TeacherConfig(**(SMALL | other))


def graph_of(
    shop: Shop, settings: TeacherConfig, view: Interactions | None = None, *, use_graph: bool = True
) -> tuple[TrainingData, FusionGraph]:
    catalogue = shop.catalogue()
    view = catalogue.view() if view is None else view
    made = fusion_graph(catalogue, view, shop.facts(), settings, use_graph=use_graph, device=CPU)
    return catalogue, made


def lesson_of(shop: Shop, **other: Any) -> fusion._Lesson:
    settings = config(**other)
    catalogue, graph = graph_of(shop, settings)
    torch.manual_seed(0)
    return fusion._Lesson(graph.untrained(catalogue.text.shape[1], settings), catalogue, graph, settings)


def carried(messages: Messages) -> Pairs:
    """The interactions that any message goes along, forth, back or into a history."""
    forth, pool = messages.relations[INTERACTED], messages.pool
    back = messages.relations[CANDIDATE, "rev_interacted", "anchor"]
    sides = [forth.matrix.to_dense().T, forth.back.to_dense(), back.matrix.to_dense(), back.back.to_dense().T]
    sides += [pool.matrix.to_dense(), pool.back.to_dense().T]
    return {(int(u), int(i)) for side in sides for u, i in side.nonzero()}


def pairs_of(lesson: fusion._Lesson, edges: Tensor) -> list[tuple[int, int]]:
    return list(zip(lesson.users[edges].tolist(), lesson.items[edges].tolist(), strict=True))


def test_labels_carry_no_messages_and_every_other_interaction_does(shop: Shop) -> None:
    lesson, draws = lesson_of(shop, node_dropout=0.2), Draws(0)
    everything = set(pairs_of(lesson, torch.arange(len(lesson.items))))
    for epoch in range(1, 6):
        batches = lesson.plan(epoch, draws)
        assert len(batches) == lesson.batches
        labels = [pair for batch in batches for pair in pairs_of(lesson, batch.labels)]
        assert len(labels) == len(set(labels))
        messages = carried(lesson.messages)
        assert not messages & set(labels)
        assert lesson.messages.counts.sum() == len(messages)
        # What is neither is what nothing is left of in its user's history.
        idle = everything - messages - set(labels)
        left = {user for user, _ in messages}
        assert {user for user, _ in idle} == {user for user, _ in everything} - left


def test_a_user_of_whom_nothing_is_left_is_no_label(shop: Shop) -> None:
    # Every user has two events.
    bought = shop.catalogue().view().purchases.tolil()
    for user in range(bought.shape[0]):
        bought[user, sp.csr_matrix(bought[user]).indices[2:]] = 0
    few = sp.csr_matrix(bought)
    few.eliminate_zeros()
    settings = config()
    view = Interactions(few, np.zeros(few.nnz, np.float32), 3)
    catalogue, graph = graph_of(shop, settings, view)
    lesson = fusion._Lesson(graph.untrained(catalogue.text.shape[1], settings), catalogue, graph, settings)
    batches, draws = lesson.plan(1, Draws(0)), Draws(1)
    learners = set(lesson.users[torch.cat([batch.labels for batch in batches])].tolist())
    left = {user for user, _ in carried(lesson.messages)}
    assert learners
    assert learners <= left
    assert len(left) < len(set(lesson.users.tolist()))
    for batch in batches:
        assert torch.isfinite(lesson.loss(batch, draws)["interactions"][1])


def test_what_the_labels_are_changes_nothing_that_is_passed(shop: Shop) -> None:
    lesson = lesson_of(shop)
    batches = lesson.plan(1, Draws(0))
    kept = carried(lesson.messages)
    view = lesson.graph.view
    users, items = view.purchases.shape
    # The labels go to other items of the same users.
    draw = np.random.default_rng(0)
    other = np.zeros((users, items), np.float32)
    for user, item in kept:
        other[user, item] = 1
    for user, _ in pairs_of(lesson, torch.cat([batch.labels for batch in batches])):
        other[user, draw.choice(np.flatnonzero(other[user] == 0))] = 1
    rewired = sp.csr_matrix(other)
    assert (rewired != view.purchases).nnz > 100
    settings = config()
    catalogue, graph = graph_of(shop, settings, Interactions(rewired, np.zeros(rewired.nnz, np.float32), 3))
    moved = fusion._Lesson(lesson.model, catalogue, graph, settings)
    keep = [pair in kept for pair in pairs_of(moved, torch.arange(len(moved.items)))]
    moved.load_state_dict({"keep": torch.tensor(keep), "new": lesson.new})
    for relation, adjacency in lesson.messages.relations.items():
        assert torch.equal(adjacency.matrix.to_dense(), moved.messages.relations[relation].matrix.to_dense())
    assert torch.equal(lesson.messages.pool.matrix.to_dense(), moved.messages.pool.matrix.to_dense())
    assert torch.equal(lesson.messages.counts, moved.messages.counts)
    one, two = (lesson.model(lesson.graph.texts, m) for m in (lesson.messages, moved.messages))
    assert torch.equal(one.vectors, two.vectors)


def test_items_that_drop_out_lose_all_interactions_and_the_others_about_half(shop: Shop) -> None:
    buyers = torch.from_numpy(shop.catalogue().view().counts)
    popular = buyers >= 9
    gone = {}
    for share in (0.0, 0.3):
        lesson, draws = lesson_of(shop, node_dropout=share), Draws(0)
        counts = []
        for epoch in range(1, 11):
            batches = lesson.plan(epoch, draws)
            counts.append(lesson.messages.counts)
            # Even those are labels, of an item that nobody else has bought: this is what new ones are.
            labels = torch.cat([batch.labels for batch in batches])
            labelled = torch.bincount(lesson.items[labels], minlength=len(buyers))
            assert labelled[popular & (counts[-1] == 0)].float().sum() >= 8 * (counts[-1][popular] == 0).sum()
        seen = torch.stack(counts)[:, popular]
        gone[share] = (seen == 0).float().mean().item()
        here = seen > 0
        assert (seen[here] / buyers[popular].expand_as(seen)[here]).mean() == pytest.approx(0.5, abs=0.03)
    assert gone[0.0] < 0.01
    assert gone[0.3] == pytest.approx(0.3, abs=0.05)


def test_negatives_are_drawn_half_evenly_and_half_by_strata_among_what_can_be_recommended(shop: Shop) -> None:
    settings = config(graph_negatives=60_000)
    catalogue, graph = graph_of(shop, settings)
    catalogue = replace(catalogue, items=catalogue.items[5:])
    lesson = fusion._Lesson(graph.untrained(catalogue.text.shape[1], settings), catalogue, graph, settings)
    counts = graph.view.counts
    strata = [int(np.log2(1 + counts[item])) for item in catalogue.items]
    assert len(set(strata)) > 2
    want = np.zeros(len(counts))
    for item, stratum in zip(catalogue.items, strata, strict=True):
        want[item] = 0.5 / len(strata) + 0.5 / len(set(strata)) / strata.count(stratum)
    assert want.sum() == pytest.approx(1)
    np.testing.assert_allclose(lesson.log_chance.exp().numpy(), want, rtol=1e-5)
    drawn = np.bincount(lesson.plan(1, Draws(0))[0].others, minlength=len(counts)) / 60_000
    np.testing.assert_allclose(drawn, want, atol=4 * np.sqrt(want.max() / 60_000))
    assert drawn[:5].sum() == 0


def test_the_loss_is_the_sampled_softmax_of_the_label_over_what_was_drawn(shop: Shop) -> None:
    lesson, draws = lesson_of(shop, z_dropout=0.0), Draws(0)
    for parameter in lesson.model.parameters():
        nn.init.normal_(parameter, std=0.5)
    first = lesson.plan(1, draws)[0]
    batch, others = first.labels[:30], first.others
    with torch.no_grad():
        weight, got = lesson.loss(first._replace(labels=batch), draws)["interactions"]
        vectors = lesson.model(lesson.graph.texts, lesson.messages, new=lesson.new).vectors.double()
    pool, log_q = lesson.messages.pool.matrix.to_dense().double(), lesson.log_chance.double()
    losses = []
    for user, item in pairs_of(lesson, batch):
        logits = vectors @ (pool[user] @ vectors) - log_q
        # The label once, however often it was drawn.
        against = torch.cat([logits[[item]], logits[others[others != item]]])
        losses.append(against.logsumexp(0) - logits[item])
    assert weight == 1.0
    assert (others == lesson.items[batch][:, None]).any()
    torch.testing.assert_close(got.double(), torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


def test_at_each_step_a_share_of_the_items_is_text_alone(shop: Shop) -> None:
    lesson, draws = lesson_of(shop, z_dropout=0.3), Draws(0)
    batch, kept = lesson.plan(1, draws)[0], []
    model = lesson.model

    class Spy(FusedItems):
        def __call__(self, texts: Any, messages: Any, keep: Tensor, new: Tensor) -> Any:
            kept.append(keep)
            assert messages is lesson.messages
            return model(texts, messages, keep, new)

    lesson.model = Spy.__new__(Spy)
    for _ in range(30):
        lesson.loss(batch, draws)
    shares = torch.stack(kept).float()
    assert shares.mean() == pytest.approx(0.7, abs=0.03)
    assert not torch.equal(kept[0], kept[1])


def fitted(shop: Shop, memory: Memory | None = None, **other: Any) -> FusedItems:
    settings = config(**other)
    catalogue, graph = graph_of(shop, settings)
    return fit_fusion(catalogue, graph, settings, Context(CPU, 0, memory), title="vectors")


@pytest.mark.parametrize("stop", [2, 7])
def test_a_training_resumed_amid_a_fold_is_one_that_never_stopped(shop: Shop, stop: int) -> None:
    whole = Memory()
    want = fitted(shop, whole).state_dict()
    assert len(whole.kept["vectors"]["batches"]) > 2
    killed = Memory(stop)
    with pytest.raises(KilledError):
        fitted(shop, killed)
    assert 0 < killed.kept["vectors"]["position"] < len(killed.kept["vectors"]["batches"])
    torch.manual_seed(9)
    got = fitted(shop, killed).state_dict()
    assert all(torch.equal(tensor, got[name]) for name, tensor in want.items())
    assert [r["loss"] for r in whole.kept["vectors"]["history"][1:]] == [
        r["loss"] for r in killed.kept["vectors"]["history"][1:]
    ]


def test_the_state_of_a_fold_is_which_interactions_carry_messages(shop: Shop) -> None:
    lesson, other = lesson_of(shop), lesson_of(shop)
    lesson.plan(1, Draws(0))
    other.plan(1, Draws(1))
    assert carried(lesson.messages) != carried(other.messages)
    other.load_state_dict(copy.deepcopy(lesson.state_dict()))
    assert carried(lesson.messages) == carried(other.messages)


@pytest.mark.parametrize(("steps", "size", "folds"), [(12, 90, 3), (20, 300, 10), (20, 10, 3)])
def test_it_takes_its_steps_at_rates_that_fall_to_0(shop: Shop, steps: int, size: int, folds: int) -> None:
    rates: list[float] = []

    class Watch(Memory):
        def save(self, title: str, state: Any) -> None:
            rates.append(state.optimizer.param_groups[0]["lr"])
            super().save(title, state)

    memory = Watch()
    fitted(shop, memory, graph_steps=steps, graph_batch=size)
    last = memory.kept["vectors"]
    assert (last["epoch"], last["total"]) == (folds, len(rates))
    assert steps <= len(rates) < steps + len(rates) / folds
    np.testing.assert_allclose(rates, 5e-3 * (1 - np.arange(1, len(rates) + 1) / len(rates)), atol=1e-9)


def test_it_learns_and_every_part_moves(shop: Shop) -> None:
    memory = Memory()
    settings = config(graph_steps=120, graph_lr=0.02)
    catalogue, graph = graph_of(shop, settings)
    torch.manual_seed(0)
    before = graph.untrained(catalogue.text.shape[1], settings).state_dict()
    model = fit_fusion(catalogue, graph, settings, Context(CPU, 0, memory), title="vectors")
    losses = [r["loss"] for r in memory.kept["vectors"]["history"][1:]]
    assert np.mean(losses[-5:]) < losses[0] - 0.1
    assert not model.training
    for name, tensor in model.named_parameters():
        assert (tensor - before[name]).abs().max() > 1e-2, name
    # New items, of which it knows facts and texts alone, are nearer to those who buy what is like them.
    fused = graph.fused(model)
    assert not fused.vectors.requires_grad
    scores = (graph.messages.messages().pool @ fused.vectors) @ fused.vectors.T
    new = torch.arange(80) >= 80 - COLD
    new &= torch.from_numpy(graph.view.counts == 0)
    assert new.sum() >= 3
    kind, taste = torch.arange(80) % 6 // 2, torch.arange(60) % 3
    own = taste[:, None] == kind[None]
    assert scores[:, new][own[:, new]].mean() > scores[:, new][~own[:, new]].mean() + 0.5


def test_ids_start_at_the_leading_singular_vectors_and_the_text_near_z(shop: Shop) -> None:
    settings = config(dim=5)
    catalogue, graph = graph_of(shop, settings)
    torch.manual_seed(0)
    model = graph.untrained(catalogue.text.shape[1], settings)
    fusion._start(model, graph)
    messages = graph.messages.messages()
    counts = messages.counts.numpy()
    ids = model.ids_of(CANDIDATE).detach().numpy()
    assert not ids[counts == 0].any()
    # Of few buyers they are shorter; but for that they are the vectors.
    sold = counts > 0
    plain = ids[sold] * ((counts + 30) / np.maximum(counts, 1))[sold, None]
    left = np.linalg.svd(messages.pool.back.to_dense().numpy())[0][sold, :5]
    size = (plain**2).sum(0)
    np.testing.assert_allclose(plain.T @ plain, size[0] * np.eye(5), atol=1e-3 * size[0])
    np.testing.assert_allclose(plain @ plain.T / size[0], left @ left.T, atol=0.03)
    fused = graph.fused(model)
    assert fused.relational is not None
    near = torch.nn.functional.cosine_similarity(fused.text, fused.relational)[torch.from_numpy(sold)]
    assert near.mean() > 0.4


def test_nothing_known_leaves_the_model_untrained(shop: Shop) -> None:
    settings = config()
    none = sp.csr_matrix((60, 80), dtype=np.float32)
    catalogue, graph = graph_of(shop, settings, Interactions(none, np.zeros(0, np.float32), 3))
    torch.manual_seed(0)
    want = graph.untrained(catalogue.text.shape[1], settings).state_dict()
    model = fit_fusion(catalogue, graph, settings, Context(CPU, 0), title="vectors")
    assert not model.training
    assert all(torch.equal(tensor, want[name]) for name, tensor in model.state_dict().items())


def test_texts_are_centred_and_of_a_mean_length_of_the_root_of_their_width() -> None:
    vectors = np.random.default_rng(0).normal(3, 0.1, (20, 9)).astype(np.float32)
    rows = np.arange(30) % 20
    got = scaled_texts(vectors, rows, CPU)
    torch.testing.assert_close(got.vectors.mean(0), torch.zeros(9), atol=1e-5, rtol=0)
    assert got.vectors.norm(dim=1).mean() == pytest.approx(3.0, rel=1e-5)
    centred = vectors - vectors.mean(0)
    ratio = got.vectors.numpy() / centred
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
    assert got.rows.tolist() == rows.tolist()
    assert scaled_texts(np.ones((1, 4), np.float32), np.zeros(2, np.int64), CPU).vectors.tolist() == [[0] * 4]


def test_a_graph_holds_the_facts_the_near_texts_and_the_groups_texts(shop: Shop) -> None:
    settings = config(near=3, near_weight=0.5, fact_weight=0.25)
    catalogue = replace(
        shop.catalogue(), group_texts={"MADE_BY": (np.eye(6, 8, dtype=np.float32), np.arange(6))}
    )
    view = catalogue.view()
    graph = fusion_graph(catalogue, view, shop.facts(), settings, use_graph=True, device=CPU)
    assert set(graph.texts) == {CANDIDATE, "@MADE_BY"}
    relations = graph.messages.messages().relations
    assert (CANDIDATE, "MADE_BY", "@MADE_BY") in relations
    assert NEAR_TEXT in relations
    # Of one fact and one nearness between items of the same degree: as they weigh.
    assert graph.messages._edges[NEAR_TEXT].weight == 0.5
    assert graph.messages._edges["@MADE_BY", "rev_MADE_BY", CANDIDATE].weight == 0.25
    far = fusion_graph(catalogue, view, shop.facts(), config(near=0), use_graph=True, device=CPU)
    assert NEAR_TEXT not in far.messages.relations


def test_without_a_graph_vectors_are_texts_learned_from_the_same_labels(shop: Shop) -> None:
    settings = config()
    catalogue, graph = graph_of(shop, settings, use_graph=False)
    assert isinstance(graph.messages, MessageGraph)
    assert set(graph.messages.sizes) == {"anchor", CANDIDATE}
    model = fit_fusion(catalogue, graph, settings, Context(CPU, 0), title="texts")
    fused = graph.fused(model)
    assert fused.relational is None
    assert torch.equal(fused.vectors, fused.text)
    torch.manual_seed(0)
    before = graph.untrained(catalogue.text.shape[1], settings)
    assert not torch.equal(before.text.weight, model.text.weight)


@pytest.mark.parametrize("use_graph", [True, False])
def test_texts_that_are_all_the_same_teach_nothing_and_break_nothing(shop: Shop, use_graph: bool) -> None:
    settings = config()
    catalogue = shop.catalogue()
    catalogue = replace(catalogue, text=np.ones_like(catalogue.text))
    graph = fusion_graph(catalogue, catalogue.view(), shop.facts(), settings, use_graph=use_graph, device=CPU)
    model = fit_fusion(catalogue, graph, settings, Context(CPU, 0), title="vectors")
    assert graph.fused(model).vectors.isfinite().all()


def test_a_shop_of_one_item_and_one_user_has_finite_vectors(shop: Shop) -> None:
    settings = config(near=0)
    view = Interactions(sp.csr_matrix(np.ones((1, 1), np.float32)), np.ones(1, np.float32), 1)
    catalogue = replace(
        shop.catalogue(), items=np.array([0]), users=np.array([0]), text_rows=np.array([0], np.int64)
    )
    graph = fusion_graph(catalogue, view, [], settings, use_graph=True, device=CPU)
    model = graph.untrained(catalogue.text.shape[1], settings)
    fusion._start(model, graph)
    assert graph.fused(model).vectors.isfinite().all()


def test_so_many_labels_are_seen_at_most(shop: Shop) -> None:
    events = shop.catalogue().view().purchases.nnz
    free, bound = (lesson_of(shop, graph_steps=1000, graph_labels=most) for most in (10**9, 3 * events // 2))
    assert free.folds == -(-1000 // free.batches)
    assert bound.folds == 3  # half of the events are labels in each


def test_the_gate_is_told_by_the_items_state_beside_where_it_began(shop: Shop) -> None:
    catalogue, graph = graph_of(shop, config())
    fused = graph.fused(graph.untrained(catalogue.text.shape[1], config()))
    gate, counts = torch.rand_like(fused.vectors), graph.view.counts[catalogue.items]
    told = graph.gates(replace(fused, gate=gate), catalogue.items)
    share = gate.mean(1).numpy()[catalogue.items]
    cold = counts < graph.view.min_count
    assert 0 < cold.sum() < len(counts)
    assert told["start"] == pytest.approx(1 / (1 + np.exp(2)))
    assert told["warm"] == pytest.approx(share[~cold].mean(), rel=1e-5)
    assert told["cold"] == pytest.approx(share[cold].mean(), rel=1e-5)
    assert list(told) == ["start", "warm", "tail", "cold"]
    _, alone = graph_of(shop, config(), use_graph=False)
    texts = alone.fused(alone.untrained(catalogue.text.shape[1], config()))
    assert alone.gates(texts, catalogue.items) == {}
