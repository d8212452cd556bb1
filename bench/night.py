"""What a night costs beside making all anew: a small job on a full embedded store.

    python bench/night.py                        200,000 events and a night of 10,000
    python bench/night.py --events 2000000       as many as a mid-sized shop has in years

Makes the events up; measures the first job (all anew), then a night of new purchases, a tenth of them by new
users, and one in which a file of the first job is corrected. Each is a process of its own with two threads.
Prints a table and writes bench/results/night.json; sizes that were not asked for stay there as they were.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from _process import measured

RESULTS = Path(__file__).parent / "results"
_LAST = datetime(2024, 1, 1)
_FILES = 20


def write_shop(folder: str, events: int, night: int) -> dict[str, Any]:
    """`all/` with the events in several files, `night/` with new ones, `again/` with a file corrected."""
    rng = np.random.default_rng(0)
    users, products = max(100, events // 40), max(50, events // 100)
    whole = _events(rng, events, users, products, 0)
    size = -(-events // _FILES)
    for name in ("all", "night", "again"):
        (Path(folder) / name).mkdir(parents=True)
    for n in range(_FILES):
        pacsv.write_csv(whole.slice(n * size, size), Path(folder) / "all" / f"sales{n:02}.csv")
    pacsv.write_csv(
        _events(rng, night, users + users // 10, products, 700), Path(folder) / "night" / "new.csv"
    )
    corrected = whole.slice(0, size)
    amounts = np.asarray(corrected["amount"]).copy()
    amounts[: min(night, size)] += 1
    pacsv.write_csv(
        corrected.set_column(4, "amount", pa.array(amounts)), Path(folder) / "again" / "sales00.csv"
    )
    return {"users": users, "products": products}


def _events(rng: np.random.Generator, rows: int, users: int, products: int, day: int) -> pa.Table:
    popular = np.minimum(products * rng.power(0.4, rows), products - 1).astype(np.int64)
    minutes = rng.integers(0, 700 * 24 * 60, rows) if not day else rng.integers(0, 24 * 60, rows)
    at = np.datetime64(_LAST, "s") + (np.timedelta64(1, "m") * minutes) + np.timedelta64(day, "D")
    return pa.table(
        {
            "customer": pa.array([f"u{u}" for u in rng.integers(0, users, rows)]),
            "sku": pa.array([f"p{p}" for p in popular]),
            "at": pa.array(at),
            "quantity": rng.integers(1, 4, rows),
            "amount": rng.integers(100, 9000, rows) / 100,
        }
    )


def job(store: str, archive: str, folder: str) -> dict[str, Any]:
    """One job, as the command runs it."""
    from kgdistill.ingest.job import run_job
    from kgdistill.ingest.mapping.load import parse_mapping
    from kgdistill.store import load_schema, open_store

    bought = {
        "type": "BOUGHT",
        "from": {"User": "customer"},
        "to": {"Product": "sku"},
        "missing": "stub",
        "properties": {"at": "at", "quantity": "quantity", "amount": "amount"},
    }
    source = {"files": "*.csv", "nodes": [{"label": "User", "key": "customer"}], "relationships": [bought]}
    mapping = parse_mapping({"version": 1, "name": "lines", "sources": {"sales": source}})
    begin = time.monotonic()
    with open_store(f"ladybug:{store}") as opened:
        report = run_job(opened, mapping, folder, archive=archive, schema=load_schema())
    return {
        "seconds": time.monotonic() - begin,
        "apply_seconds": report.apply_seconds,
        "rows": report.rows,
        "written": report.applied.written,
    }


def main() -> None:
    """Runs the measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--night", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        sizes = write_shop(scratch, options.events, options.night)
        base = {"store": str(place / "db"), "archive": str(place / "archive")}
        anew = measured("night:job", **base, folder=str(place / "all"))
        found: dict[str, list[dict[str, Any]]] = {"night": [], "again": []}
        for name, runs in found.items():
            for _ in range(options.repeats):
                at = {key: str(place / f"at-{key}") for key in base}
                for key, path in base.items():
                    shutil.copytree(path, at[key])
                runs.append(measured("night:job", **at, folder=str(place / name)))
                for path in at.values():
                    shutil.rmtree(path)
    entry = {
        "events": options.events,
        "night": options.night,
        **sizes,
        "at": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "anew": anew,
    }
    print(f"{'':8}{'CPU s':>8}{'wall s':>8}{'apply s':>9}{'share of CPU':>14}")
    print(f"{'anew':8}{anew['cpu_seconds']:8.2f}{anew['seconds']:8.2f}{anew['apply_seconds']:9.2f}")
    for name, runs in found.items():
        best = min(runs, key=lambda run: float(run["cpu_seconds"]))
        share = best["cpu_seconds"] / anew["cpu_seconds"]
        entry[name] = {**best, "share_of_cpu": share, "all_cpu_seconds": [run["cpu_seconds"] for run in runs]}
        print(
            f"{name:8}{best['cpu_seconds']:8.2f}{best['seconds']:8.2f}{best['apply_seconds']:9.2f}{share:14.1%}"
        )
    file = RESULTS / "night.json"
    held = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    held[str(options.events)] = entry
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
