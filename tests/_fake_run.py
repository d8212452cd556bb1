"""A run folder as the pipeline leaves it behind, with made-up figures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kgdistill.config import resolve_config
from kgdistill.run.base import RunBase

NASTY = '<script>alert(1)</script> Crème | "brûlée" & *more* [x](y) $5 `z`'
"""A product title that must stay text in HTML and in Markdown."""

_WARM = {
    "popularity": ("popularity", 0.0466, None),
    "ease": ("EASE (λ = 1000)", 0.0585, None),
    "teacher_text": ("text-only teacher", 0.0506, 3_150_336),
    "teacher": ("fused teacher", 0.0571, 4_412_160),
    "teacher_shuffled": ("fused teacher, shuffled facts", 0.0519, 4_412_160),
    "student": ("student (hybrid)", 0.0566, 1_204_224),
    "student_nodistill": ("student without distillation", 0.0538, 1_204_224),
    "student_exchanged": ("student, users exchanged", 0.0255, None),
}
# Each user's part in the validation of the epoch that was kept.
_VALIDATED = {
    "student": [0.03, 0.04, 0.05],
    "student_nodistill": [0.035, 0.046, 0.055],
    "teacher": [0.1, 0.2],
}
_TRAININGS = ("teacher", "teacher_text", "teacher_shuffled", "student", "student_nodistill")
_PROTOCOL = {"name": "fake", "title": "Fake", "cut": "2017-10-15", "test_start": "2017-11-19"}
_MANIFEST = {
    "format": 1,
    "cut": "2017-10-15T00:00:00",
    "schema_digest": "ab" * 32,
    "content_hash": "0f" * 32,
    "nodes": {"User": 2469, "Product": 92331, "Brand": 6471, "Category": 2600, "Department": 31},
    "edges": {
        "Product-MADE_BY-Brand": 92331,
        "User-BOUGHT-Product": 700489,
        "Category-PART_OF-Department": 303,
    },
}
_SCALE = {"warm": 1.0, "cold": 0.26, "strictly_cold": 0.3}


def write_fake_run(
    folder: Path, metrics: dict[str, Any] | None = None, *, histories: bool = True, explained: bool = True
) -> Path:
    """Writes the folder and returns it."""
    # A run folder is its owner's alone; what the tests look at is what stands in it.
    run = RunBase(folder, resolve_config({"protocol": _PROTOCOL, "seed": 7, "device": "cpu"}))

    def graph(stage: Path) -> None:
        _json(stage / "snapshot" / "manifest.json", _MANIFEST)
        (stage / "holdout.parquet").write_bytes(b"")

    def training(stage: Path) -> None:
        name = stage.name.removeprefix(".").partition(".part-")[0]
        if histories and name in _TRAININGS:
            _history(stage / "history.jsonl", _TRAININGS.index(name), distilled=name == "student")
        if name in _VALIDATED:
            _json(stage / "validated.json", _VALIDATED[name])

    def evaluation(stage: Path) -> None:
        _json(stage / "metrics.json", metrics or fake_metrics())

    run._stage("graph", run._graph_settings(), graph)
    (folder / "snapshot").symlink_to("graph/snapshot")
    for name in ("text", "choice", *_TRAININGS[:3], "targets", *_TRAININGS[3:]):
        run._stage(name, run._inputs(name), training)
    run._stage("evaluate", run._inputs("evaluate", judged=_TRAININGS), evaluation)
    if not explained:
        return folder
    users = [
        {
            "user": user,
            "purchases": 41,
            "bought": ["SOFT DRINKS 12/18 PK", NASTY],
            "new": [
                {
                    "product": "77",
                    "title": "KOMBUCHA",
                    "rank": 1,
                    "because": "viewed this before",
                    "otherwise": "without the 3 of COFFEE it would be rank 140",
                }
            ],
            "recommendations": [
                {
                    "product": str(1_000_000 + 17 * rank),
                    "title": NASTY if (user, rank) == ("900", 1) else f"YOGURT MULTI-PACKS {rank}",
                    "rank": rank,
                    "score": 3.0 - rank / 10,
                    "because": "bought SOFT DRINKS 12/18 PK, made by manufacturer 69 as this is",
                }
                for rank in range(1, 8)
            ],
        }
        for user in ("900", "1228", "31", "77")
    ]
    _json(folder / "explanations.json", {"student": run.need("student").made, "users": users})
    figure = Figure(figsize=(6, 3))
    figure.subplots().plot([0, 1, 2], [1, 0, 1], marker="o")
    figure.savefig(folder / "explanation.png", dpi=100)
    return folder


def fake_metrics() -> dict[str, Any]:
    """`evaluate/metrics.json`: the graph helps on warm and cold; on strictly cold nothing is shown."""
    arms = []
    for arm, (title, warm, parameters) in _WARM.items():
        settings = {
            setting: {
                name: _interval(warm * scale * factor)
                for name, factor in (("ndcg@20", 1.0), ("recall@20", 0.59), ("mrr@20", 2.4))
            }
            for setting, scale in _SCALE.items()
            if arm not in ("ease",) or setting == "warm"
        }
        arms.append(
            {"arm": arm, "title": title, "fit_seconds": 12.5, "parameters": parameters, "settings": settings}
        )
    return {
        "protocol": {
            "name": "Complete Journey, discovery",
            "description": ["Interaction: a household's first purchase of a product.", "Ties: by item id."],
            "cut": "2017-10-15T00:00:00",
            "test_start": "2017-11-19T00:00:00",
            "k": 20,
            "settings": {
                "warm": {"users": 2049, "candidates": 22492},
                "cold": {"users": 1858, "candidates": 9922},
                "strictly_cold": {"users": 1521, "candidates": 4745},
            },
            "bootstrap": {"samples": 1000, "level": 0.95},
        },
        "arms": arms,
        "comparisons": [
            _comparison("teacher", "teacher_shuffled", "warm", 0.0052, 0.0021),
            _comparison("teacher", "teacher_shuffled", "strictly_cold", 0.0004, 0.0011),
            _comparison("teacher_text", "teacher", "cold", -0.0017, 0.0009),
            _comparison("student", "student_nodistill", "warm", 0.0028, 0.0019),
            _comparison("student", "student_nodistill", "cold", -0.0031, 0.0012),
            _comparison("student", "student_exchanged", "warm", 0.0311, 0.0021),
            _comparison("student", "ease", "warm", -0.0019, 0.0024),
            _comparison("student", "popularity", "warm", 0.01, 0.0027),
            _comparison("student", "popularity", "cold", -0.002, 0.001),
        ],
        "beyond_accuracy": {
            "student": {"coverage": 0.231, "gini": 0.871, "popularity_lift": 1.42},
            "teacher": {"coverage": 0.262, "gini": 0.853, "popularity_lift": None},
        },
    }


def _interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean * 0.945, "high": mean * 1.057}


def _comparison(a: str, b: str, setting: str, difference: float, reach: float) -> dict[str, Any]:
    ends = {"low": difference - reach, "high": difference + reach}
    return {"a": a, "b": b, "setting": setting, "metric": "ndcg@20", "difference": difference, **ends}


def _history(file: Path, n: int, *, distilled: bool) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as out:
        for epoch in range(1, 13):
            fall = math.exp(-epoch / (4 + n))
            row = {"epoch": epoch, "loss": 4.2 + 3 * fall, "loss/task": 4.1 + 2.8 * fall, "seconds": 3.4}
            if distilled:
                row["loss/list"] = 0.08 + 0.2 * fall
            if epoch % 2 == 0:
                row["valid/warm_ndcg@20"] = 0.056 * (1 - fall)
                row["valid/cold_ndcg@20"] = 0.0145 * (1 - fall)
            out.write(json.dumps(row) + "\n")
    if distilled:
        _json(file.with_name("config.json"), {"best_epoch": 8})


def _json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
