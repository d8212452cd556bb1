"""A shop in which everything that a graph check looks for is wrong once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
from _tables import write_tables

from kgdistill.ingest.tables import GraphTables
from kgdistill.store import GraphStore, load_schema

NOW = datetime(2024, 6, 1)
START = datetime(2024, 1, 1)
EVIL = "<script>alert(1)</script> & \"Sons\" 'x'"


def odd_shop() -> GraphTables:
    """Users u1..u40 and idle; products p01..p40, a bare one and a lonely one."""
    users = [f"u{i}" for i in range(1, 41)]
    products = [f"p{i:02}" for i in range(1, 41)]
    nodes = {
        "User": pa.table({"user_id": [*users, "idle"], "age": ["x"] * 41}),
        "Product": pa.table(
            {
                "product_id": [*products, "bare", "lonely"],
                "title": [EVIL, "  ", *(f"Tea {i}" for i in range(3, 41)), None, "Alone"],
            }
        ),
        "Brand": pa.table(
            {
                "brand_id": [f"b{i}" for i in range(1, 9)],
                "name": [
                    *("P&G", "P & G", "p and g, Inc.", "Procter and Gamble"),
                    *("L'Oréal", "LOREAL S.A.", "Mill", EVIL),
                ],
            }
        ),
        "Category": pa.table({"category_id": list("abcdefg"), "name": [f"cat {c}" for c in "abcdefg"]}),
        "Department": pa.table({"department_id": ["F"], "name": ["Food"]}),
    }
    # One per day, but not from the 10th to the 19th day; u1 alone buys everything.
    days = [START + timedelta(days=i if i < 10 else i + 10) for i in range(40)]
    bought = [
        {
            "source": user,
            "target": product,
            "first_at": day,
            "first_quantity": 1,
            "last_at": day,
            "count": 1,
            "spend": 1.0,
        }
        for user, product, day in zip(users, products, days, strict=True)
    ]
    bought += [{**row, "source": "u1"} for row in bought[1:]]
    bought[2] |= {"count": 0}
    bought[3] |= {"spend": -2.5}
    bought[4] |= {"first_quantity": -1}
    bought[5] |= {"last_at": START - timedelta(days=1)}
    bought[6] |= {"first_at": NOW + timedelta(days=3), "last_at": NOW + timedelta(days=3)}
    bought[50] |= {"last_at": None, "count": None, "spend": None, "first_quantity": None}
    tree = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "d"), ("e", "f"), ("e", "g")]
    also = {"support": [1, 1], "lift": [1.0, 1.0], "cut": [START, NOW]}
    return GraphTables(
        nodes,
        {
            ("Product", "MADE_BY", "Brand"): pa.table(
                {"source": products[1:], "target": [f"b{1 + i % 8}" for i in range(39)]}
            ),
            ("Product", "IN_CATEGORY", "Category"): pa.table(
                {"source": [*products[2:], "bare"], "target": ["e"] * 39}
            ),
            ("Product", "PART_OF", "Department"): pa.table({"source": ["p01"], "target": ["F"]}),
            ("Category", "PART_OF", "Category"): pa.table(
                {"source": [a for a, _ in tree], "target": [b for _, b in tree]}
            ),
            ("Category", "PART_OF", "Department"): pa.table({"source": ["f", "b"], "target": ["F", "F"]}),
            ("User", "BOUGHT", "Product"): pa.Table.from_pylist(bought),
            ("Product", "ALSO_BOUGHT", "Product"): pa.table(
                {"source": ["p01", "p01"], "target": ["p02", "p03"], **also}
            ),
        },
    )


def fill(store: GraphStore, tables: GraphTables) -> None:
    """Writes the tables without the checks that a job makes."""
    write_tables(store, load_schema(), tables)
