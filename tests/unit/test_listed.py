"""Texts that list values are compared part by part, and whatever else holds a comma stays whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from _planted import COLOURS, Planted, colour_world
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.listed import lists_values, parts_of
from kgdistill.tasks.item_groups import ItemGroups, beside_facts, conjunction, own_fields, text_groups

SIZES, STUFFS = ("S", "M", "L"), ("wool", "silk", "felt 1,5 mm")
LISTED = [list(parts) for parts in product(COLOURS, SIZES, STUFFS)]
BREAKS = (", ", ",", ";", "; ", " | ", "，", "；", "、")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("red, L, cotton", {"red", "L", "cotton"}),
        ("颜色:红;尺码:L", {"颜色:红", "尺码:L"}),
        ("红，棉", {"红", "棉"}),
        ("红、棉；L", {"红", "棉", "L"}),
        ("a | b | c", {"a", "b", "c"}),
        (" red ,red;, red ", {"red"}),
        ("1,5 l, glass", {"1,5 l", "glass"}),
        ("red, 5", {"red", "5"}),
        ("red,38,cotton", {"red", "38", "cotton"}),
        ("red,100% wool", {"red", "100% wool"}),
        ("Home, Garden > Pots", {"Home, Garden > Pots"}),
        ("red", {"red"}),
        (" , ; ", set()),
        ("", set()),
    ],
)
def test_a_text_is_cut_at_separators_and_not_at_a_decimal_comma_or_within_a_path(
    text: str, parts: set[str]
) -> None:
    assert set(parts_of(text)) == parts
    assert len(parts_of(text)) == len(parts)


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.sampled_from(BREAKS))
def test_order_and_repetition_of_parts_and_their_separator_do_not_matter(
    random: object, separator: str
) -> None:
    turned = []
    for parts in LISTED:
        again = [*parts, *random.choices(parts, k=2)]  # type: ignore[attr-defined]
        random.shuffle(again)  # type: ignore[attr-defined]
        turned.append(separator.join(again))
    assert [parts_of(text) for text in turned] == [parts_of(", ".join(parts)) for parts in LISTED]
    assert lists_values(turned)


TITLES = [f"Mug No. {n}, {COLOURS[n % 5]}" for n in range(40)]
BRANDS = [f"{name}, Inc" for name in ("Johnson", "Smith", "Alder", "Birch")] * 9 + ["Cedar"] * 20
PATHS = [f"{a}, {b} > {c}" for a, b, c in product(("Home", "Toys"), ("Arts", "Crafts"), "pqr")] * 2
NUMBERS = [f"{n},{m} l" for n in range(5) for m in range(5)] * 3


@pytest.mark.parametrize(
    "texts", [TITLES, BRANDS, PATHS, NUMBERS, ["red"] * 9, [None, "", " , "], []],
    ids=["titles", "brands", "paths", "decimals", "one value", "nothing", "no item"],
)  # fmt: skip
def test_titles_brands_paths_and_numbers_are_no_lists(texts: Sequence[str | None]) -> None:
    assert not lists_values(texts)


def listed(several: int, single: int, odd: int = 0) -> list[str]:
    """So many texts of two parts, of one, and of two of which one is nobody else's."""
    pairs = [f"{a}, {b}" for a, b in product("abcdefgh", "pqrstuvw")]
    return [*pairs[:several], *("abcdefgh"[n % 8] for n in range(single)), *(f"a, x{n}" for n in range(odd))]


def test_a_fifth_of_the_texts_has_several_parts_and_nine_in_ten_parts_are_shared() -> None:
    assert lists_values(listed(20, 80))
    assert not lists_values(listed(19, 81))
    # A tenth of all parts.
    assert lists_values(listed(64, 0, 15))
    assert not lists_values(listed(64, 0, 17))
    # As many parts as texts.
    assert not lists_values(["a, b", "b, c", "c, a"] * 5)
    assert lists_values(["a, b", "b, c", "c, a", "a"] * 5)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return colour_world().planted(tmp_path_factory.mktemp("colours"))


def test_each_part_is_a_group_and_an_item_is_in_each_by_an_equal_share(colours: Planted) -> None:
    title, attributes, pair = colours.fields()
    assert (attributes.name, attributes.split, attributes.kind) == ("attributes", ("attributes",), "single")
    assert (pair.name, pair.split, title.split) == ("title & attributes", ("attributes",), ())
    assert attributes.codes is None
    said = [parts_of(text) for text in colours.world.attributes]
    names = sorted({part for parts in said for part in parts})
    want = np.array([[(name in parts) / len(parts) for name in names] for parts in said])
    for family in (attributes, pair):
        np.testing.assert_allclose(family.incidence.toarray(), want, rtol=1e-6)


def family(rows: Sequence[Sequence[int]], split: tuple[str, ...] = (), name: str = "F") -> ItemGroups:
    dense = np.zeros((len(rows), 1 + max(max(row) for row in rows)), np.float32)
    for item, row in enumerate(rows):
        dense[item, list(row)] = 1 / len(row)
    return ItemGroups(name, sp.csr_matrix(dense), split=split)


def test_a_list_follows_from_a_fact_that_says_all_its_parts() -> None:
    brand = family([[n % 5] for n in range(60)])
    both = family([[n % 5, 5 + n % 5 // 2] for n in range(60)], ("both",))
    half = family([[n % 5, 5 + n // 5 % 4] for n in range(60)], ("half",))
    assert own_fields([brand], [both, half]) == [half]
    assert conjunction(brand, half).split == ("half",)
    # Two lists would make as many pairs as the product of their lengths.
    assert [f.name for f in beside_facts([brand, both], [half])] == ["F", "F", "F", "F & F"]


def test_two_lists_of_a_label_make_no_pair() -> None:
    said = {"colours": [f"{a}, {b}" for a, b in product(COLOURS, SIZES)], "kind": ["x", "y"] * 6}
    said["stuffs"] = [f"{b}; {a}" for a, b in product(COLOURS, SIZES)]
    rows = 2 * len(said["colours"])
    table = pa.table({name: (values * 9)[:rows] for name, values in said.items()})
    text = SimpleNamespace(text=list(said))
    snapshot: Any = SimpleNamespace(
        node_table=lambda label: table, schema=SimpleNamespace(node=lambda label: text)
    )
    names = [family.name for family in text_groups(snapshot, "Product")]
    assert names == ["colours", "kind", "stuffs", "colours & kind", "kind & stuffs"]
