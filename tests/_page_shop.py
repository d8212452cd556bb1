"""A small shop whose texts would break a page that does not escape them, and a client of its page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
from _explored_shop import fill_explored_shop
from _load_script import load_script
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kgdistill.explore import write_back
from kgdistill.page import page_app
from kgdistill.store import GraphStore, load_schema

MARKUP = '<script>alert("x")</script>'
BREAKING = """</script><img src=x onerror=alert(1)>"'`{{7*7}}"""
HERE = "http://127.0.0.1:8765"


def fill_hostile_shop(store: GraphStore) -> None:
    """The explored shop with titles that are markup, and keys that addresses need to quote."""
    fill_explored_shop(store)
    titles = {"tea-2": MARKUP, "mug-2": BREAKING, "a/b ?&#=%": "Odd key", "茶-1": "龙井绿茶 500克"}
    store.write_nodes("Product", pa.table({"product_id": list(titles), "title": list(titles.values())}))
    store.write_nodes("Brand", pa.table({"brand_id": ["kiln"], "name": [MARKUP]}))
    store.write_relationships(
        ("Product", "MADE_BY", "Brand"), pa.table({"source": list(titles)[2:], "target": ["kiln", "kiln"]})
    )


def fill_bundle_shop(store: GraphStore, bundle: Path) -> tuple[list[str], str]:
    """A shop with the products of a random bundle, which is kept in a folder, and what it recommends to ann.

    Returns:
        What ann bought, the latest last, and what is recommended first.
    """
    made = load_script("bench/serving.py").random_bundle(60, neighbours=10, rank=4, text=True)
    made.save(bundle)
    store.apply_schema(load_schema())
    store.write_nodes("Product", pa.table({"product_id": made.keys, "title": made.items.titles}))
    store.write_nodes("User", pa.table({"user_id": ["ann"]}))
    bought = made.keys[:4]
    at = pa.array([datetime(2024, 1, day) for day in range(1, 5)], pa.timestamp("us"))
    store.write_relationships(
        ("User", "BOUGHT", "Product"), pa.table({"source": ["ann"] * 4, "target": bought, "first_at": at})
    )
    hits = made.recommend(bought, k=3)
    rows = [{"user": "ann", "product": hit.id, "rank": hit.rank, "score": hit.score} for hit in hits]
    write_back(store, "demo", pa.Table.from_pylist(rows))
    return bought, hits[0].id


def client(store: GraphStore, *, token: str | None = None, base: str = HERE) -> TestClient:
    """A browser's place at the page of a store."""
    return browser(page_app(store, token=token), base=base)


def browser(app: Starlette, *, base: str = HERE) -> TestClient:
    """A browser's place, without a cookie, at a page that may serve others too."""
    return TestClient(app, base_url=base, follow_redirects=False, raise_server_exceptions=False)
