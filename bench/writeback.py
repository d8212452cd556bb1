"""What it takes to write a run's recommendations back in place of its former ones, on Complete Journey.

    python bench/writeback.py ladybug:FOLDER
    python bench/writeback.py bolt://127.0.0.1:7687

The store is filled first where it is empty; the password is read from KGDISTILL_NEO4J_PASSWORD. 24,690
recommendations, ten for each household, drawn by how often products are bought, are written for a run beside
another run's, then replaced; each carries a reason, as `Graph.write_back` finds them. Then the same with a
vector for each product that anybody bought, and the run is removed. Prints a line per measure and writes
bench/results/writeback.json, by kind of store; the times are the wall's, each of several turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kgdistill.datasets.complete_journey import complete_journey_tables
from kgdistill.derive.also_bought import write_also_bought
from kgdistill.explore import NodeEmbeddings, prune_runs, write_back
from kgdistill.explore.kept_reasons import with_reasons
from kgdistill.explore.run_nodes import RunFacts
from kgdistill.explore.writeback import RECOMMENDED
from kgdistill.ingest.tables import ingest_tables
from kgdistill.store import GraphStore, load_schema, open_store

RESULTS = Path(__file__).parent / "results" / "writeback.json"
BOUGHT = ("User", "BOUGHT", "Product")
EACH, DIM = 10, 64
TARGETS_S = {"ladybug": 3.0, "neo4j": 6.0}


def fill(store: GraphStore) -> None:
    """Complete Journey, and what is bought together in it, into an empty store."""
    if store.schema.nodes and store.read_nodes("User", []).num_rows:
        return
    ingest_tables(store, load_schema(), complete_journey_tables())
    write_also_bought(store, cut=datetime(2018, 1, 1), min_support=20)


def drawn(store: GraphStore, seed: int) -> pa.Table:
    """Ten products for each household that bought anything, in proportion to how many bought them."""
    bought = store.read_relationships(BOUGHT, [])
    products, buyers = np.unique(bought["target"].to_numpy(), return_counts=True)
    users, rng = np.unique(bought["source"].to_numpy()), np.random.default_rng(seed)
    share = buyers / buyers.sum()
    chosen = [rng.choice(len(products), EACH, replace=False, p=share) for _ in users]
    return pa.table(
        {
            "user": pa.array(np.repeat(users, EACH), pa.string()),
            "product": pa.array(products[np.concatenate(chosen)], pa.string()),
            "rank": pa.array(np.tile(np.arange(1, EACH + 1), len(users))),
            "score": pa.array(rng.normal(size=len(users) * EACH)),
            "teacher_score": pa.array(rng.normal(size=len(users) * EACH)),
            "is_new": pa.array(np.zeros(len(users) * EACH, bool)),
        }
    )


def vectors(store: GraphStore, seed: int) -> NodeEmbeddings:
    """A vector of 64 numbers for each product that anybody bought."""
    keys = np.unique(store.read_relationships(BOUGHT, [])["target"].to_numpy()).tolist()
    drawn_from = np.random.default_rng(seed)
    return NodeEmbeddings(
        "Product", "student", keys, drawn_from.normal(size=(len(keys), DIM)).astype(np.float32)
    )


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and what it returned."""
    start = time.monotonic()
    found = what()
    return round(time.monotonic() - start, 3), found


def measure(store: GraphStore, turns: int) -> dict[str, Any]:
    """Every measure on a filled store."""
    facts = RunFacts(task="recommend", created_at=datetime(2024, 1, 1))
    tables = [drawn(store, seed) for seed in range(turns + 1)]
    write_back(store, "beside", tables[0])
    reasons_s, told = timed(lambda: with_reasons(store, RECOMMENDED, tables[0]))
    found = len(told) - told["reason"].null_count
    reasons = [told[name] for name in ("reason", "reason_kind", "reason_lift")]

    def whole(table: pa.Table) -> pa.Table:
        for name, column in zip(("reason", "reason_kind", "reason_lift"), reasons, strict=True):
            table = table.append_column(name, column)
        return table

    first_s, _ = timed(lambda: write_back(store, "bench", whole(tables[0]), facts=facts))
    replaced = [timed(lambda t=t: write_back(store, "bench", whole(t), facts=facts))[0] for t in tables[1:]]
    with_vectors = [
        timed(lambda n=n: write_back(store, "bench", whole(tables[n]), [vectors(store, n)], facts=facts))[0]
        for n in range(2)
    ]
    prune_s, _ = timed(lambda: prune_runs(store, ["bench"]))
    prune_runs(store, ["beside"])
    return {
        "rows": tables[0].num_rows,
        "vectors": len(vectors(store, 0).keys),
        "dimensions": DIM,
        "reasons_s": reasons_s,
        "with_a_reason": found,
        "first_s": first_s,
        "replaced_s": replaced,
        "median_replaced_s": round(statistics.median(replaced), 3),
        "with_vectors_s": with_vectors,
        "prune_s": prune_s,
        "processors": os.cpu_count(),
    }


def main() -> int:
    """Measures one store; 1 where the target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", help="the address of a store, empty or filled by this script")
    parser.add_argument("--turns", type=int, default=5, help="how often recommendations are replaced")
    choices = parser.parse_args()
    with open_store(choices.store) as store:
        fill(store)
        kind = "ladybug" if store.url.startswith("ladybug:") else "neo4j"
        entry = measure(store, choices.turns) | {"target_s": TARGETS_S[kind]}
    for name, value in entry.items():
        print(f"{name:20} {value}")
    whole = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**whole, kind: entry}, indent=1) + "\n", encoding="utf-8")
    return int(entry["median_replaced_s"] > TARGETS_S[kind])


if __name__ == "__main__":
    sys.exit(main())
