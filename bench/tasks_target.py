"""Measures who will redeem: Complete Journey, the later 6 of 27 campaigns.

    python -m bench.tasks_target --seeds 3
    python -m bench.tasks_target --seeds 3 --folder runs/target-bench     keeps graph and runs, goes on there

Goes the whole way: files, mapping, graph, declared task, run. Baselines: a logistic regression of four
counts, and gradient boosting (scikit-learn) of all that the student reads. Seeds are averaged; intervals are
95 % of a bootstrap over households, for the AUC within a campaign over campaigns; p by Holm over all.
Prints a table and writes bench/results/tasks_target.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import kgdistill as kg
from bench.comparisons import holm
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.datasets.adapt_journey import journey_sources
from kgdistill.datasets.adapters import adapter
from kgdistill.evaluate.audience import AudienceArm
from kgdistill.ranking.audience import AUDIENCE_METRICS, Judged, anchor_aucs, audience_metrics
from kgdistill.run.run import Run
from kgdistill.train.audience import pair_table

RESULTS = Path(__file__).parent / "results" / "tasks_target.json"
SAMPLES = 2000
COMPARED = [
    ("student", "counts"), ("student", "boosting"), ("student", "student_nodistill"), ("student", "teacher"),
    ("teacher", "counts"), ("teacher", "teacher_noz"), ("teacher", "teacher_text"),
    ("teacher", "teacher_shuffled"),
]  # fmt: skip


def boosting(run: Run) -> FloatArray:
    """Probabilities of the test by gradient boosting of what the student reads; its size by validation."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss

    maker, arm = run.by_audience, run.pipeline.arms["student"]
    views = maker._views(arm)
    table = maker._table(arm)
    later = np.isin(table.anchors, maker.task.anchors(1))
    tried: list[tuple[float, int, int]] = []
    for trees in (25, 50, 100, 200):
        for leaves in (4, 8):
            model = HistGradientBoostingClassifier(
                max_iter=trees, max_leaf_nodes=leaves, learning_rate=0.05, min_samples_leaf=20, random_state=0
            ).fit(table.features[~later], table.labels[~later])
            lost = log_loss(table.labels[later], model.predict_proba(table.features[later])[:, 1])
            tried.append((float(lost), trees, leaves))
    _, trees, leaves = min(tried)
    model = HistGradientBoostingClassifier(
        max_iter=trees, max_leaf_nodes=leaves, learning_rate=0.05, min_samples_leaf=20,
        random_state=run.config.seed,
    ).fit(table.features, table.labels)  # fmt: skip
    tested = pair_table(views.later, maker.task.test_pairs())
    return np.asarray(model.predict_proba(tested.features)[:, 1], np.float32)


def fitted(folder: Path, seed: int) -> Run:
    """The run of a seed; the graph and the texts' vectors are those of the first."""
    place = folder / f"run-{seed}"
    with kg.Graph(f"ladybug:{folder / 'graph.db'}") as graph:
        if not (folder / "run-0").exists():
            graph.ingest(adapter("complete-journey").mapping_path, tables=journey_sources(None))
        if not place.exists() and seed:
            place.mkdir()
            for stage in ("graph", "text"):
                shutil.copytree(folder / "run-0" / stage, place / stage)
            config = json.loads((folder / "run-0" / "config.json").read_text()) | {"seed": seed}
            (place / "config.json").write_text(json.dumps(config))
        run = Run.create(place, graph, task="target", seed=seed, device="cpu", threads=1)
    run.fit()
    return run


def drawn(judged: Judged, scores: list[FloatArray], metric: str) -> tuple[float, DoubleArray]:
    """A figure, the mean over seeds, and the same of every resample; equal seeds draw the same."""
    draw = np.random.default_rng(0)
    if metric == "auc_within":
        values = np.mean([anchor_aucs(judged, s) for s in scores], axis=0)
        picks = draw.integers(len(values), size=(SAMPLES, len(values)))
        return float(values.mean()), values[picks].mean(axis=1)
    count, place = judged.people
    compute: Callable[..., float] = AUDIENCE_METRICS[metric]
    out = np.empty(SAMPLES)
    for i in range(SAMPLES):
        weights = np.bincount(draw.integers(count, size=count), minlength=count)[place]
        out[i] = np.mean([compute(judged, s, weights) for s in scores])
    ones = np.ones(len(place), np.int64)
    return float(np.mean([compute(judged, s, ones) for s in scores])), out


def compared(judged: Judged, scores: dict[str, list[FloatArray]]) -> list[dict[str, Any]]:
    """Every difference of `COMPARED` in every metric, with its interval and p-value."""
    rows: list[dict[str, Any]] = []
    for metric in AUDIENCE_METRICS:
        told = {arm: drawn(judged, scores[arm], metric) for arm in {a for pair in COMPARED for a in pair}}
        for a, b in COMPARED:
            found, apart = told[a][0] - told[b][0], told[a][1] - told[b][1]
            low, high = np.quantile(apart, [0.025, 0.975])
            beyond = int((np.abs(apart - found) >= abs(found) - 1e-12).sum())
            rows.append(
                {
                    "arm": a, "other": b, "metric": metric, "difference": found, "low": float(low),
                    "high": float(high), "p": (1 + beyond) / (1 + SAMPLES),
                }
            )  # fmt: skip
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def rows(seeds: int, folder: Path | None = None) -> dict[str, Any]:
    """Every arm's figures, their differences, and what was expected of each campaign.

    Args:
        seeds: trainings of each arm.
        folder: keeps graph and runs; a temporary one where None.
    """
    if folder is None:
        with TemporaryDirectory() as scratch:
            return rows(seeds, Path(scratch))
    folder.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[FloatArray]] = {}
    titles, sizes = {}, {}
    expected: list[dict[str, Any]] = []
    judged: Judged | None = None
    described: list[str] = []
    for seed in range(seeds):
        run = fitted(folder, seed)
        results = run.evaluate()
        run.by_audience.task.open_test()
        arms: list[AudienceArm] = list(run.by_audience.judged_arms())
        judged, described = arms[0].judged, results["protocol"]["description"]
        for arm in arms:
            scores.setdefault(arm.arm, []).append(arm.probabilities)
            titles[arm.arm], sizes[arm.arm] = arm.title, arm.size
        scores.setdefault("boosting", []).append(boosting(run))
        titles["boosting"] = "gradient boosting of what the student reads"
        expected += [{"seed": seed, **row} for row in results["expected"]]
    assert judged is not None
    return {
        "protocol": described,
        "seeds": seeds,
        "pairs": len(judged.labels),
        "positives": int(judged.labels.sum()),
        "arms": [
            {
                "arm": name, "title": titles[name], "parameters": sizes.get(name),
                **{m: told._asdict() for m, told in audience_metrics(judged, said, samples=SAMPLES).items()},
                "by_seed": [
                    {m: f(judged, one, np.ones(len(one), np.int64)) for m, f in AUDIENCE_METRICS.items()}
                    for one in said
                ],
            }
            for name, said in scores.items()
        ],
        "compared": compared(judged, scores),
        "expected": expected,
    }  # fmt: skip


def show(found: dict[str, Any], console: Console) -> None:
    """The figures, and the differences that survive Holm's correction."""
    for sentence in found["protocol"]:
        console.print(sentence)
    table = Table(title=f"{found['pairs']:,} pairs, {found['positives']:,} positives, {found['seeds']} seeds")
    for column in ("arm", *AUDIENCE_METRICS):
        table.add_column(column)
    for arm in found["arms"]:
        told = [arm[m] for m in AUDIENCE_METRICS]
        table.add_row(arm["title"], *(f"{t['mean']:.3f} [{t['low']:.3f}, {t['high']:.3f}]" for t in told))
    console.print(table)
    for row in found["compared"]:
        console.print(
            f"{row['arm']} - {row['other']}, {row['metric']}: {row['difference']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}], p {row['p_holm']:.3f} by Holm"
        )
    for row in found["expected"]:
        if not row["seed"]:
            console.print(
                f"campaign {row['anchor']}: expected {row['expected']:.1f} [{row['low']:.1f}, "
                f"{row['high']:.1f}] of {row['candidates']:,}, came {row['came']}"
                f"{'' if row['ended'] else ', still running'}"
            )


def main() -> None:
    """Measures, shows and writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--folder", type=Path)
    options = asked.parse_args()
    found = rows(options.seeds, options.folder)
    show(found, Console(width=160))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
