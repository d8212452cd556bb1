"""What people are told of a recommendation, in the language of what is recommended."""

from __future__ import annotations

import string

import numpy as np
import pytest
from _bundle import arrays, history_of, random_bundle, remade

from kgdistill import wording
from kgdistill.errors import InputError
from kgdistill.serve.reasons import reasons
from kgdistill.wording import event_name, field_name, language_of, say, spoken


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("山岚红色修身连衣裙 M码", "zh"),
        ("苏泊尔 SUPOR 电饭煲 4L", "zh"),
        ("iPhone 手机壳", "zh"),
        ("赤いワンピース", "en"),
        ("爱马仕・丝巾", "zh"),
        ("𠮷野", "zh"),
        ("RED RETROSPOT LUNCH BAG", "en"),
        ("12345", "en"),
        ("", "en"),
    ],
)
def test_a_name_says_in_which_language_people_are_told(name: str, language: str) -> None:
    assert language_of(name) == language


def test_every_message_says_the_same_in_both_languages() -> None:
    def named(message: str) -> set[str]:
        # English counts the others, Chinese all; and it alone has a plural.
        fields = {field for _, field, _, _ in string.Formatter().parse(message) if field} - {"s"}
        return {"count" if field == "all" else field for field in fields}

    for message, texts in wording._SAID.items():
        assert set(texts) == {"en", "zh"}, message
        assert named(texts["en"]) == named(texts["zh"]), message
        assert texts["en"].isascii()
        words = "".join(words for words, _, _, _ in string.Formatter().parse(texts["zh"]))
        assert not words or any(not char.isascii() for char in words)


def test_messages_name_what_they_are_about() -> None:
    more = say("and more", "zh", count=2, all=3)
    assert say("brand", "zh", event="买过", item="连衣裙", more=more, name="山岚") == (
        "买过连衣裙等3件，与这件同是山岚的"
    )
    assert [event_name(event, "zh") for event in ("VIEWED", "PUT_ASIDE")] == ["看过", "put aside"]
    told = say("together", "en", event="bought", item="tea", support=7, lift=1.25)
    assert told == "7 who bought tea also bought this, 1.2 times as many as by chance"
    assert [field_name(name, "zh") for name in ("brand", "made_by", "Size_x")] == [
        "品牌",
        "made by",
        "Size x",
    ]
    assert field_name("made_by", "en") == "made by"


def test_another_language_is_refused() -> None:
    assert spoken("zh", "--language") == "zh"
    with pytest.raises(InputError, match=r"'de' is not one of: en, zh"):
        spoken("de", "--language")


def test_a_students_reasons_are_in_the_language_of_each_item() -> None:
    bundle = random_bundle(60, dim=4)
    arrays(bundle)["vectors"][:] = 0
    arrays(bundle)["vectors"][[3, 7, 8], 0] = 40
    names = [f"lamp {n}" for n in range(60)]
    names[7] = "红色连衣裙"
    made = remade(bundle, titles=names)
    scorer = history_of(made).scorer
    told = reasons(scorer, np.array([3]), np.array([7, 8]), scorer.pool(np.arange(60)), made.items)
    assert told == ["与lamp 3相近", "like lamp 3"]
