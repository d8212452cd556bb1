"""What is written on a class, or on what its facts lead to, teaches it where its subjects' texts do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _classes
import numpy as np
import pytest
from _classes import (
    CONFIG,
    INTENTS,
    WORDS,
    WordEncoder,
    World,
    context,
    make_classes,
    spec,
    utterances,
    world,
)
from _tiny_encoder import tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.run.artefacts import load_subjects, save_subjects
from kgdistill.store.schema import Schema
from kgdistill.tasks.class_texts import MOST, in_words
from kgdistill.tasks.spec import parse_task
from kgdistill.train.novelty import fit_class_student, fit_class_teacher, left_out_folds
from kgdistill.train.subject_vectors import with_classes

ONCE = CONFIG.model_copy(update={"refit": False, "folds": 2, "epochs": 60, "patience": 60})


NAMES = list(INTENTS)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
THINGS = ["voucher", "van", "door"]


def tables(words: Sequence[str] = NAMES) -> dict[Any, list[dict[str, Any]]]:
    """The test asks for each intent in a word that no text of training holds."""
    made = utterances(120)
    for i, row in enumerate(made["Utterance"]):
        if row["split"] == "test":
            row["text"] = words[i % 3]
    return made


def found(here: World, *, distilled: bool = True, seed: int = 0) -> tuple[float, float]:
    """What teacher and student tell of the test rightly."""
    teacher = fit_class_teacher(here.task, here.vectors, ONCE, context(seed))
    encoder: Any = WordEncoder()
    encoder.tokenizer = tiny_tokenizer([*SPECIAL, *WORDS, *NAMES, *THINGS])
    student = fit_class_student(
        here.task, encoder, here.vectors, ONCE, context(seed), teacher=teacher if distilled else None
    )
    said = teacher.logits(here.task, here.vectors), student.logits(here.task)
    return here.right(said[0]["intent"], "intent"), here.right(said[1]["intent"], "intent")


def test_the_name_of_a_class_teaches_teacher_and_student(tmp_path: Path) -> None:
    named = world(make_classes(tables(), tmp_path / "a", spec()))
    assert named.task.class_texts["intent"].texts == ("hours", "parcel", "refund")
    assert min(found(named)) > 0.9
    assert found(named, distilled=False)[1] > 0.9
    silent = spec(targets={"intent": {"relationship": "HAS_INTENT", "by": []}})
    nameless = world(make_classes(tables(), tmp_path / "b", silent))
    assert not nameless.task.class_texts["intent"].texts
    # Of three words that nothing is known of one may be told rightly by chance, or all with one seed.
    assert np.mean([found(nameless, seed=seed) for seed in range(4)], axis=0).max() < 0.7


def test_what_the_facts_of_a_class_lead_to_teaches_it(tmp_path: Path) -> None:
    about = tables(THINGS)
    titles = [[thing, f"{thing} {thing} please"] for thing in THINGS]
    about["Product"] = [
        {"product_id": f"p{i}{j}", "title": title}
        for i, own in enumerate(titles)
        for j, title in enumerate(own)
    ]
    about["Intent", "ABOUT", "Product"] = [
        {"source": name, "target": f"p{i}{j}"} for i, name in enumerate(NAMES) for j in range(2)
    ]
    facts = spec(targets={"intent": {"relationship": "HAS_INTENT", "by": "facts"}})
    with_facts = world(make_classes(about, tmp_path / "a", facts))
    written = with_facts.task.class_texts["intent"]
    assert written.texts[:3] == ("hours door", "hours door door please", "parcel van")
    assert written.classes.tolist() == [0, 0, 1, 1, 2, 2]
    assert min(found(with_facts)) > 0.9
    without = world(make_classes(about, tmp_path / "b", spec()))
    assert max(found(without)) < 0.7


def test_without_facts_a_class_keeps_its_own_words_and_their_vectors(tmp_path: Path) -> None:
    about = tables()
    # What a fact says in words of the class's own stays too: it is written there without it.
    about["Product"] = [{"product_id": "p0", "title": "voucher"}]
    about["Intent", "ABOUT", "Product"] = [{"source": "parcel", "target": "p0"}]
    both = {"intent": {"relationship": "HAS_INTENT", "by": ["text", "facts"]}}
    here = world(make_classes(about, tmp_path / "a", spec(targets=both)))
    assert here.task.class_texts["intent"].texts == ("hours", "parcel", "parcel voucher", "refund")
    assert here.task.class_texts["intent"].facts.tolist() == [False, False, True, False]
    assert here.task.facts_of == ("classes",)
    bare = here.task.without_facts()
    assert bare.class_texts["intent"].texts == ("hours", "parcel", "refund")
    assert bare.class_texts["intent"].classes.tolist() == [0, 1, 2]
    assert bare.facts_of == ()
    vectors = with_classes(bare, here.vectors)[1].subjects
    assert vectors is not None
    np.testing.assert_array_equal(vectors[len(bare) :], WordEncoder().encode(["hours", "parcel", "refund"]))


def test_a_class_of_many_facts_is_taught_by_the_first(tmp_path: Path) -> None:
    many = tables()
    many["Product"] = [{"product_id": f"p{i:02}", "title": f"thing {i}"} for i in range(MOST + 9)]
    many["Intent", "ABOUT", "Product"] = [
        {"source": "refund", "target": row["product_id"]} for row in many["Product"]
    ]
    declared = spec(targets={"intent": {"relationship": "HAS_INTENT", "by": "facts"}})
    texts = make_classes(many, tmp_path / "s", declared).class_texts["intent"].texts
    assert texts == tuple(f"refund thing {i}" for i in range(MOST))


def test_values_of_a_property_teach_each_its_own_target(tmp_path: Path) -> None:
    targets = {"intent": {"relationship": "HAS_INTENT"}, "mood": {"property": "mood"}}
    task = make_classes(tables(), tmp_path / "s", spec(targets=targets))
    longer = task.with_class_texts()
    assert longer.texts is not None
    assert list(longer.texts[len(task) :]) == ["hours", "parcel", "refund", "calm", "cross"]
    behind = {name: longer.subjects("train", name)[-3:] - len(task) for name in targets}
    assert behind["intent"].tolist() == [0, 1, 2]
    assert behind["mood"].tolist()[-2:] == [3, 4]
    assert longer.truth("mood", "train")[-2:].tolist() == [[True, False], [False, True]]
    for part in ("validation", "test"):
        np.testing.assert_array_equal(longer.subjects(part), task.subjects(part))


def test_the_fields_of_a_class_are_written_on_it_and_nothing_that_is_hidden(tmp_path: Path) -> None:
    made = tables()
    for row in made["Channel"]:
        row["note"] = f"by {row['channel_id']}"
    made["Product"] = [{"product_id": f"p{i}", "title": f"voucher {i}"} for i in range(2)]
    made["Intent", "ABOUT", "Product"] = [{"source": "refund", "target": "p0"}]
    made["Utterance", "ABOUT", "Product"] = [
        {"source": row["utterance_id"], "target": f"p{i % 2}"} for i, row in enumerate(made["Utterance"])
    ]
    targets = {
        "channel": {"relationship": "SENT_BY"},
        "intent": {"relationship": "HAS_INTENT", "by": "facts"},
    }
    written = make_classes(made, tmp_path / "a", spec(targets=targets)).class_texts
    assert written["channel"].texts[:2] == ("channel 0", "channel 0 by c0")
    assert written["intent"].texts == ("refund voucher 0",)
    # What is told of an utterance is read of nothing else.
    about = {"product": {"relationship": "ABOUT"}, "intent": targets["intent"]}
    assert not make_classes(made, tmp_path / "b", spec(targets=about)).class_texts["intent"].texts


@pytest.mark.parametrize("guarded", ["note", "title", "ABOUT"])
def test_what_is_sensitive_is_not_written_on_a_class(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = _classes.SCHEMA.model_dump(exclude_unset=True)
    raw["relationships"]["ABOUT"]["sensitive"] = guarded == "ABOUT"
    for label, name in (("Channel", "note"), ("Channel", "title"), ("Product", "title")):
        raw["nodes"][label]["properties"][name] = {"type": "string", "sensitive": guarded == name}
    monkeypatch.setattr(_classes, "SCHEMA", Schema.model_validate(raw))
    made = tables()
    for row in made["Channel"]:
        row["note"] = f"by {row['channel_id']}"
    made["Product"] = [{"product_id": "p", "title": "voucher"}]
    made["Intent", "ABOUT", "Product"] = [{"source": "refund", "target": "p"}]
    targets = {
        "channel": {"relationship": "SENT_BY"},
        "intent": {"relationship": "HAS_INTENT", "by": "facts"},
    }
    written = make_classes(made, tmp_path / "s", spec(targets=targets)).class_texts
    first, told = {
        "note": (("channel 0",), ("refund voucher",)),
        "title": (("c0", "by c0"), ("refund p",)),
        "ABOUT": (("channel 0", "channel 0 by c0"), ()),
    }[guarded]
    assert written["channel"].texts[: len(first)] == first
    assert len(written["channel"].texts) == 4 * len(first)
    assert written["intent"].texts == told


def test_vectors_stay_with_their_texts_where_a_class_is_left_out(tmp_path: Path) -> None:
    here = world(make_classes(tables(), tmp_path / "s", spec()))
    fold = here.task.without(np.zeros(0, np.int64), {"intent": np.array([0])})
    longer, vectors = with_classes(fold, here.vectors)
    assert longer.texts is not None
    assert vectors.subjects is not None
    assert list(longer.texts[len(here.task) :]) == ["parcel", "refund"]
    np.testing.assert_array_equal(
        vectors.subjects[len(here.task) :], WordEncoder().encode(["parcel", "refund"])
    )


def test_where_a_class_is_left_out_so_are_its_words(tmp_path: Path) -> None:
    here = world(make_classes(tables(), tmp_path / "s", spec()))
    seen = []

    def look(fold: Any) -> Any:
        seen.append(fold.class_texts["intent"].texts)
        taught = fold.truth("intent", "train").any(axis=0)
        names = fold.task.class_names if hasattr(fold, "task") else fold.class_names
        assert seen[-1] == tuple(np.array(names["intent"])[taught])
        return here.teacher.logits(here.task, here.vectors), {"intent": np.zeros(len(here.task), np.float32)}

    assert left_out_folds(here.task, "intent", look, share=0.5, seed=0)
    assert {len(texts) for texts in seen} == {2}
    assert here.task.class_texts["intent"].texts == ("hours", "parcel", "refund")


def test_subjects_with_a_history_or_facts_are_taught_by_no_words(tmp_path: Path) -> None:
    sides = {"label": "Utterance", "by": ["text", "facts"]}
    assert not make_classes(tables(), tmp_path / "s", spec(subjects=sides)).class_texts


def test_vectors_of_what_is_written_are_kept(tmp_path: Path) -> None:
    here = world(make_classes(tables(), tmp_path / "s", spec()))
    (tmp_path / "text").mkdir()
    save_subjects(tmp_path / "text", here.vectors)
    again = load_subjects(tmp_path / "text").classes
    np.testing.assert_array_equal(again["intent"], here.vectors.classes["intent"])
    np.testing.assert_array_equal(again["intent"], WordEncoder().encode(["hours", "parcel", "refund"]))


def test_facts_of_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"targets\.mood\.by: a property's values have no facts"):
        spec(targets={"mood": {"property": "mood", "by": "facts"}})
    with pytest.raises(InputError, match="history"):
        parse_task(spec().declared() | {"targets": {"mood": {"property": "mood", "by": "history"}}})


@pytest.mark.parametrize("name", ["ORDER_STATUS", "order-status", "orderStatus", " order  status"])
def test_names_are_read_as_words(name: str) -> None:
    assert in_words(name).lower() == "order status"
    assert in_words(name).islower() == (name != "orderStatus")


@given(st.text(max_size=30))
def test_a_name_as_words_keeps_its_letters(name: str) -> None:
    def letters(text: str) -> str:
        return "".join(filter(str.isalnum, text)).casefold()

    assert letters(in_words(name)) == letters(name)
    assert in_words(in_words(name)) == in_words(name)
