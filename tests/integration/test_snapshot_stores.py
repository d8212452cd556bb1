"""The same graph in two stores is the same snapshot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.snapshot import open_snapshot, take_snapshot
from kgdistill.store import GraphStore, load_schema, open_store
from kgdistill.store.neo4j.store import Neo4jStore
from tests.integration._stores import BOUGHT, sample_of_complete_journey, small_graph


@pytest.mark.parametrize("make", [small_graph, lambda: sample_of_complete_journey(20)], ids=["small", "real"])
def test_both_stores_give_the_same_snapshot(
    neo4j_store: Neo4jStore, tmp_path: Path, make: Callable[[], GraphTables]
) -> None:
    schema, tables = load_schema(), make()
    cut = sorted(tables.edges[BOUGHT]["first_at"].to_pylist())[tables.edges[BOUGHT].num_rows // 2]
    assert isinstance(cut, datetime)
    with open_store(f"ladybug:{tmp_path / 'graph'}") as ladybug:
        hashes: dict[str, list[str]] = {}
        stores: dict[str, GraphStore] = {"ladybug": ladybug, "neo4j": neo4j_store}
        for name, store in stores.items():
            ingest_tables(store, schema, tables)
            for moment in (cut, None):
                folder = tmp_path / "snapshots" / f"{name}-{moment is None}"
                take_snapshot(store, folder, cut=moment)
                taken = open_snapshot(folder)
                hashes.setdefault(name, []).append(taken.content_hash)
                assert 0 < taken.num_edges(BOUGHT) <= tables.edges[BOUGHT].num_rows
    assert hashes["ladybug"] == hashes["neo4j"]
    assert hashes["ladybug"][0] != hashes["ladybug"][1]
