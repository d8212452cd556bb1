"""A real Neo4j for the integration tests: the one that is named by the environment, else one of our own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from neo4j import GraphDatabase

from kgdistill.store.neo4j import local as local_neo4j
from kgdistill.store.neo4j.store import Neo4jStore


@dataclass(frozen=True)
class Server:
    """Where the tests' Neo4j is. Whatever is in its graph is deleted by the tests."""

    url: str
    user: str
    password: str = field(repr=False)


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = os.environ.get("KGDISTILL_TEST_NEO4J_URL")
    if url:
        yield Server(url, "neo4j", os.environ["KGDISTILL_NEO4J_PASSWORD"])
        return
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        message = f"needs a Neo4j: {' and '.join(missing)} not on the path, KGDISTILL_TEST_NEO4J_URL not set"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("neo4j") / "data"
    server = local_neo4j.start(folder, heap="512m")
    try:
        yield Server(server.url, server.user, server.password())
    finally:
        local_neo4j.stop(folder)


@pytest.fixture
def neo4j_store(neo4j_server: Server) -> Iterator[Neo4jStore]:
    wipe(neo4j_server)
    with Neo4jStore(neo4j_server.url, user=neo4j_server.user, password=neo4j_server.password) as store:
        yield store


def wipe(server: Server) -> None:
    """Relationships, then nodes, then constraints: one DETACH DELETE of everything can exhaust the heap."""
    auth = (server.user, server.password)
    with GraphDatabase.driver(server.url, auth=auth, notifications_min_severity="OFF") as driver:
        for pattern, name in (("()-[x]->()", "x"), ("(x)", "x")):
            query = f"MATCH {pattern} WITH {name} LIMIT 20000 DELETE {name} RETURN count(*)"
            while driver.execute_query(query).records[0][0]:
                pass
        names = [r["name"] for r in driver.execute_query("SHOW CONSTRAINTS YIELD name").records]
        with driver.session() as session:
            session.execute_write(lambda tx: [tx.run(f"DROP CONSTRAINT `{n}`").consume() for n in names])
