"""The command line against a real Neo4j, and two of them on one embedded store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

import pytest

from kgdistill.cli import main

if TYPE_CHECKING:
    from conftest import Server

    from kgdistill.store.neo4j.store import Neo4jStore

SHOP = str(Path(__file__).resolve().parents[2] / "data" / "sample_shop")


def _said(capsys: pytest.CaptureFixture[str], args: list[str]) -> Any:
    assert main([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_both_stores_answer_the_same(
    neo4j_server: Server,
    neo4j_store: Neo4jStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_NEO4J_PASSWORD", raising=False)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(neo4j_server.password)
    places = [
        ["--store", "ladybug:shop.db"],
        ["--store", neo4j_server.url, "--password-file", str(password)],
    ]
    answers = []
    for place in places:
        assert main(["ingest", "folder", SHOP, *place]) == 0
        capsys.readouterr()
        stats = _said(capsys, ["store", "stats", *place])
        history = _said(capsys, ["query", "run", "history_of_user", "-p", "user=ann", *place])
        paths = _said(capsys, ["explain", "ann", "tea-2", *place])
        answers.append((stats["nodes"], stats["relationships"], history, paths))
    assert answers[0] == answers[1]
    assert answers[0][1]["User-BOUGHT-Product"] == 5


def test_a_wrong_password_and_a_closed_port_are_one_message_each(
    neo4j_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KGDISTILL_NEO4J_PASSWORD", "not-the-password")
    for url in (neo4j_server.url, "bolt://127.0.0.1:1"):
        assert main(["store", "stats", "--store", url]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"kgdistill: {url}: ")
        assert "not-the-password" not in said.err


def test_a_second_process_on_an_embedded_store_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"ladybug:{tmp_path / 'shop.db'}"
    hold = (
        "import sys; from kgdistill.store import open_store\n"
        "with open_store(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with Popen([sys.executable, "-c", hold, url], stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            assert main(["ingest", "folder", SHOP, "--store", url]) == 2
        finally:
            holder.communicate("")
    assert f"process {holder.pid} is using this embedded store" in capsys.readouterr().err
    assert main(["ingest", "folder", SHOP, "--store", url]) == 0
