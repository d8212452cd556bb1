"""Jobs on real stores: done twice, changed, overlapping, late, removing, refused; every row in its place."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
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
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError, SchemaError, StoreError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.journal import Journal
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.projection import rebuild
from kgdistill.store import GraphStore, MemoryStore, load_schema, open_store
from tests.integration._stores import opened
from tests.integration.conftest import wipe

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
    # Of an event what was given first, as the time is: the rating of day 4 must not stand beside day 2.
    assert [(r["rating"], r["at"]) for r in rows(shop.store, RATED)] == [(1.0, START + timedelta(days=2))]


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


DIRT = """
version: 1
name: dirt
sources:
  brands:
    files: brands.csv
    nodes:
      - {label: Brand, key: brand}
  rows:
    files: rows.csv
    check_text: false
    updated_at: {column: updated, invalid: "null"}
    nodes:
      - {label: Product, key: id, properties: {title: title, price: {column: price, min: 0}}}
    relationships:
      - {type: MADE_BY, from: {Product: id}, to: {Brand: brand}}
      - type: BOUGHT
        from: {User: user}
        to: {Product: id}
        properties: {at: at, quantity: quantity, amount: amount}
        missing: stub
"""
DIRT_NAMES = ["id", "title", "price", "brand", "user", "at", "quantity", "amount", "updated"]
ROWS_A_FILE, FILES = 100, 10

mess = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=6)
number = st.sampled_from(["1", "2.5", "-3", "1e3"]) | st.sampled_from(
    ["", "NaN", "x", "1,5", "1e999", "9" * 30]
)
time = st.sampled_from(
    ["2024-01-05", "2024-02-29T12:00:00Z", "2023-02-29", "1492-10-12", "9999-01-01", "", "soon"]
)
field = {
    "id": st.sampled_from(["key", "key", "key", "none"]) | mess.map(lambda text: "key" + text),
    "title": mess,
    "price": number,
    "brand": st.sampled_from(["Mill", "Mill", "Dairy", "unknown", ""]) | mess,
    "user": st.sampled_from(["ann", "bob", ""]) | mess,
    "at": st.just("2024-01-05") | time,
    "quantity": st.just("1") | number,
    "amount": st.just("0.5") | number,
    "updated": time,
}
# Most of most rows is right, or every row would be rejected.
right = dict(
    zip(DIRT_NAMES, ["key", "Rye", "2", "Mill", "ann", "2024-01-05", "1", "2", "2024-01-01"], strict=True)
)


@st.composite
def dirty_row(draw: st.DrawFn) -> tuple[dict[str, str], bytes | None]:
    """A row, and how it is written where that is not as a row should be."""
    wrong = draw(st.sets(st.sampled_from(DIRT_NAMES), max_size=3))
    row = right | {name: draw(field[name]) for name in sorted(wrong)}
    broken = st.sampled_from(
        [b"%s,too,few", b"%s" + b",many" * 12, b"%s,\xff\xfe,1,Mill,ann,2024-01-05,1,2,"]
    )
    return row, draw(st.none() | st.none() | st.none() | st.none() | broken)


def write_dirt(path: Path, given: list[tuple[dict[str, str], bytes | None]]) -> dict[int, str]:
    """Writes them, each with an id of its own; returns by line the ids."""
    lines: dict[int, str] = {}
    whole = (",".join(DIRT_NAMES) + "\n").encode()
    for n, (row, raw) in enumerate(given):
        # Where the id itself is empty the row cannot be found, nor may it be accepted.
        key = "" if row["id"] == "none" else f"r{n}|" + row["id"]
        lines[whole.count(b"\n") + 1] = f"r{n}|"
        if raw is not None:
            whole += raw % f"r{n}|raw".encode() + b"\n"
            continue
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(
            [key if name == "id" else row[name] for name in DIRT_NAMES]
        )
        whole += text.getvalue().encode()
    path.write_bytes(whole)
    return lines


@settings(
    max_examples=FILES,
    # A file of a hundred rows takes too long to be made smaller.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(given_rows=st.lists(dirty_row(), min_size=ROWS_A_FILE, max_size=ROWS_A_FILE))
def dirty_job(
    store_of: Any, folder_of: Any, tally: Counter[str], given_rows: list[tuple[dict[str, str], bytes | None]]
) -> None:
    folder = folder_of.mktemp("dirt")
    write_rows(folder / "brands.csv", ["brand"], [["Mill"], ["Dairy"]])
    lines = write_dirt(folder / "rows.csv", given_rows)
    rejects = folder / "rejects.parquet"
    with store_of() as store:
        report = ingest(
            store,
            folder,
            folder / "archive",
            mapping=parse_mapping(DIRT),
            rejects_path=rejects,
            max_reject_share=1.0,
        )
        products = [row["product_id"] for row in rows(store, "Product")]
        made = [row["source"] for row in rows(store, MADE_BY)]
        bought = rows(store, BOUGHT)
        users = {row["user_id"] for row in rows(store, "User")}
    refused = pq.read_table(rejects).to_pylist() if rejects.exists() else []
    # Every row is in one place, and in it once.
    assert all(row["reason"] and row["source"] == "rows:rows.csv" for row in refused)
    rejected = [lines[row["line"]] for row in refused]
    accepted = [key.partition("|")[0] + "|" for key in products]
    assert sorted(accepted + rejected) == sorted(lines.values())
    assert (report.rows, report.accepted, report.rejected) == (
        ROWS_A_FILE + 2,
        len(accepted) + 2,
        len(rejected),
    )
    # And as a whole: with its brand and its purchase, or with none of them.
    assert products == made == sorted(row["target"] for row in bought)
    assert all(row["count"] == 1 for row in bought)
    assert users == {row["source"] for row in bought}
    tally.update(rows=len(lines), accepted=len(accepted), rejected=len(rejected))


@pytest.mark.parametrize("kind", BOTH)
def test_of_a_thousand_dirty_rows_each_is_in_the_graph_or_in_the_rejects(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tally: Counter[str] = Counter()
    dirty_job(empty_stores(kind, request, tmp_path_factory), tmp_path_factory, tally)
    print(f"{kind}: {dict(tally)}")
    assert tally["rows"] >= 1000
    assert min(tally["accepted"], tally["rejected"]) > 100


def empty_stores(kind: str, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Any:
    """A function that opens an empty store."""
    server = request.getfixturevalue("neo4j_server") if kind == "neo4j" else None

    def empty() -> GraphStore:
        if server is None:
            return open_store(
                f"ladybug:{folders.mktemp('stores') / 'db'}" if kind == "ladybug" else "memory:"
            )
        wipe(server)
        return open_store(server.url, user=server.user, password=server.password)

    return empty


EVIL = [
    "`",
    "``",
    "a`b",
    "'",
    '"',
    "\\",
    "\\'",
    "'})",
    "}) DETACH DELETE n //",
    "x'}) MATCH (n) DETACH DELETE n //",
    '"}) DETACH DELETE n //',
    "$x",
    "$props",
    "{a: 1}",
    "//",
    "/* */",
    ";",
    "MATCH (n) RETURN n",
    "null",
    "true",
    "\\u0027",
    "\\n",
    "%s",
    "{0}",
    "a\nb",
    "a\tb",
    "a\r\nb",
    "a,b",
    "a|b",
    "a > b",
    "\U0001f9c0\U0001f468\u200d\U0001f469",
    "\u05d0\u05d1 \u0645\u0631\u062d\u0628\u0627",
    "\u202eabc",
    "e\u0301",
    "\u00e9",
    "\ufeffx",
    "\u2028x",
    "\uffff",
    "\x01\x1f\x7f",
    "\U0010ffff",
    "0",
    "-1",
    "1e5",
    "NaN",
    "a\x00b",
    "long" * 1000,
]
MEGABYTE = "`'\"}\\$\U0001f9c0" * (2**20 // 10)


@pytest.mark.parametrize("kind", BOTH)
def test_whatever_a_text_holds_arrives_unharmed_or_is_rejected_with_a_reason(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = load_schema()
    labels = [label for label, node in whole.nodes.items() if not node.output]
    texts = {
        label: [n for n, p in whole.node(label).properties.items() if p.type == "string"] for label in labels
    }
    sources: dict[str, Any] = {}
    tables: dict[str, pa.Table] = {}
    for label in labels:
        # Every odd text as a key and in every property; a megabyte in every property, and as a key.
        keys = [*EVIL, "big", MEGABYTE]
        columns = {"key": keys} | {name: [*EVIL, MEGABYTE, "of a big key"] for name in texts[label]}
        properties = {name: {"column": name, "strip": False} for name in texts[label]}
        node = {"label": label, "key": {"column": "key", "strip": False}, "properties": properties}
        sources[label] = {"nodes": [node]}
        tables[label] = pa.table(columns)
    ends = {"from": {"Product": "a"}, "to": {"Brand": "b"}}
    sources["facts"] = {"relationships": [{"type": "MADE_BY", **ends}]}
    evil = [text for text in EVIL if text == text.strip().strip("\ufeff\u202e") and text != "NaN"]
    tables["facts"] = pa.table({"a": [*evil, MEGABYTE], "b": [*evil[::-1], "`"]})
    verdict = {"type": "JUDGED", "from": {"Query": "a"}, "to": {"Product": "b"}}
    verdict["properties"] = {"grade": {"constant": 1}, "verdict": {"column": "v", "strip": False}}
    sources["verdicts"] = {"relationships": [verdict]}
    tables["verdicts"] = pa.table({"a": [*evil, "`"], "b": [*evil, "big"], "v": [*evil, MEGABYTE]})
    mapping = parse_mapping({"version": 1, "name": "evil", "sources": sources})
    rejects = tmp_path / "rejects.parquet"
    with empty_stores(kind, request, tmp_path_factory)() as store:
        report = ingest(
            store,
            tmp_path,
            tmp_path / "archive",
            mapping=mapping,
            tables=tables,
            schema=whole,
            rejects_path=rejects,
            max_reject_share=0.5,
        )
        refused = pq.read_table(rejects).to_pylist()
        for label in labels:
            good = [text for text in [*EVIL, "big"] if text != "NaN"]
            wanted = {key: dict.fromkeys(texts[label], MEGABYTE if key == "big" else key) for key in good}
            lost = [r for r in refused if r["source"] == label]
            # The megabyte is no key, nor is what stands for no number.
            assert [(r["line"], r["reason"]) for r in lost] == [
                (EVIL.index("NaN") + 1, "is no key: it stands for a number that is missing or infinite"),
                (len(EVIL) + 2, "is too long for a key (4,096 bytes)"),
            ]
            held = store.read_nodes(label, texts[label]).to_pylist()
            assert {row.pop(whole.node(label).key): row for row in held} == wanted, label
        found = {
            (r["source"], r["target"]): r["verdict"] for r in rows(store, ("Query", "JUDGED", "Product"))
        }
        assert found == {(text, text): text for text in evil} | {("`", "big"): MEGABYTE}
        made = {(r["source"], r["target"]) for r in rows(store, MADE_BY)}
        assert made == set(zip(evil, evil[::-1], strict=True))
        assert report.rejected == len(refused) == 2 * len(labels) + 1


def test_a_label_or_type_is_never_taken_from_data(tmp_path: Path) -> None:
    for label in ({"column": "kind"}, "Product`) DETACH DELETE n //"):
        node = {"label": label, "key": "id"}
        raw = {"version": 1, "name": "m", "sources": {"s": {"files": "x.csv", "nodes": [node]}}}
        with MemoryStore() as store, pytest.raises((InputError, SchemaError)):
            ingest(store, tmp_path, tmp_path / "archive", mapping=parse_mapping(raw))


FILE = st.sampled_from(["a.csv", "b.csv"])
SOME_PRODUCTS = st.sampled_from(["p1", "p2", "p3"])
SOME_USERS = st.sampled_from(["ann", "bob", "cy"])
DAYS = st.integers(0, 6).map(day)
KINDS: dict[str, tuple[list[str], st.SearchStrategy[tuple[Any, ...]]]] = {
    "products": (
        PRODUCTS,
        st.tuples(
            SOME_PRODUCTS,
            st.sampled_from("xyz"),
            st.sampled_from(["", 1, 2.5]),
            st.sampled_from(["b1", "b2"]),
            DAYS,
        ),
    ),
    "orders": (
        ORDERS,
        st.tuples(
            st.sampled_from(["e1", "e2", "e3", "e4"]),
            SOME_USERS,
            SOME_PRODUCTS,
            DAYS,
            st.sampled_from([0, 1, 2]),
            st.sampled_from([0.1, 0.2, -0.3]),
        ),
    ),
    "sales": (
        ORDERS[1:],
        st.tuples(SOME_USERS, SOME_PRODUCTS, DAYS, st.just(1), st.sampled_from([0.1, 0.7])),
    ),
    "clicks": (CLICKS, st.tuples(SOME_USERS, SOME_PRODUCTS, st.just(day(1)))),
    "ratings": (
        ["user", "product", "at", "stars"],
        st.tuples(SOME_USERS, SOME_PRODUCTS, DAYS, st.integers(1, 5)),
    ),
    "removed": (["id"], st.tuples(SOME_PRODUCTS)),
    "unbought": (
        ["event", "user", "product"],
        st.tuples(st.sampled_from(["e1", "e2"]), SOME_USERS, SOME_PRODUCTS),
    ),
    "unsold": (["user", "product"], st.tuples(SOME_USERS, SOME_PRODUCTS)),
    "unmade": (["id", "brand"], st.tuples(SOME_PRODUCTS, st.sampled_from(["b1", "b2"]))),
}
CHANGE = st.sampled_from(["products", "orders", *KINDS]).flatmap(
    lambda kind: st.tuples(st.just(kind), FILE, st.lists(KINDS[kind][1], max_size=5))
)
CHANGES = st.lists(st.lists(CHANGE, min_size=1, max_size=4), min_size=1, max_size=5)


def tamper(store: GraphStore, draw: random.Random) -> None:
    """What nobody should do to a store: nodes and relationships that go, come and change."""
    products = [row["product_id"] for row in rows(store, "Product")]
    store.delete_nodes("Product", pa.array(draw.sample(products, len(products) // 2), pa.string()))
    store.write_nodes(
        "Product",
        pa.table({"product_id": ["stranger", *products[:1]], "title": ["odd"] * (1 + len(products[:1]))}),
    )
    store.write_nodes("User", pa.table({"user_id": ["stranger"]}))
    wrong = {"source": ["stranger"], "target": ["stranger"], "first_at": [START], "count": [9]}
    store.write_relationships(BOUGHT, pa.table(wrong))
    bought = store.read_relationships(BOUGHT)
    store.delete_relationships(BOUGHT, bought.slice(0, bought.num_rows // 3).select(["source", "target"]))


def steps_meet(
    empty: Any,
    folders: pytest.TempPathFactory,
    tally: Counter[str],
    steps: list[list[tuple[str, str, list[Any]]]],
) -> None:
    work = folders.mktemp("steps")
    files, archive = work / "files", Archive(work / "archive")
    # Types of which the archive never had a row are none of its business, such as what is derived.
    write_rows(files / "products" / "first.csv", PRODUCTS, [["p1", "x", 1, "b1", day(0)]])
    write_rows(files / "orders" / "first.csv", ORDERS, [["e0", "ann", "p1", day(0), 1, 1]])
    with empty() as store:
        ingest(store, files, archive.folder)
        for step in steps:
            for kind, name, given in step:
                write_rows(files / kind / name, KINDS[kind][0], given)
            report = ingest(store, files, archive.folder, max_reject_share=1.0)
            tally.update(jobs=report.state == "done", accepted=report.accepted, rejected=report.rejected)
        held = graph(store)
        with MemoryStore() as other:
            rebuild(other, archive, threads=1)
            assert graph(other) == held
        tamper(store, random.Random(str(steps)))
        assert graph(store) != held
        rebuild(store, archive, threads=1)
        assert graph(store) == held
        assert ingest(store, files, archive.folder).state == "unchanged"
    tally.update(sequences=1)


@pytest.mark.parametrize(("kind", "examples"), [("memory", 15), ("ladybug", 5), ("neo4j", 5)])
def test_jobs_one_by_one_lead_to_what_a_rebuild_makes_of_an_empty_and_of_a_tampered_store(
    kind: str, examples: int, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tally: Counter[str] = Counter()
    empty = empty_stores(kind, request, tmp_path_factory)

    @settings(max_examples=examples, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(steps=CHANGES)
    def check(steps: list[list[tuple[str, str, list[Any]]]]) -> None:
        steps_meet(empty, tmp_path_factory, tally, steps)

    check()
    print(f"{kind}: {dict(tally)}")
    assert tally["jobs"] >= examples


def test_a_category_stays_whole_when_the_first_row_that_named_it_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(
        "sku,brand,path\np1,nobody,Food > Tea > Green\np2,known,Food > Tea > Green\np3,known,Food > Tea\n"
    )
    (tmp_path / "brands.csv").write_text("brand\nknown\n")
    mapping = parse_mapping(
        """
        version: 1
        name: shop
        sources:
          products:
            files: products.csv
            nodes: [{label: Product, key: sku}]
            relationships: [{type: MADE_BY, from: {Product: sku}, to: {Brand: brand}}]
            trees:
              - {label: Category, root: Department, path: {column: path, split: " > "}, from: {Product: sku}}
          brands: {files: brands.csv, nodes: [{label: Brand, key: brand}]}
        """
    )
    tables = graph_tables(mapping, tmp_path, schema=load_schema())
    assert [row["line"] for row in tables.rejects.to_pylist()] == [2]
    assert tables.nodes["Category"].to_pylist() == [
        {"category_id": "Food > Tea", "name": "Tea", "path": "Food > Tea", "level": 1},
        {"category_id": "Food > Tea > Green", "name": "Green", "path": "Food > Tea > Green", "level": 2},
    ]
    assert tables.nodes["Department"].to_pylist() == [{"department_id": "Food", "name": "Food"}]
    assert tables.edges[("Category", "PART_OF", "Category")].num_rows == 1
