"""Tasks of the kind classify on a snapshot: splits, what is hidden, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import START, kind_spec, make_classes, snapshot_of, spec, users, utterances

from kgdistill.errors import InputError, KgdistillError, LeakError
from kgdistill.tasks import class_targets
from kgdistill.tasks.classify import build_classify_task
from kgdistill.tasks.spec import parse_task


def test_a_given_split_is_followed_and_validation_is_taken_of_train(tmp_path: Path) -> None:
    tables = utterances()
    task = make_classes(tables, tmp_path / "s", spec())
    split = {row["utterance_id"]: row["split"] for row in tables["Utterance"]}
    test = task.subjects("test")
    assert {task.keys[i] for i in test} == {key for key, part in split.items() if part == "test"}
    train, validation = task.subjects("train"), task.subjects("validation")
    assert not set(train) & set(validation)
    assert {split[task.keys[i]] for i in [*train, *validation]} == {"train"}
    assert 0.04 < len(validation) / len(train) < 0.2
    wanted = {row["source"]: row["target"] for row in tables["Utterance", "HAS_INTENT", "Intent"]}
    truth = task.truth("intent", "train")
    names = task.class_names["intent"]
    assert [names[c] for c in truth.argmax(1)] == [wanted[task.keys[i]] for i in train]
    assert (truth.sum(1) == 1).all()


def test_a_split_that_nobody_has_is_held_out_and_said(tmp_path: Path) -> None:
    tables = utterances()
    protocol = {"split": "given", "property": "split", "else": "held_out"}
    given = make_classes(tables, tmp_path / "given", spec(protocol=protocol))
    assert given.describe()[1] == "The property split says which part each labelled Utterance belongs to."
    for row in tables["Utterance"]:
        row["split"] = None
    task = make_classes(tables, tmp_path / "none", spec(protocol=protocol))
    held = make_classes(tables, tmp_path / "held", spec(protocol={"split": "held_out"}))
    for part in ("train", "validation", "test"):
        assert task.subjects(part).tolist() == held.subjects(part).tolist()  # type: ignore[arg-type]
    said = "20% of the labelled Utterances are held out for the test and 10% for validation"
    assert task.describe()[1].startswith(f"No Utterance has the property split: {said}")
    assert held.describe()[1].startswith(said)
    assert task.without(task.subjects("train")[:3]).describe()[1] == task.describe()[1]
    with pytest.raises(InputError, match="nothing has the property 'split'"):
        make_classes(tables, tmp_path / "refused", spec())


def test_a_text_that_stands_twice_is_not_trained_on_and_tested(tmp_path: Path) -> None:
    tables = utterances(unlabelled=30)
    for n, row in enumerate(tables["Utterance"]):
        row["text"] = f"{['Where', 'where'][n % 2]} is my  {n // 6}"
    task = make_classes(tables, tmp_path / "held", spec(protocol={"split": "held_out"}))
    assert task.texts is not None
    parts = [{task.texts[i].lower() for i in task.subjects(p)} for p in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert not any("stand in train" in line for line in task.describe())
    # A split that is given stays, and says what it does.
    given = make_classes(tables, tmp_path / "given", spec())
    assert given.describe()[2] == "60 of the test's 60 texts stand in train or validation, too."


def test_the_only_text_of_a_class_is_learned_whatever_part_it_is_tested_in(tmp_path: Path) -> None:
    tables = utterances()
    for n, row in enumerate(tables["Utterance"]):
        row["text"] = "one button" if n % 3 == 0 else f"text {n // 12}"
    task = make_classes(tables, tmp_path / "s", spec(protocol={"split": "held_out", "share": 0.3}))
    assert task.texts is not None
    for part in ("train", "validation", "test"):
        assert any(task.texts[i] == "one button" for i in task.subjects(part))  # type: ignore[arg-type]
    train = task.subjects("train")
    first, which = task.copies(train)
    alone = [n for n, row in enumerate(train) if task.texts[row] == "one button"]
    assert len({int(which[n]) for n in alone}) == len(alone) > 20
    others = {task.texts[row] for row in train} - {"one button"}
    assert len(first) == len(alone) + len(others)


def test_a_target_of_which_each_class_is_one_text_lets_no_other_be_tested_on_what_it_learned(
    tmp_path: Path,
) -> None:
    tables = utterances()
    for n, row in enumerate(tables["Utterance"]):
        row["text"], row["mood"] = f"text {n // 6}", f"page {n // 6}"
    targets = {"intent": {"relationship": "HAS_INTENT"}, "page": {"property": "mood"}}
    protocol = {"split": "held_out", "share": 0.3}
    task = make_classes(tables, tmp_path / "s", spec(targets=targets, protocol=protocol))
    assert task.texts is not None
    parts = [{task.texts[i] for i in task.subjects(p)} for p in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert len(task.copies(task.subjects("train"))[0]) == len(parts[0])


def test_that_few_texts_leave_a_part_empty_is_said(tmp_path: Path) -> None:
    tables = utterances()
    for n, row in enumerate(tables["Utterance"]):
        row["text"] = f"text {n % 2}"
    with pytest.raises(InputError, match="labelled leave none for") as raised:
        make_classes(tables, tmp_path / "s", spec(protocol={"split": "held_out"}))
    assert str(raised.value.hint).endswith(
        "; they have 2 distinct texts, and those of one text lie in one part"
    )
    with pytest.raises(InputError, match="labelled leave none for") as raised:
        make_classes(utterances(6), tmp_path / "t", spec(protocol={"split": "held_out", "share": 0.01}))
    assert "distinct" not in str(raised.value.hint)
    # A split that is given tears texts apart.
    targets = {"intent": {"relationship": "HAS_INTENT"}, "mood": {"property": "mood"}}
    for row in tables["Utterance"]:
        row["mood"] = None if row["split"] == "test" else row["mood"]
    with pytest.raises(InputError, match="labelled leave none for") as raised:
        make_classes(tables, tmp_path / "u", spec(targets=targets))
    assert "distinct" not in str(raised.value.hint)


def test_a_split_that_is_given_says_what_stands_in_several_parts(tmp_path: Path) -> None:
    tables = utterances()
    for n, row in enumerate(tables["Utterance"]):
        row["text"], row["split"] = f"text {n}", ["train", "dev", "test"][n // 3 % 3]
    for n, text in {3: "TEXT 0", 6: "text  4", 7: "text 1", 8: ""}.items():
        tables["Utterance"][n]["text"] = text
    assert make_classes(tables, tmp_path / "s", spec()).describe()[2] == (
        "2 of the test's 77 texts stand in train or validation, too. "
        "1 of the validation's 81 texts stand in train, too."
    )


def test_alerts_of_a_shop_without_topics_are_of_one_topic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = utterances()
    targets = {"intent": {"relationship": "HAS_INTENT"}, "mood": {"property": "mood"}}
    alerts = {"target": "intent", "bad": "cancel", "topic": "mood"}
    whole = make_classes(tables, tmp_path / "whole", spec(targets=targets, alerts=alerts)).spec
    assert whole.alerts is not None
    assert whole.alerts.topic == "mood"
    for row in tables["Utterance"]:
        row["mood"] = None
    told = make_classes(tables, tmp_path / "bare", spec(targets=targets, alerts=alerts)).spec
    assert told.alerts is not None
    assert (told.alerts.target, told.alerts.topic, list(told.targets)) == ("intent", None, ["intent"])
    assert "targets.mood: no Utterance has any mood: it is left out" in capsys.readouterr().err
    parse_task(told.declared())
    # What is counted cannot be missing.
    counted = {**alerts, "target": "mood", "topic": "intent"}
    with pytest.raises(InputError, match="no Utterance has any mood: there is nothing to learn from"):
        make_classes(tables, tmp_path / "none", spec(targets=targets, alerts=counted))


def test_exchanged_labels_are_those_of_the_same_part_and_the_test_keeps_its_own(tmp_path: Path) -> None:
    targets = {"intent": {"relationship": "HAS_INTENT"}, "mood": {"property": "mood"}}
    task = make_classes(utterances(), tmp_path / "s", spec(targets=targets))
    other = task.exchanged(0)
    task.open_test()
    assert not other.class_texts
    for name in targets:
        for part in ("train", "validation"):
            rows, truth = task.subjects(part), task.truth(name, part)  # type: ignore[arg-type]
            given = other.truth(name, part)  # type: ignore[arg-type]
            np.testing.assert_array_equal(other.subjects(part), rows)  # type: ignore[arg-type]
            assert given.sum(axis=0).tolist() == truth.sum(axis=0).tolist()
            assert 0.2 < (given == truth).all(axis=1).mean() < 0.7
    with pytest.raises(LeakError):
        other.truth("intent", "test")
    other.open_test()
    np.testing.assert_array_equal(other.truth("intent", "test"), task.truth("intent", "test"))
    again, third = task.exchanged(0), task.exchanged(1)
    np.testing.assert_array_equal(again.truth("intent", "train"), other.truth("intent", "train"))
    assert (third.truth("intent", "train") != other.truth("intent", "train")).any()


def test_without_facts_histories_keep_their_items_alone(tmp_path: Path) -> None:
    both = {"label": "User", "by": ["history", "facts"], "history": "BOUGHT"}
    task = make_classes(users(), tmp_path / "a", kind_spec(subjects=both))
    assert (task.facts_of, list(task.neighbours[0].groups)) == (("Product",), ["MADE_BY Brand"])
    (bare,) = task.without_facts().neighbours
    assert bare.groups == {}
    assert bare.members is task.neighbours[0].members
    told = spec(subjects={"label": "Utterance", "by": ["text", "facts"]})
    utterance = make_classes(utterances(), tmp_path / "b", told)
    assert utterance.facts_of == ("Utterance",)
    assert (utterance.without_facts().neighbours, utterance.without_facts().facts_of) == ((), ())
    assert utterance.without_facts().texts == utterance.texts


def test_a_split_may_stand_on_the_relationship_to_the_target(tmp_path: Path) -> None:
    tables = utterances()
    task = make_classes(
        tables, tmp_path / "s", spec(protocol={"split": "given", "property": "part", "of": "relationship"})
    )
    wanted = {r["source"] for r in tables["Utterance", "HAS_INTENT", "Intent"] if r["part"] == "test"}
    assert {task.keys[i] for i in task.subjects("test")} == wanted


def test_the_test_stays_closed_until_it_is_opened(tmp_path: Path) -> None:
    task = make_classes(utterances(), tmp_path / "s", spec())
    with pytest.raises(LeakError, match="closed"):
        task.truth("intent", "test")
    task.open_test()
    assert len(task.truth("intent", "test")) == len(task.subjects("test"))


def test_who_is_held_out_depends_on_the_key_and_the_seed_alone(tmp_path: Path) -> None:
    def test_keys(tables: dict[Any, Any], folder: str, seed: int = 0) -> set[str]:
        protocol = {"split": "held_out", "share": 0.25, "validation_share": 0.2, "seed": seed}
        task = make_classes(tables, tmp_path / folder, kind_spec(protocol=protocol))
        return {task.keys[i] for i in task.subjects("test")}

    few, many = test_keys(users(150), "a"), test_keys(users(300), "b")
    assert few == many & {f"u{u:03}" for u in range(100)}
    assert 10 < len(few) < 40
    assert test_keys(users(150), "c", seed=1) != few


def test_unlabelled_subjects_are_no_part_of_the_split(tmp_path: Path) -> None:
    task = make_classes(users(150), tmp_path / "s", kind_spec())
    assert [task.keys[i] for i in task.unlabelled] == [f"u{u:03}" for u in range(100, 150)]
    labelled = [i for part in ("train", "validation", "test") for i in task.subjects(part)]  # type: ignore[arg-type]
    assert sorted(labelled) == list(range(100))


def test_nothing_of_a_target_is_read(tmp_path: Path) -> None:
    tables = utterances()
    for row in tables["Utterance"]:
        row["hint"] = "secret" + row["mood"]
    declared = spec(
        subjects={"label": "Utterance", "by": ["text", "facts"]},
        targets={"intent": {"relationship": "HAS_INTENT"}, "hint": {"property": "hint"}},
    )
    task = make_classes(tables, tmp_path / "s", declared)
    assert task.texts is not None
    assert not any("secret" in text for text in task.texts)
    assert [(b.relationship, b.label) for b in task.neighbours] == [("SENT_BY", "Channel")]


def test_a_history_ends_at_the_cut(tmp_path: Path) -> None:
    snapshot = snapshot_of(users(later=True), tmp_path / "s", cut=START + timedelta(days=100))
    task = build_classify_task(
        snapshot, kind_spec(subjects={"label": "User", "by": ["history", "facts"], "history": "BOUGHT"})
    )
    (beside,) = task.neighbours
    assert np.diff(beside.members.indptr).max() <= 7
    assert list(beside.groups) == ["MADE_BY Brand"]
    assert beside.groups["MADE_BY Brand"].shape == (60, 6)


def test_none_of_them_is_no_class(tmp_path: Path) -> None:
    task = make_classes(
        utterances(), tmp_path / "s",
        spec(targets={"intent": {"relationship": "HAS_INTENT", "none_of_them": "hours"}}),
    )  # fmt: skip
    assert task.class_names["intent"] == ("parcel", "refund")
    truth = task.truth("intent", "train")
    assert 0 < (~truth.any(axis=1)).sum() < len(truth)
    assert "of none of them" in " ".join(task.describe())


def test_classes_may_be_several_and_are_values_of_any_plain_type(tmp_path: Path) -> None:
    tables = utterances()
    has = tables["Utterance", "HAS_INTENT", "Intent"]
    has += [{**row, "target": "parcel"} for row in has if row["target"] == "refund"]
    with pytest.raises(InputError, match="several classes where one is the most"):
        make_classes(tables, tmp_path / "a", spec())
    declared = spec(
        targets={"intent": {"relationship": "HAS_INTENT", "several": True}, "polite": {"property": "polite"}}
    )
    task = make_classes(tables, tmp_path / "b", declared)
    assert set(task.truth("intent", "train").sum(axis=1)) == {1, 2}
    assert task.class_names["polite"] == ("false", "true")


def _alone(tables: dict[Any, Any]) -> None:
    for row in tables["Utterance", "HAS_INTENT", "Intent"]:
        row["target"] = "refund"


def _silent(tables: dict[Any, Any]) -> None:
    for row in tables["Utterance"]:
        row["text"] = ""


def _no_test(tables: dict[Any, Any]) -> None:
    for row in tables["Utterance"]:
        row["split"] = "train"


def _unlabelled(tables: dict[Any, Any]) -> None:
    tables["Utterance", "HAS_INTENT", "Intent"].clear()


def _each_its_own(tables: dict[Any, Any]) -> None:
    for i, row in enumerate(tables["Utterance"]):
        row["mood"] = f"mood {i}"


HISTORY = {"label": "User", "by": "history"}


@pytest.mark.parametrize(
    ("change", "declared", "message"),
    [
        (_alone, {}, r"fewer than two classes: all are 'refund'"),
        (_silent, {}, r"no Utterance has any text"),
        (_no_test, {}, r"means test"),
        (_unlabelled, {}, r"nothing to learn from"),
        (_each_its_own, {"targets": {"mood": {"property": "mood"}}}, r"nearly one each"),
        (None, {"targets": {"m": {"property": "moods"}}}, r"(?s)no property 'moods'.*did you mean 'mood'"),
        (None, {"targets": {"m": {"property": "length"}}}, r"length is double"),
        (None, {"targets": {"m": {"relationship": "HAS_INTEND"}}}, r"(?s)no fact or event.*HAS_INTENT"),
        (None, {"subjects": {"label": "Uterance", "by": "text"}}, r"unknown label 'Uterance'"),
        (None, {"subjects": {"label": "Product", "by": "text"}}, r"the graph has no Product"),
        (None, {"subjects": {"label": "Utterance", "by": "history"}}, r"0 kinds of events"),
        (None, {"subjects": {**HISTORY, "label": "Utterance", "history": "BOUGHT"}}, r"no event 'BOUGHT'"),
        (None, {"protocol": {"split": "given", "property": "splits"}}, r"(?s)no property 'splits'.*'split'"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused_in_one_message(
    change: Any, declared: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tables = utterances()
    if change is not None:
        change(tables)
    with pytest.raises(KgdistillError, match=message):
        make_classes(tables, tmp_path / "s", spec(**declared))


def test_facts_that_nobody_has_are_refused(tmp_path: Path) -> None:
    tables = users()
    tables["Product", "MADE_BY", "Brand"].clear()
    with pytest.raises(InputError, match="neither User nor its history has facts"):
        make_classes(
            tables, tmp_path / "s", kind_spec(subjects={"label": "User", "by": ["history", "facts"]})
        )


def test_what_nobody_can_learn_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = utterances(240)
    rows = tables["Utterance"]
    for i, row in enumerate(rows):
        # All of one class are in the test, and some texts of the others are the same.
        if i % 3 == 2:
            row["split"] = "test"
        elif 3 <= i < 20:
            row["text"] = "which is it"
    make_classes(tables, tmp_path / "s", spec())
    told = capsys.readouterr().err
    assert "task intent: targets.intent: 1 of 3 classes have no training subject: 'hours'" in told
    assert "targets.intent: 1 texts of the training stand there with several classes: 'which is it" in told
    make_classes(utterances(240), tmp_path / "t", spec())
    assert "training" not in capsys.readouterr().err


MOODS = {"mood": {"property": "mood"}, "hint": {"property": "hint"}}


def test_a_target_that_nobody_has_is_left_out_where_there_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make_classes(utterances(), tmp_path / "s", spec(targets=MOODS))
    assert list(task.class_names) == list(task.spec.targets) == ["mood"]
    assert "targets.hint: no Utterance has any hint: it is left out" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no Utterance has any hint.*nothing to learn from"):
        make_classes(utterances(), tmp_path / "t", spec(targets={"hint": {"property": "hint"}}))
    # What alerts count is not left out.
    alerts = {"target": "hint", "bad": "cross"}
    with pytest.raises(InputError, match=r"no Utterance has any hint"):
        make_classes(utterances(), tmp_path / "counted", spec(targets=MOODS, alerts=alerts))


def test_more_classes_than_memory_holds_are_told_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_targets, "_BYTES", 2**30 / 200)
    for most, told in ((720, False), (719, True)):
        monkeypatch.setattr(class_targets, "MANY", most)
        make_classes(utterances(240), tmp_path / str(most), spec())
        assert ("3 classes for 240 Utterances take some 3.6 GiB" in capsys.readouterr().err) is told
