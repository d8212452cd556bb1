"""Amounts and model numbers are the same words however they are written, and what is unclear stays."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.tasks.lexical import lexical_index
from kgdistill.tasks.quantities import amounts
from kgdistill.tasks.words import terms, tokens, words
from kgdistill.words import plain

# One amount each, in the units that tell it and how many of the first are one of each.
UNITS = [
    {"mg": "0.001", "g": "1", "kg": "1000", "克": "1", "公斤": "1000", "斤": "500", "grams": "1"},
    {"ml": "1", "cl": "10", "dl": "100", "L": "1000", "litres": "1000", "毫升": "1", "升": "1000"},
    {"mm": "1", "cm": "10", "m": "1000", "厘米": "10", "米": "1000"},
    {"oz": "1", "lb": "16"},
    {"inch": "1", "ft": "12", '"': "1", "寸": "1"},
]


def written(value: Decimal, unit: str, gap: str, comma: bool) -> str:
    text = f"{value.normalize():f}"
    return f"{text.replace('.', ',') if comma else text}{gap}{unit}"


@given(
    st.sampled_from(UNITS), st.integers(1, 99_999), st.sampled_from(["", " ", "\u00a0"]),
    st.sampled_from(["{}", "tea {} tin", "绿茶{}装", "({})", "- {}, x"]), st.data(),
)  # fmt: skip
def test_an_amount_is_one_word_in_all_its_units(
    units: dict[str, str], thousandths: int, gap: str, around: str, data: st.DataObject
) -> None:
    amount, ways = Decimal(thousandths) / 100, []
    for unit, factor in units.items():
        value = amount / Decimal(factor)
        text = f"{value.normalize():f}"
        # Three digits behind a comma are thousands to one reader and thousandths to another.
        comma = "." in text and len(text.split(".")[1]) != 3 and data.draw(st.booleans())
        if len(text.partition(".")[2]) <= 9 and "E" not in text:
            ways.append(around.format(written(value, unit, gap if unit != '"' else "", comma)))
    found = [words(way) for way in ways]
    assert all(one == found[0] for one in found), list(zip(ways, found, strict=True))
    index = lexical_index({"title": ["a lamp", ways[0], "tea 9999991g"]})
    for way in ways:
        assert index.scores([way])[0].argmax() == 1
        assert index.coverage([way])[0, 1] == pytest.approx(1)


@given(
    st.from_regex(r"[a-z]{1,4}", fullmatch=True),
    st.integers(1, 9999),
    st.from_regex("[a-z]{1,3}[0-9]?", fullmatch=True),
)
def test_a_model_number_is_found_with_or_without_its_hyphens_and_blanks(a: str, n: int, b: str) -> None:
    ways = [f"{a}-{n}{b}", f"{a}{n}{b}", f"{a} {n}{b}", f"{a}-{n}-{b}", f"{a} {n} {b}", f"{a}_{n}{b}".upper()]
    index_of = [
        lexical_index({"title": ["plain thing", f"sonia {way} black", "other zz 10000"]}) for way in ways
    ]
    for index in index_of:
        for way in ways:
            assert index.scores([way])[0].argmax() == 1, way
            assert index.coverage([way])[0, 1] > 0.99, way


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("WH-1000XM4", ["wh1000xm4"]), ("tn_2110 toner", ["tn2110"]), ("24-hour", ["24hour"]),
        ("500 g", ["500g"]), ("０.５ＫＧ", ["500g"]), ("1,500 g", ["1500g"]), ("0,500 l", ["500ml"]),
        ("1.234,5 kg", ["1234500g"]), ("1,234.5 g", ["1234.5g"]), ("15.6-inch", ["15.6inch"]),
        ('17"', ["17inch"]), ("16 fl oz", ["16floz"]), ("约500克装", ["500g"]), ("1.8米床", ["1800mm"]),
        ("6er", ["6pack"]), ("6er-Pack Tee", ["6pack"]), ("pack of 6", ["6pack"]), ("6-pack", ["6pack"]),
        ("6 Stück", ["6pack"]), ("6件装", ["6pack"]), ("10片入", ["10pack"]), ("6 pcs", ["6pack"]),
        ("6 x 330ml", ["6pack", "330ml"]), ("330 ml x 6", ["6pack", "330ml"]), ("32 GB", ["32gb"]),
        ("65W 65瓦", ["65w", "65w"]),
        # In two ways to read, or nothing of the kind.
        ("6x", []), ("10 x 15", []), ("1920x1080", []), ("½ l", []), ("2 500 g", []), ("v1.2.3 l", []),
        ("5 in 1", []), ("power-bank", []), ("10-15", []), ("1.2.3 kg", []), ("12345678901 g", []), ("g", []),
    ],
)  # fmt: skip
def test_amounts_of_many_kinds(text: str, found: list[str]) -> None:
    assert [word for amount in amounts(plain(text.replace('"', " inch"))) for word in amount.words] == found


def test_a_pack_of_what_is_measured_is_told_apart_from_measures() -> None:
    assert words("6 x 330 ml cola") == ["6pack", "330ml", "cola"]
    assert words("10 x 15 cm frame") == ["10", "x", "150mm", "frame"]
    assert words("330ml x 15 cm") == ["330ml", "x", "150mm"]
    assert words("3 cm x 6") == ["3", "cm", "x", "6"]


def test_gigabytes_are_not_counted_over() -> None:
    assert words("1 TB") == ["1tb"]
    assert words("1024 MB") == ["1024mb"]


def test_what_an_amount_was_written_with_is_found_too() -> None:
    assert set(terms("cola 1.5l")) == {"cola", "1500ml", "1.5", "l"}
    assert set(terms("WH-1000XM4")) == {"wh1000xm4", "wh", "1000xm4", "1000", "xm", "4"}
    index = lexical_index({"title": ["cola 1.5l", "cola 1.25l"]})
    assert index.coverage(["cola 1.5"])[0, 0] == pytest.approx(1)
    assert index.coverage(["cola 1.5"])[0, 1] < 0.5
    # Who asks for half a litre asks for nothing else that is measured in litres.
    assert index.scores(["1.25 l"])[0, 0] == 0
    assert index.scores(["1250ml"])[0].tolist() == index.scores(["1,25 L"])[0].tolist()


def test_a_model_number_that_no_title_has_is_looked_for_by_its_parts() -> None:
    index = lexical_index({"title": ["iphone 13 case", "iphone 12 case"]})
    assert index.coverage(["iphone13"])[0].tolist() == [1, pytest.approx(0.21, abs=0.2)]
    whole = lexical_index({"title": ["sony WH-1000XM4", "sony wh 2000", "1000 things"]})
    assert whole.coverage(["wh 1000 xm4"])[0, 0] == pytest.approx(1)
    assert whole.coverage(["wh 1000 xm4"])[0, 1] < 0.5
    # A part that stands alone elsewhere is held by the whole too.
    other = lexical_index({"title": ["sony WH1000XM4", "stand for wh1000", "case"]})
    assert other.coverage(["wh1000 xm4"])[0, 0] == pytest.approx(1)


def test_what_was_typed_stays_beside_the_word() -> None:
    assert [(t.word, t.typed) for t in tokens("Lamps 0.5 KG")] == [("lamp", "lamps"), ("500g", "0.5 kg")]
