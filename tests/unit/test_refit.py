"""Protocols that refit, rank everything and judge users without history."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _tasks import make_task, random_splits
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.suites.data import graph_of, suite_tables
from bench.suites.spec import DiscoverySuite, load_suite
from kgdistill.datasets.complete_journey import complete_journey_protocol
from kgdistill.errors import LeakError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.snapshot import take_events, take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.protocol import DiscoveryProtocol

BOUGHT = ("User", "BOUGHT", "Product")
CUT = datetime(2024, 3, 1)
REFIT = DiscoveryProtocol(
    name="shop",
    title="Shop",
    cut=CUT,
    test_start=CUT + timedelta(days=10),
    min_user_events=0,
    min_item_users=1,
    refit=True,
    settings=("all", "cold", "cold_in_all"),
    ks=(1, 2),
)
DATA = Path(os.environ.get("KGDISTILL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def suite(name: str) -> DiscoverySuite:
    found = load_suite(name)
    assert isinstance(found, DiscoverySuite)
    return found


def refit_task(folder: Path) -> MatchTask:
    """Two users with a history, one that comes with the test; p4 is first bought in the test."""
    schema = load_schema().restricted(("User", "Product"), ("BOUGHT",))
    bought = [("u0", "p0", -5), ("u1", "p1", -3), ("u0", "p1", 4), ("u1", "p2", 9.9), ("u0", "p4", 10)]
    bought += [("u0", "p2", 12), ("u2", "p0", 13), ("u2", "p4", 14)]
    with MemoryStore() as store:
        store.apply_schema(schema)
        store.write_nodes("User", pa.table({"user_id": ["u0", "u1", "u2"]}))
        products = [f"p{i}" for i in range(5)]
        store.write_nodes("Product", pa.table({"product_id": products, "title": products}))
        rows = {
            "source": [u for u, *_ in bought],
            "target": [p for _, p, _ in bought],
            "first_at": pa.array([CUT + timedelta(days=d) for *_, d in bought], pa.timestamp("us")),
        }
        store.write_relationships(BOUGHT, pa.table(rows))
        snapshot = take_snapshot(store, folder / "s", cut=REFIT.snapshot_cut, schema=schema)
        later = take_events(
            store, BOUGHT, start=REFIT.snapshot_cut, end=None, schema=schema, include_future=True
        )
        early = take_snapshot(store, folder / "early", cut=CUT, schema=schema)
        with pytest.raises(LeakError, match="closed"):
            build_task(snapshot, later, REFIT).positives("test")
        # Without the refit, validation must not be in the snapshot.
        with pytest.raises(LeakError, match="keeps for testing"):
            build_task(snapshot, later, REFIT.model_copy(update={"refit": False}))
        assert early.num_edges(BOUGHT) == 2
        assert early.num_nodes("Product") == 5
    return build_task(snapshot, later, REFIT)


def pairs(matrix: Any) -> list[tuple[int, int]]:
    return sorted(zip(*(part.tolist() for part in matrix.nonzero()), strict=True))


def test_a_refit_lets_the_final_models_know_validation_and_no_more(tmp_path: Path) -> None:
    task = refit_task(tmp_path)
    assert pairs(task.history("validation")) == [(0, 0), (1, 1)]
    assert pairs(task.validation) == [(0, 1), (1, 2)]
    # What a model may know is no secret; what it is asked is.
    assert pairs(task.history("test")) == [(0, 0), (0, 1), (1, 1), (1, 2)]
    days = (task.history_times_us("test") - task.history_until_us("validation")) / 86_400e6
    assert days.tolist() == [-5, 4, -3, pytest.approx(9.9)]
    assert task.history_until_us("test") - task.history_until_us("validation") == 10 * 86_400_000_000
    with pytest.raises(LeakError, match="closed"):
        task.judged("all", "test")
    task.open_test()
    assert pairs(task.test) == [(0, 2), (0, 4), (2, 0), (2, 4)]
    assert task.users.tolist() == [0, 1, 2]


def test_cold_counts_what_the_refitted_models_know(tmp_path: Path) -> None:
    task = refit_task(tmp_path)
    task.open_test()
    assert task.candidates("cold", "validation").tolist() == [2]
    assert task.candidates("cold", "test").tolist() == [4]
    assert task.candidates("warm", "test").tolist() == [0, 1, 2]
    assert task.candidates("cold_in_all", "test").tolist() == [0, 1, 2, 3, 4]
    assert task.judged("cold_in_all", "test").tolist() == [3, 4]
    assert task.judged("cold_in_all", "validation").tolist() == [2, 3, 4]
    # Everything scores alike, so that the ids are the ranking; u0 has had 0 and 1.
    result = evaluate_arm(
        lambda u, c: np.zeros((len(u), len(c)), np.float32), task, arm="a", title="A", progress=False
    )
    assert list(result.settings) == ["all", "cold", "cold_in_all"]
    found = result.settings["cold_in_all"]
    assert found.users.tolist() == [0, 2]
    assert found.items[:, :3].tolist() == [[2, 3, 4], [0, 1, 2]]
    np.testing.assert_allclose(found.mrr, [1 / 3, 1 / 5])
    assert found.values("recall@2").tolist() == [0, 0]
    assert result.settings["all"].values("recall@1").tolist() == [0.5, 0.5]
    assert set(found.deeper) == {f"{m}@{k}" for m in ("ndcg", "recall", "mrr") for k in (1, 2)}


def test_the_tail_is_what_is_left_beside_four_fifths_of_the_purchases() -> None:
    # Counts 4, 2, 1, 1, 1, 0 of 9; the first two have 6 of them, the third (equals by id) makes it 7, then 8.
    train = np.zeros((4, 6))
    train[:, 0] = 1
    train[:2, 1] = 1
    train[0, 2] = train[1, 3] = train[2, 4] = 1
    task = make_task(train, np.ones((4, 6)) - train, min_item_users=1)
    assert task.candidates("warm", "test").tolist() == [0, 1, 2, 3, 4]
    assert task.judged("tail", "test").tolist() == task.candidates("tail", "test").tolist() == [4]
    result = evaluate_arm(
        lambda u, c: np.zeros((len(u), len(c)), np.float32), task, arm="a", title="A", settings=["tail"],
        progress=False,
    )  # fmt: skip
    # User 2 has had item 4.
    assert result.settings["tail"].users.tolist() == [0, 1, 3]
    assert result.settings["tail"].mrr.tolist() == [1, 1, 1]


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 9), k=st.integers(1, 9))
def test_several_depths_in_one_ranking_equal_one_ranking_each(seed: int, depth: int, k: int) -> None:
    train, validation, test = random_splits(seed, 7, 11)
    test[0, 3] = True
    train[0, 3] = validation[0, 3] = False
    scores = np.random.default_rng(seed).integers(0, 4, size=train.shape).astype(np.float32)
    task, deeper = (make_task(train, test, validation, ks=ks) for ks in ((), (depth,)))
    given_ = {"arm": "a", "title": "A", "progress": False, "settings": ["warm", "all"]}
    both = evaluate_arm(lambda u, c: scores[np.ix_(u, c)], deeper, k=k, **given_)
    alone = evaluate_arm(lambda u, c: scores[np.ix_(u, c)], task, k=depth, **given_)
    assert both.topk.equals(evaluate_arm(lambda u, c: scores[np.ix_(u, c)], task, k=k, **given_).topk)
    for setting, found in both.settings.items():
        for metric in ("ndcg", "recall", "mrr"):
            at = found.values(metric if depth == k else f"{metric}@{depth}")
            np.testing.assert_array_equal(at, alone.settings[setting].values(metric))
        assert found.items.shape[1] == k


def test_a_protocol_says_that_it_refits_and_refuses_a_setting_twice() -> None:
    words = " ".join(suite("office").protocol.describe())
    for part in ("Users: all, also", "fitted again on train and validation", "cold_in_all", "also at 10"):
        assert part in words
    plain = complete_journey_protocol()
    assert plain.snapshot_cut == plain.cut
    assert "not refitted" in " ".join(plain.describe())
    assert "cold_in_all" not in " ".join(plain.describe())
    with pytest.raises(ValidationError, match="named once"):
        DiscoveryProtocol(**{**REFIT.model_dump(), "settings": ("all", "all")})
    with pytest.raises(ValidationError, match="from 1 to"):
        DiscoveryProtocol(**{**REFIT.model_dump(), "ks": (0,)})


def test_office_has_the_users_and_items_that_its_peers_were_judged_on(tmp_path: Path) -> None:
    if not (DATA / "amazon_office").is_dir():
        pytest.skip("needs amazon_office in the folder that KGDISTILL_DATA names")
    office = suite("office")
    protocol = office.protocol
    with graph_of(*suite_tables(office.data, DATA / "amazon_office")) as store:
        snapshot = take_snapshot(store, tmp_path / "s", cut=protocol.snapshot_cut)
        later = take_events(
            store, protocol.interaction, start=protocol.snapshot_cut, end=None, include_future=True
        )
    task = build_task(snapshot, later, protocol)
    task.open_test()
    asked = np.diff(task.test.indptr) > 0
    assert (len(task.users), len(task.items), task.unknown_events) == (3231, 3317, 0)
    assert asked.sum() == 2015
    assert (np.diff(task.history("test").indptr)[asked] == 0).sum() == 238
    assert len(task.candidates("cold", "test")) == len(task.judged("cold_in_all", "test")) == 122
