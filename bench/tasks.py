"""Measures the declared tasks beside what people would use instead; bench/suites has recommend and search.

    python -m bench.tasks                                 all, three seeds
    python -m bench.tasks --only reviews_zh --seeds 3     one alone
    python -m bench.tasks --tables                        nothing: the tables of what was measured

Of each task a module bench/tasks_NAME.py goes the whole way: files, mapping, graph, snapshot, declared task,
run. Some have a command and a result file of their own. The others have a function `rows(seeds)` (with
`--work` also given as `work`, where all that is kept), which returns what JSON can hold and stands in
bench/results/tasks.json:

    title       what a reader calls it
    protocol    sentences
    figures     [{setting, metric, arm, title, mean, low, high, seeds: [one a seed]}]
    compared    [{setting, metric, arm, other, mean, low, high, p}]: paired differences over the same units
    targets     [{what, wanted, reached}], where something was promised

Writes a table for each of a task's data sets to bench/results/tasks.md. The data lies in the folder that
KGDISTILL_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.comparisons import holm
from bench.task_documents import documents

RESULTS = Path(__file__).parent / "results" / "tasks.json"
TABLES = RESULTS.with_suffix(".md")
TASKS = ("reviews_zh",)
COMMANDS = ("answer", "profile", "target", "watch")
_UNITS = {"macro_f1": "macro-F1", "mcc": "MCC", "auc": "AUC", "auc_within": "AUC within a campaign"} | {
    "top10": "of those who came, in the best tenth", "calibration_error": "calibration error",
    "found": "share found", "hours": "hours until then",
}  # fmt: skip


def rows_of(name: str) -> Callable[..., dict[str, Any]]:
    """The function of a task's module."""
    found: Callable[..., dict[str, Any]] = import_module(f"bench.tasks_{name}").rows
    return found


def corrected(tasks: dict[str, Any]) -> dict[str, Any]:
    """The documents with `p_holm` beside each p-value, over the comparisons of one task on all its data."""
    task_of = {name: held["title"].partition(":")[0] for name, held in tasks.items()}
    for task in dict.fromkeys(task_of.values()):
        pairs = [pair for name, held in tasks.items() if task_of[name] == task for pair in held["compared"]]
        for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
            pair["p_holm"] = p
    return tasks


def tables(tasks: dict[str, Any]) -> str:
    """A table of the figures of each task, its differences and its targets, in Markdown."""
    corrected(tasks)
    lines = ["# The tasks", "", "Means, 95 % intervals; p by Holm over all comparisons of a task."]
    for held in tasks.values():
        lines += ["", f"## {held['title']}", "", *held["protocol"], ""]
        lines += ["| of | figure | model | mean | 95 % |", "| --- | --- | --- | ---: | --- |"]
        for row in held["figures"]:
            what = f"| {row['setting']} | {_UNITS[row['metric']]} | {row['title']} "
            lines.append(f"{what}| {row['mean']:.4f} | {_ends(row)} |")
        lines += [""] * bool(held["compared"])
        titles = {row["arm"]: row["title"] for row in held["figures"]}
        for pair in held["compared"]:
            names = f"{titles[pair['arm']]} less {titles[pair['other']]}"
            what = f"- {pair['setting']}, {_UNITS[pair['metric']]}: {names} {pair['mean']:+.4f} {_ends(pair)}"
            lines.append(f"{what}, p {pair['p_holm']:.3f}")
        lines += [""] * bool(held["targets"])
        for target in held["targets"]:
            said = "met" if target["reached"] >= target["wanted"] else "**missed**"
            what = f"- {target['what']}: {target['reached']:.4f}, wanted {target['wanted']:.4f}"
            lines.append(f"{what}: {said}")
    return "\n".join(lines) + "\n"


def _ends(row: dict[str, Any]) -> str:
    return f"[{row['low']:.4f}, {row['high']:.4f}]"


def measure(name: str, seeds: int, work: Path | None) -> None:
    """Measures a task and keeps what was found."""
    if name in COMMANDS:
        command = [sys.executable, "-m", f"bench.tasks_{name}", "--seeds", str(seeds)]
        subprocess.run(command, check=True)
        return
    if work is not None:
        (work / name).mkdir(parents=True, exist_ok=True)
    found = rows_of(name)(seeds, **({} if work is None else {"work": work / name}))
    # Read late: another run may have written its own task meanwhile.
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    text = json.dumps({**kept, name: found}, indent=1, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Measures what is asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=(*TASKS, *COMMANDS), action="append")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--work", type=Path, help="keeps graphs and runs there, a folder a task")
    asked.add_argument("--tables", action="store_true", help="writes the tables of what was measured, alone")
    options = asked.parse_args()
    for name in () if options.tables else options.only or (*TASKS, *COMMANDS):
        measure(name, options.seeds, options.work)
    TABLES.write_text(tables(documents(RESULTS.parent)), encoding="utf-8")
    print(TABLES.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
