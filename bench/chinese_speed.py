"""How fast and how large a static tower of Chinese is, on one core: titles a second of a bundle's text tower.

    python bench/chinese_speed.py

The tower's tokens are those of a student of Chinese reviews (characters, runs of two and three); titles are
the first 20 characters of other reviews, each once, none of which the tower has split before. Seconds are of
the processor. Prints a table and writes bench/results/chinese-speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from bench.tasks_reviews_zh import draw, reviews
from kgdistill.models.text.vocabulary import student_tokenizer
from kgdistill.serve.tower import TextTower

RESULTS = Path(__file__).parent / "results" / "chinese-speed.json"
TITLES, CHARACTERS, REPEATS = 20_000, 20, 5


def measured(texts: list[str], titles: list[str], dim: int) -> dict[str, float]:
    """Size and speed of a tower of one width; what its vectors say does not matter here."""
    alone: Any = SimpleNamespace(name="vectors", tokenizer=None)
    tokenizer = student_tokenizer(alone, texts, dim)
    drawn = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), dim), np.float32)
    rates = []
    for _ in range(REPEATS):
        tower = TextTower.of(tokenizer, drawn, None, None)
        tower.encode(["红"])  # loads the tokenizer
        began = time.process_time()
        tower.encode(titles)
        rates.append(len(titles) / (time.process_time() - began))
    table = sum(len(data) for name, data in tower.files().items() if name.endswith(".safetensors"))
    return {
        "dim": dim, "titles_per_second": statistics.median(rates), "slowest": min(rates),
        "table_mib": table / 2**20, "tokens_per_title": statistics.mean(map(len, tower.token_ids(titles))),
    }  # fmt: skip


def main() -> None:
    """Measures both widths."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with TemporaryDirectory() as scratch:
        draw(Path(scratch))
        drawn = pd.read_csv(Path(scratch) / "reviews.csv")
    others = reviews()["review"]
    others = others[~others.isin(drawn["review"])].str[:CHARACTERS].drop_duplicates()
    titles = others.head(TITLES).tolist()
    found = [measured(drawn["review"].tolist(), titles, dim) for dim in (64, 128)]
    table = Table(title=f"{len(titles):,} titles of up to {CHARACTERS} characters, one core")
    for column in ("width", "table, MiB", "tokens a title", "titles a second", "slowest of 5"):
        table.add_column(column, justify="right")
    for row in found:
        table.add_row(
            f"{row['dim']}", f"{row['table_mib']:.2f}", f"{row['tokens_per_title']:.1f}",
            f"{row['titles_per_second']:,.0f}", f"{row['slowest']:,.0f}",
        )  # fmt: skip
    Console(width=120).print(table)
    RESULTS.write_text(
        json.dumps({"titles": len(titles), "towers": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
