"""Texts made up of a few: near words stand for others, and the teacher says of each what it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from _classes import CONFIG, WordEncoder, World, context, make_classes, spec, utterances, word_vectors, world
from _tiny_encoder import tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.arrays import FloatArray
from kgdistill.train import novelty
from kgdistill.train.made_texts import made_up, taught
from kgdistill.words import parts

CLAUSES = ["物流很快，", "质量一般。", "ที่นอนดี ", "3.5寸屏！"]
CHARACTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
PAIRS = {"sofa": "couch", "lamp": "light", "soil": "earth"}
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def encode(texts: list[str]) -> FloatArray:
    """Words of a pair have nearly one vector."""
    back = {other: word for word, other in PAIRS.items()}
    said = word_vectors([" ".join(back.get(word, word) for word in text.split()) for text in texts])
    return (said + 1e-3 * word_vectors(texts)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> Any:
    tokenizer = tiny_tokenizer([*MARKS, *PAIRS, *PAIRS.values(), "of", "##s", "[unused1]"])
    return SimpleNamespace(name="pairs", tokenizer=tokenizer, max_tokens=16, encode=encode)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(make_classes(utterances(60), tmp_path_factory.mktemp("few") / "s", spec()))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["Sofa!", "lamp", "of", "7"]), min_size=1).map(" ".join), min_size=1),
    st.integers(0, 30),
)
def test_words_are_left_out_or_stand_for_near_ones(texts: list[str], count: int) -> None:
    tokenizer = tiny_tokenizer([*MARKS, *PAIRS, *PAIRS.values()])
    asked: Any = SimpleNamespace(name="pairs", tokenizer=tokenizer, max_tokens=16, encode=encode)
    known = {*PAIRS, *PAIRS.values()}
    made = made_up(texts, asked, count, np.random.default_rng(0))
    assert len(made) <= count
    for text in made:
        assert set(text.split()) <= known | {"Sofa!", "of", "7"}
    assert made == made_up(texts, asked, count, np.random.default_rng(0))


def test_the_nearest_words_are_those_of_the_encoder(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgdistill.train.made_texts._NEAREST", 1)
    made = " ".join(made_up(["sofa lamp soil"], encoder, 400, np.random.default_rng(0))).split()
    share = {word: made.count(word) / 400 for word in {*PAIRS, *PAIRS.values()}}
    assert set(made) == {*PAIRS, *PAIRS.values()}
    for word, other in PAIRS.items():
        assert share[other] == pytest.approx(0.3, abs=0.07)
        assert share[word] == pytest.approx(0.6, abs=0.07)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(CLAUSES), min_size=1).map("".join), min_size=1), st.integers(0, 30))
def test_of_scripts_without_blanks_parts_of_other_texts_stand_in(texts: list[str], count: int) -> None:
    blind: Any = SimpleNamespace(name="blind", tokenizer=None, max_tokens=16, encode=encode)
    made = made_up(texts, blind, count, np.random.default_rng(0))
    assert len(made) <= count
    assert not {*made} & {*texts}
    assert len({*made}) == len(made)
    there = {part for text in texts for part in parts(text)}
    assert {part for text in made for part in parts(text)} <= there


def test_a_part_is_left_out_or_another_texts_by_three_in_ten_each() -> None:
    texts = ["".join(f"{CHARACTERS[at]}{CHARACTERS[i]}，" for i in range(60)) for at in range(2)]
    blind: Any = SimpleNamespace(name="blind", tokenizer=None, max_tokens=16, encode=encode)
    made = [parts(text) for text in made_up(texts, blind, 60, np.random.default_rng(0))]
    kept = [sum(part[0] == CHARACTERS[at % 2] for part in text) / 60 for at, text in enumerate(made)]
    assert np.mean([len(text) / 60 for text in made]) == pytest.approx(0.7, abs=0.02)
    assert np.mean(kept) == pytest.approx(0.55, abs=0.02)


def test_texts_of_both_kinds_are_each_made_up_of_their_own(encoder: Any) -> None:
    texts = ["sofa lamp soil", "物流很快，质量一般。", "包装破了，客服不错。", "lamp of soil"]
    made = made_up(texts, encoder, 200, np.random.default_rng(0))
    chinese = [text for text in made if not text.isascii()]
    assert {part for text in chinese for part in parts(text)} == {
        "物流很快，", "质量一般。", "包装破了，", "客服不错。",
    }  # fmt: skip
    assert 90 < len(made) - len(chinese) <= 100


def test_nothing_is_made_up_without_words_to_choose_from(encoder: Any) -> None:
    rng = np.random.default_rng(0)
    assert made_up(["红色连衣裙"] * 6, encoder, 9, rng) == []
    assert made_up(["7 8"], encoder, 9, rng) == []
    blind: Any = SimpleNamespace(name="blind", tokenizer=None, max_tokens=16, encode=encode)
    assert made_up(["sofa lamp"], blind, 9, rng) == []


def test_what_is_made_up_is_told_by_the_teacher(few: World) -> None:
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 100})
    found = taught(few.teacher, few.task, encoder, few.vectors, config, 0)
    assert found.task.texts is not None
    assert found.soft is not None
    assert few.task.texts is not None
    count, learned = len(few.task), len(few.task.subjects("train")) + len(few.task.unlabelled)
    made = found.task.texts[count:]
    assert len(made) == 100 - learned
    # They are no subjects of any part, and nothing of the task's own is another.
    assert np.array_equal(found.task.unlabelled[-len(made) :], np.arange(count, count + len(made)))
    assert np.array_equal(found.task.subjects("train"), few.task.subjects("train"))
    own = few.teacher.told(few.task, few.vectors)["intent"]
    assert np.array_equal(found.soft["intent"][:count], own)
    alone = few.task.with_texts(made)
    vectors = type(few.vectors)(np.concatenate([few.vectors.subjects, encoder.encode(made)]), {})  # type: ignore[list-item]
    said = few.teacher.logits(alone, vectors)["intent"][count:]
    assert found.soft["intent"][count:] == pytest.approx(said)


def test_enough_texts_are_left_as_they_are(few: World) -> None:
    encoder: Any = WordEncoder()
    for teacher, most in ((few.teacher, 0), (few.teacher, 30), (None, 1000)):
        config = CONFIG.model_copy(update={"made_up": most})
        assert taught(teacher, few.task, encoder, few.vectors, config, 0).task is few.task


def test_of_few_labelled_texts_seven_times_as_many_are_the_most(few: World) -> None:
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 1_000_000})
    longer = taught(few.teacher, few.task, encoder, few.vectors, config, 0).task
    assert len(longer.unlabelled) == 6 * len(few.task.subjects("train"))


def test_a_student_learns_from_what_is_made_up(few: World, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[int] = []
    train = novelty.train_class_student

    def watched(task: Any, *args: Any, **named: Any) -> Any:
        learned.append(len(task.unlabelled))
        return train(task, *args, **named)

    monkeypatch.setattr(novelty, "train_class_student", watched)
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 200, "epochs": 1})
    student = novelty.fit_class_student(
        few.task, encoder, few.vectors, config, context(), teacher=few.teacher
    )
    assert learned == [200 - len(few.task.subjects("train"))]
    assert len(student.logits(few.task)["intent"]) == len(few.task)


def test_nothing_is_made_up_where_more_than_texts_is_known(tmp_path: Any) -> None:
    declared = spec(subjects={"label": "Utterance", "by": ["text", "facts"]})
    both = world(make_classes(utterances(60), tmp_path / "s", declared))
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 1000})
    assert taught(both.teacher, both.task, encoder, both.vectors, config, 0).task is both.task


def test_no_text_is_encoded_twice_for_a_student(few: World) -> None:
    asked: list[str] = []

    class Counting(WordEncoder):
        def encode(self, texts: list[str]) -> FloatArray:
            asked.extend(texts)
            return super().encode(texts)

    encoder: Any = Counting()
    novelty.fit_class_student(
        few.task, encoder, few.vectors, CONFIG.model_copy(update={"made_up": 200, "epochs": 1}), context(),
        teacher=few.teacher,
    )  # fmt: skip
    assert asked
    assert len(asked) == len(set(asked))
