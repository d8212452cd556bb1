"""What titles say: brand, size, colour, material and audience."""

from __future__ import annotations

import pytest

from kgdistill.derive.mining import BrandNames, known_brands, mined


def said(title: str, brands: BrandNames | None = None) -> set[tuple[str, str]]:
    return {(fact.kind, fact.value) for fact in mined(title, brands)}


@pytest.mark.parametrize(
    ("title", "facts"),
    [
        ("Notebook Silver 43.2 cm", {("colour", "silver"), ("size", "432mm")}),
        ("Green tea, 20 bags", set()),
        ("Black Friday mug, black and white printer", set()),
        ("Gray/Navy scarf, men's, 100% cotton",
         {("colour", "grey"), ("colour", "blue"), ("audience", "men"), ("material", "cotton")}),
        ("Care for leather", set()),
        ("Faux leather bag for her", {("audience", "women")}),
        ("Stainless steel pan", {("material", "stainless steel")}),
        ("Paper tray, glass cleaner", set()),
        ("Goldfish bowl, blackboard, redwood", set()),
        ("儿童纯棉T恤 红色", {("audience", "kids"), ("material", "cotton"), ("colour", "red")}),
        ("仿真皮钱包 深棕色", {("colour", "brown")}),
        ("RED DRESS FOR WOMEN", {("colour", "red"), ("audience", "women")}),
    ],
)  # fmt: skip
def test_words_of_the_lists_are_read_in_their_places(title: str, facts: set[tuple[str, str]]) -> None:
    assert said(title) == facts


def test_one_of_several_is_less_certain() -> None:
    one, several = mined("White shirt"), mined("White and black shirt")
    assert len(one) == 1
    assert len(several) == 2
    assert all(fact.confidence < one[0].confidence for fact in several)


NAMES = ["HP", "Tripp Lite", "苏泊尔", "3M", "Paper Mate", "X", "Smile"]


@pytest.mark.parametrize(
    ("title", "brand"),
    [
        ("HP 364XL Original", "hp"),
        ("Tripp-Lite cable", "tripp lite"),
        ("Toner for HP", None),
        ("Case compatible with HP", None),
        ("适用HP墨盒", None),
        ("Cable by nobody, Tripp Lite", "tripp lite"),
        ("Set of Tripp Lite and 3M", None),
        ("SUPOR不锈钢锅", "苏泊尔"),
        ("苏泊尔炒锅", "苏泊尔"),
        ("X marks", None),
        ("HPE server", None),
    ],
)
def test_a_brand_is_named_at_the_start_or_alone_inside(title: str, brand: str | None) -> None:
    names = known_brands(NAMES, [name.lower() for name in NAMES], {"SUPOR": "苏泊尔", "nobody": "who"})
    assert {value for kind, value in said(title, names) if kind == "brand"} == ({brand} if brand else set())


@pytest.mark.parametrize(
    ("name", "title"), [("\U00020000\U00020001", "\U00020002\U00020000\U00020001锅"), ("สิงห์", "น้ำสิงห์ 500 ml")]
)
def test_a_brand_is_found_in_any_script_without_blanks(name: str, title: str) -> None:
    found = mined(title, known_brands([name], ["B1"], {}))
    assert [fact.value for fact in found if fact.kind == "brand"] == ["B1"]


def test_a_brands_name_says_nothing_else() -> None:
    names = known_brands(NAMES, NAMES, {})
    assert said("Paper Mate pen, black", names) == {("brand", "Paper Mate"), ("colour", "black")}
    assert said("3M filter", names) == {("brand", "3M")}
    assert ("material", "paper") in said("Paper Mate pen, black")


def test_a_name_that_means_something_else_is_not_trusted() -> None:
    names = known_brands(NAMES, NAMES, {})
    before = next(fact for fact in mined("Smile mug", names) if fact.kind == "brand").confidence
    titles = [f"HP printer {n}" for n in range(30)] + [f"Smile mug {n}" for n in range(10)]
    names.learn(titles, ["HP"] * 30 + ["3M"] * 10)
    told = {title: mined(title, names)[0].confidence for title in ("HP printer", "Smile mug", "3M tape")}
    assert told["Smile mug"] < 0.4 < before
    assert told["HP printer"] > 0.9
    # Of a brand of which nothing is known the rule speaks: 30 of 40 were right.
    assert told["3M tape"] == pytest.approx((30 + 5 * 0.9) / 45, abs=1e-3)
