from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.cli import main
from kgdistill.derive import co_occurrence
from kgdistill.derive.also_bought import (
    ALSO_BOUGHT,
    BOUGHT,
    BRAND_SIMILAR,
    VIEWED_TOGETHER,
    also_bought,
    derive,
    derived_table,
)
from kgdistill.errors import InputError
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.resources import graph_dir
from kgdistill.store import GraphStore, load_schema, open_store

CUT = datetime(2024, 3, 1)
Event = tuple[str, str, int, int | None]


def bought(events: list[Event]) -> pa.Table:
    """Events as (user, product, days after the cut, quantity)."""
    return pa.table(
        {
            "source": pa.array([e[0] for e in events], pa.string()),
            "target": pa.array([e[1] for e in events], pa.string()),
            "first_at": pa.array([CUT + timedelta(days=e[2]) for e in events], pa.timestamp("us")),
            "first_quantity": pa.array([e[3] for e in events], pa.int64()),
        }
    )


def oracle(events: list[Event], top_k: int, min_support: int) -> list[tuple[str, str, int, float, float]]:
    """Brute force with exact fractions."""
    baskets: dict[str, set[str]] = {}
    for user, product, day, quantity in events:
        if day < 0 and (quantity is None or quantity > 0):
            baskets.setdefault(product, set()).add(user)
    users = {user for buyers in baskets.values() for user in buyers}
    cosine: dict[tuple[str, str], Fraction] = {}
    for a, b in combinations(sorted(baskets), 2):
        support = len(baskets[a] & baskets[b])
        if support >= min_support:
            cosine[a, b] = cosine[b, a] = Fraction(support**2, len(baskets[a]) * len(baskets[b]))
    kept: set[tuple[str, str]] = set()
    for a in baskets:
        partners = sorted((b for x, b in cosine if x == a), key=lambda b: (-cosine[a, b], b))
        kept |= {(min(a, b), max(a, b)) for b in partners[:top_k]}
    return [
        (a, b, s, s * len(users) / (len(baskets[a]) * len(baskets[b])), s / len(baskets[a] | baskets[b]))
        for a, b in sorted(kept)
        for s in [len(baskets[a] & baskets[b])]
    ]


def measured(table: pa.Table) -> list[tuple[object, ...]]:
    return [
        (r["source"], r["target"], r["support"], pytest.approx(r["lift"]), pytest.approx(r["jaccard"]))
        for r in table.to_pylist()
    ]


def events_of(users: int, products: int) -> st.SearchStrategy[list[Event]]:
    pairs = st.tuples(st.integers(1, users), st.sampled_from([f"p{i}" for i in range(1, products + 1)]))
    facts = st.tuples(st.sampled_from([-2, -1, 0, 1]), st.sampled_from([None, 0, 1, 3]))
    return st.dictionaries(pairs, facts, max_size=60).map(
        lambda found: [(str(u), p, day, n) for (u, p), (day, n) in found.items()]
    )


@given(
    events=events_of(8, 12), top_k=st.integers(1, 4), min_support=st.integers(1, 3), cells=st.integers(1, 60)
)
def test_also_bought_equals_brute_force_whatever_the_chunks(
    events: list[Event], top_k: int, min_support: int, cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co_occurrence, "_CHUNK_CELLS", cells)
        found = also_bought(bought(events), cut=CUT, top_k=top_k, min_support=min_support)
    assert measured(found) == oracle(events, top_k, min_support)
    assert found["cut"].to_pylist() == [CUT] * found.num_rows


@given(events=events_of(6, 8))
def test_events_at_or_after_the_cut_change_nothing(events: list[Event]) -> None:
    past = [event for event in events if event[2] < 0]
    whole = also_bought(bought(events), cut=CUT, min_support=1)
    assert whole.equals(also_bought(bought(past), cut=CUT, min_support=1))


def test_a_cut_with_a_zone_is_the_same_moment_in_utc() -> None:
    table = bought([("1", "a", -1, 1), ("1", "b", -1, 1)])
    zone = timezone(timedelta(hours=5))
    before = (CUT - timedelta(days=1)).replace(tzinfo=timezone.utc).astimezone(zone)
    assert also_bought(table, cut=before, min_support=1).num_rows == 0
    after = also_bought(table, cut=before + timedelta(microseconds=1), min_support=1)
    assert after.num_rows == 1


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"min_support": 0}])
def test_a_limit_below_one_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        also_bought(bought([]), cut=CUT, **wrong)


def shop(events: list[Event], edge: tuple[str, str, str] = BOUGHT) -> GraphTables:
    """Twelve products of five brands, p1 of two."""
    products = [f"p{i}" for i in range(1, 13)]
    nodes = {
        "User": pa.table({"user_id": [str(i) for i in range(1, 9)]}),
        "Product": pa.table({"product_id": products}),
        "Brand": pa.table({"brand_id": [f"b{i}" for i in range(5)]}),
    }
    made = {"source": [*products, "p1"], "target": [*(f"b{i % 5}" for i in range(12)), "b4"]}
    table = bought(events)
    table = table if edge == BOUGHT else table.drop_columns(["first_quantity"])
    return GraphTables(nodes, {edge: table, ("Product", "MADE_BY", "Brand"): pa.table(made)})


@given(events=events_of(8, 12))
def test_brands_are_similar_when_the_same_users_bought_of_them(events: list[Event]) -> None:
    tables = shop(events)
    brands: dict[str, list[str]] = {}
    for row in tables.edges[("Product", "MADE_BY", "Brand")].to_pylist():
        brands.setdefault(row["source"], []).append(row["target"])
    by_brand = [(user, brand, *rest) for user, product, *rest in events for brand in brands[product]]
    found = derived_table(tables, BRAND_SIMILAR, cut=CUT, top_k=2, min_support=1)
    assert measured(found) == oracle(by_brand, 2, 1)  # type: ignore[arg-type]


@given(events=events_of(8, 12))
def test_views_before_the_cut_are_views_whatever_they_count(events: list[Event]) -> None:
    found = derived_table(
        shop(events, ("User", "VIEWED", "Product")), VIEWED_TOGETHER, cut=CUT, top_k=3, min_support=1
    )
    assert measured(found) == oracle([(u, p, day, None) for u, p, day, _ in events], 3, 1)


@given(
    before=events_of(8, 12),
    changes=st.lists(
        st.tuples(
            st.tuples(st.integers(1, 8), st.sampled_from([f"p{i}" for i in range(1, 13)])),
            st.one_of(st.none(), st.tuples(st.sampled_from([-2, -1, 0, 1]), st.sampled_from([None, 0, 1]))),
        ),
        max_size=4,
    ),
    top_k=st.integers(1, 4),
    min_support=st.integers(1, 3),
    spare=st.integers(0, 4),
    cells=st.integers(1, 60),
)
def test_an_update_equals_a_full_computation_and_can_be_updated_again(
    before: list[Event],
    changes: list[tuple[tuple[int, str], tuple[int, int | None] | None]],
    top_k: int,
    min_support: int,
    spare: int,
    cells: int,
) -> None:
    held = {(user, product): (day, count) for user, product, day, count in before}
    past: tuple[co_occurrence.Choices, co_occurrence.Nearest] | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co_occurrence, "_CHUNK_CELLS", cells)
        for pair, fact in [((0, ""), None), *changes]:
            held.pop((str(pair[0]), pair[1]), None)
            if fact is not None:
                held[str(pair[0]), pair[1]] = fact
            kept = [k for k, (day, n) in held.items() if day < 0 and n != 0]
            users, items = (pa.array([k[side] for k in kept], pa.string()) for side in (0, 1))
            everyone, everything = (
                pa.array([str(i) for i in range(1, 9)]),
                pa.array([f"p{i}" for i in range(1, 13)]),
            )
            choices = co_occurrence.Choices.of(users, items, users=everyone, items=everything)
            former = (
                co_occurrence.Former(past[1], choices.changed_items(past[0])) if past is not None else None
            )
            found, _ = co_occurrence.nearest_items(choices, top_k, min_support, spare=spare, former=former)
            whole, _ = co_occurrence.nearest_items(choices, top_k, min_support)
            cut = np.datetime64(CUT, "us")
            assert co_occurrence.pair_table(choices, co_occurrence.first_of(found, top_k), cut).equals(
                co_occurrence.pair_table(choices, whole, cut)
            )
            past = choices, found


def stored(store: GraphStore, edge: tuple[str, str, str]) -> pa.Table:
    order = [("source", "ascending"), ("target", "ascending")]
    return store.read_relationships(edge).sort_by(order).combine_chunks()


def test_a_job_writes_the_difference_only_and_counts_what_changed(tmp_path: Path) -> None:
    block = [(str(u), f"p{p}", -1, 1) for u in range(1, 5) for p in range(1, 4)]
    block += [(str(u), f"p{p}", -1, 1) for u in range(5, 9) for p in range(4, 13)]
    limits = {"cut": CUT, "top_k": 20, "min_support": 1, "state": tmp_path}
    with open_store("memory:") as store:
        ingest_tables(store, load_schema(), shop(block))
        first = derive(store, ALSO_BOUGHT, **limits)  # type: ignore[arg-type]
        assert (first.rows, first.written, first.deleted, first.counted) == (3 + 36, 39, 0, 12)
        again = derive(store, ALSO_BOUGHT, **limits)  # type: ignore[arg-type]
        assert (again.rows, again.written, again.deleted, again.counted) == (39, 0, 0, 0)
        # One more buyer of p1 and p2, who had no part in it; an event at the cut is none.
        late = bought([("5", "p1", -2, 1), ("1", "p12", 0, 1), ("1", "p11", -1, 0)])
        store.write_relationships(BOUGHT, late)
        third = derive(store, ALSO_BOUGHT, **limits)  # type: ignore[arg-type]
        assert third.counted == 1
        assert third.written == 2 + 9
        assert stored(store, ALSO_BOUGHT).equals(
            derived_table(store, ALSO_BOUGHT, cut=CUT, min_support=1).combine_chunks()
        )
        # An earlier cut has nothing of it, and no state that it could use.
        none = derive(store, ALSO_BOUGHT, cut=CUT - timedelta(days=9), min_support=1, state=tmp_path)
        assert (none.rows, none.deleted) == (0, 39 + 9)
        # A damaged state costs the computation only.
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-9])
        assert derive(store, ALSO_BOUGHT, **limits).rows == third.rows  # type: ignore[arg-type]


def test_what_something_else_left_in_the_store_goes(tmp_path: Path) -> None:
    with open_store("memory:") as store:
        ingest_tables(store, load_schema(), shop([("1", "p1", -1, 1), ("1", "p2", -1, 1)]))
        rows = {"source": ["p1", "p3"], "target": ["p2", "p4"], "support": [9, 9], "lift": [1.0, 1.0]}
        store.write_relationships(ALSO_BOUGHT, pa.table({**rows, "cut": [CUT, CUT - timedelta(days=1)]}))
        report = derive(store, ALSO_BOUGHT, cut=CUT, min_support=1)
        assert (report.rows, report.written, report.deleted) == (1, 1, 1)
        assert measured(stored(store, ALSO_BOUGHT)) == [("p1", "p2", 1, 1.0, 1.0)]


def test_the_command_derives_and_takes_a_type_that_an_older_store_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"ladybug:{tmp_path / 'shop'}"
    schema = load_schema().restricted(["User", "Product", "Brand"], ["BOUGHT", "MADE_BY", "ALSO_BOUGHT"])
    with open_store(url) as store:
        ingest_tables(store, schema, shop([("1", "p1", -1, 1), ("1", "p2", -1, 1), ("2", "p3", 0, 1)]))
    place = ["--store", url, "--cut", "2024-03-01", "--min-support", "1", "--json"]
    assert main(["derive", "also-bought", *place, "--state", str(tmp_path / "state")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["type"], report["rows"], report["written"], report["items"]) == ("ALSO_BOUGHT", 1, 1, 2)
    assert main(["derive", "brand-similar", *place]) == 2
    assert "cannot hold Brand-BRAND_SIMILAR-Brand" in capsys.readouterr().err
    assert main(["derive", "brand-similar", *place, "--schema", str(graph_dir() / "schema.yaml")]) == 0
    # p1 is made by b0 and b4, p2 by b1.
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert main(["derive", "viewed-together", *place, "--top-k", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0
