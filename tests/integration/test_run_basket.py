"""A task with repeats as a run: every event of a pair counts, and what was had before may be right again."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.errors import InputError, LeakError
from kgdistill.resources import graph_dir
from kgdistill.run.run import Run
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.tasks.spec import load_task, parse_task

VIEWED = ("User", "VIEWED", "Product")
TASK: dict[str, Any] = {
    "kind": "match",
    "name": "again",
    "anchors": {"label": "User", "by": "history"},
    "candidates": {"label": "Product", "by": ["history", "text"]},
    "positives": {"event": "VIEWED"},
    "repeats": True,
    "protocol": {"split": "time", "refit": True, "settings": ["warm"], "min_item_users": 1, "k": 5},
}
SMALL = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1}


def fill_views(store: GraphStore, folder: Path) -> None:
    """Everybody looks at two things of their own again and again, and at one other a time."""
    whole = yaml.safe_load((graph_dir() / "schema.yaml").read_text(encoding="utf-8"))
    moment = {"type": "timestamp", "required": True}
    whole["relationships"]["VIEWED"] = {
        "kind": "event", "endpoints": [["User", "Product"]], "time": "at", "identity": ["at"],
        "properties": {"at": moment},
    }  # fmt: skip
    (folder / "schema.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    own = load_schema(folder / "schema.yaml")
    store.apply_schema(own)
    fill_shop(store, own)
    draw = np.random.default_rng(0)
    rows = [
        {"source": f"u{u:02}", "target": f"p{p:02}", "at": datetime(2024, 1, 1) + timedelta(days=30 * m + d)}
        for u in range(40)
        for m in range(12)
        for d, p in enumerate([u, (u + 7) % 80, int(draw.integers(80))])
    ]
    schema = own.edge_arrow_schema(VIEWED)
    store.write_relationships(VIEWED, pa.Table.from_pylist(rows, schema=schema))


def test_repeats_are_right_and_found(tmp_path: Path) -> None:
    text = {"encoder": str(tiny_encoder(tmp_path / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_views(store, tmp_path)
        run = Run.create(
            tmp_path / "run", store, task=parse_task(TASK), text=text, student=SMALL, device="cpu",
            teacher={"dim": 8, "layers": 2, "graph_steps": 20, **SMALL},
        )  # fmt: skip
    run.fit()
    results = run.evaluate()
    scores = {arm["arm"]: arm["settings"]["warm"]["ndcg@5"]["mean"] for arm in results["arms"]}
    assert list(scores) == ["popularity", "frequency", "basket"]
    # Two of the three that come are those that always come.
    assert scores["basket"] > 0.5 > scores["popularity"]
    with pytest.raises(LeakError):
        _ = run.by_history.repeats(opened=False).test  # type: ignore[attr-defined]


def test_a_graph_that_keeps_first_events_alone_is_refused(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        with pytest.raises(InputError, match="keeps one BOUGHT of a pair"):
            Run.create(tmp_path / "run", store, task=load_task("basket"))
