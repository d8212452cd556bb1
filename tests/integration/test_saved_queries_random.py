"""The embedded store and Neo4j give the same rows over a shop drawn at random, query by query."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from kgdistill.explore import run_query, saved_queries
from kgdistill.explore.paths import events_of, facts_of, leads_of
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import EdgeType, MemoryStore, load_schema
from kgdistill.store.neo4j.store import Neo4jStore
from tests._explored_shop import DAY, fill_random_shop
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


VALUES_OF = {"string": "x", "int64": 1, "double": 1.0, "timestamp": DAY[1]}


def test_why_tells_every_event_and_fact_between_a_user_and_a_product(neo4j_store: Neo4jStore) -> None:
    """What explanations read from the schema, of which the query's text names each: none is left out."""
    schema = load_schema()
    did = ["BOUGHT", *events_of(schema)]
    together = [name for a, name, b in schema.edges("derived") if (a, b) == ("Product", "Product")]
    pairs: dict[EdgeType, set[tuple[str, str]]] = {("Product", name, "Product"): set() for name in together}
    expected = {(event, "r", event, "r", 1) for event in did}
    for event in did:
        # "x BOUGHT" and the like stand for what was bought, "r" is the product asked about.
        pairs["User", event, "Product"] = {("u", "r"), ("u", f"x {event}")}
        for name in together:
            pairs["Product", name, "Product"].add(("r", f"x {event}"))
            expected.add((event, f"x {event}", name, f"x {event}", 1))
        for fact in facts_of(schema):
            shared = pairs.setdefault(("Product", *fact), {("r", fact.label)})
            shared.add((f"x {event}", fact.label))
            expected.add((event, f"x {event}", fact.type, fact.label, len(did) + 1))
    # What is made by a brand and what only speaks of it share nothing.
    pairs["Product", "MADE_BY", "Brand"].add(("r", "other"))
    pairs["Product", "MENTIONS", "Brand"].add(("x BOUGHT", "other"))
    for lead in leads_of(schema):
        pairs["User", lead.event, lead.label] = {("u", lead.label)}
        pairs[lead.label, lead.link, "Product"] = {(lead.label, "r")}
        expected.add((lead.event, lead.label, lead.link, lead.label, 1))
    assert len(expected) == len(did) * (1 + len(together) + len(facts_of(schema))) + len(leads_of(schema))
    tables = {}
    for edge, ends in pairs.items():
        properties = schema.relationship(edge).properties
        held = {name: VALUES_OF[of.type] for name, of in properties.items() if of.required}
        tables[edge] = pa.Table.from_pylist([{"source": a, "target": b, **held} for a, b in sorted(ends)])
    keys: dict[str, set[str]] = {}
    for (start, _, end), ends in pairs.items():
        for a, b in ends:
            keys.setdefault(start, set()).add(a)
            keys.setdefault(end, set()).add(b)
    nodes = {label: pa.table({schema.node(label).key: sorted(held)}) for label, held in keys.items()}
    with MemoryStore() as memory:
        for store in (memory, neo4j_store):
            ingest_tables(store, schema, GraphTables(nodes, tables))
            rows = run_query(store, "why", {"user": "u", "product": "r"}).to_pylist()
            found = [(r["event"], r["item"], r["kind"], r["via"], r["products"]) for r in rows]
            assert sorted(found) == sorted(expected)
            assert {(r["first_at"], r["lift"]) for r in rows} == {(DAY[1], 1.0)}


def test_why_leaves_out_what_was_only_returned_and_keeps_to_its_limit(neo4j_store: Neo4jStore) -> None:
    products = [f"p{n}" for n in range(5)]
    bought = [
        {"source": "u", "target": p, "first_at": DAY[n + 1], "first_quantity": int(p != "p4"), "count": 1}
        for n, p in enumerate(products)
    ]
    made = pa.table({"source": [*products, "r"], "target": ["b"] * 6})
    tables = GraphTables(
        {
            "User": pa.table({"user_id": ["u"]}),
            "Product": pa.table({"product_id": [*products, "r"]}),
            "Brand": pa.table({"brand_id": ["b"], "name": ["B"]}),
        },
        {
            ("User", "BOUGHT", "Product"): pa.Table.from_pylist([*bought, {**bought[4], "target": "r"}]),
            ("Product", "MADE_BY", "Brand"): made,
        },
    )
    with MemoryStore() as memory:
        for store in (memory, neo4j_store):
            ingest_tables(store, load_schema(), tables)
            rows = run_query(store, "why", {"user": "u", "product": "r", "each": 3}).to_pylist()
            # The latest three, without the one that came back.
            assert {row["item"] for row in rows} == {"p1", "p2", "p3"}
            assert {(row["products"], row["via_name"], row["item_name"]) for row in rows} == {(6, "B", None)}


def test_why_leaves_out_what_was_rated_low_as_explanations_do(neo4j_store: Neo4jStore) -> None:
    def graph(of: str, stars: list[float | None]) -> GraphTables:
        products = [f"{of}{n}" for n in range(len(stars))]
        rated = [{"source": "u", "target": p, "at": DAY[1], "rating": r}
                 for p, r in zip(products, stars, strict=True)]  # fmt: skip
        goes = [{"source": p, "target": products[0], "support": 2, "lift": 2.0, "cut": DAY[1]}
                for p in products[1:]]  # fmt: skip
        made = pa.table({"source": products, "target": [of] * len(products)})
        return GraphTables(
            {
                "User": pa.table({"user_id": ["u"]}),
                "Product": pa.table({"product_id": products}),
                "Brand": pa.table({"brand_id": [of], "name": ["B"]}),
            },
            {
                ("User", "RATED", "Product"): pa.Table.from_pylist(rated),
                ("Product", "MADE_BY", "Brand"): made,
                ("Product", "ALSO_BOUGHT", "Product"): pa.Table.from_pylist(goes),
            },
        )

    cases: list[tuple[str, list[float | None], set[str]]] = [
        # Where all are the same, none is low.
        ("a", [5.0, 5.0], {"a0", "a1"}),
        # Halfway between 1 and 5; beside ratings, what has none is no liking.
        ("b", [1.0, 5.0, 3.0, None, 4.0], {"b1", "b4"}),
    ]
    with MemoryStore() as memory:
        for store in (memory, neo4j_store):
            for of, stars, liked in cases:
                ingest_tables(store, load_schema(), graph(of, stars))
                rows = run_query(store, "why", {"user": "u", "product": f"{of}0"}).to_pylist()
                found = {(row["kind"], row["item"]) for row in rows}
                shared = {(kind, key) for kind in ("MADE_BY", "ALSO_BOUGHT") for key in liked - {f"{of}0"}}
                assert found == shared | {("RATED", key) for key in liked & {f"{of}0"}}, (store.url, of)
