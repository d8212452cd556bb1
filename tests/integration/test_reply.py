"""Answering by an intent's template, by a past answer, or by a person: which of them, and what it says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _dialogues import TOPICS, fill_dialogues
from _tiny_encoder import tiny_encoder

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.run.run import Run
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.reply import reply
from kgdistill.store import MemoryStore, open_store


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reply")
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_dialogues(store)
        # Few epochs: a model that is sure of everything would never leave a question to past answers.
        small = {"queries": 60, "epochs": 3, "batch": 32, "dim": 12, "candidates": 8}
        classify = {"dim": 12, "word_dropout": 0.0, "made_up": 0, "epochs": 30}
        for task, settings in (("answer", {"search": small}), ("intent", {"classify": classify})):
            Run.create(folder / task, store, task=task, text=text, device="cpu", **settings).fit()
    return folder


@pytest.fixture(scope="module")
def intents(runs: Path) -> Bundle:
    return load_bundle(runs / "intent" / "bundle")


@pytest.fixture(scope="module")
def answers(runs: Path) -> Bundle:
    return load_bundle(runs / "answer" / "bundle")


def test_an_intent_is_answered_by_its_own_template_with_its_nodes(intents: Bundle, answers: Bundle) -> None:
    for topic in ("parcel", "refund", "chair"):
        told = reply(f"where is my {topic}", intents=intents, answers=answers, intent_from=0.0)
        assert (told.decision, told.intent) == ("intent", topic)
        assert told.text == f"{topic}: {{name}}"
        assert told.placeholders == ("name",)
        assert [n["id"] for n in told.nodes] == (["p2"] if topic == "chair" else [])
        assert told.nearest[0].answer == TOPICS[topic] or topic == "parcel"


def test_below_a_confidence_past_answers_stand_in_and_below_that_a_person(
    intents: Bundle, answers: Bundle
) -> None:
    text = "what of the lamp"
    told = reply(text, intents=intents, answers=answers, intent_from=1.0, answer_from=0.0)
    assert (told.decision, told.text) == ("answer", TOPICS["lamp"])
    told = reply(text, intents=intents, answers=answers, intent_from=1.0, answer_from=1.0)
    assert (told.decision, told.text, told.intent) == ("person", "", "lamp")
    assert "its intent is told with" in told.because
    assert "the nearest past answer is right with" in told.because
    # Nothing is written down for the intent.
    told = reply("no voucher yet", intents=intents, intent_from=0.0)
    assert told.decision == "person"
    assert "nothing is written down for the intent voucher" in told.because
    assert reply("no voucher yet", intents=intents, answers=answers, intent_from=0.0).decision == "answer"


def test_the_confidence_of_the_bundle_decides_where_none_is_given(intents: Bundle) -> None:
    part = intents.answers
    assert part is not None
    text = "where is my parcel"
    reached = reply(text, intents=intents, intent_from=0.0).confidence
    for sure, decision in ((reached - 1e-6, "intent"), (reached + 1e-6, "person")):
        other = load_other(intents, sure)
        assert other.answer(text).decision == decision


def test_a_bundle_whose_classes_have_no_templates_is_refused(
    intents: Bundle, answers: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moods = load_other(intents, 0.0, {})
    moods.save(tmp_path / "moods")
    # Whatever is asked, also where no model can read it.
    for text in ("where is my parcel", "我的包裹"):
        assert main(["answer", text, "--intents", str(tmp_path / "moods")]) == 2
        error = capsys.readouterr().err
        assert "the bundle of intents tells intent, and no class of that can have a template" in error
        assert "kgdistill fit --task intent" in error
    with pytest.raises(InputError, match="can have a template"):
        answers.answer("where is my parcel", intents=moods)


def load_other(bundle: Bundle, sure: float, templates: dict[str, Any] | None = None) -> Bundle:
    """The same bundle that believes from another probability on, or says something else."""
    assert bundle.answers is not None
    said = bundle.answers.templates if templates is None else templates
    part = replace(bundle.answers, sure={"intent": sure}, templates=said)
    return Bundle(bundle.config, bundle.items, text=bundle.text, classifier=bundle.classifier, answers=part)


def test_the_command_says_what_python_says(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["answer", "tell me about the lamp", "--answers", str(runs / "answer"), "--answer-from", "0"]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = load_bundle(runs / "answer" / "bundle").answer("tell me about the lamp", answer_from=0.0)
    assert told["decision"] == wanted.decision == "answer"
    assert told["text"] == wanted.text == TOPICS["lamp"]
    assert told["nodes"][0]["name"] == "desk lamp"
    assert main([*asked, "--intents", str(runs / "intent" / "bundle"), "--intent-from", "1"]) == 0
    shown = capsys.readouterr()
    assert "to be answered by a past answer" in shown.out
    assert "Product" in shown.out
    # An answer that is nearest by its own words was asked by nobody.
    lamp = TOPICS["lamp"]
    assert main(["answer", lamp, "--answers", str(runs / "answer"), "-k", "1", "--answer-from", "1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count(lamp) == 1
    assert "its own words" in shown.out
    assert main(["answer", "我的包裹", "--answers", str(runs / "answer")]) == 0
    assert "to be answered by a person: the models know too few" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["answer", "hello"], "give --intents, --answers or both"),
        (["answer", " ", "--answers", "answer"], "there is no text to answer"),
        (["answer", "hello", "--answers", "intent"], "the bundle of answers holds none"),
        (["answer", "hello", "--intents", "answer"], "made for 'answer'"),
        (["answer", "hello", "--answers", "answer", "--answer-from", "2"], "from 0 to 1"),
        (["answer", "hello", "--answers", "nothing"], "is not there"),
    ],
)
def test_what_cannot_be_answered_is_one_message(
    runs: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [
        str(runs / a) if a in ("answer", "intent", "nothing") and i > 1 else a
        for i, a in enumerate(arguments)
    ]
    assert main(places) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_run_without_a_bundle_is_told_for_what_it_is(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "answer", run, ignore=lambda folder, names: {"bundle"} & set(names), symlinks=True)
    store = f"ladybug:{tmp_path / 'shop.db'}"
    with open_store(store) as opened:
        fill_dialogues(opened)
    for arguments in (
        ["answer", "hello", "--answers", str(run)],
        ["answer", "hello", "--intents", str(run)],
        ["explain", "u", "p", "--run", str(run), "--store", store],
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "the stage 'bundle' is not finished" in error, arguments
        assert f"kgdistill fit --run {run}" in error
        assert "format" not in error
    assert main(["search", "hello", "--bundle", str(run)]) == 2
    assert f"is a run\n  --run {run}" in capsys.readouterr().err


def test_no_bundle_and_no_text_are_refused(intents: Bundle) -> None:
    with pytest.raises(InputError, match="no bundle is there"):
        reply("hello")
    with pytest.raises(InputError, match="whole number"):
        reply("hello", intents=intents, k=0)
