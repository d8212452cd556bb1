"""A protocol applied to a snapshot: who is asked, what is ranked, and that the test stays closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kgdistill.datasets.complete_journey import complete_journey_protocol
from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot import Snapshot, take_events, take_snapshot
from kgdistill.store import MemoryStore, Schema, load_schema
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.protocol import DiscoveryProtocol, quantile_moments

BOUGHT = ("User", "BOUGHT", "Product")
CUT = datetime(2024, 3, 1)
USERS = [str(n) for n in range(1, 7)]
# Title, category and whether the protocol below takes it.
PRODUCTS: dict[str, tuple[str | None, str | None, bool]] = {
    "p01": ("Rye", "FOOD > BREAD", True),
    "p02": ("Oats", "FOOD > CEREAL > OATS", True),
    "p03": ("Diesel", "FUEL", False),
    "p04": ("Coupon", "FOOD > COUPON", False),
    "p05": ("Coupon book", "COUPON > FOOD", True),
    "p06": ("Fuelwood", "HOME > FUEL", True),
    "p07": ("Unsorted", None, True),
    "p08": (None, "FOOD > BREAD", False),
    "p09": ("Deep", "FOOD > TINS > COUPON", True),
    "p10": ("Milk", "FOOD > DAIRY", True),
}
PROTOCOL = DiscoveryProtocol(
    name="shop",
    title="Shop",
    cut=CUT,
    test_start=CUT + timedelta(days=10),
    test_end=CUT + timedelta(days=20),
    min_user_events=2,
    min_item_users=2,
    settings=("warm", "cold", "strictly_cold"),
    exclude_category_levels=[["FUEL"], ["COUPON"]],
)
Event = tuple[str, str, float, int | None]


def table(events: list[Event]) -> pa.Table:
    """Events as (user, product, days after the cut, quantity)."""
    return pa.table(
        {
            "source": pa.array([e[0] for e in events], pa.string()),
            "target": pa.array([e[1] for e in events], pa.string()),
            "first_at": pa.array([CUT + timedelta(days=e[2]) for e in events], pa.timestamp("us")),
            "first_quantity": pa.array([e[3] for e in events], pa.int64()),
        }
    )


def past() -> list[Event]:
    """User 6 bought nothing that counts; 5 has one interaction too few."""
    counted = [(1, 1), (1, 2), (1, 7), (2, 1), (2, 2), (2, 9), (3, 1), (3, 10), (4, 6), (4, 5), (5, 1)]
    left_out = [(5, 3), (5, 4), (5, 8), (6, 3), (6, 8)]
    rows = [(str(u), f"p{p:02}", -float(u + p), 1 if u % 2 else None) for u, p in counted + left_out]
    return [*rows, ("5", "p10", -1.0, 0), ("6", "p10", -1.0, 0), ("6", "p01", -1.0, 0)]


def narrow() -> Schema:
    """Fewer tables make a store in less time."""
    return load_schema().restricted(("User", "Product", "Coupon"), ("BOUGHT", "FOR"))


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryStore]:
    schema = narrow()
    with MemoryStore() as held:
        held.apply_schema(schema)
        held.write_nodes("User", pa.table({"user_id": USERS}))
        rows = [{"product_id": p, "title": t, "category_text": c} for p, (t, c, _) in PRODUCTS.items()]
        held.write_nodes("Product", pa.Table.from_pylist(rows, schema=schema.node_arrow_schema("Product")))
        later: list[Event] = [("1", "p10", 0.0, 1), ("2", "p10", 10.0, 1)]
        held.write_relationships(BOUGHT, table(past() + later))
        yield held


@pytest.fixture(scope="module")
def snapshot(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return take_snapshot(store, tmp_path_factory.mktemp("task") / "snapshot", cut=CUT, schema=narrow())


def expected(events: list[Event]) -> dict[str, set[tuple[str, str]]]:
    """The pairs of each split, event by event."""
    first: dict[tuple[str, str], float] = {}
    for user, product, day, quantity in past() + events:
        if product in PRODUCTS and PRODUCTS[product][2] and (quantity is None or quantity > 0) and day < 20:
            first[user, product] = min(day, first.get((user, product), day))
    bought = [user for (user, _), day in first.items() if day < 0]
    users = {user for user in USERS if bought.count(user) >= 2}
    splits = {"train": (-99, 0), "validation": (0, 10), "test": (10, 20)}
    return {
        name: {pair for pair, day in first.items() if a <= day < b and pair[0] in users}
        for name, (a, b) in splits.items()
    }


def pairs(task: MatchTask, matrix: Any) -> set[tuple[str, str]]:
    assert matrix.dtype == np.float32
    assert (matrix.data == 1).all()
    rows, columns = matrix.nonzero()
    users, items = task.user_keys.to_pylist(), task.item_keys.to_pylist()
    return {(str(users[r]), items[c]) for r, c in zip(rows, columns, strict=True)}


LATER = st.lists(
    st.tuples(
        st.sampled_from([*USERS, "new"]),
        st.sampled_from([*PRODUCTS, "p99"]),
        st.sampled_from([0.0, 4.0, 9.9, 10.0, 15.0, 20.0, 30.0]),
        st.sampled_from([None, 0, 1, 3]),
    ),
    max_size=40,
)


@given(events=LATER)
def test_a_task_equals_the_protocol_event_by_event(snapshot: Snapshot, events: list[Event]) -> None:
    task = build_task(snapshot, table(events), PROTOCOL)
    task.open_test()
    want = expected(events)
    assert pairs(task, task.train) == want["train"]
    assert pairs(task, task.validation) == want["validation"]
    assert pairs(task, task.test) == want["test"]
    assert pairs(task, task.seen("validation")) == want["train"]
    assert pairs(task, task.seen("test")) == want["train"] | want["validation"]
    assert task.unknown_events == sum(u == "new" or p == "p99" for u, p, *_ in events)

    keys = task.item_keys.to_pylist()
    assert [keys[i] for i in task.items] == [p for p, (*_, taken) in PRODUCTS.items() if taken]
    assert task.users.tolist() == [USERS.index(u) for u in USERS if u in {a for a, _ in want["train"]}]
    bought = [product for _, product in want["train"]]
    assert task.item_counts.tolist() == [bought.count(p) for p in keys]
    for split in ("validation", "test"):
        asked = {product for _, product in want[split]}
        by_setting = {
            "warm": [p for p, (*_, taken) in PRODUCTS.items() if taken and bought.count(p) >= 2],
            "cold": sorted(p for p in asked if bought.count(p) < 2),
            "strictly_cold": sorted(p for p in asked if bought.count(p) == 0),
        }
        for setting, want_items in by_setting.items():
            found = task.candidates(setting, split)
            assert [keys[i] for i in found] == want_items
            assert found.dtype == np.int64


def test_the_events_of_a_store_give_the_task(store: MemoryStore, snapshot: Snapshot) -> None:
    later = take_events(store, BOUGHT, start=CUT, end=None, schema=narrow(), include_future=True)
    task = build_task(snapshot, later, PROTOCOL)
    task.open_test()
    assert pairs(task, task.validation) == {("1", "p10")}
    assert pairs(task, task.test) == {("2", "p10")}
    # Users are integers written plainly, products are not.
    assert task.user_keys.type == pa.int64()
    assert task.item_keys.type == pa.string()


def test_a_key_that_an_integer_would_change_stays_text(tmp_path: Path) -> None:
    schema = narrow()
    with MemoryStore() as held:
        held.apply_schema(schema)
        held.write_nodes("User", pa.table({"user_id": ["1", "007"]}))
        held.write_nodes("Product", pa.table({"product_id": ["1", "2"], "title": ["a", "b"]}))
        held.write_relationships(BOUGHT, table([(u, p, -1.0, 1) for u in ("1", "007") for p in ("1", "2")]))
        snapshot = take_snapshot(held, tmp_path / "s", cut=CUT, schema=schema)
    plain = DiscoveryProtocol(
        name="n", title="T", cut=CUT, test_start=CUT + timedelta(days=1), min_user_events=1
    )
    task = build_task(snapshot, table([]), plain)
    assert task.user_keys.to_pylist() == ["007", "1"]
    assert task.item_keys.to_pylist() == [1, 2]


def test_the_test_split_stays_closed_until_it_is_opened(snapshot: Snapshot) -> None:
    task = build_task(snapshot, table([("1", "p10", 0.0, 1), ("2", "p10", 10.0, 1)]), PROTOCOL)
    doors = [
        lambda: task.test,
        lambda: task.positives("test"),
        lambda: task.seen("test"),
        lambda: task.candidates("cold", "test"),
    ]
    for door in doors:
        with pytest.raises(LeakError, match="closed"):
            door()
    assert task.validation.nnz == 1
    task.open_test()
    for door in doors:
        door()


def test_a_thinned_task_asks_every_so_manieth_user_and_is_as_closed(snapshot: Snapshot) -> None:
    task = build_task(snapshot, table([("1", "p10", 0.0, 1)]), PROTOCOL)
    assert len(task.users) > 2
    for most in (1, 2, 100):
        part = task.thinned(most)
        assert 0 < len(part.users) <= most
        assert set(part.users) <= set(task.users)
        assert part.users[0] == task.users[0]
        assert (part.validation != task.validation).nnz == 0
    assert task.thinned(100).users.tolist() == task.users.tolist()
    with pytest.raises(LeakError, match="closed"):
        task.thinned(2).test  # noqa: B018


def test_a_snapshot_of_another_cut_is_refused(store: MemoryStore, snapshot: Snapshot, tmp_path: Path) -> None:
    whole = take_snapshot(store, tmp_path / "whole", cut=None, schema=narrow())
    with pytest.raises(LeakError, match="has no cut"):
        build_task(whole, table([]), PROTOCOL)
    with pytest.raises(LeakError, match="was cut at"):
        build_task(snapshot, table([]), PROTOCOL.model_copy(update={"cut": CUT - timedelta(seconds=1)}))
    with pytest.raises(InputError, match="between is missing"):
        build_task(snapshot, table([]), PROTOCOL.model_copy(update={"cut": CUT + timedelta(seconds=1)}))


def test_what_cannot_be_a_task_is_refused(snapshot: Snapshot) -> None:
    for events, change, says in (
        (table([("1", "p10", -0.1, 1)]), {}, "1 of them come before the cut"),
        (table([]).drop_columns(["first_at"]), {}, "'first_at'"),
        (table([]), {"min_user_events": 9}, "no User has 9 BOUGHT before the cut"),
        (table([]), {"interaction": ("Coupon", "FOR", "Product")}, "no time"),
    ):
        with pytest.raises(InputError, match=says):
            build_task(snapshot, events, PROTOCOL.model_copy(update=change))
    task = build_task(snapshot, table([]), PROTOCOL)
    with pytest.raises(InputError, match="unknown setting 'hot'"):
        task.candidates("hot", "validation")
    with pytest.raises(InputError, match="unknown split 'train'"):
        task.positives("train")


def test_how_many_have_too_few_events_to_be_learned_from_is_said(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    build_task(snapshot, table([]), PROTOCOL)
    said = "of 6 User nodes 2 have fewer than 2 BOUGHT before the cut: nothing is learned from them"
    assert f"{said} (min_user_events of the task's protocol)\n" in capsys.readouterr().err
    plain = DiscoveryProtocol(**PROTOCOL.model_dump(exclude={"min_user_events"}))
    task = build_task(snapshot, table([]), plain)
    assert [USERS[user] for user in task.users] == USERS[:5]
    assert np.diff(task.train.indptr).tolist()[4:] == [1, 0]
    assert capsys.readouterr().err == ""


def test_a_protocol_out_of_order_is_refused_and_zones_become_utc() -> None:
    fields = {"name": "n", "title": "T", "cut": CUT}
    for wrong in (
        {"test_start": CUT},
        {"test_start": CUT + timedelta(days=1), "test_end": CUT + timedelta(days=1)},
        {"test_start": CUT + timedelta(days=1), "item_column": "rank"},
    ):
        with pytest.raises(ValidationError):
            DiscoveryProtocol(**fields, **wrong)
    zone = timezone(timedelta(hours=2))
    moved = {**fields, "cut": CUT.replace(tzinfo=zone), "test_start": CUT.replace(tzinfo=timezone.utc)}
    assert DiscoveryProtocol(**moved).cut == CUT - timedelta(hours=2)
    again = DiscoveryProtocol.model_validate_json(PROTOCOL.model_dump_json())
    assert again == PROTOCOL


def test_a_protocol_says_what_it_does() -> None:
    words = " ".join(complete_journey_protocol().describe())
    for part in ("2017-10-16 04:00", "2017-11-20 05:00", "FUEL", "BOTTLE DEPOSITS", "at least 5", "NDCG@20"):
        assert part in words
    whole = PROTOCOL.model_copy(update={"exclude_category_levels": []})
    assert "Left out by category" not in " ".join(whole.describe())


def days(numbers: Any) -> pa.Array:
    return pa.array([None if n is None else CUT + timedelta(days=n) for n in numbers], pa.timestamp("us"))


@given(numbers=st.lists(st.integers(0, 400), min_size=30, max_size=80, unique=True))
def test_quantiles_split_the_events_in_three(numbers: list[int]) -> None:
    cut, test_start = quantile_moments(days([*numbers, None]))
    moments = [CUT + timedelta(days=n) for n in numbers]
    assert cut in moments
    assert sum(m < cut for m in moments) / len(moments) == pytest.approx(0.8, abs=1 / 29)
    assert sum(m < test_start for m in moments) / len(moments) == pytest.approx(0.9, abs=1 / 29)


def test_events_that_time_cannot_split_are_refused() -> None:
    for numbers, says in (([], "no events"), ([3] * 50, "1 distinct"), ([1, 2], "2 distinct")):
        with pytest.raises(InputError, match=says):
            quantile_moments(days(numbers))
    with pytest.raises(InputError, match="cannot split"):
        quantile_moments(days(range(9)), cut_share=0.9, test_share=0.5)
