"""What stars bring: weights between items learned from ratings alike, and from those above the middle alone.

    python bench/stars.py STORE --name NAME [--cut-share 0.8 --test-share 0.9]

Of a store whose users rated products, twice: where what is right is a later rating above the middle, from
all ratings or from those; and, where it has purchases too, where what is right is a later purchase, with no
ratings, all ratings or those above the middle beside purchases. The linear model alone, which is fitted in
closed form and draws nothing; its settings by validation. The test is read once. Prints a table and writes
NAME's part of results/stars.json; intervals over users.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.evaluate.judge import SettingResult, evaluate_arm
from kgdistill.ranking.bootstrap import bootstrap_mean, paired_bootstrap
from kgdistill.run.create import draft
from kgdistill.snapshot import Snapshot, take_events, take_snapshot
from kgdistill.store import GraphStore, open_store
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.other_events import other_events
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.training_data import make_training_data
from kgdistill.train.choose import choose_linear, linear_of

RESULTS = Path(__file__).parent / "results" / "stars.json"
ABOVE = {"RATED.rating": "middle"}
K = 20


def settled(store: GraphStore, positives: dict[str, Any], shares: dict[str, float]) -> DiscoveryProtocol:
    """The protocol of a task with these positives, with its moments and its middle."""
    task = {
        "kind": "match", "name": "stars", "anchors": {"label": "User", "by": "history"},
        "candidates": {"label": "Product", "by": ["history", "text"]}, "positives": positives,
        "protocol": {"split": "time", "settings": ["all"], "k": K, **shares},
    }  # fmt: skip
    return draft({}, task=task).settled(store).discovery


def judged(
    snapshot: Snapshot, protocol: DiscoveryProtocol, weights: dict[str, float], later: Any, asked: MatchTask
) -> SettingResult:
    """The linear model of what a protocol counts, on the test of the task that is asked."""
    task = build_task(snapshot, later, protocol)
    none = np.zeros((1, 1), np.float32), np.zeros(task.train.shape[1], np.int64)
    data = make_training_data(snapshot, task, *none, others=other_events(snapshot, task, weights))
    choice = choose_linear(data, [], asked.validation, k=K)
    view = data.view()
    model = linear_of(view, [], choice)

    def score(users: IntArray, items: IntArray) -> Any:
        return model.score(view.queries(users, choice.decay), items).numpy()

    return evaluate_arm(score, asked, arm="linear", title="linear", k=K, progress=False).settings["all"]


def measured(store: GraphStore, event: str, shares: dict[str, float]) -> list[dict[str, Any]]:
    """A row for each way to read ratings, where later events of this type are right."""
    own = {"event": event}
    beside = {**own, "weights": {"RATED": 0.5}}
    ways: dict[str, dict[str, Any]] = {"all ratings alike": own, "above the middle": {**own, "above": ABOVE}}
    if event != "RATED":
        ways = {
            "no ratings": own,
            "all ratings alike": beside,
            "above the middle": {**beside, "above": ABOVE},
        }
    told = {name: settled(store, positives, shares) for name, positives in ways.items()}
    asked_by = told["above the middle"] if event == "RATED" else told["no ratings"]
    with tempfile.TemporaryDirectory() as folder:
        cut = asked_by.snapshot_cut
        snapshot = take_snapshot(store, Path(folder) / "snapshot", cut=cut)
        later = take_events(store, asked_by.interaction, start=cut, end=None, include_future=True)
        asked = build_task(snapshot, later, asked_by)
        asked.open_test()
        values = {
            name: judged(snapshot, protocol, ways[name].get("weights", {}), later, asked).values("ndcg")
            for name, protocol in told.items()
        }
    first = next(iter(values.values()))
    return [
        {
            "right": f"{event} above {asked_by.above['RATED.rating']:g}" if asked_by.above else event,
            "read": name,
            "users": len(ndcg),
            "ndcg": bootstrap_mean(ndcg)._asdict(),
            "less the first": None if ndcg is first else paired_bootstrap(ndcg, first)._asdict(),
        }
        for name, ndcg in values.items()
    ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--name", required=True)
    parser.add_argument("--cut-share", type=float, default=0.8)
    parser.add_argument("--test-share", type=float, default=0.9)
    given = parser.parse_args()
    shares = {"cut_share": given.cut_share, "test_share": given.test_share}
    rows = []
    with open_store(given.store) as store:
        for event in ("RATED", "BOUGHT"):
            if store.read_relationships(("User", event, "Product"), []).num_rows:
                rows += measured(store, event, shares)
    for row in rows:
        figure, less = row["ndcg"], row["less the first"]
        beside = "" if less is None else f"  {less['mean']:+.4f} [{less['low']:+.4f}, {less['high']:+.4f}]"
        print(f"{row['right']:16} {row['read']:18} {row['users']:5} {figure['mean']:.4f}{beside}")
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**held, given.name: {"shares": shares, "rows": rows}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
