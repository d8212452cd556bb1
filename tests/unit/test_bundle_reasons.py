"""A reason names the term that raises the score most, and the purchase behind it; else there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from _load_script import load_script

from kgdistill.serve.bundle import Bundle

random_bundle: Callable[..., Bundle] = load_script("bench/serving.py").random_bundle


def only(term: int | None, *, weight: float = 1.0, **kinds: Any) -> Bundle:
    """A bundle in whose linear sum one term alone counts."""
    made = random_bundle(300, dim=6, neighbours=20, **{"hidden": 0, **kinds})
    for name in ("blend.weight", "blend.bias", "blend.user", "blend.new_boost"):
        made.arrays[name][:] = 0
    if term is not None:
        made.arrays["blend.bias"][term] = weight
    return Bundle(made.config, made.arrays, made.keys, made.titles)


def name(bundle: Bundle, position: int) -> str:
    return bundle.titles[position].split(" [SEP] ")[0]


def test_a_shared_group_names_the_latest_purchase_in_it() -> None:
    bundle = only(5)
    codes = bundle._scorer.codes[0]
    brand = int(np.bincount(codes[codes < codes.max()]).argmax())
    members = np.flatnonzero(codes == brand)
    history = [bundle.keys[i] for i in (members[0], members[1], int(np.flatnonzero(codes != brand)[0]))]
    found = bundle.recommend(history, k=len(members) - 2, reasons=True).recommendations
    told = {r.because for r in found if codes[bundle.index([r.product])[0][0]] == brand}
    assert told == {f"same brand as {name(bundle, members[1])}"}


@pytest.mark.parametrize(("term", "verb"), [(1, "goes with"), (2, "bought by who bought")])
def test_a_weight_between_items_names_the_purchase_that_it_comes_from(term: int, verb: str) -> None:
    bundle = only(term)
    indptr, indices = (bundle.arrays[f"neighbours{term - 1}.{part}"] for part in ("indptr", "indices"))
    history = [3, 77]
    for found in bundle.recommend([bundle.keys[i] for i in history], k=15, reasons=True).recommendations:
        item = bundle.index([found.product])[0][0]
        sources = [i for i in history if item in indices[indptr[i] : indptr[i + 1]]]
        assert found.because in {f"{verb} {name(bundle, i)}" for i in sources}


def test_nearness_names_the_nearest_purchase_and_popularity_nobody() -> None:
    bundle = only(0)
    vectors, fold = bundle.arrays["vectors"], bundle.arrays["fold"]
    for found in bundle.recommend([bundle.keys[i] for i in (3, 77)], k=5, reasons=True).recommendations:
        item = bundle.index([found.product])[0][0]
        decay = float(np.exp(-np.exp(bundle.arrays["log_decay"][0])))
        parts = [decay * (vectors[3] @ fold @ vectors[item]), vectors[77] @ fold @ vectors[item]]
        assert found.because == f"like {name(bundle, (3, 77)[int(np.argmax(parts))])}"
    first = only(3).recommend([bundle.keys[3]], k=5, reasons=True).recommendations
    assert [r.because for r in first] == ["popular"] * 5


def test_nothing_that_stands_out_is_no_reason() -> None:
    for bundle in (only(None), only(5, weight=-1.0)):
        found = bundle.recommend([bundle.keys[3]], k=5, reasons=True).recommendations
        assert [r.because for r in found] == [""] * 5
    assert not any(r.because for r in only(3).recommend(k=5, reasons=True).recommendations)


def test_what_the_perceptron_makes_of_a_term_counts_with_it() -> None:
    made = only(5, hidden=2, mixed=300)
    # The linear sum speaks for the group; the perceptron takes all of it back, and gives popularity.
    made.arrays["mixer.first"][:] = 0
    made.arrays["mixer.first"][0, 5], made.arrays["mixer.first"][1, 3] = 1, 1
    made.arrays["mixer.first_bias"][:] = 20  # where the perceptron is linear
    made.arrays["mixer.last"][:] = [-1, 5]
    bundle = Bundle(made.config, made.arrays, made.keys, made.titles)
    found = bundle.recommend([bundle.keys[3]], k=5, reasons=True).recommendations
    assert [r.because for r in found] == ["popular"] * 5


def test_reasons_change_no_answer() -> None:
    bundle = random_bundle(300, dim=6, neighbours=9, hidden=4, mixed=40)
    for asked in (
        {"history": bundle.keys[:4]},
        {"text": "tea 17"},
        {"history": bundle.keys[:2], "text": "17"},
    ):
        plain, told = bundle.recommend(**asked), bundle.recommend(**asked, reasons=True)
        assert replace(told, recommendations=[replace(r, because="") for r in told.recommendations]) == plain
        assert any(r.because for r in told.recommendations)
