"""The teacher and the student as modules: shapes, cold items, devices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kgdistill.models.blend import pool_history
from kgdistill.models.graph import Relation
from kgdistill.models.student import Student
from kgdistill.models.teacher import FusedTeacher

RELATIONS: list[Relation] = [("User", "BOUGHT", "Product"), ("Product", "rev_BOUGHT", "User")]
N, D, T, B, C, M = 12, 4, 6, 3, 5, 2
META = torch.device("meta")


def teacher(*, use_graph: bool = True) -> FusedTeacher:
    torch.manual_seed(0)
    model = FusedTeacher(
        text_dim=T, dim=D, relations=RELATIONS, layers=3, experts=M, min_count=3, use_graph=use_graph
    )
    torch.nn.init.normal_(model.gate.weight)
    torch.nn.init.normal_(model.mix.weight)
    return model


def student() -> Student:
    torch.manual_seed(0)
    return Student(vocabulary=20, warm_items=6, dim=D, experts=M, min_count=3)


def paths(model: FusedTeacher) -> Tensor:
    assert model.encoder is not None
    return torch.randn(len(model.encoder.path_relations), N, D)


@torch.no_grad()
def test_an_item_whose_z_is_dropped_is_its_text_and_the_others_are_not() -> None:
    model = teacher()
    text, counts, keep = torch.randn(N, D), torch.arange(N), torch.arange(N) % 2 == 0
    fused = model.items(text, paths(model), counts, keep)
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
    torch.nn.init.normal_(model.blend.weights.weight)
    users, items, counts, typed = torch.randn(B, D), torch.randn(C, D), torch.arange(C), torch.randn(B, C, M)
    shared = model.score(users, items, counts, typed)
    own = model.score(users, items.expand(B, C, D), counts.expand(B, C), typed)
    assert (shared.shape, shared.dtype) == ((B, C), torch.float32)
    torch.testing.assert_close(shared, own)


@torch.no_grad()
def test_an_older_event_weighs_less_in_the_teachers_user() -> None:
    model = teacher()
    model.recency.fill_(0.0)
    items = torch.eye(D)
    user = model.users(
        items, torch.eye(D), torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([0.0, 30.0])
    )
    torch.testing.assert_close(user, torch.tensor([[1.0, torch.e**-1, 0.0, 0.0]]))


def test_a_history_without_items_is_a_zero_user() -> None:
    none = torch.tensor([], dtype=torch.int64)
    assert pool_history(torch.randn(N, D), none, torch.tensor([0, 0])).tolist() == [[0.0] * D] * 2


@pytest.mark.parametrize("use_graph", [True, False])
def test_every_tensor_of_the_teacher_stays_on_the_models_device(use_graph: bool) -> None:
    model = teacher(use_graph=use_graph).to(META)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}
    history, offsets = (
        torch.zeros(7, dtype=torch.int64, device=META),
        torch.zeros(B, dtype=torch.int64, device=META),
    )
    known = paths(model).to(META) if use_graph else None
    text = model.project(torch.empty(N, T, device=META))
    counts = torch.zeros(N, dtype=torch.int64, device=META)
    items = model.items(text, known, counts, torch.ones(N, dtype=torch.bool, device=META))
    # Autocast knows no meta device, and the fold-in steps out of it.
    fold = torch.empty(D, D, device=META)
    users = model.users(items, fold, history, offsets, torch.zeros(7, device=META))
    scores = model.score(users, items[:C], counts[:C], torch.zeros(B, C, M, device=META))
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
    users = model.users(items, fold, history, offsets)
    scores = model.score(users, items[:C], counts[:C], torch.zeros(B, C, M, device=META))
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
