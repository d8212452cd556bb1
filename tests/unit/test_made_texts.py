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
from kgdistill.train.classify import train_class_teacher
from kgdistill.train.made_texts import made_up, taught

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
    nameless = spec(targets={"intent": {"relationship": "HAS_INTENT", "by": []}})
    return world(make_classes(utterances(60), tmp_path_factory.mktemp("few") / "s", nameless))


@settings(max_examples=30)
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


def test_of_texts_of_several_scripts_those_with_blanks_are_made_up(encoder: Any) -> None:
    made = made_up(["sofa lamp soil", "物流很快。", "质量一般。"], encoder, 300, np.random.default_rng(0))
    assert 90 < len(made) <= 100
    assert {word for text in made for word in text.split()} == {*PAIRS, *PAIRS.values()}


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


def test_training_subjects_are_told_halfway(few: World) -> None:
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 100, "folds": 2})
    teacher = train_class_teacher(few.task, few.vectors, config, context())
    found = taught(teacher, few.task, encoder, few.vectors, config, 0)
    assert found.soft is not None
    said = found.soft["intent"][: len(few.task)]
    assert np.array_equal(said, teacher.told(few.task, few.vectors)["intent"])
    assert not np.array_equal(said, teacher.logits(few.task, few.vectors)["intent"])


def test_enough_texts_are_left_as_they_are(few: World) -> None:
    encoder: Any = WordEncoder()
    for teacher, most in ((few.teacher, 0), (few.teacher, 30), (None, 1000)):
        config = CONFIG.model_copy(update={"made_up": most})
        assert taught(teacher, few.task, encoder, few.vectors, config, 0).task is few.task


def test_of_few_labelled_texts_twenty_times_as_many_are_the_most(few: World) -> None:
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 1_000_000})
    longer = taught(few.teacher, few.task, encoder, few.vectors, config, 0).task
    assert len(longer.unlabelled) == 19 * len(few.task.subjects("train"))


def test_a_student_learns_from_what_is_made_up(few: World, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[int] = []
    train = novelty.train_class_student

    def watched(task: Any, *args: Any, **named: Any) -> Any:
        learned.append(len(task.unlabelled))
        return train(task, *args, **named)

    monkeypatch.setattr(novelty, "train_class_student", watched)
    encoder: Any = WordEncoder()
    config = CONFIG.model_copy(update={"made_up": 200, "epochs": 1, "refit": False})
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
