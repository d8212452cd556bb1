"""A query is read before it is searched for: slips, fields, prices; and a history orders the answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _bundle import random_bundle
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.serve.answer import Facet
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.items import Items
from kgdistill.serve.personal import personal
from kgdistill.serve.price import priced
from kgdistill.serve.readings import Readings
from kgdistill.serve.search import search_index
from kgdistill.serve.spelling import Spelling
from kgdistill.tasks.words import fold

SHOP = [
    # title, brand, category, colour, price
    ("garden chair oak", "Alder", "Furniture > Chairs", "brown", 49.0),
    ("folding chair", "Birch & Sons", "Furniture > Chairs", "red", 15.0),
    ("desk lamp", "Alder", "Lighting > Lamps", "red", 19.0),
    ("floor lamp", "Birch & Sons", "Lighting > Lamps", "white", 89.0),
    ("table lamp brass", "Cedar Works", "Lighting > Lamps", "brown", 25.0),
    ("tea pot 1.5 l", "Cedar Works", "Kitchen > Pots", "white", 12.0),
    ("云岚电饭煲 3升", "云岚（YUNLAN）", "家居 > 厨房用品 > 电饭煲", "white", 299.0),
    ("山舟炒锅", "山舟", "家居 > 厨房用品 > 炒锅", "red", 189.0),
]
LAMPS = ("category", "Lighting > Lamps", None, None)
COOKERS = ("category", "家居 > 厨房用品 > 电饭煲", None, None)
COLUMNS = ("title", "brand", "category", "colour", "price")


def shop(rows: Sequence[tuple[Any, ...]] = SHOP, reads: Sequence[str] = ("title",)) -> Bundle:
    """A bundle of words alone."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    items = Items(pa.table({"id": [f"i{n}" for n in range(len(rows))], **columns}))
    readings = Readings.joined(list(reads))
    texts = readings.texts(items.columns(list(reads)))
    index = search_index(texts, np.zeros((len(rows), 0), np.float32))
    config = {"reads": readings.settings(), "task": {"kind": "match", "name": "search"}}
    return Bundle(config, items, search=index)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return shop()


# Slips -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gardne", "garden"), ("lapm", "lamp"), ("lamo", "lamp"), ("chiar", "chair"), ("foldnig", "folding"),
        ("foldng", "folding"), ("foldinng", "folding"), ("ffolding", "folding"), ("tabel", "table"),
        # Two slips are forgiven to long words alone; short ones, numbers and pairs are left alone.
        ("furmiturr", "furniture"), ("chxxr", None), ("poi", None), ("t3a", None), ("饭包", None),
        ("lamp", None),
    ],
)  # fmt: skip
def test_a_slip_gives_way_to_the_word_that_was_meant(typed: str, meant: str | None, bundle: Bundle) -> None:
    answer = bundle.search(typed)
    assert [tuple(c) for c in answer.corrections] == ([] if meant is None else [(typed, meant)])
    if meant is not None:
        assert [h.id for h in answer] == [h.id for h in bundle.search(meant)]
        assert answer[0].id in {h.id for h in bundle.search(meant)}
        # What was typed can still be searched for.
        exact = bundle.search(typed, spelling=False)
        assert exact.corrections == ()
        assert not exact


def test_the_commoner_of_equally_near_words_is_meant_and_the_fewer_slips_come_first() -> None:
    spelling = Spelling({"lamp": 2, "lame": 9, "damp": 50, "lamps": 1, "lampshade": 3, "camp": 4})
    assert spelling.nearest("lam") is None
    assert spelling.nearest("lamx") == "lame"
    assert spelling.nearest("lampshde") == "lampshade"
    assert spelling.nearest("lanpshde") == "lampshade"
    # One that begins alike comes before a commoner one that does not.
    assert spelling.nearest("lamm") == "lame"
    assert Spelling({"lamp": 2, "damp": 50}).nearest("lanp") == "lamp"
    assert Spelling({"lampshades": 100, "lampshade": 1}).nearest("lampshad") == "lampshade"


@given(st.sampled_from(sorted({"garden", "chair", "folding", "furniture", "lighting", "kitchen"})), st.data())
def test_one_slip_of_any_kind_in_a_word_is_found(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from("qxz"))
    slips = [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :]]
    slips += [word[:at] + word[at + 1] + word[at] + word[at + 2 :]]
    # Of a short word the first letter is right, or was exchanged with the second.
    slips = [slip for slip in slips if len(slip) > 5 or slip[0] == word[0] or slip[:2] == word[1::-1]]
    typed = data.draw(st.sampled_from([slip for slip in slips if slip != word and len(slip) >= 4]))
    words = dict.fromkeys(["garden", "chair", "folding", "furniture", "lighting", "kitchen"], 1)
    assert Spelling(words).nearest(typed) == word
    assert Spelling(words).nearest(word) is None


def test_a_short_word_with_another_first_letter_is_another_word() -> None:
    spelling = Spelling({"wonder": 30, "dover": 9, "chair": 5, "table": 3, "cabinet": 2})
    assert [spelling.nearest(word) for word in ("onder", "over", "hair")] == [None, None, None]
    assert [spelling.nearest(word) for word in ("hcair", "tabe", "abinet")] == ["chair", "table", "cabinet"]


@pytest.mark.parametrize("word", ["oder", "ohne", "voor", "goed", "albo", "przez", "with", "unter"])
def test_small_words_of_further_languages_are_not_taken_for_slips(word: str) -> None:
    rows = [("order ohm voorn goud album przed wish untier", "Alder", "Works", "red", 9.0)] * 2
    assert shop(rows).search(word).corrections == ()


def test_a_short_word_whose_titles_are_hardly_ever_so_names_no_code() -> None:
    """Dutch titles have the word "en", and their language is nl; a brand's short name is mostly one."""
    rows = [("kaart en koning", "Alder", "nl", "LG", 9.0), ("boek en berg", "Alder", "nl", "LG", 9.0)]
    rows += [
        ("LG book", "Alder", "en", "LG", 9.0),
        ("lamp", "Alder", "en", "LG", 9.0),
        ("lg", "Alder", "en", "HP", 9.0),
    ]
    bundle = shop(rows * 2)
    assert facets(bundle, "boek en kaart") == []
    assert facets(bundle, "lamp nl") == [("category", "nl", None, None)]
    assert facets(bundle, "lamp hp") == [("colour", "HP", None, None)]
    assert bundle.search("book lg").facets == ()
    assert facets(shop(rows[:4] * 2), "book lg") == [("colour", "LG", None, None)]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("lamp", ()), ("hobbit lamp", ("hobbit",)), ("hobbit lapm", ("hobbit",)), ("Alder lamp", ()),
        ("hobbit lamp hobbit under 20", ("hobbit",)), ("云岚 hobbit", ("hobbit",)), ("desklamp", ()),
        ("hob bits", ("hob", "bits")), ("1.5 l pot", ()), ("99 kg pot", ("99 kg",)), ("fol ding chair", ()),
        ("What is the best hobbit lamp with a dimmr", ("hobbit", "dimmr")),
        ("ich suche eine Lampe für die", ("lampe",)),
    ],
)  # fmt: skip
def test_words_that_no_item_has_are_told(text: str, missing: tuple[str, ...], bundle: Bundle) -> None:
    answer = bundle.search(text)
    assert answer.missing == missing
    if "alder" in text.casefold():  # without its fields nothing knows the brand
        assert bundle.search(text, facets="off").missing == ("alder",)


def test_a_slip_is_corrected_where_it_stands_and_nowhere_else(bundle: Bundle) -> None:
    query = bundle._searching.read("Lapm lapmx 云岚lapm")  # type: ignore[union-attr]
    assert query.text == "lamp lapmx 云岚lamp"


def test_a_text_of_another_language_is_not_corrected(bundle: Bundle) -> None:
    slips = ["lapm", "gardne", "chiar", "foldng", "tabel", "brss"]
    assert len(bundle.search(" ".join(slips[:5])).corrections) == 5
    assert bundle.search(" ".join(slips)).corrections == ()


# Fields ------------------------------------------------------------------------------------------


def facets(bundle: Bundle, text: str) -> list[tuple[Any, ...]]:
    return [tuple(facet)[:4] for facet in bundle.search(text).facets]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alder chair", [("brand", "Alder", None, None), ("category", "Furniture > Chairs", None, None)]),
        ("birch and sons", [("brand", "Birch & Sons", None, None)]),
        ("Birch & Sons lamps", [("brand", "Birch & Sons", None, None), LAMPS]),
        ("red lamp", [LAMPS, ("colour", "red", None, None)]),
        ("lighting", [("category", "Lighting", None, None)]),
        ("lamp under 20", [LAMPS, ("price", None, None, 20.0)]),
        ("yunlan", [("brand", "云岚（YUNLAN）", None, None)]),
        ("云岚电饭煲", [COOKERS, ("brand", "云岚（YUNLAN）", None, None)]),
        ("200元以下的电饭煲", [COOKERS, ("price", None, None, 200.0)]),
        ("aldre lamp", [("brand", "Alder", None, None), LAMPS]),
        ("nothing of that", []),
    ],
)  # fmt: skip
def test_what_a_query_says_of_fields_is_told(text: str, said: list[Any], bundle: Bundle) -> None:
    assert sorted(facets(bundle, text)) == sorted(said)
    assert bundle.search(text, facets="off").facets == ()


def test_what_is_named_is_raised_and_with_filter_alone_is_left(bundle: Bundle) -> None:
    first = bundle.search("lamp alder")
    assert first[0].id == "i2"
    assert {hit.id for hit in first} == {"i2", "i3", "i4", "i0"} - {"i0"}
    assert [hit.id for hit in bundle.search("lamp alder", facets="filter")] == ["i2"]
    assert [hit.id for hit in bundle.search("red lamp", facets="filter")] == ["i2"]
    # Without fields the words alone order, by id where they are equal.
    assert bundle.search("lamp birch & sons", facets="off")[0].id == "i2"
    assert bundle.search("lamp birch & sons")[0].id == "i3"


def test_a_price_raises_what_costs_so_much_and_filters_where_that_is_wanted(bundle: Bundle) -> None:
    assert bundle.search("lamp")[0].id == "i2"
    dear = bundle.search("lamp at least 50 €")
    assert dear[0].id == "i3"
    assert {hit.id for hit in dear} == {"i2", "i3", "i4"}
    assert [hit.id for hit in bundle.search("lamp at least 50 €", facets="filter")] == ["i3"]
    assert [hit.id for hit in bundle.search("lamp between 20 and 30", facets="filter")] == ["i4"]
    # Where no item is all that, it orders, and that is said.
    none = bundle.search("lamp under 5", facets="filter")
    assert {hit.id for hit in none} == {"i2", "i3", "i4"}
    assert none.notes == ("no item is all that the text says; it orders them only",)
    assert bundle.search("lamp under 20", facets="filter").notes == ()


def test_a_price_counts_also_for_what_words_find_beyond_the_depth() -> None:
    rows = (
        [("lamp", "b", "c", "d", 100.0)] * 150
        + [("lamp", "b", "c", "d", 5.0)]
        + [("pot", "b", "c", "d", 5.0)]
    )
    answer = shop(rows).search("lamp under 10", 3)
    assert answer[0].id == "i150"
    # What has no word of the query is not found by its price.
    assert all(hit.title == "lamp" for hit in shop(rows).search("lamp under 10", 200))


def test_filters_and_what_the_text_says_hold_together(bundle: Bundle) -> None:
    where = {"price": (None, 20.0)}
    assert {hit.id for hit in bundle.search("lamp", where=where)} == {"i2"}
    assert {hit.id for hit in bundle.search("alder", where=where)} == {"i2"}
    assert bundle.search("alder", where={"brand": "Cedar Works"}).basis == "nothing"
    assert [h.id for h in bundle.search("lamp", where=where, facets="filter")] == ["i2"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Alder", {"i0", "i2"}), ("cedar", {"i4", "i5"}), ("sons", {"i1", "i3"}), ("chairs zzzz", None),
        ("lighting", {"i2", "i3", "i4"}), ("kitchn", {"i5"}), ("furniture xyzzy", {"i0", "i1"}),
        ("under 15", {"i1", "i5"}), ("厨房用品", {"i6", "i7"}), ("works of art", {"i4", "i5"}),
    ],
)  # fmt: skip
def test_a_query_that_shares_a_brand_or_a_category_finds_something(
    text: str, found: set[str] | None, bundle: Bundle
) -> None:
    answer = bundle.search(text)
    assert answer
    if found is not None:
        assert answer.basis == "fields"
        assert {hit.id for hit in answer} == found
        assert answer.facets


def test_every_word_of_a_brand_or_a_category_finds_something() -> None:
    made = random_bundle(60, dim=4)
    titles = pa.array(["thing"] * 60)
    table = made.items.table.set_column(1, "title", titles)
    items = Items(table)
    index = search_index({"title": ["thing"] * 60}, np.zeros((60, 0), np.float32))
    bundle = Bundle(made.config, items, history=made.history, search=index)
    for text in {*(b for b in items.shown[1]), *(level for c in items.shown[2] for level in c.split(" > "))}:
        answer = bundle.search(f"{text} qqq", 60)
        assert answer.basis == "fields"
        assert all(text in (hit.brand, *hit.category.split(" > ")) for hit in answer)
        # Of equals the most bought come first.
        assert made.history is not None
        bought = made.history.scorer.popularity[0][bundle.index([hit.id for hit in answer])[0]]
        assert (np.diff(bought) <= 0).all()
    assert bundle.search("qqq").basis == "nothing"


def test_running_text_and_what_is_said_once_are_no_fields() -> None:
    rows = [(f"lamp {n}", "b", "c", f"a fine lamp of its own kind {n}", 1.0) for n in range(6)]
    assert shop(rows).search("fine lamp").facets == ()
    once = [(f"lamp {n}", "b", "c", f"model{n}", 1.0) for n in range(6)]
    assert shop(once).search("lamp model3").facets == ()


def test_of_a_field_that_lists_values_each_is_named_and_filtered_by() -> None:
    said = [f"{size}, {colour}" for size in ("S", "M", "L") for colour in ("Dark red", "Blue")] + ["Blue"]
    made = shop([("shirt", "Alder", "Tops", text, 9.0) for text in said])
    answer = made.search("dark red shirt", facets="filter")
    assert [facet[:2] for facet in answer.facets] == [("colour", "Dark red")]
    assert {hit.id for hit in answer} == {"i0", "i2", "i4"}
    assert [made.items.mask({"colour": v}).sum() for v in ("dark RED", "blue", "S", "s, blue", "red")] == [
        3, 4, 2, 1, 0,
    ]  # fmt: skip
    # A title that holds a comma is one.
    titled = shop([(f"shirt {n}, red", "Alder", "Tops", "red", 9.0) for n in range(4)])
    assert titled.items.mask({"title": "red"}).sum() == 0


def test_of_names_in_each_other_the_longer_is_told() -> None:
    rows = [("lamp", name, "c", "d", 1.0) for name in ("Cedar", "Cedar Works", "Works")]
    assert [facet.value for facet in shop(rows).search("cedar works lamp").facets] == ["Cedar Works"]
    assert [facet.value for facet in shop(rows).search("works cedar lamp").facets] == ["Works", "Cedar"]


def test_a_long_text_is_read_for_names_as_far_as_fifty_words(bundle: Bundle) -> None:
    assert facets(bundle, "x " * 49 + "alder") == [("brand", "Alder", None, None)]
    assert facets(bundle, "x " * 50 + "alder lamp") == []


def test_a_text_that_is_not_read_to_its_end_is_told(bundle: Bundle, known: Bundle) -> None:
    whole, cut = bundle.search_many(["lamp " * 400, "lamp " * 400 + "x"], facets="filter")
    assert whole.notes == ()
    told = "the text is 2,001 characters long, and no more than 2,000 are read"
    assert cut.notes == (told,)
    assert [hit.id for hit in cut] == [hit.id for hit in whole] != []
    assert bundle.search("lamp " * 400 + "x").notes == (told,)
    assert known.search("lamp " * 400 + "x", history=["i1"]).notes == (told,)


def test_what_is_said_twice_is_told_once(bundle: Bundle) -> None:
    assert facets(bundle, "alder lamp alder lamp") == facets(bundle, "alder lamp")


def test_several_names_of_one_field_are_alternatives(bundle: Bundle) -> None:
    found = bundle.search("red white lamp", facets="filter")
    assert {hit.id for hit in found} == {"i2", "i3"}
    assert found.notes == ()


def test_a_use_of_facets_that_there_is_not_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"facets is 'on'.*\n.*boost, filter, off"):
        bundle.search("lamp", facets="on")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("lamp under 20", None, 20), ("lamp UNDER €20 brass", None, 20), ("bis 20 €", None, 20),
        ("lampe unter 19,99 Euro", None, 19.99), ("20元以下", None, 20), ("低于１００元的保温杯", None, 100),
        ("between 10 and 20", 10, 20), ("zwischen 10 und 20 €", 10, 20), ("20-30元的茶", 20, 30),
        ("茶 100元以上", 100, None), ("lamp <= $20", None, 20), ("over 1,000 usd", 1000, None),
        ("$30 to $20", 20, 30), ("more than 5", 5, None),
        ("Krimi unter 1.500 €", None, 1500), ("bis 1.000 Euro", None, 1000), ("ab 1.000 €", 1000, None),
        ("zwischen 1.000 und 2.000 €", 1000, 2000), ("über 1.000 EUR", 1000, None),
        ("unter 1.500", None, 1500),
        ("von 1.000 bis 2.500 €", 1000, 2500), ("1.000-2.000 €", 1000, 2000), ("under €1.500", None, 1500),
        ("1.500€以下", None, 1500), ("mindestens 1.000,50 €", 1000.5, None), ("bis 12.500 €", None, 12500),
        ("unter 1.50 €", None, 1.5), ("unter 0.500 €", None, 0.5), ("unter 1,5 €", None, 1.5),
        ("under 1,500", None, 1500), ("under $1.500", None, 1.5), ("over £1.250", 1.25, None),
        ("ab 1.250 kg", 0, 0), ("unter 1.250 kg", 0, 0), ("1.500元以下", None, 1.5),
        ("under 5 minutes", 0, 0), ("under 20 kg", 0, 0), ("500克以下", 0, 0), ("bis 20", 0, 0),
        ("iphone 11", 0, 0),
        ("over 40 headphones", 0, 0), ("up to 2 m cable", 0, 0), ("10-15", 0, 0), ("thunder 20", 0, 0),
        ("100元以上200元以下", 100, 200), ("大于100小于200", 100, 200), ("小于200元，大于100元", 100, 200),
        ("200元以下、不低于100元的茶", 100, 200), ("100以上但不超过200元", 100, 200),
        (">=100 <=200", 100, 200),
        ("价格大于100并且价格小于200", 100, 200), ("at least 10 and under 20", 10, 20),
        ("3岁以上200元以下", None, 200), ("大于100克小于200元", None, 200), ("大于100小于200克", 0, 0),
        ("18岁以上60岁以下", 0, 0),
        ("1千元以内", None, 1000), ("1万元以下", None, 10000), ("1.5 万元以下", None, 15000),
        ("5百块以上", 500, None), ("1万5千元以下", None, 15000), ("低于1万", None, 10000),
        ("1-2千元", 1000, 2000), ("500-1千元", 500, 1000), ("1千到1万元", 1000, 10000),
        ("1万-2万元", 10000, 20000),
        ("1千克以下", 0, 0), ("低于2千克", 0, 0), ("1万转以下", 0, 0), ("5千瓦", 0, 0), ("3万亿元以下", 0, 0),
        ("一百元以下", None, 100), ("两百到三百元", 200, 300), ("十元以内的茶", None, 10),
        ("茶二十块钱以上", 20, None), ("百元以下耳机", None, 100), ("千円以下", None, 1000),
        ("几百元以下", 0, 0),
        ("三万亿元以下", None, 3e12), ("一百二十三万四千五百六十七元以下", None, 1_234_567), ("百以下", 0, 0),
        ("三千五百元以下", None, 3500), ("一百零五元以下", None, 105), ("一百五以内", None, 150),
        ("十五到二十元", 15, 20),
        ("一百二十万元以下", None, 1_200_000), ("一万五千元以下", None, 15000),
        ("三到五百元", 300, 500), ("一万五元以下", None, 15000),
        ("低于一百", None, 100), ("五元以下", None, 5), ("大于一百小于两百元", 100, 200),
        ("一千零五十元以上", 1050, None),
        ("1亿元以下", None, 100_000_000), ("一亿二千万元以上", 120_000_000, None),
        ("1亿2000万元以下", None, 120_000_000),
        ("一点五万元以下", 0, 0), ("1点5万元以下", 0, 0), ("三点五元以下", 0, 0),
        ("便宜一点100元以下", None, 100),
        ("两三百元以下", 0, 0), ("三五百元以下", 0, 0), ("二三十元以内", 0, 0), ("最多二三十元", 0, 0),
        ("五六百到一千元", 0, 0), ("一百到两三百元", 0, 0), ("十五六元以下", 0, 0),
        ("一百二三十元以内", 0, 0),
        ("两三百元以上五百元以下", None, 500),
        ("上千元以上", 0, 0), ("近百元以下", 0, 0), ("约百元以下", 0, 0), ("约100元以下", 0, 0),
        ("近两百元以下", 0, 0),
        ("网上100元以下", None, 100), ("百元以上千元以下", 100, 1000),
        ("一起喝茶", 0, 0), ("一以上", 0, 0), ("三十五克以下", 0, 0), ("三只松鼠", 0, 0), ("五斤以下", 0, 0),
        ("100元内", None, 100), ("100元内的茶", None, 100), ("茶100块钱内", None, 100),
        ("100元内保温杯", None, 100),
        ("100米内", 0, 0), ("100内", 0, 0), ("100元内衣", 0, 0), ("8g内存", 0, 0),
        ("100—200元", 100, 200), ("100〜200元", 100, 200), ("100～200元", 100, 200), ("100——200元", 100, 200),
        ("100−200元", 100, 200), ("100元―200元", 100, 200), ("100—200", 0, 0), ("100—200克", 0, 0),
        ("至少100元", 100, None), ("最少100元的茶", 100, None), ("不少于100元", 100, None),
        ("不低于100元", 100, None), ("不小于100元", 100, None), ("多于100元", 100, None),
        ("至多100元", None, 100), ("最多100元", None, 100), ("不高于100元", None, 100),
        ("不大于100元", None, 100), ("不多于100元", None, 100), ("不超过100元", None, 100),
        ("至少100克", 0, 0), ("no less than 5", 5, None), ("no more than 5", None, 5),
        ("华为mate60", 0, 0), ("100元", 0, 0), ("iphone 15 1万毫安", 0, 0),
    ],
)  # fmt: skip
def test_prices_of_several_languages(text: str, least: float | None, most: float | None) -> None:
    found = priced(fold(text))
    if least == most == 0:
        assert found is None
    else:
        assert found is not None
        assert (found.least, found.most) == (least, most)


def assert_priced(text: str, least: float | None, most: float | None, rest: str) -> None:
    """A text's price, and what it leaves of it; 0 to 0 where it says none."""
    folded = fold(text)
    found = priced(folded)
    if least == most == 0:
        assert found is None
    else:
        assert found is not None
        assert (found.least, found.most) == (least, most)
        assert " ".join((folded[: found.start] + folded[found.end :]).split()) == rest


@pytest.mark.parametrize(
    ("text", "least", "most", "rest"),
    [
        ("robe sous 50 €", None, 50, "robe"), ("robe moins de 50 €", None, 50, "robe"),
        ("robe à moins de 50 € rouge", None, 50, "robe rouge"), ("robe jusqu'à 50 €", None, 50, "robe"),
        ("robe jusqu’à 50 €", None, 50, "robe"), ("robe entre 20 et 50 €", 20, 50, "robe"),
        ("robe 50 euros max", None, 50, "robe"), ("robe 50 euros maximum", None, 50, "robe"),
        ("robe maximum 50 euros", None, 50, "robe"), ("robe à partir de 20 €", 20, None, "robe"),
        ("robe plus de 20 €", 20, None, "robe"), ("robe 20 € et plus", 20, None, "robe"),
        ("robe 20 € au plus", None, 20, "robe"), ("robe au moins 20 €", 20, None, "robe"),
        ("robe pas plus de 20 €", None, 20, "robe"), ("robe de 20 à 50 €", 20, 50, "robe"),
        ("robe plus de 20 € et moins de 50 €", 20, 50, "robe"), ("robe moins de 50", None, 50, "robe"),
        ("vestido menos de 50 €", None, 50, "vestido"), ("vestido por menos de 50 €", None, 50, "vestido"),
        ("vestido hasta 50 €", None, 50, "vestido"), ("vestido entre 20 y 50 €", 20, 50, "vestido"),
        ("vestido desde 20 €", 20, None, "vestido"), ("vestido más de 20 €", 20, None, "vestido"),
        ("vestido no más de 20 €", None, 20, "vestido"), ("vestido desde 20 hasta 50 €", 20, 50, "vestido"),
        ("vestido 50 euros como máximo", None, 50, "vestido"), ("vestido 20 € o más", 20, None, "vestido"),
        ("sofá menos de 1.500 €", None, 1500, "sofa"), ("dessous 50 €", 0, 0, ""),
        ("sous-vêtement 50", 0, 0, ""), ("plus de 20 cm", 0, 0, ""), ("taille de 36 à 40", 0, 0, ""),
        ("desde 20 cm", 0, 0, ""), ("lot de 3 robes 50 €", 0, 0, ""), ("50 € maxime", 0, 0, ""),
    ],
)  # fmt: skip
def test_prices_in_french_and_spanish(text: str, least: float | None, most: float | None, rest: str) -> None:
    assert_priced(text, least, most, rest)


@pytest.mark.parametrize(
    ("text", "least", "most", "rest"),
    [
        ("thriller onder 10 euro", None, 10, "thriller"), ("strips tot € 8", None, 8, "strips"),
        ("vinyl tussen 20 en 30", 20, 30, "vinyl"), ("vinyl tussen 20 en 30 euro", 20, 30, "vinyl"),
        ("vinyl van 20 tot 30 euro", 20, 30, "vinyl"), ("vinyl minder dan 10", None, 10, "vinyl"),
        ("spel vanaf € 10", 10, None, "spel"), ("spel boven 10 euro", 10, None, "spel"),
        ("spel 10 euro of minder", None, 10, "spel"), ("spel meer dan 10 maar minder dan 20", 10, 20, "spel"),
        ("onder 1.500 euro", None, 1500, ""), ("tot en met 20 euro", None, 20, ""),
        ("onder 12 jaar spel", 0, 0, ""), ("onderzoek 10", 0, 0, ""), ("tot 20", 0, 0, ""),
        ("gra poniżej 50 zł", None, 50, "gra"), ("gra do 50 zł", None, 50, "gra"),
        ("gra między 20 a 50", 20, 50, "gra"), ("gra od 20 do 50 zł", 20, 50, "gra"),
        ("gra od 20 zł", 20, None, "gra"), ("gra powyżej 100 PLN", 100, None, "gra"),
        ("gra mniej niż 30", None, 30, "gra"), ("gra co najmniej 30", 30, None, "gra"),
        ("gra nie więcej niż 30 zł", None, 30, "gra"), ("gra 50 zł lub mniej", None, 50, "gra"),
        ("gra do 1.500 zł", None, 1500, "gra"), ("gra do 4 graczy", 0, 0, ""), ("gra od 8 lat", 0, 0, ""),
        ("1000円未満の本", None, 1000, "本"), ("本 1000円まで", None, 1000, "本"),
        ("本 1000円から", 1000, None, "本"),
        ("1000円から2000円までの本", 1000, 2000, "本"), ("1000円〜2000円 本", 1000, 2000, "本"),
        ("1000円より安い本", None, 1000, "本"), ("3巻から10巻まで", 0, 0, ""),
        ("3歳未満の本 1000円以下", None, 1000, "3歳未満の本"),
        ("krimi 10 euro oder weniger", None, 10, "krimi"), ("krimi zwischen 5 und 10", 5, 10, "krimi"),
    ],
)  # fmt: skip
def test_prices_in_dutch_polish_and_japanese(
    text: str, least: float | None, most: float | None, rest: str
) -> None:
    assert_priced(text, least, most, rest)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("manteau rouge", "Manteaux"), ("manteaux", "Manteaux"), ("bocaux", "Bocal"), ("bocal", "Bocal"),
        ("pantalon", "Pantalones"), ("pantalones", "Pantalones"), ("collares", "Collar"), ("cape", None),
        ("capes", None), ("canes", None), ("marine", None),
    ],
)  # fmt: skip
def test_plurals_of_french_and_spanish_name_what_their_singulars_name(text: str, named: str | None) -> None:
    named_so = ("Manteaux", "Bocal", "Pantalones", "Collar", "Cap", "Can", "Marin")
    rows = [(f"thing {text} x", "Alder", category, "rouge", 9.0) for category in named_so]
    found = [facet.value for facet in shop(rows).search(text).facets if facet.field == "category"]
    assert found == ([] if named is None else [named])


@pytest.mark.parametrize("text", ["robe moins chère", "robe sans manche", "vestido para niña", "algo menos"])
def test_small_words_of_french_and_spanish_are_not_taken_for_slips(text: str) -> None:
    rows = [
        (title, "Alder", "Robes", "red", 9.0)
        for title in ("robe main soin", "manche robe sang", "vestido niña parka", "algo chere genos")
    ]
    assert shop(rows).search(text).corrections == ()


def test_without_a_price_in_the_catalogue_none_is_read() -> None:
    bundle = shop()
    items = Items(bundle.items.table.drop_columns(["price"]))
    without = Bundle(bundle.config, items, search=bundle.search_index)
    assert without.search("lamp under 20").facets == (
        Facet("category", "Lighting > Lamps", None, None, "lamp"),
    )


def test_new_items_bring_their_words_and_names(known: Bundle) -> None:
    bundle = Bundle(
        known.config, known.items, history=known.history, text=known.text, search=known.search_index
    )
    assert bundle.search("zanzibarr", facets="off").corrections == ()
    bundle.add_items([{"title": "zanzibar lamp", "brand": "Nimbus", "price": 3.0}], ids=["new"])
    answer = bundle.search("zanzibarr nimbus")
    assert answer[0].id == "new"
    assert [tuple(c) for c in answer.corrections] == [("zanzibarr", "zanzibar")]
    assert [facet.value for facet in answer.facets] == ["Nimbus"]


@given(st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    answer = shop().search(text)
    assert len(answer) <= len(SHOP)


# Histories ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> Bundle:
    return random_bundle(300, dim=6, text=True, neighbours=5)


def test_a_history_orders_what_was_found_by_its_share(known: Bundle) -> None:
    history = known.keys[3:8]
    plain = known.search("tea red", 100)
    assert known.search("tea red", 100, history=[]) == plain
    assert known.search("tea red", 100, history=history, share=0).hits == plain.hits
    whole = known.search("tea red", 100, history=history, share=1)
    assert {h.id for h in whole} == {h.id for h in plain}
    places = known.index([hit.id for hit in whole])[0]
    assert known.history is not None
    scorer = known.history.scorer
    scores = scorer.scores(known.index(history)[0], scorer.pool(np.arange(300)))[places]
    assert (np.diff(scores) <= 0).all()
    assert [h.rank for h in whole] == list(range(1, len(whole) + 1))
    # A small share moves less than a large one.
    order = {hit.id: hit.rank for hit in plain}
    moved = [
        sum(abs(order[h.id] - h.rank) for h in known.search("tea red", 100, history=history, share=share))
        for share in (0.02, 0.3, 1.0)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_what_a_history_suggests_reaches_the_first_places_from_below(known: Bundle) -> None:
    history = known.keys[3:8]
    first = known.search("tea red", 3, history=history, share=1)
    assert [h.id for h in first] == [h.id for h in known.search("tea red", 100, history=history, share=1)][:3]
    assert {h.id for h in first} != {h.id for h in known.search("tea red", 3)}


def test_what_lies_behind_the_first_hundred_keeps_its_place(known: Bundle) -> None:
    plain, again = known.search("tea", 200), known.search("tea", 200, history=known.keys[:5], share=1)
    assert len(plain) > 110
    assert [h.id for h in again][100:] == [h.id for h in plain][100:]
    assert all(a.score >= b.score for a, b in pairwise(again))


def test_another_bundle_knows_the_history(known: Bundle) -> None:
    bundle = shop()
    with pytest.raises(InputError, match=r"knows nothing of what was bought.*\n.*one beside it"):
        bundle.search("lamp", history=["i0"])
    answer = bundle.search("lamp", history=[known.keys[0], "i0"], recommender=known)
    # None of what was found is known there: the answer stays.
    assert [h.id for h in answer] == [h.id for h in bundle.search("lamp")]
    assert answer.unknown == ("i0",)
    keys = pa.array([*known.keys[:8]])
    renamed = Bundle(
        bundle.config, Items(bundle.items.table.set_column(0, "id", keys)), search=bundle.search_index
    )
    mine = renamed.search("lamp", history=known.keys[20:25], recommender=known, share=1)
    scores = known.scores(known.index(known.keys[20:25])[0], pool="all")
    wanted = sorted((2, 3, 4), key=lambda i: -scores[i])
    assert [h.id for h in mine] == [known.keys[i] for i in wanted]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float, known: Bundle) -> None:
    with pytest.raises(InputError, match="it is from 0 to 1"):
        personal(known.search("tea"), known.keys[:2], known, share)
