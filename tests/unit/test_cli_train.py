from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _refused import refused

from kgdistill.cli import main
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
        (["recommend", "--bundle", "none"], "none: is not there"),
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
    refused(args, words, capsys)
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
    refused(["snapshot", "--run", "new", "--config", "mine.yaml"], words, capsys)
    assert not Path("new").exists()


def test_a_broken_run_configuration_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text('{"sed": 1}')
    refused(["evaluate", "--run", "run"], "run/config.json: ", capsys)
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
