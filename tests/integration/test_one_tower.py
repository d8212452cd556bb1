"""Several tasks that read with one text tower: made once, changed by none, held and loaded once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _dialogues import fill_dialogues
from _search_shop import fill_search_shop
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError
from kgdistill.models.text.transformer import TransformerText
from kgdistill.run.run import Run, Runs
from kgdistill.run.stages import read_mark
from kgdistill.run.tower import tower_of
from kgdistill.serve import file as bundle_files
from kgdistill.serve.joined import Joined
from kgdistill.serve.tower import TextTower, unit
from kgdistill.store import MemoryStore
from kgdistill.train.loop import Context
from kgdistill.train.tower import TowerTexts, train_shared_tower

TASKS = ["search", "answer", "intent"]
SETTINGS: dict[str, Any] = {
    "protocol": {"min_item_users": 3, "k": 10},
    "teacher": {"dim": 8, "layers": 2, "epochs": 1, "candidates": 20, "random": 5, "graph_steps": 10},
    "student": {"epochs": 1, "candidates": 20, "random": 5},
    "search": {"queries": 60, "epochs": 3, "batch": 32, "dim": 12, "candidates": 8},
    "classify": {"dim": 8, "word_dropout": 0.0, "epochs": 3},
    "one_tower": True,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tiny = tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", layers=1)
    return {**SETTINGS, "text": {"encoder": str(tiny), "precision": "float32"}}


@pytest.fixture(scope="module")
def store() -> Any:
    with MemoryStore() as held:
        fill_shop(held)
        fill_search_shop(held)
        fill_dialogues(held)
        yield held


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store: MemoryStore, settings: dict[str, Any]) -> Path:
    made = tmp_path_factory.mktemp("one") / "all"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_files, "_WORTH", 1)  # tiny files are held once too
        Run.create(made, store, tasks=TASKS, **settings).fit()
    return made


def test_every_student_reads_with_the_tower_and_none_changes_it(folder: Path) -> None:
    runs = Runs.open(folder)
    tower = tower_of(runs["intent"])
    assert tower is not None
    assert tower.table.shape[1] == 12  # the widest that a task asks for
    intent = runs["intent"].by_classes.student().model.table
    assert intent is not None
    np.testing.assert_array_equal(intent.weight.detach().numpy(), tower.table)
    for name in ("search", "answer"):
        table = runs[name].by_text.student().table.weight.detach().numpy()
        np.testing.assert_array_equal(table, tower.table)
    for own in (
        runs["intent"].by_classes.student("student_nodistill").model.table,
        runs["search"].by_text.student("student_nodistill").table,
    ):
        assert own is not None
        assert not np.array_equal(own.weight.detach().numpy(), tower.table)


def test_the_tower_is_told_by_a_teacher_that_knows_nothing_of_validation(folder: Path) -> None:
    maker = Runs.open(folder)["intent"].by_classes
    teacher, rows = maker.teacher(), np.union1d(maker.task.subjects("train"), maker.task.unlabelled)
    assert teacher.chosen is not None
    told = maker.tower_texts().told["intent"]
    by_chosen, by_final = (
        model.told(maker.task, maker.vectors)["intent"][rows] for model in (teacher.chosen, teacher)
    )
    np.testing.assert_array_equal(told, by_chosen)
    assert not np.array_equal(told, by_final)


def test_the_tower_points_where_the_text_encoder_does_for_every_task(folder: Path) -> None:
    runs = Runs.open(folder)
    tower, bundle = tower_of(runs["search"]), kg.load(folder / "bundle")
    assert tower is not None
    assert isinstance(bundle, Joined)
    for name in TASKS:
        texts = runs[name].maker.tower_texts()
        reads = bundle[name].text
        assert reads is not None
        got, want = reads.encode(list(texts.texts)), texts.vectors @ tower.axes
        cosine = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
        assert cosine.mean() > 0.9, name
        assert set(texts.told) == ({"intent"} if name == "intent" else set())


def test_the_joined_bundles_hold_and_load_it_once(folder: Path) -> None:
    whole = folder / "bundle"
    assert len(list((whole / "shared.files").iterdir()))
    assert not list(whole.glob("*/text_tower/model.safetensors"))
    joined = kg.load(whole)
    assert isinstance(joined, Joined)
    towers = [joined[name].text for name in TASKS]
    assert len({id(t._folded) for t in towers if t is not None}) == 1
    for name in TASKS:
        alone = kg.load(folder / f"all-{name}" / "bundle")
        assert (
            alone.text.encode(["where is my lamp"]).tolist()
            == joined[name].text.encode(["where is my lamp"]).tolist()
        )  # type: ignore[union-attr]
    assert joined.classify(["where is my parcel"]) == kg.load(folder / "all-intent" / "bundle").classify(
        ["where is my parcel"]
    )
    title = joined["search"].items.titles[0]
    assert joined.search(title, 3) == kg.load(folder / "all-search" / "bundle").search(title, 3)


def test_a_shared_file_that_is_gone_or_damaged_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "bundle", tmp_path / "bundle")
    for file in (tmp_path / "bundle" / "shared.files").iterdir():
        file.write_bytes(b"other")
    with pytest.raises(ArtefactError, match="is not the file that the bundle was made with"):
        kg.load(tmp_path / "bundle")["search"]  # type: ignore[index]
    shutil.rmtree(tmp_path / "bundle" / "shared.files")
    with pytest.raises(ArtefactError, match="is missing"):
        kg.load(tmp_path / "bundle")["search"]  # type: ignore[index]


def test_one_taken_out_of_the_folder_is_whole_again(folder: Path, tmp_path: Path) -> None:
    kg.load(folder / "bundle")["search"].save(tmp_path / "search")  # type: ignore[index]
    title = kg.load(tmp_path / "search").items.titles[0]  # type: ignore[union-attr]
    assert kg.load(tmp_path / "search").search(title, 3) == kg.load(folder / "bundle").search(title, 3)


def test_one_inside_the_folder_is_found_by_any_way_to_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(folder / "bundle" / "search")
    monkeypatch.chdir(folder / "bundle" / "search")
    for way in (".", "text_tower/..", tmp_path / "link"):
        assert len(kg.load(way).items)  # type: ignore[union-attr]


def test_one_copied_out_without_the_shared_files_says_what_to_copy(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "bundle" / "search", tmp_path / "search")
    with pytest.raises(ArtefactError, match="is missing") as raised:
        kg.load(tmp_path / "search")
    assert "the whole folder, with shared.files" in str(raised.value.hint)


def test_fit_keeps_what_stands_and_follows_another_tower(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "all"
    shutil.copytree(folder, copied, symlinks=True)

    def made() -> dict[str, Any]:
        marks = {"tower": read_mark(copied / "tower")}
        marks |= {
            f"{n}/{s}": read_mark(copied / f"all-{n}" / s)
            for n in TASKS
            for s in ("student", "student_nodistill")
        }
        return {name: mark and mark.made for name, mark in marks.items()}

    before = made()
    Runs.open(copied).fit()
    assert made() == before
    mark = json.loads((copied / "tower" / "stage.json").read_text())
    (copied / "tower" / "stage.json").write_text(json.dumps({**mark, "inputs": "of other texts"}))
    Runs.open(copied).fit()
    after = made()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"tower", *(f"{name}/student" for name in TASKS)}


def test_a_student_of_another_tower_no_longer_fits(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "all"
    shutil.copytree(folder, copied, symlinks=True)
    mark = json.loads((copied / "tower" / "stage.json").read_text())
    (copied / "tower" / "stage.json").write_text(json.dumps({**mark, "made": "anew"}))
    with pytest.raises(ArtefactError, match="another making of the text tower"):
        Runs.open(copied)["intent"].bundle()
    (copied / "tower" / "config.json").write_text("{ }")
    with pytest.raises(ArtefactError, match="bytes"):
        tower_of(Runs.open(copied)["intent"])
    shutil.rmtree(copied / "tower")
    with pytest.raises(ArtefactError, match="is not there") as raised:
        Runs.open(copied)["intent"].fit()
    assert "kgdistill fit --run" in str(raised.value.hint)
    # One that was taken away from the others cannot make the tower itself.
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(folder / "all-intent", moved)
    for ask in (Run.fit, Run.bundle):
        with pytest.raises(ArtefactError, match="is not there") as raised:
            ask(Run.open(moved))
        assert "move the run back beside the others" in str(raised.value.hint)


def test_a_task_that_joins_takes_the_tower_and_recommend_keeps_its_own(
    store: MemoryStore, settings: dict[str, Any], tmp_path: Path
) -> None:
    Run.create(tmp_path / "all", store, tasks=["intent"], **settings)
    later = {name: value for name, value in settings.items() if name != "one_tower"}
    runs = Run.create(tmp_path / "all", store, tasks=["recommend", "answer"], **later)
    assert [run.takes_tower for run in runs.values()] == [True, False, True]


def test_encoders_that_differ_and_a_single_task_are_refused(
    store: MemoryStore, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(tmp_path / "all", store, tasks=["intent"], **settings)
    other = tiny_encoder(tmp_path / "other", layers=2)
    runs = Run.create(
        tmp_path / "all", store, tasks=["answer"], **{**settings, "text": {"encoder": str(other)}}
    )
    with pytest.raises(InputError, match="cannot follow several text encoders"):
        runs.fit()
    single = {name: value for name, value in settings.items() if name != "protocol"}
    alone = Run.create(tmp_path / "alone", store, task="intent", **single)
    with pytest.raises(ArtefactError, match="is not there"):
        alone.fit()
    assert not (tmp_path / "alone" / "text").exists()
    assert main(["fit", "--run", str(tmp_path / "x"), "--task", "intent", "--one-tower"]) == 2
    assert "takes several tasks" in capsys.readouterr().err


def test_what_teachers_of_classes_say_reaches_the_tower(settings: dict[str, Any]) -> None:
    encoder = TransformerText(settings["text"]["encoder"], precision="float32", device=torch.device("cpu"))
    texts = [
        f"{colour} {what} {n}" for colour in ("red", "blue") for what in ("lamp", "chair") for n in range(10)
    ]
    vectors = np.repeat(encoder.encode(["something"]), len(texts), axis=0)  # they tell nothing apart
    vectors += 0.01 * np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    red = np.array([text.startswith("red") for text in texts])
    told = {"colour": np.where(np.stack([red, ~red], 1), 4.0, -4.0).astype(np.float32)}
    apart = {}
    for name, said in {"vectors": {}, "both": told}.items():
        part = TowerTexts(texts, vectors, told=said)
        tower = train_shared_tower(
            [part, TowerTexts(["red"], vectors[:1])], encoder, 8, 64, Context(torch.device("cpu"), 0)
        )
        got = unit(TextTower.of(tower.tokenizer, tower.table, None, None).encode(texts))
        apart[name] = float(np.linalg.norm(got[red].mean(0) - got[~red].mean(0)))
    assert apart["both"] > 2 * apart["vectors"]
