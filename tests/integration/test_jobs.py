"""Jobs on real stores: done twice, changed, overlapping, late, removing, refused; every row in its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from _jobs import (
    BOUGHT,
    CLICKS,
    MADE_BY,
    ORDERS,
    PRODUCTS,
    RATED,
    START,
    VIEWED,
    day,
    graph,
    ingest,
    rows,
    write_rows,
)

from kgdistill.errors import InputError, StoreError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.journal import Journal
from kgdistill.store import GraphStore
from tests.integration._stores import opened

BOTH = ["ladybug", "neo4j"]


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


class Shop:
    """A shop's files and its archive, beside a store."""

    def __init__(self, store: GraphStore, folder: Path) -> None:
        self.store, self.root, self.archive = store, folder / "files", folder / "archive"
        self.products([["p1", "Rye", 2, "Mill"], ["p2", "Milk", 1, "Dairy"], ["p3", "Oats", 3, "Mill"]])
        self.orders(
            "jan.csv",
            [
                ["e1", "ann", "p1", day(1), 2, 4],
                ["e2", "ann", "p1", day(9), 1, 2.5],
                ["e3", "bob", "p2", day(3), 1, 1],
            ],
        )

    def products(self, given: list[list[Any]], name: str = "all.csv", at: str = "2024-01-01") -> None:
        whole = [row if len(row) > 4 else [*row, at] for row in given]
        write_rows(self.root / "products" / name, PRODUCTS, whole)

    def orders(self, name: str, given: list[list[Any]]) -> None:
        write_rows(self.root / "orders" / name, ORDERS, given)

    def sales(self, given: list[list[Any]]) -> None:
        write_rows(self.root / "sales" / "a.csv", ORDERS[1:], given)

    def write(self, name: str, columns: list[str], given: list[list[Any]]) -> None:
        write_rows(self.root / name, columns, given)

    def job(self, **options: Any) -> Any:
        report = ingest(self.store, self.root, self.archive, **options)
        assert report.rows == report.accepted + report.skipped + report.rejected
        return report

    def bought(self) -> dict[str, dict[str, Any]]:
        found = {f"{r.pop('source')} {r.pop('target')}": r for r in rows(self.store, BOUGHT)}
        for row in found.values():
            row["days"] = [(row.pop(name) - START) / timedelta(days=1) for name in ("first_at", "last_at")]
        return found

    def keys(self, label: str) -> list[str]:
        return [
            row.popitem()[1] if len(row) == 1 else next(iter(row.values())) for row in rows(self.store, label)
        ]


@pytest.fixture
def shop(store: GraphStore, tmp_path: Path) -> Shop:
    return Shop(store, tmp_path)


def purchases(days: list[float], quantity: int, count: int, spend: float) -> dict[str, Any]:
    return {"days": days, "first_quantity": quantity, "count": count, "spend": spend}


def test_the_same_job_again_reads_and_writes_nothing(shop: Shop) -> None:
    first = shop.job()
    assert (first.state, first.rows, first.rejected) == ("done", 6, 0)
    assert shop.bought() == {"ann p1": purchases([1, 9], 2, 2, 6.5), "bob p2": purchases([3, 3], 1, 1, 1)}
    held, journal = graph(shop.store), Journal(shop.store).entries()
    files = {p: p.stat().st_mtime_ns for p in shop.archive.rglob("*") if p.name != "lock" and p.is_file()}
    for path in shop.root.rglob("*.csv"):
        path.touch()
    again = shop.job()
    assert (again.state, again.job, again.unchanged, again.rows) == ("unchanged", None, 2, 0)
    assert again.applied.written == {}
    assert graph(shop.store) == held
    assert Journal(shop.store).entries() == journal
    assert files == {p: p.stat().st_mtime_ns for p in files}
    assert Archive(shop.archive).numbers() == [1]


def test_a_changed_file_takes_the_place_of_its_former_version_and_other_files_count_on(shop: Shop) -> None:
    shop.orders("feb.csv", [["e7", "ann", "p1", day(40), 1, 1], ["e8", "cy", "p3", day(41), 1, 3]])
    shop.sales([["ann", "p1", day(50), 1, 1], ["ann", "p2", day(51), 1, 1]])
    shop.job()
    # e1 is gone, e2 has another amount, e4 is new; of the sales, which have no ids, one is another.
    shop.orders("jan.csv", [["e2", "ann", "p1", day(9), 1, 2], ["e4", "bob", "p2", day(3.5), 4, 4]])
    shop.sales([["ann", "p2", day(51), 1, 1], ["ann", "p2", day(52), 1, 1]])
    report = shop.job()
    assert (report.read, report.unchanged) == (["orders:orders/jan.csv", "sales:sales/a.csv"], 2)
    assert shop.bought() == {
        "ann p1": purchases([9, 40], 1, 2, 3),
        "ann p2": purchases([51, 52], 1, 2, 2),
        "bob p2": purchases([3.5, 3.5], 4, 1, 4),
        "cy p3": purchases([41, 41], 1, 1, 3),
    }
    # An export that has become empty takes back all that it said of events; its nodes stay.
    shop.orders("feb.csv", [])
    shop.job()
    assert shop.bought()["ann p1"] == purchases([9, 9], 1, 1, 2)
    assert "cy p3" not in shop.bought()
    assert shop.keys("User") == ["ann", "bob", "cy"]


def test_exports_that_overlap_count_each_event_once_by_id_or_by_being_the_same(shop: Shop) -> None:
    shop.job()
    shop.orders("week2.csv", [["e2", "ann", "p1", day(9), 1, 2.5], ["e9", "ann", "p1", day(10), 1, 1]])
    clicks = [["ann", "p1", day(2)], ["ann", "p1", day(2)], ["bob", "p2", day(5)]]
    shop.write("clicks/a.csv", CLICKS, clicks)
    shop.write("clicks/b.csv", CLICKS, [clicks[0], clicks[2], ["bob", "p2", day(6)]])
    shop.job()
    assert shop.bought()["ann p1"] == purchases([1, 10], 2, 3, 7.5)
    # Twice in one file are two views; the same in another file is one of them.
    assert [(r["source"], r["count"]) for r in rows(shop.store, VIEWED)] == [("ann", 2), ("bob", 2)]
    shop.write("clicks/c.csv", CLICKS, clicks)
    shop.job()
    assert [(r["source"], r["count"]) for r in rows(shop.store, VIEWED)] == [("ann", 2), ("bob", 2)]


def test_late_events_are_counted_once_and_move_what_they_must(shop: Shop) -> None:
    shop.job()
    shop.orders("late.csv", [["e0", "ann", "p1", day(0.5), 3, 1], ["e5", "ann", "p1", day(5), 1, 1]])
    report = shop.job()
    assert report.late == 2
    assert shop.bought()["ann p1"] == purchases([0.5, 9], 3, 4, 8.5)
    assert shop.job().state == "unchanged"
    assert shop.bought()["ann p1"] == purchases([0.5, 9], 3, 4, 8.5)


def test_tombstones_remove_nodes_relationships_and_events_and_what_comes_back_brings_its_own(
    shop: Shop,
) -> None:
    shop.orders("jan.csv", [["e1", "ann", "p1", day(1), 2, 4], ["e2", "ann", "p1", day(9), 1, 2.5]])
    shop.orders("feb.csv", [["e4", "bob", "p3", day(4), 1, 1], ["e5", "bob", "p2", day(4), 1, 1]])
    shop.sales([["bob", "p2", day(3), 1, 1], ["bob", "p2", day(5), 1, 1]])
    shop.job()
    # An event by its id, wherever it stood; a pair with all its events.
    shop.write("unbought/1.csv", ["event", "user", "product"], [["e2", "ann", "p1"]])
    shop.write("unsold/1.csv", ["user", "product"], [["bob", "p2"]])
    shop.write("unmade/1.csv", ["id", "brand"], [["p3", "Mill"]])
    shop.job()
    assert shop.bought() == {"ann p1": purchases([1, 1], 2, 1, 4), "bob p3": purchases([4, 4], 1, 1, 1)}
    assert [(r["source"], r["target"]) for r in rows(shop.store, MADE_BY)] == [
        ("p1", "Mill"),
        ("p2", "Dairy"),
    ]
    shop.write("removed/1.csv", ["id"], [["p1"], ["nobody"]])
    report = shop.job()
    assert report.applied.removed == {
        "Product": 1,
        "User-BOUGHT-Product": 1,
        "Product-MADE_BY-Brand": 1,
    }
    assert shop.keys("Product") == ["p2", "p3"]
    assert shop.bought().keys() == {"bob p3"}
    # Named again by another file, it comes back with its purchases; the event that was removed does not.
    shop.products([["p1", "Rye bread", 2.5, "Mill"]], "more.csv", "2024-02-01")
    shop.job()
    assert shop.keys("Product") == ["p1", "p2", "p3"]
    assert shop.bought()["ann p1"] == purchases([1, 1], 2, 1, 4)
    assert ("p1", "Mill") in [(r["source"], r["target"]) for r in rows(shop.store, MADE_BY)]


def test_of_what_is_said_twice_the_last_by_time_counts_whenever_it_is_read(shop: Shop) -> None:
    shop.products(
        [["p1", "new", 5, "Mill", "2024-03-01"], ["p1", "newest", "", "Mill", "2024-04-01"]], "b.csv"
    )
    shop.products([["p1", "old", 9, "Mill", "2024-02-01"]], "a.csv")
    shop.job()
    title = {"product_id": "p1", "title": "newest", "price": 5.0}
    assert rows(shop.store, "Product")[0] == title
    shop.products([["p1", "late news", 7, "Mill", "2024-02-15"]], "c.csv")
    shop.job()
    assert rows(shop.store, "Product")[0] == title
    shop.write(
        "ratings/1.csv",
        ["user", "product", "at", "stars"],
        [["ann", "p1", day(4), 5], ["ann", "p1", day(2), 1]],
    )
    shop.job()
    assert [(r["rating"], r["at"]) for r in rows(shop.store, RATED)] == [(5.0, START + timedelta(days=2))]


def test_too_many_rejects_change_nothing_and_are_all_named(shop: Shop, tmp_path: Path) -> None:
    shop.job()
    held, journal = graph(shop.store), Journal(shop.store).entries()
    bad = [
        ["e8", "dora", "p9", day(1), 1, 1],
        ["e9", "ann", "p1", "yesterday", 1, 1],
        ["e10", "", "p1", day(2), 1, 1],
    ]
    shop.orders("feb.csv", [*bad, *([f"g{n}", "dora", "p1", day(n), 1, 1] for n in range(7))])
    rejects = tmp_path / "rejects.parquet"
    with pytest.raises(InputError, match=r"3 of 10 rows do not fit, more than the allowed 1\.00%") as caught:
        shop.job(rejects_path=rejects)
    assert str(rejects) in str(caught.value)
    assert graph(shop.store) == held
    assert Journal(shop.store).entries() == journal
    assert (Archive(shop.archive).numbers(), Archive(shop.archive).unfinished()) == ([1], [])
    (failure,) = Archive(shop.archive).failures()
    assert "3 of 10 rows do not fit" in failure.message
    named = {row["line"]: (row["value"], row["reason"]) for row in pq.read_table(rejects).to_pylist()}
    assert named.keys() == {2, 3, 4}
    assert named[2] == ("p9", "there is no such Product")
    # Allowed, the same job goes through with the rest: also with dora, whom a rejected row named first.
    report = shop.job(rejects_path=rejects, max_reject_share=0.3)
    assert (report.accepted, report.rejected) == (7, 3)
    assert shop.bought()["dora p1"] == purchases([0, 6], 1, 7, 7)
    assert "dora p9" not in shop.bought()


def test_since_skips_earlier_events_and_counts_them(shop: Shop) -> None:
    report = shop.job(since=START + timedelta(days=3))
    assert (report.rows, report.skipped, report.accepted) == (6, 1, 5)
    assert shop.bought() == {"ann p1": purchases([9, 9], 1, 1, 2.5), "bob p2": purchases([3, 3], 1, 1, 1)}


def test_a_store_filled_from_one_archive_refuses_another(shop: Shop, tmp_path: Path) -> None:
    shop.job()
    held = graph(shop.store)
    with pytest.raises(StoreError, match="was filled from the archive"):
        ingest(shop.store, shop.root, tmp_path / "other")
    assert graph(shop.store) == held
    assert Archive(tmp_path / "other").numbers() == []
