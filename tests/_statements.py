"""Streams of statements with planted surges, as lines."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np

START = datetime(2024, 1, 1)
TOPICS = {"tea": 0.1, "cups": 0.2}
Row = dict[str, Any]


def planted(
    days: int = 8, size: float = 6, seed: int = 0, surge: tuple[int, int] | None = (120, 144)
) -> list[Row]:
    """Statements in the order of time; of the topic tea two thirds are negative in the hours of the surge."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for hour in range(24 * days):
        for topic, share in TOPICS.items():
            if surge is not None and topic == "tea" and surge[0] <= hour < surge[1]:
                share = 0.67
            for _ in range(draw.poisson(size)):
                at = START + timedelta(hours=hour, seconds=int(draw.integers(3600)))
                mood = "negative" if draw.random() < share else "positive"
                rows.append({"at": at.isoformat(), "topic": topic, "sentiment": mood})
    rows.sort(key=lambda row: str(row["at"]))
    return [{"id": f"s{i}", **row} for i, row in enumerate(rows)]


def lines(rows: list[Row]) -> str:
    """As JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
