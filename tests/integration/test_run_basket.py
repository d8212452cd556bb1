"""A task with repeats as a run: every event of a pair counts, and what was had before may be right again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.errors import InputError, LeakError
from kgdistill.ranking.habits import Timed
from kgdistill.resources import graph_dir
from kgdistill.run.run import Run
from kgdistill.serve.joined import load
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.tasks.spec import load_task, parse_task

VIEWED = ("User", "VIEWED", "Product")
START, TURN, TURNS = datetime(2024, 1, 1), 14, 26
TASK: dict[str, Any] = {
    "kind": "match",
    "name": "again",
    "anchors": {"label": "User", "by": "history"},
    "candidates": {"label": "Product", "by": ["history", "text"]},
    "positives": {"event": "VIEWED"},
    "repeats": True,
    "protocol": {
        "split": "time",
        "settings": ["warm"],
        "min_item_users": 1,
        "k": 5,
        "cut": START + timedelta(days=TURN * (TURNS - 2)),
        "test_start": START + timedelta(days=TURN * (TURNS - 1)),
    },
}
SMALL = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1}


def fill_views(store: GraphStore, folder: Path) -> None:
    """Everybody looks at two things of their own in turn, and at one other a turn."""
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
        {"source": f"u{u:02}", "target": f"p{p:02}", "at": START + timedelta(days=TURN * n + d)}
        for u in range(40)
        for n in range(TURNS)
        for d, p in enumerate([u if n % 2 else (u + 7) % 80, int(draw.integers(80))])
    ]
    schema = own.edge_arrow_schema(VIEWED)
    store.write_relationships(VIEWED, pa.Table.from_pylist(rows, schema=schema))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, MemoryStore]]:
    folder = tmp_path_factory.mktemp("basket")
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_views(store, folder)
        run = Run.create(
            folder / "run", store, task=parse_task(TASK), text=text, student=SMALL, device="cpu",
            teacher={"dim": 8, "layers": 2, "graph_steps": 20, **SMALL},
        )  # fmt: skip
        run.fit()
        run.evaluate()
        yield run, store


def test_repeats_are_right_and_found(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    results = run.evaluate()
    scores = {arm["arm"]: arm["settings"]["warm"]["ndcg@5"]["mean"] for arm in results["arms"]}
    assert list(scores) == ["popularity", "frequency", "basket"]
    # One of the two that come is that of the two that is due.
    assert scores["basket"] > scores["frequency"] > scores["popularity"]
    assert scores["basket"] > 0.55
    with pytest.raises(LeakError):
        _ = run.by_history.repeats(opened=False).test  # type: ignore[attr-defined]


def lines_before(run: Run, moment: datetime) -> dict[str, list[tuple[str | int, datetime | str]]]:
    """Every purchase of everybody before a moment, from the run's folder."""
    lines: dict[str, list[tuple[str | int, datetime | str]]] = {}
    for row in run.purchases().to_pylist():
        if row["at"] < moment:
            lines.setdefault(row["user"], []).append((row["product"], row["at"]))
    return lines


def test_a_bundle_answers_what_was_judged(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    start, k = run.config.discovery.test_start, run.config.discovery.k
    bundle = load(run.folder / "bundle")
    lines = lines_before(run, start)
    judged = pq.read_table(run.folder / "evaluate" / "topk" / "basket.parquet").sort_by("rank").to_pylist()
    wanted: dict[str, list[str]] = {}
    for row in judged:
        wanted.setdefault(row["user_id"], []).append(row["product_id"])
    assert len(wanted) == 40
    assert bundle.repeats.network.informed  # or the student would play no part in either
    answers = bundle.recommend_many([Timed(lines[user], start) for user in wanted], k)
    assert {u: [hit.id for hit in told] for u, told in zip(wanted, answers, strict=True)} == wanted
    # Asked alone, and without saying when: so much is known of everybody as of then.
    first = next(iter(wanted))
    assert [hit.id for hit in bundle.recommend(lines[first], k)] == wanted[first]
    assert bundle.recommend(lines[first], k).notes == (f"as of {start:%Y-%m-%d %H:%M} UTC",)


def test_a_graph_that_keeps_first_events_alone_is_refused(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        with pytest.raises(InputError, match="keeps one BOUGHT of a pair"):
            Run.create(tmp_path / "run", store, task=load_task("basket"))


def again(product: str, every: int, last: int, times: int, now: datetime) -> list[tuple[str, datetime]]:
    """Purchases at a rhythm in days, up to so many days ago."""
    return [(product, now - timedelta(days=last + every * n, hours=1)) for n in range(times)]


def ranks(bundle: Any, lines: list[tuple[str, datetime]], now: datetime) -> dict[str, int]:
    return {hit.id: hit.rank for hit in bundle.recommend(Timed(lines, now), 80)}


def test_what_is_due_comes_first_and_then_what_is_bought_often(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    bundle, now = load(run.folder / "bundle"), run.config.discovery.test_start
    due, fresh = again("p20", 28, 27, 8, now), again("p50", 28, 13, 8, now)
    told = ranks(bundle, due + fresh, now)
    assert told["p20"] == 1 < told["p50"]
    # The other way round it is the other one: the times speak, not the products.
    swapped = again("p20", 28, 13, 8, now) + again("p50", 28, 27, 8, now)
    told = ranks(bundle, swapped, now)
    assert told["p50"] == 1 < told["p20"]
    often, once = again("p20", 28, 27, 8, now), again("p50", 28, 27, 1, now)
    told = ranks(bundle, often + once, now)
    assert told["p20"] == 1 < told["p50"]
    # What is not yet known at the moment of asking says nothing.
    later = [("p50", now + timedelta(days=d)) for d in range(9)]
    assert ranks(bundle, often + later, now) == ranks(bundle, often, now)
