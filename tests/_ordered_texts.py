"""Texts whose mood the order of two words tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _classes import snapshot_of

from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, parse_task

FILLERS = ["thing", "maker", "pen", "lamp", "desk", "tape"]


def spec(**target: str) -> ClassifySpec:
    """Which of two moods an utterance has, or which of what `target` says."""
    parsed = parse_task({
        "kind": "classify", "name": "mood", "title": "Mood",
        "subjects": {"label": "Utterance", "by": "text"}, "targets": {"mood": {"property": "mood", **target}},
        "protocol": {"split": "given", "property": "split"},
    })  # fmt: skip
    assert isinstance(parsed, ClassifySpec)
    return parsed


def ordered(folder: Path, *, drawn: bool = False, count: int = 600, **target: str) -> ClassifyTask:
    """Texts whose mood the order of two words tells; with `drawn` it is drawn, and nothing tells it."""
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        words, (first, second) = rng.choice(FILLERS, size=12), np.sort(rng.choice(12, size=2, replace=False))
        words[[first, second]] = ["paper", "chair"] if i % 2 else ["chair", "paper"]
        mood = rng.integers(2) if drawn else i % 2
        part = ["train", "train", "validation", "test"][i // 2 % 4]
        rows.append({
            "utterance_id": f"u{i:04}", "text": " ".join(words), "mood": ["up", "down"][mood], "split": part,
        })  # fmt: skip
    return build_classify_task(snapshot_of({"Utterance": rows}, folder / "s"), spec(**target))
