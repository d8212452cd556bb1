"""The commands that look at a graph, on a store in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _odd_shop import fill, odd_shop

from kgdistill.cli import main
from kgdistill.store import load_schema, open_store

SCHEMA = load_schema()
BOUGHT = "User-BOUGHT-Product"


def test_the_commands_print_and_exit_as_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"ladybug:{tmp_path / 'odd'}"
    with open_store(url) as store:
        fill(store, odd_shop())
    page = tmp_path / "out" / "page.html"
    assert main(["graph", "check", "--store", url, "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {"cycle", "alike-brands"} <= {f["code"] for f in found}
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["graph", "check", "--store", url, "--strict"]) == 2
    assert "error: Category: 2 circles of parents [cycle]" in capsys.readouterr().out
    assert main(["graph", "stats", "--store", url]) == 0
    assert BOUGHT in capsys.readouterr().out
    assert main(["graph", "stats", "--store", url, "--json"]) == 0
    assert {n["label"] for n in json.loads(capsys.readouterr().out)["nodes"]} == set(SCHEMA.nodes)
