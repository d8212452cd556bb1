"""Hostile statements and values on both stores: nothing changes, no file is read, each ends in time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kgdistill.errors import KgdistillError, QueryError
from kgdistill.ingest.tables import ingest_tables
from kgdistill.store import GraphStore, load_schema
from kgdistill.store.ladybug.reader import MEMORY
from kgdistill.store.neo4j import query as neo4j_query
from kgdistill.store.neo4j.store import Neo4jStore
from tests._load_script import load_script
from tests.integration._stores import content, opened, small_graph
from tests.integration.conftest import Server, wipe
from tests.integration.test_neo4j import on_server
from tests.integration.test_neo4j_queries import listener

HOSTILE = load_script("bench/_hostile.py")
BENCH = load_script("bench/queries.py")
SCHEMA = load_schema()
SECRET = "hunter2"
REFUSED = list(HOSTILE.REFUSED_BY_BOTH)
ENDED = ("took longer than", "memory", "more than 1,000 rows", "limit of an answer's size", "more steps")
FAR = ("nested too deeply", "more than 10,000,000 steps", "regular expression that", "engine cannot run")


class Place:
    """A store with a small graph, a secret file beside it, an address that listens; what all hold."""

    def __init__(self, store: GraphStore, kind: str, folder: Path, address: str, came: list[Any]) -> None:
        self.store, self.kind, self.folder, self.address, self.came = store, kind, folder, address, came
        self.file = folder / "secret.csv"
        self.file.write_text(f"{SECRET}\n{SECRET}\n", encoding="utf-8")
        self.server: Server | None = None
        self.held: Any = None

    def fill(self, text: str) -> str:
        return text.replace("FILE", str(self.file)).replace("ADDRESS", self.address)

    def state(self) -> Any:
        """The graph, the folder and who connected; of a server also its types and users."""
        told = []
        if self.server is not None:
            for what in ("INDEXES YIELD name", "CONSTRAINTS YIELD name", "USERS YIELD user AS name"):
                told.append(sorted(str(r) for r in on_server(self.server, f"SHOW {what} RETURN name")))
        files = {p.name: p.read_bytes() for p in sorted(self.folder.iterdir())}
        return content(self.store, self.store.schema), told, files, list(self.came)


@pytest.fixture(scope="module", params=["ladybug", "neo4j"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "private").mkdir()
    with listener() as (address, came):
        if request.param == "ladybug":
            for store in opened("ladybug", request, folder):
                yield filled(Place(store, "ladybug", folder / "private", address, came))
            return
        server: Server = request.getfixturevalue("neo4j_server")
        wipe(server)
        with Neo4jStore(server.url, user=server.user, password=server.password) as there:
            made = Place(there, "neo4j", folder / "private", address, came)
            made.server = server
            yield filled(made)


def filled(place: Place) -> Place:
    ingest_tables(place.store, SCHEMA, small_graph())
    place.store.query("RETURN 1 AS one")
    place.held = place.state()
    return place


@pytest.fixture(autouse=True)
def unchanged(place: Place) -> Iterator[None]:
    """What every one of these tests shows beside its own; what stands after one stands before the next."""
    yield
    assert place.state() == place.held
    assert place.came == []
    assert place.store.query("RETURN 1 AS one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_do_more_than_read_is_refused(place: Place, name: str) -> None:
    cypher = place.fill(HOSTILE.texts_for(place.kind, HOSTILE.REFUSED_BY_BOTH)[name])
    with pytest.raises(QueryError) as refused:
        place.store.query(cypher, timeout_s=10.0)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", HOSTILE.LARGE_FOR_BOTH)
def test_what_would_take_all_ends_within_its_limits(place: Place, name: str) -> None:
    cypher = HOSTILE.texts_for(place.kind, HOSTILE.LARGE_FOR_BOTH)[name]
    with BENCH.Peak() as peak:
        said = outcome(place, cypher)
    assert re.fullmatch("[0-5] row", said) or any(words in said for words in ENDED + FAR), said
    # It is looked at fifty times a second.
    assert peak.started < 1.25 * MEMORY
    if place.server is not None:
        assert ends(place.server)


def outcome(place: Place, cypher: str) -> str:
    try:
        return f"{place.store.query(cypher, timeout_s=1.0).num_rows} row"
    except QueryError as error:
        return error.message


def test_a_comment_ends_with_its_line_and_nowhere_else(place: Place) -> None:
    said = outcome(place, "RETURN 1 AS x // \u2028 ; \u0085 MATCH (n) DETACH DELETE n")
    assert said == "1 row"


def ends(server: Server) -> bool:
    """Whether nothing that was asked still runs on the server, soon."""
    until = time.monotonic() + 120
    while running(server) and time.monotonic() < until:
        time.sleep(0.2)
    return not running(server)


def running(server: Server) -> int:
    query = "SHOW TRANSACTIONS YIELD metaData WHERE metaData.kgdistill = 'query' RETURN count(*) AS n"
    return int(on_server(server, query)[0][0])


@pytest.mark.parametrize("name", HOSTILE.HOSTILE_VALUES)
def test_a_value_is_a_value_whatever_stands_in_it(place: Place, name: str) -> None:
    value = place.fill(HOSTILE.HOSTILE_VALUES[name])
    for cypher, none in (
        ("RETURN $v AS x", [value]),
        ("MATCH (u:User {user_id: $v}) RETURN u.user_id AS x", []),
        ("MATCH (p:Product) WHERE p.title = $v OR p.product_id IN [$v] RETURN p.product_id AS x", []),
    ):
        assert place.store.query(cypher, {"v": value})["x"].to_pylist() == none


def test_a_value_cannot_name_a_type_nor_a_file(place: Place) -> None:
    for cypher in (
        "MATCH (n:$v) RETURN count(n) AS n",
        "MATCH (n:$($v)) DETACH DELETE n",
        "LOAD CSV FROM $v AS r RETURN r",
        "LOAD FROM $v RETURN *",
        "COPY User FROM $v",
        "CALL $v",
    ):
        with pytest.raises(KgdistillError) as refused:
            place.store.query(cypher, {"v": str(place.file)})
        assert SECRET not in str(refused.value)


def test_a_server_that_still_works_at_what_was_given_up_is_not_asked_for_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops in an expression that are not seen by their words cannot be stopped: few run at a time."""
    if place.server is None:
        pytest.skip("the embedded store's process is ended with what it works at")
    monkeypatch.setattr(neo4j_query, "check_work", lambda words, parameters: None)
    busy = "RETURN any(i IN range(1, 20000) WHERE any(j IN range(1, 20000) WHERE i + j < 0)) AS x"
    said = []
    for _ in range(3):
        with pytest.raises(QueryError) as error:
            place.store.query(busy, timeout_s=0.3)
        said.append(error.value.message)
    assert "longer than 0.3 s" in said[0]
    assert "still works at 2 queries that were given up" in said[2]
    assert ends(place.server)
