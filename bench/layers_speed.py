"""How long layers take to read a text in a bundle, beside a table of tokens: NumPy on one core.

    python bench/layers_speed.py

Sentences of Financial PhraseBank, by layers cut from MiniLM as a student of classes has them, and by a table
of 128 numbers a token of the same vocabulary. What their vectors say does not matter here. One text at a
time, then all together; milliseconds of the processor. Prints a table and writes
bench/results/layers-speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from bench.watch_sentiment import phrasebank
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.transformer import TransformerText
from kgdistill.serve.pack_classes import packed_layers
from kgdistill.serve.tower import TextTower

RESULTS = Path(__file__).parent / "results" / "layers-speed.json"
TEXTS, LAYERS = 400, (1, 2, 3, 6)


def took(work: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def measured(name: str, tower: TextTower, texts: list[str]) -> dict[str, Any]:
    """Speed and size of a tower."""
    tower.encode(texts[:20])
    alone = [took(lambda text=text: tower.encode([text])) for text in texts]
    return {
        "tower": name, "median_ms": float(np.median(alone)), "p99_ms": float(np.quantile(alone, 0.99)),
        "texts_per_second": 1000 * len(texts) / took(lambda: tower.encode(texts)),
        "mib": sum(map(len, tower.files().values())) / 2**20,
    }  # fmt: skip


def main() -> None:
    """Measures each."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    texts = [row["text"] for row in phrasebank()][:TEXTS]
    encoder = TransformerText(precision="float32")
    described: Tokenizer = encoder.tokenizer.backend_tokenizer
    drawn = np.random.default_rng(0).standard_normal((described.get_vocab_size(), 128), np.float32)
    rows = [measured("table", TextTower.of(described, drawn, None, encoder.max_tokens), texts)]
    for count in LAYERS:
        cut = cut_student(encoder, texts, layers=count, cut_words=False, precision="float32").student
        rows.append(measured(f"{count} layers" if count > 1 else "1 layer", packed_layers(cut), texts))
    tokens = float(np.mean([len(row) for row in encoder.token_ids(texts)]))
    table = Table(title=f"{len(texts):,} sentences of {tokens:.0f} tokens, one core")
    for column in ("read by", "ms a text, median", "p99", "texts a second together", "MiB"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["tower"], f"{row['median_ms']:.3f}", f"{row['p99_ms']:.3f}",
            f"{row['texts_per_second']:,.0f}", f"{row['mib']:.1f}",
        )  # fmt: skip
    Console(width=100).print(table)
    found = {"texts": len(texts), "tokens": tokens, "towers": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
