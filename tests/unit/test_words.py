"""Words are found in whatever script, form and case a title or a question is written."""

from __future__ import annotations

import hashlib
import json
import unicodedata

import pytest
from _bundle import random_bundle, remade
from hypothesis import example, given
from hypothesis import strategies as st

from kgdistill.tasks.lexical import lexical_index
from kgdistill.tasks.words import RULE, terms
from kgdistill.words import plain, stem, words

_SCRIPTS = (
    "aZéßŒ ñİıΑΆςЙё½²™ﬁ①٣४๓-_.,'+\u200d\u200b\u00ad\ufe0f\u0301\u0323"
    "हिन्दीचायالعربيّةעִברִית手机壳绿茶緑々おちゃカップーｶﾞถ้วยชาน้ำลาวເຂົ້າខ្មែរမြန်မာ커피잔가"
)
_UNBROKEN = ["绿茶杯子", "緑茶カップセット", "ถ้วยชาลายดอกไม้", "ຈອກຊາ", "ពែងតែ", "လက်ဖက်ရည်ခွက်", "커피잔세트"]
TEXTS = st.text(st.one_of(st.sampled_from(_SCRIPTS), st.characters(exclude_categories=("Cs",))), max_size=30)


@given(TEXTS)
@example("ᾳͅ")
@example("ΰ")
def test_the_form_and_the_case_of_letters_do_not_matter(text: str) -> None:
    found = words(text)
    for form in ("NFC", "NFD"):
        assert words(unicodedata.normalize(form, text)) == found
    assert words(text.casefold()) == found
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize("text", ["ＳＵＰＯＲ　５Ｌ", "supor 5l", "Ｓupor ⑤ℓ"])
def test_full_width_letters_and_digits_are_the_usual_ones(text: str) -> None:
    assert words(text) == words("SUPOR 5L")


@given(TEXTS)
def test_every_letter_and_digit_belongs_to_a_word(text: str) -> None:
    for found in (words(text), words(text, singles=True)):
        assert all(found)
        held = set("".join(found))
        assert {c for c in plain(text) if c.isalnum()} <= held
        assert not any(c.isspace() for c in held)


@given(TEXTS, st.data())
def test_a_part_of_a_title_without_blanks_finds_it(filler: str, data: st.DataObject) -> None:
    title = data.draw(
        st.sampled_from(
            ["绿茶杯子", "緑茶カップセット", "ถ้วยชาลายดอกไม้", "ຈອກຊາ", "ពែងតែ", "လက်ဖက်ရည်ခွက်", "커피잔세트"]
        )
    )
    shown = plain(title)
    start = data.draw(st.integers(0, len(shown) - 1))
    part = shown[start : data.draw(st.integers(start + 1, len(shown)))]
    assert lexical_index({"title": [filler, title + " x"]}).coverage([part])[0, 1] > 0
    assert set(words(part)) <= set(words(title, singles=True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("हिन्दी चाय का प्याला", ["हिन्दी", "चाय", "का", "प्याला"]),
        ("绿茶杯", ["绿茶", "茶杯"]),
        ("茶", ["茶"]),
        ("iPhone手机壳 128GB", ["iphone", "手机", "机壳", "128gb"]),
        ("お茶カップ", ["お", "茶", "カッ", "ップ"]),
        ("ｶﾞﾗｽ", ["ガラ", "ラス"]),
        ("커피", ["커피"]),
        (unicodedata.normalize("NFD", "커피"), ["커피"]),
        ("ชา", ["ชา"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("Cafe\u0301 CAFÉ cafe", ["cafe"] * 3),
        ("йогурт", ["йогурт"]),
        ("C++, L & ½ l; 5½", ["c", "l", "1", "2", "l", "5", "1", "2"]),
        ("A4-80g 17.3 v1.2.3 1.", ["a4", "80g", "17.3", "v1.2", "3", "1"]),
        ("Core™ i5 m² №5", ["core", "i5", "m2", "no5"]),
        ("٢٥ २५ ๒๕", ["25", "25", "25"]),
        ("می\u200cخواهم co\u00adop \u200bx", ["میخواهم", "coop", "x"]),
        ("🙂 !? _", []),
        ("", []),
    ],
)  # fmt: skip
def test_words_of_many_scripts(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_script_without_blanks_is_searched_by_parts_and_makes_no_compounds() -> None:
    assert terms("绿茶杯 power bank") == ["绿茶", "茶杯", "power", "bank", "powerbank"]
    assert terms("हिन्दी चाय") == ["हिन्दी", "चाय"]
    index = lexical_index({"name": ["绿茶杯子", "红茶", "प्याला चाय", "ถ้วยชา", "Straße"]})
    for query, best in (("绿茶", 0), ("红", 1), ("चाय", 2), ("ชา", 3), ("STRASSE", 4)):
        assert index.scores([query])[0].argmax() == best
        assert index.coverage([query])[0, best] == 1


def test_a_bundle_finds_a_title_by_a_part_of_it_in_any_script() -> None:
    made = random_bundle(40, dim=4)
    titles = ["हिन्दी चाय", "ถ้วยชา", "绿茶杯子", "Cafe\u0301 au lait Straße", "C++ in 24 hours", "size L"]
    bundle = remade(made, titles=titles)
    for n, query in enumerate(["चाय", "วยชา", "绿茶", "CAFÉ STRASSE", "c++", "l"]):
        assert bundle.nearest(query)[0] == n
        assert bundle.recommend(text=query).basis == "text"
    # Between the parts of a text stands no word.
    assert bundle.recommend(text="SEP").basis == "popularity"


@pytest.mark.parametrize(
    ("plural", "cut"),
    [
        ("lamps", "lamp"), ("batteries", "battery"), ("ties", "tie"), ("brushes", "brush"),
        ("watches", "watch"), ("boxes", "box"), ("glasses", "glass"), ("cases", "case"), ("glass", "glass"),
        ("bus", "bus"), ("status", "status"), ("iris", "iris"), ("gas", "gas"), ("32gbs", "32gbs"),
        ("17.3", "17.3"), ("чаи", "чаи"), ("绿茶", "绿茶"),
    ],
)  # fmt: skip
def test_an_english_plural_meets_its_singular(plural: str, cut: str) -> None:
    assert stem(plural) == cut
    assert terms(plural)[0] == cut


# Endings in a row are where a rule that is applied twice would cut on.
@given(st.one_of(TEXTS, st.text("aeihxzcsuy", max_size=9), st.from_regex(r"[a-z]{0,4}(s|es|ies|sses){1,3}")))
@example("sses")
@example("ies")
@example("iesies")
def test_a_plural_is_cut_once_and_never_to_nothing(text: str) -> None:
    for word in words(text):
        cut = stem(word)
        assert stem(cut) == cut
        assert len(cut) >= min(len(word), 2)
        assert word.startswith(cut.removesuffix("y"))
        if not word.endswith("s") or not word.isalpha():
            assert cut == word


def test_the_rule_has_another_name_where_it_gives_other_words() -> None:
    texts = ['Power banks, 32GB & 17" cases', "Crème brûlée glasses", "绿茶杯 100ml", "चाय ชา커피 v1.2.3"]
    cut = json.dumps([terms(text, singles=True) for text in texts])
    # Whoever changes the words gives the rule a new name, and both of these a new line.
    assert {RULE: hashlib.sha256(cut.encode()).hexdigest()[:16]} == {"amounts-1": "710181e595936a99"}
