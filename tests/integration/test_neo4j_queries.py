"""Queries to Neo4j: what they cannot do, their limits, and the same answers as from the other stores."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import psutil
import pyarrow as pa
import pytest
from neo4j import GraphDatabase

from kgdistill.cli import main
from kgdistill.errors import QueryError, StoreAuthError, StoreSchemaMismatchError, StoreUnreachableError
from kgdistill.ingest.tables import ingest_tables
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.store.neo4j import query as parent
from kgdistill.store.neo4j.query import Neo4jQueries
from kgdistill.store.neo4j.store import Neo4jStore
from kgdistill.store.notes import notes_of
from tests._load_script import load_script
from tests.integration._stores import BOUGHT, small_graph
from tests.integration.conftest import Server
from tests.integration.test_neo4j import on_server

HOSTILE = load_script("bench/_hostile.py")
SCHEMA = load_schema()


@contextmanager
def listener() -> Iterator[tuple[str, list[Any]]]:
    """An address, and who has connected there."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, peer = server.accept()
                except OSError:
                    return
                came.append(peer)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.csv", came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(scope="module")
def shop(neo4j_server: Server) -> Iterator[Neo4jStore]:
    from tests.integration.conftest import wipe

    wipe(neo4j_server)
    with Neo4jStore(neo4j_server.url, user=neo4j_server.user, password=neo4j_server.password) as store:
        ingest_tables(store, SCHEMA, small_graph())
        yield store


def test_no_statement_makes_the_server_fetch_anything(shop: Neo4jStore) -> None:
    with listener() as (address, came):
        for cypher in HOSTILE.NEO4J_FETCHES:
            with pytest.raises(QueryError):
                shop.query(cypher.replace("ADDRESS", address))
        assert came == []


def test_the_servers_plan_alone_and_its_settings_alone_stop_it_too(
    shop: Neo4jStore, neo4j_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "check_words", lambda words: None)
    with listener() as (address, came):
        for cypher in HOSTILE.NEO4J_FETCHES:
            with pytest.raises(QueryError):
                shop.query(cypher.replace("ADDRESS", address))
        assert came == []
        if "KGDISTILL_TEST_NEO4J_URL" in os.environ:
            pytest.skip("this server may have other settings")
        with GraphDatabase.driver(
            neo4j_server.url, auth=(neo4j_server.user, neo4j_server.password)
        ) as driver:
            for cypher in HOSTILE.NEO4J_FETCHES[:3]:
                with pytest.raises(Exception, match="blocked via the configuration"):
                    driver.execute_query(cypher.replace("ADDRESS", address))
        assert came == []


@pytest.mark.parametrize("words_looked_at", [True, False])
def test_nothing_but_reads_of_the_graph_is_run(
    shop: Neo4jStore, neo4j_server: Server, words_looked_at: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not words_looked_at:
        monkeypatch.setattr(parent, "check_words", lambda words: None)
    before = on_server(neo4j_server, "CALL db.stats.status() YIELD section, status RETURN section, status")
    for cypher in HOSTILE.NEO4J_CHANGES:
        with pytest.raises(QueryError):
            shop.query(cypher)
    after = on_server(neo4j_server, "CALL db.stats.status() YIELD section, status RETURN section, status")
    assert before == after
    assert shop.read_nodes("User").num_rows == 3


def test_what_reads_the_graph_still_runs(shop: Neo4jStore) -> None:
    for cypher, first in (
        ("CALL db.labels() YIELD label RETURN label = 'User' AS x ORDER BY x DESC LIMIT 1", True),
        ("SHOW CONSTRAINTS YIELD labelsOrTypes AS x RETURN size(x) LIMIT 1", 1),
        ("MATCH (u:User) WHERE EXISTS { (u)-[:BOUGHT]->() } RETURN count(u)", 3),
        ("MATCH (u:User) RETURN [(u)-[:BOUGHT]->(p) | p.product_id][0] IS NULL LIMIT 1", False),
        ("MATCH p = shortestPath((:User {user_id: 'ann'})-[*..3]-(:Brand {brand_id: 'b2'})) RETURN 2", 2),
        ("MATCH (u:User) RETURN [x IN [1, 2] | COUNT { MATCH (u)-[:BOUGHT]->() }][0] > 0 LIMIT 1", True),
        ("MATCH (a:User)-[:BOUGHT]->+(p:Product) RETURN count(DISTINCT p)", 5),
        ("CALL () { MATCH (p:Product) RETURN p LIMIT 2 } RETURN count(p)", 2),
        ("RETURN 'LOAD CSV' AS x", "LOAD CSV"),
        ("RETURN 1 AS x;", 1),
    ):
        assert shop.query(cypher)[0].to_pylist() == [first], cypher


def outcome(store: Neo4jStore, cypher: str, timeout_s: float) -> str:
    try:
        return f"{store.query(cypher, timeout_s=timeout_s).num_rows} row"
    except QueryError as error:
        return error.message


@pytest.mark.parametrize("name", HOSTILE.NEO4J_LARGE)
def test_a_large_one_ends_with_what_is_wrong_and_leaves_nothing_behind(
    shop: Neo4jStore, neo4j_server: Server, name: str
) -> None:
    said = outcome(shop, HOSTILE.NEO4J_LARGE[name], timeout_s=2)
    assert said.startswith("the query ") or "the limit of" in said or said == "1 row"
    running = (
        "SHOW TRANSACTIONS YIELD currentQuery AS q, status AS s "
        "WHERE s = 'Running' AND NOT q CONTAINS 'SHOW TRANSACTIONS' RETURN q"
    )
    until = time.monotonic() + 30
    while on_server(neo4j_server, running) and time.monotonic() < until:
        time.sleep(0.2)
    assert on_server(neo4j_server, running) == []
    assert shop.query("RETURN 1 AS one").to_pylist() == [{"one": 1}]


def test_rows_and_bytes_of_an_answer_have_a_limit(shop: Neo4jStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(QueryError, match="more than 5 rows"):
        shop.query("UNWIND range(1, 1000000) AS x RETURN x", limit=5)
    megabyte = "reduce(s = 'x', j IN range(1, 20) | s + s)"
    with pytest.raises(QueryError, match="256 MiB, the limit of an answer's size"):
        shop.query(f"UNWIND range(1, 300) AS i RETURN i, {megabyte} AS a", timeout_s=60)
    with pytest.raises(QueryError, match="column"):
        shop.query("RETURN 1 AS x, 2 AS x")


QUERIES: list[tuple[str, dict[str, Any], Any]] = [
    ("b.first_at >= '2024-01-03'", {}, 5),
    ("b.first_at >= date('2024-01-03')", {}, 5),
    ("date('2024-01-03') > b.first_at", {}, 3),
    ("b.first_at >= timestamp('2024-01-03')", {}, 5),
    ("b.first_at >= $d", {"d": "2024-01-03"}, 5),
    ("b.first_at >= $d AND b.last_at < $d", {"d": "2024-01-03"}, 0),
    ("b.first_at = $d", {"d": "2024-01-01T00:00:00"}, 1),
    ("b.count = 3 AND b.count = '3' AND b.count = $n", {"n": "3"}, 1),
    ("b.spend > $n", {"n": 2}, 2),
    ("p.title STARTS WITH $t OR p.title = 'Milk'", {"t": "Ry"}, 4),
    ("p.product_id IN $ids", {"ids": ["p1", "p2"]}, 4),
    ("p.brand_text = 'x'", {}, 0),
    ("p.price > 'much'", {}, QueryError),
    ("b.first_at > $d", {"d": "some day"}, QueryError),
    ("b.first_at > 5", {}, QueryError),
    ("p.brnd = 'x'", {}, QueryError),
    ("p.brand_id = 'b1'", {}, QueryError),
    ("EXISTS { MATCH (p)-[:MADE_BY]->(:Brnd) }", {}, QueryError),
    ("EXISTS { MATCH (p)-[:MADE_BUY]->(:Brand) }", {}, QueryError),
]


@pytest.mark.parametrize("name", ["memory", "neo4j"])
def test_natural_filters_find_the_same_on_every_store(shop: Neo4jStore, name: str) -> None:
    with MemoryStore() as memory:
        ingest_tables(memory, SCHEMA, small_graph())
        store = shop if name == "neo4j" else memory
        for where, values, expected in QUERIES:
            text = f"MATCH (u:User)-[b:BOUGHT]->(p:Product) WHERE {where} RETURN count(*) AS n"
            if expected is QueryError:
                with pytest.raises(QueryError):
                    store.query(text, values)
            else:
                assert store.query(text, values).to_pylist() == [{"n": expected}], where


def test_times_compare_as_neo4j_users_write_them(shop: Neo4jStore) -> None:
    for where in (
        "b.first_at >= datetime('2024-01-03')",
        "b.first_at >= datetime('2024-01-03T02:00:00+02:00')",
        "b.first_at >= datetime($d)",
        "b.first_at >= localdatetime('2024-01-03')",
        "date(b.first_at) >= date('2024-01-03')",
        "b.first_at >= $t",
    ):
        text = f"MATCH ()-[b:BOUGHT]->() WHERE {where} RETURN count(*) AS n"
        values = {"d": "2024-01-03", "t": datetime(2024, 1, 3, tzinfo=timezone.utc)}
        assert shop.query(text, values).to_pylist() == [{"n": 5}], where


@pytest.mark.parametrize("name", ["memory", "neo4j"])
def test_a_number_finds_the_key_that_is_written_like_it(request: pytest.FixtureRequest, name: str) -> None:
    store: GraphStore = MemoryStore() if name == "memory" else request.getfixturevalue("neo4j_store")
    store.apply_schema(SCHEMA)
    keys = ["20000", "20001", "POST"]
    store.write_nodes("Product", pa.table({"product_id": keys, "price": [1.0, 20000.0, 3.0]}))
    for where in ("p.product_id = $i", "p.product_id IN $i", "$i = p.product_id"):
        value = [20000] if " IN " in where else 20000
        found = store.query(f"MATCH (p:Product) WHERE {where} RETURN p.product_id AS id", {"i": value})
        assert found.to_pylist() == [{"id": "20000"}], where
    found = store.query("MATCH (p:Product {product_id: $i}) RETURN count(*) AS n", {"i": 20001})
    assert found.to_pylist() == [{"n": 1}]
    # A number beside a number stays one, and a variable may be called what a clause is.
    found = store.query(
        "MATCH (call:Product) WHERE call.price > $i WITH call.price AS call RETURN call AS price", {"i": 3}
    )
    assert found.to_pylist() == [{"price": 20000.0}]


def test_a_number_in_the_text_finds_the_key_too(neo4j_store: Neo4jStore) -> None:
    neo4j_store.apply_schema(SCHEMA)
    neo4j_store.write_nodes("Product", pa.table({"product_id": ["20000", "20001"]}))
    found = neo4j_store.query("MATCH (p:Product) WHERE p.product_id = 20000 RETURN p.product_id AS id")
    assert found.to_pylist() == [{"id": "20000"}]


@pytest.mark.parametrize(
    ("cypher", "says"),
    [
        ("MATCH (p:Prodct) RETURN p", r"no label 'Prodct'\n.*did you mean 'Product'"),
        ("MATCH (:User)-[b:BOUGT]->() RETURN b", r"no relationship type 'BOUGT'\n.*did you mean 'BOUGHT'"),
        ("MATCH (p:Product) RETURN p.titel", r"no property 'titel'\n.*did you mean 'title'"),
        ("MATCH (p:Product {titel: 'x'}) RETURN p", "no property 'titel'"),
        ("MATCH (u:User) RETURN [x IN [1] | EXISTS { (u)-[:BOUGT]->() }]", "no relationship type 'BOUGT'"),
    ],
)
def test_a_name_that_is_nowhere_is_said_with_the_nearest(shop: Neo4jStore, cypher: str, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        shop.query(cypher)


def test_a_type_of_the_schema_without_rows_is_no_mistake_and_without_a_schema_there_are_notes(
    neo4j_store: Neo4jStore, neo4j_server: Server
) -> None:
    query = "MATCH (p:NoSuchLabel) RETURN p.no_such_property AS x"
    found = neo4j_store.query(query)
    assert found.num_rows == 0
    assert notes_of(found) == [
        "the store has no label 'NoSuchLabel'",
        "the store has no property 'no_such_property'",
    ]
    neo4j_store.apply_schema(SCHEMA)
    found = neo4j_store.query("MATCH (a:Ad) WHERE a.ad_id = 'x' RETURN count(a) AS n")
    assert (found.to_pylist(), notes_of(found)) == ([{"n": 0}], [])
    with pytest.raises(QueryError, match="NoSuchLabel"):
        neo4j_store.query(query)


def test_a_schema_of_a_later_version_is_refused_wherever_it_is_read(
    neo4j_store: Neo4jStore, neo4j_server: Server
) -> None:
    neo4j_store.apply_schema(SCHEMA)
    on_server(neo4j_server, "MATCH (m:`_KgdistillSchema`) SET m.shape = '{\"nodes\": 1}'")
    with Neo4jStore(neo4j_server.url, user=neo4j_server.user, password=neo4j_server.password) as later:
        for read in (lambda: later.schema, lambda: later.query("RETURN 1 AS x")):
            with pytest.raises(StoreSchemaMismatchError, match="cannot be read by this version"):
                read()


def test_a_store_of_an_earlier_version_is_read_filtered_and_converted(
    neo4j_store: Neo4jStore, neo4j_server: Server
) -> None:
    ingest_tables(neo4j_store, SCHEMA, small_graph())
    wanted = neo4j_store.read_relationships(BOUGHT)
    for old in (
        "MATCH ()-[b]->() WHERE b.first_at IS NOT NULL SET b.first_at = localdatetime(b.first_at)",
        "MATCH ()-[b]->() WHERE b.last_at IS NOT NULL SET b.last_at = localdatetime(b.last_at)",
        "MATCH (m:`_KgdistillSchema`) REMOVE m.times",
    ):
        on_server(neo4j_server, old)
    auth = {"user": neo4j_server.user, "password": neo4j_server.password}
    count = "MATCH ()-[b:BOUGHT]->() WHERE b.first_at >= {} RETURN count(*) AS n"
    kinds = "MATCH ()-[b:BOUGHT]->() RETURN DISTINCT valueType(b.last_at) AS kind"
    with Neo4jStore(neo4j_server.url, **auth) as store:
        for kind in ("LOCAL DATETIME NOT NULL", "ZONED DATETIME NOT NULL"):
            assert store.query(kinds).to_pylist() == [{"kind": kind}]
            assert by_ends(store.read_relationships(BOUGHT)) == by_ends(wanted)
            for value in ("datetime('2024-01-03')", "localdatetime('2024-01-03')", "'2024-01-03'", "$d"):
                assert store.query(count.format(value), {"d": "2024-01-03"}).to_pylist() == [{"n": 5}], value
            store.apply_schema(SCHEMA)


def by_ends(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: (row["source"], row["target"]))


def test_the_process_says_who_does_not_answer_and_who_may_not_ask(neo4j_server: Server) -> None:
    wrong = Neo4jQueries(neo4j_server.url, "neo4j", "not-the-password")
    with pytest.raises(StoreAuthError):
        wrong.query("RETURN 1 AS x", {}, 1, 5.0)
    wrong.stop()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nobody = Neo4jQueries(f"bolt://127.0.0.1:{held.getsockname()[1]}", "neo4j", "x")
        with pytest.raises(StoreUnreachableError):
            nobody.query("RETURN 1 AS x", {}, 1, 5.0)
        nobody.stop()


def test_the_password_is_in_no_command_line_and_no_environment(
    shop: Neo4jStore, neo4j_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGDISTILL_NEO4J_PASSWORD", neo4j_server.password)
    shop._queries.stop()
    shop.query("RETURN 1 AS x")
    # Not any other process that the tests left: the one that asks.
    children = [c for c in psutil.Process().children() if "neo4j.reader" in " ".join(c.cmdline())]
    assert children
    for child in children:
        assert neo4j_server.password not in " ".join([*child.cmdline(), *child.environ().values()])


def test_the_command_says_what_the_store_notes(
    shop: Neo4jStore,
    neo4j_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KGDISTILL_NEO4J_PASSWORD", neo4j_server.password)
    renamed = "MATCH ()-[b:BOUGHT]->() WITH b.first_at AS t WHERE t >= $d RETURN count(*) AS n"
    command = ["query", renamed, "--store", neo4j_server.url, "--json", "-p"]
    assert main([*command, "d=2024-01-03"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [{"n": 0}]
    assert "note: the parameter 'd' is a text" in said.err
    assert main(["query", "MATCH (p:Prodct) RETURN p", "--store", neo4j_server.url]) == 2
    assert "did you mean 'Product'" in capsys.readouterr().err


@pytest.mark.parametrize("value", [2**63, [1, [2]], {"a": 1}, b"x", "\ud800"])
def test_a_parameter_that_cannot_be_sent_is_said(shop: Neo4jStore, value: Any) -> None:
    with pytest.raises(QueryError, match="parameter"):
        shop.query("RETURN $x AS x", {"x": value})
