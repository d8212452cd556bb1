"""What places kept for new items cost: a student's NDCG over all items, and the new ones that are found.

    python bench/freshness.py --run FOLDER --name NAME

The bundle of a run that recommends answers for at most 2,000 users of the test, by what its models know of
them; all items that the task ranks are ranked, so that what is right may be new. Prints a table and writes
NAME's part of results/freshness.json; intervals over users.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bench.comparisons import Resamples
from bench.diversity import K, asked, keep, opened
from kgdistill.arrays import DoubleArray
from kgdistill.progress import step
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.fresh import with_new
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.match import MatchTask

RESULTS = Path(__file__).parent / "results" / "freshness.json"
PLACES = (0, 1, 2, 4, 6, 10)


def lists(bundle: Bundle, task: MatchTask, view: Interactions) -> DoubleArray:
    """NDCG@20, the share of right new items that are listed (NaN without one), how many are new.

    Returns:
        float64 [3, places, users].
    """
    users = list(asked(task, view, "all"))
    keys = [str(key) for key in task.item_keys.to_pylist()]
    cold = {keys[item] for item in task.candidates("cold", "test")}
    found = np.full((3, len(PLACES), len(users)), np.nan)
    with step("Recommending", total=len(users)) as work:
        for n, one in enumerate(users):
            whole = bundle.recommend(one.had, K, exclude=one.out)
            newcomers = bundle.recommend(one.had, K, exclude=one.out, pool="cold")
            new = one.right & cold
            for row, places in enumerate(PLACES):
                hits = with_new(bundle, whole, newcomers, K, places)
                found[0, row, n] = one.ndcg(hits)
                if new:
                    found[1, row, n] = len(new.intersection(hits.new)) / len(new)
                found[2, row, n] = len(hits.new)
            work.advance()
    return found


def measured(found: DoubleArray) -> list[dict[str, Any]]:
    """A row for each number of places: NDCG, that less the NDCG without places, and what is found."""
    ndcg, recall, listed = found
    some = ~np.isnan(recall[0])
    drawn = Resamples(ndcg.shape[1]).draw(*(row[None] for row in ndcg))
    new = Resamples(int(some.sum())).draw(*(row[None] for row in recall[:, some]))
    rows = []
    for row, places in enumerate(PLACES):
        told = {"ndcg": drawn[row].estimate(), "difference": drawn[row].difference(drawn[0])}
        told |= {"new_recall": new[row].estimate(), "new_difference": new[row].difference(new[0])}
        ends = {name: [value.mean, value.low, value.high] for name, value in told.items()}
        users = {"users": len(some), "users_with_new": int(some.sum())}
        rows.append({"places": places, **ends, "new_listed": float(listed[row].mean()), **users})
    return rows


def main() -> None:
    """See the module."""
    name, bundle, task, view = opened(__doc__ or "")
    rows = measured(lists(bundle, task, view))
    for row in rows:
        names = ("ndcg", "difference", "new_recall", "new_difference")
        shown = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row[name]) for name in names]
        print(f"{row['places']:2}  NDCG@{K} {shown[0]} ({shown[1]})  new found {shown[2]} ({shown[3]})  "
              f"listed {row['new_listed']:.1f}")  # fmt: skip
    keep(RESULTS, name, rows)


if __name__ == "__main__":
    main()
