"""Measures processes from their start to their end: the help, a question, a bundle's first answer.

    python bench/start.py

Writes bench/results/start.json: of whole processes on one thread the medians of wall and processor time. The
bundles are those of `serving.py`, drawn at random.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from serving import random_bundle

RESULTS = Path(__file__).parent / "results" / "start.json"
REPEATS = 9
SIZES = (2_500, 20_000)
_ANSWER = "import sys, kgdistill as kg; print(kg.load(sys.argv[1]).recommend(sys.argv[2].split(','), k=5))"


def seconds(command: list[str]) -> dict[str, float]:
    """The median wall and processor time of a process, after a first one that fills the caches."""
    wall, cpu = [], []
    for _ in range(REPEATS + 1):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        wall.append(time.perf_counter() - start)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime)
    return {"wall": round(statistics.median(wall[1:]), 3), "cpu": round(statistics.median(cpu[1:]), 3)}


def main() -> None:
    """Measures, prints a line each and writes them."""
    ours = ["-m", "kgdistill"]
    cases = {
        "python alone": ["-c", ""],
        "--help": [*ours, "--help"],
        "query list": [*ours, "query", "list"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        for items in SIZES:
            folder = Path(scratch) / str(items)
            bundle = random_bundle(items, neighbours=100 if items <= 6000 else 0)
            bundle.save(folder)
            some = ",".join(bundle.keys[:8])
            cases[f"kg.load(...).recommend, {items:,} items"] = ["-c", _ANSWER, str(folder), some]
            told = ["recommend", "--bundle", str(folder), "--history", some, "-k", "5"]
            cases[f"recommend --bundle, {items:,} items"] = [*ours, *told]
        results = {name: seconds(command) for name, command in cases.items()}
    for name, value in results.items():
        print(f"{value['wall']:6.3f} s, {value['cpu']:6.3f} s of processor: {name}")
    document = {"repeats": REPEATS, "load": os.getloadavg()[0], "seconds": results}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
