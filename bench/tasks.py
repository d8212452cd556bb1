"""Measures the declared tasks beside what people would use instead.

    python -m bench.tasks                                 all, three seeds
    python -m bench.tasks --only reviews_zh --seeds 3     one alone

Each task is a module bench/tasks_NAME.py with one function, `rows(seeds)`, which goes the whole way (files,
mapping, graph, snapshot, declared task, run; with `--work` also given as `work`, where that is kept) and
returns what JSON can hold:

    title       what a reader calls it
    protocol    sentences
    figures     [{setting, metric, arm, title, mean, low, high, seeds: [one a seed]}]
    compared    [{setting, metric, arm, other, mean, low, high, p}]: paired differences over the same units
    targets     [{what, wanted, reached}], where something was promised

Prints a table a task and merges them into bench/results/tasks.json, where `p_holm` is Holm's correction over
all comparisons of the file. The data lies in the folder that KGDISTILL_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.table import Table

from bench.comparisons import holm

RESULTS = Path(__file__).parent / "results" / "tasks.json"
TASKS = ("reviews_zh",)


def rows_of(name: str) -> Callable[..., dict[str, Any]]:
    """The function of a task's module."""
    found: Callable[..., dict[str, Any]] = import_module(f"bench.tasks_{name}").rows
    return found


def corrected(tasks: dict[str, Any]) -> dict[str, Any]:
    """The tasks with `p_holm` beside each p-value, over all comparisons of all of them."""
    pairs = [pair for held in tasks.values() for pair in held.get("compared", ())]
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
    return tasks


def show(held: dict[str, Any], console: Console) -> None:
    """A table of the figures, and a line for each difference and each target."""
    for sentence in held["protocol"]:
        console.print(sentence)
    table = Table(title=held["title"])
    for column in ("setting", "metric", "model", "mean", "95 %", "by seed"):
        table.add_column(column)
    for row in held["figures"]:
        seeds = " ".join(f"{value:.4f}" for value in row.get("seeds", ()))
        ends = f"[{row['low']:.4f}, {row['high']:.4f}]"
        table.add_row(row["setting"], row["metric"], row["title"], f"{row['mean']:.4f}", ends, seeds)
    console.print(table)
    for pair in held.get("compared", ()):
        console.print(
            f"{pair['setting']}, {pair['metric']}: {pair['arm']} - {pair['other']} {pair['mean']:+.4f} "
            f"[{pair['low']:+.4f}, {pair['high']:+.4f}], p {pair['p']:.4f}, by Holm {pair['p_holm']:.4f}"
        )
    for target in held.get("targets", ()):
        said = "met" if target["reached"] >= target["wanted"] else "MISSED"
        console.print(f"{target['what']}: {target['reached']:.4f}, wanted {target['wanted']:.4f}: {said}")


def main() -> None:
    """Measures what is asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=TASKS, action="append")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--work", type=Path, help="keeps graphs and runs there, a folder a task")
    options = asked.parse_args()
    console = Console(width=200)
    for name in options.only or TASKS:
        work = {} if options.work is None else {"work": options.work / name}
        found = rows_of(name)(options.seeds, **work)
        # Read late: another run may have written its own task meanwhile.
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        kept = corrected({**kept, name: found})
        RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        show(kept[name], console)


if __name__ == "__main__":
    main()
