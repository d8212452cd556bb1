"""The graph check and the derived relationships, the same on every store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from _odd_shop import NOW, fill, odd_shop
from _stores import BOUGHT, STORES, opened, sample_of_complete_journey

from kgdistill.derive.also_bought import ALSO_BOUGHT, BRAND_SIMILAR, VIEWED_TOGETHER, derive, derived_table
from kgdistill.graphcheck import Inspection, inspect_graph
from kgdistill.ingest.tables import ingest_tables
from kgdistill.store import GraphStore, load_schema, open_store

SCHEMA = load_schema()
ORDER = [("source", "ascending"), ("target", "ascending")]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


@pytest.fixture(scope="module")
def expected() -> Inspection:
    with open_store("memory:") as store:
        fill(store, odd_shop())
        return inspect_graph(store, SCHEMA, now=NOW)


def test_every_store_gives_the_same_findings_and_figures(store: GraphStore, expected: Inspection) -> None:
    fill(store, odd_shop())
    found = inspect_graph(store, SCHEMA, now=NOW)
    assert found.findings == expected.findings
    assert dataclasses.replace(found.stats, store="") == dataclasses.replace(expected.stats, store="")


def test_a_derivation_follows_late_events_and_nothing_after_the_cut(
    store: GraphStore, tmp_path: Path
) -> None:
    tables = sample_of_complete_journey(6)
    ingest_tables(store, SCHEMA, tables)
    first_at = tables.edges[BOUGHT]["first_at"].to_pylist()
    cut = sorted(first_at)[len(first_at) * 3 // 4]
    viewed = tables.edges[BOUGHT].select(["source", "target", "first_at"])
    store.write_relationships(("User", "VIEWED", "Product"), viewed)
    for edge in (ALSO_BOUGHT, VIEWED_TOGETHER, BRAND_SIMILAR):
        report = derive(store, edge, cut=cut, top_k=3, min_support=2, state=tmp_path)
        assert report.rows == report.written > 0
    # A user's purchases move before the cut; those of another, after it.
    known = tables.edges[BOUGHT]
    rows = [r for r in known.to_pylist() if r["first_at"] >= cut][:40]
    gone = [r for r in known.to_pylist() if r["first_at"] < cut][:40]
    moved = [{**r, "first_at": cut - timedelta(days=1), "first_quantity": 1} for r in rows]
    moved += [{**r, "first_at": cut, "last_at": cut} for r in gone]
    store.write_relationships(BOUGHT, pa.Table.from_pylist(moved, schema=known.schema))
    for edge in (ALSO_BOUGHT, VIEWED_TOGETHER, BRAND_SIMILAR):
        report = derive(store, edge, cut=cut, top_k=3, min_support=2, state=tmp_path)
        whole = derived_table(store, edge, cut=cut, top_k=3, min_support=2)
        assert store.read_relationships(edge).sort_by(ORDER).equals(whole)
        if edge != BRAND_SIMILAR:  # of these brands they may have bought something else
            assert bool(report.written + report.deleted) == (edge == ALSO_BOUGHT)
