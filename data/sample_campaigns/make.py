"""Makes the files beside it: a small shop's campaigns, one file per type of the graph; nothing in it is real.

    python data/sample_campaigns/make.py [FOLDER]

Each customer likes one maker, buys mostly of it, and redeems most coupons for it that arrive, few others. Who
likes Acorn or Birch mostly has children; two thirds of the customers told.
"""

from __future__ import annotations

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

START = datetime(2024, 1, 1)
MAKERS = ("Acorn", "Birch", "Cedar", "Dogwood", "Elm")
THINGS = (
    "oat biscuits", "porridge", "honey", "jam", "green tea", "black tea", "olive oil", "pasta",
    "tomato sauce", "rye bread", "butter", "apple juice",
)  # fmt: skip
USERS, CAMPAIGNS = 160, 18
Rows = list[dict[str, Any]]


def day(number: float) -> str:
    """A moment so many days after the start."""
    return f"{START + timedelta(days=number):%Y-%m-%d %H:%M:%S}"


def product(maker: int, thing: int) -> str:
    """Its key."""
    return f"{MAKERS[maker][0].lower()}{thing + 1:02}"


def tables() -> dict[str, Rows]:
    """The rows of each file; the same at every call."""
    draw = np.random.default_rng(7)
    bought: Rows = []
    received: Rows = []
    redeemed: Rows = []
    starts = [70 + 14 * c for c in range(CAMPAIGNS)]
    advertised = [sorted(draw.choice(len(THINGS), 5, replace=False).tolist()) for _ in starts]
    for user in range(USERS):
        liked = user % len(MAKERS)
        own = [product(liked, t) for t in draw.choice(len(THINGS), 5, replace=False)]
        other = [product(int(m), int(t)) for m, t in zip(draw.choice(5, 4), draw.choice(12, 4), strict=True)]
        for key in dict.fromkeys([*own, *other]):
            first = float(draw.uniform(0, 300))
            bought += [
                {"source": f"u{user:03}", "target": key, "at": day(first + 9 * n), "quantity": 1}
                for n in range(int(draw.integers(1, 4)))
            ]
    for campaign, start in enumerate(starts):
        for user in sorted(draw.choice(USERS, 70, replace=False).tolist()):
            received.append({"source": f"u{user:03}", "target": f"c{campaign:02}", "at": day(start)})
            if draw.random() < (0.6 if user % len(MAKERS) == campaign % len(MAKERS) else 0.04):
                at = day(start + float(draw.uniform(0.5, 20)))
                redeemed.append({"source": f"u{user:03}", "target": f"k{campaign:02}", "at": at})
    makers, every = range(len(MAKERS)), range(CAMPAIGNS)
    tell = np.random.default_rng(8)
    kids = ["some" if (user % len(MAKERS) < 2) == (tell.random() < 0.9) else "none" for user in range(USERS)]
    return {
        "User": [
            {"user_id": f"u{user:03}", "kids_count": kids[user] if tell.random() < 0.65 else ""}
            for user in range(USERS)
        ],
        "Brand": [{"brand_id": name.lower(), "name": name} for name in MAKERS],
        "Product": [
            {"product_id": product(m, t), "title": f"{MAKERS[m]} {thing}", "brand_text": MAKERS[m]}
            for m in makers
            for t, thing in enumerate(THINGS)
        ],
        "MADE_BY": [
            {"source": product(m, t), "target": MAKERS[m].lower()} for m in makers for t in range(len(THINGS))
        ],
        "Campaign": [
            {
                "campaign_id": f"c{c:02}", "title": f"Save on {MAKERS[c % 5]}", "start_at": day(starts[c]),
                "end_at": day(starts[c] + 28),
            }
            for c in every
        ],
        "Coupon": [{"coupon_id": f"k{c:02}", "start_at": day(starts[c])} for c in every],
        "Coupon-PART_OF-Campaign": [{"source": f"k{c:02}", "target": f"c{c:02}"} for c in every],
        "Coupon-FOR-Product": [
            {"source": f"k{c:02}", "target": product(c % 5, t)} for c in every for t in advertised[c]
        ],
        "BOUGHT": bought,
        "RECEIVED": received,
        "REDEEMED": redeemed,
    }  # fmt: skip


def main(folder: Path) -> None:
    """Writes every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables().items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
