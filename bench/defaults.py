"""What a task asks where it says nothing: who is learned from, and what is ranked, by what a bundle answers.

    python bench/defaults.py --store URL --folder RUNS --name NAME

Trains a run of `recommend` for each row below. Their bundles answer as they do unless told, for at most 2,000
users of the test who bought something before it; what they bought then is right, whoever bought it before.
Prints a table and writes NAME's part of results/defaults.json; intervals over users.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bench.comparisons import Resamples
from bench.diversity import K, asked, keep
from kgdistill import Graph
from kgdistill.arrays import DoubleArray
from kgdistill.run.run import Run
from kgdistill.serve.bundle import load_bundle

RESULTS = Path(__file__).parent / "results" / "defaults.json"
PROTOCOLS: dict[str, dict[str, Any]] = {
    "warm products, users with five purchases": {
        "min_user_events": 5, "min_item_users": 5, "settings": ["warm", "cold"],
    },
    "warm products, everybody": {"min_item_users": 5, "settings": ["warm", "cold"]},
    "the whole catalogue, users with five purchases": {"min_user_events": 5},
    "the whole catalogue, everybody": {},
}  # fmt: skip
"""The last is what stands where a task says nothing."""
STAGES = ("text", "choice", "teacher", "targets", "student", "bundle")
REGULAR = 5


def trained(graph: Graph, folder: Path, seed: int) -> list[Run]:
    """A run for each protocol, all cut where the last one is."""
    runs: list[Run] = []
    for n, protocol in reversed(list(enumerate(PROTOCOLS.values()))):
        rules = runs[0].config.discovery if runs else None
        times = {} if rules is None else {"cut": rules.cut, "test_start": rules.test_start}
        run = Run.create(folder / str(n), graph, task="recommend", seed=seed, protocol={**protocol, **times})
        for stage in STAGES:
            run.make(stage)
        runs.append(run)
    return runs[::-1]


def judged(runs: list[Run]) -> tuple[DoubleArray, list[int]]:
    """NDCG@20 of each run's answers, float64 [runs, users], and how much each user had bought."""
    task, cut = runs[-1].task, runs[-1].config.discovery
    task.open_test()
    users = list(asked(task, runs[-1].by_history.catalogue.view(task.history_until_us("test")), "all"))
    out = np.empty((len(runs), len(users)))
    for row, run in enumerate(runs):
        assert run.config.discovery.cut == cut.cut
        bundle = load_bundle(run.folder / "bundle")
        out[row] = [one.ndcg(bundle.recommend(one.had, K, exclude=one.out)) for one in users]
    return out, [len(one.had) for one in users]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("store", "folder", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    with Graph(told.store) as graph:
        ndcg, had = judged(trained(graph, Path(told.folder), told.seed))
    rows = []
    for who, part in (("all", np.ones(len(had), bool)), ("five or more", np.array(had) >= REGULAR)):
        drawn = Resamples(int(part.sum())).draw(*(row[part][None] for row in ndcg))
        for title, arm in zip(PROTOCOLS, drawn, strict=True):
            mean, more = arm.estimate(), arm.difference(drawn[0])
            ends = {"ndcg": [mean.mean, mean.low, mean.high], "difference": [more.mean, more.low, more.high]}
            rows.append({"protocol": title, "who": who, "users": int(part.sum()), **ends})
            shown = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*ends[name]) for name in ends]
            print(f"{who:12} {title:48} NDCG@{K} {shown[0]}  more {shown[1]}")
    keep(RESULTS, told.name, rows)


if __name__ == "__main__":
    main()
