from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kgdistill.cli import main
from kgdistill.run.base import RunBase
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.file import FORMAT
from kgdistill.serve.history import History
from kgdistill.serve.items import Items
from kgdistill.serve.search import search_index

_SHOP = Path(__file__).resolve().parents[2] / "data" / "sample_shop"
_STORE = ["--store", "ladybug:shop.db"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KGDISTILL_STORE", "KGDISTILL_NEO4J_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stocked(capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["ingest", "folder", str(_SHOP), *_STORE]) == 0
    Path("small.yaml").write_text("protocol: {min_user_events: 1, min_item_users: 1}\n")
    capsys.readouterr()
    return Path("shop.db")


def _refused(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "teacher", "--run", "none"], "none: is no run folder"),
        (["train", "student", "--run", "none"], "none: is no run folder"),
        (["evaluate", "--run", "none"], "none: is no run folder"),
        (["writeback", "--run", "none"], "none: is no run folder"),
        (["recommend", "--run", "none", "--user", "ann"], "none: is no run folder"),
        (["train", "teacher", "--run", "none", "--control", "nobody"], "'nobody' is not one of"),
        (["train", "teacher", "--run", "none", "--device", "tpu"], "unknown device 'tpu'"),
        (["evaluate", "--run", "none", "--device", "tpu"], "unknown device 'tpu'"),
        (["demo", "--device", "tpu"], "unknown device 'tpu'"),
        (["recommend"], "give one of: --run, --bundle"),
        (["recommend", "--bundle", "none"], "is no finished bundle"),
        (["recommend", "--bundle", "b", "--user", "ann"], "a bundle knows no users"),
        (["recommend", "--run", "r", "--user", "ann", "--history", "p"], "give one of: --user, --history"),
        (["recommend", "--run", "r", "--user", ""], "--user: an id is empty"),
        (["recommend", "--run", "r", "--user", "x" * 201], "--user: an id is 201 characters long"),
        (["recommend", "--run", "r", "--user", "a\x1b[31m"], "--user: an id holds control characters"),
        (["recommend", "--bundle", "b", "--history", "p1,,p2"], "--history: an id is empty"),
        (["recommend", "--bundle", "b", "-k", "0"], "'-k'"),
        (["snapshot", "--run", "new"], "there is no store here"),
        (["snapshot", "--run", "new", "--cut", "2024-01-01"], "give the cut and the test's start together"),
        (["snapshot", "--run", "new", "--cut", "soon"], "'soon' is not a date"),
        (["snapshot", "--run", "new", "--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused(args, words, capsys)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("student: {epoch: 2}", "unknown key 'student.epoch'\n  did you mean 'epochs'?"),
        ("protocol: {min_user_event: 2}", "did you mean 'min_user_events'?"),
        ("techer: {}", "did you mean 'teacher'?"),
        ("device: tpu", "device: "),
        ("protocol: 5", "'protocol' must be a mapping"),
    ],
)
def test_a_wrong_setting_is_named_before_the_store_is_read(
    text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(text)
    _refused(["snapshot", "--run", "new", "--config", "mine.yaml"], words, capsys)
    assert not Path("new").exists()


@pytest.mark.parametrize("option", [[], ["--task", "intent"]])
def test_a_file_of_settings_may_name_the_task_and_the_option_goes_before_it(
    option: list[str], stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("task: profile\n")
    words = "task intent: subjects" if option else "no class of income"
    for command in ("fit", "snapshot"):
        _refused([command, "--run", "new", "--config", "mine.yaml", *_STORE, *option], words, capsys)
    Path("mine.yaml").write_text("task: 5\n")
    if not option:
        _refused(["fit", "--run", "new", "--config", "mine.yaml", *_STORE], "5 is no task", capsys)
    assert not Path("new").exists()


def test_a_folder_with_other_things_is_not_made_a_run(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path("photos")
    (other / "snapshot").mkdir(parents=True)
    _refused(["snapshot", "--run", "photos", *_STORE], "photos: holds something else than a run", capsys)
    _refused(["demo", "--out", "photos"], "photos: holds something else than a run", capsys)
    assert [path.name for path in other.iterdir()] == ["snapshot"]


def test_a_snapshot_splits_at_the_given_moments_which_must_leave_something_to_validate(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", "--json", *_STORE]
    assert main([*asked, "--cut", "2024-01-20", "--test-start", "2024-03-01"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert (named["cut"], named["test_start"]) == ("2024-01-20T00:00:00", "2024-03-01T00:00:00")
    assert named["validation_pairs"] > 0
    _refused(["train", "student", "--run", "run"], "the stage 'targets' is not finished", capsys)
    _refused(
        [*asked, "--cut", "2030-01-01", "--test-start", "2030-02-01"],
        "bought anything new from the cut",
        capsys,
    )


_RUN = """
import os, sys
from kgdistill.cli import main
code = main(sys.argv[1:])
print(code, "torch" in sys.modules, os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize("told", [None, "ACTIVE"])
def test_a_snapshot_loads_no_torch_and_threads_wait_as_the_user_says_or_passively(
    told: str | None, stocked: Path
) -> None:
    moments = ["--cut", "2024-01-20", "--test-start", "2024-03-01"]
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", *moments, *_STORE]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {} if told is None else {"OMP_WAIT_POLICY": told}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *asked], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"0 False {told or 'PASSIVE'}"


def test_a_run_folder_that_another_process_holds_is_refused(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = ["--cut", "2024-01-20", "--test-start", "2024-03-01"]
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", *moments, *_STORE]
    assert main(asked) == 0
    capsys.readouterr()
    with RunBase.open("run").lock():
        before = Path("run/config.json").read_bytes()
        for command in (["train", "teacher"], ["train", "student"], ["train", "student", "--threads", "3"]):
            _refused([*command, "--run", "run"], "is training in this run folder", capsys)
        Path("small.yaml").write_text("protocol: {min_user_events: 2, min_item_users: 1}\n")
        _refused(asked, "is training in this run folder", capsys)
        assert Path("run/config.json").read_bytes() == before


def test_a_broken_run_configuration_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text('{"sed": 1}')
    _refused(["evaluate", "--run", "run"], "run/config.json: ", capsys)
    assert Path("run/config.json").read_text() == '{"sed": 1}'


def _bundle(folder: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "vectors": rng.normal(size=(4, 3)).astype(np.float32),
        "counts": np.array([9, 7, 5, 1]),
        "recent": np.array([4, 3, 2, 1], np.float32),
        "blend.weight": np.ones((3, 2), np.float32),
        "blend.bias": np.ones(3, np.float32),
        "blend.user": np.ones(3, np.float32),
        "blend.log_eps": np.zeros(0, np.float32),
        "blend.new_boost": np.zeros(1, np.float32),
        "log_decay": np.zeros(1, np.float32),
    }
    settings = {
        "min_count": 5,
        "pool": "warm",
        "families": [],
        "neighbours": [],
        "neighbour_decay": 0.0,
        "events": {},
    }
    table = pa.table(
        {
            "id": ["p0", "p1", "p2", "p3"],
            "title": ["tea", "mug", "bread", "rare tin"],
            "brand": pa.array(["Alpha", None, None, None], pa.string()),
            "category": pa.nulls(4, pa.string()),
        }
    )
    config = {
        "format": FORMAT,
        "reads": {"words": ["title"], "tower": []},
        "task": {"kind": "match", "name": "recommend"},
    }
    items = Items(table)
    search = search_index(items.columns(["title"]), np.zeros((4, 0), np.float32))
    Bundle(config, items, history=History(settings, arrays, 4), search=search).save(folder)


@pytest.mark.parametrize(
    ("given", "basis"),
    [
        ([], "popularity"),
        (["--text", "zzz"], "popularity"),
        (["--text", "tea"], "text"),
        (["--history", "p0,zz"], "history"),
    ],
)
def test_an_answer_says_on_what_it_rests(
    given: list[str], basis: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _bundle(Path("bundle"))
    assert main(["recommend", "--bundle", "bundle", "--json", *given]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["basis"] == basis
    assert answer["unknown"] == (["zz"] if basis == "history" else [])
    products = [hit["id"] for hit in answer["hits"]]
    assert set(products) == ({"p1", "p2"} if basis == "history" else {"p0", "p1", "p2"})
    assert "tea" in [hit["title"] for hit in answer["hits"]] or basis == "history"
    assert len(answer["notes"]) == ("zzz" in given or basis == "history")
    if basis == "popularity":
        assert products == ["p0", "p1", "p2"]


def test_unknown_products_of_a_history_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    _bundle(Path("bundle"))
    assert main(["recommend", "--bundle", "bundle", "--history", "zz,yy", "--pool", "cold"]) == 0
    said = capsys.readouterr()
    assert "unknown in --history: zz, yy" in said.err
    assert "rests on popularity alone" in said.err
    assert "rare tin" in said.out
