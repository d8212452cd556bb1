"""The teacher and the student as modules: shapes, cold items, devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgdistill.models.blend import Blend, Evidence, decayed, pool_history
from kgdistill.models.graph.messages import MessageGraph
from kgdistill.models.scorer import Scorer, terms_of
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.teacher import FusedTeacher, TeacherShape
from kgdistill.models.terms import Unit
from kgdistill.tasks.interactions import Interactions

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


def teacher(*, affinities: int = 0) -> FusedTeacher:
    torch.manual_seed(0)
    return FusedTeacher(TeacherShape(text_dim=T, dim=D, layers=3, units=units(affinities), min_count=3))


def student() -> Student:
    torch.manual_seed(0)
    return Student(StudentShape(vocabulary=20, warm_items=6, dim=D, units=units(), min_count=3))


def stir(blend: Blend) -> None:
    """Makes every weight count: most start at 0."""
    for parameter in blend.parameters():
        torch.nn.init.normal_(parameter)
    blend.typed_scale.uniform_(0.5, 2)


@torch.no_grad()
def test_a_students_item_without_a_row_or_with_its_id_dropped_is_its_text() -> None:
    model = student()
    text = torch.randn(N, D)
    rows = torch.tensor([0, 1, 2, 3, 4, 5, -1, -1, -1, -1, -1, -1])
    keep = torch.arange(N) != 2
    vectors = model.items(text, rows, keep)
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
    with torch.enable_grad():
        torch.testing.assert_close(blend(affinity, known, 3).detach(), got)
    eps = blend.log_eps.exp()
    for user in range(B):
        for item in range(C):
            buyers = known.counts[item]
            state = torch.stack([torch.log1p(buyers.float()) / 5, (buyers < 3).float()])
            weights = blend.weights(state) + blend.user(known.lengths[user, None] / 5)
            r = known.terms[0][user, item]
            estimate = torch.log(eps + eps * torch.log1p(torch.exp(r / eps)))
            # What comes of the vectors is a logit as it is.
            logits = torch.cat([affinity[user, item, None], estimate])
            popularity = torch.log1p(torch.stack([buyers.float(), known.terms[2][item]]))
            typed = torch.stack([t[user, item] for t in known.terms[3:]]) * blend.typed_scale
            torch.testing.assert_close(got[user, item], weights @ torch.cat([logits, popularity, typed]))


def test_terms_in_another_order_than_the_blends_are_refused() -> None:
    with pytest.raises(ValueError, match="probability, count, score, cosine"):
        Blend(["count", "probability"])


@torch.no_grad()
def test_a_lift_for_new_items_moves_cold_ones_alone_and_by_just_that() -> None:
    torch.manual_seed(5)
    blend, known, affinity = Blend(units(1)), evidence(affinities=1), torch.randn(B, C)
    stir(blend)
    cold = known.counts < 3
    assert cold.any()
    assert not cold.all()
    before = blend(affinity, known, 3)
    blend.new_boost.fill_(0.75)
    lifted = 0.75 * cold.float().expand(B, C).clone()
    # Nothing says which new items fit somebody without a history, the first here.
    assert known.lengths.eq(0).tolist() == [True, *[False] * (B - 1)]
    lifted[0] = 0
    torch.testing.assert_close(blend(affinity, known, 3) - before, lifted)


@settings(max_examples=40)
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
def test_a_user_is_the_history_damped_by_its_buyers_over_the_root_of_its_length(
    model: FusedTeacher | Student,
) -> None:
    # The first bought 1 and then 0, the second nothing, the third 2, which nobody else has ever bought.
    history, offsets, ranks = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2]), torch.tensor([0.0, 1.0, 0.0])
    counts = torch.tensor([4, 9, 0, 7])
    model.recency.fill_(-torch.inf)
    got = model.users(2 * torch.eye(D), counts, history, offsets, ranks)
    root = 2**-0.5
    torch.testing.assert_close(got, torch.tensor([[root, 2 / 3 * root, 0, 0], [0.0] * 4, [0, 0, 2, 0]]))
    # Of half the attention, an event also adds half to the length.
    model.recency.copy_(torch.tensor(2.0).log().log())
    got = model.users(2 * torch.eye(D), counts, history, offsets, ranks)
    root = 1.5**-0.5
    torch.testing.assert_close(got, torch.tensor([[root, 1 / 3 * root, 0, 0], [0.0] * 4, [0, 0, 2, 0]]))


def drawn_view() -> Interactions:
    """The last user has nothing; the last item was bought by nobody."""
    draw = np.random.default_rng(0)
    bought = (draw.random((6, N)) < 0.4).astype(np.float32)
    bought[-1], bought[:, -1] = 0, 0
    matrix = sp.csr_matrix(bought)
    return Interactions(matrix, draw.integers(1, 90, matrix.nnz).astype(np.float32), 3)


@pytest.mark.parametrize("model", [teacher(), student()], ids=["teacher", "student"])
@torch.no_grad()
def test_without_recency_users_are_what_the_graph_encoders_training_pools(
    model: FusedTeacher | Student,
) -> None:
    view, vectors = drawn_view(), torch.randn(N, D)
    graph = MessageGraph(view, [], None, fact_weight=0.0, near_weight=0.0, device=torch.device("cpu"))
    model.recency.fill_(-torch.inf)
    got = model.users(vectors, torch.from_numpy(view.counts), *view.history(np.arange(6)))
    torch.testing.assert_close(got, graph.messages().pool @ vectors)


@torch.no_grad()
def test_a_scorer_gives_each_user_the_blend_of_its_own_history_and_terms() -> None:
    view = drawn_view()
    terms = terms_of(view, [], device=torch.device("cpu"))
    model = Student(StudentShape(5, 1, D, terms.units, 3)).eval()
    stir(model.blend)
    model.recency.fill_(-0.5)
    scorer = Scorer(model, terms, torch.randn(N, D))
    users, items = np.array([4, 0, 5]), np.array([1, 11, 3, 2])
    got = scorer(users, items)
    for row, user in enumerate(users):
        history, offsets, ranks = view.history(np.array([user]))
        vector = model.users(scorer.vectors, torch.from_numpy(view.counts), history, offsets, ranks)
        for column, item in enumerate(items):
            told = Evidence(
                counts=torch.from_numpy(view.counts[[item]]),
                lengths=torch.from_numpy(np.log1p(np.diff(view.purchases.indptr)[[user]]).astype(np.float32)),
                terms=(torch.tensor([view.counts[item]]).float(), torch.from_numpy(view.recent[[item]])),
            )
            want = model.blend(vector @ scorer.vectors[[item]].T, told, 3).item()
            assert got[row, column] == pytest.approx(want, rel=1e-4, abs=1e-4)
    lists = np.array([[1, 2], [11, 3], [0, 5]])
    own = np.stack([scorer(users[[row]], lists[row])[0] for row in range(3)])
    np.testing.assert_allclose(scorer.lists(users, lists), own, rtol=1e-4, atol=1e-5)


def test_a_history_without_items_is_a_zero_user() -> None:
    none = torch.tensor([], dtype=torch.int64)
    assert pool_history(torch.randn(N, D), none, torch.tensor([0, 0])).tolist() == [[0.0] * D] * 2


def test_every_tensor_of_the_teacher_stays_on_the_models_device() -> None:
    model = teacher(affinities=1).to(META)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}
    items, counts = torch.empty(N, D, device=META), torch.zeros(N, dtype=torch.int64, device=META)
    users = model.users(items, counts, *history_on(META))
    scores = model.score(users, items[:C], evidence(affinities=1, device="meta"))
    assert [x.device.type for x in (users, scores)] == ["meta"] * 2
    assert (users.shape, scores.shape) == ((B, D), (B, C))


def test_every_tensor_of_the_student_stays_on_the_models_device() -> None:
    model = student().to(META)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}
    counts = torch.zeros(N, dtype=torch.int64, device=META)
    items = model.items(torch.empty(N, D, device=META), counts, torch.ones(N, dtype=torch.bool, device=META))
    users = model.users(items, counts, *history_on(META))
    scores = model.score(users, items[:C], evidence(device="meta"))
    text = model.text(torch.zeros(9, dtype=torch.int64, device=META), counts)
    assert [x.device.type for x in (items, users, scores, text)] == ["meta"] * 4
    assert (text.shape, users.shape, scores.shape) == ((N, D), (B, D), (B, C))


def history_on(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Items, offsets and ranks of B users."""
    items, offsets = (torch.zeros(n, dtype=torch.int64, device=device) for n in (7, B))
    return items, offsets, torch.zeros(7, device=device)


@pytest.mark.parametrize("model", [teacher(), student()], ids=["teacher", "student"])
@torch.no_grad()
def test_users_make_their_tensors_where_the_items_are(model: FusedTeacher | Student) -> None:
    items, counts = torch.randn(N, D), torch.arange(N)
    given = (torch.tensor([1, 4, 2]), torch.tensor([0, 2]), torch.tensor([0.0, 1.0, 0.0]))
    want = model.users(items, counts, *given)
    # A tensor made without naming a device would now be on another one than the items.
    with torch.device(META):
        got = model.users(items, counts, *given)
    torch.testing.assert_close(got, want)
