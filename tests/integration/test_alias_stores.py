"""Nodes of several names on every store: merged with their events, and parted again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _jobs import BOUGHT, MADE_BY, graph, ingest, rows
from _stores import STORES, opened

from kgdistill.ingest.archive import Archive
from kgdistill.ingest.mapping.load import Mapping, load_mapping
from kgdistill.ingest.projection import rebuild
from kgdistill.store import GraphStore, open_store

_MAPPING = """
version: 1
name: shop
aliases: {Brand: brands.csv, Product: products.yaml}
sources:
  lines:
    files: "*.csv"
    nodes:
      - {label: User, key: user}
      - {label: Product, key: sku, properties: {title: title}}
      - {label: Brand, key: brand, properties: {name: brand}}
    relationships:
      - {type: MADE_BY, from: {Product: sku}, to: {Brand: brand}}
      - type: BOUGHT
        from: {User: user}
        to: {Product: sku}
        event_id: id
        properties: {at: at, quantity: quantity}
"""
_LINES = """id,user,sku,title,brand,at,quantity
1,ann,P1,Pan,苏泊尔,2024-03-05,1
2,ann,p-1,Pan,SUPOR,2024-03-04,2
3,ann,P2,Pot,Mill,2024-03-06,1
4,bob,p-1,Pan,苏泊尔（SUPOR）,2024-03-07,5
"""


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path / "store")


def told(folder: Path, brands: str, products: str) -> Mapping:
    (folder / "brands.csv").write_text(f"alias,name\n{brands}", encoding="utf-8")
    (folder / "products.yaml").write_text(products, encoding="utf-8")
    (folder / "shop.yaml").write_text(_MAPPING, encoding="utf-8")
    return load_mapping(folder / "shop.yaml")


def bought(store: GraphStore) -> list[tuple[str, str, int, int]]:
    found = rows(store, BOUGHT)
    return [(r["source"], r["target"], r["count"], r["first_quantity"]) for r in found]


def test_other_names_are_merged_with_all_their_events_and_parted_again(
    store: GraphStore, tmp_path: Path
) -> None:
    files, archive = tmp_path / "files", tmp_path / "x"
    files.mkdir()
    (files / "a.csv").write_text(_LINES, encoding="utf-8")
    ingest(store, files, archive, mapping=told(tmp_path, "", "{}"))
    apart = graph(store)
    assert bought(store) == [
        ("ann", "P1", 1, 1),
        ("ann", "P2", 1, 1),
        ("ann", "p-1", 1, 2),
        ("bob", "p-1", 1, 5),
    ]
    together = told(tmp_path, "SUPOR,苏泊尔\n苏泊尔（SUPOR）,SUPOR\n", "p-1: P1\n")
    for state in ("done", "unchanged"):
        report = ingest(store, files, archive, mapping=together)
        assert report.state == state
        assert bought(store) == [("ann", "P1", 2, 2), ("ann", "P2", 1, 1), ("bob", "P1", 1, 5)]
        assert [(r["source"], r["target"]) for r in rows(store, MADE_BY)] == [
            ("P1", "苏泊尔"),
            ("P2", "Mill"),
        ]
        assert [r["brand_id"] for r in rows(store, "Brand")] == ["Mill", "苏泊尔"]
        assert [r["product_id"] for r in rows(store, "Product")] == ["P1", "P2"]
    # A late line under the other name, and one event that moves to another product.
    (files / "b.csv").write_text(
        "id,user,sku,title,brand,at,quantity\n5,ann,p-1,Pan,supor,2024-03-01,4\n3,ann,P1,Pan,苏泊尔,2024-03-06,1\n",
        encoding="utf-8",
    )
    ingest(store, files, archive, mapping=together)
    assert bought(store) == [("ann", "P1", 4, 4), ("bob", "P1", 1, 5)]
    with open_store("memory:") as anew:
        rebuild(anew, Archive(archive))
        assert graph(anew) == graph(store)
    (files / "b.csv").write_text("id,user,sku,title,brand,at,quantity\n", encoding="utf-8")
    ingest(store, files, archive, mapping=told(tmp_path, "", "{}"))
    held = graph(store)
    assert held["User-BOUGHT-Product"] == apart["User-BOUGHT-Product"]
    assert set(held["Brand"]["brand_id"].to_pylist()) >= set(apart["Brand"]["brand_id"].to_pylist())
