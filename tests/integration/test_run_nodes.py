"""A run stands in the graph: what it is, what it led to, and why each thing was recommended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from _explored_shop import fill_explored_shop

from kgdistill import Graph
from kgdistill.explore import explain_many, write_back
from kgdistill.explore.kept_reasons import with_reasons
from kgdistill.explore.run_nodes import RunFacts
from kgdistill.explore.writeback import ToldClass, write_classes
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import run_job
from kgdistill.ingest.model import type_name
from kgdistill.ingest.projection import rebuild
from kgdistill.ingest.tables import ingest_tables, tables_mapping
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema, open_store
from tests.integration._stores import STORES, opened, small_graph

SCHEMA = load_schema()
RECOMMENDED = ("User", "RECOMMENDED", "Product")
MADE = ("Run", "MADE", "Product")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for store in opened(request.param, request, tmp_path):
        ingest_tables(store, SCHEMA, small_graph())
        yield store


def recommended(*rows: tuple[str, str, int], **more: list[Any]) -> pa.Table:
    columns = zip(*rows, strict=True)
    table = pa.table(dict(zip(("user", "product", "rank"), map(list, columns), strict=True)))
    table = table.append_column("score", pa.array([0.5] * len(rows)))
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    return table


def nodes(store: GraphStore) -> dict[str, dict[str, Any]]:
    return {row["run_id"]: row for row in store.read_nodes("Run").to_pylist()}


def made(store: GraphStore) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in store.read_relationships(MADE).to_pylist()}


def test_a_run_leads_once_to_all_that_it_recommends_and_is_replaced_as_a_whole(store: GraphStore) -> None:
    rows = recommended(("ann", "p4", 1), ("ann", "p6", 2), ("bob", "p4", 1))
    facts = RunFacts(
        task="recommend", cut=datetime(2024, 2, 1), metric="ndcg@20 warm", value=0.25, low=0.2, high=0.3
    )
    write_back(store, "mine", rows, facts=facts)
    write_back(store, "other", recommended(("bob", "p5", 1)))
    held = nodes(store)
    assert held.keys() == {"mine", "other"}
    told = {"task": "recommend", "cut": datetime(2024, 2, 1), "value": 0.25, "answers": 3}
    assert told.items() <= held["mine"].items()
    assert held["other"]["task"] is None
    assert made(store) == {
        ("mine", "p4", "mine", 2), ("mine", "p6", "mine", 1), ("other", "p5", "other", 1)
    }  # fmt: skip
    # What is no longer so goes, of that run alone.
    write_back(store, "mine", recommended(("cy", "p6", 1)), facts=RunFacts(task="recommend"))
    again = nodes(store)["mine"]
    assert (again["answers"], again["cut"], again["value"]) == (1, None, None)
    assert again["written_at"] > held["mine"]["written_at"]
    assert made(store) == {("mine", "p6", "mine", 1), ("other", "p5", "other", 1)}


def test_a_run_that_tells_classes_leads_to_them(store: GraphStore) -> None:
    edge = ("User", "PROFILED", "Class")
    told = [ToldClass(user, "income", "low", 0.75) for user in ("ann", "bob")]
    write_classes(store, "profile", {edge: told}, facts=RunFacts(task="profile"))
    led = store.query(
        "MATCH (r:Run)-[m:MADE]->(c:Class) "
        "RETURN r.run_id AS run, r.task AS task, c.name AS name, m.answers AS n"
    )
    assert led.to_pylist() == [{"run": "profile", "task": "profile", "name": "low", "n": 2}]


def test_the_reason_stands_on_the_relationship(store: GraphStore) -> None:
    rows = recommended(("ann", "p5", 1), ("ann", "p6", 2), ("bob", "p4", 1))
    rows = rows.append_column("is_new", pa.array([False, True, False]))
    rows = rows.append_column("teacher_score", pa.array([1.5, None, 0.5]))
    write_back(store, "mine", with_reasons(store, RECOMMENDED, rows))
    held = {(r["source"], r["target"]): r for r in store.read_relationships(RECOMMENDED).to_pylist()}
    pairs = [("ann", "p5"), ("ann", "p6"), ("bob", "p4")]
    found = explain_many(store, pairs, limit=1)
    assert found["ann", "p5"], "the example has a path"
    for pair in pairs:
        best = found[pair][0] if found[pair] else None
        row = held[pair]
        assert (row["reason"], row["reason_kind"], row["reason_lift"]) == (
            (best.because, best.kind, best.lift) if best else (None, None, None)
        )
    assert (held["ann", "p6"]["is_new"], held["ann", "p6"]["teacher_score"]) == (True, None)
    assert (held["ann", "p5"]["is_new"], held["ann", "p5"]["teacher_score"]) == (False, 1.5)


def test_a_reason_rests_first_on_what_the_run_reads(tmp_path: Path) -> None:
    first = {}
    with MemoryStore() as store:
        fill_explored_shop(store)
        graph = Graph(store)
        users, products = (store.read_nodes(n, []).column(0).to_pylist() for n in ("User", "Product"))
        rows = recommended(*((user, product, 1) for user in users for product in products))
        for event, others in (("BOUGHT", {"VIEWED": 0.0}), ("BOUGHT", {"VIEWED": 0.5}), ("VIEWED", {})):
            bundle = SimpleNamespace(event=event, events=others)
            run: Any = SimpleNamespace(
                config=SimpleNamespace(kind="history"), answered_as=RECOMMENDED, bundle=lambda b=bundle: b
            )
            told = graph._reasoned(run, rows, True)
            pairs = list(zip(told["user"].to_pylist(), told["product"].to_pylist(), strict=True))
            reads = {event, *(name for name, weight in others.items() if weight)}
            want = explain_many(store, pairs, limit=1, reads=reads)
            assert told["reason"].to_pylist() == [str(want[p][0]) if want[p] else None for p in pairs]
            first[tuple(sorted(reads))] = told["reason"].to_pylist()
            assert graph._reasoned(run, told, False).column_names.count("reason") == 0
    assert first["BOUGHT",] != first["VIEWED",]


def earlier(own: Schema = SCHEMA) -> Schema:
    """The schema as it was before runs stood in the graph."""
    shape = own.model_dump(mode="json")
    del shape["nodes"]["Run"], shape["relationships"]["MADE"]
    kept = ("run", "rank", "score")
    properties = shape["relationships"]["RECOMMENDED"]["properties"]
    shape["relationships"]["RECOMMENDED"]["properties"] = {n: properties[n] for n in kept}
    return Schema.model_validate(shape)


@pytest.mark.parametrize("kind", STORES)
def test_a_store_of_an_earlier_version_is_opened_and_gets_what_it_lacks(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for store in opened(kind, request, tmp_path):
        whole, old = small_graph(), earlier()
        tables: dict[str, pa.Table] = dict(whole.nodes)
        tables |= {type_name(edge): table for edge, table in whole.edges.items()}
        folder = tmp_path / "archive"
        run_job(store, tables_mapping(whole, old), ".", archive=folder, schema=old, tables=tables)
        assert "Run" not in store.schema.nodes
        former = {"source": ["ann"], "target": ["p5"], "run": ["former"], "rank": [1], "score": [0.5]}
        store.write_relationships(RECOMMENDED, pa.table(former))
        write_back(store, "mine", recommended(("ann", "p4", 1), reason=["why"]), facts=RunFacts(task="x"))
        held = {row["run"]: row["reason"] for row in store.read_relationships(RECOMMENDED).to_pylist()}
        assert held == {"former": None, "mine": "why"}
        assert nodes(store)["mine"]["task"] == "x"
        # A job that knows nothing of it takes nothing away, and the same process writes on.
        run_job(store, tables_mapping(whole, old), ".", archive=folder, schema=old, tables=tables)
        write_back(store, "mine", recommended(("ann", "p4", 1), reason=["why not"]), facts=RunFacts(task="y"))
        assert nodes(store)["mine"]["task"] == "y"
        everything = store.schema
        with open_store(f"ladybug:{tmp_path / 'anew'}") as other:
            rebuild(other, Archive(folder))
            assert other.schema.nodes["Run"] == everything.nodes["Run"]
            (row,) = other.read_relationships(RECOMMENDED).to_pylist()
            assert (row["run"], row["reason"]) == ("mine", "why not")
            assert made(other) == made(store)


def test_labels_of_ones_own_get_a_run_and_a_clash_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    shape = {
        "version": 1,
        "nodes": {
            "Reader": {"key": "card", "name": "card"},
            "Book": {"key": "isbn", "name": "isbn", "properties": {"value": "string"}},
        },
        "relationships": {
            "SUGGESTED": {
                "kind": "output",
                "endpoints": [["Reader", "Book"]],
                "identity": ["run"],
                "properties": {
                    "run": {"type": "string", "required": True}, "rank": "int64", "score": "double",
                },
            }
        },
    }  # fmt: skip
    edge = ("Reader", "SUGGESTED", "Book")
    rows = recommended(("r1", "b1", 1), reason=["nobody asks"])
    for clash in (False, True):
        if clash:
            shape["nodes"]["Run"] = {"key": "race", "name": "race"}  # type: ignore[index]
        with MemoryStore() as store:
            store.apply_schema(Schema.model_validate(shape))
            store.write_nodes("Reader", pa.table({"card": ["r1"]}))
            store.write_nodes("Book", pa.table({"isbn": ["b1"]}))
            write_back(store, "mine", rows, edge=edge, facts=RunFacts(task="x", value=0.5))
            assert store.read_relationships(edge).num_rows == 1
            if clash:
                assert store.read_nodes("Run").num_rows == 0
                continue
            # `value` is a text in this graph, and one name has one type.
            assert "value" not in store.schema.nodes["Run"].properties
            assert nodes(store)["mine"]["task"] == "x"
            assert store.read_relationships(("Run", "MADE", "Book")).num_rows == 1
    assert "has a Run or MADE of its own" in capsys.readouterr().err


def test_a_graph_without_the_projects_facts_has_no_reasons() -> None:
    with MemoryStore() as store:
        store.apply_schema(SCHEMA.restricted({"User", "Product"}, {"BOUGHT", "RECOMMENDED"}))
        rows = recommended(("ann", "p4", 1))
        assert with_reasons(store, RECOMMENDED, rows) is rows
