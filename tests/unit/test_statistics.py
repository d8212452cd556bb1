"""Intervals cover what they should; the document of figures is what the report reads."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from _tasks import make_task, random_splits

from kgdistill.errors import InputError
from kgdistill.evaluate.baselines import popularity
from kgdistill.evaluate.document import beyond_accuracy, metrics_document
from kgdistill.evaluate.judge import ArmResult, SettingResult, evaluate_arm
from kgdistill.ranking import bootstrap as statistics
from kgdistill.ranking.bootstrap import bootstrap_mean, paired_bootstrap, surely_above_0
from kgdistill.run.report.run import Metrics
from kgdistill.tasks.match import MatchTask, Scorer


def test_an_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    found = [bootstrap_mean(draw.normal(3.0, 2.0, 80), samples=300, level=0.9, seed=i) for i in range(400)]
    covered = sum(low <= 3.0 <= high for _, low, high in found)
    # 400 draws of a share of 0.9: standard deviation 6; percentile intervals of 80 values run 1 % short.
    assert 336 <= covered <= 378
    width = np.mean([high - low for _, low, high in found])
    assert width == pytest.approx(2 * 1.645 * 2.0 / math.sqrt(80), rel=0.04)


def test_pairing_removes_what_the_users_share() -> None:
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 10, 500)
    a, b = shared + draw.normal(0.5, 0.1, 500), shared
    mean, low, high = paired_bootstrap(a, b)
    assert low < mean < high
    assert mean == pytest.approx(np.mean(a - b))
    assert low > 0.48
    assert high < 0.52
    assert bootstrap_mean(a).low < bootstrap_mean(b).mean


def test_a_bootstrap_is_the_same_for_a_seed_whatever_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(37)
    whole = bootstrap_mean(values, seed=4)
    monkeypatch.setattr(statistics, "_BLOCK_DRAWS", 100)
    assert bootstrap_mean(values, seed=4) == whole
    assert bootstrap_mean(values, seed=5) != whole


def test_a_bootstrap_refuses_what_has_no_mean() -> None:
    for wrong in ([], [1.0, math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="finite values"):
            bootstrap_mean(wrong)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_mean([1.0], level=1.0)
    with pytest.raises(ValueError, match="shapes"):
        paired_bootstrap([1.0, 2.0], [1.0])


def judged(items: list[list[int]]) -> SettingResult:
    values = np.ones(len(items))
    users = np.arange(len(items), dtype=np.int64)
    return SettingResult(users, np.arange(4, dtype=np.int64), values, values, values, np.array(items))


def test_beyond_accuracy_equals_the_hand_count() -> None:
    # Item counts 4, 2, 1, 1. User 0 had items 0 and 1 (mean 3), user 1 had 0 and 2 (mean 2.5).
    task = make_task([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1]], np.eye(4), min_item_users=1)
    found = beyond_accuracy(task, judged([[2, 3], [1, -1]]))
    first = (math.log2(1 / 3) + math.log2(1 / 3)) / 2
    assert found["coverage"] == 0.75
    # Exposure 0, 1, 1, 1: the mean absolute difference over twice the mean is (6 / 16) / (2 * 0.75).
    assert found["gini"] == pytest.approx(0.25)
    assert found["popularity_lift"] == pytest.approx((first + math.log2(2 / 2.5)) / 2)
    assert beyond_accuracy(task, judged([[0, 1], [2, 3]]))["gini"] == pytest.approx(0)
    nothing = beyond_accuracy(task, judged([[-1, -1]]))
    assert nothing == {"coverage": 0.0, "gini": None, "popularity_lift": None}


def chance(seed: int) -> Scorer:
    draw = np.random.default_rng(seed).random((100, 100), np.float32)
    return lambda users, items: draw[np.ix_(users, items)]


def arms() -> tuple[MatchTask, list[ArmResult]]:
    train, validation, test = random_splits(8, 60, 40)
    train[:, 30:35] = False
    train[0, 30:32] = True
    task = make_task(train, test, validation)
    scorers = {"popularity": popularity(task), "chance": chance(3)}
    return task, [
        evaluate_arm(s, task, arm=name, title=name.title(), k=5, progress=False)
        for name, s in scorers.items()
    ]


def test_the_document_holds_the_figures_and_the_report_reads_it() -> None:
    task, results = arms()
    document = metrics_document(
        task,
        results,
        comparisons=[("popularity", "chance")],
        fit_seconds={"popularity": 1.5},
        parameters={"chance": 0},
        samples=200,
    )
    read = Metrics.model_validate_json(json.dumps(document, allow_nan=False))
    assert list(read.protocol.settings) == ["warm", "cold", "strictly_cold"]
    assert [(a.arm, a.fit_seconds, a.parameters) for a in read.arms] == [
        ("popularity", 1.5, None),
        ("chance", None, 0),
    ]
    for result, arm in zip(results, read.arms, strict=True):
        for setting, found in result.settings.items():
            assert read.protocol.settings[setting].users == len(found.users)
            assert set(arm.settings[setting]) == {"ndcg@5", "recall@5", "mrr@5"}
            assert arm.settings[setting]["recall@5"].mean == pytest.approx(found.recall.mean())
            assert arm.settings[setting]["mrr@5"].low < found.mrr.mean()
    assert [c.setting for c in read.compare("popularity", "chance")] == ["warm", "cold", "strictly_cold"]
    first = read.comparisons[0]
    one, other = (r.settings["warm"].ndcg for r in results)
    assert first.difference == pytest.approx(np.mean(one - other))
    assert first.low < first.difference < first.high
    assert set(read.beyond_accuracy) == {"popularity", "chance"}


def test_arms_that_cannot_be_compared_are_refused() -> None:
    task, (one, other) = arms()
    again = evaluate_arm(chance(1), task, arm="valid", title="V", split="validation", k=5, progress=False)
    for results, pairs, says in (
        ([], [], "needs results"),
        ([one, one], [], "one for each arm"),
        ([one, again], [], "different splits"),
        ([one, other], [("popularity", "nobody")], "'nobody'"),
    ):
        with pytest.raises(InputError, match=says):
            metrics_document(task, results, comparisons=pairs)


def test_what_is_surely_above_0_is_so_by_two_standard_errors() -> None:
    # Of 100 differences with a spread of 1 the mean's error is 0.1.
    spread = np.tile([1.0, -1.0], 50)
    assert surely_above_0(spread + 0.21)
    assert not surely_above_0(spread + 0.19)
    assert not surely_above_0([5.0])
    assert not surely_above_0([])
