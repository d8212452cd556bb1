"""Writes four weeks of a small shop's statements as JSON lines: `python make.py FILE`.

Three topics, 200 statements a day, fewer at night; on Monday, 2024-01-22, most of those on tea are negative.
"""

from __future__ import annotations

import json
import math
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

START = datetime(2024, 1, 1)
SHARES = {"tea": (0.12, 4.0), "delivery": (0.3, 3.0), "cups": (0.08, 1.5)}
SPOILT = range(21 * 24, 22 * 24)


def main(file: Path) -> None:
    """Writes the file."""
    draw, rows = random.Random(0), []
    for hour in range(28 * 24):
        awake = 1 + 0.8 * math.sin(2 * math.pi * (hour % 24 - 8) / 24)
        for topic, (share, size) in SHARES.items():
            bad = 0.5 if topic == "tea" and hour in SPOILT else share
            for _ in range(draw.randint(0, round(2 * size * awake))):
                at = START + timedelta(hours=hour, seconds=draw.randrange(3600))
                mood = "negative" if draw.random() < bad else draw.choice(["neutral", "positive"])
                rows.append({"at": at.isoformat(), "topic": topic, "sentiment": mood})
    rows.sort(key=lambda row: row["at"])
    lines = [json.dumps({"id": f"r{i}", **row}) + "\n" for i, row in enumerate(rows, start=1)]
    file.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
