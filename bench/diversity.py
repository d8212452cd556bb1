"""What less alike recommendations cost: a student's NDCG and how alike its lists are, by share of diversity.

    python bench/diversity.py --run FOLDER --name NAME

The bundle of a run that recommends answers for at most 2,000 users of the test, by what its models know of
them. Prints a table and writes NAME's part of results/diversity.json; intervals over users.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bench.comparisons import Resamples
from kgdistill.arrays import DoubleArray
from kgdistill.progress import step
from kgdistill.ranking.metrics import ndcg_at_k
from kgdistill.run.run import Run
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.diverse import DEPTH, diversified, likeness
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.match import MatchTask
from kgdistill.tasks.protocol import Setting

RESULTS = Path(__file__).parent / "results" / "diversity.json"
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
K, USERS = 20, 2000


def lists(bundle: Bundle, task: MatchTask, view: Interactions) -> tuple[DoubleArray, DoubleArray]:
    """NDCG@20 and the mean likeness within a list, float64 [shares, users]."""
    users = list(asked(task, view, bundle.pool))  # type: ignore[arg-type]
    ndcg, alike = np.zeros((2, len(SHARES), len(users)))
    with step("Recommending", total=len(users)) as work:
        for n, one in enumerate(users):
            whole = bundle.recommend(one.had, K * DEPTH, exclude=one.out)
            for row, share in enumerate(SHARES):
                hits = diversified(bundle, whole, K, share)
                ndcg[row, n] = one.ndcg(hits)
                alike[row, n] = likeness(bundle, hits)[np.triu_indices(len(hits), 1)].mean()
            work.advance()
    return ndcg, alike


class Asked(NamedTuple):
    """One user: what was had, the latest last; what is not to be recommended; what is right."""

    had: list[str]
    out: list[str]
    right: set[str]

    def ndcg(self, hits: Answer) -> float:
        """NDCG@20 of an answer."""
        found = np.zeros((1, K), np.bool_)
        found[0, : len(hits)] = [hit.id in self.right for hit in hits]
        return float(ndcg_at_k(found, np.array([len(self.right)]), K)[0])


def asked(task: MatchTask, view: Interactions, setting: Setting) -> Iterator[Asked]:
    """At most 2,000 users of the test for whom something of a pool is right."""
    keys = [str(key) for key in task.item_keys.to_pylist()]
    items = task.candidates(setting, "test")
    pool, positives, seen = {keys[item] for item in items}, task.positives("test"), task.seen("test")
    users = task.users[np.diff(positives[task.users][:, items].indptr) > 0]
    users = users[:: max(1, -(-len(users) // USERS))]
    for n, user in enumerate(users):
        known, _, ranks = view.history(users[n : n + 1])
        yield Asked(
            [keys[item] for item in known[ranks.argsort(descending=True)].tolist()],
            [keys[item] for item in seen[[user]].indices],
            pool.intersection(keys[item] for item in positives[[user]].indices),
        )


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


def opened(about: str) -> tuple[str, Bundle, MatchTask, Interactions]:
    """What --name and --run say: a name, and the run's bundle, task and what its models know at the test."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--name", required=True)
    told = parser.parse_args()
    run = Run.open(told.run)
    run.task.open_test()
    view = run.by_history.catalogue.view(run.task.history_until_us("test"))
    return told.name, load_bundle(told.run / "bundle"), run.task, view


def keep(results: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Writes the rows in place of what the file held under the name."""
    known = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    results.write_text(json.dumps(known | {name: rows}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """See the module."""
    name, bundle, task, view = opened(__doc__ or "")
    rows = measured(*lists(bundle, task, view))
    for row in rows:
        shown = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row[name]) for name in ("ndcg", "difference")]
        print(f"{row['share']:.2f}  NDCG@{K} {shown[0]}  less {shown[1]}  alike {row['alike']:.3f}")
    keep(RESULTS, name, rows)


if __name__ == "__main__":
    main()
