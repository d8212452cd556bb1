"""What a user views and searches for more than others do, on both stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kgdistill.cli.app import app
from kgdistill.explore.explanations import explain_many
from kgdistill.explore.interests import Interests, interests
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, Schema, load_schema, open_store
from tests.integration._stores import BOUGHT, STORES, edges, opened

SCHEMA = load_schema()
AT, LATE = datetime(2024, 1, 8, 9), datetime(2024, 6, 1, 9)
VIEWED, SEARCHED = ("User", "VIEWED", "Product"), ("User", "SEARCHED", "Query")
KINDS = ["Dress", "Jacket", "Green tea", "电饭煲"]


def shop() -> GraphTables:
    """Forty products of four kinds; ann buys anything, views tea, types dresses, and later jackets."""
    products = [f"p{n:02}" for n in range(40)]
    others = [f"u{n}" for n in range(12)]
    bought = [(user, product, AT) for user in others for product in products[::3]]
    bought += [("ann", product, AT) for product in products[::10]]
    viewed = [(user, product, AT) for user in others for product in products]
    viewed += [("ann", product, AT) for product in products[2::4][:6]]
    typed = [(user, f"{color} {kind}", AT) for user in others for color in ("red", "old") for kind in KINDS]
    typed += [("ann", f"{color} dresses", AT + timedelta(minutes=n)) for n, color in enumerate("abcdef")]
    typed += [("ann", f"jacket {color}", LATE) for color in "abcdef"]
    queries = sorted({text for _, text, _ in typed})

    def table(rows: list[tuple[str, str, datetime]]) -> pa.Table:
        source, target, at = (list(column) for column in zip(*rows, strict=True))
        return edges(source=source, target=target, first_at=at, last_at=at)

    return GraphTables(
        {
            "User": pa.table({"user_id": ["ann", "zoe", *others]}),
            "Product": pa.table({"product_id": products, "title": [f"thing {n}" for n in range(40)]}),
            "Category": pa.table(
                {"category_id": KINDS, "name": KINDS, "path": [f"All > {k}" for k in KINDS]}
            ),
            "Query": pa.table({"query_id": queries, "text": queries}),
        },
        {
            ("Product", "IN_CATEGORY", "Category"): edges(
                source=products, target=[KINDS[n % 4] for n in range(40)]
            ),
            BOUGHT: table(bought),
            VIEWED: table(viewed),
            SEARCHED: table(typed),
        },
    )


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for opened_store in opened(request.param, request, tmp_path):
        ingest_tables(opened_store, SCHEMA, shop())
        yield opened_store


def named(found: Interests) -> list[tuple[str, str, int]]:
    return [(i.event, i.name, i.products) for i in found.categories]


def test_each_kind_of_event_speaks_for_its_own(store: GraphStore) -> None:
    found = interests(store, "ann", before=LATE)
    assert named(found) == [("VIEWED", "All > Green tea", 6), ("SEARCHED", "All > Dress", 6)]
    viewed, searched = found.categories
    assert (viewed.share, viewed.usual) == (1, pytest.approx(126 / 486))
    # Of 12 users' 96 searches a quarter names a dress.
    assert (searched.share, searched.usual) == (1, pytest.approx(30 / 102))
    assert found.others == {"VIEWED": 6, "SEARCHED": 6}
    assert found.searches == {"SEARCHED": ("f dresses", "e dresses", "d dresses", "c dresses", "b dresses")}
    assert found.sentence() == (
        "ann bought 4 products; viewed 6 products, more than others of Green tea (3.9×); "
        'searched for 6 things, more than others of Dress (3.4×), last "f dresses, e dresses, d dresses".'
    )
    assert found.sentence("zh") == (
        "ann买过4种商品；看过6种商品，比别人更多的是Green tea (3.9×)；搜索过6个不同的词，"
        "比别人更多的是Dress (3.4×)，最近是“f dresses，e dresses，d dresses”。"
    )


def test_what_came_later_counts_from_then_on(store: GraphStore) -> None:
    assert [
        name for event, name, _ in named(interests(store, "ann", before=LATE)) if event == "SEARCHED"
    ] == ["All > Dress"]
    late = interests(store, "ann", before=LATE + timedelta(days=1))
    assert late.others == {"VIEWED": 6, "SEARCHED": 12}
    # Of twelve searches each is a half: beside a third of everybody's too little to be told.
    assert [event for event, _, _ in named(late)] == ["VIEWED"]
    early = interests(store, "ann", before=AT)
    assert (early.others, early.searches) == ({}, {})
    assert early.sentence() == "ann bought nothing before 2024-01-08: nothing is known"


def test_the_more_kinds_of_events_are_asked_the_less_is_by_chance(store: GraphStore) -> None:
    viewed = [f"p{n:02}" for n in (*range(2, 30, 4), 0, 1, 3, 4)]
    rows = edges(source=["zoe"] * 11, target=viewed, first_at=[AT] * 11, last_at=[AT] * 11)
    ingest_tables(store, SCHEMA, GraphTables({}, {VIEWED: rows}))
    # Four categories would give seven of eleven to one user in 26, with another kind of event to one in 13.
    assert named(interests(store, "zoe")) == [("VIEWED", "All > Green tea", 7)]
    typed = edges(source=["zoe"], target=["red Dress"], first_at=[AT], last_at=[AT])
    ingest_tables(store, SCHEMA, GraphTables({}, {SEARCHED: typed}))
    assert named(interests(store, "zoe")) == []


def test_what_was_rated_low_is_no_interest(store: GraphStore) -> None:
    assert interests(store, "zoe").above == {}
    low, high = [f"p{n:02}" for n in range(0, 24, 4)], [f"p{n:02}" for n in range(1, 25, 4)]
    everybody: list[tuple[str, str, float | None]]
    everybody = [(f"u{n}", f"p{m:02}", 5.0) for n in range(12) for m in range(40)]
    rated = [*everybody, *(("zoe", key, 1.0) for key in low), *(("zoe", key, 4.0) for key in high)]
    rated.append(("zoe", "p02", None))  # without stars
    source, target, stars = (list(column) for column in zip(*rated, strict=True))
    rows = edges(source=source, target=target, at=[AT] * len(rated), rating=stars)
    ingest_tables(store, SCHEMA, GraphTables({}, {("User", "RATED", "Product"): rows}))
    found = interests(store, "zoe")
    assert (found.others, found.above) == ({"RATED": 6}, {"RATED": 3.0})
    assert named(found) == [("RATED", "All > Jacket", 6)]
    assert found.categories[0].usual == pytest.approx(126 / 486)
    assert found.sentence() == "zoe rated 6 products above 3, more than others of Jacket (3.9×)."
    assert found.sentence("zh") == "zoe评价过6种商品（高于3分），比别人更多的是Jacket (3.9×)。"
    told = explain_many(store, [("zoe", "p25"), ("zoe", "p24")])
    assert told["zoe", "p25"]
    assert not told["zoe", "p24"]


@pytest.mark.parametrize("kind", ["string", "bool", "timestamp"])
def test_a_rating_that_is_no_number_tells_nothing(kind: str) -> None:
    raw = SCHEMA.model_dump(by_alias=True, exclude_none=True)
    raw["relationships"]["RATED"]["properties"]["rating"] = {"type": kind}
    grades: list[object] = {"string": ["A", "C"], "bool": [True, False], "timestamp": [AT, LATE]}[kind]
    nodes = {"User": pa.table({"user_id": ["zoe"]}), "Product": pa.table({"product_id": ["p1", "p2"]})}
    rows = edges(source=["zoe"] * 2, target=["p1", "p2"], at=[AT] * 2, rating=grades)
    with open_store("memory:") as store:
        tables = GraphTables(nodes, {("User", "RATED", "Product"): rows})
        ingest_tables(store, Schema.model_validate(raw), tables)
        found = interests(store, "zoe")
    assert (found.others, found.above) == ({"RATED": 2}, {})


def test_later_ratings_move_no_middle_and_purchases_have_none(store: GraphStore) -> None:
    raw = SCHEMA.model_dump(by_alias=True, exclude_none=True)
    raw["relationships"]["BOUGHT"]["properties"]["rating"] = {"type": "double"}
    own = Schema.model_validate(raw)
    rated = edges(
        source=["zoe", "zoe", "zoe", "u0", "u1"], target=["p00", "p01", "p02", "p02", "p03"],
        at=[AT, AT, LATE, AT, AT], rating=[1e-7, 3e-7, 1e20, 3e-7, 3e-7],
    )  # fmt: skip
    bought = edges(
        source=["zoe"] * 2, target=["p04", "p05"], first_at=[AT] * 2, last_at=[AT] * 2, rating=[1.0, 5.0]
    )
    ingest_tables(store, own, GraphTables({}, {("User", "RATED", "Product"): rated, BOUGHT: bought}))
    early, late = interests(store, "zoe", before=LATE), interests(store, "zoe")
    assert (early.others, early.above) == ({"RATED": 1}, {"RATED": pytest.approx(2e-7)})
    assert (late.others, late.above) == ({"RATED": 1}, {"RATED": 5e19})
    assert early.products == late.products == 2
    assert "bought 2 products" in early.sentence()
    assert "bought 2 products above" not in early.sentence()
    (told,) = explain_many(store, [("zoe", "p09")], before=LATE).values()
    assert any(one.because.startswith("rated thing 1") for one in told)


def test_searches_in_chinese_count_by_the_names_in_them(store: GraphStore) -> None:
    texts = [f"{look}电饭煲" for look in ("红色", "蓝色", "小", "大", "新款", "家用")]
    at = [AT] * len(texts)
    rows = edges(source=["zoe"] * len(texts), target=texts, first_at=at, last_at=at)
    nodes = {"Query": pa.table({"query_id": texts, "text": texts})}
    ingest_tables(store, SCHEMA, GraphTables(nodes, {SEARCHED: rows}))
    found = interests(store, "zoe")
    assert (found.products, named(found)) == (0, [("SEARCHED", "All > 电饭煲", 6)])
    assert found.sentence().startswith("zoe搜索过6个不同的词，比别人更多的是电饭煲 (")


def test_the_command_says_by_which_event(tmp_path: Path) -> None:
    url = f"ladybug:{tmp_path / 'shop.db'}"
    with open_store(url) as opened_store:
        ingest_tables(opened_store, SCHEMA, shop())
    asked = ["profile", "ann", "--store", url, "--before", "2024-06-01"]
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [(i["event"], i["key"]) for i in told["categories"]] == [
        ("VIEWED", "Green tea"),
        ("SEARCHED", "Dress"),
    ]
    assert told["others"] == {"VIEWED": 6, "SEARCHED": 6}
    shown = CliRunner().invoke(app, asked).stdout
    assert "searched for" in shown
    assert "viewed" in shown
