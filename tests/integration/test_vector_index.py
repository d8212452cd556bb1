"""The vectors of a run have an index in Neo4j, which goes with it, and is never needed to be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from neo4j import GraphDatabase

from kgdistill.errors import QueryError
from kgdistill.explore import NodeEmbeddings, prune_runs, run_query, write_back
from kgdistill.store import MemoryStore, load_schema
from kgdistill.store.compare import copy
from kgdistill.store.neo4j.store import Neo4jStore
from tests.integration.conftest import Server

COUNT, DIM = 300, 12
KEYS = [f"p{n:03}" for n in range(COUNT)]


def drawn(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(COUNT, DIM)).astype(np.float32)


def fill(store: Any) -> None:
    store.apply_schema(load_schema())
    store.write_nodes("Product", pa.table({"product_id": KEYS}))
    store.write_nodes("User", pa.table({"user_id": ["ann"]}))


def write(store: Any, run: str, seed: int) -> None:
    table = pa.table({"user": ["ann"], "product": ["p000"], "rank": [1], "score": [0.5]})
    both = [
        NodeEmbeddings("Product", space, KEYS, drawn(seed + n))
        for n, space in enumerate(("student", "relational"))
    ]
    write_back(store, run, table, both)


def nearest(store: Any, run: str, space: str = "student") -> list[str]:
    found = run_query(store, "nearest_products", {"product": "p007", "run": run, "space": space, "limit": 10})
    keys: list[str] = found["product"].to_pylist()
    return keys


def exact(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> list[str]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[7]), kind="stable")
    return [KEYS[i] for i in order if i != 7][:10]


class Raw:
    """The server as it is, whatever kgdistill makes of it."""

    def __init__(self, server: Server) -> None:
        self.driver = GraphDatabase.driver(server.url, auth=(server.user, server.password))

    def __call__(self, cypher: str) -> list[Any]:
        return [record[0] for record in self.driver.execute_query(cypher).records]

    def indexes(self) -> list[str]:
        return self("SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' RETURN name ORDER BY name")


def test_each_space_of_a_run_has_an_index_that_follows_it(
    neo4j_store: Neo4jStore, neo4j_server: Server
) -> None:
    raw = Raw(neo4j_server)
    for name in raw.indexes():
        raw(f"DROP INDEX {name}")
    fill(neo4j_store)
    write(neo4j_store, "one'`", 0)
    write(neo4j_store, "two", 10)
    held = raw.indexes()
    assert len(held) == 4
    assert raw("MATCH (n:Embedding:Indexed) RETURN count(n)") == [4 * COUNT]
    assert nearest(neo4j_store, "one'`") == exact(drawn(0))
    assert nearest(neo4j_store, "two", "relational") == exact(drawn(11))
    # The same indexes over other vectors.
    write(neo4j_store, "two", 20)
    assert raw.indexes() == held
    assert nearest(neo4j_store, "two") == exact(drawn(20))
    # While there is none, as after a kill, all are compared.
    with neo4j_store.reindexed("Embedding", {"run": "two"}):
        assert len(raw.indexes()) == 2
        assert nearest(neo4j_store, "two") == exact(drawn(20))
    prune_runs(neo4j_store, ["one'`"])
    left = raw.indexes()
    assert len(left) == 2
    assert nearest(neo4j_store, "two") == exact(drawn(20))
    # It is the index that is asked, until nothing says that there is one.
    for name in left:
        raw(f"DROP INDEX {name}")
    with pytest.raises(QueryError, match="index"):
        nearest(neo4j_store, "two")
    raw("MATCH (n:Embedding) REMOVE n:Indexed RETURN count(n)")
    assert nearest(neo4j_store, "two") == exact(drawn(20))
    raw.driver.close()


def test_a_copy_has_them_too_and_a_write_that_fails_leaves_them(
    neo4j_store: Neo4jStore, neo4j_server: Server
) -> None:
    raw = Raw(neo4j_server)
    for name in raw.indexes():
        raw(f"DROP INDEX {name}")
    with MemoryStore() as memory:
        fill(memory)
        write(memory, "one", 0)
        assert nearest(memory, "one") == exact(drawn(0))
        copy(memory, neo4j_store, memory.schema)
    assert len(raw.indexes()) == 2
    bad = pa.table({"user": ["nobody"], "product": ["p000"], "rank": [1], "score": [0.5]})
    with pytest.raises(Exception, match="nobody"):
        write_back(neo4j_store, "one", bad)
    assert len(raw.indexes()) == 2
    assert nearest(neo4j_store, "one") == exact(drawn(0))
    raw.driver.close()
