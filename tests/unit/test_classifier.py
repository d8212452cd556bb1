"""The classifier of a bundle says without torch what the student says, and refuses what it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import World, kind_spec, make_classes, spec, users, utterances, world

from kgdistill.errors import ArtefactError, InputError
from kgdistill.ranking.classes import probabilities
from kgdistill.serve.classifier import Classifier, Prediction
from kgdistill.serve.pack_classes import pack_classifier
from kgdistill.serve.tower import TextTower
from kgdistill.tasks.word_features import WordFeatures


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Utterances by text and by a fact, with two targets of which one has several classes."""
    tables = utterances()
    has = tables["Utterance", "HAS_INTENT", "Intent"]
    has += [{**row, "target": "parcel"} for row in has if row["target"] == "refund"]
    declared = spec(
        subjects={"label": "Utterance", "by": ["text", "facts"]},
        targets={"intent": {"relationship": "HAS_INTENT", "several": True}, "type": {"property": "mood"}},
    )
    return world(make_classes(tables, tmp_path_factory.mktemp("both") / "s", declared))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> World:
    declared = kind_spec(subjects={"label": "User", "by": ["history", "facts"], "history": "BOUGHT"})
    return world(make_classes(users(), tmp_path_factory.mktemp("history") / "s", declared))


def packed(here: World) -> tuple[TextTower | None, Classifier]:
    keys = {"Product": [f"p{i:04}" for i in range(60)], "Channel": [f"c{i}" for i in range(4)]}
    return pack_classifier(here.student, keys)


def ties(here: World) -> list[list[str]]:
    """The keys of what each subject is tied to."""
    (beside,) = here.task.neighbours
    prefix = "p{:04}" if beside.label == "Product" else "c{}"
    rows = np.split(beside.members.indices, beside.members.indptr[1:-1])
    return [[prefix.format(i) for i in row] for row in rows]


def test_texts_and_facts_are_told_as_the_student_tells_them(both: World) -> None:
    tower, classifier = packed(both)
    assert both.task.texts is not None
    facts = [{"SENT_BY": keys} for keys in ties(both)]
    told = classifier.classify(list(both.task.texts), facts=facts, tower=tower)
    logits = both.student.logits(both.task)
    for name, several in (("intent", True), ("type", False)):
        names, t = both.student.classes[name], both.student.calibration[name].temperature
        wanted = probabilities(logits[name], t, several=several)
        found = np.array([[p.targets[name].probabilities[c] for c in names] for p in told])
        assert np.abs(found - wanted).max() < 1e-5
    assert all(p.known and not p.unknown for p in told)
    assert [set(p.targets["intent"].classes) for p in told[:3]] == [
        {"refund", "parcel"}, {"parcel"}, {"hours"},
    ]  # fmt: skip
    with pytest.raises(InputError, match="several targets: intent, type"):
        _ = told[0].told


def test_histories_are_told_as_the_student_tells_them(history: World) -> None:
    tower, classifier = packed(history)
    assert tower is None
    told = classifier.classify(histories=ties(history))
    t = history.student.calibration["kind"].temperature
    wanted = probabilities(history.student.logits(history.task)["kind"], t, several=False)
    names = history.student.classes["kind"]
    found = np.array([[p.told.probabilities[c] for c in names] for p in told])
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-5
    assert all(p.told.classes == (next(iter(p.told.probabilities)),) for p in told)
    # One at a time as all at once.
    assert classifier.classify(histories=ties(history)[:1])[0].told.classes == told[0].told.classes


def test_what_is_not_known_is_said(both: World, history: World) -> None:
    tower, classifier = packed(both)
    empty, word, strange = classifier.classify(["", "coin", "硬币"], tower=tower)
    assert (empty.known, word.known, strange.known) == (False, True, False)
    assert strange.targets == empty.targets
    _, classifier = packed(history)
    nobody, mixed, plain = classifier.classify(
        histories=[[], ["p0001", "nothing", "nothing"], ["p0001", "p0001"]]
    )
    assert (nobody.known, mixed.known, mixed.unknown) == (False, True, ("nothing",))
    # What is not known, and what is named again, counts nothing.
    assert mixed.targets == plain.targets


def test_out_of_scope_is_told(tmp_path: Path) -> None:
    declared = spec(targets={"intent": {"relationship": "HAS_INTENT", "none_of_them": "hours"}})
    here = world(make_classes(utterances(), tmp_path / "s", declared))
    here.settle()
    tower, classifier = packed(here)
    clock, coin = classifier.classify(["please the clock order", "please the coin order"], tower=tower)
    assert (clock.told.out_of_scope, clock.told.classes) == (True, ())
    assert (coin.told.out_of_scope, coin.told.classes) == (False, ("refund",))
    settings = json.loads(json.dumps(classifier.settings()))
    target = settings["targets"]["intent"]
    assert target["familiar"] is not None
    about: Any = here.student.calibration["intent"].familiar
    near = here.student.near(here.task)["intent"]
    assert near.max() > 0.5
    # The bundle says of each text what the student says of it.
    logits = here.student.logits(here.task)["intent"]
    p, chosen = here.student.calibration["intent"].told(logits, near, several=False)
    told = [one.told for one in classifier.classify(here.task.texts, tower=tower)]
    said = [one.out_of_scope for one in told]
    assert said == (~chosen.any(axis=1)).tolist()
    believed = here.student.calibration["intent"].believed(p, near)
    assert [one.confidence for one in told] == pytest.approx(believed.tolist(), abs=1e-4)
    assert np.abs(believed - p.max(axis=1)).max() > 0.05
    assert 0 < np.mean(said) < 1

    def again() -> Prediction:
        made = Classifier.from_arrays(settings, classifier.arrays(), classifier.files(), 0)
        return made.classify(["please the coin order"], tower=tower)[0]

    target["familiar"] |= {"weights": [0.0, 1.0], "bias": 0.0, "middle": [0, 2.0], "spread": [1.0, 1.0]}
    assert again().told.out_of_scope
    damages = {"weights": [1.0], "bias": None, "spread": "wide", "threshold": "high"}
    for name, damage in [*damages.items(), ("spread", [1.0, 0.0])]:
        target["familiar"] = json.loads(json.dumps(asdict(about))) | {name: damage}
        with pytest.raises(ArtefactError):
            again()
    del target["familiar"]
    with pytest.raises(ArtefactError):
        again()
    target["familiar"] = asdict(about)
    arrays = {k: v for k, v in classifier.arrays().items() if k != "centres.intent.rows"}
    with pytest.raises(ArtefactError):
        Classifier.from_arrays(settings, arrays, classifier.files(), 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to tell classes from; give texts and facts"),
        ({"texts": "coin"}, "a list of subjects"),
        ({"texts": 5}, "a list of subjects"),
        ({"texts": [3]}, "no string"),
        ({"histories": [["p0001"]]}, "told from texts and facts, not from histories"),
        ({"texts": ["a", "b"], "facts": [{}]}, "2 texts, 1 facts"),
        ({"facts": [{"SEND_BY": ["c1"]}]}, "(?s)no relationship 'SEND_BY'.*SENT_BY"),
        ({"facts": [{"SENT_BY": "c1"}]}, "'c1' is one key"),
    ],
)
def test_what_cannot_be_read_is_refused(both: World, given: dict[str, Any], message: str) -> None:
    tower, classifier = packed(both)
    with pytest.raises(InputError, match=message):
        classifier.classify(**given, tower=tower)
    with pytest.raises(InputError, match="holds no text tower"):
        classifier.classify(["coin"])


def test_targets_stand_in_the_order_of_what_was_trained(both: World) -> None:
    # The weights of words are one table, split by it.
    student = both.student
    backwards = {name: student.calibration[name] for name in reversed(student.calibration)}
    _, classifier = pack_classifier(replace(student, calibration=backwards), {"Channel": ["c0"]})
    assert list(classifier.targets) == list(student.classes) == ["intent", "type"]


def test_it_comes_back_from_its_parts_and_refuses_others(both: World) -> None:
    _, classifier = packed(both)
    settings = json.loads(json.dumps(classifier.settings()))
    arrays, files = classifier.arrays(), classifier.files()
    back = Classifier.from_arrays(settings, arrays, files, 0)
    vectors = np.random.default_rng(0).standard_normal((5, classifier.dim)).astype(np.float32)
    beside = [n.of([["c1"], [], ["c2", "c3"], ["c2"], ["x"]]) for n in classifier.nodes]
    for name, x in classifier.logits(classifier.dense(vectors, beside)).items():
        assert np.array_equal(x, back.logits(back.dense(vectors, beside))[name])
    one = next(iter(arrays))
    for wrong in (
        {**arrays, one: arrays[one][:-1]},
        {**arrays, one: arrays[one] * np.float32(np.nan)},
        {name: array for name, array in arrays.items() if name != one},
        {**arrays, "more": arrays[one]},
    ):
        with pytest.raises(ArtefactError):
            Classifier.from_arrays(settings, wrong, files, 0)
    for key, value in (("dim", -1), ("targets", {}), ("nodes", [["a"]]), ("targets", {"intent": {}})):
        with pytest.raises(ArtefactError, match=key):
            Classifier.from_arrays({**settings, key: value}, arrays, files, 0)
    with pytest.raises(ArtefactError, match=r"nodes\.json"):
        Classifier.from_arrays(settings, arrays, {}, 0)


def test_texts_that_share_no_word_make_a_classifier_that_comes_back(both: World) -> None:
    _, classifier = packed(both)
    layers = {n: a for n, a in classifier.arrays().items() if n.startswith(("hidden.", "target."))}
    wordless = Classifier(
        classifier.targets, layers, classifier.nodes, classifier.dim, WordFeatures.of(["a", "b"])
    )
    settings = json.loads(json.dumps(wordless.settings()))
    back = Classifier.from_arrays(settings, wordless.arrays(), wordless.files(), 0)
    assert back.words is None


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None; "
        "import kgdistill.serve.classifier, kgdistill.serve.tower"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
