"""A small shop with something to learn: three blocks of users with their own brands, and cold products."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _tables import write_rows

from kgdistill.models.text.tokens import Tokens
from kgdistill.snapshot import Snapshot, take_events, take_snapshot
from kgdistill.store import GraphStore, Schema, load_schema
from kgdistill.tasks.item_groups import ItemGroups, fact_groups, text_groups
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.training_data import TrainingData, make_training_data

BOUGHT = ("User", "BOUGHT", "Product")
START = datetime(2024, 1, 1)
CUT = START + timedelta(days=260)
USERS, PRODUCTS, COLD = 60, 80, 10
PROTOCOL = DiscoveryProtocol(
    name="shop",
    title="Shop",
    cut=CUT,
    test_start=START + timedelta(days=310),
    min_item_users=3,
    k=10,
    settings=("warm", "cold", "strictly_cold"),
)


def purchases(seed: int = 0) -> list[dict[str, Any]]:
    """First purchases over a year; the last `COLD` products are sold from shortly before the cut on."""
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        liked = [p for p in range(PRODUCTS - COLD) if p % 6 // 2 == user % 3]
        other = [p for p in range(PRODUCTS - COLD) if p % 6 // 2 != user % 3]
        new = [p for p in range(PRODUCTS - COLD, PRODUCTS) if p % 6 // 2 == user % 3]
        mine = [*draw.choice(liked, 14, replace=False), *draw.choice(other, 2, replace=False)]
        days = [*draw.uniform(0, 364, len(mine)), draw.uniform(245, 364)]
        for product, day in zip([*mine, draw.choice(new)], days, strict=True):
            rows.append(
                {
                    "source": f"u{user:02}",
                    "target": f"p{product:02}",
                    "first_at": START + timedelta(days=float(day)),
                    "first_quantity": 1,
                    "last_at": START + timedelta(days=365),
                    "count": 1,
                }
            )
    return rows


def fill_shop(store: GraphStore, schema: Schema | None = None) -> None:
    """Writes the shop into an empty store."""
    schema = schema or load_schema()
    store.apply_schema(schema)
    leaf = {p: 2 + p % 6 // 2 * 2 + p // 6 % 2 for p in range(PRODUCTS)}
    path = {c: f"root{c % 2}" if c < 2 else f"root{c % 2} > leaf{c}" for c in range(8)}
    tables: dict[Any, list[dict[str, Any]]] = {
        "User": [{"user_id": f"u{u:02}"} for u in range(USERS)],
        "Product": [
            {
                "product_id": f"p{p:02}",
                "title": f"thing number{p} maker{p % 6}",
                "brand_text": f"maker{p % 6}",
                "category_text": path[leaf[p]],
            }
            for p in range(PRODUCTS)
        ],
        "Brand": [{"brand_id": f"b{b}", "name": f"maker{b}"} for b in range(6)],
        "Category": [{"category_id": f"c{c}", "name": f"leaf{c}", "path": path[c]} for c in range(8)],
        ("Product", "MADE_BY", "Brand"): [
            {"source": f"p{p:02}", "target": f"b{p % 6}"} for p in range(PRODUCTS)
        ],
        ("Product", "IN_CATEGORY", "Category"): [
            {"source": f"p{p:02}", "target": f"c{leaf[p]}"} for p in range(PRODUCTS)
        ],
        ("Category", "PART_OF", "Category"): [
            {"source": f"c{c}", "target": f"c{c % 2}"} for c in range(2, 8)
        ],
        BOUGHT: purchases(),
    }
    write_rows(store, schema, tables)


@dataclass(frozen=True)
class Shop:
    """The shop at its cut. `later` are the events from the cut on."""

    snapshot: Snapshot
    later: pa.Table
    text: np.ndarray[Any, Any]
    tokens: Tokens

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        return np.arange(PRODUCTS)

    def task(self) -> MatchTask:
        """A task whose test split is closed."""
        return build_task(self.snapshot, self.later, PROTOCOL)

    def catalogue(self) -> TrainingData:
        return make_training_data(self.snapshot, self.task(), self.text, self.rows)

    def facts(self) -> list[ItemGroups]:
        return fact_groups(self.snapshot, "Product")

    def fields(self) -> list[ItemGroups]:
        return text_groups(self.snapshot, "Product")


def make_shop(store: GraphStore, folder: Path) -> Shop:
    """Cuts the shop of a filled store; text embeddings say the brand and the category, with noise."""
    snapshot = take_snapshot(store, folder, cut=CUT)
    later = take_events(store, BOUGHT, start=CUT, end=None, include_future=True)
    draw = np.random.default_rng(1)
    brand, category = np.arange(PRODUCTS) % 6, np.arange(PRODUCTS) // 6 % 2
    text = np.concatenate([np.eye(6)[brand], np.eye(2)[category]], axis=1)
    text = (text + 0.1 * draw.normal(size=text.shape)).astype(np.float32)
    tokens = Tokens.of([[b, 6 + c, 8 + p] for p, (b, c) in enumerate(zip(brand, category, strict=True))], 90)
    return Shop(snapshot, later, text, tokens)
