"""Unsold items beside new ones: what they are, and that only some settings rank them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from _shop import BOUGHT, PROTOCOL, Shop, fill_shop
from _tables import write_tables
from scipy.sparse import csr_array

from bench.suites import SuiteOptions, run_suite
from bench.suites.choose import Chooser, judged_peer
from bench.suites.decoys import levels, named, up_to, with_decoys
from bench.suites.front import COSTS, LIFTS, Front, fronts
from bench.suites.judge import Judge
from bench.suites.peers import popular
from kgdistill.errors import InputError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.ingest.model import GraphTables
from kgdistill.snapshot import take_events, take_snapshot
from kgdistill.store import MemoryStore, Schema, load_schema
from kgdistill.tasks.match import MatchTask, build_task

WIDE = PROTOCOL.model_copy(update={"settings": ("all", "cold", "cold_in_all")})
CLASSES = ("User", "Product", "Brand", "Category")


def graph() -> tuple[GraphTables, Schema]:
    schema = load_schema()
    edges = [("Product", "MADE_BY", "Brand"), ("Product", "IN_CATEGORY", "Category"), BOUGHT]
    with MemoryStore() as store:
        fill_shop(store, schema)
        nodes = {label: store.read_nodes(label) for label in CLASSES}
        held = {edge: store.read_relationships(edge) for edge in edges}
    return GraphTables(nodes, held), schema


def new_items(tables: GraphTables, protocol: Any = WIDE) -> int:
    """Counted the slow way."""
    buyers: dict[str, set[str]] = {}
    asked = set()
    for row in tables.edges[BOUGHT].to_pylist():
        if row["first_at"] < protocol.cut:
            buyers.setdefault(row["target"], set()).add(row["source"])
        elif protocol.test_start <= row["first_at"] and (
            protocol.test_end is None or row["first_at"] < protocol.test_end
        ):
            asked.add(row["target"])
    return sum(len(buyers.get(item, ())) < protocol.min_item_users for item in asked)


def facts_of(tables: GraphTables, key: str) -> set[tuple[str, str]]:
    return {
        (edge[1], row["target"])
        for edge, rows in tables.edges.items()
        for row in rows.to_pylist()
        if row["source"] == key
    }


def test_a_decoy_is_a_real_item_with_one_word_changed_and_without_a_buyer() -> None:
    tables, schema = graph()
    made = with_decoys(tables, schema, WIDE, 3)
    real = {row["product_id"]: row for row in tables.nodes["Product"].to_pylist()}
    rows = made.nodes["Product"].to_pylist()
    assert rows[: len(real)] == list(real.values())
    assert made.nodes["Product"].schema == tables.nodes["Product"].schema
    decoys = rows[len(real) :]
    assert len(decoys) == 3 * new_items(tables) > 0
    assert Counter(row["product_id"].split("-")[1] for row in decoys) == dict.fromkeys(
        "123", new_items(tables)
    )
    names = [row["title"] for row in rows]
    assert len(set(names)) == len(names)
    words = {word for row in real.values() for word in row["title"].split()}
    for row in decoys:
        own = row["title"].split()
        assert set(own) <= words
        close = [
            key
            for key, other in real.items()
            if sum(a != b for a, b in zip(own, other["title"].split(), strict=True)) == 1
            and {**other, "title": 0, "product_id": 0} == {**row, "title": 0, "product_id": 0}
            and facts_of(tables, key) - {f for f in facts_of(tables, key) if f[0] == "BOUGHT"}
            == facts_of(made, row["product_id"])
        ]
        assert close
    assert made.edges[BOUGHT] is tables.edges[BOUGHT]
    assert made.nodes["User"] is tables.nodes["User"]


def test_what_was_derived_from_purchases_and_other_labels_of_the_same_keys_are_left_alone() -> None:
    tables, schema = graph()
    keys = tables.nodes["Product"]["product_id"]
    same = pa.table({"source": keys, "target": keys})
    more: dict[Any, Any] = {
        ("Product", "ALSO_BOUGHT", "Product"): same,
        ("Category", "PART_OF", "Category"): same,
    }
    made = with_decoys(GraphTables(tables.nodes, {**tables.edges, **more}), schema, WIDE, 1)
    assert all(made.edges[edge] is same for edge in more)
    assert (
        made.edges["Product", "MADE_BY", "Brand"].num_rows
        > tables.edges["Product", "MADE_BY", "Brand"].num_rows
    )


def test_the_seed_draws_them_and_more_rounds_leave_the_first_as_many() -> None:
    tables, schema = graph()
    one, same, other = (
        with_decoys(tables, schema, WIDE, 2, seed=seed).nodes["Product"]["title"].to_pylist()
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_new_items_are_those_that_are_cold_and_sell_in_the_test() -> None:
    tables, schema = graph()
    count = tables.nodes["Product"].num_rows
    for change in (
        {"min_item_users": 1},
        {"min_item_users": 6},
        {"test_end": WIDE.test_start + timedelta(days=9)},
    ):
        protocol = WIDE.model_copy(update=change)
        made = with_decoys(tables, schema, protocol, 1).nodes["Product"].num_rows - count
        assert made == new_items(tables, protocol) != new_items(tables)


def test_what_cannot_have_decoys_is_refused() -> None:
    tables, schema = graph()
    away = WIDE.model_copy(update={"exclude_category_levels": [["root0"]]})
    with pytest.raises(InputError, match="leaves some out"):
        with_decoys(tables, schema, away, 1)
    with pytest.raises(InputError, match="a key begins with 'decoy-'"):
        with_decoys(with_decoys(tables, schema, WIDE, 1), schema, WIDE, 1)
    none = WIDE.model_copy(update={"test_start": WIDE.test_start + timedelta(days=900)})
    with pytest.raises(InputError, match="no new item sells"):
        with_decoys(tables, schema, none, 1)
    with pytest.raises(InputError, match="only suites of discovery have decoys"):
        run_suite("chorus", SuiteOptions(decoys=3))


def task_of(folder: Path, decoys: int) -> MatchTask:
    tables, schema = graph()
    if decoys:
        tables = with_decoys(tables, schema, WIDE, decoys)
    with MemoryStore() as store:
        write_tables(store, schema, tables)
        snapshot = take_snapshot(store, folder, cut=WIDE.snapshot_cut)
        later = take_events(store, BOUGHT, start=WIDE.snapshot_cut, end=None, include_future=True)
    return build_task(snapshot, later, WIDE)


def test_each_level_ranks_so_many_decoys_for_each_new_item_and_plain_settings_none(tmp_path: Path) -> None:
    task, plain = task_of(tmp_path / "with", 9), task_of(tmp_path / "without", 0)
    assert levels(9) == (1, 3, 9)
    assert levels(4) == (1, 3, 4)
    assert levels(0) == ()
    real = len(plain.items)
    new = (len(task.items) - real) // 9
    for level in (0, 1, 3, 9):
        part = up_to(task, level)
        assert len(part.items) == real + level * new
        keys = part.item_keys.take(pa.array(part.items)).to_pylist()
        assert sum(key.startswith("decoy-") for key in keys) == level * new
    # The task itself, on which models are trained and chosen, keeps them all.
    assert len(task.items) == real + 9 * new
    task.open_test()
    assert set(task.judged("cold_in_all", "test")) > set(up_to(task, 1).judged("cold_in_all", "test"))


def test_decoys_cost_what_shows_everything_new_and_nothing_what_tells_them_apart(tmp_path: Path) -> None:
    task = task_of(tmp_path, 9)
    judge = Judge(task, decoys=9)
    task.open_test()
    draw = np.random.default_rng(0)
    cold = task.counts("test") < WIDE.min_item_users
    noise = draw.random(task.train.shape[1]).astype(np.float32)
    wanted = np.bincount(task.test.indices, minlength=task.train.shape[1]).astype(np.float32)

    def lifted(users: Any, items: Any) -> Any:
        return np.broadcast_to((10.0 * cold + noise)[items], (len(users), len(items)))

    def knowing(users: Any, items: Any) -> Any:
        return np.broadcast_to((cold * wanted)[items], (len(users), len(items)))

    scores, _ = judge.measure(lifted, "lifted", "Lifted")
    names = [named(setting, level) for level in (1, 3, 9) for setting in ("all", "cold_in_all")]
    assert list(scores) == ["all", "cold", "cold_in_all", *names]
    assert list(judge.units) == list(scores)
    found = [scores[s]["recall@10"].mean() for s in ("cold_in_all", *names[1::2])]
    assert found[0] > found[1] > found[2] > found[3]
    known, _ = judge.measure(knowing, "knowing", "Knowing")
    for name in names[1::2]:
        np.testing.assert_array_equal(known[name]["ndcg@10"], known["cold_in_all"]["ndcg@10"])
    assert known["cold_in_all"]["recall@10"].mean() > 0.9


def test_without_decoys_nothing_is_asked_twice_and_a_peer_is_judged_with_them(tmp_path: Path) -> None:
    plain = task_of(tmp_path / "without", 0)
    scores, _ = Judge(plain).measure(lambda u, i: np.zeros((len(u), len(i)), np.float32), "a", "A")
    assert list(scores) == ["all", "cold", "cold_in_all"]
    task = task_of(tmp_path / "with", 1)
    choose: Any = dict.fromkeys(WIDE.settings, ("all", "ndcg@10"))
    found = judged_peer(popular(), Chooser(task_of(tmp_path / "closed", 1), choose), Judge(task, decoys=1), 0)
    assert list(found.scores) == ["all", "cold", "cold_in_all", "all+1", "cold_in_all+1"]
    part, _ = Judge(task, decoys=1).measure(
        lambda u, i: np.zeros((len(u), len(i)), np.float32), "a", "A", ["cold"]
    )
    assert list(part) == ["cold"]


def test_the_shop_of_other_tests_has_no_decoys(shop: Shop) -> None:
    task = shop.task()
    assert up_to(task, 0).items.tolist() == task.items.tolist()


def test_asked_on_the_command_line_the_suite_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "amazon_office").mkdir()
    asked: list[Any] = []
    monkeypatch.setattr(
        "bench.suites.discovery.discovery_suite",
        lambda what, folder, options: (asked.append((what.name, what.decoys)), None),
    )
    run_suite("office", SuiteOptions(data=tmp_path, decoys=3))
    run_suite("office", SuiteOptions(data=tmp_path))
    assert asked == [("office-decoys", 3), ("office", 0)]


class Lifting:
    """Scores that know the future of known items, and are noise and a lift of new ones."""

    def __init__(self, task: MatchTask, seed: int) -> None:
        self.new_boost = torch.tensor(0.7)
        self.model = SimpleNamespace(blend=self)
        self.noise = np.random.default_rng(seed).random(task.train.shape[1]).astype(np.float32)
        task.open_test()
        self.cold = task.counts("test") < WIDE.min_item_users
        # Known items are told apart by what is bought of them later, so that new ones before them cost.
        self.noise += ~self.cold * np.log1p(np.bincount(task.test.indices, minlength=len(self.cold)))

    def __call__(self, users: Any, items: Any) -> Any:
        scores = (self.noise + self.new_boost.item() * self.cold)[items]
        return np.broadcast_to(scores, (len(users), len(items)))


def test_the_front_is_the_highest_lift_that_costs_no_more(tmp_path: Path) -> None:
    task = task_of(tmp_path, 3)
    scorers: Any = [Lifting(task, seed) for seed in (0, 1)]
    found = fronts("student", [lambda s=s: s for s in scorers], Judge(task, decoys=3))
    assert [front.decoys for front in found] == [0, 1, 3]
    assert [float(scorer.new_boost) for scorer in scorers] == [pytest.approx(0.7)] * 2
    for front in found:
        ndcg, recall = np.zeros(len(LIFTS)), np.zeros(len(LIFTS))
        for at, lift in enumerate(LIFTS):
            for scorer in scorers:
                scorer.new_boost.fill_(lift)
                judged = evaluate_arm(
                    scorer, up_to(task, front.decoys), arm="x", title="x", k=10,
                    settings=["all", "cold_in_all"],
                )  # fmt: skip
                ndcg[at] += judged.mean("all") / 2
                recall[at] += judged.mean("cold_in_all", "recall") / 2
        for cost, row in zip(COSTS, front.rows(samples=50), strict=True):
            allowed = [at for at in range(len(LIFTS)) if ndcg[at] >= (1 - cost) * ndcg[0] - 1e-12]
            assert row["lift"] == LIFTS[allowed[-1]]
            assert row["recall"] == pytest.approx(recall[allowed[-1]])
            assert row["low"] <= row["recall"] <= row["high"]
            assert (row["arm"], row["decoys"], row["cost"]) == ("student", front.decoys, cost)
        assert 0 < allowed[-1] < len(LIFTS) - 1
    # Lifted all the way, new ones come first, and that costs.
    assert found[0].recall[-1].mean() > found[0].recall[0].mean()
    assert found[0].overall[-1] < found[0].overall[0]


def test_there_is_no_front_where_nobody_buys_a_new_item_and_one_where_nothing_is_found(
    tmp_path: Path,
) -> None:
    task = task_of(tmp_path, 0)
    task.open_test()
    scorer: Any = Lifting(task, 0)
    flat = Front("student", 0, LIFTS, np.zeros(len(LIFTS)), np.zeros((len(LIFTS), 5)))
    assert [row["lift"] for row in flat.rows(samples=10)] == [LIFTS[-1]] * len(COSTS)
    assert len(fronts("student", [lambda: scorer], Judge(task))) == 1
    old = task.counts("test") >= WIDE.min_item_users
    task._later["test"] = csr_array(task.test.multiply(old[None, :]))
    task.test.eliminate_zeros()
    assert fronts("student", [lambda: scorer], Judge(task)) == []
