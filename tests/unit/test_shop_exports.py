"""What is proposed for exports in the layouts of shop software gives the shop that was exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from _shop_exports import (
    LINES,
    LINES_OF,
    UNDONE,
    brand,
    ga4,
    path,
    segment,
    shopify,
    taobao,
    title,
    woocommerce,
)

from kgdistill.ingest.job import run_job
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store import MemoryStore
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")


def exported(folder: Path, write: Callable[[Path], None]) -> tuple[str, Preview]:
    """The proposal for a folder of exports, and what comes of it as it stands."""
    write(folder)
    text = propose(sorted(folder.iterdir()), SCHEMA)
    return text, preview(parse_mapping(text), SCHEMA, folder, 10_000, salt=b"s")


def of_lines(shown: Preview) -> tuple[int, float]:
    """How many lines were bought, and for how much."""
    rows = shown.examples[BOUGHT].to_pylist()
    return sum(row["count"] for row in rows), sum(row["spend"] for row in rows)


@pytest.mark.parametrize("write", [shopify, woocommerce])
def test_every_line_counts_once_for_what_was_paid_of_whom(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    text, shown = exported(tmp_path, write)
    assert of_lines(shown) == (len(LINES), pytest.approx(sum(line.price * line.quantity for line in LINES)))
    assert not shown.rejects.num_rows
    products = {row["title"]: row for row in shown.examples["Product"].to_pylist()}
    assert set(products) == {title(n) for n in range(24)}
    assert {name: row["brand_text"] for name, row in products.items()} == {
        title(n): brand(n) for n in range(24)
    }
    assert not any("<" in row["description"] for row in products.values())
    paths = {row["path"] for row in shown.examples["Category"].to_pylist()}
    assert paths == {path(n) for n in range(24)}
    assert len(set(shown.examples["User"]["user_id"].to_pylist())) == 13
    # The status is offered, with the value that undoes an order.
    where = next(line for line in text.splitlines() if "to leave some out: where:" in line)
    assert "efunded" in where
    assert "pending" not in where


@pytest.mark.parametrize("write", [shopify, woocommerce])
def test_the_where_that_is_offered_leaves_out_whole_orders(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    text, _ = exported(tmp_path, write)
    lines = text.splitlines()
    place = next(n for n, line in enumerate(lines) if "to leave some out: where:" in line)
    lines[place] = f"    where: {lines[place].partition('where: ')[2]}"
    shown = preview(parse_mapping("\n".join(lines)), SCHEMA, tmp_path, 10_000, salt=b"s")
    assert of_lines(shown)[0] == sum(line.order not in UNDONE for line in LINES)


def test_reviews_rate_the_products_that_are_sold_and_replies_are_none(tmp_path: Path) -> None:
    _, shown = exported(tmp_path, shopify)
    rated = shown.examples[("User", "RATED", "Product")].to_pylist()
    keys = set(shown.examples["Product"]["product_id"].to_pylist())
    people = set(shown.examples["User"]["user_id"].to_pylist())
    assert len(rated) == 40
    assert {row["target"] for row in rated} <= keys
    assert {row["source"] for row in rated} <= people
    assert "Question" not in shown.examples


@pytest.mark.parametrize("write", [ga4, segment])
def test_logs_of_events_hold_every_product_of_an_order(tmp_path: Path, write: Callable[[Path], None]) -> None:
    _, shown = exported(tmp_path, write)
    assert of_lines(shown) == (len(LINES), pytest.approx(sum(line.price * line.quantity for line in LINES)))
    assert not shown.rejects.num_rows
    views = shown.examples[("User", "VIEWED", "Product")].to_pylist()
    assert sum(row["count"] for row in views) == len(LINES_OF)
    products = {row["title"]: row["brand_text"] for row in shown.examples["Product"].to_pylist()}
    assert products == {title(n): brand(n) for n in range(24)}
    assert len(set(shown.examples["User"]["user_id"].to_pylist())) == 13


def test_lists_of_orders_and_of_their_lines_that_overlap_count_every_line_once(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    text, shown = exported(files, taobao)
    with MemoryStore() as store:
        run_job(store, parse_mapping(text), files, archive=tmp_path / "archive", schema=SCHEMA, salt=b"s")
        bought = store.read_relationships(BOUGHT, ["count", "spend"]).to_pylist()
    assert sum(row["count"] for row in bought) == len(LINES)
    assert sum(row["spend"] for row in bought) == pytest.approx(sum(x.price * x.quantity for x in LINES))
    products = {row["title"]: row["brand_text"] for row in shown.examples["Product"].to_pylist()}
    assert products == {title(n): brand(n) for n in range(24)}
    assert len(set(shown.examples["User"]["user_id"].to_pylist())) == 13
    assert {row["path"] for row in shown.examples["Category"].to_pylist()} == {path(n) for n in range(24)}
    where = next(line for line in text.splitlines() if "to leave some out: where:" in line)
    assert "交易关闭" in where
