"""A small shop whose texts would break a page that does not escape them, and a client of its page."""

from __future__ import annotations

import pyarrow as pa
from _explored_shop import fill_explored_shop
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kgdistill.page import page_app
from kgdistill.store import GraphStore

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


def client(store: GraphStore, *, token: str | None = None, base: str = HERE) -> TestClient:
    """A browser's place at the page of a store."""
    return browser(page_app(store, token=token), base=base)


def browser(app: Starlette, *, base: str = HERE) -> TestClient:
    """A browser's place, without a cookie, at a page that may serve others too."""
    return TestClient(app, base_url=base, follow_redirects=False, raise_server_exceptions=False)
