"""Several tasks become several runs, and one folder of bundles that answers for all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from _dialogues import TOPICS, fill_dialogues
from _search_shop import fill_search_shop
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError
from kgdistill.run.run import Run, Runs
from kgdistill.serve.joined import Joined, join, tasks_in
from kgdistill.store import MemoryStore

TASKS = ["recommend", "search", "answer", "intent"]
SETTINGS: dict[str, Any] = {
    "protocol": {"min_item_users": 3, "k": 10},
    "teacher": {"dim": 8, "layers": 2, "epochs": 1, "candidates": 20, "random": 5, "graph_steps": 10},
    "student": {"epochs": 1, "candidates": 20, "random": 5},
    "search": {"queries": 60, "epochs": 3, "batch": 32, "dim": 12, "candidates": 8},
    "classify": {"dim": 12, "word_dropout": 0.0},
    "device": "cpu",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("several")
    text = {"encoder": str(tiny_encoder(made / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_shop(store)
        fill_search_shop(store)
        fill_dialogues(store)
        runs = Run.create(made / "all", store, tasks=TASKS, text=text, **SETTINGS)
        runs.fit()
    return made / "all"


@pytest.fixture(scope="module")
def joined(folder: Path) -> Joined:
    found = kg.load(folder / "bundle")
    assert isinstance(found, Joined)
    return found


def test_each_task_has_a_run_of_its_own_and_its_name_in_the_graph_tells_both(folder: Path) -> None:
    runs = Runs.open(folder)
    assert list(runs) == TASKS
    assert [run.folder.name for run in runs.values()] == [f"all-{name}" for name in TASKS]
    assert [run.config.task.name for run in runs.values()] == TASKS
    assert runs["recommend"].config.discovery.k == 10  # the split by time is set where there is one


def test_each_question_goes_to_the_bundle_that_was_made_for_it(joined: Joined) -> None:
    history = joined["recommend"].keys[:2]
    assert joined.recommend(history, 3) == joined["recommend"].recommend(history, 3)
    assert joined.recommend_many([history], 3) == joined["recommend"].recommend_many([history], 3)
    assert joined.similar(history[0], 3) == joined["recommend"].similar(history[0], 3)
    title = joined["search"].items.titles[0]
    assert joined.search(title, 3) == joined["search"].search(title, 3)
    assert joined.search_many([title], 3) == joined["search"].search_many([title], 3)
    assert joined.classify(["where is my parcel"]) == joined["intent"].classify(["where is my parcel"])


def test_a_searchs_order_is_told_by_the_bundle_that_recommends(joined: Joined) -> None:
    title, history = joined["search"].items.titles[0], joined["recommend"].keys[:2]
    personal = joined["search"].search(title, 5, history=history, recommender=joined["recommend"], share=0.9)
    assert joined.search(title, 5, history=history, share=0.9) == personal
    assert personal != joined.search(title, 5)


def test_an_answer_reads_intents_and_past_answers(joined: Joined) -> None:
    told = joined.answer("what of the lamp", intent_from=1.0, answer_from=0.0)
    assert (told.decision, told.text) == ("answer", TOPICS["lamp"])
    assert joined.answer("where is my parcel", intent_from=0.0).decision == "intent"


def test_what_none_or_several_can_answer_is_said(joined: Joined, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no bundle here can audience"):
        joined.audience("c1")
    with pytest.raises(InputError, match="no bundle here was made for 'serch'") as raised:
        joined.of("search", "serch")
    assert "search" in str(raised.value.hint)
    bundle = folder / "bundle" / "intent"
    twice = join(tmp_path / "twice", {"intent": bundle, "mood": bundle})
    with pytest.raises(InputError, match="intent and mood could classify"):
        twice.classify(["where is my parcel"])
    assert twice.classify(["where is my parcel"], task="mood") == joined.classify(["where is my parcel"])


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["recommend", "--history", "p0,p1", "-k", "3"], "--bundle"),
        (["recommend", "--user", "u3", "-k", "3"], "--run"),
        (["search", "thing", "-k", "3"], "--bundle"),
        (["classify", "where is my parcel"], "--bundle"),
        (["classify", "where is my parcel", "--task", "intent"], "--run"),
    ],
)
def test_the_commands_find_the_bundle_that_answers(
    folder: Path, command: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "bundle" if option == "--bundle" else folder
    assert main([*command, option, str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_run_of_several_is_no_run_of_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "teacher", "--run", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "holds several runs" in told
    assert "all-recommend" in told


def test_evaluate_and_report_go_through_all(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["evaluate", "--run", str(folder), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == TASKS
    assert main(["report", str(folder), "--json"]) == 0
    pages = json.loads(capsys.readouterr().out)
    assert all(Path(page["html"]).is_file() for page in pages.values())


def test_what_was_joined_is_replaced_whole_and_nothing_else_is(
    folder: Path, joined: Joined, tmp_path: Path
) -> None:
    whole = tmp_path / "bundle"
    parts = {name: folder / "bundle" / name for name in ("recommend", "intent")}
    assert list(join(whole, parts)) == ["recommend", "intent"]
    assert list(join(whole, {"intent": parts["intent"]})) == ["intent"]
    assert sorted(p.name for p in whole.iterdir()) == ["intent", "tasks.json"]
    damaged = tmp_path / "damaged"
    shutil.copytree(parts["intent"], damaged)
    (damaged / "items.arrow").write_bytes(b"")
    with pytest.raises(ArtefactError):
        join(whole, {"intent": damaged})
    assert tasks_in(whole) == ["intent"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("kept")
    with pytest.raises(ArtefactError, match="holds something else"):
        join(other, {"intent": parts["intent"]})
    assert (other / "mine.txt").read_text() == "kept"
    for name in ("", "..", "a/b"):
        with pytest.raises(InputError, match="cannot name a folder"):
            join(tmp_path / "new", {name: parts["intent"]})


@pytest.mark.parametrize(
    ("text", "says"), [("{", "cannot be read"), ('{"format": 2, "tasks": ["a"]}', "this version"),
                       ('{"format": 1, "tasks": ["../a"]}', "this version"), ("[]", "cannot be read")],
)  # fmt: skip
def test_a_damaged_list_of_tasks_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(ArtefactError, match=says):
        kg.load(tmp_path)


def test_settings_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        with pytest.raises(InputError, match="name each task once"):
            Run.create(tmp_path / "a", store, tasks=["recommend", "recommend"])
        with pytest.raises(InputError, match="unknown key 'teachr'"):
            Run.create(tmp_path / "a", store, tasks=["recommend", "search"], teachr={})
        assert not (tmp_path / "a").exists()
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "mine.txt").write_text("kept")
        with pytest.raises(InputError, match="holds something else"):
            Run.create(tmp_path / "b", store, tasks=["recommend", "search"])


def test_a_search_that_nothing_judges_is_fitted_beside_what_is_judged(folder: Path, tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        settings = {**SETTINGS, "text": Runs.open(folder)["search"].config.text.model_dump()}
        runs = Run.create(tmp_path / "both", store, tasks=["recommend", "search"], **settings)
    runs.fit()
    joined = kg.load(tmp_path / "both" / "bundle")
    assert len(joined.search(joined["search"].items.titles[0], 3))  # type: ignore[index]
    assert list(runs.evaluate()) == ["recommend"]
