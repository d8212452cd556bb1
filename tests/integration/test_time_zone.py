"""Times are stored in UTC and shown in the zone of the files that they came from."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from _page_shop import client

import kgdistill
from kgdistill.cli import main
from kgdistill.cli.times import in_zone
from kgdistill.explore import write_back
from kgdistill.explore.run_nodes import RunFacts
from kgdistill.serve.file import bundle_config, told_zone
from kgdistill.serve.readings import Readings
from kgdistill.snapshot import open_snapshot, take_snapshot
from kgdistill.store import open_store

_STORE = ["--store", "ladybug:shop.db"]
_MAPPING = """
version: 1
name: orders
time_zone: Asia/Shanghai
sources:
  orders:
    files: orders.csv
    nodes:
      - {label: User, key: user}
      - {label: Product, key: product}
    relationships:
      - type: BOUGHT
        from: {User: user}
        to: {Product: product}
        properties: {at: at}
"""
_QUERY = "MATCH (:User)-[b:BOUGHT]->(p:Product) RETURN p.product_id AS product, b.first_at AS at ORDER BY at"


def _ingest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of two purchases in Shanghai, in a folder that is then the current one."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("KGDISTILL_ARCHIVE", raising=False)
    Path("orders.yaml").write_text(_MAPPING)
    Path("orders.csv").write_text("user,product,at\nann,tea,2024-03-05 00:30:00\nann,mug,2024-03-06\n")
    assert main(["ingest", "run", "orders.yaml", ".", *_STORE]) == 0


def test_a_purchase_just_after_midnight_is_shown_on_its_own_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _ingest(tmp_path, monkeypatch)
    capsys.readouterr()
    assert main(["query", _QUERY, *_STORE]) == 0
    out, err = capsys.readouterr()
    assert "2024-03-05 00:30:00" in out
    assert "2024-03-06\n" in out
    assert "Asia/Shanghai" in err
    assert main(["query", _QUERY, *_STORE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["at"].startswith("2024-03-04T16:30:00")


def test_every_command_that_shows_times_shows_those_of_the_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_ARCHIVE", raising=False)
    Path("orders.yaml").write_text(_MAPPING)
    # The 4th of March in UTC, all of them; a pause of a day less than by UTC.
    lines = ["ann,tea,2024-03-05 00:30:00", "ann,mug,2024-03-05 07:00:00", "bob,tea,2024-03-14 07:00:00"]
    Path("orders.csv").write_text("\n".join(["user,product,at", *lines, "bob,mug,2024-03-14 07:10:00"]))
    assert main(["ingest", "run", "orders.yaml", ".", *_STORE, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "2024-03-05 00:30:00" in out
    assert "2024-03-04" not in out
    assert "times are those of Asia/Shanghai" in err
    assert main(["ingest", "run", "orders.yaml", ".", *_STORE]) == 0
    capsys.readouterr()
    for command in (["graph", "stats"], ["ingest", "status"]):
        assert main([*command, *_STORE]) == 0
        out, err = capsys.readouterr()
        assert "2024-03-14 07:10:00" in out
        assert "times are those of Asia/Shanghai" in err
    assert main(["graph", "check", *_STORE, "--html", "check.html", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["zone"] == "Asia/Shanghai"
    gap = next(finding for finding in found["findings"] if finding["code"] == "gap")
    assert gap["examples"] == ["2024-03-06 to 2024-03-13: 8 days"]
    assert "Days and times are those of Asia/Shanghai" in Path("check.html").read_text()
    assert main(["derive", "also-bought", "--cut", "2024-04-01", *_STORE]) == 0
    assert main(["explain", "ann", "tea", *_STORE]) == 0
    capsys.readouterr()
    assert main(["ingest", "history", "--archive", "shop.db.archive"]) == 0
    assert "times are those of Asia/Shanghai" in capsys.readouterr().err


def test_the_page_shows_all_times_in_the_zone_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_ARCHIVE", raising=False)
    Path("orders.yaml").write_text(_MAPPING)
    Path("orders.csv").write_text("user,product,at\nann,tea,2024-03-05 00:30:00\n")
    assert main(["ingest", "run", "orders.yaml", ".", *_STORE]) == 0
    told = pa.table({"user": ["ann"], "product": ["tea"], "rank": [1], "score": [0.5]})
    with open_store("ladybug:shop.db") as store:
        write_back(store, "demo", told, facts=RunFacts(task="recommend", cut=datetime(2024, 3, 19, 20, 30)))
        page = client(store)
        of_run = page.get("/run", params={"run": "demo"}).text
        of_card = page.get("/card", params={"label": "Run", "key": "demo"}).text
    for text in (of_run, of_card):
        assert "2024-03-20 04:30" in text
        assert "2024-03-19" not in text
        assert "times: Asia/Shanghai" in text


def test_a_snapshot_and_its_bundles_know_the_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _ingest(tmp_path, monkeypatch)
    assert main(["snapshot", "--run", "run", "--task", "search", *_STORE]) == 0
    capsys.readouterr()
    taken = open_snapshot(Path("run/graph/snapshot"))
    assert taken.zone == "Asia/Shanghai"
    config = bundle_config({"kind": "match"}, "Product", Readings.joined(["title"]), taken)
    assert told_zone(config) == "Asia/Shanghai"
    with open_store("ladybug:shop.db") as store:
        assert take_snapshot(store, Path("bare"), cut=None).zone == "UTC"
    with kgdistill.Graph("ladybug:shop.db") as graph:
        assert graph.snapshot("known", "2024-03-20").zone == "Asia/Shanghai"
    bare = json.loads(Path("bare/manifest.json").read_text())
    del bare["zone"]  # as an earlier version wrote it
    Path("bare/manifest.json").write_text(json.dumps(bare))
    assert open_snapshot(Path("bare")).zone == "UTC"


def test_other_values_and_utc_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2024, 3, 4, 16, 30)
    assert in_zone([[moment, "a", None, 1]], "UTC") == [[moment, "a", None, 1]]
    assert in_zone([["a", None, 1]], "Asia/Shanghai") == [["a", None, 1]]
    assert capsys.readouterr().err == ""
    assert in_zone([[moment, 1]], "Asia/Shanghai") == [[datetime(2024, 3, 5, 0, 30), 1]]
