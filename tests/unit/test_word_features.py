"""Exact words as features: TF-IDF at unit length, read alike for one text and for many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.tasks.word_features import WordFeatures

TEXTS = ["red shoe", "red red shoe", "blue shoe", "蓝色鞋", "蓝色包", "", "only here"]
texts = st.lists(st.text(alphabet="ab c蓝色鞋", max_size=12), min_size=1, max_size=6)


def test_the_words_are_those_of_two_texts_or_more_the_commonest_first() -> None:
    found = WordFeatures.of(TEXTS)
    assert found.words[0] == "shoe"
    assert {"red", "red shoe", "蓝色", "蓝", "色"} <= set(found.words)
    assert not {"only", "blue", "red red"} & set(found.words)
    assert WordFeatures.of(TEXTS, most=1).words == ("shoe",)
    assert found.idf[0] == pytest.approx(math.log(8 / 4) + 1)


def test_a_word_counts_by_how_often_and_how_rare_it_is() -> None:
    found = WordFeatures.of(TEXTS)
    table = found.read(["red red shoe"])
    held = {found.words[c]: w for c, w in zip(table.columns, table.weights, strict=True)}
    red, shoe, both = (1 + math.log(2)) * (math.log(8 / 3) + 1), math.log(2) + 1, math.log(8 / 3) + 1
    length = math.sqrt(red**2 + shoe**2 + both**2)
    assert held == pytest.approx({"red": red / length, "shoe": shoe / length, "red shoe": both / length})


@given(texts, texts)
@settings(max_examples=60)
def test_many_texts_are_read_as_each_alone(known: list[str], asked: list[str]) -> None:
    features = WordFeatures.of([*known, *known])
    values = np.random.default_rng(0).standard_normal((len(features.words), 3)).astype(np.float32)
    table = features.read(asked)
    alone = [features.read([text]).total(values)[0] for text in asked]
    assert table.total(values) == pytest.approx(np.array(alone), abs=1e-6)
    order = np.arange(len(asked))[::-1].copy()
    assert table.rows(order).total(values) == pytest.approx(np.array(alone)[order], abs=1e-6)
    dense = np.zeros((len(asked), len(features.words)), np.float32)
    dense[np.repeat(np.arange(len(asked)), np.diff(table.starts)), table.columns] = table.weights
    assert table.total(values) == pytest.approx(dense @ values, abs=1e-5)
    lengths = np.linalg.norm(dense, axis=1)
    assert lengths == pytest.approx((np.diff(table.starts) > 0).astype(float), abs=1e-5)
