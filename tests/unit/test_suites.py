"""How a suite chooses, judges and keeps what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _shop import PROTOCOL, Shop
from scipy.sparse import csr_array

from bench import baselines
from bench.baselines.common import item_counts
from bench.suites import ArmScores, SuiteOptions, run_suite
from bench.suites.__main__ import app
from bench.suites.choose import Chooser, Known, Peer, among, judged_peer, known, times_among
from bench.suites.judge import Judge, brand_exposure, kept
from bench.suites.ours import ABLATIONS, ablated_config
from bench.suites.peers import blends, brand_of, collaborative, groups, popular
from bench.suites.spec import DiscoverySuite, load_suite, suite_names
from kgdistill.cli import main
from kgdistill.config import RunConfig
from kgdistill.datasets.complete_journey import complete_journey_protocol
from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.tasks.match import Scorer, build_task

CHOOSE: Any = {s: (s if s == "warm" else "cold", "ndcg@10") for s in ("warm", "cold", "strictly_cold")}


def scorer_of(matrix: csr_array) -> Scorer:
    return lambda users, candidates: matrix[users][:, candidates].toarray()


def test_a_peer_is_chosen_on_validation_and_fitted_again_for_the_test(shop: Shop) -> None:
    task = shop.task()
    right = task.validation
    asked: list[tuple[str, str]] = []

    def fit(now: Known, values: Any) -> Scorer:
        asked.append((now.split, values["what"]))
        # "right" knows the answers of validation: the best there; in the test they are masked.
        return scorer_of(right if values["what"] == "right" else csr_array(right.shape, dtype=np.float32))

    chooser = Chooser(task, CHOOSE)
    opened = shop.task()
    peer = Peer("p", "P", fit, tuple({"what": w} for w in ("zero", "right", "zero again")), ("warm",))
    found = judged_peer(peer, chooser, Judge(opened), 0)
    assert asked == [
        ("validation", "zero"), ("validation", "right"), ("validation", "zero again"), ("test", "right"),
    ]  # fmt: skip
    assert chooser.chosen == {"p": {"warm": {"what": "right"}}}
    assert list(found.scores) == ["warm"]
    with pytest.raises(LeakError, match="closed"):
        task.positives("test")


def test_the_test_judges_a_peer_as_evaluate_arm_does(shop: Shop) -> None:
    chooser, opened = Chooser(shop.task(), CHOOSE), shop.task()
    judge = Judge(opened)
    found = judged_peer(popular(), chooser, judge, 0)
    want = evaluate_arm(
        baselines.popularity(opened.history("test")), opened, arm="a", title="A", k=10, progress=False
    )
    assert list(found.scores) == list(want.settings)
    for setting, result in want.settings.items():
        np.testing.assert_array_equal(found.scores[setting]["ndcg@10"], result.ndcg)
        np.testing.assert_array_equal(found.scores[setting]["recall@10"], result.recall)
        assert judge.units[setting] == [opened.user_keys[int(u)].as_py() for u in result.users]
    assert 0 < found.extra["coverage"] <= 1


def test_users_without_history_are_given_what_is_popular(shop: Shop) -> None:
    protocol = PROTOCOL.model_copy(update={"min_user_events": 0, "settings": ("all",)})
    task = build_task(shop.snapshot, shop.later, protocol)
    # Nobody of the shop is without history: take one's away.
    lone = int(task.users[0])
    task.train.data[task.train.indptr[lone] : task.train.indptr[lone + 1]] = 0
    task.train.eliminate_zeros()
    chooser = Chooser(task, {"all": ("all", "ndcg@10")})
    ease = next(p for p in collaborative(("all",)) if p.arm == "ease")
    scorer, own = chooser.fitted(ease, "test", "all")
    everybody, items = task.users[:3], task.items
    assert (own(everybody[:1], items) == 0).all()
    assert scorer(everybody, items)[0].tolist() == item_counts(task.train)[items].tolist()
    np.testing.assert_array_equal(scorer(everybody, items)[1:], own(everybody[1:], items))


def test_a_blend_s_experts_are_fitted_for_the_split_that_is_asked(shop: Shop) -> None:
    protocol = PROTOCOL.model_copy(update={"refit": True})
    # Cut again: with a refit, the known history reaches to the test.
    task = shop.task()
    assert protocol.snapshot_cut != task.protocol.cut
    chooser = Chooser(task, CHOOSE)
    brand = groups(shop.snapshot, "MADE_BY", "Brand")
    assert brand is not None
    splits: list[str] = []

    def fit(now: Known, values: Any) -> Scorer:
        splits.append(now.split)
        return baselines.group_knn(now.history, brand)

    experts = {"brand": Peer("brand", "Brand", fit), "popularity": popular()}
    (blend,) = blends(chooser, experts, {"both": ("Both", ("brand", "popularity"))})
    best = chooser.best(blend)
    assert set(best) == {"warm", "cold"}
    # The shop's users keep to their brands: in both pools the brand leads.
    assert all(values["brand"] == 1.0 for values in best.values())
    assert set(splits) == {"validation"}
    chooser.fitted(blend, "test", "warm")
    assert splits[-1] == "test"


def test_fitting_on_some_items_leaves_the_others_at_zero_and_keeps_times_in_order() -> None:
    history = csr_array(np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.float32))
    items = np.array([1, 3])
    inner: list[csr_array] = []

    def fit(part: csr_array) -> Scorer:
        inner.append(part)
        return lambda users, at: (10 * users[:, None] + at[None, :] + 1).astype(np.float32)

    scorer = among(items, fit, history)
    assert inner[0].toarray().tolist() == [[0, 1], [1, 1]]
    scores = scorer(np.array([0, 1]), np.array([0, 1, 2, 3]))
    assert scores.tolist() == [[0, 1, 0, 2], [0, 11, 0, 12]]
    now = Known("test", history, np.array([5, 6, 7, 8, 9]), 10, items)
    assert times_among(items, now).tolist() == [7, 8, 9]


def test_what_may_be_known_is_the_history_of_the_split(shop: Shop) -> None:
    task = shop.task()
    now = known(task, "test")
    assert now.history.nnz == task.train.nnz
    assert (task.item_counts[now.items] >= PROTOCOL.min_item_users).all()
    assert len(now.items) == len(task.candidates("warm", "validation"))
    assert now.times_us.max() < now.until_us


def test_an_arm_is_kept_until_what_it_rests_on_changes(tmp_path: Path) -> None:
    made: list[int] = []
    units: dict[str, list[str]] = {}

    def make() -> ArmScores:
        made.append(1)
        units["warm"] = ["u1", "u2"]
        return ArmScores(
            "a", "A", "peer", 0, 1.5, None, None, {"warm": {"ndcg@10": np.array([0.5, 0.25])}}, {"x": 2.0}
        )

    first = kept(tmp_path, {"arm": "a", "seed": 0, "grid": [1]}, make, units)
    again: dict[str, list[str]] = {}
    second = kept(tmp_path, {"arm": "a", "seed": 0, "grid": [1]}, make, again)
    assert len(made) == 1
    assert again == units
    assert second.scores["warm"]["ndcg@10"].tolist() == first.scores["warm"]["ndcg@10"].tolist()
    assert (second.arm, second.fit_seconds, second.extra) == ("a", 1.5, {"x": 2.0})
    kept(tmp_path, {"arm": "a", "seed": 0, "grid": [1, 2]}, make, units)
    assert len(made) == 2


def test_every_ablation_removes_something_that_is_there() -> None:
    whole = RunConfig(protocol=PROTOCOL)
    assert len({a.arm for a in ABLATIONS}) == len(ABLATIONS)
    for ablation in ABLATIONS:
        changed = ablated_config(whole, ablation)
        differing = {n for n in ("text", "teacher", "student") if getattr(changed, n) != getattr(whole, n)}
        assert differing == {ablation.of}


def test_brand_exposure_equals_the_hand_count(shop: Shop) -> None:
    brand = groups(shop.snapshot, "MADE_BY", "Brand")
    assert brand is not None
    brands = brand_of(brand)
    assert brands.tolist() == [i % 6 for i in range(80)]
    task = shop.task()
    task.open_test()
    # Everybody is shown brand 0 alone.
    scores = (brands == 0).astype(np.float32)
    result = evaluate_arm(
        lambda u, c: np.where(scores[c] > 0, scores[c], -np.inf)[None].repeat(len(u), 0), task, arm="b",
        title="B", settings=["warm"], k=3, progress=False,
    )  # fmt: skip
    told = brand_exposure(task, result.settings["warm"], brands)
    warm = task.candidates("warm", "test")
    bought = np.bincount(brands[warm], weights=task.item_counts[warm])
    assert told["brand_shift"] == pytest.approx(1 - bought[0] / bought.sum())
    # One of six gets everything.
    assert told["brand_gini"] == pytest.approx(5 / 6)
    pairs = np.abs(bought[:, None] - bought[None, :]).mean() / (2 * bought.mean())
    assert told["brand_gini_purchases"] == pytest.approx(pairs)
    nobody = brand_exposure(task, result.settings["warm"], np.full(80, -1))
    assert set(nobody.values()) == {None}


def test_a_suite_that_cannot_run_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for args, words in (
        (["--suite", "office", "--data", "nowhere"], "nowhere: has no folder 'amazon_office'"),
        (["--suite", "chorus", "--data", "nowhere"], "nowhere: has no folder 'chorus_icecat'"),
        (["--suite", "ofice"], "no suite is called 'ofice'"),
        (["--suite", "ofice"], "did you mean 'office'?"),
        (["--suite", "."], "has no suite.yaml"),
        (["--suite", "office", "--device", "tpu"], "unknown device 'tpu'"),
        (["--suite", "office", "--seeds", "0"], "--seeds"),
    ):
        assert main(args, app) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert said.out == ""
    assert not list(tmp_path.iterdir())
    for options, words in ((SuiteOptions(seeds=()), "one seed"), (SuiteOptions(seeds=(1, 1)), "each once")):
        with pytest.raises(InputError, match=words):
            run_suite("office", options)
    with pytest.raises(InputError, match="no suite is called"):
        run_suite("movies", SuiteOptions())


def test_the_suites_of_the_project_ask_what_the_demo_asks() -> None:
    suite = load_suite("completejourney")
    assert isinstance(suite, DiscoverySuite)
    demo = complete_journey_protocol()
    assert suite.protocol == demo.model_copy(update={"settings": (*demo.settings, "tail")})
    assert suite_names() == ["chorus", "completejourney", "office"]
    assert {load_suite(name).name for name in suite_names()} == set(suite_names())
