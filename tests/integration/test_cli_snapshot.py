"""The commands from a folder of files to a snapshot, on a store in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _refused import refused

from kgdistill.cli import main
from kgdistill.run.base import RunBase

_SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample_shop"
_STORE = ["--store", "ladybug:shop.db"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_STORE", raising=False)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("sample") / "shop.db"
    assert main(["ingest", "folder", str(_SAMPLE), "--store", f"ladybug:{store}"]) == 0
    return store


@pytest.fixture
def stocked(sample: Path) -> None:
    shutil.copytree(sample, "shop.db")
    Path("small.yaml").write_text("protocol: {min_user_events: 1, min_item_users: 1}\n")


def _shop(folder: Path) -> Path:
    folder.mkdir()
    (folder / "User.csv").write_text("user_id\nann\nbob\n")
    (folder / "Product.csv").write_text("product_id,title\np1,[red] tea\np2,\x1b[31mcoffee\np3,bread\n")
    (folder / "Brand.csv").write_text("brand_id,name\nb1,Alpha\n")
    (folder / "MADE_BY.csv").write_text("source,target\np1,b1\np2,b1\n")
    (folder / "BOUGHT.csv").write_text(
        "source,target,first_at,count\nann,p1,2024-01-05T10:00:00,3\nbob,p3,2024-01-05T10:00:00,1\n"
    )
    return folder


def test_a_folder_goes_in_and_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = str(_shop(tmp_path / "shop"))
    for state, written in (("done", {"Product": 3, "User-BOUGHT-Product": 2}), ("unchanged", {})):
        assert main(["ingest", "folder", shop, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["state"] == state
        assert written.items() <= report["written"].items()
        assert report["rejected"] == 0
    assert main(["store", "stats", "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["nodes"]["Product"] == 3
    assert stats["relationships"]["User-BOUGHT-Product"] == 2
    assert stats["relationships"]["User-VIEWED-Product"] == 0
    asked = "MATCH (p:Product {product_id: $id}) RETURN p.title AS title"
    assert main(["query", asked, "--param", "id=p1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"title": "[red] tea"}]
    assert main(["explain", "ann", "p2", "--json"]) == 0
    assert [path["kind"] for path in json.loads(capsys.readouterr().out)] == ["MADE_BY"]
    assert main(["explain", "ann", "p2"]) == 0
    assert "[red] tea" in capsys.readouterr().out
    assert main(["explain", "ann", "p2", "--language", "zh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["because"].startswith("买过[red] tea")


def test_a_write_through_query_isrefused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", "folder", str(_shop(tmp_path / "shop"))]) == 0
    assert main(["query", "MATCH (u:User) DETACH DELETE u"]) == 2
    assert main(["query", "MATCH (u:User) RETURN u.user_id AS id", "--limit", "1"]) == 2
    capsys.readouterr()
    assert main(["query", "MATCH (u:User) RETURN count(u) AS n", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 2}]


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("option", [[], ["--task", "intent"]])
def test_a_file_of_settings_may_name_the_task_and_the_option_goes_before_it(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("task: sentiment\n")
    words = f"task {'intent' if option else 'sentiment'}: subjects"
    for command in ("fit", "snapshot"):
        refused([command, "--run", "new", "--config", "mine.yaml", *_STORE, *option], words, capsys)
    Path("mine.yaml").write_text("task: 5\n")
    if not option:
        refused(["fit", "--run", "new", "--config", "mine.yaml", *_STORE], "5 is no task", capsys)
    assert not Path("new").exists()


@pytest.mark.usefixtures("stocked")
def test_a_folder_with_other_things_is_not_made_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    other = Path("photos")
    (other / "snapshot").mkdir(parents=True)
    refused(["snapshot", "--run", "photos", *_STORE], "photos: holds something else than a run", capsys)
    refused(["demo", "--out", "photos"], "photos: holds something else than a run", capsys)
    assert [path.name for path in other.iterdir()] == ["snapshot"]


@pytest.mark.usefixtures("stocked")
def test_a_snapshot_splits_at_the_given_moments_which_must_leave_something_to_validate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", "--json", *_STORE]
    assert main([*asked, "--cut", "2024-01-20", "--test-start", "2024-03-01"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert (named["cut"], named["test_start"]) == ("2024-01-20T00:00:00", "2024-03-01T00:00:00")
    assert named["validation_pairs"] > 0
    refused(["train", "student", "--run", "run"], "the stage 'targets' is not finished", capsys)
    refused(
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


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("told", [None, "ACTIVE"])
def test_a_snapshot_loads_no_torch_and_threads_wait_as_the_user_says_or_passively(told: str | None) -> None:
    moments = ["--cut", "2024-01-20", "--test-start", "2024-03-01"]
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", *moments, *_STORE]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {} if told is None else {"OMP_WAIT_POLICY": told}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *asked], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"0 False {told or 'PASSIVE'}"


@pytest.mark.usefixtures("stocked")
def test_a_run_folder_that_another_process_holds_isrefused(capsys: pytest.CaptureFixture[str]) -> None:
    moments = ["--cut", "2024-01-20", "--test-start", "2024-03-01"]
    asked = ["snapshot", "--run", "run", "--config", "small.yaml", *moments, *_STORE]
    assert main(asked) == 0
    capsys.readouterr()
    with RunBase.open("run").lock():
        before = Path("run/config.json").read_bytes()
        for command in (["train", "teacher"], ["train", "student"], ["train", "student", "--threads", "3"]):
            refused([*command, "--run", "run"], "is training in this run folder", capsys)
        Path("small.yaml").write_text("protocol: {min_user_events: 2, min_item_users: 1}\n")
        refused(asked, "is training in this run folder", capsys)
        assert Path("run/config.json").read_bytes() == before
