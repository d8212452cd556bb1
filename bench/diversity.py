"""What less alike recommendations cost: a student's NDCG and how alike its lists are, by share of diversity.

    python bench/diversity.py --run FOLDER --name NAME

The bundle of a run that recommends answers for at most 2,000 users of the test, by what its models know of
them. Prints a table and writes NAME's part of results/diversity.json; intervals over users.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bench.comparisons import Resamples
from kgdistill.arrays import DoubleArray
from kgdistill.progress import step
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.run.run import Run
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.diverse import DEPTH, diversified, likeness
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.match import MatchTask

RESULTS = Path(__file__).parent / "results" / "diversity.json"
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
K, USERS = 20, 2000


def lists(bundle: Bundle, task: MatchTask, view: Interactions) -> tuple[DoubleArray, DoubleArray]:
    """NDCG@20 and the mean likeness within a list, float64 [shares, users]."""
    setting = bundle.pool
    keys = [str(key) for key in task.item_keys.to_pylist()]
    items = task.candidates(setting, "test")  # type: ignore[arg-type]
    pool, positives, seen = {keys[item] for item in items}, task.positives("test"), task.seen("test")
    users = task.users[np.diff(positives[task.users][:, items].indptr) > 0]
    users = users[:: max(1, -(-len(users) // USERS))]
    ndcg, alike = np.zeros((2, len(SHARES), len(users)))
    with step("Recommending", total=len(users)) as work:
        for n, user in enumerate(users):
            known, _, ranks = view.history(users[n : n + 1])
            had = [keys[item] for item in known[ranks.argsort(descending=True)].tolist()]
            out = [keys[item] for item in seen[[user]].indices]
            right = pool.intersection(keys[item] for item in positives[[user]].indices)
            whole = bundle.recommend(had, K * DEPTH, exclude=out)
            for row, share in enumerate(SHARES):
                hits = diversified(bundle, whole, K, share)
                found = np.zeros((1, K), np.bool_)
                found[0, : len(hits)] = [hit.id in right for hit in hits]
                ndcg[row, n] = ndcg_at_k(found, np.array([len(right)]), K)[0]
                alike[row, n] = likeness(bundle, hits)[np.triu_indices(len(hits), 1)].mean()
            work.advance()
    return ndcg, alike


def measured(ndcg: DoubleArray, alike: DoubleArray) -> list[dict[str, Any]]:
    """A row for each share: NDCG and likeness, and the NDCG less that without diversity."""
    rows = []
    drawn = Resamples(ndcg.shape[1]).draw(*(row[None] for row in ndcg))
    for row, share in enumerate(SHARES):
        mean, less = drawn[row].estimate(), drawn[row].difference(drawn[0])
        rows.append(
            {
                "share": share,
                "ndcg": [mean.mean, mean.low, mean.high],
                "difference": [less.mean, less.low, less.high],
                "alike": float(alike[row].mean()),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--name", required=True)
    asked = parser.parse_args()
    run = Run.open(asked.run)
    task = run.task
    task.open_test()
    view = run.by_history.catalogue.view(task.history_until_us("test"))
    rows = measured(*lists(load_bundle(asked.run / "bundle"), task, view))
    for row in rows:
        told = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row[name]) for name in ("ndcg", "difference")]
        print(f"{row['share']:.2f}  NDCG@{K} {told[0]}  less {told[1]}  alike {row['alike']:.3f}")
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps(known | {asked.name: rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
