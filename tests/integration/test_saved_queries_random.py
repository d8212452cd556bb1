"""The embedded store and Neo4j give the same rows over a shop drawn at random, query by query."""

from __future__ import annotations

from typing import Any

import pytest

from kgdistill.explore import run_query, saved_queries
from kgdistill.store import MemoryStore
from kgdistill.store.neo4j.store import Neo4jStore
from tests._explored_shop import fill_random_shop
from tests.integration.test_saved_queries import UNORDERED

VALUES = {
    "User": ["u00", "u07", "u12", "u20", "u29"],
    "Product": ["p00", "p03", "p11", "p25", "p33"],
    "Brand": ["b0", "b1", "b2"],
    "Category": ["c0", "c2", "c4"],
    "Campaign": ["spring"],
    "Query": ["q1", "q2"],
    "RECOMMENDED.run": ["demo", "former"],
    "TARGETED.run": ["target"],
    "FOUND.run": ["finder"],
    "PROFILED.run": ["profile"],
    "ANSWERED.run": ["answer"],
    "CLASSIFIED.run": ["mood"],
    "Class": ["profile:mood:calm", "profile:mood:hasty"],
    "Embedding.run": ["demo"],
}
MORE = {"users_with_popular_only": {"buyers": 2}, "cold_recommended": {"buyers": 3}}


def comparable(value: Any) -> Any:
    return pytest.approx(value, abs=2e-6) if isinstance(value, float) else value


def test_both_stores_answer_every_saved_query_alike(neo4j_store: Neo4jStore) -> None:
    with MemoryStore() as memory:
        for store in (memory, neo4j_store):
            fill_random_shop(store)
        for query in saved_queries():
            named = [p for p in query.parameters if p.type in VALUES]
            rows = 0
            for place in range(5 if named else 1):
                given = {}
                for number, parameter in enumerate(named):
                    known = VALUES[parameter.type]
                    # Another run than the first one.
                    given[parameter.name] = known[(place + (parameter.name == "other") * number) % len(known)]
                one, two = (
                    run_query(store, query.name, {**given, **MORE.get(query.name, {})}).to_pylist()
                    for store in (memory, neo4j_store)
                )
                if query.name in UNORDERED:
                    one, two = sorted(one, key=repr), sorted(two, key=repr)
                wanted = [{key: comparable(value) for key, value in row.items()} for row in two]
                assert one == wanted, (query.name, given)
                rows += len(one)
            assert rows, query.name
