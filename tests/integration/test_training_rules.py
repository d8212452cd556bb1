"""Rules of training that no loss shows: what learns how fast, which epoch is kept, how lists are drawn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _planted import Planted, brand_world, cluster_targets, kind_world, random_world
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.blend import Blend
from kgdistill.models.candidates import best_unseen
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms.linear import fit_linear
from kgdistill.models.terms.walk import fit_walk
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.fusion import fit_fusion
from kgdistill.train.lists import negatives
from kgdistill.train.loop import Context
from kgdistill.train.student import TrainedStudent, student_scorer
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import TrainedTeacher, teacher_scorer

CPU = torch.device("cpu")
ONE_STEP: dict[str, Any] = {"batch": 1000, "candidates": 40, "random": 5, "epochs": 1, "evaluate_every": 1}
LR = 1e-3


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return kind_world().planted(tmp_path_factory.mktemp("rules") / "world")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return random_world().planted(tmp_path_factory.mktemp("rules") / "noise")


def constant(scorer: Scorer) -> dict[str, float]:
    return {"constant": 0.0}


def teach(catalogue: TrainingData, planted: Planted, epochs: int = 1, **more: Any) -> TrainedTeacher:
    config = TeacherConfig(dim=6, layers=2, lr=LR, graph_steps=20, **{**ONE_STEP, "epochs": epochs})
    given: dict[str, Any] = {"validate": constant, **more}
    return train_teacher(catalogue, planted.facts(), config, device=CPU, seed=0, **given)


def study(
    catalogue: TrainingData, planted: Planted, epochs: int = 1, *, distilled: bool = True, **more: Any
) -> TrainedStudent:
    targets = cluster_targets(catalogue, catalogue.cut_us, dim=6) if distilled else None
    config = StudentConfig(**{"lr": LR, **ONE_STEP, "epochs": epochs, **more.pop("config", {})})
    given: dict[str, Any] = {"validate": constant, **more}
    return train_student(
        catalogue, planted.facts(), planted.tokens, None if targets is None else lambda until_us: targets,
        config, dim=6, inner_share=0.15, device=CPU, seed=0, **given,
    )  # fmt: skip


def moved(before: torch.nn.Module, after: torch.nn.Module) -> dict[str, float]:
    """How far Adam's first step took each parameter at most: its rate, wherever it has a gradient."""
    held = dict(before.named_parameters())
    return {
        name: round(float((parameter - held[name]).detach().abs().max()) / LR, 2)
        for name, parameter in after.named_parameters()
        if parameter.numel()
    }


def test_everything_of_the_teachers_blend_learns(planted: Planted) -> None:
    catalogue = planted.catalogue()
    far = moved(teach(catalogue, planted, 0).model, teach(catalogue, planted).model)
    for name, rate in far.items():
        want = 4.0 if name.startswith("blend.") else 1.0
        assert rate == pytest.approx(want, abs=0.05), name


@pytest.mark.parametrize(
    ("distilled", "relational", "blend", "tables"), [(1, 1, 1.0, 0.1), (1, 0, 1.0, 1.0), (0, 1, 4.0, 0.1)]
)
def test_each_part_of_a_student_learns_at_its_own_rate(
    noise: Planted, distilled: int, relational: int, blend: float, tables: float
) -> None:
    catalogue, config = noise.catalogue(), {"relational": bool(relational)}
    far = moved(*(study(catalogue, noise, n, distilled=bool(distilled), config=config).model for n in (0, 1)))
    rates = {"blend": blend, **dict.fromkeys(("tokens", "ids", "token_weights"), tables), "recency": 1.0}
    for name, rate in far.items():
        if name == "recency" and not (distilled and relational):
            # Its gradient is hardly above Adam's ε while all vectors are near 0.
            assert rate > 0
            continue
        assert rate == pytest.approx(rates[name.split(".")[0]], abs=0.05), name


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_every_step_has_its_own_gradient(planted: Planted, who: str) -> None:
    # So slow that the gradient stays as it is, Adam goes its rate at every step; where those of former steps
    # were added it would fall behind.
    catalogue, steps = planted.catalogue(), 8
    even: dict[str, Any] = {**ONE_STEP, "candidates": 1000, "random": 0, "lr": 1e-5, "evaluate_every": steps}
    models = []
    for epochs in (0, steps):
        if who == "teacher":
            teacher = TeacherConfig(dim=6, layers=2, graph_steps=20, **{**even, "epochs": epochs})
            trained: Any = train_teacher(
                catalogue, planted.facts(), teacher, device=CPU, seed=0, validate=constant
            )  # fmt: skip
        else:
            trained = study(catalogue, planted, epochs, config={**even, "epochs": epochs, "id_dropout": 0})
        models.append(trained.model.blend.weights.bias.detach().numpy())
    far = np.abs(models[1] - models[0]).max() / {"teacher": 4e-5, "student": 1e-5}[who]
    assert far == pytest.approx(steps, rel=0.01)


@pytest.mark.parametrize(
    ("who", "lost", "kept"),
    [
        ("teacher", [0.3, -0.2], 2),
        ("student", [0.3, -0.2], 2),
        # Who learns from labels alone overfits.
        ("undistilled", [0.3, -0.2], 1),
        ("teacher", [0.05, 0.05], 1),
        ("student", [0.05, 0.05], 1),
        ("undistilled", [-0.05, -0.05], 2),
    ],
)
def test_a_later_epoch_is_kept_unless_users_show_it_to_be_worse(
    noise: Planted, who: str, lost: list[float], kept: int
) -> None:
    worth = iter([np.ones(2), 1 - np.array(lost)])

    def validate(scorer: Scorer) -> dict[str, Any]:
        value = next(worth)
        return {"warm": 0.75 * value, "cold": 0.25 * value}

    catalogue = noise.catalogue()
    if who == "teacher":
        trained: Any = teach(catalogue, noise, 2, validate=validate)
    else:
        trained = study(catalogue, noise, 2, distilled=who == "student", validate=validate)
    assert trained.best_epoch == kept
    assert trained.validated == pytest.approx(np.ones(2) if kept == 1 else 1 - np.array(lost))


@pytest.mark.parametrize("who", ["teacher", "student"])
@pytest.mark.parametrize("refits", [False, True])
def test_new_items_are_lifted_where_they_are_ranked_among_all(
    planted: Planted, who: str, refits: bool
) -> None:
    train: Any = teach if who == "teacher" else study
    catalogue = planted.catalogue()
    if refits:
        catalogue = dataclasses.replace(catalogue, select_us=catalogue.inner_cut(0.3))

    # Each place of twenty that new items take costs 1 %, so that they may have two more; a lift is a multiple
    # of 0.025, which may mean a place.
    def validate(scorer: Scorer) -> dict[str, float]:
        view = scorer.view
        users = catalogue.users[np.diff(view.purchases.indptr)[catalogue.users] > 0]
        shown = best_unseen(scorer, view, users, catalogue.items, 20)
        places = np.isin(shown, catalogue.pool("cold", view)).sum(1).mean()
        return {"cold_ndcg": places, "all_ndcg": 1.0 - 0.01 * places}

    apart = train(catalogue, planted, validate=validate)
    assert (float(apart.model.blend.new_boost), apart.lifted) == (0, {})
    among = dataclasses.replace(catalogue, pools=("all", "cold"))
    trained = train(among, planted, validate=validate)
    told = trained.lifted
    assert 0 < float(trained.model.blend.new_boost) == pytest.approx(told["lift"])
    whole = 1.0 - 0.01 * told["before"]
    assert 0.5 < told["places"] - told["before"] < 2 * whole + 0.01


def test_random_items_of_a_list_come_evenly_from_the_whole_pool(planted: Planted) -> None:
    view = planted.catalogue().view()
    pool, users = view.warm, np.arange(80)

    def flat(who: Any, items: Any) -> Any:
        return np.zeros((len(who), len(items)), np.float32)

    drawn = negatives(
        flat, view, users, pool, top=1, random=len(pool) - 1, rng=torch.Generator().manual_seed(0)
    )[:, 1:]  # fmt: skip
    times = np.bincount(drawn.ravel(), minlength=100)
    assert set(np.flatnonzero(times)) == set(pool)
    expected = drawn.numel() / len(pool)
    # Five standard deviations of a Poisson count; popular and unpopular alike.
    assert (np.abs(times[pool] - expected) < 5 * math.sqrt(expected)).all()
    popular = pool[view.counts[pool] > np.median(view.counts[pool])]
    assert times[popular].sum() / drawn.numel() == pytest.approx(len(popular) / len(pool), abs=0.03)


def test_targets_are_the_teachers_vectors_lists_and_weights(planted: Planted) -> None:
    catalogue = planted.catalogue()
    scorer = teacher_scorer(teach(catalogue, planted), catalogue, catalogue.view(), CPU)
    targets = make_targets(scorer, catalogue, top=10, random=3, seed=0)
    np.testing.assert_array_equal(targets.relational, scorer.vectors.numpy())
    assert targets.head is not None
    np.testing.assert_array_equal(targets.head.weights[:, 2], scorer.model.blend.weights.bias.detach())
    assert targets.groups == (13, 26)
    assert targets.users.tolist() == catalogue.users.tolist()
    # Nothing that a user had is on the hardest part of its lists.
    for row, user in enumerate(targets.users):
        had = set(scorer.view.purchases[[user]].indices)
        assert not had & {*targets.items[row, :10], *targets.items[row, 13:23]}


@pytest.mark.parametrize("least", [1, 3, 9])
def test_an_item_has_an_id_from_so_many_buyers_on(planted: Planted, least: int) -> None:
    catalogue = planted.catalogue()
    trained = study(catalogue, planted, 0, config={"id_min_count": least})
    known = catalogue.view().counts >= least
    np.testing.assert_array_equal(trained.rows >= 0, known)
    assert sorted(trained.rows[known]) == list(range(known.sum()))
    assert trained.model.ids.num_embeddings == max(known.sum(), 1)


def test_a_student_keeps_the_strongest_weights_of_everything_known(planted: Planted) -> None:
    catalogue = planted.catalogue()
    sides, choice = sides_of(catalogue, planted.facts()), LinearChoice(20.0, 2.0, 0.1, 3)
    trained = study(catalogue, planted, 0, linear=choice, sides=sides, config={"neighbours": 5})
    bought = catalogue.view().purchases
    models: list[Any] = [
        fit_linear(bought, sides, reg=20.0, side_weight=2.0),
        fit_walk(bought, sides, steps=3),
    ]
    one = sp.csr_matrix(np.eye(100, dtype=np.float32))
    assert [table.mean for table in trained.neighbours] == [False, True]
    for table, model in zip(trained.neighbours, models, strict=True):
        weights = model.score(one, np.arange(100)).numpy()
        np.fill_diagonal(weights, 0)
        held = table.weights.toarray()
        assert ((held > 0).sum(0) <= 5).all()
        np.testing.assert_allclose(held[held > 0], weights[held > 0], rtol=1e-4)
        np.testing.assert_allclose(np.sort(held, 0)[-5:], np.sort(np.maximum(weights, 0), 0)[-5:], rtol=1e-4)
    assert trained.decay == 0.1
    # They are fitted and not taught: without a teacher they are the same.
    alone = study(
        catalogue, planted, 0, linear=choice, sides=sides, distilled=False, config={"neighbours": 5}
    )
    for mine, other in zip(alone.neighbours, trained.neighbours, strict=True):
        assert (mine.weights != other.weights).nnz == 0
    assert study(catalogue, planted, 0, linear=choice, sides=sides, config={"neighbours": 0}).neighbours == ()


@pytest.mark.parametrize(("decay", "start"), [(0.0, 2.5e-3), (0.15, 0.15)])
def test_recency_starts_at_the_linear_experts_decay(planted: Planted, decay: float, start: float) -> None:
    catalogue, choice = planted.catalogue(), LinearChoice(decay=decay)
    for trained in (
        teach(catalogue, planted, 0, linear=choice), study(catalogue, planted, 0, linear=choice),
    ):  # fmt: skip
        assert float(trained.model.recency.detach().exp()) == pytest.approx(start)


def test_the_seed_decides_and_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = brand_world().planted(tmp_path_factory.mktemp("seed") / "world")
    one, other, again = (
        train_student(
            world.catalogue(), [], world.tokens, None, StudentConfig(**ONE_STEP), dim=6, inner_share=0.15,
            device=CPU, seed=seed, validate=constant,
        ).model.state_dict()
        for seed in (0, 1, 0)
    )  # fmt: skip
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["tokens.weight"], other["tokens.weight"])


def test_hard_negatives_are_looked_for_again_in_the_third_epoch(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists: list[Any] = []
    real = Blend.forward

    def forward(self: Any, affinity: Any, evidence: Any, min_count: int) -> Any:
        # Warm lists alone: cold ones are shorter.
        if torch.is_grad_enabled() and evidence.counts.shape[1] == 45:
            lists.append(torch.stack(evidence.terms))
        return real(self, affinity, evidence, min_count)

    monkeypatch.setattr(Blend, "forward", forward)
    teach(planted.catalogue(), planted, 4)
    one, two, three, four = lists
    assert torch.equal(one, two)
    assert not torch.equal(two, three)
    assert torch.equal(three, four)


def test_labels_move_the_terms_of_a_distilled_student_and_not_its_tables(planted: Planted) -> None:
    catalogue = planted.catalogue()
    off = {"list_weight": 0.0, "task_weight": 0.65}
    far = moved(*(study(catalogue, planted, n, config=off).model for n in (0, 1)))
    assert {far[name] for name in ("tokens.weight", "ids.weight", "token_weights")} == {0.0}
    assert far["blend.weights.weight"] > 0


def test_a_batch_without_a_loss_is_passed_over(planted: Planted) -> None:
    off = {"list_weight": 0.0, "task_weight": 0.65}
    # A user alone in a batch may have no label.
    assert study(planted.catalogue(), planted, config={**off, "batch": 1}).history[1]["loss"] > 0


def test_items_of_one_text_share_it_alike(tmp_path_factory: pytest.TempPathFactory) -> None:
    alike = random_world(named=False).planted(tmp_path_factory.mktemp("alike") / "world")
    catalogue = alike.catalogue()
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(36, 6)).astype(np.float32)
    users = catalogue.users
    targets = Targets(
        users, np.tile(np.arange(5), (len(users), 1)), np.zeros((len(users), 5), np.float32), (5,), vectors
    )  # fmt: skip
    trained = train_student(
        catalogue, [], alike.tokens, lambda until_us: targets, StudentConfig(**{**ONE_STEP, "epochs": 0}),
        dim=6, inner_share=0.15, device=CPU, seed=0, validate=constant,
    )  # fmt: skip
    alone = student_scorer(trained, catalogue, alike.tokens, catalogue.view(), CPU, use_ids=False)
    np.testing.assert_allclose(alone.vectors[0], vectors.mean(0), rtol=0.01, atol=1e-4)


def test_a_user_is_the_pooled_history(planted: Planted) -> None:
    catalogue = planted.catalogue()
    trained = teach(catalogue, planted, linear=LinearChoice(decay=0.2))
    scorer = teacher_scorer(trained, catalogue, catalogue.view(), CPU)
    vectors, view = scorer.vectors.numpy().astype(np.float64), scorer.view
    decay = float(trained.model.recency.detach().exp())
    assert decay == pytest.approx(0.2, rel=0.01)
    for user in (3, 41):
        items, _, ranks = (part.numpy() for part in view.history(np.array([user])))
        attention = np.exp(-decay * ranks)
        pooled = ((attention / np.sqrt(view.counts[items]))[:, None] * vectors[items]).sum(0)
        got = scorer.user_vectors(np.array([user]))[0].detach().numpy()
        np.testing.assert_allclose(got, pooled / np.sqrt(attention.sum()), rtol=1e-3, atol=1e-5)


def test_the_final_teachers_vectors_are_those_of_everything_known(planted: Planted) -> None:
    catalogue = planted.catalogue()
    catalogue = dataclasses.replace(catalogue, select_us=catalogue.inner_cut(0.3))
    trained = teach(catalogue, planted)
    for of, until in ((trained, catalogue.cut_us), (trained.chosen, catalogue.select_us)):
        graph = trained.inputs(catalogue).graph(catalogue.view(until), trained.config, CPU)
        want = fit_fusion(catalogue, graph, trained.config, Context(CPU, 0), title="again").state_dict()
        assert all(torch.equal(value, want[name]) for name, value in of.fusion.state_dict().items())
