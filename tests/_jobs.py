"""A small shop's files in two states, and what ingestion jobs make of them: helpers for tests of jobs."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.ingest.job import JobOptions, JobReport, run_job
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.model import type_name
from kgdistill.store import GraphStore, load_schema, open_store

SCHEMA = load_schema().restricted(
    ("User", "Product", "Brand", "Category"), ("BOUGHT", "MADE_BY", "RATED", "VIEWED", "IN_CATEGORY")
)
BOUGHT = ("User", "BOUGHT", "Product")
RATED = ("User", "RATED", "Product")
VIEWED = ("User", "VIEWED", "Product")
MADE_BY = ("Product", "MADE_BY", "Brand")
START = datetime(2024, 1, 1)

SHOP = """
version: 1
name: shop
sources:
  products:
    files: products/*.csv
    updated_at: updated
    nodes:
      - {label: Product, key: id, properties: {title: title, price: price}}
      - {label: Brand, key: brand, properties: {name: brand}}
    relationships:
      - {type: MADE_BY, from: {Product: id}, to: {Brand: brand}}
  orders:
    files: orders/*.csv
    nodes:
      - {label: User, key: user}
    relationships:
      - type: BOUGHT
        from: {User: user}
        to: {Product: product}
        properties: {at: at, quantity: quantity, amount: amount}
        event_id: event
  sales:
    files: sales/*.csv
    optional: true
    nodes:
      - {label: User, key: user}
    relationships:
      - type: BOUGHT
        from: {User: user}
        to: {Product: product}
        properties: {at: at, quantity: quantity, amount: amount}
  clicks:
    files: clicks/*.csv
    optional: true
    relationships:
      - type: VIEWED
        from: {User: user}
        to: {Product: product}
        properties: {at: at}
        overlap: true
        missing: stub
  ratings:
    files: ratings/*.csv
    optional: true
    updated_at: at
    relationships:
      - type: RATED
        from: {User: user}
        to: {Product: product}
        properties: {at: at, rating: stars}
  removed:
    files: removed/*.csv
    optional: true
    delete: true
    nodes:
      - {label: Product, key: id}
  unbought:
    files: unbought/*.csv
    optional: true
    delete: true
    relationships:
      - {type: BOUGHT, from: {User: user}, to: {Product: product}, event_id: event}
  unsold:
    files: unsold/*.csv
    optional: true
    delete: true
    relationships:
      - {type: BOUGHT, from: {User: user}, to: {Product: product}}
  unmade:
    files: unmade/*.csv
    optional: true
    delete: true
    relationships:
      - {type: MADE_BY, from: {Product: id}, to: {Brand: brand}}
"""

PRODUCTS = ["id", "title", "price", "brand", "updated"]
ORDERS = ["event", "user", "product", "at", "quantity", "amount"]
CLICKS = ["user", "product", "at"]


def shop() -> Mapping:
    return parse_mapping(SHOP)


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """A CSV file; written beside and renamed, as exports should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(rows)
    os.replace(part, path)
    return path


def day(n: float) -> str:
    return (START + timedelta(days=n)).isoformat(sep=" ")


def write_state(root: Path, state: int, scale: int = 1) -> None:
    """The shop's files: in state 1, or in state 2 with changed files, late events and what removes.

    About 8,000 rows (state 1) and 6,000 changed or new ones (state 2) at scale 1.
    """
    draw = random.Random(7)
    products, users = 1000 * scale, 400 * scale
    kept = [p for p in range(products) if state == 1 or p % 25]
    write_rows(
        root / "products" / "all.csv",
        PRODUCTS,
        ([f"p{p}", f"thing {p} {state}", p % 90 + 0.5, f"b{p % 40}", day(state)] for p in kept),
    )

    def orders(name: str, first: int, count: int, since: int) -> None:
        rows = []
        for event in range(first, first + count * scale):
            user, product = draw.randrange(users), draw.randrange(products)
            at = since + draw.randrange(30) + draw.random()
            rows.append([f"e{event}", f"u{user}", f"p{product}", day(at), event % 4, event % 7 + 0.25])
        write_rows(root / "orders" / name, ORDERS, rows)

    orders("jan.csv", 0, 3000 if state == 1 else 2500, 0)
    orders("feb.csv", 10_000 * scale, 3000, 31)
    views = [[f"u{draw.randrange(users)}", f"p{draw.randrange(products)}", day(n / 9)] for n in range(1000)]
    write_rows(root / "clicks" / "one.csv", CLICKS, views)
    if state == 2:
        # March comes with late events of January; the second export of clicks overlaps the first.
        orders("mar.csv", 20_000 * scale, 2000, 10)
        write_rows(root / "clicks" / "two.csv", CLICKS, [*views[500:], ["new", "p1", day(3)]])
        write_rows(root / "removed" / "one.csv", ["id"], ([f"p{p}"] for p in range(5, products, 50)))
        gone = ([f"e{10_000 * scale + e}", "u1", "p1"] for e in range(0, 1000, 5))
        write_rows(root / "unbought" / "one.csv", ["event", "user", "product"], gone)


def ingest(store: GraphStore, root: Path, archive: Path, **options: Any) -> JobReport:
    """A job in one thread that may remove anything; `options` are of `run_job` and of `JobOptions`."""
    options = {"threads": 1, "max_removed_share": 1.0, **options}
    given = {name: options.pop(name) for name in ("schema", "tables", "salt") if name in options}
    mapping = options.pop("mapping", None) or shop()
    how = JobOptions(**options)
    return run_job(store, mapping, root, how, archive=archive, **{"schema": SCHEMA, **given})


def write_states(work: Path, scale: int = 1) -> None:
    """Both states of the files; `files` is the first, until `both_states` turns it."""
    for state in (1, 2):
        write_state(work / f"state{state}", state, scale)
    (work / "files").symlink_to("state1")


def both_states(store: GraphStore, work: Path) -> None:
    """The job of state 1, and after the files changed that of state 2; goes on where another stopped."""
    now = work / "files"
    ingest(store, now, work / "archive")
    if now.readlink() == Path("state1"):
        turned = work / "turned"
        turned.unlink(missing_ok=True)
        turned.symlink_to("state2")
        os.replace(turned, now)
        # Somebody who waited may have come in between.
        ingest(store, now, work / "archive", wait_s=120.0)


def run_both_states(url: str, password: str, work: str, started: Any) -> None:
    """For a process of its own, which says when it has begun."""
    store = open_store(url, password=password)
    started.set()
    with store:
        both_states(store, Path(work))


def graph(store: GraphStore, schema: Any = SCHEMA) -> dict[str, pa.Table]:
    """Everything that a store holds, by type, in the order of the keys."""
    held = {label: store.read_nodes(label) for label in schema.nodes}
    held |= {type_name(edge): store.read_relationships(edge) for edge in schema.edges()}
    return {
        name: table.sort_by(
            [(column, "ascending") for column in table.column_names[: 1 if "-" not in name else 2]]
        )
        for name, table in held.items()
    }


def rows(store: GraphStore, key: Any) -> list[dict[str, Any]]:
    """A type's rows in the order of their keys, without what is null."""
    table = store.read_nodes(key) if isinstance(key, str) else store.read_relationships(key)
    table = table.sort_by(
        [(name, "ascending") for name in table.column_names[: 1 if isinstance(key, str) else 2]]
    )
    return [{n: v for n, v in row.items() if v is not None} for row in table.to_pylist()]
