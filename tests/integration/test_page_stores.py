"""The page shows the same of every kind of store; of a sample shop with files of one's own too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from _explored_shop import fill_explored_shop
from _page_shop import client
from starlette.testclient import TestClient

from kgdistill import Graph
from kgdistill.store import GraphStore, MemoryStore
from tests.integration._stores import opened

ROOT = Path(__file__).parents[2]
ADDRESSES = (
    "/", "/search?q=tea", "/list?label=Product", "/card?label=User&key=ann",
    "/card?label=User&key=cyd&as=html", "/card?label=Product&key=tea-1", "/card?label=Brand&key=hillside",
    "/card?label=Category&key=tea", "/card?label=Campaign&key=spring", "/card?label=Query&key=q1",
    "/card?label=Coupon&key=c1", "/part/reasons?user=cyd&run=demo", "/part/taste?user=ann", "/run?run=demo",
    "/run?run=target", "/part/plots?run=demo&other=former", "/compare?run=demo&other=former",
    "/graph?node=Product:tea-1&limit=50", "/graph?node=User:ann&run=demo&limit=50",
    "/graph?node=Coupon:c1&limit=50", "/part/why?user=cyd&product=tea-1", "/query/why?user=cyd&product=tea-1",
    "/query/nearest_products?product=tea-1&run=demo&as=csv",
    "/download?source_label=User&type=RECOMMENDED&target_label=Product&run=demo&k=1",
)  # fmt: skip


def told(page: TestClient, address: str) -> list[str]:
    """The words of a page, in an order of their own: stores list their types in different orders."""
    answer = page.get(address)
    assert answer.status_code == 200, (address, answer.text)
    text = re.sub(r'(name="form" value|data-form)="[^"]+"', "", answer.text)
    # What a page says of where its store is.
    return sorted(re.findall(r"\w+", re.sub(r"memory:|127\.0\.0\.1:\d+|\bgraph\b", "", text)))


@pytest.fixture(params=["ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def test_every_store_shows_the_same(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The page shows when a run was written, to the minute.
    monkeypatch.setattr("kgdistill.explore.run_nodes.utc_now", lambda: datetime(2024, 2, 1))
    fill_explored_shop(store)
    page = client(store)
    with MemoryStore() as plain:
        fill_explored_shop(plain)
        same = client(plain)
        for address in ADDRESSES:
            assert told(page, address) == told(same, address), address


def test_a_shop_without_runs_is_shown(tmp_path: Path) -> None:
    with Graph(f"ladybug:{tmp_path / 'shop.db'}") as graph:
        graph.ingest(ROOT / "data" / "sample_shop")
        page = client(graph.store)
        assert "writeback --run RUN" in page.get("/").text
        assert "writeback --run RUN" in page.get("/compare").text
        assert "Green tea" in page.get("/card?label=User&key=ann").text
        for address in ("/card?label=Product&key=tea-1", "/graph?node=Product:tea-1", "/queries"):
            assert page.get(address).status_code == 200, address
