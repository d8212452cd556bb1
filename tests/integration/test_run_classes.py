"""Classes as a run: declared in a file, judged on held-out subjects, told without torch."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _departments import TASK, THINGS, fill_departments
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.arrays import FloatArray
from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError, LeakError
from kgdistill.models.text.transformer import PooledText
from kgdistill.run.run import Run
from kgdistill.run.stages import digest
from kgdistill.serve.bundle import Bundle
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.tasks.spec import parse_task
from kgdistill.train import class_baseline


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_departments(opened)
        yield opened


def fitted(folder: Path, store: GraphStore, task: dict[str, Any]) -> Run:
    """A small run."""
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    small = {"epochs": 15, "batch": 16, "dim": 12, "hidden": 16, "teacher_hidden": 16, "lr": 0.01}
    made = Run.create(folder / "run", store, task=parse_task(task), text=text, classify=small, device="cpu")
    made.fit()
    return made


@pytest.fixture(scope="module")
def run(store: GraphStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fitted(tmp_path_factory.mktemp("classes"), store, TASK)


def test_the_tests_classes_stay_closed_and_the_student_learns_them(run: Run) -> None:
    # Nothing but text is read: there is no control without facts.
    controlled = ("teacher_exchanged", "student", "student_nodistill")
    assert run.pipeline.fitted == ("text", "teacher", *controlled, "bundle")
    with pytest.raises(LeakError, match="the test's classes are closed"):
        run.by_classes.task.truth("department", "test")
    results = run.evaluate()
    scores = {arm["arm"]: arm["settings"]["department"]["macro_f1"]["mean"] for arm in results["arms"]}
    assert list(scores) == ["majority", "linear", "teacher", *controlled]
    assert scores["student"] > 0.9 > 0.5 > scores["majority"]
    assert scores["linear"] > 0.9 > 0.75 > scores["teacher_exchanged"]
    assert (results["left_out"], results["void"]) == ({}, {})
    assert "Department; 95% intervals over subjects" in str(results)
    told = {arm["arm"]: (arm["fit_seconds"], arm["parameters"]) for arm in results["arms"]}
    assert told["majority"] == (None, None)
    assert all(told[name][0] > 0 for name in ("linear", "teacher", *controlled))
    assert told["linear"][1] == run.by_classes.baseline.parameters
    # The teacher reads the texts with its encoder, which the student does without.
    assert told["teacher"][1] > run.by_classes.encoder.parameters_count > told["student"][1] > 0
    pairs = {(c["a"], c["b"]) for c in results["comparisons"]}
    assert pairs >= {("student", "student_nodistill"), ("student", "linear"), ("teacher", "linear")}


def test_both_students_are_shown_each_token_once(
    store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    encode = PooledText.encode

    def counted(self: PooledText, texts: list[str]) -> FloatArray:
        asked.update(texts)
        return encode(self, texts)

    monkeypatch.setattr(PooledText, "encode", counted)
    fitted(tmp_path, store, TASK)
    # The names of the classes are read before, as texts.
    tokens = [times for text, times in asked.items() if " " not in text and text not in ("home", "office")]
    assert len(tokens) > 20
    assert max(tokens) == 1


def test_each_arm_and_the_bundle_know_what_is_none_of_the_classes(tmp_path: Path) -> None:
    target = {"relationship": "IN_CATEGORY", "none_of_them": "garden"}
    with MemoryStore() as opened:
        fill_departments(opened, THINGS | {"spade": "garden", "hose": "garden"})
        made = fitted(tmp_path, opened, TASK | {"targets": {"department": target}})
    maker = made.by_classes
    maker.task.open_test()
    strange = ~maker.task.truth("department", "test").any(axis=1)
    rows = maker.task.subjects("test", "department")
    for name in ("linear", "teacher", "student", "student_nodistill"):
        arm = maker.said()[name].arm
        assert arm.calibration["department"].familiar is not None, name
        told = arm.classified(maker.task, "department", "test").chosen.any(axis=1)
        assert told[~strange].mean() > 0.7 > 0.3 > told[strange].mean(), name
        if name == "student" and maker.task.texts is not None:
            said = made.bundle().classify([maker.task.texts[row] for row in rows])
            assert [one.told.out_of_scope for one in said] == (~told).tolist()


def test_a_regression_that_takes_too_much_memory_is_left_out_and_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.folder, tmp_path / "run", symlinks=True)
    shutil.rmtree(tmp_path / "run" / "evaluate")
    monkeypatch.setattr(class_baseline, "MOST", 10)
    assert main(["evaluate", "--run", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "left out: logistic regression takes too much memory" in said.out + said.err
    results = Run.open(tmp_path / "run").evaluate()
    assert "linear" not in {arm["arm"] for arm in results["arms"]}
    assert list(results["left_out"]) == ["linear"]


def test_the_bundle_tells_what_the_student_tells(run: Run) -> None:
    bundle, student = run.bundle(), run.by_classes.student()
    task = run.by_classes.task
    assert task.texts is not None
    logits = student.logits(task)["department"]
    names = student.classes["department"]
    for text, row in list(zip(task.texts, logits, strict=True))[:10]:
        told = bundle.classify([text])[0].told
        assert told.classes[0] == names[int(np.argmax(row))]
    with pytest.raises(InputError, match="it cannot recommend"):
        bundle.recommend(["p000"])


def test_a_run_is_loaded_by_its_own_folder_and_without_a_bundle_is_told_for_what_it_is(
    run: Run, tmp_path: Path
) -> None:
    loaded = kg.load(run.folder)
    assert isinstance(loaded, Bundle)
    assert loaded.classify(["pen"]) == run.bundle().classify(["pen"])
    shutil.copytree(run.folder, tmp_path / "run", symlinks=True)
    shutil.rmtree(tmp_path / "run" / "bundle")
    with pytest.raises(ArtefactError, match="is a run whose bundle is not there") as told:
        kg.load(tmp_path / "run")
    assert told.value.hint == f"kgdistill fit --run {tmp_path / 'run'}"


def test_the_commands_tell_of_a_run_that_was_fitted(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--run", str(run.folder)]
    for args in (["fit", *at, "--json"], ["train", "teacher", *at], ["train", "student", *at]):
        assert main(args) == 0
    assert "student_nodistill" in capsys.readouterr().out
    for args, words in (
        (["recommend", *at, "--user", "u1"], "made for 'department'; it cannot recommend"),
        (["similar", "p000", *at], "made for 'department'; it cannot tell what is similar"),
    ):
        assert main(args) == 2
        assert words in capsys.readouterr().err


def test_texts_are_read_from_stdin(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--bundle", str(run.folder / "bundle"), "--json"]

    def told(*texts: str, given: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = main(["classify", *texts, *at])
        return code, *capsys.readouterr()

    want = told("pen number 3", "sofa 灯")
    assert told("-", given="\ufeffpen number 3\r\n \nsofa 灯".encode()) == want
    assert len(json.loads(want[1])) == 2
    assert json.loads(told("-", given="pen\u2028sofa\n".encode())[1])[0]["subject"] == "pen\u2028sofa"
    # How much of a text the model reads is said where it is little.
    assert [one["read"] for one in json.loads(want[1])] == [1.0, 0.8]
    assert main(["classify", "pen 灯 灯 灯", "pen 灯", *at[:2]]) == 0
    said = capsys.readouterr().err
    assert "of 'pen 灯 灯 灯' only 25% is known: what is told rests on little" in said
    assert said.count("rests on little") == 1
    for given, says in ((b" \n", "-: holds no text"), (b"\xff", "-: is no text in UTF-8")):
        code, out, said = told("-", given=given)
        assert (code, out) == (2, "")
        assert says in said
    monkeypatch.setattr("sys.stdin", None)
    assert main(["classify", "-", *at]) == 2
    assert "-: standard input is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "lacks"),
    [
        ("student", "words"),
        ("student", "centres"),
        ("student", "copies"),
        ("teacher", "centres"),
        ("teacher", "copies"),
    ],
)
def test_what_a_former_version_left_is_trained_anew(run: Run, tmp_path: Path, stage: str, lacks: str) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run.folder, copied, symlinks=True)
    mark = json.loads((copied / stage / "stage.json").read_text())
    del mark["values"][lacks]
    mark["inputs"] = digest(mark["values"])
    (copied / stage / "stage.json").write_text(json.dumps(mark))
    about = copied / stage / "classes.json"
    held = json.loads(about.read_text())
    about.write_text(json.dumps({name: value for name, value in held.items() if name != lacks}))
    with pytest.raises(ArtefactError, match=f"with other settings: {lacks}") as raised:
        getattr(Run.open(copied).by_classes, stage)()
    assert "kgdistill fit --run" in str(raised.value.hint)
    Run.open(copied).fit()
    assert getattr(Run.open(copied).by_classes, stage)().words is not None


def test_a_task_with_one_class_is_refused(store: GraphStore, tmp_path: Path) -> None:
    one = {**TASK, "targets": {"title": {"property": "size"}}}
    with pytest.raises(InputError):
        Run.create(tmp_path / "run", store, task=parse_task(one)).fit()
