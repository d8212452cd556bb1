"""Checks against fooling ourselves: what must fail where nothing is to be learned, or where it leaked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.ranking.bootstrap import Interval
from kgdistill.snapshot.files import file_hash
from kgdistill.snapshot.snapshot import MANIFEST, edge_file, edge_key
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.match import MatchTask, Setting, Split
from kgdistill.tasks.training_data import TrainingData


def permuted_purchases(catalogue: TrainingData, *, seed: int) -> TrainingData:
    """A catalogue in which nobody's purchases say anything, about them or about the items.

    Every user keeps how many items they bought and when; which ones is drawn anew, all eligible items alike.
    Popularity goes with the tastes, so that a model trained on it must fall to chance.

    Args:
        catalogue: what training reads.
        seed: draws the items.
    """
    draw = np.random.default_rng(seed)
    times = sp.csr_matrix(catalogue.times)
    rows = np.repeat(np.arange(times.shape[0]), np.diff(times.indptr))
    counts = np.diff(times.indptr)
    items = [draw.choice(catalogue.items, n, replace=False) for n in counts if n]
    columns = np.concatenate(items) if items else np.zeros(0, dtype=np.int64)
    new = sp.csr_matrix((times.data, (rows, columns)), shape=times.shape)
    new.sort_indices()
    purchases = sp.csr_matrix(
        (np.ones(new.nnz, np.float32), new.indices.copy(), new.indptr.copy()), shape=new.shape
    )
    return replace(catalogue, purchases=purchases, times=new)


def chance_interval(
    task: MatchTask,
    *,
    split: Split,
    setting: Setting,
    k: int,
    metric: str = "ndcg",
    samples: int = 400,
    level: float = 0.99,
    seed: int = 0,
) -> Interval:
    """What an order of items that knows nothing shows: its mean metric, and where that lies by chance.

    The order is random and the same for everybody, as a model's is that has learned nothing about users. Such
    orders spread wider than one drawn for every user, so that the interval is not too narrow.

    Args:
        task: where it is asked; opened where `split` is the test.
        split, setting, k, metric: what is judged.
        samples: how many orders are drawn.
        level: the interval's share of them, in (0, 1).
        seed: draws them.
    """
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        order = draw.random(task.train.shape[1]).astype(np.float32)

        def score(users: IntArray, candidates: IntArray, order: FloatArray = order) -> FloatArray:
            return np.broadcast_to(order[candidates], (len(users), len(candidates)))

        result = evaluate_arm(
            score, task, arm="chance", title="chance", split=split, k=k, settings=[setting],
            progress=False,
        )  # fmt: skip
        found.append(result.mean(setting, metric))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(found)), float(low), float(high))


def plant_edge(folder: Path, edge: EdgeType, at: datetime) -> None:
    """Plants one event at `at` in the snapshot in `folder`, as a fault of its making would: sums and all fit.

    For checks that look whether the leak is found; the snapshot is no longer one of anything.

    Args:
        folder: a snapshot.
        edge: an event type that has edges there; its last one is copied with the new time.
        at: the time; at or after the cut it is a leak.
    """
    file = folder / edge_file(edge)
    table = pq.read_table(file, partitioning=None)
    last = table.slice(table.num_rows - 1)
    name = next(f.name for f in table.schema if pa.types.is_timestamp(f.type))
    column = table.column_names.index(name)
    planted = last.set_column(
        column, table.schema.field(column), pa.array([at], table.schema.field(column).type)
    )
    pq.write_table(pa.concat_tables([table, planted]), file)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["edges"][edge_key(edge)] += 1
    manifest["files"][edge_file(edge)] = file_hash(file)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
