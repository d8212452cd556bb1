"""A reason names the term that raises the score most, and the purchase behind it; else there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from _bundle import arrays, history_of, random_bundle, remade

from kgdistill.serve.bundle import Bundle


def only(term: int | None, *, weight: float = 1.0, **kinds: Any) -> Bundle:
    """A bundle in whose linear sum one term alone counts."""
    made = random_bundle(300, dim=6, neighbours=20, **kinds)
    for name in ("blend.weight", "blend.bias", "blend.user", "blend.new_boost"):
        arrays(made)[name][:] = 0
    if term is not None:
        arrays(made)["blend.bias"][term] = weight
    return remade(made)


def name(bundle: Bundle, position: int) -> str:
    return bundle.items.titles[position]


def test_a_shared_group_names_the_latest_purchase_in_it() -> None:
    bundle = only(5)
    codes = history_of(bundle).scorer.groups[0].codes
    brand = int(np.bincount(codes[codes < codes.max()]).argmax())
    members = np.flatnonzero(codes == brand)
    bought = [bundle.keys[i] for i in (members[0], members[1], int(np.flatnonzero(codes != brand)[0]))]
    found = bundle.recommend(bought, k=len(members) - 2, reasons=True)
    told = {r.because for r in found if codes[bundle.index([r.id])[0][0]] == brand}
    assert told == {f"same brand as {name(bundle, members[1])}"}


@pytest.mark.parametrize(("term", "verb"), [(1, "goes with"), (2, "bought by who bought")])
def test_a_weight_between_items_names_the_purchase_that_it_comes_from(term: int, verb: str) -> None:
    bundle = only(term)
    indptr, indices = (arrays(bundle)[f"neighbours{term - 1}.{part}"] for part in ("indptr", "indices"))
    bought = [3, 77]
    for found in bundle.recommend([bundle.keys[i] for i in bought], k=15, reasons=True):
        item = bundle.index([found.id])[0][0]
        sources = [i for i in bought if item in indices[indptr[i] : indptr[i + 1]]]
        assert found.because in {f"{verb} {name(bundle, i)}" for i in sources}


def test_nearness_names_the_nearest_purchase_and_popularity_nobody() -> None:
    bundle = only(0)
    vectors, counts = arrays(bundle)["vectors"], arrays(bundle)["counts"]
    for found in bundle.recommend([bundle.keys[i] for i in (3, 77)], k=5, reasons=True):
        item = bundle.index([found.id])[0][0]
        decay = float(np.exp(-np.exp(arrays(bundle)["log_decay"][0])))
        parts = [vectors[i] @ vectors[item] / np.sqrt(max(counts[i], 1)) for i in (3, 77)]
        parts[0] *= decay
        assert found.because == f"like {name(bundle, (3, 77)[int(np.argmax(parts))])}"
    first = only(3).recommend([bundle.keys[3]], k=5, reasons=True)
    assert [r.because for r in first] == ["popular"] * 5


def test_nothing_that_stands_out_is_no_reason() -> None:
    for bundle in (only(None), only(5, weight=-1.0)):
        found = bundle.recommend([bundle.keys[3]], k=5, reasons=True)
        assert [r.because for r in found] == [""] * 5
    assert not any(r.because for r in only(3).recommend(k=5, reasons=True))


def test_reasons_change_no_answer() -> None:
    bundle = random_bundle(300, dim=6, neighbours=9)
    for asked in (
        {"history": bundle.keys[:4]},
        {"text": "tea 17"},
        {"history": bundle.keys[:2], "text": "17"},
    ):
        plain, told = bundle.recommend(**asked), bundle.recommend(**asked, reasons=True)
        assert replace(told, hits=tuple(hit._replace(because="") for hit in told)) == plain
        assert any(r.because for r in told)
