"""Types of one's own: named once with --schema, kept by the store and followed from then on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ladybug
import pytest
import yaml

from kgdistill.cli import main
from kgdistill.resources import graph_dir
from kgdistill.snapshot import take_snapshot
from kgdistill.store import LadybugStore, load_schema

_STORE = ["--store", "ladybug:shop.db"]
_SAMPLE = Path(__file__).parents[2] / "data" / "sample_shop"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample shop with stores that stock products and people who shared them."""
    monkeypatch.chdir(tmp_path)
    for name in ("KGDISTILL_STORE", "KGDISTILL_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    raw = yaml.safe_load((graph_dir() / "schema.yaml").read_text(encoding="utf-8"))
    raw["nodes"]["Shelf"] = {"key": "shelf_id", "name": "shelf_id"}
    raw["relationships"]["STANDS_ON"] = {"kind": "fact", "endpoints": [["Product", "Shelf"]]}
    raw["relationships"]["GIFTED"] = {
        "kind": "event",
        "endpoints": [["User", "Product"]],
        "time": "at",
        "properties": {"at": {"type": "timestamp", "required": True}, "channel": "string"},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    shutil.copytree(_SAMPLE, "files")
    Path("files/Shelf.csv").write_text("shelf_id\ns1\n")
    Path("files/STANDS_ON.csv").write_text("source,target\ntea-1,s1\ntea-2,s1\n")
    Path("files/GIFTED.csv").write_text("source,target,at,channel\nann,tea-1,2024-01-07,mail\n")
    return tmp_path


def ask(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main([*args, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_type_of_ones_own_is_followed_by_every_command(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "ingest", "folder", "files", *_STORE, "--schema", "mine.yaml")
    # A second job without the option knows the types still.
    with Path("files/GIFTED.csv").open("a") as file:
        file.write("bob,tea-2,2024-01-08,web\n")
    ask(capsys, "ingest", "folder", "files", *_STORE)
    stats = ask(capsys, "store", "stats", *_STORE)
    assert stats["nodes"]["Shelf"] == 1
    assert stats["relationships"]["User-GIFTED-Product"] == 2
    assert "IngestJob" not in stats["nodes"]
    assert main(["graph", "check", *_STORE]) == 0
    capsys.readouterr()
    ask(capsys, "store", "copy", "ladybug:shop.db", "ladybug:copy.db")
    assert ask(capsys, "store", "stats", "--store", "ladybug:copy.db")["nodes"]["Shelf"] == 1
    assert ask(capsys, "store", "verify", *_STORE)["differences"] == []

    settings = "protocol: {min_user_events: 1, min_item_users: 1}\n"
    Path("fast.yaml").write_text(settings)
    cut = ["--cut", "2024-02-01", "--test-start", "2024-03-01"]
    assert main(["snapshot", "--run", "run", *_STORE, "--config", "fast.yaml", *cut]) == 0
    out, err = capsys.readouterr()
    assert "Product-STANDS_ON-Shelf" in out
    # Facts of products are read, whatever they are called; other events are not, and it says so.
    unread = err.partition("no model reads these yet: ")[2]
    assert "User-GIFTED-Product (2)" in unread
    assert "STANDS_ON" not in unread


def test_a_snapshot_knows_the_kinds_of_a_store_that_was_opened_again(shop: Path) -> None:
    assert main(["ingest", "folder", "files", *_STORE, "--schema", "mine.yaml"]) == 0
    with LadybugStore("shop.db") as store:
        taken = take_snapshot(store, shop / "snapshot", cut=None)
    assert taken.schema.relationship(("User", "GIFTED", "Product")).kind == "event"
    assert taken.num_edges(("User", "GIFTED", "Product")) == 1
    assert taken.schema.node("Product").text == load_schema().node("Product").text


def test_a_store_without_declarations_is_read_as_the_projects_own(shop: Path) -> None:
    """As former versions made it: of a table's declaration they kept the identity alone."""
    assert main(["ingest", "folder", str(_SAMPLE), *_STORE]) == 0
    file = next(shop.glob("shop.db/*.lbug"))
    with ladybug.Database(str(file)) as database, ladybug.Connection(database) as connection:
        tables = connection.execute("CALL show_tables() RETURN name, type")
        for name, kind in tables.get_all():
            identity = list(load_schema().relationships[name].identity) if kind == "REL" else []
            note = json.dumps({"identity": identity}) if kind == "REL" else ""
            connection.execute(f"COMMENT ON TABLE `{name}` IS '{note}'")
    with LadybugStore("shop.db") as store:
        own, kept = load_schema(), store.schema
        assert {n: kept.nodes[n] for n in own.nodes} == own.nodes
        for name, rel in own.relationships.items():
            there = kept.relationships[name]
            assert set(there.endpoints) == set(rel.endpoints)
            assert there.model_copy(update={"endpoints": rel.endpoints}) == rel, name
