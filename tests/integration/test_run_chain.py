"""A run folder: its lock, and stages that are refused where they no longer fit what they stand on."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _shop import BOUGHT, PROTOCOL, fill_shop, purchases

from kgdistill.config import RunConfig, resolve_config
from kgdistill.errors import ArtefactError, InputError, RunLockedError
from kgdistill.run.base import RunBase
from kgdistill.run.chain import CLASSIFY, HISTORY, Pipeline
from kgdistill.run.stages import read_mark
from kgdistill.store import GraphStore, MemoryStore, load_schema


def settings(**changes: Any) -> RunConfig:
    return resolve_config({"protocol": PROTOCOL.model_dump(), **changes})


@pytest.fixture(scope="module")
def shop_store() -> Iterator[GraphStore]:
    with MemoryStore() as store:
        fill_shop(store)
        yield store


def _leave(run: RunBase, *names: str) -> None:
    """Leaves stages as a training would, with a line for what it learned."""

    def make(folder: Path) -> None:
        (folder / "model.txt").write_text("learned", encoding="utf-8")

    for name in names:
        run._stage(name, run._inputs(name, judged=HISTORY.trained), make)


@pytest.mark.parametrize(
    ("pipeline", "shuffled"), [(HISTORY, "teacher_shuffled"), (CLASSIFY, "teacher_exchanged")]
)
def test_controls_are_asked_for_by_what_is_shuffled(pipeline: Pipeline, shuffled: str) -> None:
    every = set(pipeline.teachers("all"))
    assert every == set(pipeline.by_learner[0])
    controls = {name for name in every if name in pipeline.arms and pipeline.arms[name].role == "control"}
    assert every - set(pipeline.teachers("none")) == controls
    assert every - set(pipeline.teachers("shuffled")) == controls - {shuffled}
    assert every - set(pipeline.teachers("text")) == {shuffled}


ALL = [name for name in HISTORY.stages if name not in ("graph", "teacher_words")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shop_store: GraphStore) -> Path:
    run = RunBase(tmp_path_factory.mktemp("made") / "run", settings())
    run.take_snapshot(shop_store)
    _leave(run, *ALL)
    return run.folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunBase:
    shutil.copytree(made, tmp_path / "run", symlinks=True)
    return RunBase.open(tmp_path / "run")


def _refusal(run: RunBase, name: str) -> ArtefactError:
    with pytest.raises(ArtefactError) as caught:
        run.need(name)
    return caught.value


def test_stages_that_fit_are_read_and_no_more_than_once_verified(run: RunBase) -> None:
    again = RunBase.open(run.folder)
    for name in ALL:
        assert again.read(name) == run.folder / name
    assert again.judged() == (tuple(k for k in HISTORY.trained if k != "teacher_words"), {})


def _another_product(store: GraphStore) -> None:
    rows = [{"product_id": "p", "title": "thing"}]
    store.write_nodes(
        "Product", pa.Table.from_pylist(rows, schema=load_schema().node_arrow_schema("Product"))
    )


def _another_purchase(store: GraphStore) -> None:
    rows = [{**purchases()[0], "first_at": PROTOCOL.cut.replace(year=2023), "target": "p79"}]
    table = pa.Table.from_pylist(rows, schema=load_schema().edge_arrow_schema(BOUGHT))
    store.write_relationships(BOUGHT, table)


def _a_later_purchase(store: GraphStore) -> None:
    rows = [{**purchases()[0], "first_at": PROTOCOL.test_start, "target": "p79"}]
    table = pa.Table.from_pylist(rows, schema=load_schema().edge_arrow_schema(BOUGHT))
    store.write_relationships(BOUGHT, table)


@pytest.mark.parametrize("change", [_another_product, _another_purchase, _a_later_purchase])
def test_every_stage_of_another_snapshot_is_refused(
    change: Callable[[GraphStore], None], run: RunBase
) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        change(store)
        # The store tells its rows apart by its jobs, and this one has none.
        (run.folder / "graph" / "stage.json").unlink()
        run.take_snapshot(store)
    for name in ("student", "bundle", "targets", "evaluate", "teacher"):
        error = _refusal(run, name)
        assert (error.message, error.where) == (
            "the fused teacher was trained on another snapshot",
            str(run.folder / "teacher"),
        )
        assert error.hint == f"make it anew: kgdistill train teacher --run {run.folder}"
    # Where the teacher follows, what stands on it is told.
    _leave(run, "text", "choice", "teacher", "targets")
    assert _refusal(run, "bundle").message == "the student was trained on another snapshot"
    _leave(run, "student")
    assert _refusal(run, "bundle").message == "the bundle was packed from another making of the student"
    kinds, left_out = run.judged()
    assert kinds == ("teacher", "student")
    assert left_out["teacher_text"] == "the text-only teacher was trained on another snapshot"
    _leave(run, *ALL)
    for name in ALL:
        run.need(name)


def test_the_same_snapshot_taken_again_leaves_everything_in_force(
    run: RunBase, shop_store: GraphStore
) -> None:
    (run.folder / "graph" / "stage.json").unlink()
    run.take_snapshot(shop_store)
    for name in ALL:
        RunBase.open(run.folder).read(name)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"student": {"epochs": 3}}, "bundle", "settings: student.epochs was 6, now it is 3"),
        ({"student": {"candidates": 30}}, "student", "targets was made with other settings: lists"),
        (
            {"teacher": {"dim": 8}},
            "student",
            "teacher was trained with other settings: teacher.dim was 64",
        ),
        ({"text": {"max_tokens": 9}}, "teacher", "was made with other settings: text.max_tokens was 64"),
        ({"seed": 5}, "evaluate", "teacher was trained with other settings: seed was 0, now it is 5"),
        (
            {"protocol": {"k": 3}},
            "evaluate",
            "teacher was trained with other settings: protocol.k was 10",
        ),
        ({"protocol": {"cut": "2024-02-01"}}, "evaluate", "snapshot was taken with other settings: cut was"),
    ],
)
def test_every_stage_of_other_settings_is_refused(
    changes: dict[str, Any], name: str, words: str, run: RunBase
) -> None:
    protocol = {**PROTOCOL.model_dump(), **changes.pop("protocol", {})}
    other = RunBase(run.folder, resolve_config({"protocol": protocol, **changes}))
    assert words in _refusal(other, name).message


def test_where_it_was_trained_is_no_reason_to_refuse(run: RunBase) -> None:
    other = RunBase(run.folder, settings(device="cpu", threads=1))
    for name in ALL:
        other.need(name)


def test_an_unfinished_stage_is_told_with_the_command(run: RunBase) -> None:
    (run.folder / "targets" / "stage.json").unlink()
    error = _refusal(run, "bundle")
    assert (error.message, error.hint) == (
        "the stage 'targets' is not finished",
        f"run it first: kgdistill train teacher --run {run.folder}",
    )


def test_a_damaged_stage_says_what_to_delete_and_following_it_leads_out(
    run: RunBase, shop_store: GraphStore
) -> None:
    for name in ("teacher", "text", "graph"):
        file = run.folder / name / ("holdout.parquet" if name == "graph" else "model.txt")
        file.write_bytes(file.read_bytes()[:-1])
        again = RunBase.open(run.folder)
        with pytest.raises(ArtefactError, match="not the") as caught:
            again.read(name)
        assert f"delete {run.folder / name}, then" in caught.value.hint
    for name in ("teacher", "text", "graph"):
        for file in (run.folder / name).rglob("*"):
            if file.is_file():
                file.unlink()
    run.take_snapshot(shop_store)
    _leave(run, *ALL)
    for name in ALL:
        RunBase.open(run.folder).read(name)


def test_a_damaged_snapshot_says_what_to_delete(run: RunBase) -> None:
    file = run.folder / "graph" / "snapshot" / "nodes" / "User.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ArtefactError, match="was altered") as caught:
        _ = RunBase.open(run.folder).snapshot
    assert caught.value.where == str(file)
    # What it was taken from is named: started with nothing else it would begin from the defaults.
    made = f"kgdistill snapshot --run {run.folder} --config {run.folder}/config.json --store "
    assert f"delete {run.folder}/graph, then make it anew: {made}" in caught.value.hint
    mark = read_mark(run.folder / "graph")
    assert mark is not None
    assert caught.value.hint.endswith(mark.values["store"])


def test_what_cannot_be_a_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(ArtefactError, match="cannot be made a run folder"):
            RunBase(place, settings())
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_folder_is_for_its_owner(run: RunBase) -> None:
    assert stat.S_IMODE(run.folder.stat().st_mode) == 0o700
    for name in ("graph/holdout.parquet", "graph/snapshot/nodes/User.parquet", "evaluate/model.txt"):
        assert stat.S_IMODE((run.folder / name).stat().st_mode) == 0o600
    assert pq.read_table(run.folder / "graph" / "holdout.parquet").num_rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "is not YAML"),
        (b"", "must be a mapping"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b'{"sed": 1}', "did you mean 'seed'?"),
        (b"[" * 2_000, "is nested too deeply"),
    ],
)
def test_a_damaged_configuration_is_one_message(text: bytes, words: str, run: RunBase) -> None:
    file = run.folder / "config.json"
    file.write_bytes(text)
    with pytest.raises(InputError) as caught:
        RunBase.open(run.folder)
    assert words in str(caught.value)
    assert caught.value.where == str(file)
    assert file.read_bytes() == text


_HOLD = """
import sys
from kgdistill.run.base import RunBase
with RunBase.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends_however_it_ends(run: RunBase) -> None:
    left = run.folder / ".teacher.part-killed"
    left.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError) as caught, run.lock():
            pass
        assert caught.value.message == f"another process (pid {other.pid}) is training in this run folder"
        # Other settings would be the other process's too.
        before = (run.folder / "config.json").read_bytes()
        with pytest.raises(RunLockedError):
            RunBase(run.folder, settings(seed=9))
        assert (run.folder / "config.json").read_bytes() == before
        # Who reads alone does not wait, and what stands there finished is not made.
        RunBase.open(run.folder).read("bundle")
        _leave(run, "student")
        (run.folder / "student" / "stage.json").unlink()
        with pytest.raises(RunLockedError):
            _leave(run, "student")
        os.kill(other.pid, signal.SIGKILL)
    left.mkdir(exist_ok=True)
    with run.lock(), run.lock():
        assert not left.exists()
    RunBase(run.folder, settings(seed=9))
