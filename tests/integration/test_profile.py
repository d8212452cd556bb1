"""What a user buys more of than others, on both stores, and what a bundle makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kgdistill.cli.app import app
from kgdistill.errors import InputError
from kgdistill.explore.interests import Interests, interests
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, load_schema, open_store
from tests.integration._stores import BOUGHT, STORES, edges, opened

SCHEMA = load_schema()
SATURDAY = datetime(2024, 1, 6, 9)


def shop() -> GraphTables:
    """Twelve products of two brands and categories; ann keeps to cheap ones of one of each, on Saturdays."""
    products = [f"p{n:02}" for n in range(12)]
    users = ["ann", "zoe", *(f"u{n}" for n in range(8))]
    nodes = {
        "User": pa.table({"user_id": users}),
        "Product": pa.table(
            {
                "product_id": products,
                "title": [f"thing {n}" for n in range(12)],
                "price": [float(n // 2) for n in range(12)],
            }
        ),
        "Brand": pa.table({"brand_id": ["b0", "b1"], "name": ["Mill", "Dairy"]}),
        "Category": pa.table(
            {
                "category_id": ["c0", "c1"],
                "name": ["EVEN", "ODD"],
                "path": ["F > EVEN", "F > ODD"],
                "level": [1, 1],
            }
        ),
    }
    bought = [("ann", f"p{n:02}", SATURDAY + timedelta(days=7 * n)) for n in (0, 2, 4)]
    bought += [
        (f"u{n}", product, SATURDAY + timedelta(days=2 + 7 * n, hours=10))
        for n in range(8)
        for product in products
    ]
    return GraphTables(
        nodes,
        {
            ("Product", "MADE_BY", "Brand"): edges(
                source=products, target=["b0" if n < 6 else "b1" for n in range(12)]
            ),
            ("Product", "IN_CATEGORY", "Category"): edges(
                source=products, target=[f"c{n % 2}" for n in range(12)]
            ),
            BOUGHT: edges(
                source=[b[0] for b in bought],
                target=[b[1] for b in bought],
                first_at=[b[2] for b in bought],
                last_at=[b[2] for b in bought],
            ),
        },
    )


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for opened_store in opened(request.param, request, tmp_path):
        ingest_tables(opened_store, SCHEMA, shop())
        yield opened_store


def named(found: Interests) -> dict[str, list[tuple[str, int]]]:
    return {
        kind: [(i.name, i.products) for i in getattr(found, kind)]
        for kind in ("categories", "brands", "times")
    }


def test_what_stands_out_is_told_with_both_shares(store: GraphStore) -> None:
    found = interests(store, "ann")
    # Three of three in one category, of which everybody has 51 of 99: one in four would by chance.
    assert named(found) == {
        "categories": [],
        "brands": [],
        "times": [("weekend", 3), ("morning", 3)],
    }
    weekend = found.times[0]
    assert (weekend.share, weekend.usual) == (1.0, pytest.approx(3 / 99))
    assert weekend.lift == pytest.approx(33)
    assert (found.products, found.first_at) == (3, SATURDAY)
    # Prices 0, 1, 2 among 0..5 of the even ones.
    assert found.price_share == pytest.approx((0.5 + 1.5 + 2.5) / 3 / 6)
    assert found.price_level == "low"
    assert found.sentence() == ("ann bought 3 products, the cheaper ones of their kind, mostly at weekends.")


def test_more_purchases_make_an_interest_of_the_same_share(store: GraphStore) -> None:
    more = [("ann", f"p{n:02}", SATURDAY) for n in (6, 8, 10)]
    rows = edges(
        source=[b[0] for b in more], target=[b[1] for b in more],
        first_at=[b[2] for b in more], last_at=[b[2] for b in more],
    )  # fmt: skip
    ingest_tables(store, SCHEMA, GraphTables({}, {BOUGHT: rows}))
    found = interests(store, "ann")
    assert named(found)["categories"] == [("F > EVEN", 6)]
    assert found.price_level == "middle"
    assert "more than others of EVEN (1.9×)" in found.sentence()
    assert found.sentence("zh").startswith("ann买过6种商品，比别人更常买EVEN")
    # Only what was bought before counts, of everybody.
    early = interests(store, "ann", before=SATURDAY + timedelta(days=1))
    assert (early.products, [i.usual for i in early.times]) == (4, [])


def test_hours_are_those_of_the_zone_and_a_date_alone_has_none(store: GraphStore) -> None:
    there = interests(store, "ann", zone="Asia/Shanghai")  # 17 o'clock there
    assert named(there)["times"] == [("weekend", 3), ("afternoon", 3)]
    there = interests(store, "ann", zone="Africa/Abidjan")
    assert named(there)["times"] == [("weekend", 3), ("morning", 3)]


def test_there_may_be_more_moments_than_a_query_gives_rows(
    store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every moment is another, in the same few quarters of an hour; some on midnight by the second."""
    users = [f"v{n:03}" for n in range(200)]
    at = [datetime(2024, 3, 4) + timedelta(seconds=n % 100 + 3 * (n >= 100)) for n in range(200)]
    rows = edges(source=users, target=["p00"] * 200, first_at=at, last_at=at)
    ingest_tables(store, SCHEMA, GraphTables({"User": pa.table({"user_id": users})}, {BOUGHT: rows}))
    whole = interests(store, "ann")
    # Of 299 purchases all have an hour but the one at midnight itself.
    assert named(whole)["times"] == [("weekend", 3), ("morning", 3)]
    morning = next(i for i in whole.times if i.name == "morning")
    assert morning.usual == pytest.approx(3 / 298)
    monkeypatch.setattr("kgdistill.explore.interests._ROWS", 60)
    assert interests(store, "ann") == whole


def test_values_that_products_share_are_interests_and_what_each_has_alone_is_none(store: GraphStore) -> None:
    """Of twelve products half are red, whichever of three stuffs is listed beside it."""
    colours = ["red" if n % 2 == 0 else "blue" for n in range(12)]
    told = {
        "product_id": [f"p{n:02}" for n in range(12)],
        "attributes": [f"{colour}, {('wool', 'silk', 'jute')[n % 3]}" for n, colour in enumerate(colours)],
        "description": [f"words of its own {n}" if n % 2 else "words of six" for n in range(12)],
        "brand_text": ["Mill" if n % 2 == 0 else "Dairy" for n in range(12)],
    }
    others = [f"v{n:02}" for n in range(48)]
    more = [("ann", f"p{n:02}", SATURDAY) for n in (6, 8, 10)] + [(v, "p01", SATURDAY) for v in others]
    rows = edges(
        source=[b[0] for b in more], target=[b[1] for b in more],
        first_at=[b[2] for b in more], last_at=[b[2] for b in more],
    )  # fmt: skip
    nodes = {"Product": pa.table(told), "User": pa.table({"user_id": others})}
    ingest_tables(store, SCHEMA, GraphTables(nodes, {BOUGHT: rows}))
    found = interests(store, "ann")
    # Six of six, where everybody has 36 in a hundred: of five values less than one in twenty by chance.
    (red,) = found.properties
    assert (red.property, red.key, red.name, red.products) == ("attributes", "red", "red", 6)
    assert (red.share, red.usual) == (1.0, pytest.approx((48 + 6) / 150))
    assert "more than others with red (2.8×)" in found.sentence()
    assert "比别人更多的是red" in found.sentence("zh")
    early = interests(store, "ann", before=SATURDAY)
    assert early.properties == ()
    one_value = dict(told, attributes=[f"{colour} ware" for colour in colours])
    ingest_tables(store, SCHEMA, GraphTables({"Product": pa.table(one_value)}, {}))
    assert [i.name for i in interests(store, "ann").properties] == ["attributes red ware"]


def test_dates_without_an_hour_say_nothing_of_the_hour(store: GraphStore) -> None:
    day = [datetime(2024, 3, 5), datetime(2024, 3, 6)]
    rows = edges(source=["zoe", "zoe"], target=["p00", "p01"], first_at=day, last_at=day)
    ingest_tables(store, SCHEMA, GraphTables({}, {BOUGHT: rows}))
    found = interests(store, "zoe")
    assert (found.products, named(found)["times"]) == (2, [])
    assert found.sentence().startswith("zoe bought 2 products")


def test_who_bought_nothing_is_said_and_who_is_not_there_refused(store: GraphStore) -> None:
    found = interests(store, "zoe")
    assert (found.products, found.price_level, named(found)["times"]) == (0, None, [])
    assert found.sentence() == "zoe has no purchase: nothing is known"
    assert found.sentence("zh").startswith("zoe没有购买记录")
    early = interests(store, "ann", before=datetime(2020, 1, 1))
    assert early.sentence() == "ann bought nothing before 2020-01-01: nothing is known"
    assert early.sentence("zh").startswith("ann在2020-01-01之前没有买过")
    with pytest.raises(InputError, match="no User with the id 'annn'"):
        interests(store, "annn")


def test_the_command_tells_it(tmp_path: Path) -> None:
    url = f"ladybug:{tmp_path / 'shop.db'}"
    with open_store(url) as opened_store:
        ingest_tables(opened_store, SCHEMA, shop())
    result = CliRunner().invoke(app, ["profile", "ann", "--store", url, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["price_level"] == "low"
    assert told["times"][0]["name"] == "weekend"
    assert told["properties"] == []
    shown = CliRunner().invoke(app, ["profile", "ann", "--store", url])
    assert "weekend" in shown.stdout
