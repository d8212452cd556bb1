"""Jobs whose sources are joined: in whatever order files come, the graph is the one made of them at once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from _jobs import SCHEMA, graph, rows, write_rows

from kgdistill.errors import InputError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import JobOptions, JobReport, foresee, graph_tables, run_job
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.projection import rebuild
from kgdistill.store import GraphStore, open_store

BOUGHT = ("User", "BOUGHT", "Product")
SHOP = """
version: 1
name: shop
sources:
  lines:
    files: lines/*.csv
    optional: true
    join:
      people: {files: people.csv, on: {orders.customer: id}, optional: true}
      orders: {files: orders/*.csv, on: {no: no}, optional: true}
    relationships:
      - type: BOUGHT
        from: {User: people.person}
        to: {Product: sku}
        missing: stub
        event_id: {columns: [no, sku], separator: "-"}
        properties: {at: orders.at, amount: price}
"""
LINES = ["no", "sku", "price"]
ORDERS = ["no", "customer", "at", "note"]
PEOPLE = ["id", "person"]


@pytest.fixture
def store() -> Iterator[GraphStore]:
    with open_store("memory:") as opened:
        yield opened


def shop(text: str = SHOP) -> Mapping:
    return parse_mapping(text)


def job(store: GraphStore, work: Path, mapping: Mapping | None = None, **options: Any) -> JobReport:
    options = {"threads": 1, "max_reject_share": 1.0, **options}
    given = {name: options.pop(name) for name in ("tables",) if name in options}
    (work / "files").mkdir(exist_ok=True)
    how = JobOptions(**options)
    return run_job(
        store, mapping or shop(), work / "files", how, archive=work / "archive", schema=SCHEMA, **given
    )


def lines(work: Path, name: str, *some: str) -> None:
    write_rows(work / "files/lines" / f"{name}.csv", LINES, (row.split() for row in some))


def orders(work: Path, name: str, *some: str) -> None:
    write_rows(work / "files/orders" / f"{name}.csv", ORDERS, (f"{row} x".split()[:4] for row in some))


def people(work: Path, *some: str) -> None:
    write_rows(work / "files/people.csv", PEOPLE, (row.split() for row in some))


def bought(store: GraphStore) -> dict[tuple[str, str], tuple[int, float]]:
    return {(r["source"], r["target"]): (r["count"], r["spend"]) for r in rows(store, BOUGHT)}


def fill(work: Path) -> None:
    """Two days of a shop; one customer comes under two ids."""
    people(work, "c1 ann", "c2 bob", "c3 ann")
    orders(work, "one", "1 c1 2024-01-01", "2 c2 2024-01-02")
    orders(work, "two", "3 c3 2024-01-03", "4 c2 2024-01-04")
    lines(work, "one", "1 p1 10", "1 p2 5", "2 p1 10")
    lines(work, "two", "3 p1 11", "4 p3 7", "2 p3 7")


WHOLE = {
    ("ann", "p1"): (2, 21.0),
    ("ann", "p2"): (1, 5.0),
    ("bob", "p1"): (1, 10.0),
    ("bob", "p3"): (2, 14.0),
}


def test_twice_is_once(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    first = job(store, tmp_path)
    assert (first.read, first.rejected) == (["lines:lines/one.csv", "lines:lines/two.csv"], 0)
    assert bought(store) == WHOLE
    assert (again := job(store, tmp_path)).state == "unchanged"
    assert (again.unchanged, again.read, bought(store)) == (2, [], WHOLE)


def test_a_join_may_be_called_as_the_column_it_starts_from(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    text = SHOP.replace("orders: {", "no: {").replace("orders.", "no.")
    job(store, tmp_path, shop(text))
    assert bought(store) == WHOLE
    orders(tmp_path, "two", "3 c2 2024-01-03", "4 c2 2024-01-04")
    assert job(store, tmp_path, shop(text)).read == ["lines:lines/two.csv"]


def test_only_what_finds_other_rows_is_read_again(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    job(store, tmp_path)
    # A column that nothing uses, another order of rows, and rows that nothing asks for.
    orders(tmp_path, "two", "4 c2 2024-01-04 other", "3 c3 2024-01-03", "7 c1 2024-02-01")
    orders(tmp_path, "three", "8 c1 2024-02-01")
    people(tmp_path, "c3 ann", "c1 ann", "c2 bob", "c9 zoe")
    assert job(store, tmp_path).state == "unchanged"
    # The orders of the second file alone.
    people(tmp_path, "c1 ann", "c2 bob", "c3 eve")
    changed = job(store, tmp_path)
    assert (changed.read, changed.unchanged) == (["lines:lines/two.csv"], 1)
    assert bought(store) == {**WHOLE, ("ann", "p1"): (1, 10.0), ("eve", "p1"): (1, 11.0)}
    assert job(store, tmp_path).state == "unchanged"


def test_lines_that_came_first_are_read_again_when_their_orders_come(
    store: GraphStore, tmp_path: Path
) -> None:
    fill(tmp_path)
    later = tmp_path / "files/orders/two.csv"
    later.rename(later.with_suffix(".part"))
    first = job(store, tmp_path)
    assert first.reasons == [("is in no row of the join orders", "no", 2)]
    assert bought(store) == {**WHOLE, ("ann", "p1"): (1, 10.0), ("bob", "p3"): (1, 7.0)}
    # A night that accepts no rejects changes nothing, and is made up for later.
    lines(tmp_path, "two", "3 p1 11", "4 p3 7", "2 p3 8")
    with pytest.raises(InputError, match=r"2 of 3 rows do not fit, more than the allowed 1\.00%"):
        job(store, tmp_path, max_reject_share=0.01)
    lines(tmp_path, "two", "3 p1 11", "4 p3 7", "2 p3 7")
    later.with_suffix(".part").rename(later)
    second = job(store, tmp_path)
    assert (second.read, second.rejected) == (["lines:lines/two.csv"], 0)
    assert bought(store) == WHOLE


def test_whatever_comes_first_the_graph_is_that_of_all_at_once(tmp_path: Path) -> None:
    files = ("people.csv", "orders/one.csv", "orders/two.csv", "lines/one.csv", "lines/two.csv")
    fill(tmp_path / "all")
    with open_store("memory:") as store:
        job(store, tmp_path / "all")
        expected, told = graph(store), bought(store)
    assert told == WHOLE
    orders = random.Random(3).sample([*itertools.permutations(files)], 20)
    for number, order in enumerate(orders):
        work = tmp_path / str(number)
        with open_store("memory:") as store:
            for name in order:
                target = work / "files" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((tmp_path / "all/files" / name).read_bytes())
                job(store, work)
            assert graph(store) == expected, order


def test_a_store_on_disk_is_made_again_from_the_archive(tmp_path: Path) -> None:
    fill(tmp_path)
    with open_store(f"ladybug:{tmp_path / 'shop.db'}") as store:
        job(store, tmp_path)
        orders(tmp_path, "two", "3 c3 2024-01-03", "4 c1 2024-01-04")
        assert job(store, tmp_path).read == ["lines:lines/two.csv"]
        held, told = graph(store), bought(store)
    assert told == {**WHOLE, ("ann", "p3"): (1, 7.0), ("bob", "p3"): (1, 7.0)}
    with open_store(f"ladybug:{tmp_path / 'again.db'}") as store:
        rebuild(store, Archive(tmp_path / "archive"), threads=1)
        assert graph(store) == held


def test_orders_that_go_would_take_events_with_them(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    job(store, tmp_path)
    lines(tmp_path, "many", *(f"1 q{n} 1" for n in range(8)), *(f"4 q{n} 1" for n in range(8)))
    job(store, tmp_path)
    orders(tmp_path, "two", "3 c3 2024-01-03")
    with pytest.raises(InputError, match="lacks 8 of the 16 User-BOUGHT-Product rows"):
        job(store, tmp_path)
    gone, _ = foresee(shop(), tmp_path / "files", archive=Archive(tmp_path / "archive"), schema=SCHEMA)
    assert [(r.source, r.gone) for r in gone] == [("lines:lines/many.csv", 8), ("lines:lines/two.csv", 1)]


def test_a_joined_file_that_is_wrong_leaves_the_graph_as_it_was(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    job(store, tmp_path)
    orders(tmp_path, "three", "4 c1 2024-01-04")
    with pytest.raises(InputError, match=r"two\.csv, line 3: has a further row with the key '4'"):
        job(store, tmp_path)
    assert bought(store) == WHOLE


def test_what_is_odd_about_a_joined_file_is_told_once(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    with (tmp_path / "files/people.csv").open("a") as file:
        file.write("c9,zoe,what\n")
    told = [(notice.source, notice.line, notice.value) for notice in job(store, tmp_path).warnings]
    assert told == [("lines.people:people.csv", 5, "c9,zoe,what")]


def test_lines_that_cannot_be_read_are_told_by_the_job(store: GraphStore, tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "files/lines/two.csv").write_text("sku,price\np1,2\n")
    with pytest.raises(InputError, match=r"two\.csv: has no column 'no'"):
        job(store, tmp_path)
    assert [failure.message.split(": ")[1] for failure in Archive(tmp_path / "archive").failures()] == [
        "has no column 'no'"
    ]


def test_a_table_takes_the_place_of_a_joined_file(store: GraphStore, tmp_path: Path) -> None:
    lines(tmp_path, "one", "1 p1 10", "2 p1 10")
    people(tmp_path, "c1 ann")
    table = pa.table({"no": [1], "customer": ["c1"], "at": ["2024-01-01"]})
    job(store, tmp_path, tables={"lines.orders": table})
    assert bought(store) == {("ann", "p1"): (1, 10.0)}
    with pytest.raises(InputError, match=r"no source 'orders'\n.*: lines, lines\.orders, lines\.people"):
        graph_tables(shop(), tmp_path, schema=SCHEMA, tables={"orders": table})


FILLED = """
version: 1
name: filled
sources:
  lines:
    files: lines/*.csv
    fill_down: {by: no, columns: [who, at]}
    relationships:
      - type: BOUGHT
        from: {User: who}
        to: {Product: sku}
        missing: stub
        when: [{column: at, present: true}]
        properties: {at: at}
"""


def test_a_file_that_is_filled_down_is_read_again_as_a_whole_when_it_changes(
    store: GraphStore, tmp_path: Path
) -> None:
    def night(name: str, *some: str) -> None:
        columns = ["no", "who", "at", "sku"]
        write_rows(tmp_path / "files/lines" / f"{name}.csv", columns, (row.split(",") for row in some))

    def pairs() -> set[tuple[str, str]]:
        return {(row["source"], row["target"]) for row in rows(store, BOUGHT)}

    mapping = parse_mapping(FILLED)
    night("one", "1,ann,2024-01-01,p1", "1,,,p2", "2,bob,,p1")
    night("two", "1,eve,2024-02-01,p3", "1,,,p4")
    first = job(store, tmp_path, mapping)
    assert (first.accepted, first.skipped, first.eventless) == (4, 1, {"lines": 1})
    assert pairs() == {("ann", "p1"), ("ann", "p2"), ("eve", "p3"), ("eve", "p4")}
    assert job(store, tmp_path, mapping).state == "unchanged"
    # The head of an order came later, and another order's was corrected.
    night("one", "1,amy,2024-01-01,p1", "1,,,p2", "2,bob,,p1", "2,,2024-01-05,p5")
    changed = job(store, tmp_path, mapping, max_removed_share=1.0)
    assert (changed.read, changed.unchanged, changed.eventless) == (["lines:lines/one.csv"], 1, {})
    assert pairs() == {
        ("amy", "p1"),
        ("amy", "p2"),
        ("bob", "p1"),
        ("bob", "p5"),
        ("eve", "p3"),
        ("eve", "p4"),
    }
    # Another key: every file is read again.
    text = FILLED.replace("by: no", "by: [no, sku]")
    assert job(store, tmp_path, parse_mapping(text), max_removed_share=1.0).read == [
        "lines:lines/one.csv",
        "lines:lines/two.csv",
    ]
    assert pairs() == {("amy", "p1"), ("eve", "p3")}
