"""Whether facts mined from titles help what is recommended: Amazon Office, on its validation period.

    python bench/mined_training.py --work FOLDER       the data in the folder that KGDISTILL_DATA names

Teacher and student of three seeds learn from the graph as it is, and from the same with `derive facts` run on
it. All that is before the suite's cut is theirs (the last seven weeks of it to choose the epoch on); the two
months from there to the suite's test are judged, and that test stays closed. Intervals and p-values over
users, by Holm over the comparisons. Prints a table and writes results/mined_training.json. FOLDER keeps what
was trained, so that a second start goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq

from bench.comparisons import Resamples, holm
from bench.suites.data import suite_tables
from bench.suites.ours import share_stages
from bench.suites.spec import DiscoverySuite, load_suite
from kgdistill.arrays import DoubleArray
from kgdistill.config import resolve_config
from kgdistill.derive.mined import derive_facts
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run.run import Run
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.tasks.match import build_task

RESULTS = Path(__file__).parent / "results" / "mined_training.json"
SEEDS = (0, 1, 2)
SHOWN = (("all", "ndcg"), ("cold", "ndcg@10"))
MOMENTS = {
    "cut": datetime(2017, 12, 15),
    "test_start": datetime(2018, 2, 3),
    "test_end": datetime(2018, 4, 2),
}


def graph(*, mined: bool) -> tuple[GraphStore, dict[str, Any]]:
    """The suite's graph, and what mining found."""
    what = load_suite("office")
    folder = Path(os.environ.get("KGDISTILL_DATA", "../shared/data")) / what.data.folder
    tables, schema = suite_tables(what.data, folder)
    store = MemoryStore()
    store.apply_schema(schema)
    for label, table in tables.nodes.items():
        store.write_nodes(label, table)
    for edge, table in tables.edges.items():
        store.write_relationships(edge, table)
    return store, dict(derive_facts(store).facts) if mined else {}


def trained(place: Path, *, mined: bool) -> tuple[list[Run], dict[str, Any]]:
    """A run for each seed, with teacher and student; what does not depend on the seed is made once."""
    store, found = graph(mined=mined)
    what = load_suite("office")
    assert isinstance(what, DiscoverySuite)
    protocol = {**what.protocol.model_dump(), "name": "office-validation", **MOMENTS}
    runs: list[Run] = []
    for seed in SEEDS:
        settings = {"protocol": protocol, "seed": seed, "device": "cpu", "threads": 1}
        if runs:
            share_stages(runs[0].folder, place / f"seed-{seed}", ("graph", "text", "choice"))
        run = Run(place / f"seed-{seed}", resolve_config(settings, where="bench/mined_training.py"))
        if not runs:
            run.take_snapshot(store)
        for stage in ("text", "choice", "teacher", "targets", "student"):
            run.make(stage)
        runs.append(run)
    return runs, found


def judged(runs: list[Run]) -> Iterator[tuple[str, str, str, DoubleArray]]:
    """Arm, setting, metric and values, float64 [seeds, users]."""
    events = pq.read_table(runs[0].folder / "graph" / "holdout.parquet")
    task = build_task(runs[0].snapshot, events, runs[0].config.discovery)
    task.open_test()
    for arm in ("teacher", "student"):
        results = []
        for run in runs:
            models = run.by_history
            scorer = models.teacher_scorer() if arm == "teacher" else models.student_scorer()
            results.append(evaluate_arm(scorer, task, arm=arm, title=arm, settings=[s for s, _ in SHOWN]))  # type: ignore[misc]
        for setting, metric in SHOWN:
            values = [result.settings[setting].values(metric) for result in results]  # type: ignore[index]
            yield arm, setting, metric, np.stack(values)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    plain, _ = trained(work / "plain", mined=False)
    mined, found = trained(work / "mined", mined=True)
    rows = []
    for (arm, setting, metric, before), (*_, after) in zip(judged(plain), judged(mined), strict=True):
        without, beside = Resamples(before.shape[1]).draw(before, after)
        less = beside.difference(without)
        ends = {"plain": without.estimate(), "mined": beside.estimate(), "difference": less}
        told = {name: [e.mean, e.low, e.high] for name, e in ends.items()}
        rows.append({"arm": arm, "setting": setting, "metric": metric, **told, "p": less.p})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
        shown = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row[name]) for name in ("plain", "mined", "difference")]
        print(f"{row['arm']:<8} {row['setting']:<5} {row['metric']:<8} {shown[0]}  mined {shown[1]}  "
              f"difference {shown[2]}, p {row['p']:.4f}, by Holm {p:.4f}")  # fmt: skip
    document = {"seeds": list(SEEDS), "mined": found, "rows": rows}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
