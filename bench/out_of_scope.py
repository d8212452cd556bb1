"""Intents of questions of which many are of none, on sets that nothing was built on.

    python -m bench.out_of_scope --clinc CLONE --hint3 CLONE
    python -m bench.out_of_scope --clinc CLONE --hint3 CLONE --seeds 3 --only clinc0

Clones of github.com/clinc/oos-eval (CC BY 3.0) and github.com/hellohaptik/HINT3 (ODbL 1.0). Of the first four
small bots: ten intents of each of two domains with 5 to 30 questions each; what is of none of them is, half
and half, of the domains' other intents and of the questions that its authors call out of scope. Of the
second the bot that the intents of `bench.tasks_answer` leave out. Arms, thresholds and figures are those of
`bench.tasks_answer`. Writes bench/results/out_of_scope.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from bench.tasks_answer import BENCH, NONE, SOURCES, Source, adjusted, intents, lay_out, show

RESULTS = BENCH / "results" / "out_of_scope.json"
Rows = list[tuple[str, str]]
SHARES = (0.3, 0.4, 0.5, 0.55)
"""Of the questions of each bot, what is of none of its intents."""
_TEST = 400


def bot(clone: Path, number: int) -> dict[str, Rows]:
    """Questions to train and to test one bot of the four, drawn by its number."""
    told = json.loads((clone / "data/data_full.json").read_text("utf-8"))
    domains = json.loads((clone / "data/domains.json").read_text("utf-8"))
    draw = random.Random(number)
    known: list[str] = []
    near: list[str] = []
    for name in draw.sample(sorted(domains), 2):
        inside = [intent.replace(" ", "_") for intent in domains[name]]
        draw.shuffle(inside)
        known += inside[:10]
        near += inside[10:]
    by: dict[str, list[str]] = {}
    for text, intent in told["train"]:
        by.setdefault(intent, []).append(text)
    counts = {intent: draw.choice([5, 8, 12, 20, 30]) for intent in known}
    train = [(text, intent) for intent in known for text in draw.sample(by[intent], counts[intent])]
    test = [(text, intent) for text, intent in told["test"] if intent in known]
    others = [(text, NONE) for text, intent in told["test"] if intent in near]
    far = [(text, NONE) for text, _ in told["oos_test"]]
    for rows in (test, others, far):
        draw.shuffle(rows)
    count = int(_TEST * SHARES[number] / (1 - SHARES[number]))
    strange = others[: count // 2]
    return {"train": train, "test": test[:_TEST] + strange + far[: count - len(strange)]}


def powerplay(clone: Path) -> dict[str, Rows]:
    """The questions of HINT3's PowerPlay11, version 2."""
    out = {}
    for part in ("train", "test"):
        file = clone / f"dataset/v2/{part}/powerplay11_{part}.csv"
        with file.open(encoding="utf-8-sig", newline="") as lines:
            out[part] = [(row["sentence"], row["label"]) for row in csv.DictReader(lines)]
    return out


def write(rows: dict[str, Rows], folder: Path, name: str) -> Source:
    """The files of one set, as `bench.tasks_answer` reads them."""
    for part, told in rows.items():
        with (folder / f"{name}_{part}.csv").open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([("sentence", "label"), *told])
    files = {part: str(folder / f"{name}_{part}.csv") for part in rows}
    return Source("strange", files, ("sentence", "label"), "mcc", None, NONE)


def main() -> None:
    """Measures every set, or those that are named."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--clinc", type=Path, required=True)
    asked.add_argument("--hint3", type=Path, required=True)
    asked.add_argument("--seeds", type=int, default=1)
    asked.add_argument("--only", action="append")
    options = asked.parse_args()
    torch.set_num_threads(1)
    sets = {f"clinc{k}": bot(options.clinc, k) for k in range(len(SHARES))}
    sets["powerplay11"] = powerplay(options.hint3)
    found: dict[str, Any] = {"seeds": options.seeds, "intents": {}}
    for name in options.only or sets:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            SOURCES[name] = write(sets[name], folder, name)
            lay_out(SOURCES[name], folder)
            found["intents"][name] = intents(name, options.seeds, folder)
    show(adjusted(found), Console(width=160))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
