"""The stores that ingestion and exploration are tried on, and a graph small enough to check by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kgdistill.datasets.complete_journey import complete_journey_tables
from kgdistill.ingest.tables import GraphTables
from kgdistill.store import GraphStore, Schema, open_store

BOUGHT = ("User", "BOUGHT", "Product")
STORES = ["memory", "ladybug", "neo4j"]


def opened(name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[GraphStore]:
    """For a fixture: an empty store of this kind."""
    if name == "neo4j":
        yield request.getfixturevalue("neo4j_store")
        return
    with open_store("memory:" if name == "memory" else f"ladybug:{folder / 'graph'}") as store:
        yield store


def edges(**columns: list[object]) -> pa.Table:
    return pa.table(columns)


def small_graph() -> GraphTables:
    """Ann bought p1 and p2 (and once only returned p3); p4 and p5 are there to be recommended."""
    nodes = {
        "User": pa.table({"user_id": ["ann", "bob", "cy"]}),
        "Product": pa.table(
            {
                "product_id": ["p1", "p2", "p3", "p4", "p5", "p6"],
                "title": ["Rye", "Milk", "Oats", "Spelt", "Cream", None],
            }
        ),
        "Brand": pa.table({"brand_id": ["b1", "b2"], "name": ["Mill", "Dairy"]}),
        "Category": pa.table(
            {
                "category_id": ["F > BREAD", "F > BREAD > DARK"],
                "name": ["BREAD", "DARK"],
                "path": ["F > BREAD", "F > BREAD > DARK"],
                "level": [1, 2],
            }
        ),
        "Department": pa.table({"department_id": ["F"], "name": ["F"]}),
        "Coupon": pa.table({"coupon_id": ["c1"], "start_at": [datetime(2024, 1, 1)]}),
    }
    day = [datetime(2024, 1, d) for d in range(1, 11)]
    bought = {
        "source": ["ann", "ann", "ann", "ann", "bob", "bob", "cy", "cy"],
        "target": ["p1", "p2", "p3", "p5", "p2", "p5", "p1", "p4"],
        "first_at": [day[0], day[1], day[2], day[8], day[1], day[2], day[3], day[4]],
        "first_quantity": [1, 2, 0, 1, 1, 1, 1, None],
        "last_at": [day[7], day[1], day[2], day[8], day[1], day[2], day[3], day[4]],
        "count": [3, 1, 1, 1, 1, 1, 1, 1],
        "spend": [6.0, 1.0, -1.0, 2.0, 1.0, 2.0, 2.0, 3.0],
    }
    also = {
        "source": ["p2", "p1"],
        "target": ["p5", "p4"],
        "support": [16, 4],
        "lift": [4.0, 1.0],
        "cut": [day[5], day[5]],
    }
    return GraphTables(
        nodes,
        {
            ("Product", "MADE_BY", "Brand"): edges(
                source=["p1", "p3", "p4", "p2", "p5"], target=["b1", "b1", "b1", "b2", "b2"]
            ),
            ("Product", "IN_CATEGORY", "Category"): edges(
                source=["p1", "p4", "p1", "p4", "p3"],
                target=["F > BREAD > DARK", "F > BREAD > DARK", "F > BREAD", "F > BREAD", "F > BREAD"],
            ),
            ("Product", "PART_OF", "Department"): edges(source=["p5"], target=["F"]),
            ("Coupon", "FOR", "Product"): edges(source=["c1"], target=["p5"]),
            BOUGHT: pa.table(bought),
            ("Product", "ALSO_BOUGHT", "Product"): pa.table(also),
        },
    )


def sample_of_complete_journey(households: int) -> GraphTables:
    """Real rows of a few households, with the products that they bought and what these hang on."""
    whole = complete_journey_tables(households=households, seed=1)
    keys = {"Product": pc.unique(whole.edges[BOUGHT]["target"])}
    for label, edge in (("Brand", "MADE_BY"), ("Category", "IN_CATEGORY")):
        facts = whole.edges[("Product", edge, label)]
        keys[label] = pc.unique(facts.filter(pc.is_in(facts["source"], value_set=keys["Product"]))["target"])
    parents = pc.unique(pc.replace_substring_regex(keys["Category"], r"( > [^>]+) > [^>]+$", r"\1"))
    keys["Category"] = pc.unique(pa.concat_arrays([keys["Category"], parents]))
    nodes, kept = dict(whole.nodes), dict(whole.edges)
    for label, chosen in keys.items():
        nodes[label] = nodes[label].filter(pc.is_in(nodes[label][0], value_set=chosen))
    for edge, table in kept.items():
        for side, label in (("source", edge[0]), ("target", edge[2])):
            if label in keys:
                table = table.filter(pc.is_in(table[side], value_set=keys[label]))
        kept[edge] = table
    return GraphTables(nodes, kept)


def content(store: GraphStore, schema: Schema) -> dict[object, list[str]]:
    """Everything that a store holds, in an order of its own."""
    held: dict[object, list[str]] = {}
    for label in schema.nodes:
        held[label] = sorted(map(str, store.read_nodes(label).to_pylist()))
    for edge in schema.edges():
        held[edge] = sorted(map(str, store.read_relationships(edge).to_pylist()))
    return held
