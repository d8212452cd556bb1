"""The teacher and the student as modules: shapes, cold items, devices."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgdistill.models.blend import Blend, Evidence, decayed, pool_history
from kgdistill.models.graph.encoders import Prepared
from kgdistill.models.graph.linear import INTERACTED, INTERACTED_BY, Relation
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.teacher import FusedTeacher, TeacherShape
from kgdistill.models.terms import Unit

RELATIONS: list[Relation] = [INTERACTED, INTERACTED_BY]
N, D, T, B, C, M = 12, 4, 6, 3, 5, 2
META = torch.device("meta")


def evidence(shape: tuple[int, ...] = (C,), affinities: int = 0, device: str = "cpu") -> Evidence:
    """What B users and C items are known by; `shape` is [C] where the users share the items."""
    counts = torch.arange(C, device=device).expand(shape)
    return Evidence(
        counts=counts,
        lengths=torch.arange(B, device=device).float(),
        terms=(
            *torch.rand(affinities, B, C, device=device),
            counts.float(),
            (counts / 3.0).float(),
            *torch.randn(M, B, C, device=device),
        ),
    )


def units(affinities: int = 0) -> list[Unit]:
    """Of what `evidence` gives."""
    return [*["probability"] * affinities, "count", "count", "score", "cosine"]  # type: ignore[list-item]


def teacher(*, use_graph: bool = True, affinities: int = 0, hidden: int = 0) -> FusedTeacher:
    torch.manual_seed(0)
    shape = TeacherShape(
        text_dim=T, dim=D, layers=3, units=units(affinities), min_count=3, use_graph=use_graph, hidden=hidden
    )
    model = FusedTeacher(shape, RELATIONS)
    torch.nn.init.normal_(model.gate.weight)
    torch.nn.init.normal_(model.mix.weight)
    return model


def student() -> Student:
    torch.manual_seed(0)
    return Student(StudentShape(vocabulary=20, warm_items=6, dim=D, units=units(), min_count=3))


def stir(blend: Blend) -> None:
    """Makes every weight count: most start at 0."""
    for parameter in blend.parameters():
        torch.nn.init.normal_(parameter)
    blend.typed_scale.uniform_(0.5, 2)


def paths(model: FusedTeacher) -> Tensor:
    assert model.encoder is not None
    return torch.randn(len(model.encoder.path_relations), N, D)


@torch.no_grad()
def test_an_item_whose_z_is_dropped_is_its_text_and_the_others_are_not() -> None:
    model = teacher()
    text, counts, keep = torch.randn(N, D), torch.arange(N), torch.arange(N) % 2 == 0
    fused = model.items(text, Prepared(paths(model)), counts, keep)
    alone = model.mix(text)
    torch.testing.assert_close(fused[~keep], alone[~keep])
    assert ((fused - alone)[keep].abs().sum(1) > 1e-3).all()


@torch.no_grad()
def test_a_teacher_without_a_graph_is_its_text_and_has_no_relational_embeddings() -> None:
    model = teacher(use_graph=False)
    text = torch.randn(N, D)
    torch.testing.assert_close(model.items(text, None, torch.arange(N)), model.mix(text))
    with pytest.raises(ValueError, match="without a graph"):
        model.relational(torch.randn(1, N, D))


@torch.no_grad()
def test_a_students_item_without_a_row_or_with_its_id_dropped_is_its_text() -> None:
    model = student()
    text = torch.randn(N, D)
    rows = torch.tensor([0, 1, 2, 3, 4, 5, -1, -1, -1, -1, -1, -1])
    keep = torch.arange(N) != 2
    vectors = model.items(text, rows, torch.full((N,), 9), keep)
    plain = (vectors - text).abs().sum(1) < 1e-7
    assert plain.tolist() == [False, False, True, False, False, False, *[True] * 6]


@torch.no_grad()
def test_a_students_text_is_the_weighted_mean_of_its_tokens_and_zero_without_any() -> None:
    model = student()
    torch.nn.init.normal_(model.token_weights)
    texts = [[1, 2, 2], [], [7], []]
    offsets = torch.tensor([0, 3, 3, 4])
    got = model.text(torch.tensor([t for text in texts for t in text]), offsets)
    for row, text in enumerate(texts):
        want = torch.zeros(D)
        if text:
            weights = torch.nn.functional.softplus(model.token_weights[text])
            want = (weights[:, None] * model.tokens.weight[text]).sum(0) / weights.sum()
        torch.testing.assert_close(got[row], want)


@pytest.mark.parametrize("model", [teacher(), student()], ids=["teacher", "student"])
@torch.no_grad()
def test_scores_of_shared_candidates_equal_those_of_each_users_own_list(
    model: FusedTeacher | Student,
) -> None:
    stir(model.blend)
    users, items, known = torch.randn(B, D), torch.randn(C, D), evidence()
    shared = model.score(users, items, known)
    apart = tuple(term.expand(B, C) for term in known.terms)
    lists = replace(known, counts=known.counts.expand(B, C), terms=apart)
    own = model.score(users, items.expand(B, C, D), lists)
    assert (shared.shape, shared.dtype) == ((B, C), torch.float32)
    torch.testing.assert_close(shared, own)


@torch.no_grad()
def test_a_blend_adds_up_its_terms_as_its_formula_says() -> None:
    torch.manual_seed(3)
    blend, known, affinity = Blend(units(1)), evidence(affinities=1), torch.randn(B, C)
    stir(blend)
    got = blend(affinity, known, 3)
    eps = blend.log_eps.exp()
    for user in range(B):
        for item in range(C):
            buyers = known.counts[item]
            state = torch.stack([torch.log1p(buyers.float()) / 5, (buyers < 3).float()])
            weights = blend.weights(state) + blend.user(known.lengths[user, None] / 5)
            r = torch.stack([affinity[user, item], known.terms[0][user, item]])
            logits = torch.log(eps + eps * torch.log1p(torch.exp(r / eps)))
            popularity = torch.log1p(torch.stack([buyers.float(), known.terms[2][item]]))
            typed = torch.stack([t[user, item] for t in known.terms[3:]]) * blend.typed_scale
            torch.testing.assert_close(got[user, item], weights @ torch.cat([logits, popularity, typed]))


def test_terms_in_another_order_than_the_blends_are_refused() -> None:
    with pytest.raises(ValueError, match="probability, count, score, cosine"):
        Blend(["count", "probability"])


@torch.no_grad()
def test_a_lift_for_new_items_moves_cold_ones_alone_and_by_just_that() -> None:
    torch.manual_seed(5)
    blend, known, affinity = Blend(units(1), hidden=3), evidence(affinities=1), torch.randn(B, C)
    stir(blend)
    cold = known.counts < 3
    assert cold.any()
    assert not cold.all()
    for score in (blend, blend.ranked):
        blend.new_boost.fill_(0.0)
        before = score(affinity, known, 3)
        blend.new_boost.fill_(0.75)
        torch.testing.assert_close(score(affinity, known, 3) - before, 0.75 * cold.float().expand(B, C))


@torch.no_grad()
def test_a_perceptron_adds_nothing_before_training_and_something_after() -> None:
    torch.manual_seed(4)
    plain, mixed = Blend(units(1)), Blend(units(1), hidden=3)
    known, affinity = evidence(affinities=1), torch.randn(B, C)
    assert torch.equal(plain(affinity, known, 3), mixed(affinity, known, 3))
    stir(mixed)
    without = Blend(units(1))
    without.load_state_dict(mixed.state_dict(), strict=False)
    assert (mixed(affinity, known, 3) - without(affinity, known, 3)).std() > 0.1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=M, max_size=M), st.floats(-3, 3), st.integers(0, 1000))
@torch.no_grad()
def test_an_experts_unit_changes_no_order_once_the_scales_are_set(
    typed_powers: list[float], power: float, seed: int
) -> None:
    torch.manual_seed(seed)
    blend, known, affinity = Blend(units(1)), evidence(affinities=1), torch.randn(B, C)
    torch.nn.init.normal_(blend.weights.weight[3:])
    torch.nn.init.normal_(blend.user.weight)
    other = replace(
        known,
        terms=tuple(
            term * 10.0**p for term, p in zip(known.terms, [power, 0, 0, *typed_powers], strict=True)
        ),
    )
    scores = []
    for measured in (known, other):
        blend.set_scales(torch.stack([t.expand(B, C).flatten() for t in measured.terms], -1))
        scores.append(blend(affinity, measured, 3))
    # A logarithm's unit moves all of a user's scores alike; a typed affinity's moves none.
    moved = scores[1] - scores[0]
    torch.testing.assert_close(moved, moved[:, :1].expand(B, C), atol=1e-3, rtol=0)
    ranks = (scores[0].argsort(1), scores[1].argsort(1))
    gaps = scores[0].sort(1).values.diff(dim=1).min()
    assert gaps < 2e-3 or torch.equal(*ranks)


@torch.no_grad()
def test_scales_leave_the_vectors_unit_alone_and_stay_where_nothing_can_be_measured() -> None:
    blend = Blend(units())
    before = blend.log_eps.clone()
    blend.set_scales(torch.tensor([[9.0, 9.0, 5.0, 1.0]]))
    assert blend.typed_scale.tolist() == [1, 1]
    blend.set_scales(torch.tensor([[1.0, 2.0, 0.0, 7.0], [5.0, 4.0, 2.0, 7.0]]))
    assert torch.equal(blend.log_eps, before)
    # What never varied among the lists has no unit: divided by nearly 0 it would outweigh all else later.
    assert blend.typed_scale.tolist() == [pytest.approx(2**-0.5), 1]


def test_attention_falls_by_the_decay_with_every_later_item() -> None:
    got = decayed(torch.tensor([0.0, 1.0, 2.0]), torch.tensor(0.5).log())
    torch.testing.assert_close(got, torch.tensor([1.0, torch.e**-0.5, torch.e**-1]))


@pytest.mark.parametrize("model", [teacher(), student()], ids=["teacher", "student"])
@torch.no_grad()
def test_an_older_event_weighs_less_in_the_user(model: FusedTeacher | Student) -> None:
    model.recency.fill_(0.0)
    items = torch.eye(D)
    user = model.users(items, torch.eye(D), torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(user, torch.tensor([[1.0, torch.e**-1, 0.0, 0.0]]))


def test_a_history_without_items_is_a_zero_user() -> None:
    none = torch.tensor([], dtype=torch.int64)
    assert pool_history(torch.randn(N, D), none, torch.tensor([0, 0])).tolist() == [[0.0] * D] * 2


@pytest.mark.parametrize("use_graph", [True, False])
def test_every_tensor_of_the_teacher_stays_on_the_models_device(use_graph: bool) -> None:
    model = teacher(use_graph=use_graph, affinities=1, hidden=3).to(META)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}
    history, offsets = (
        torch.zeros(7, dtype=torch.int64, device=META),
        torch.zeros(B, dtype=torch.int64, device=META),
    )
    known = Prepared(paths(model).to(META)) if use_graph else None
    text = model.project(torch.empty(N, T, device=META))
    counts = torch.zeros(N, dtype=torch.int64, device=META)
    items = model.items(text, known, counts, torch.ones(N, dtype=torch.bool, device=META))
    # Autocast knows no meta device, and the fold-in steps out of it.
    fold = torch.empty(D, D, device=META)
    users = model.users(items, fold, history, offsets, torch.zeros(7, device=META))
    scores = model.score(users, items[:C], evidence(affinities=1, device="meta"))
    assert [x.device.type for x in (items, users, scores)] == ["meta"] * 3
    assert (users.shape, scores.shape) == ((B, D), (B, C))


def test_every_tensor_of_the_student_stays_on_the_models_device() -> None:
    model = student().to(META)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}
    history, offsets = (
        torch.zeros(7, dtype=torch.int64, device=META),
        torch.zeros(B, dtype=torch.int64, device=META),
    )
    counts = torch.zeros(N, dtype=torch.int64, device=META)
    items = model.items(
        torch.empty(N, D, device=META), counts, counts, torch.ones(N, dtype=torch.bool, device=META)
    )
    fold = torch.empty(D, D, device=META)
    users = model.users(items, fold, history, offsets, torch.zeros(7, device=META))
    scores = model.score(users, items[:C], evidence(device="meta"))
    text = model.text(torch.zeros(9, dtype=torch.int64, device=META), counts)
    assert [x.device.type for x in (items, users, scores, text)] == ["meta"] * 4
    assert (text.shape, users.shape, scores.shape) == ((N, D), (B, D), (B, C))


@pytest.mark.parametrize("model", [teacher(), student()], ids=["teacher", "student"])
def test_the_fold_in_makes_its_tensors_where_the_items_are(model: FusedTeacher | Student) -> None:
    items, warm = torch.randn(N, D), torch.arange(5)
    want = torch.linalg.inv(items[warm].T @ items[warm] + model.log_ridge.exp() * torch.eye(D))
    # A tensor made without naming a device would now be on another one than the items.
    with torch.device(META):
        got = model.fold(items, warm)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
