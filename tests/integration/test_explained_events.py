"""What was viewed, searched for or redeemed explains too, as far as it is more than chance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pytest
from _explored_shop import BOUGHT, DAY, fill_explored_shop

from kgdistill.explore import PathLink, PathNode, explain, explain_frozen, explain_many, subgraph
from kgdistill.explore.explanation import Explanation
from kgdistill.explore.frozen_paths import FrozenPaths
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.snapshot import take_snapshot
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.store.schema import Schema
from kgdistill.tasks.histories import stored_purchases
from tests.integration._stores import STORES, opened


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for opened_store in opened(request.param, request, tmp_path):
        fill_explored_shop(opened_store)
        yield opened_store


def told(found: list[Explanation]) -> dict[str, Explanation]:
    """By what was done, and what it leads through."""
    return {" ".join(s.type if isinstance(s, PathLink) else s.label for s in e.steps[1:]): e for e in found}


def test_a_view_a_search_and_a_coupon_are_reasons(store: GraphStore) -> None:
    (viewed,) = (e for e in explain(store, "eva", "mug-2", limit=50) if e.kind == "VIEWED")
    # Three views in all, of which eva's one is of this product, as are two of everybody's.
    assert viewed.lift == pytest.approx(3 / (1 * 2))
    assert viewed.because == "viewed this 4 times"
    assert (viewed.purchases, viewed.members, viewed.bought_at) == (0, (), DAY[2])

    found = told(explain(store, "ann", "tea-2", limit=50))
    # One query leads to one product alone: that is all there is to compare.
    assert "SEARCHED Query CLICKED Product" not in found
    ingest_tables(
        store,
        load_schema(),
        GraphTables(
            {},
            {
                ("Query", "CLICKED", "Product"): pa.table(
                    {
                        "source": ["q2", "q2"], "target": ["mug-1", "mug-2"], "first_at": [DAY[1]] * 2,
                        "last_at": [DAY[1]] * 2, "count": [1, 1],
                    }
                )
            },
        ),
    )  # fmt: skip
    found = told(explain(store, "ann", "tea-2", limit=50))
    searched = found["SEARCHED Query CLICKED Product"]
    assert (searched.kind, searched.lift, searched.products) == ("SEARCHED", 3.0, 1)
    name = searched.steps[2]
    assert isinstance(name, PathNode)
    assert (
        searched.because == f"searched for {name.name}, which leads to this 3.0 times as often as to others"
    )
    # What came at or after the moment is not known then; and drawn, every path leads from left to right.
    early = told(explain(store, "ann", "tea-2", limit=50, before=DAY[1]))
    assert "SEARCHED Query CLICKED Product" not in early
    graph = subgraph([viewed, searched])
    assert nx.is_directed_acyclic_graph(
        nx.DiGraph(graph.edge_subgraph([(a, b, k) for a, b, k in graph.edges]))
    )
    assert {data["layer"] for _, data in graph.nodes(data=True)} == {0, 1, 3}


def test_what_is_shared_with_what_was_viewed_is_a_reason(store: GraphStore) -> None:
    views = [("ann", "mug-1"), ("bob", "coffee-1"), ("bob", "tea-1"), ("cyd", "tea-3")]
    rows = pa.table(
        {
            "source": [u for u, _ in views], "target": [p for _, p in views], "first_at": [DAY[3]] * 4,
            "last_at": [DAY[3]] * 4, "count": [1] * 4,
        }
    )  # fmt: skip
    ingest_tables(store, load_schema(), GraphTables({}, {("User", "VIEWED", "Product"): rows}))
    found = [e for e in explain(store, "eva", "mug-1", limit=50) if e.steps[1] == PathLink("VIEWED", True)]
    assert found
    assert all(e.because.startswith("viewed ") for e in found)
    assert all(e.lift is not None and round(e.lift, 1) > 1 for e in found)
    assert {e.kind for e in found} <= {"MADE_BY", "IN_CATEGORY", "MENTIONS", "PART_OF"}


@pytest.mark.parametrize("stars", [None, (5.0, 1.0), (4.0, 4.0)])
def test_a_snapshot_tells_the_same_as_its_store(tmp_path: Path, stars: tuple[float, float] | None) -> None:
    """Of ratings those above the middle of all alone, as far as these are not all the same."""
    with MemoryStore() as store:
        fill_explored_shop(store)
        if stars is not None:
            rated = [
                ("ann", "mug-1"),
                ("bob", "mug-1"),
                ("cyd", "tea-3"),
                ("eva", "coffee-1"),
                ("eva", "tea-1"),
            ]
            given = {"at": [DAY[1]] * 5, "rating": [*stars, stars[0], stars[1], None]}
            ends = {"source": [user for user, _ in rated], "target": [product for _, product in rated]}
            rows = {("User", "RATED", "Product"): pa.table({**ends, **given})}
            ingest_tables(store, load_schema(), GraphTables({}, rows))
        snapshot = take_snapshot(store, tmp_path / "snapshot", cut=datetime(2030, 1, 1))
        purchases = stored_purchases(store, BOUGHT, load_schema())
        users = store.read_nodes("User", [])["user_id"].to_pylist()
        products = store.read_nodes("Product", [])["product_id"].to_pylist()
        pairs = [(user, product) for user in users for product in products]
        stored = explain_many(store, pairs, limit=1000)
    frozen = explain_frozen(snapshot, purchases, BOUGHT, pairs, limit=1000)
    kinds, ways = set(), set()
    for pair in pairs:
        one, other = (
            {
                (e.kind, e.steps, e.lift, e.products, e.purchases, e.members)
                for e in found[pair]
                if e.kind != "ALSO_BOUGHT"
            }
            for found in (stored, frozen)
        )
        assert one == other
        kinds |= {kind for kind, *_ in one}
        ways |= {(pair[0], steps[1].type) for _, steps, *_ in one if isinstance(steps[1], PathLink)}
    assert {"MADE_BY", "IN_CATEGORY", "VIEWED"} <= kinds
    liked = {user for user, event in ways if event == "RATED"}
    assert liked == {None: set(), (5.0, 1.0): {"ann", "cyd"}, (4.0, 4.0): {"ann", "bob", "cyd", "eva"}}[stars]


def test_of_a_task_on_views_low_ratings_of_purchases_are_purchases(tmp_path: Path) -> None:
    raw = load_schema().model_dump(exclude_unset=True)
    raw["relationships"]["BOUGHT"]["properties"]["rating"] = {"type": "double"}
    schema = Schema.model_validate(raw)
    with MemoryStore() as store:
        fill_explored_shop(store)
        store.apply_schema(schema)
        bought = store.read_relationships(BOUGHT, [])
        stars = pa.array([5.0 if n % 2 else 1.0 for n in range(bought.num_rows)])
        rated = bought.select([name for name in bought.column_names if name != "rating"])
        store.write_relationships(BOUGHT, rated.append_column("rating", stars))
        snapshot = take_snapshot(store, tmp_path / "snapshot", cut=datetime(2030, 1, 1))
    edge = ("User", "VIEWED", "Product")
    nothing = pa.table({"user": [], "product": [], "at": [], "bought": []})
    assert "rating" in snapshot.edge_table(BOUGHT).column_names
    assert FrozenPaths(snapshot, nothing, edge)._users("BOUGHT").sum() == snapshot.num_edges(BOUGHT) > 0


def test_of_a_task_on_views_views_are_what_recommends_and_purchases_stand_beside(tmp_path: Path) -> None:
    viewed = ("User", "VIEWED", "Product")
    views = [*((user, p) for user in ("ann", "bob", "cyd") for p in ("tea-2", "tea-3")), ("eva", "tea-3")]
    rows = pa.table(
        {
            "source": [u for u, _ in views], "target": [p for _, p in views],
            "first_at": [DAY[3]] * len(views), "last_at": [DAY[3]] * len(views), "count": [1] * len(views),
        }
    )  # fmt: skip
    with MemoryStore() as store:
        fill_explored_shop(store)
        ingest_tables(store, load_schema(), GraphTables({}, {viewed: rows}))
        snapshot = take_snapshot(store, tmp_path / "snapshot", cut=datetime(2030, 1, 1))
        known = stored_purchases(store, viewed, load_schema())
        users = store.read_nodes("User", [])["user_id"].to_pylist()
        products = store.read_nodes("Product", [])["product_id"].to_pylist()
        pairs = [(user, product) for user in users for product in products]
        stored = explain_many(store, pairs, limit=1000)
    found = explain_frozen(snapshot, known, viewed, pairs, limit=1000)
    # Of 5 who viewed anything 3 viewed both, 3 the one and 4 the other.
    (together,) = (e for e in found["eva", "tea-2"] if e.kind == "VIEWED_TOGETHER")
    assert (together.lift, together.members) == (1.25, ("tea-3",))
    assert together.because.startswith("3 who viewed ")
    assert " also viewed this, 1.2 times" in together.because
    assert together.steps[1] == PathLink("VIEWED", True)
    data = together.to_dict()
    assert (data["viewed_at"], data["viewed"]) == (DAY[3].isoformat(), 1)
    assert not {"bought_at", "purchases"} & data.keys()

    def by_purchases(some: list[Explanation]) -> set[tuple[object, ...]]:
        ways = [e for e in some if e.steps[1] == PathLink("BOUGHT", True) and e.kind != "ALSO_BOUGHT"]
        assert all(" bought " in f" {e.because}" for e in ways)
        assert all({"bought_at", "purchases"} <= e.to_dict().keys() for e in ways)
        return {(e.kind, e.steps, e.lift, e.purchases) for e in ways if len(e.steps) > 3}

    # What was bought is a reason beside: counted as purchases, and none that the model could be asked of.
    assert any(by_purchases(found[pair]) for pair in pairs)
    assert all(by_purchases(found[pair]) == by_purchases(stored[pair]) for pair in pairs)
    for one in (e for some in found.values() for e in some if e.members):
        assert one.steps[1] == PathLink("VIEWED", True)
        assert "bought" not in one.because


def test_a_model_decides_which_path_comes_first(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_explored_shop(store)
        users = store.read_nodes("User", [])["user_id"].to_pylist()
        pairs = [
            (user, p) for user in users for p in store.read_nodes("Product", [])["product_id"].to_pylist()
        ]
        found = explain_many(store, pairs, limit=50)
        pair = next(p for p in pairs if len({e.members for e in found[p] if e.members}) > 1)
        some = [e for e in found[pair] if e.members]
        last = some[-1].members
        asked: list[tuple[str, str]] = []

        def weigh(user: str, product: str, members: object) -> list[float]:
            asked.append((user, product))
            assert isinstance(members, list)
            return [0.9 if one == last else 0.1 for one in members]

        weighed = explain(store, *pair, limit=50, weigh=weigh)
    assert asked == [pair]
    assert {(e.kind, e.steps) for e in weighed} == {(e.kind, e.steps) for e in found[pair]}
    assert {e.weight for e in weighed if e.members == last} == {0.9}
    assert {e.weight for e in weighed if not e.members} <= {0.0}
    order = [e.specificity * (e.weight or 0) for e in weighed]
    assert order == sorted(order, reverse=True)


def test_paths_from_what_a_model_reads_come_before_all_others(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_explored_shop(store)
        pair, first = ("eva", "mug-2"), lambda e: e.steps[1].type
        plain = explain(store, *pair, limit=50)
        assert {first(e) for e in plain} >= {"VIEWED"}
        users = store.read_nodes("User", [])["user_id"].to_pylist()
        products = store.read_nodes("Product", [])["product_id"].to_pylist()
        pairs = [(user, product) for user in users for product in products]
        moved = 0
        for reads in ({"BOUGHT"}, {"VIEWED", "SEARCHED"}):
            found = explain_many(store, pairs, limit=50)
            asked = explain_many(store, pairs, limit=50, reads=reads)
            for one in pairs:
                read = [e for e in found[one] if first(e) in reads]
                others = [e for e in found[one] if first(e) not in reads]
                assert asked[one] == [*read, *others]
                moved += asked[one] != found[one]
            # With a model's weights too: one that weighs all alike leaves the order.
            alike = explain(store, *pair, limit=50, reads=reads, weigh=lambda u, p, sets: [0.5] * len(sets))
            unread = [first(e) not in reads for e in alike]
            assert unread == sorted(unread)
        assert moved
        snapshot = take_snapshot(store, tmp_path / "snap", cut=None)
        bought = stored_purchases(store, BOUGHT, store.schema)
        frozen = explain_frozen(snapshot, bought, BOUGHT, pairs, limit=50, reads={"VIEWED"})
    for one in frozen.values():
        unread = [first(e) != "VIEWED" for e in one]
        assert unread == sorted(unread)
