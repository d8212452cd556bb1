"""A small shop whose users redeem what is of a brand they bought before; campaigns are for half of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from _tables import write_rows

from kgdistill.store import GraphStore, load_schema
from kgdistill.tasks.spec import MatchSpec, load_task, parse_task

START = datetime(2024, 1, 1)
USERS, BRANDS, EACH = 120, 5, 12
CAMPAIGNS, TEST = 15, 3
Rows = list[dict[str, Any]]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def campaign_start(campaign: int) -> datetime:
    return day(60 + 14 * campaign)


def campaign_end(campaign: int) -> datetime:
    return campaign_start(campaign) + timedelta(days=30)


@dataclass
class Campaigns:
    """What happened; tests change it before it is written.

    Attributes:
        bought, received, redeemed: rows of the relationships.
        liked: the brand of each user.
    """

    bought: Rows = field(default_factory=list)
    received: Rows = field(default_factory=list)
    redeemed: Rows = field(default_factory=list)
    liked: dict[str, int] = field(default_factory=dict)


def brand_of(campaign: int) -> int:
    return campaign % BRANDS


def advertised(brand: int) -> list[str]:
    """What campaigns of a brand are for; users mostly buy the other half."""
    return [f"p{brand}{i:02}" for i in range(EACH // 2)]


def make_campaigns(seed: int = 0) -> Campaigns:
    draw = np.random.default_rng(seed)
    made = Campaigns()
    for user in range(USERS):
        key, liked = f"u{user:03}", user % BRANDS
        made.liked[key] = liked
        own = [f"p{liked}{i:02}" for i in draw.choice(np.arange(EACH // 2, EACH), 4, replace=False)]
        other = [f"p{b}{draw.integers(EACH):02}" for b in draw.choice(BRANDS, 3)]
        for product in dict.fromkeys([*own, *other]):
            at = day(float(draw.uniform(0, 55)))
            made.bought.append({"source": key, "target": product, "first_at": at, "first_quantity": 1})
    for campaign in range(CAMPAIGNS):
        start = campaign_start(campaign)
        for user in draw.choice(USERS, 60, replace=False):
            key = f"u{user:03}"
            made.received.append({"source": key, "target": f"c{campaign:02}", "at": start})
            chance = 0.7 if made.liked[key] == brand_of(campaign) else 0.04
            if draw.random() < chance:
                at = start + timedelta(days=float(draw.uniform(1, 10)))
                made.redeemed.append({"source": key, "target": f"k{campaign:02}", "at": at})
    return made


def fill_campaigns(store: GraphStore, made: Campaigns) -> None:
    """Writes it into an empty store: products of brands, coupons for the advertised half, campaigns."""
    schema = load_schema()
    store.apply_schema(schema)
    keys = [f"p{b}{i:02}" for b in range(BRANDS) for i in range(EACH)]
    days = range(CAMPAIGNS)
    tables: dict[Any, Rows] = {
        "User": [{"user_id": f"u{u:03}"} for u in range(USERS)],
        "Product": [{"product_id": k, "title": f"thing number {i}"} for i, k in enumerate(keys)],
        "Brand": [{"brand_id": f"b{b}", "name": f"maker {b}"} for b in range(BRANDS)],
        "Campaign": [
            {"campaign_id": f"c{c:02}", "start_at": campaign_start(c), "end_at": campaign_end(c)}
            for c in days
        ],
        "Coupon": [{"coupon_id": f"k{c:02}", "start_at": campaign_start(c)} for c in days],
        ("Product", "MADE_BY", "Brand"): [{"source": k, "target": f"b{k[1]}"} for k in keys],
        ("Coupon", "PART_OF", "Campaign"): [{"source": f"k{c:02}", "target": f"c{c:02}"} for c in days],
        ("Coupon", "FOR", "Product"): [
            {"source": f"k{c:02}", "target": k} for c in days for k in advertised(brand_of(c))
        ],
        ("User", "BOUGHT", "Product"): made.bought,
        ("User", "RECEIVED", "Campaign"): made.received,
        ("User", "REDEEMED", "Coupon"): made.redeemed,
    }  # fmt: skip
    write_rows(store, schema, tables)


def target_spec(**more: Any) -> MatchSpec:
    """The project's own task with a smaller test."""
    raw = load_task("target").declared() | {
        "protocol": {"split": "anchors", "test": TEST, "validation": 3, "end": "end_at"}
    }
    spec = parse_task(raw | more, name="target")
    assert isinstance(spec, MatchSpec)
    return spec
