from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from kgdistill.datasets import adapt_journey
from kgdistill.datasets.complete_journey import complete_journey_tables
from kgdistill.errors import InputError
from kgdistill.ingest.tables import GraphTables
from kgdistill.store.schema import load_schema

FIRST, SECOND = pd.Timestamp("2017-01-05"), pd.Timestamp("2017-02-05")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four products (one in a department only, one unlisted), three households, two campaigns."""
    frames = {
        "products": {
            "product_id": [20, 10, 30],
            "manufacturer_id": [69, 2, 2],
            "department": ["GROCERY", "GROCERY", "PASTRY"],
            "brand": ["Private", "National", "National"],
            "product_category": ["BREAD", "BREAD", None],
            "product_type": ["RYE", None, "CAKES: FANCY"],
            "package_size": ["1 LB", None, None],
        },
        "transactions": {
            "household_id": [1, 1, 1, 2, 2, 3],
            "store_id": [1] * 6,
            "product_id": [10, 10, 10, 20, 20, 99],
            "quantity": [0, 2, 1, 0, 0, 1],
            "sales_value": [0.5, 3.0, 1.25, 0.0, 0.25, 9.0],
            "transaction_timestamp": pd.to_datetime(
                ["2017-01-01", "2017-01-03", "2017-01-02", "2017-01-09", "2017-01-08", "2017-01-04"]
            ),
        },
        "demographics": {
            "household_id": [2],
            "age": ["65+"],
            "income": ["Under 15K"],
            "home_ownership": [None],
            "marital_status": ["Married"],
            "household_size": ["2"],
            "household_comp": ["2 Adults No Kids"],
            "kids_count": ["0"],
        },
        "campaigns": {"campaign_id": [7, 8], "household_id": [1, 2]},
        "campaign_descriptions": {
            "campaign_id": [7, 8],
            "campaign_type": ["Type A", "Type B"],
            "start_date": [SECOND, FIRST],
            "end_date": [SECOND, SECOND],
        },
        "coupons": {
            "coupon_upc": [500, 500, 500],
            "product_id": [10, 10, 88],
            "campaign_id": [7, 8, 8],
        },
        "coupon_redemptions": {
            "household_id": [1, 1],
            "coupon_upc": [500, 500],
            "campaign_id": [7, 8],
            "redemption_date": [SECOND, SECOND],
        },
    }
    for name, columns in frames.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def pairs(tables: GraphTables, *edge: str) -> set[tuple[str, str]]:
    table = tables.edges[(edge[0], edge[1], edge[2])]
    return set(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def test_the_first_purchase_is_the_first_line_with_a_quantity(folder: Path) -> None:
    table = complete_journey_tables(folder=folder).edges[("User", "BOUGHT", "Product")]
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("1", "10", datetime(2017, 1, 2), 1, datetime(2017, 1, 3), 3, 4.75),
        ("2", "20", datetime(2017, 1, 8), 0, datetime(2017, 1, 9), 2, 0.25),
        ("3", "99", datetime(2017, 1, 4), 1, datetime(2017, 1, 4), 1, 9.0),
    ]


def test_products_carry_what_is_known_in_words_and_hang_on_the_deepest_category(folder: Path) -> None:
    tables = complete_journey_tables(folder=folder)
    products = {row["product_id"]: row for row in tables.nodes["Product"].to_pylist()}
    assert set(products) == {"10", "20", "30", "88", "99"}
    assert list(products["20"].values()) == [
        "20",
        "RYE",
        "Private manufacturer 69",
        "GROCERY > BREAD > RYE",
        "1 LB",
    ]
    assert list(products["10"].values()) == [
        "10",
        "BREAD",
        "National manufacturer 2",
        "GROCERY > BREAD",
        None,
    ]
    # A type without a category would look like a category in the path.
    assert products["30"]["category_text"] == "PASTRY"
    assert products["30"]["title"] == "CAKES: FANCY"
    assert products["99"]["title"] is None
    assert pairs(tables, "Product", "IN_CATEGORY", "Category") == {
        ("10", "GROCERY > BREAD"),
        ("20", "GROCERY > BREAD > RYE"),
    }
    assert pairs(tables, "Product", "PART_OF", "Department") == {("30", "PASTRY")}
    assert pairs(tables, "Category", "PART_OF", "Category") == {("GROCERY > BREAD > RYE", "GROCERY > BREAD")}
    assert pairs(tables, "Category", "PART_OF", "Department") == {("GROCERY > BREAD", "GROCERY")}
    assert pairs(tables, "Product", "MADE_BY", "Brand") == {("10", "2"), ("20", "69"), ("30", "2")}


def test_a_coupon_starts_with_its_earliest_campaign_and_is_redeemed_once_a_moment(folder: Path) -> None:
    tables = complete_journey_tables(folder=folder)
    assert tables.nodes["Coupon"].to_pylist() == [{"coupon_id": "500", "start_at": FIRST.to_pydatetime()}]
    assert pairs(tables, "Coupon", "PART_OF", "Campaign") == {("500", "7"), ("500", "8")}
    assert tables.edges[("Coupon", "FOR", "Product")].num_rows == 2
    assert tables.edges[("User", "REDEEMED", "Coupon")].to_pylist() == [
        {"source": "1", "target": "500", "at": SECOND.to_pydatetime()}
    ]
    received = tables.edges[("User", "RECEIVED", "Campaign")].to_pylist()
    assert [(r["source"], r["at"]) for r in received] == [
        ("1", SECOND.to_pydatetime()),
        ("2", FIRST.to_pydatetime()),
    ]


def test_the_tables_fit_the_schema_and_a_sample_keeps_the_catalogue(folder: Path) -> None:
    whole = complete_journey_tables(folder=folder)
    schema = load_schema()
    for edge, table in whole.edges.items():
        assert {(f.name, f.type) for f in table.schema} <= {
            (f.name, f.type) for f in schema.edge_arrow_schema(edge)
        }
    assert whole.rejects.num_rows == 0
    sample = complete_journey_tables(folder=folder, households=1, seed=3)
    assert sample.nodes["User"].num_rows == 1
    assert sample.nodes["Product"].equals(whole.nodes["Product"])
    chosen = sample.nodes["User"]["user_id"][0].as_py()
    assert pairs(sample, "User", "BOUGHT", "Product") == {
        (user, product) for user, product in pairs(whole, "User", "BOUGHT", "Product") if user == chosen
    }
    again = complete_journey_tables(folder=folder, households=1, seed=3)
    assert again.nodes["User"].equals(sample.nodes["User"])
    with pytest.raises(InputError, match="from 1 to 3"):
        complete_journey_tables(folder=folder, households=4)


def test_a_missing_package_and_a_missing_column_say_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coupons = pd.read_parquet(folder / "coupons.parquet").rename(columns={"coupon_upc": "upc"})
    coupons.to_parquet(folder / "coupons.parquet")
    with pytest.raises(InputError, match=r"coupons\.parquet: has no column 'coupon_upc'"):
        complete_journey_tables(folder=folder)
    monkeypatch.setattr(adapt_journey, "_PACKAGE", "completejourney_that_is_not_there")
    with pytest.raises(InputError, match=r"pip install .kgdistill\[demo\]"):
        complete_journey_tables()
