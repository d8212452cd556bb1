from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _odd_shop import EVIL, NOW, START, fill, odd_shop
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import DiskError, InputError
from kgdistill.graphcheck import Inspection, facts, inspect_graph, page_html, write_page
from kgdistill.graphcheck.brands import abbreviated, alike
from kgdistill.graphcheck.findings import _cycles
from kgdistill.graphcheck.model import Finding
from kgdistill.graphcheck.times import time_stats
from kgdistill.ingest.tables import GraphTables
from kgdistill.store import Schema, load_schema, open_store

SCHEMA = load_schema()
BOUGHT = "User-BOUGHT-Product"


@pytest.fixture(scope="module")
def odd() -> Iterator[Inspection]:
    with open_store("memory:") as store:
        fill(store, odd_shop())
        yield inspect_graph(store, SCHEMA, now=NOW)


def test_everything_that_is_odd_is_found_with_its_count_and_examples(odd: Inspection) -> None:
    found = {(f.code, f.subject): (f.severity, f.count, f.total) for f in odd.findings}
    assert found == {
        ("cycle", "Category"): ("error", 4, 7),
        ("several-parents", "Category"): ("warning", 2, 7),
        ("count", BOUGHT): ("error", 1, 79),
        ("quantity", BOUGHT): ("error", 1, 79),
        ("negative-spend", BOUGHT): ("warning", 1, 79),
        ("time-order", BOUGHT): ("error", 1, 79),
        ("future", BOUGHT): ("error", 1, 79),
        ("gap", BOUGHT): ("note", 2, 157),
        ("stub", "Product"): ("warning", 2, 42),
        ("no-name", "Product"): ("warning", 2, 42),
        ("no-brand", "Product"): ("warning", 3, 42),
        ("no-category", "Product"): ("warning", 2, 42),
        ("isolated", "Product"): ("warning", 1, 42),
        ("isolated", "User"): ("note", 1, 41),
        ("no-events", "User"): ("note", 1, 41),
        ("alike-brands", "Brand"): ("warning", 5, 8),
        ("short-brands", "Brand"): ("note", 2, 8),
        ("hub", BOUGHT): ("note", 1, 41),
        ("several-cuts", "Product-ALSO_BOUGHT-Product"): ("warning", 2, 2),
    }
    examples = {f.code: f.examples for f in odd.findings}
    assert examples["count"] == ["u3 -> p03: count 0"]
    assert "a (cat a) -> b (cat b) -> c (cat c) -> a (cat a)" in examples["cycle"]
    assert "e (cat e): f (cat f), g (cat g)" in examples["several-parents"]
    isolated = [f.examples for f in odd.findings if f.code == "isolated"]
    assert isolated == [["lonely (Alone)"], ["idle"]]
    assert "2024-01-11 to 2024-01-20: 10 days" in examples["gap"]
    assert examples["no-category"] == ["lonely (Alone)", "p02"]
    assert examples["short-brands"][0].startswith("'P&G' (b1, 5 products) = 'Procter and Gamble' (b4,")
    order = [f.severity for f in odd.findings]
    assert order == sorted(order, key=["error", "warning", "note"].index)


def test_a_large_label_is_read_property_by_property_to_the_same_end(
    odd: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_ROWS_AT_ONCE", 5)
    with open_store("memory:") as store:
        fill(store, odd_shop())
        assert inspect_graph(store, SCHEMA, now=NOW) == odd


def test_the_figures_are_those_of_numpy(odd: Inspection) -> None:
    (bought,) = (edge for edge in odd.stats.edges if edge.type == BOUGHT)
    degrees = np.array([40, *[1] * 39])
    start = bought.start
    assert (bought.count, start.nodes, start.without) == (79, 40, 1)
    assert (start.min, start.median, start.mean) == (1, 1, degrees.mean())
    assert (start.p99, start.max) == (np.percentile(degrees, 99), 40)
    assert start.histogram[0] == (1, 1, 39)
    assert start.histogram[-1] == (32, 63, 1)
    (hub,) = (hub for hub in odd.stats.hubs if hub.type == BOUGHT)
    assert (hub.key, hub.relationships, hub.share) == ("u1", 40, 40 / 79)
    nodes = {node.label: node for node in odd.stats.nodes}
    assert nodes["Product"].filled["title"] == 40
    assert nodes["Embedding"].isolated is None


@given(st.lists(st.integers(-2000, 2000), min_size=1, max_size=60), st.integers(-100, 100))
def test_coverage_counts_days_weeks_and_gaps(days: list[int], today: int) -> None:
    micros = np.array(days, np.int64) * 86_400_000_000 + 7
    now = datetime(1970, 1, 1) + timedelta(days=today)
    found = time_stats("x", [micros], now)
    assert found is not None
    held = {date(1970, 1, 1) + timedelta(days=d) for d in days}
    first, last = min(held), max(held)
    every = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    assert (found.days, found.days_without) == (len(every), len(set(every) - held))
    weeks = [set(every[n : n + 7]) for n in range(0, len(every), 7)]
    assert found.weeks_without == sum(not week & held for week in weeks)
    assert found.future == sum(d >= today + 1 for d in days)
    assert sum(count for _, count in found.buckets) == len(days)
    for gap in found.gaps:
        assert not held & {gap.first + timedelta(days=n) for n in range(gap.days)}
        assert {gap.first - timedelta(days=1), gap.last + timedelta(days=1)} <= held


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_a_circle_is_found_just_where_there_is_one(pairs: list[tuple[int, int]]) -> None:
    child, parent = (np.array([p[side] for p in pairs], np.int64) for side in (0, 1))
    reach = np.zeros((8, 8), dtype=bool)
    reach[child, parent] = True
    for k in range(8):
        reach |= reach[:, [k]] & reach[[k], :]
    cycles = _cycles(child, parent, 8)
    assert bool(cycles) == bool(reach.diagonal().any())
    for cycle in cycles:
        assert len(set(cycle)) == len(cycle)
        assert all(step in pairs for step in zip(cycle, [*cycle[1:], cycle[0]], strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P&G", "P & G"),
        ("Ben & Jerry's", "BEN AND JERRYS"),
        ("Müller GmbH & Co. KG", "muller"),
        ("Nestlé S.A.", "nestle"),
        ("Coca-Cola", "coca cola co."),
        ("The Body Shop Ltd", "body shop"),
        ("日本 たばこ", "日本たばこ"),
        ("ＳＵＰＯＲ", "Supor "),
        ("苏泊尔（SUPOR）", "SUPOR苏泊尔"),
        ("苏泊尔", "SUPOR / 苏泊尔"),
        ("苏泊尔 (Supor)", "SUPOR"),
        ("海尔集团", "海尔"),
        ("海尔股份有限公司", "海尔旗舰店"),
        ("株式会社ソニー", "ソニー"),
        ("\U00020000\U00020001 (Kichi)", "KICHI"),
        ("ช้าง (Chang)", "CHANG"),
    ],
)
def test_what_differs_in_writing_only_is_alike(one: str, other: str) -> None:
    assert alike([one, "Mill", other]) == [[0, 2]]
    assert alike([other, one]) == [[0, 1]]


def test_other_brands_are_not_alike() -> None:
    names = ["Dove", "Dover", "3M", "3 N", "Co", "AG", "Inc", "!!!", "", "???", "The", "H&B", "Hill"]
    assert alike(names) == []
    # One half beside several others says nothing, and marks on kana do.
    assert (
        alike(["小米 Redmi", "红米 Redmi", "Redmi", "耐克（CHINA）", "阿迪（CHINA）", "361度", "361"]) == []
    )
    assert alike(["Nike (Kids)", "Adidas (Kids)", "Kids", "バード", "ハード"]) == []
    assert abbreviated([*names, "P and G", "Procter & Gamble", "Sun and Moon"]) == [[13, 14]]


def test_a_schema_of_ones_own_is_read_by_its_kinds() -> None:
    schema = Schema.model_validate(
        {
            "version": 1,
            "nodes": {
                "Reader": {"key": "reader", "name": "reader"},
                "Book": {"key": "isbn", "name": "heading", "properties": {"heading": "string"}},
                "Maker": {"key": "maker", "name": "maker"},
                "Shelf": {"key": "shelf", "name": "shelf"},
            },
            "relationships": {
                "READ": {
                    "kind": "event",
                    "endpoints": [["Reader", "Book"]],
                    "time": "at",
                    "properties": {"at": "timestamp"},
                },
                "PRINTED": {"kind": "fact", "endpoints": [["Book", "Maker"]]},
                "CHILD_OF": {"kind": "fact", "endpoints": [["Shelf", "Shelf"]]},
                "STANDS": {"kind": "fact", "endpoints": [["Book", "Shelf"]]},
            },
        }
    )
    with open_store("memory:") as store:
        # The store knows a part only.
        store.apply_schema(schema.restricted(["Reader", "Book", "Maker"], ["READ", "PRINTED"]))
        store.write_nodes("Reader", pa.table({"reader": ["r"]}))
        store.write_nodes("Book", pa.table({"isbn": ["1", "2"], "heading": ["Dune", "Emma"]}))
        store.write_relationships(
            ("Reader", "READ", "Book"), pa.table({"source": ["r"], "target": ["1"], "at": [START]})
        )
        found = inspect_graph(store, schema, now=NOW)
    assert found.stats.unknown == ["Shelf", "Shelf-CHILD_OF-Shelf", "Book-STANDS-Shelf"]
    assert {f.code for f in found.findings} == {"isolated", "no-brand", "no-category"}


def test_keys_that_a_spreadsheet_cut_short_are_found() -> None:
    keys = ["4006381333931", "4.00638E+12", "4,00638E+12", "1E5", "E12", "4.5"]
    with open_store("memory:") as store:
        store.apply_schema(SCHEMA)
        store.write_nodes("Product", pa.table({"product_id": keys}))
        (found,) = [f for f in inspect_graph(store, SCHEMA).findings if f.code == "lost-digits"]
    assert (found.severity, found.subject, found.count, found.total) == ("warning", "Product", 3, 6)


def test_an_empty_graph_is_an_error_and_has_a_page() -> None:
    with open_store("memory:") as store:
        store.apply_schema(SCHEMA)
        found = inspect_graph(store, SCHEMA)
        assert [(f.code, f.severity) for f in found.findings] == [("empty", "error")]
        assert "There are no nodes" in page_html(found)
        with pytest.raises(InputError, match="hub_share"):
            inspect_graph(store, SCHEMA, hub_share=0)


def test_what_the_data_say_is_text_in_the_page(odd: Inspection, tmp_path: Path) -> None:
    page = page_html(odd)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert EVIL not in page
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_page(odd, tmp_path / "file" / "page.html")


def test_stubs_whose_keys_differ_in_capitals_alone_are_told_with_what_to_do() -> None:
    ids = ["K1", "K2", "K3", "u5", "k1", "k2", "U5", "K9"]
    users = pa.table({"user_id": ids, "income": [*"aaaa", None, None, None, None]})
    with open_store("memory:") as store:
        fill(store, GraphTables({"User": users}, {}))
        (stub,) = [f for f in inspect_graph(store, SCHEMA, now=NOW).findings if f.code == "stub"]
    assert stub.count == 4
    told = "3 of them have the key of another but for capitals, such as U5 and u5: case: upper of the key"
    assert told in stub.advice


def found_in(tables: GraphTables) -> dict[str, Finding]:
    with open_store("memory:") as store:
        fill(store, tables)
        return {f.code: f for f in inspect_graph(store, SCHEMA, now=NOW).findings}


def test_products_of_one_name_are_told_where_they_are_many() -> None:
    """As where a page's title was taken for the product's."""
    ids = [f"p{n:03}" for n in range(100)]
    for same, told in ((20, True), (19, False)):
        titles = ["Shop"] * same + [f"thing {n}" for n in range(100 - same)]
        found = found_in(GraphTables({"Product": pa.table({"product_id": ids, "title": titles})}, {}))
        assert ("one-name" in found) == told
    few = GraphTables({"Product": pa.table({"product_id": ids[:30], "title": ["Shop"] * 2 + ids[2:30]})}, {})
    assert "one-name" not in found_in(few)
    many = [f"q{n:03}" for n in range(300)]
    titles = ["Shop"] * 25 + [f"thing {n}" for n in range(275)]
    assert "one-name" not in found_in(
        GraphTables({"Product": pa.table({"product_id": many, "title": titles})}, {})
    )


def bought(users: list[str], products: list[str], count: list[int] | None = None) -> GraphTables:
    rows = {"source": users, "target": products, "first_at": [START] * len(users)}
    edge = pa.table(rows | ({} if count is None else {"count": count}))
    nodes = {
        "User": pa.table({"user_id": list(dict.fromkeys(users))}),
        "Product": pa.table({"product_id": list(dict.fromkeys(products))}),
    }
    return GraphTables(nodes, {("User", "BOUGHT", "Product"): edge})


def test_where_what_is_sold_is_not_what_is_described_the_keys_are_doubted() -> None:
    tables = bought([f"u{n}" for n in range(40)], [f"{n}" for n in range(40)])
    with open_store("memory:") as store:
        fill(store, tables)
        described = {"product_id": [f"S-{n}" for n in range(40)], "title": [f"t{n}" for n in range(40)]}
        fill(store, GraphTables({"Product": pa.table(described)}, {}))
        (stub,) = [f for f in inspect_graph(store, SCHEMA, now=NOW).findings if f.code == "stub"]
        assert "of what has events 40 are such and 0 are described" in stub.advice
        meets = {"product_id": [f"{n}" for n in range(4)], "title": [f"t{n}" for n in range(4)]}
        fill(store, GraphTables({"Product": pa.table(meets)}, {}))
        (stub,) = [f for f in inspect_graph(store, SCHEMA, now=NOW).findings if f.code == "stub"]
        assert "different keys" not in stub.advice


def test_who_does_one_thing_over_and_over_is_a_hub() -> None:
    """A program has one relationship with each product, whatever it did."""
    users = ["robot", *(f"u{n}" for n in range(39))]
    quiet = found_in(bought(users, ["p"] * 40, [1] * 40))
    assert not [
        e for e in quiet.get("hub", Finding("", "note", "", "", 0, 0, [], "")).examples if "robot" in e
    ]
    loud = found_in(bought(users, ["p"] * 40, [30_000] + [1] * 39))["hub"]
    assert loud.examples == ["robot: 30,000 (99.9 %)"]
    assert "has no taste" in loud.advice


def test_a_draft_of_aliases_keeps_the_spelling_that_is_shown() -> None:
    brands = pa.table({"brand_id": ["999-games", "999 games", "b7"], "name": ["999-Games", "999 Games", "x"]})
    products = pa.table({"product_id": ["p1", "p2", "p3"], "title": ["a", "b", "c"]})
    made = pa.table({"source": ["p1", "p2", "p3"], "target": ["999-games", "999 games", "999 games"]})
    with open_store("memory:") as store:
        fill(
            store,
            GraphTables({"Brand": brands, "Product": products}, {("Product", "MADE_BY", "Brand"): made}),
        )
        assert inspect_graph(store, SCHEMA, now=NOW).aliases == [("999-games", "999 Games")]
