"""Training of the teacher and the student on the shop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from _shop import PROTOCOL, Shop
from _train import train_student, train_teacher
from safetensors.torch import save

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.errors import InputError
from kgdistill.models.blend import Blend
from kgdistill.models.scorer import Scorer, terms_of
from kgdistill.models.terms import ItemWeights, SharedGroups
from kgdistill.tasks.item_groups import own_fields
from kgdistill.tasks.match import build_task
from kgdistill.tasks.training_data import make_training_data
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.lists import labelled, negatives
from kgdistill.train.rounds import raise_new
from kgdistill.train.student import TrainedStudent, student_scorer
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import TrainedTeacher, fused_items, relational_embeddings, teacher_scorer

CPU = torch.device("cpu")
LINEAR = LinearChoice(reg=10.0, side_weight=1.0, decay=0.05, walk=3)
TEACHER = TeacherConfig(
    dim=6, layers=2, epochs=2, candidates=20, random=5, batch=30, evaluate_every=1, graph_steps=20
)
STUDENT = StudentConfig(epochs=2, candidates=20, random=5, batch=30, evaluate_every=1)


def improving() -> Any:
    """Says that each epoch is better than the last, so that the last one is kept."""
    calls: list[Scorer] = []

    def validate(scorer: Scorer) -> dict[str, float]:
        calls.append(scorer)
        return {"calls": float(len(calls))}

    validate.calls = calls  # type: ignore[attr-defined]
    return validate


def teach(shop: Shop, *, seed: int = 0, config: TeacherConfig = TEACHER, **more: Any) -> TrainedTeacher:
    given = {"validate": improving(), "linear": LINEAR, **more}
    return train_teacher(shop.catalogue(), shop.facts(), config, device=CPU, seed=seed, **given)


def study(
    shop: Shop, targets: Targets | None, *, seed: int = 0, config: StudentConfig = STUDENT
) -> TrainedStudent:
    given = None if targets is None else lambda until_us: targets
    return train_student(
        shop.catalogue(), shop.fields(), shop.tokens, given, config, dim=6, inner_share=0.15,
        device=CPU, seed=seed, validate=improving(),
    )  # fmt: skip


def weights(model: torch.nn.Module) -> bytes:
    return save({k: v.contiguous() for k, v in model.state_dict().items()})


@pytest.fixture(scope="module")
def teacher(shop: Shop) -> TrainedTeacher:
    return teach(shop)


@pytest.fixture(scope="module")
def scorer(shop: Shop, teacher: TrainedTeacher) -> Scorer:
    catalogue = shop.catalogue()
    return teacher_scorer(teacher, catalogue, catalogue.view(), CPU)


@pytest.fixture(scope="module")
def targets(shop: Shop, scorer: Scorer) -> Targets:
    return make_targets(scorer, shop.catalogue(), top=12, random=4, seed=0)


def losses(history: list[dict[str, float]]) -> list[float]:
    return [record["loss"] for record in history if "loss" in record]


def test_a_teacher_asks_the_linear_expert_the_walk_and_what_is_counted(shop: Shop, scorer: Scorer) -> None:
    terms, view, items = scorer.terms, scorer.view, np.array([3, 44, 79, 12])
    names = ["linear", "walk", "popularity", "recent popularity", *(family.name for family in shop.facts())]
    assert [term.name for term in terms.terms] == names
    said = terms.pairs(np.array([9, 30]), items).terms
    for term, value in zip(terms.terms[:2], said, strict=False):
        assert isinstance(term, ItemWeights)
        asked = view.queries(np.array([9, 30]), LINEAR.decay)
        torch.testing.assert_close(value, term.model.score(asked, items))
        assert value.std() > 0


def test_the_teachers_loss_is_finite_and_falls(teacher: TrainedTeacher) -> None:
    assert [record["epoch"] for record in teacher.history] == [0, 1, 2]
    first, last = losses(teacher.history)
    assert np.isfinite([first, last]).all()
    assert last < first


def test_a_students_product_of_weights_is_among_the_items_that_most_have_bought(shop: Shop) -> None:
    counts, config = shop.catalogue().view().counts, STUDENT.model_copy(update={"epochs": 0})
    for most in (9, 30):
        often = config.model_copy(update={"neighbours": 3, "rank": 4, "rank_items": most})
        trained = train_student(
            shop.catalogue(), shop.fields(), shop.tokens, None, often, dim=6, inner_share=0.15,
            device=CPU, seed=0, validate=improving(), linear=LINEAR,
            sides=sides_of(shop.catalogue(), shop.facts()),
        )  # fmt: skip
        for table in trained.neighbours:
            assert len(table.factored) == most
            others = np.setdiff1d(np.arange(len(counts)), table.factored)
            assert counts[table.factored].min() >= counts[others].max()


def test_the_students_loss_is_finite_and_falls(shop: Shop, targets: Targets) -> None:
    for given in (targets, None):
        first, last = losses(study(shop, given).history)
        assert np.isfinite([first, last]).all()
        assert last < first


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    shop: Shop, teacher: TrainedTeacher, targets: Targets
) -> None:
    again, other = teach(shop), teach(shop, seed=1)
    for part in ("model", "fusion"):
        assert weights(getattr(again, part)) == weights(getattr(teacher, part))
        assert weights(getattr(other, part)) != weights(getattr(teacher, part))
    assert weights(study(shop, targets).model) == weights(study(shop, targets).model)


def test_the_epoch_that_validates_best_is_kept(shop: Shop) -> None:
    worth = [1.0, 3.0, 2.0]
    kept: list[bytes] = []

    def validate(scorer: Scorer) -> dict[str, float]:
        kept.append(weights(scorer.model))
        return {"it": worth[len(kept) - 1]}

    trained = teach(shop, config=TEACHER.model_copy(update={"epochs": 3}), validate=validate)
    assert weights(trained.model) == kept[1]
    assert trained.best_epoch == 2
    assert len({*kept}) == 3
    valid = {record["epoch"]: record.get("valid/it") for record in trained.history}
    assert valid == {0: None, 1: 1.0, 2: 3.0, 3: 2.0}


def test_a_model_that_is_not_trained_is_validated_all_the_same(shop: Shop) -> None:
    validate = improving()
    trained = teach(shop, config=TEACHER.model_copy(update={"epochs": 0}), validate=validate)
    assert [record["valid/calls"] for record in trained.history] == [1.0]
    assert np.isfinite(validate.calls[0](np.arange(3), np.arange(80))).all()


def test_training_in_bfloat16_stays_finite(shop: Shop, targets: Targets) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        models: list[Any] = [teach(shop), study(shop, targets), study(shop, None)]
    for trained in models:
        assert np.isfinite(losses(trained.history)).all()
        assert all(bool(p.isfinite().all()) for p in trained.model.parameters())
    assert all(bool(p.isfinite().all()) for p in models[0].fusion.parameters())


def test_a_teacher_tells_the_blocks_of_the_shop_apart(shop: Shop, scorer: Scorer) -> None:
    unseen = np.arange(70)
    scores = scorer(np.arange(60), unseen)
    mine = unseen[None] % 6 // 2 == np.arange(60)[:, None] % 3
    assert scores[mine].mean() > scores[~mine].mean() + scores.std() / 2


def test_scores_of_lists_equal_scores_of_the_same_candidates(
    shop: Shop, scorer: Scorer, targets: Targets
) -> None:
    student = study(shop, targets)
    catalogue = shop.catalogue()
    pupil = student_scorer(student, catalogue, shop.tokens, catalogue.view(), CPU)
    users, items = np.array([5, 17]), np.array([0, 9, 33, 77])
    for each in (scorer, pupil):
        lists = each.lists(users, np.tile(items, (2, 1)))
        np.testing.assert_allclose(lists, each(users, items), rtol=1e-4, atol=1e-5)


def test_a_teacher_without_a_graph_passes_no_messages(shop: Shop) -> None:
    # The shop's facts are offered, and no message goes along them.
    own, catalogue = own_fields(shop.facts(), shop.fields()), shop.catalogue()
    given = (catalogue, own, TEACHER)
    more: dict[str, Any] = {"device": CPU, "seed": 0, "use_graph": False}
    trained = train_teacher(*given, validate=improving(), relations=shop.facts(), **more)
    bare = train_teacher(*given, validate=improving(), relations=[], **more)
    assert weights(trained.model) == weights(bare.model)
    assert weights(trained.fusion) == weights(bare.fusion)
    scorer = teacher_scorer(trained, catalogue, catalogue.view(), CPU)
    assert [term.name for term in scorer.terms.terms] == ["popularity", "recent popularity"]
    assert trained.fusion.encoder is None
    found = fused_items(trained, catalogue, catalogue.view(), CPU)
    assert torch.equal(found.vectors, found.text)
    with pytest.raises(ValueError, match="without a graph"):
        relational_embeddings(trained, catalogue, catalogue.view(), CPU)


def test_a_teacher_without_a_graph_keeps_its_item_to_item_terms(shop: Shop) -> None:
    # Else what it loses would not be z's alone.
    trained, catalogue = teach(shop, use_graph=False), shop.catalogue()
    scorer, whole = (teacher_scorer(t, catalogue, catalogue.view(), CPU) for t in (trained, teach(shop)))
    assert trained.linear == LINEAR
    assert [t.name for t in scorer.terms.terms] == [t.name for t in whole.terms.terms]
    users, items = np.array([3, 8]), np.array([1, 44, 79])
    for mine, other in zip(
        scorer.terms.pairs(users, items).terms, whole.terms.pairs(users, items).terms, strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_targets_are_the_teachers_scores_of_unseen_warm_and_cold_items(
    shop: Shop, scorer: Scorer, targets: Targets
) -> None:
    view = scorer.view
    split, end = targets.groups
    assert targets.items.shape == (60, end)
    assert (view.counts[targets.items[:, :split]] >= 3).all()
    assert (view.counts[targets.items[:, split:]] < 3).all()
    for row, user in enumerate(targets.users):
        np.testing.assert_allclose(
            targets.scores[row], scorer(np.array([user]), targets.items[row])[0], rtol=1e-4, atol=1e-5
        )
    best = negatives(scorer, view, np.array([4]), view.warm, top=5, random=0, rng=torch.Generator())[0]
    scores = scorer(np.array([4]), view.warm)[0]
    unseen = view.purchases[[4]].toarray()[0, view.warm] == 0
    assert set(best.tolist()) == set(view.warm[unseen][np.argsort(-scores[unseen])[:5]])


def test_what_a_user_bought_and_repeats_are_left_out_of_a_list_with_labels(
    shop: Shop, scorer: Scorer
) -> None:
    catalogue = shop.catalogue()
    inner = catalogue.view(catalogue.inner_cut(0.15))
    labels = catalogue.purchases - inner.purchases
    labels.eliminate_zeros()
    rng, users = torch.Generator(), catalogue.users
    items = negatives(scorer, inner, users, np.arange(80), top=60, random=40, rng=rng)
    lists = labelled(users, items, labels, terms_of(inner, shop.fields(), device=CPU))
    assert lists is not None
    for row, user in enumerate(lists.users.tolist()):
        mine = lists.items[row].numpy()
        counted = mine[~lists.left_out[row].numpy()]
        assert len(set(counted)) == len(counted)
        assert not set(counted) & set(inner.purchases[[user]].indices)
        assert set(mine[lists.labels[row].numpy()]) == set(labels[[user]].indices) & set(counted)
        for m, family in enumerate(shop.fields(), start=2):
            want = SharedGroups(inner, family, CPU).pairs(np.array([user]), mine)[0]
            np.testing.assert_allclose(lists.values[row, :, m], want, rtol=1e-5, atol=1e-6)
    assert lists.left_out.any()
    assert lists.values.shape == (*lists.items.shape, 2 + len(shop.fields()))


def test_a_student_without_ids_answers_from_text_alone(shop: Shop, targets: Targets) -> None:
    catalogue = shop.catalogue()
    trained = study(shop, targets)
    alone = student_scorer(trained, catalogue, shop.tokens, catalogue.view(), CPU, use_ids=False)
    text = trained.model.text(torch.from_numpy(shop.tokens.ids), torch.from_numpy(shop.tokens.offsets))
    torch.testing.assert_close(alone.vectors, text.detach())
    hybrid = student_scorer(trained, catalogue, shop.tokens, catalogue.view(), CPU)
    differs = (hybrid.vectors - alone.vectors).abs().sum(1) > 0
    assert differs.tolist() == (trained.rows >= 0).tolist()


def test_a_student_without_any_id_of_its_own_learns_what_texts_say(shop: Shop, targets: Targets) -> None:
    trained = study(shop, targets, config=STUDENT.model_copy(update={"id_min_count": 1000}))
    assert (trained.rows < 0).all()
    falling = losses(trained.history)
    assert np.isfinite(falling).all()
    assert falling[-1] < falling[0]


def test_a_shop_whose_every_item_is_cold_is_refused_and_says_what_to_do(shop: Shop) -> None:
    protocol = PROTOCOL.model_copy(update={"min_item_users": 1000})
    task = build_task(shop.snapshot, shop.later, protocol)
    with pytest.raises(InputError, match=r"(?s)no item has 1000 buyers.*lower min_item_users"):
        make_training_data(shop.snapshot, task, shop.text, shop.rows)


def test_a_graph_without_facts_and_a_shop_without_cold_items_can_be_learned_from(shop: Shop) -> None:
    catalogue = dataclasses.replace(shop.catalogue(), min_count=1)
    teacher = train_teacher(catalogue, [], TEACHER, device=CPU, seed=0, validate=improving())
    scorer = teacher_scorer(teacher, catalogue, catalogue.view(), CPU)
    targets = make_targets(scorer, catalogue, top=12, random=4, seed=0)
    student = train_student(
        catalogue, [], shop.tokens, lambda until_us: targets, STUDENT, dim=6, inner_share=0.15,
        device=CPU, seed=0, validate=improving(),
    )  # fmt: skip
    assert np.isfinite([*losses(teacher.history), *losses(student.history)]).all()
    # Purchases alone are a graph.
    assert teacher.fusion.encoder is not None
    found = fused_items(teacher, catalogue, catalogue.view(), CPU)
    assert torch.equal(found.vectors, scorer.vectors)
    assert (found.vectors - found.text).abs().max() > 0.01


USERS = 10_000


def lift(
    costs: Callable[[float], float],
    *,
    users: int = USERS,
    places: Callable[[float], float] = lambda b: b,
    spread: float = 0.0,
    base: float = 0.2,
) -> float:
    """The lift that is chosen where one costs so much in the mean, and `spread` times as much by user."""
    blend, sides = Blend(["score", "score"]), 1 + spread * np.resize([-1.0, 1.0], users)

    def metrics() -> dict[str, Any]:
        boost = float(blend.new_boost)
        return {"cold_ndcg@20": 0.0, "all_ndcg@20": base * (1 - costs(boost) * sides)}

    told = raise_new(blend, metrics, lambda: 0.5 + places(float(blend.new_boost)))
    kept = float(blend.new_boost)
    assert told["lift"] == pytest.approx(kept)
    assert (told["before"], told["places"]) == (0.5, pytest.approx(0.5 + places(kept), abs=0.05))
    assert told["cost"] <= 0.02
    return kept


@pytest.mark.parametrize(
    ("costs", "kept"),
    [
        # 0.02 a place, then 0.02 a place squared: both allow a lift of 1.
        (lambda b: 0.02 * b, 1.0),
        (lambda b: 0.02 * b**2, 1.0),
        # One value that falls out of the row does not decide.
        (lambda b: 0.02 * b**2 + (0.03 if b == 0.25 else 0.0), 0.9),
        (lambda b: 0.5 * b, 0.04),
        (lambda b: -0.01 * b, 2.0),
    ],
)
def test_new_items_are_lifted_as_far_as_two_percent_of_the_whole_allow(
    costs: Callable[[float], float], kept: float
) -> None:
    assert lift(costs) == pytest.approx(kept, abs=0.06)


def test_two_models_whose_scores_have_another_scale_give_new_items_the_same_places() -> None:
    one = lift(lambda b: 0.02 * (2 * b) ** 2, places=lambda b: 2 * b)
    other = lift(lambda b: 0.02 * (b**3) ** 2, places=lambda b: b**3)
    assert (one, other) == (pytest.approx(0.5, abs=0.03), pytest.approx(1.0, abs=0.08))


@pytest.mark.parametrize("users", [4, 64, USERS])
def test_few_users_who_disagree_allow_less(users: int) -> None:
    # The standard error is twice the cost over √users.
    allowed = 1 / (1 + 2 / np.sqrt(users))
    assert lift(lambda b: 0.02 * b, users=users, spread=2.0) == pytest.approx(allowed, abs=0.03)


@pytest.mark.parametrize("bought", [0.0, 0.2])
def test_new_items_are_hardly_lifted_where_nothing_was_found_before(bought: float) -> None:
    assert lift(lambda b: 0.5 * b, base=bought) < 0.1


def test_new_items_that_nobody_buys_make_a_lift_dear() -> None:
    """60 items are known and 40 new: all sell, or every fourth; a fifth of the users want a new one."""
    cold = np.arange(100) >= 60
    kept = []
    for sold in (40, 10):
        draw = np.random.default_rng(0)
        scores, users = draw.normal(size=(400, 100)) - 2.0 * cold, np.arange(400)
        right = np.argsort(-scores[:, :60], axis=1)[users, draw.integers(0, 20, 400)]
        newest = 60 + scores[:, 60 : 60 + sold].argmax(1)
        right = np.where(draw.random(400) < 0.2, newest, right)
        blend = Blend(["score", "score"])

        def shown(scores: Any = scores, blend: Blend = blend) -> Any:
            return np.argsort(-(scores + float(blend.new_boost) * cold), axis=1)[:, :20]

        def metrics(right: Any = right, shown: Any = shown) -> dict[str, Any]:
            hit = shown() == right[:, None]
            return {"all_ndcg@20": hit.any(1) / np.log2(2 + hit.argmax(1))}

        kept.append(raise_new(blend, metrics, lambda shown=shown: float(cold[shown()].sum(1).mean()))["lift"])
    assert kept[0] > 1.3 * kept[1] > 0
