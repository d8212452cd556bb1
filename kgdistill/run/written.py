"""What a run knows of itself and of its answers, to be kept with them in a graph."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import ArtefactError
from kgdistill.explore.run_nodes import RunFacts

if TYPE_CHECKING:
    from kgdistill.run.run import Run


def run_facts(run: Run) -> RunFacts:
    """The task, times and figures of a run; of one that was not judged no figures.

    Raises:
        ArtefactError: its snapshot is not there, or no longer fits.
    """
    made = datetime.fromtimestamp(
        (run.folder / "graph" / "snapshot" / "manifest.json").stat().st_mtime, timezone.utc
    )
    return RunFacts(
        task=run.config.task.name,
        created_at=made.replace(tzinfo=None),
        cut=run.snapshot.cut,
        snapshot=run.snapshot.content_hash,
        **_figures(run),
    )


def _figures(run: Run) -> dict[str, Any]:
    from kgdistill.run.report.run import Metrics
    from kgdistill.run.report.words import headline_arm

    try:
        text = (run.read("evaluate") / "metrics.json").read_bytes()
    except ArtefactError:
        return {}
    metrics = Metrics.model_validate_json(text)
    arm, name = headline_arm(metrics), metrics.protocol.headline
    kept = json.dumps(
        {s: {m: i and i.model_dump() for m, i in held.items()} for s, held in arm.settings.items()}
    )
    for setting in metrics.protocol.settings:
        if interval := arm.settings.get(setting, {}).get(name):
            return {
                "metric": f"{name} {setting}",
                "value": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "metrics": kept,
            }
    return {"metrics": kept}


def with_origins(run: Run, answers: pa.Table) -> pa.Table:
    """The recommendations of a run that knows users by their history, with `teacher_score` and `is_new`.

    Args:
        run: keeps its teacher's targets, or not: then no teacher_score is known.
        answers: user, product, rank, score.
    """
    bundle = run.bundle()
    cold = pa.array([bundle.keys[i] for i in bundle.ranked("cold").items], pa.string())
    table = answers.append_column("is_new", pc.is_in(answers["product"], value_set=cold))
    scores = _teacher_scores(run, answers)
    return table if scores is None else table.append_column("teacher_score", scores)


def _teacher_scores(run: Run, answers: pa.Table) -> pa.Array | None:
    """The teacher's score of each answer that stood in its list for the user; null elsewhere."""
    from kgdistill.run.artefacts import load_targets

    try:
        targets = load_targets(run.read("targets"))
    except ArtefactError:
        return None
    protocol, snapshot = run.config.discovery, run.snapshot
    users = snapshot.index(protocol.anchors, answers["user"].to_numpy())
    items = snapshot.index(protocol.candidates, answers["product"].to_numpy())
    count = snapshot.num_nodes(protocol.candidates)
    pairs = (targets.users[:, None] * count + targets.items).ravel()
    # Of a product that stands in several lists of a user the score is the same.
    pairs, first = np.unique(pairs, return_index=True)
    wanted = np.where((users >= 0) & (items >= 0), users * count + items, -1)
    at = np.minimum(np.searchsorted(pairs, wanted), max(len(pairs) - 1, 0))
    found = (pairs[at] == wanted) if len(pairs) else np.zeros(len(wanted), bool)
    values = targets.scores.ravel()[first][at] if len(pairs) else np.zeros(len(wanted))
    return pa.array(values.astype(np.float64), mask=~found)
