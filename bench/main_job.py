"""Measures the main job: time and memory of the demo, its figures over seeds, and the student's latency.

    python bench/main_job.py                       one run of the demo
    python bench/main_job.py --quick               the sample of households
    python bench/main_job.py --seeds 3             three seeds, for a claim of "better"
    python bench/main_job.py --neo4j bolt://127.0.0.1:7687   times ingestion into Neo4j too

Prints tables and writes bench/results/main_job.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def run_demo(out: Path, seed: int, quick: bool) -> dict[str, Any]:
    """One demo in a process of its own: wall seconds, peak RSS in GiB, metrics."""
    code = (
        "import sys; from pathlib import Path; from kgdistill.demo import run_demo; "
        "run_demo(Path(sys.argv[1]), quick=sys.argv[2] == '1', threads=2, seed=int(sys.argv[3]))"
    )
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", code, str(out), str(int(quick)), str(seed)], check=True)
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    metrics = json.loads((out / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    stages = {
        mark.parent.name: json.loads(mark.read_text(encoding="utf-8"))["seconds"]
        for mark in sorted(out.glob("*/stage.json"))
    }
    return {"seed": seed, "seconds": seconds, "peak_rss_gib": peak, "stages": stages, "metrics": metrics}


def latency(bundle: Path, run: Path) -> dict[str, float]:
    """Milliseconds to answer one user from the bundle, in a process with one thread."""
    code = """
import json, sys, time
import numpy as np, pyarrow.parquet as pq
from kgdistill.serve.bundle import load_bundle
bundle = load_bundle(sys.argv[1])
rng = np.random.default_rng(0)
times = []
for _ in range(200):
    history = [bundle.keys[i] for i in rng.choice(len(bundle), 50, replace=False)]
    begin = time.perf_counter(); bundle.recommend(history, k=20, cold=False)
    times.append((time.perf_counter() - begin) * 1e3)
print(json.dumps({"p50_ms": float(np.percentile(times, 50)), "p95_ms": float(np.percentile(times, 95)),
                  "items": len(bundle)}))
"""
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    out = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], check=True, capture_output=True, text=True,
        env={**os.environ, **one},
    )  # fmt: skip
    result: dict[str, float] = json.loads(out.stdout)
    return result


def ingest(url: str) -> dict[str, float]:
    """Seconds of a whole job, from Parquet files to the graph, into an empty store."""
    from kgdistill.datasets.adapters import adapter
    from kgdistill.ingest.job import run_job
    from kgdistill.ingest.mapping.load import load_mapping
    from kgdistill.store import load_schema, open_store

    chosen = adapter("complete-journey")
    assert chosen.prepare is not None
    tables, mapping = chosen.prepare(None), load_mapping(chosen.mapping_path)
    with tempfile.TemporaryDirectory() as folder, open_store(url) as store:
        begin = time.monotonic()
        archive = Path(folder) / "archive"
        run_job(store, mapping, ".", archive=archive, schema=load_schema(), tables=tables)
        return {"seconds": time.monotonic() - begin}


def hetero(run: Path) -> dict[str, float]:
    """Seconds from a snapshot on disk to HeteroData, importing PyG included."""
    from kgdistill.snapshot import open_snapshot

    begin = time.monotonic()
    open_snapshot(run / "graph" / "snapshot").to_hetero_data()
    return {"seconds": time.monotonic() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--neo4j", default="", help="an EMPTY Neo4j; password from KGDISTILL_NEO4J_PASSWORD")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = [run_demo(Path(scratch) / f"seed{s}", s, options.quick) for s in range(options.seeds)]
        first = Path(scratch) / "seed0"
        result: dict[str, Any] = {
            "quick": options.quick,
            "runs": runs,
            "hetero_data": hetero(first),
            "latency": latency(first / "bundle", first),
            "ingest_ladybug": ingest(f"ladybug:{scratch}/ingest.db"),
        }
    if options.neo4j:
        result["ingest_neo4j"] = ingest(options.neo4j)
    print(f"\n{'arm':<34}{'warm':>22}{'cold':>22}{'strictly cold':>22}   NDCG@20, mean over seeds")
    for arm in runs[0]["metrics"]["arms"]:
        cells = []
        for setting in ("warm", "cold", "strictly_cold"):
            found = [
                a["settings"][setting]["ndcg@20"]
                for r in runs
                for a in r["metrics"]["arms"]
                if a["arm"] == arm["arm"] and setting in a["settings"]
            ]
            if found:
                mean, low, high = (float(np.mean([f[k] for f in found])) for k in ("mean", "low", "high"))
                cells.append(f"{mean:.4f} [{low:.4f}, {high:.4f}]")
            else:
                cells.append("-")
        print(f"{arm['title']:<34}" + "".join(f"{c:>22}" for c in cells))
    for r in runs:
        print(f"seed {r['seed']}: {r['seconds']:.0f} s, peak RSS {r['peak_rss_gib']:.2f} GiB")
        print(f"  seconds by stage: {r['stages']}")
    for name in ("hetero_data", "latency", "ingest_ladybug", "ingest_neo4j"):
        if name in result:
            print(f"{name}: {result[name]}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "main_job.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
