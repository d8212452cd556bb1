"""Tokens of scripts without blanks: characters, overlapping runs of them, and what is read of a text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from _tiny_encoder import tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.arrays import FloatArray
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.runs import MARK, RunTokens, frequent_runs
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.vocabulary import first_table, student_tokenizer, whole_tokenizer
from kgdistill.models.text.words import WordTokens
from kgdistill.words import PAIRED

TITLES = ["红色连衣裙", "蓝色牛仔裤", "红色牛仔裤", "蓝色连衣裙", "红色连衣裙 XL", "白色手机壳"] * 3
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RUNS = ["红色", "连衣", "衣裙", "连衣裙", "色连", "のド", "牛仔"]


class Vectors:
    """An encoder of vectors alone: each character has one of its own."""

    name, tokenizer = "vectors", None

    def encode(self, texts: list[str]) -> FloatArray:
        out = np.zeros((len(texts), 16), np.float32)
        for row, text in enumerate(texts):
            for char in text:
                out[row] += np.random.default_rng(ord(char)).standard_normal(16)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def by_hand(text: str, runs: list[str]) -> list[str]:
    """The runs of a text, in the order in which they begin, the shorter first."""
    found = []
    for i in range(len(text)):
        for size in (2, 3):
            part = text[i : i + size]
            kinds = {next((k for k, rs in PAIRED if any(a <= ord(c) <= b for a, b in rs)), "") for c in part}
            if len(part) == size and part in runs and len(kinds) == 1 and kinds != {""}:
                found.append(part)
    return found


def test_word_pieces_that_are_learned_have_one_order() -> None:
    latin = ["usb charger cable hdmi", "charger usb hub 400ml", "cable mouse hub", "wireless mouse 2.4g"]
    learned = [student_tokenizer(Vectors(), TITLES + latin * 3, 16) for _ in range(4)]
    assert [one.to_str() for one in learned] == [learned[0].to_str()] * 4
    # What stands within words is no mark of its own.
    assert learned[0].encode("##a hub").tokens == ["[UNK]", "[UNK]", "a", "hub"]


@settings(max_examples=60)
@given(st.lists(st.text(alphabet="红色连衣裙のド a1\U00020001", max_size=12), max_size=5))
def test_runs_are_those_that_one_finds_by_hand(texts: list[str]) -> None:
    tokens = RunTokens({MARK + run: i for i, run in enumerate(RUNS)} | {"红": 99})
    assert tokens
    assert [[RUNS[i] for i in ids] for ids in tokens.ids(texts)] == [by_hand(text, RUNS) for text in texts]


def test_frequent_runs_stand_in_several_texts_the_commonest_first() -> None:
    assert frequent_runs(["红色裙", "红色红色", "红色裙", "XL XL"], least=2, most=9) == [
        "红色",
        "红色裙",
        "色裙",
    ]
    assert frequent_runs(["红色裙", "红色红色", "红色裙"], least=2, most=1) == ["红色"]
    # Two scripts do not make a run, nor do two texts.
    assert frequent_runs(["红の", "红の", "红", "色"], least=1, most=9) == []


def test_two_chinese_titles_get_ids_of_their_own() -> None:
    tokenizer = student_tokenizer(Vectors(), TITLES, 16)
    dress, jeans, other = WordTokens(tokenizer).ids(["红色连衣裙", "蓝色牛仔裤", "红色牛仔裤"])
    assert not set(dress) & set(jeans) - set(WordTokens(tokenizer).ids(["色"])[0])
    assert set(dress) & set(other)
    names = [tokenizer.id_to_token(i) for i in dress]
    assert names[:5] == ["红", "色", "连", "衣", "裙"]
    assert {" 红色", " 连衣", " 连衣裙", " 衣裙"} <= set(names[5:])
    # Full-width letters are the plain ones.
    assert WordTokens(tokenizer).ids(["ＸＬ"]) == WordTokens(tokenizer).ids(["xl"])


def test_what_a_text_is_cut_to_decides_its_runs() -> None:
    split = WordTokens(student_tokenizer(Vectors(), TITLES, 16))
    names = [split.tokenizer.id_to_token(i) for i in split.ids(["红色连衣裙"], 2)[0]]
    assert names == ["红", "色", " 红色"]


def test_characters_that_an_encoder_lacks_join_its_pieces() -> None:
    encoder: Any = SimpleNamespace(
        name="tiny", tokenizer=tiny_tokenizer([*MARKS, "xl", "红"]), encode=Vectors().encode
    )
    before = encoder.tokenizer.backend_tokenizer.encode("蓝色", add_special_tokens=False).tokens
    assert before == ["[UNK]", "[UNK]"]
    tokenizer = student_tokenizer(encoder, TITLES, 16)
    assert tokenizer.encode("蓝色 xl", add_special_tokens=False).tokens == ["蓝", "色", "xl"]


def test_a_table_has_room_for_so_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = student_tokenizer(Vectors(), TITLES, 16).get_vocab_size()
    monkeypatch.setattr("kgdistill.models.text.vocabulary.TABLE_BYTES", 4 * 16 * (whole - 2))
    assert student_tokenizer(Vectors(), TITLES, 16).get_vocab_size() == whole - 2


def test_texts_with_blanks_keep_the_encoders_own_tokens() -> None:
    encoder: Any = SimpleNamespace(name="tiny", tokenizer=tiny_tokenizer([*MARKS, "oak", "##en"]))
    assert whole_tokenizer(encoder, ["oaken oak"] * 5, 16) is encoder.tokenizer.backend_tokenizer
    cut = student_tokenizer(encoder, ["oaken oak"] * 5, 16)
    assert not [word for word in cut.get_vocab() if word.startswith(MARK)]
    assert whole_tokenizer(encoder, [*TITLES, "oak"], 16).get_vocab_size() > 4


def test_a_table_starts_at_the_encoders_vectors_of_its_runs(tmp_path: Path) -> None:
    axes = np.eye(16, dtype=np.float32)
    tokenizer, table = first_table(Vectors(), TITLES, [], axes, counted=TITLES)
    assert table.shape == (tokenizer.get_vocab_size(), 16)
    run, start = tokenizer.token_to_id(" 连衣裙"), Vectors().encode(["连衣裙", "手机壳"])
    near = (table[run] / np.linalg.norm(table[run])) @ start.T
    assert near[0] > near[1] + 0.3
    import torch

    student = TokenTable(tokenizer, torch.from_numpy(table), ["title"])
    vectors = student.encode(["红色连衣裙", "蓝色连衣裙", "白色手机壳"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_the_room_that_is_left_goes_to_further_pieces_the_commonest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder: Any = SimpleNamespace(
        name="tiny", tokenizer=tiny_tokenizer([*MARKS, "[unused1]", "lamp", "oak", "!", "desk", "##en"])
    )
    texts = ["oak"] * 5
    cut = set(student_tokenizer(encoder, texts, 16).get_vocab())
    full = set(student_tokenizer(encoder, texts, 16, spare=True).get_vocab())
    assert full - cut == {"lamp", "desk", "##en"}
    monkeypatch.setattr("kgdistill.models.text.vocabulary.TABLE_BYTES", 4 * 16 * (len(cut) + 1))
    assert set(student_tokenizer(encoder, texts, 16, spare=True).get_vocab()) - cut == {"lamp"}


def test_a_text_is_encoded_once_however_often_it_is_asked_for() -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> FloatArray:
        asked.extend(texts)
        return Vectors().encode(texts)

    encoder: Any = SimpleNamespace(name="tiny", tokenizer=None, max_tokens=9, encode=encode)
    remembered = RememberedText(encoder)
    first, again = (remembered.encode(["oak", "desk", "oak"]) for _ in range(2))
    assert asked == ["oak", "desk"]
    assert np.array_equal(first, Vectors().encode(["oak", "desk", "oak"]))
    assert np.array_equal(first, again)
