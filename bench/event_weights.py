"""What it brings to learn what further events weigh, beside what was given before, and none.

    python bench/event_weights.py STORE --name NAME --event BOUGHT --beside VIEWED,ADDED

Of a store with several kinds of events between users and products: later events of one kind are right, and
the others are left out, weigh 0.5 or 1 each, or as much as is learned of the events before the validation.
The linear model alone, as in stars.py; its settings by validation. The test is read once. Prints a table and
writes NAME's part of results/event_weights.json; intervals over users.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from stars import judged, settled

from kgdistill.ranking.bootstrap import bootstrap_mean, paired_bootstrap
from kgdistill.snapshot import take_events, take_snapshot
from kgdistill.store import GraphStore, open_store
from kgdistill.tasks.match import build_task
from kgdistill.tasks.other_events import other_events
from kgdistill.tasks.positives import LEARNED
from kgdistill.tasks.training_data import make_training_data
from kgdistill.train.learn_weights import learn_weights

RESULTS = Path(__file__).parent / "results" / "event_weights.json"


def measured(store: GraphStore, event: str, beside: list[str], shares: dict[str, float]) -> dict[str, Any]:
    """What was learned, and a row for each way to weigh the further events."""
    protocol = settled(store, {"event": event, "weights": dict.fromkeys(beside, LEARNED)}, shares)
    with tempfile.TemporaryDirectory() as folder:
        cut = protocol.snapshot_cut
        snapshot = take_snapshot(store, Path(folder) / "snapshot", cut=cut)
        later = take_events(store, protocol.interaction, start=cut, end=None, include_future=True)
        asked = build_task(snapshot, later, protocol)
        none = np.zeros((1, 1), np.float32), np.zeros(asked.train.shape[1], np.int64)
        others = other_events(snapshot, asked, dict.fromkeys(beside, 1.0))
        start, data = time.process_time(), make_training_data(snapshot, asked, *none, others=others)
        learned = learn_weights(data, dict.fromkeys(beside, LEARNED))
        seconds = time.process_time() - start
        asked.open_test()
        ways = {
            "none": {},
            "0.5 each": dict.fromkeys(beside, 0.5),
            "1 each": dict.fromkeys(beside, 1.0),
            "learned": {name: found.weight for name, found in learned.items() if found.weight},
        }
        values = {
            name: judged(snapshot, protocol, weights, later, asked).values("ndcg")
            for name, weights in ways.items()
        }
    best = values["learned"]
    rows = [
        {
            "weights": name,
            "users": len(ndcg),
            "ndcg": bootstrap_mean(ndcg)._asdict(),
            "learned less it": None if ndcg is best else paired_bootstrap(best, ndcg)._asdict(),
        }
        for name, ndcg in values.items()
    ]
    return {
        "event": event,
        "learned": {name: asdict(found) for name, found in learned.items()},
        "cpu_seconds": seconds,
        "rows": rows,
    }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--name", required=True)
    parser.add_argument("--event", default="BOUGHT")
    parser.add_argument("--beside", required=True)
    parser.add_argument("--cut-share", type=float, default=0.8)
    parser.add_argument("--test-share", type=float, default=0.9)
    given = parser.parse_args()
    shares = {"cut_share": given.cut_share, "test_share": given.test_share}
    with open_store(given.store) as store:
        found = measured(store, given.event, given.beside.split(","), shares)
    print(json.dumps(found["learned"]), f"{found['cpu_seconds']:.1f} s of CPU")
    for row in found["rows"]:
        figure, less = row["ndcg"], row["learned less it"]
        told = "" if less is None else f"  {less['mean']:+.4f} [{less['low']:+.4f}, {less['high']:+.4f}]"
        interval = f"[{figure['low']:.4f}, {figure['high']:.4f}]"
        print(f"{row['weights']:10} {row['users']:6} {figure['mean']:.4f} {interval}{told}")
    held = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps({**held, given.name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
