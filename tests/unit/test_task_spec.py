"""Declared tasks: what a file may say; anything else is refused with its place and the nearest key."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from kgdistill.errors import InputError
from kgdistill.resources import graph_dir
from kgdistill.store.schema import load_schema
from kgdistill.tasks.sensitive import sensitive_targets
from kgdistill.tasks.spec import (
    ClassifySpec,
    GivenSplit,
    HeldOut,
    JudgedSplit,
    MatchSpec,
    TimeSplit,
    load_task,
    parse_task,
    task_json_schema,
    task_names,
)

MATCH = """\
kind: match
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text]}
positives: {event: BOUGHT}
protocol: {split: time}
"""
CLASSIFY = """\
kind: classify
subjects: {label: Utterance, by: text}
targets: {intent: {relationship: HAS_INTENT}}
protocol: {split: given, property: split}
"""


def refused(text: str, old: str = "", new: str = "") -> InputError:
    assert old in text
    with pytest.raises(InputError) as caught:
        parse_task(text.replace(old, new, 1) if old else text, where="mine.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("anchors:", "anchor:", "line 2: anchor", "did you mean 'anchors'?"),
        ("by: history", "byy: history", "line 2: anchors.byy", "did you mean 'by'?"),
        ("by: history", "by: histry", "line 2: anchors.by", "did you mean 'history'?"),
        (", by: history", "", "line 2: anchors.by", "is missing"),
        ("by: history", "by: []", "line 2: anchors.by", "should not be empty"),
        ("[history, text]", "[text, text]", "line 3: candidates.by", "twice"),
        ("[history, text]", "text, history: VIEWED", "line 3: candidates.history", "only where `by` names"),
        ("[history, text]", "history, history: [A, A]", "line 3: candidates.history", "twice"),
        ("[history, text]", "history, history: []", "line 3: candidates.history", "names no event"),
        ("[history, text]", "history, history: [A, B]", "candidates.history", "names several events"),
        ("[history, text]", "history, history: 5", "line 3: candidates.history", "should be text"),
        ("label: User", "label: 3", "line 2: anchors.label", "should be text"),
        ("{event: BOUGHT}", "BOUGHT", "line 4: positives", "should be a mapping"),
        ("event: BOUGHT", "", "line 4: positives", "exactly one of event, relationship, synthetic"),
        ("event: BOUGHT", "event: A, relationship: B", "line 4: positives", "exactly one of"),
        ("event: BOUGHT", "event: A, weights: {A: 1}", "line 4: positives.weights", "names the event itself"),
        (
            "event: BOUGHT",
            "event: A, weights: {B: 2}",
            "line 4: positives.weights.B",
            "is 2, but should be a number above 0 and at most 1, or learned",
        ),
        ("event: BOUGHT", "event: A, weights: {B: .nan}", "line 4: positives.weights.B", "should be"),
        ("event: BOUGHT", "event: A, weights: {B: 0}", "line 4: positives.weights.B", "is 0, but should be"),
        ("event: BOUGHT", "event: A, weights: {B: true}", "line 4: positives.weights.B", "is True, but"),
        ("event: BOUGHT", "event: A, weights: {B: learnt}", "positives.weights.B", "did you mean 'learned'?"),
        ("event: BOUGHT", "event: A, weights: learned", "positives.weights", "{VIEWED: learned}"),
        (
            "{event: BOUGHT}",
            "{event: A, weights: {B: 1}}\nrepeats: true",
            "positives.weights",
            "without repeats",
        ),
        (
            "by: history}\ncandidates: {label: Product, by: [history, text]}\npositives: {event: BOUGHT}",
            "by: text}\ncandidates: {label: Product, by: text}\npositives: {event: A, weights: {B: 1}}",
            "positives.weights",
            "anchors by history",
        ),
        ("event: BOUGHT", "relationship: A", "line 5: protocol", "needs positives with an event"),
        ("event: BOUGHT", "event: A, else: nothing", "line 4: positives.else", "should be 'synthetic'"),
        ("event: BOUGHT", "synthetic: catalogue, reverse: true", "positives.reverse", "goes with"),
        ("split: time", "split: tim", "line 5: protocol", "did you mean 'time'?"),
        ("split: time", "", "line 5: protocol.split", "is missing"),
        ("split: time", "split: time, cutt: 2024-01-01", "line 5: protocol.cutt", "did you mean 'cut'?"),
        ("split: time", "split: time, cut: 2024-13-01", "line 5: protocol.cut", "month value"),
        (
            "split: time",
            "split: time, cut: 2024-03-01, test_start: 2024-02-01",
            "line 5: protocol.test_start",
            "does not come after cut",
        ),
        (
            "split: time",
            "split: time, cut_share: 0.95",
            "line 5: protocol.test_share",
            "not above cut_share",
        ),
        ("split: time", "split: time, cut_share: 2", "line 5: protocol.cut_share", "less than 1"),
        ("split: time", "split: time, settings: [warm, hot]", "line 5: protocol.settings[1]", "is 'hot'"),
        ("split: time", "split: time, settings: [all, all]", "line 5: protocol.settings", "twice"),
        ("split: time", "split: held_out, share: 0.95", "line 5: protocol", "leave nothing to train on"),
        ("split: time", "split: judged", "line 5: protocol", "judged_by"),
        ("split: time}", "split: held_out}\nrepeats: true", "line 6: repeats", "a split by time"),
        ("split: time}", "split: time}\nrepeats: perhaps", "line 6: repeats", "true or false"),
        ("split: time}", "split: time}\nname: my task", "line 6: name", "letters, digits"),
        ("split: time}", "split: time}\nkind: match", "line 6", "the key 'kind' stands twice"),
        ("kind: match", "kind: mach", "kind", "did you mean 'match'?"),
        ("kind: match", "knd: match", "kind", "did you mean 'kind' by 'knd'?"),
        ("kind: match", "kind: [match]", "kind", "match or classify"),
        ("{label: User", "&a {label: *a", "line 2: anchors.label", "should be text"),
    ],
)
def test_what_a_match_may_not_say(old: str, new: str, place: str, says: str) -> None:
    error = refused(MATCH, old, new)
    assert says in str(error)
    assert error.where.startswith("mine.yaml")
    assert error.where.endswith(place)


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("subjects:", "anchors:", "line 2: anchors", "it can be: "),
        (
            "{relationship: HAS_INTENT}",
            "{}",
            "line 3: targets.intent",
            "exactly one of",
        ),
        ("{intent: {relationship: HAS_INTENT}}", "{}", "line 3: targets", "should not be empty"),
        ("relationship:", "relationshp:", "targets.intent.relationshp", "did you mean 'relationship'?"),
        ("relationship: HAS_INTENT", "property: a, several: true", "targets.intent.several", "one value"),
        ("HAS_INTENT", "A, several: true, none_of_them: x", "targets.intent.none_of_them", "one class"),
        ("{intent:", "{my intent:", "line 3: targets.my intent", "letters, digits"),
        ("split: given, property: split", "split: time", "line 4: protocol", "'given', 'held_out'"),
        (", property: split", "", "line 4: protocol.property", "is missing"),
        ("property: split", "property: s, test: train", "line 4: protocol", "two parts"),
        ("kind", "alerts: {target: intnt, bad: x}\nkind", "alerts.target", "did you mean 'intent'?"),
        (
            "kind",
            "alerts: {target: intent, bad: x, topic: y}\nkind",
            "alerts.topic",
            "no target 'y'",
        ),
        ("kind", "alerts: {target: intent}\nkind", "line 1: alerts.bad", "is missing"),
        (
            "kind",
            "alerts: {target: intent, bad: x, window: 7h}\nkind",
            "line 1: alerts.window",
            "divides no day",
        ),
    ],
)
def test_what_a_classification_may_not_say(old: str, new: str, place: str, says: str) -> None:
    error = refused(CLASSIFY, old, new)
    assert says in str(error)
    assert error.where.startswith("mine.yaml")
    assert error.where.endswith(place)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- kind: match\n", "should be a mapping"),
        ("match\n", "should be a mapping"),
        ("[" * 100 + "]" * 100, "should be a mapping"),
        ("kind: match\nanchors: " + "[" * 100 + "]" * 100 + "\n", "anchors: should be a mapping"),
        ("[" * 5_000, "nested too deeply"),
        ("kind: match\n\t- x", "is not YAML"),
        ("? [a]\n: b\n", "is not YAML"),
        ("kind: match\n--- \nkind: match\n", "is not YAML"),
    ],
)
def test_what_is_no_task_at_all(text: str, says: str) -> None:
    assert says in str(refused(text))


def test_files_that_cannot_be_tasks(tmp_path: Path) -> None:
    garbled = tmp_path / "garbled.yaml"
    garbled.write_bytes("kind: match # Größe".encode("latin-1"))
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * 10_000_001)
    for file, says in (
        (garbled, "not UTF-8"),
        (huge, "too large"),
        (tmp_path, "directory"),
        (tmp_path / "none.yaml", "No such file"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            load_task(file)
        assert caught.value.where == str(file)
    with pytest.raises(InputError, match=r"no task 'serch'\n  did you mean 'search'\?"):
        load_task("serch")


@pytest.mark.parametrize("name", task_names())
def test_the_projects_own_tasks_are_short_and_whole(name: str) -> None:
    spec = load_task(name)
    assert spec.name == name
    assert spec.heading
    assert spec.description
    assert len((graph_dir() / "tasks" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()) <= 25
    # As JSON a bundle keeps it.
    assert parse_task(json.loads(spec.model_dump_json(by_alias=True))) == spec


def test_a_task_says_what_it_means() -> None:
    assert set(task_names()) >= {"recommend", "basket", "search", "intent", "profile", "sentiment"}
    recommend = load_task("recommend")
    assert isinstance(recommend, MatchSpec)
    assert isinstance(recommend.protocol, TimeSplit)
    assert recommend.interaction == ("User", "BOUGHT", "Product")
    search = load_task("search")
    assert isinstance(search, MatchSpec)
    assert search.interaction == ("Query", "CLICKED", "Product")
    assert search.positives.otherwise == "synthetic"
    assert isinstance(search.protocol, JudgedSplit)
    intent = load_task("intent")
    assert isinstance(intent, ClassifySpec)
    assert isinstance(intent.protocol, GivenSplit)


def test_what_is_left_out_is_filled_in() -> None:
    short = MATCH.replace("protocol: {split: time}\n", "")
    bare = parse_task(short, name="mine")
    assert isinstance(bare, MatchSpec)
    assert bare.name == bare.heading == "mine"
    assert isinstance(bare.protocol, TimeSplit)
    judged = parse_task(short + "judged_by: JUDGED\n")
    assert isinstance(judged, MatchSpec)
    assert isinstance(judged.protocol, JudgedSplit)
    classify = parse_task(CLASSIFY.replace("protocol: {split: given, property: split}\n", ""))
    assert isinstance(classify, ClassifySpec)
    assert isinstance(classify.protocol, HeldOut)
    turned = parse_task(MATCH.replace("{event: BOUGHT}", "{event: SOLD_TO, reverse: true, weights: {V: 1}}"))
    assert isinstance(turned, MatchSpec)
    assert turned.interaction == ("Product", "SOLD_TO", "User")
    zoned = parse_task(MATCH.replace("split: time", "split: time, cut: '2024-03-01T02:00+02:00'"))
    assert isinstance(zoned.protocol, TimeSplit)
    assert zoned.protocol.cut == datetime(2024, 3, 1)


def test_the_examples_of_the_page_are_tasks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    examples = [parse_task(text) for text in re.findall(r"```yaml\n(.*?)```", page, flags=re.S)]
    assert [spec.kind for spec in examples] == ["match", "classify"]


def test_one_event_of_a_list_is_that_alone() -> None:
    one, two = (
        parse_task(CLASSIFY.replace("by: text", f"by: history, history: {events}"))
        for events in ("[BOUGHT]", "[BOUGHT, VIEWED]")
    )
    assert isinstance(one, ClassifySpec)
    assert isinstance(two, ClassifySpec)
    assert (one.subjects.history, one.subjects.events) == ("BOUGHT", ("BOUGHT",))
    assert two.declared()["subjects"]["history"] == ["BOUGHT", "VIEWED"]


def test_the_shipped_json_schema_is_the_codes_own() -> None:
    shipped = Path(__file__).parents[2] / "kgdistill" / "tasks" / "task.schema.json"
    assert shipped.read_text(encoding="utf-8") == task_json_schema()


def test_the_profile_tells_what_the_data_model_holds_of_a_household_and_all_of_it_is_sensitive() -> None:
    profile = load_task("profile")
    assert isinstance(profile, ClassifySpec)
    told = ["age", "income", "kids_count", "household_size", "marital_status"]
    # By the names of the properties, so that one condition is asked of what is known and of what is told.
    assert [(name, target.property) for name, target in profile.targets.items()] == [(n, n) for n in told]
    assert sensitive_targets(profile, load_schema()) == told
