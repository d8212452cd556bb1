"""Runs are listed, and go with all that they wrote, from the graph and its archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.explore import NodeEmbeddings, write_back
from kgdistill.explore.run_nodes import RunFacts
from kgdistill.explore.runs import list_runs, prune_runs
from kgdistill.explore.writeback import ToldClass, write_classes
from kgdistill.ingest.outputs import Outputs
from kgdistill.ingest.projection import rebuild
from kgdistill.store import GraphStore, load_schema, open_store
from tests.integration._stores import STORES, content, opened
from tests.integration.test_outputs import fill

SCHEMA = load_schema()
PROFILED = ("User", "PROFILED", "Class")
RUNS = ("first", "second", "third", "profile")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def write(store: GraphStore, runs: tuple[str, ...] = RUNS) -> None:
    table = pa.table({"user": ["ann", "bob"], "product": ["p4", "p4"], "rank": [1, 1], "score": [0.5, 0.5]})
    for n, run in enumerate(runs):
        if run == "profile":
            told = [ToldClass("ann", "income", "low", 0.75)]
            write_classes(store, run, {PROFILED: told}, facts=RunFacts(task="profile"))
        else:
            vectors = NodeEmbeddings("Product", "student", ["p4", "p5"], np.full((2, 3), n + 1, np.float32))
            write_back(store, run, table, [vectors], facts=RunFacts(task="recommend"))


def test_the_last_of_each_task_stay_and_nothing_of_the_others(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    write(store, ("second", "profile"))
    left = content(store, SCHEMA)
    write(store, ("third",))
    with_third = content(store, SCHEMA)
    write(store, ("first",))
    assert [entry.run for entry in list_runs(store)] == ["second", "profile", "third", "first"]
    second = list_runs(store)[0]
    assert (second.task, second.archived) == ("recommend", True)
    assert second.rows == {
        "User-RECOMMENDED-Product": 2, "Run-MADE-Product": 1, "Embedding": 2, "Run": 1
    }  # fmt: skip
    before = content(store, SCHEMA)
    plan = prune_runs(store, keep=1, dry_run=True)
    assert content(store, SCHEMA) == before
    assert len(Outputs(archive).records()) == 4
    assert [entry.run for entry in plan.removed] == ["second", "third"]
    assert prune_runs(store, keep=4, dry_run=True).removed == []
    # By name; what stays is what was there without them.
    prune_runs(store, ["first"])
    assert content(store, SCHEMA) == with_third
    report = prune_runs(store, ["third"])
    assert ([e.run for e in report.removed], report.kept) == (["third"], ["second", "profile"])
    assert content(store, SCHEMA) == left
    # They do not come back with the archive.
    with open_store(f"ladybug:{tmp_path / 'anew'}") as other:
        rebuild(other, archive)
        assert content(other, SCHEMA) == left
    assert [e.run for e in prune_runs(store, keep=1).removed] == []
    assert [e.run for e in prune_runs(store, keep=0).removed] == ["second", "profile"]
    held = content(store, SCHEMA)
    assert not any(held[key] for key in ("Run", "Embedding", "Class", PROFILED, ("Run", "MADE", "Product")))
    assert list_runs(store) == []


@pytest.mark.parametrize("store", ["ladybug"], indirect=True)
def test_a_run_without_a_node_and_one_of_the_archive_alone_go_too(store: GraphStore, tmp_path: Path) -> None:
    archive = fill(store, tmp_path / "archive")
    old = {"source": ["ann"], "target": ["p5"], "run": ["old"], "rank": [1], "score": [0.5]}
    store.write_relationships(("User", "RECOMMENDED", "Product"), pa.table(old))
    write(store, ("first",))
    # As a kill between the two leaves it.
    store.delete_nodes("Run", pa.array(["first"]))
    for edge in (("User", "RECOMMENDED", "Product"),):
        rows = store.read_relationships(edge, ["run"])
        store.delete_relationships(
            edge, rows.filter(pa.array([r == "first" for r in rows["run"].to_pylist()]))
        )
    store.delete_nodes("Embedding", store.read_nodes("Embedding", []).column(0))
    found = {entry.run: entry for entry in list_runs(store)}
    assert (found["old"].written_at, found["old"].archived) == (None, False)
    assert (dict(found["first"].rows), found["first"].archived) == ({}, True)
    # Nobody knows their tasks, and so not whether another is the last of it.
    assert prune_runs(store, keep=0, dry_run=True).removed == []
    prune_runs(store, ["old", "first"])
    assert list_runs(store) == Outputs(archive).records() == []


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_what_cannot_be_pruned_is_told(store: GraphStore, tmp_path: Path) -> None:
    fill(store, tmp_path / "archive")
    write(store, ("first",))
    with pytest.raises(InputError, match=r"no run 'frist'\n.*did you mean 'first'"):
        prune_runs(store, ["first", "frist"])
    assert len(list_runs(store)) == 1
    for given in ({}, {"names": ["first"], "keep": 1}):
        with pytest.raises(InputError, match="takes the names of runs, or how many to keep"):
            prune_runs(store, **given)  # type: ignore[arg-type]


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("ladybug:kgdistill.db") as store:
        fill(store, tmp_path / "archive")
        write(store)
    assert main(["runs", "list", "--json"]) == 0
    assert [row["run"] for row in json.loads(capsys.readouterr().out)] == list(RUNS)
    assert main(["runs", "prune", "--keep", "1", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert ([row["run"] for row in plan["removed"]], plan["dry_run"]) == (["first", "second"], True)
    assert main(["runs", "prune", "first", "--keep", "1"]) == 2
    assert main(["runs", "prune", "first"]) == 0
    out, err = capsys.readouterr()
    assert "first" in out
    assert "1 run went; 3 stay" in err
    assert main(["runs", "list"]) == 0
    out = capsys.readouterr().out
    assert "2 User-RECOMMENDED-Product" in out
    assert "first" not in out
