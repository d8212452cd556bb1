"""Judging matches by text: settings, depths, blocks and the document of results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.evaluate import graded
from kgdistill.evaluate.graded import GradedArm, graded_document, judge_parts
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.ranking.graded import Judgements

ITEMS = 40
JUDGEMENTS = Judgements.of(
    {"a": {0: 3.0, 1: 0.0, 39: 1.0}, "b": {5: 0.0, 7: 0.0}, "c": {2: 1.0, 3: 1.0}, "d": {8: 2.0, 9: 3.0}}
)


def parts_of(queries: IntArray) -> Mapping[str, FloatArray]:
    rng = np.random.default_rng(0)
    whole = {name: rng.random((4, ITEMS)).astype(np.float32) for name in ("words", "coverage", "near")}
    return {name: part[queries] for name, part in whole.items()}


def test_each_setting_is_over_the_queries_that_have_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judge_parts(parts_of, JUDGEMENTS, Fusion(depth=5), items=ITEMS, ks=[10])
    sizes = {s: [len(v) for v in metrics.values()] for s, metrics in whole.items()}
    # Query b has no grade above 0, query c none of 2 or more.
    assert sizes == {"full": [3, 3], "relevant": [2], "rerank": [3]}
    monkeypatch.setattr(graded, "_CELLS", ITEMS)
    alone = judge_parts(parts_of, JUDGEMENTS, Fusion(depth=5), items=ITEMS, ks=[10])
    for setting, metrics in whole.items():
        for name, values in metrics.items():
            assert np.array_equal(values, alone[setting][name])


def test_where_the_candidates_are_given_the_depth_does_not_count() -> None:
    # The only relevant item is the last by words and the first by meaning.
    words = np.arange(ITEMS, 0, -1, dtype=np.float32)[None]
    parts = {"words": words, "near": 100 * (words == 1).astype(np.float32)}
    judgements = Judgements.of({"q": {ITEMS - 1: 3.0, 0: 0.0}})
    found = judge_parts(lambda _: parts, judgements, Fusion(meaning=0.9, depth=2), items=ITEMS, ks=[10])
    assert found["rerank"]["ndcg@10"] == [1.0]
    assert found["full"]["ndcg@10"] == [0.0]


def test_what_was_only_clicked_has_no_order_of_its_own() -> None:
    clicked = Judgements.of({"a": {0: 1.0, 3: 1.0}, "b": {2: 1.0}})
    found = judge_parts(parts_of, clicked, Fusion(), items=ITEMS, ks=[10])
    assert set(found) == {"full", "relevant"}


def test_grades_below_two_are_relevant_where_there_are_no_higher_ones() -> None:
    binary = Judgements.of({"q": {0: 1.0, 1: 0.0}})
    assert binary.relevant == 1
    assert JUDGEMENTS.relevant == 2
    assert JUDGEMENTS.take(np.array([2])).relevant == 2


def test_the_document_tells_arms_apart_query_by_query() -> None:
    first = {"full": {"ndcg@10": np.array([0.5, 1.0]), "judged@10": np.array([1.0, 1.0])}}
    other = {"full": {"ndcg@10": np.array([0.25, 0.5]), "judged@10": np.array([1.0, 0.0])}}
    arms = [GradedArm("one", "One", first, 2.0, 7), GradedArm("two", "Two", other)]
    document = graded_document({"name": "n", "k": 10}, arms, [("one", "two")], items=9)
    assert document["protocol"]["settings"] == {"full": {"users": 2, "candidates": 9}}
    assert document["arms"][0]["settings"]["full"]["ndcg@10"]["mean"] == 0.75
    (difference,) = document["comparisons"]
    assert (difference["a"], difference["b"], difference["metric"]) == ("one", "two", "ndcg@10")
    assert difference["difference"] == pytest.approx(0.375)
    assert 0.25 <= difference["low"] <= difference["high"] <= 0.5


def test_a_part_alone_ranks_as_it_comes() -> None:
    near = np.array([[0.2, 0.9, 0.1]], np.float32)
    assert np.array_equal(fuse({"near": near}, Fusion(depth=1)), near)
    words = np.array([[2.0, 0.0, 4.0]], np.float32)
    assert fuse({"words": words}, Fusion(depth=1)) == pytest.approx(np.array([[0.5, 0, 1]]))
