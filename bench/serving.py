"""Measures how fast a bundle starts and answers, on one thread and a catalogue drawn at random.

    python bench/serving.py                  2,500, 20,000 and 200,000 items
    python bench/serving.py --items 20000    one size alone

Writes bench/results/serving.json. The bundle has what training gives one: vectors, popularity, shared groups
(brand, category, its parent, both at once), an index of words, a text
tower and, where a catalogue is small enough for them, weights between items. One history or text is timed on
the clock, with every item ranked; many are counted per second of the processor, over the warm items alone as
they are written back.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.file import FORMAT
from kgdistill.serve.history import History
from kgdistill.serve.items import Items
from kgdistill.serve.readings import Readings
from kgdistill.serve.search import search_index
from kgdistill.serve.tower import TextTower

RESULTS = Path(__file__).parent / "results" / "serving.json"
SIZES = [2_500, 20_000, 200_000]
# The bundle of format 4: text by words alone as a history, every item scored in 15 passes.
BEFORE = [
    {"items": 5_000, "load_ms": 11.8, "first_text_ms": 17.7, "users_per_s": 2846},
    {"items": 60_000, "load_ms": 86.4, "first_text_ms": 205.7, "users_per_s": 1890},
    {"items": 200_000, "history_ms": 29},
]
_WORDS = ("tea", "mug", "lamp", "red", "green", "steel", "oats", "paper", "sign", "box", "ml", "set")


def random_bundle(
    items: int,
    *,
    dim: int = 48,
    neighbours: int = 0,
    rank: int = 0,
    seed: int = 0,
    pool: str = "all",
    text: bool = False,
) -> Bundle:
    """A bundle of random numbers with the shapes that training gives.

    Args:
        items: how many.
        dim: of the vectors.
        neighbours: weights kept into each item, of two tables; 0 for no table.
        rank: of the product that stands for the other weights.
        seed: draws everything.
        pool: what is ranked unless told otherwise.
        text: with a text tower.
    """
    draw = np.random.default_rng(seed)
    groups = [max(2, items // n) for n in (10, 25, 200)]
    codes = [(g * draw.random(items) ** 2).astype(np.int64) for g in groups]
    codes.append(np.unique(codes[0] * groups[1] + codes[1], return_inverse=True)[1])
    fields = (["brand"], ["category"], ["category"], ["brand", "category"])
    families = [{"fields": names, "above": m == 2} for m, names in enumerate(fields)]
    counts = np.sort((draw.pareto(1.0, items) * 4).astype(np.int64))[draw.permutation(items)]
    estimates, terms = 2 * bool(neighbours), 3 + 2 * bool(neighbours) + len(families)

    def numbers(*shape: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    arrays: dict[str, np.ndarray[Any, Any]] = {
        "vectors": numbers(items, dim, scale=0.1),
        "counts": counts,
        "recent": (counts * draw.random(items)).astype(np.float32),
        "blend.weight": numbers(terms, 2, scale=0.3),
        "blend.bias": np.abs(numbers(terms)),
        "blend.user": numbers(terms, scale=0.3),
        "blend.log_eps": np.full(estimates, -3.9, np.float32),
        "blend.new_boost": np.array([0.2], np.float32),
        "log_decay": np.array([-3.0], np.float32),
    }
    for m, mine in enumerate(codes):
        held = draw.random(items) < 0.95
        shares = np.bincount(mine, np.maximum(counts, 1))
        arrays |= {
            f"family{m}.indices": mine[held].astype(np.int32),
            f"family{m}.indptr": np.concatenate([[0], np.cumsum(held)]).astype(np.int32),
            f"family{m}.everybody": (shares / shares.sum()).astype(np.float32),
        }
    for a in range(estimates):
        into = draw.integers(0, items, (items, neighbours))
        arrays |= {
            f"neighbours{a}.data": draw.random(into.size, dtype=np.float32) / 10,
            f"neighbours{a}.indices": np.sort(into, axis=1).ravel().astype(np.int32),
            f"neighbours{a}.indptr": np.arange(0, into.size + 1, neighbours).astype(np.int64),
            # What few have bought has no part in the product.
            f"neighbours{a}.factored": (factored := np.flatnonzero(counts >= 5).astype(np.int32)),
            f"neighbours{a}.left": numbers(len(factored), rank, scale=0.1),
            f"neighbours{a}.right": numbers(len(factored), rank, scale=0.1),
        }
    names = draw.choice(_WORDS, (items, 6))
    table = pa.table(
        {
            "id": [str(10_000_000 + i) for i in range(items)],
            "title": [f"{' '.join(row)} {i}" for i, row in enumerate(names)],
            "brand": [f"brand{b}" for b in codes[0]],
            "category": [f"range{c} > kind{b}" for b, c in zip(codes[1], codes[2], strict=True)],
            "price": np.round(1 + draw.pareto(2.0, items) * 5, 2),
            "stock": draw.random(items) < 0.9,
        }
    )
    settings = {
        "min_count": 3, "pool": pool, "families": families,
        "neighbours": [False, True][:estimates], "neighbour_decay": 0.05, "events": {},
    }  # fmt: skip
    reads = Readings.joined(["title", "brand"])
    config = {
        "format": FORMAT,
        "reads": reads.settings(),
        "task": {"kind": "match", "name": "recommend"},
    }
    tower = None
    if text:
        vocabulary = ["[UNK]", *_WORDS, *map(str, range(min(items, 30_000)))]
        tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = BertPreTokenizer()
        shape = len(vocabulary), dim
        tower = TextTower.of(tokenizer, numbers(*shape), draw.random(shape[0], np.float32), 64)
    catalogue = Items(table)
    columns = catalogue.columns(reads.columns)
    index = search_index(reads.texts(columns), reads.vectors(columns, tower))
    return Bundle(config, catalogue, history=History(settings, arrays, items), text=tower, search=index)


def _median(work: Callable[[int], object], repeats: int) -> float:
    """The median of what one takes on the clock, in milliseconds, after a first one."""
    work(0)
    found = []
    for n in range(repeats):
        start = time.perf_counter()
        work(n)
        found.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(found), 3)


def _start(folder: Path, ask: str) -> float:
    """Seconds from the start of a process to its first answer, the median of three."""
    script = f"import kgdistill.serve.bundle as b; b.load_bundle({str(folder)!r}).{ask}"
    found = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True)
        found.append(time.perf_counter() - start)
    return round(statistics.median(found), 3)


def measure(items: int, folder: Path, users: int = 2000) -> dict[str, Any]:
    """What a bundle of that size takes to start, to answer one and to answer many."""
    bundle = random_bundle(items, neighbours=100 if items <= 6000 else 0, pool="warm", text=True)
    bundle.save(folder)
    draw = np.random.default_rng(1)
    histories = [
        [bundle.keys[i] for i in draw.integers(0, items, int(n))]
        for n in np.minimum(draw.geometric(1 / 30, users), 200)
    ]
    queries = [f"green {word} {n}" for n, word in enumerate(draw.choice(_WORDS, 200))]
    loading = _median(lambda n: load_bundle(folder), 3)
    loaded = load_bundle(folder)
    first = histories[0][0]
    row = {
        "items": items,
        "mib_on_disk": round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20, 1),
        "load_ms": loading,
        "start_to_history_s": _start(folder, f"recommend([{first!r}])"),
        "start_to_text_s": _start(folder, "search('green tea 17')"),
        "history_ms": _median(lambda n: loaded.recommend(histories[n], 20, pool="all"), 100),
        "text_ms": _median(lambda n: loaded.search(queries[n], 20), 100),
        "text_as_history_ms": _median(lambda n: loaded.recommend(text=queries[n], k=20, pool="all"), 100),
        "filtered_ms": _median(
            lambda n: loaded.recommend(histories[n], 20, pool="all", where={"price": (None, 9.0)}), 100
        ),
        "similar_ms": _median(lambda n: loaded.similar(histories[n][0], 20), 50),
    }
    for name, work in (
        ("users_per_s", lambda: loaded.recommend_many(histories, 20)),
        ("texts_per_s", lambda: loaded.search_many(queries, 20)),
    ):
        start = time.process_time()
        asked = len(work())  # type: ignore[no-untyped-call]
        row[name] = round(asked / (time.process_time() - start))
    start = time.perf_counter()
    loaded.add_items([f"red lamp {n}" for n in range(100)], ids=[f"new{n}" for n in range(100)])
    row["add_100_items_ms"] = round(1e3 * (time.perf_counter() - start), 1)
    row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def main() -> None:
    """Measures and writes the figures down beside those of before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=SIZES)
    asked = parser.parse_args()
    rows = []
    for items in asked.items:
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measure(items, Path(scratch) / "bundle"))
        print(json.dumps(rows[-1]))
    if asked.items == SIZES:
        told = {"threads": 1, "ranking": "exact: every item is scored", "sizes": rows, "before": BEFORE}
        RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
