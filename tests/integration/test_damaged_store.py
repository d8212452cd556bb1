"""An embedded store that cannot be opened is made anew from its archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kgdistill.cli import main
from kgdistill.store import open_store

SHOP = Path(__file__).parents[2] / "data" / "sample_shop"


def test_a_damaged_store_is_put_aside_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_STORE", raising=False)
    assert main(["ingest", "folder", str(SHOP)]) == 0
    (tmp_path / "kgdistill.db" / "graph.lbug").write_bytes(b"no graph at all" * 1000)
    capsys.readouterr()
    assert main(["ingest", "resume", "--json"]) == 0
    said = capsys.readouterr()
    assert "put aside" in said.err
    assert json.loads(said.out)["written"]["User-BOUGHT-Product"] == 5
    assert main(["store", "verify"]) == 0
    assert [p.name for p in tmp_path.iterdir() if "damaged" in p.name]


def test_without_an_archive_a_damaged_store_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_STORE", raising=False)
    assert main(["ingest", "folder", str(SHOP)]) == 0
    shutil.rmtree(tmp_path / "kgdistill.db.archive")
    file = tmp_path / "kgdistill.db" / "graph.lbug"
    file.write_bytes(b"no graph at all" * 1000)
    assert main(["ingest", "folder", str(SHOP)]) == 2
    assert "cannot be opened" in capsys.readouterr().err
    assert file.read_bytes().startswith(b"no graph")


def test_a_store_changed_by_hand_is_told_and_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_STORE", raising=False)
    assert main(["ingest", "folder", str(SHOP)]) == 0
    with open_store("ladybug:kgdistill.db") as store:
        key = store.read_nodes("User")["user_id"].slice(0, 1)
        store.delete_nodes("User", key)
    capsys.readouterr()
    assert main(["store", "verify", "--json"]) == 2
    said = capsys.readouterr()
    assert "writing the graph" not in said.err  # a check writes nothing
    told = json.loads(said.out)
    assert {d["type"]: d["only_right"] for d in told["differences"]}["User"] == 1
    assert main(["store", "rebuild"]) == 0
    assert main(["store", "verify"]) == 0
    assert main(["store", "copy", "ladybug:kgdistill.db", "ladybug:copy.db"]) == 0
    assert main(["store", "verify", "--against", "ladybug:copy.db"]) == 0
