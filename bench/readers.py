"""Measures how fast the readers are: rows for each second of one CPU, by format.

    python bench/readers.py                    300,000 rows of each format; about half a minute
    python bench/readers.py --rows 1000000

Prints a table and writes bench/results/readers.json. The files hold order lines of a shop (eight columns, a
title with commas and quotes). The time is that of the process's CPU, the best of three runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.ingest.readers import Source, SourceOptions, json_lines, read_batches

RESULTS = Path(__file__).parent / "results" / "readers.json"
RUNS = 3


def orders(rows: int) -> pa.Table:
    start = datetime(2024, 1, 1)
    numbers = range(rows)
    return pa.table(
        {
            "order": [f"o{n // 3}" for n in numbers],
            "customer": [n * 7919 % 20_000 for n in numbers],
            "sku": [f"p{n * 104_729 % 5_000}" for n in numbers],
            "title": [
                f'Screen {n % 40}" matt, black' if n % 3 == 0 else f"Grüner Tee {n % 90}" for n in numbers
            ],
            "at": [(start + timedelta(minutes=n)).isoformat() for n in numbers],
            "quantity": [n % 5 + 1 for n in numbers],
            "price": [n % 10_000 / 100 for n in numbers],
            "country": ["Germany" if n % 4 else None for n in numbers],
        }
    )


def seconds(source: Source, columns: list[str]) -> tuple[float, int]:
    """CPU seconds of the quickest run, and the rows read."""
    best, rows = float("inf"), 0
    for _ in range(RUNS):
        start = time.process_time()
        rows = sum(batch.table.num_rows for batch in read_batches(source, columns))
        best = min(best, time.process_time() - start)
    return best, rows


def write_json(table: pa.Table, path: Path) -> None:
    frame = table.to_pandas()
    frame.to_json(path, orient="records", lines=True, force_ascii=False)


def write_stray(table: pa.Table, path: Path) -> None:
    """Tab-separated, with quotes that stand for inches in the middle of values."""
    frame: pd.DataFrame = table.to_pandas()
    path.write_text(
        "\t".join(frame.columns)
        + "\n"
        + "\n".join("\t".join("" if v is None else str(v) for v in row) for row in frame.to_numpy())
        + "\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    table = orders(rows)
    files: dict[str, tuple[str, Callable[[pa.Table, Path], None]]] = {
        "CSV, quoted": ("a.csv", lambda t, p: pacsv.write_csv(t, p)),
        "TSV, stray quotes": ("a.tsv", write_stray),
        "JSON lines": ("a.jsonl", write_json),
        "JSON lines, without orjson": ("a.jsonl", write_json),
        "Parquet": ("a.parquet", lambda t, p: pq.write_table(t, p)),
    }
    found = {}
    objects = json_lines._objects
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, write) in files.items():
            path = Path(folder) / file
            write(table, path)
            json_lines._objects = (lambda lines: [None] * len(lines)) if "without" in name else objects
            spent, read = seconds(Source("s", path, None, SourceOptions()), table.column_names)
            assert read == rows, name
            found[name] = {"rows_per_second": round(rows / spent), "bytes": path.stat().st_size}
            print(f"{name:28} {rows / spent:12,.0f} rows/s   {path.stat().st_size / spent / 1e6:7.0f} MB/s")
    RESULTS.write_text(
        json.dumps(
            {"rows": rows, "machine": platform.processor() or platform.machine(), "readers": found}, indent=1
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
