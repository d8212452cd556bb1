"""Views and whatever else is no purchase: part of a history where a task weighs them, and never right."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from _planted import CUT_DAY, START, Planted, World, view_world
from _train import train_student, train_teacher

from kgdistill.cli import main
from kgdistill.config import StudentConfig, TeacherConfig, resolve_config
from kgdistill.errors import InputError
from kgdistill.models.scorer import Scorer
from kgdistill.run.chain import HISTORY
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.pack import pack_student
from kgdistill.serve.why import why
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.spec import load_task
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, neighbour_weights
from kgdistill.train.student import student_scorer
from kgdistill.train.targets import make_targets
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")
CHOICE = LinearChoice(reg=3.0, decay=0.1, walk=2)
WEIGHTS = {"VIEWED": 0.5}
DAY_US = 86_400_000_000
TEACHER = TeacherConfig(
    dim=12, layers=2, epochs=6, lr=0.01, candidates=30, random=5, batch=30, evaluate_every=6,
    graph_steps=30, graph_batch=64, graph_negatives=32, near=0,
)  # fmt: skip
STUDENT = StudentConfig(epochs=6, candidates=30, random=5, batch=30, evaluate_every=6, neighbours=20)


def constant(scorer: Scorer) -> dict[str, float]:
    return {"constant": 0.0}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return view_world().planted(tmp_path_factory.mktemp("views") / "snapshot")


def of_teacher(planted: Planted, catalogue: TrainingData) -> Scorer:
    trained = train_teacher(
        catalogue, [], TEACHER, device=CPU, seed=0, validate=constant, relations=planted.facts(),
        linear=CHOICE,
    )  # fmt: skip
    return teacher_scorer(trained, catalogue, catalogue.view(), CPU)


def of_student(planted: Planted, catalogue: TrainingData, teacher: Scorer) -> Scorer:
    targets = make_targets(teacher, catalogue, top=30, random=5, seed=0)
    trained = train_student(
        catalogue, [], planted.tokens, lambda until_us: targets, STUDENT, dim=12, inner_share=0.15,
        device=CPU, seed=0, validate=constant, linear=CHOICE,
    )  # fmt: skip
    return student_scorer(trained, catalogue, planted.tokens, catalogue.view(), CPU)


@pytest.fixture(scope="module")
def taught(views: Planted) -> Scorer:
    return of_teacher(views, views.catalogue(WEIGHTS))


@pytest.fixture(scope="module")
def pupil(views: Planted, taught: Scorer) -> Scorer:
    return of_student(views, views.catalogue(WEIGHTS), taught)


def hits(planted: Planted, scorer: Scorer) -> float:
    """The share of what is bought after the cut that stands among the first two not bought before."""
    task, items = planted.task, np.arange(planted.world.items)
    users = np.flatnonzero(np.diff(task.validation.indptr))
    scores = scorer(users, items)
    scores[task.train[users].toarray() > 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    return float(np.take_along_axis(task.validation[users].toarray(), best, axis=1).sum() / (2 * len(users)))


def test_what_only_views_tell_is_found_by_teacher_and_student(
    views: Planted, taught: Scorer, pupil: Scorer
) -> None:
    assert hits(views, taught) > 0.9
    assert hits(views, pupil) > 0.9


def test_what_no_list_tells_apart_stays_where_it_started(pupil: Scorer) -> None:
    # Both estimates are 0 of everything unsold: their weights there shift all of it alike.
    weights = pupil.model.blend.weights.weight[:, 1].detach()
    assert weights[0].abs() > 0.02
    assert weights[1:3].abs().max() < 0.01


def test_without_a_weight_views_are_not_read(views: Planted) -> None:
    assert hits(views, of_teacher(views, views.catalogue())) < 0.4


def test_views_at_or_after_a_moment_are_not_in_its_view(views: Planted) -> None:
    catalogue = views.catalogue(WEIGHTS)
    moment = catalogue.cut_us - 30 * DAY_US
    (weight, seen), *more = catalogue.view(moment).others
    assert (weight, more) == (0.5, [])
    start_us = int(np.datetime64(START, "us").astype(np.int64))
    before = sum(start_us + day * DAY_US < moment for _, _, day in views.world.viewed)
    assert (
        seen.purchases.nnz == before < catalogue.view().others[0][1].purchases.nnz == len(views.world.viewed)
    )


def test_a_view_of_users_and_items_that_take_no_part_is_left_out(views: Planted, tmp_path: Any) -> None:
    world = views.world
    stranger = World(
        world.users + 1, world.items, world.bought, world.brand, viewed=[*world.viewed, (world.users, 3, 5.0)]
    )
    catalogue = stranger.planted(tmp_path / "snapshot").catalogue(WEIGHTS)
    assert catalogue.others[0].pairs.nnz == len(world.viewed)


@pytest.mark.parametrize("weights", [{"RATED": 1.0}, {"VIEWED": 0.0}])
def test_what_the_graph_does_not_hold_yet_or_is_left_out_counts_nothing(
    views: Planted, weights: dict[str, float]
) -> None:
    without, catalogue = views.catalogue(), views.catalogue(weights)
    assert without.view().rows is without.view().purchases
    assert [(one.name, one.pairs.nnz) for one in catalogue.others] == [(*weights, 0)]
    rows = catalogue.view().rows
    assert rows.shape == (150, 160)
    np.testing.assert_array_equal(rows[:, :80].toarray(), without.view().purchases.toarray())
    of = {name: neighbour_weights(c.view(), [], CHOICE, 10)[0].weights[:80] for name, c in
          (("with", catalogue), ("without", without))}  # fmt: skip
    np.testing.assert_allclose(of["with"].toarray(), of["without"].toarray(), atol=1e-6)


def test_a_query_holds_each_kind_in_columns_of_its_own() -> None:
    import scipy.sparse as sp

    def events(pairs: list[tuple[int, int, float]]) -> sp.csr_matrix:
        rows, columns, ages = (np.array(a) for a in zip(*pairs, strict=True))
        matrix = sp.csr_matrix((ages.astype(np.float32), (rows, columns)), shape=(2, 3))
        matrix.sort_indices()
        return matrix

    bought, viewed = events([(0, 1, 5.0), (0, 2, 1.0)]), events([(0, 1, 3.0), (1, 0, 2.0)])

    def view(matrix: sp.csr_matrix, *others: tuple[float, Interactions]) -> Interactions:
        ones = matrix.copy()
        ones.data = np.ones_like(ones.data)
        return Interactions(ones, matrix.data.copy(), 1, others)

    whole = view(bought, (0.5, view(viewed)))
    decayed = np.exp(-0.3)
    np.testing.assert_allclose(
        whole.queries(np.array([0, 1]), 0.3).toarray(), [[0, decayed, 1, 0, 0.5, 0], [0, 0, 0, 0.5, 0, 0]]
    )
    np.testing.assert_allclose(whole.rows.toarray(), [[0, 1, 1, 0, 0.5, 0], [0, 0, 0, 0.5, 0, 0]])


def test_a_student_of_many_items_keeps_what_views_say(
    views: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beyond the limit the strongest are looked for among likely ones, and a product knows purchases alone.
    for module in ("models.terms.linear", "models.terms.walk", "train.choose"):
        monkeypatch.setattr(f"kgdistill.{module}.LIMIT", 20)
    view = views.catalogue(WEIGHTS).view()
    table, _ = neighbour_weights(view, [], CHOICE, 40, 4)
    from_views = table.weights[80:].tocoo()
    best = np.array([from_views.getcol(40 + i).toarray().argmax() for i in range(40)])
    assert (best == np.arange(40)).mean() > 0.9


# The bundle -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(views: Planted, pupil: Scorer) -> Bundle:
    task = {"kind": "match", "name": "recommend", "positives": {"event": "BOUGHT", "weights": WEIGHTS}}
    return pack_student(pupil, views.catalogue(WEIGHTS), views.snapshot, task=task)


def past(scorer: Scorer, user: int) -> dict[str, list[str]]:
    """What a user bought and viewed, the latest last."""
    views = {"BOUGHT": scorer.view, "VIEWED": scorer.view.others[0][1]}
    out = {}
    for name, view in views.items():
        items, _, ranks = view.history(np.array([user]))
        out[name] = [f"p{i:03}" for i in items[ranks.argsort(descending=True)]]
    return out


def test_a_bundle_scores_purchases_and_views_as_the_student_does(pupil: Scorer, bundle: Bundle) -> None:
    want = pupil(np.arange(150), np.arange(80))
    for user in (0, 3, 77, 149):
        known, unknown = bundle.index(past(pupil, user))
        assert unknown == ()
        np.testing.assert_allclose(bundle.scores(known, pool="all"), want[user], rtol=1e-4, atol=1e-4)


def test_many_with_views_are_answered_as_each_alone(bundle: Bundle, pupil: Scorer) -> None:
    pasts = [past(pupil, user) for user in range(20)]
    pasts[3]["VIEWED"] = []
    pasts[5] = {"VIEWED": pasts[5]["VIEWED"]}
    asked: list[Any] = [*pasts, pasts[7]["BOUGHT"]]
    together = bundle.recommend_many(asked, 10)
    for one, answer in zip(asked, together, strict=True):
        alone = bundle.recommend(one, 10)
        assert [(h.id, h.score) for h in alone] == [(h.id, h.score) for h in answer]
    # By its views alone a user is known too.
    assert together[5].basis == "history"
    # Views count, and what was viewed may be recommended.
    assert together[7] != together[-1]


def test_a_view_leads_to_what_is_bought_after_it_and_says_so(bundle: Bundle) -> None:
    answer = bundle.recommend({"VIEWED": ["p011"]}, 1, reasons=True)
    assert [(h.id, h.because) for h in answer] == [("p051", "viewed thing 11")]


def test_what_was_bought_is_left_out_and_what_was_viewed_is_not(bundle: Bundle) -> None:
    ids = {h.id for h in bundle.recommend({"BOUGHT": ["p041"], "VIEWED": ["p001"]}, 80, pool="all")}
    assert "p041" not in ids
    assert "p001" in ids


def test_a_bundle_with_views_takes_in_new_items_and_comes_back_from_a_folder(
    bundle: Bundle, pupil: Scorer, tmp_path: Any
) -> None:
    bundle.save(tmp_path / "bundle")
    again = load_bundle(tmp_path / "bundle")
    assert again.events == WEIGHTS
    before = bundle.recommend(past(pupil, 9), 20)
    assert again.recommend(past(pupil, 9), 20) == before
    history = again.history
    assert history is not None
    dim = history.unit.shape[1]
    grown = history.with_items(np.zeros((3, dim), np.float32), {}, {})
    scores = grown.scorer.scores(*moved(again, grown, past(pupil, 9)))
    np.testing.assert_array_equal(scores, bundle.scores(bundle.index(past(pupil, 9))[0], pool="all"))


def moved(bundle: Bundle, grown: Any, past: dict[str, list[str]]) -> tuple[Any, Any]:
    """A history as a part with three more items reads it, and the items that were there before."""
    places = bundle.index(past)[0]
    return places + 3 * (places // len(bundle)), grown.scorer.pool(np.arange(len(bundle)))


def test_a_search_is_put_in_the_order_of_views_too(
    bundle: Bundle, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.save(tmp_path / "bundle")
    asked = ["search", "thing", "--bundle", str(tmp_path / "bundle"), "--share", "1", "--json"]
    for given, history in (
        (["--event", "VIEWED=p011,px"], {"BOUGHT": [], "VIEWED": ["p011", "px"]}),
        (["--history", "p041", "--event", "VIEWED=p011"], {"BOUGHT": ["p041"], "VIEWED": ["p011"]}),
    ):
        assert main([*asked, *given]) == 0
        said = json.loads(capsys.readouterr().out)
        want = bundle.search("thing", 10, history=history, share=1)
        assert [h["id"] for h in said["hits"]] == [h.id for h in want]
        assert [h.id for h in want] != [h.id for h in bundle.search("thing", 10)]
        assert "on what was done before (--share 1)" in said["rests_on"]
        assert ("unknown in --history or --event: px" in said["notes"]) == ("px" in str(given))
    for given, says in (
        (["--event", "VIEWD=p011"], "did you mean 'VIEWED'"),
        (["--user", "u1", "--event", "VIEWED=p011"], "--user"),
        (["--recommender", str(tmp_path)], "goes with --user, --history or --event"),
    ):
        assert main([*asked, *given]) == 2
        assert says in capsys.readouterr().err


def test_an_event_that_the_bundle_does_not_read_is_named(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="reads no event 'VIEWD'") as raised:
        bundle.recommend({"VIEWD": ["p001"]})
    assert "VIEWED" in str(raised.value.hint)


def test_the_cut_lies_after_all_views(views: Planted) -> None:
    assert all(day < CUT_DAY for _, _, day in views.world.viewed)


def test_why_takes_purchases_out_and_leaves_views(bundle: Bundle, pupil: Scorer) -> None:
    done = past(pupil, 9)
    hit = bundle.recommend(done, 1, pool="all").hits[0]
    told = why(bundle, done, hit.id, pool="all")
    assert (told.rank, told.score) == (1, pytest.approx(hit.score, rel=1e-4))
    assert {c.id for c in told.carriers} <= set(done["BOUGHT"])
    rest = {**done, "BOUGHT": [key for key in done["BOUGHT"] if key not in told.without.ids]}
    asked = bundle.recommend(rest, 80, pool="all", exclude=told.without.ids)
    assert [h.rank for h in asked if h.id == hit.id] == [told.without.rank]


def test_another_weight_is_another_model_and_none_is_as_before() -> None:
    def stated(weights: dict[str, Any]) -> dict[str, Any]:
        task = load_task("recommend").declared()
        task["positives"] = {"event": "BOUGHT", **({"weights": weights} if weights else {})}
        config = resolve_config({"task": task, "protocol": view_world().rules.model_dump()})
        trained = [name for name, arm in HISTORY.arms.items() if arm.learner is not None]
        return {name: HISTORY.stages[name].further(config) for name in ("choice", *trained)}

    none, half, whole = stated({}), stated({"VIEWED": 0.5}), stated({"VIEWED": 1.0})
    learned = stated({"VIEWED": "learned"})
    assert all(none[name] != half[name] != whole[name] != learned[name] for name in none)
    assert all("weights" not in told for told in none.values())
