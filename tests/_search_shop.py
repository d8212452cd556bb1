"""A small shop that is searched: what a query means stands in the graph and in no title."""

from __future__ import annotations

from typing import Any

from _tables import write_rows

from kgdistill.store import GraphStore, load_schema

BRANDS = ["acorn", "birch", "cedar", "dogwood", "elm"]
THINGS = ["paper", "pen", "chair", "desk", "lamp", "folder"]


def fill_search_shop(store: GraphStore) -> None:
    """Thirty things by five makers, whom no title names; a query names a thing, and some its maker too."""
    schema = load_schema()
    products = [
        {"product_id": f"p{b}{t}", "title": f"{thing} number {b}{t}"}
        for b in range(len(BRANDS))
        for t, thing in enumerate(THINGS)
    ]
    queries = [{"query_id": f"q{t}", "text": thing} for t, thing in enumerate(THINGS)]
    queries += [
        {"query_id": f"q{t}{b}", "text": f"{brand} {THINGS[t]}"}
        for t in range(3)
        for b, brand in enumerate(BRANDS)
    ]
    judged = [
        {"source": f"q{t}", "target": f"p{b}{t}", "grade": 2.0}
        for t in range(len(THINGS))
        for b in range(len(BRANDS))
    ]
    judged += [
        {"source": f"q{t}{b}", "target": f"p{other}{t}", "grade": 3.0 if other == b else 1.0}
        for t in range(3)
        for b in range(len(BRANDS))
        for other in range(len(BRANDS))
    ]
    tables: dict[Any, list[dict[str, Any]]] = {
        "Product": products,
        "Brand": [{"brand_id": f"b{b}", "name": brand} for b, brand in enumerate(BRANDS)],
        "Query": queries,
        ("Product", "MADE_BY", "Brand"): [
            {"source": p["product_id"], "target": f"b{p['product_id'][1]}"} for p in products
        ],
        ("Query", "JUDGED", "Product"): judged,
    }
    store.apply_schema(schema)
    write_rows(store, schema, tables)
