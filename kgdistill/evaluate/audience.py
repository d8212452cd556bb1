"""Judging models that find an audience: figures with intervals, gains, what was expected of each anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.ranking.audience import (
    TOP,
    Judged,
    audience_metrics,
    compare_audiences,
    expected_positives,
    gains,
)
from kgdistill.tasks.audience import last_moment
from kgdistill.tasks.audience_task import AudienceTask, anchor_times

SETTING = "anchors"
_MAIN = "auc"


@dataclass(frozen=True)
class AudienceArm:
    """One model in a comparison.

    Attributes:
        arm, title: its short name and what a reader calls it.
        judged: what came of the pairs.
        probabilities: of the pairs, float32 [N].
        spread: of an anchor's level; None where it tells no interval.
        seconds, size: of training, and how many numbers answer; None where they are not told.
    """

    arm: str
    title: str
    judged: Judged
    probabilities: FloatArray
    spread: float | None = None
    seconds: float | None = None
    size: int | None = None


def audience_document(
    task: AudienceTask, arms: Sequence[AudienceArm], compared: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The figures in the shape of every run, with `gains` of each arm, and `expected` of each anchor.

    Args:
        task: whose test was opened.
        arms: all judged on the same pairs.
        compared: pairs of arms whose differences are told.
    """
    by_name = {arm.arm: arm for arm in arms}
    judged = arms[0].judged
    ranked = np.unique(judged.anchors, return_counts=True)[1]
    each = "" if ranked.min() == ranked.max() else " on average"
    label = task.spec.anchors.label
    described = [
        *task.describe(),
        f"auc: over all pairs; auc_within: the mean over the {label}s of the AUC within each; top10: of the "
        f"positives, the share among the best {TOP:.0%} of all pairs.",
        f"Intervals: {task.spec.candidates.label}s are drawn with all their pairs; for auc_within {label}s.",
    ]
    comparisons = [
        {
            "a": a, "b": b, "setting": SETTING, "metric": metric, "difference": told.mean, "low": told.low,
            "high": told.high,
        }
        for a, b in compared
        for metric, told in compare_audiences(
            judged, [by_name[a].probabilities], [by_name[b].probabilities]
        ).items()
    ]  # fmt: skip
    return {
        "protocol": {
            "name": task.spec.heading, "description": described, "k": 1, "metric": _MAIN,
            "units": f"{label.lower()}s", "ranked": f"{task.spec.candidates.label.lower()}s{each}",
            "cut": str(task.snapshot.cut), "test_start": str(task.snapshot.cut),
            "settings": {SETTING: {"users": len(ranked), "candidates": round(float(ranked.mean()))}},
            "bootstrap": {"samples": 1000, "level": 0.95},
        },
        "arms": [
            {
                "arm": arm.arm, "title": arm.title, "fit_seconds": arm.seconds, "parameters": arm.size,
                "settings": {
                    SETTING: {
                        name: told._asdict()
                        for name, told in audience_metrics(judged, [arm.probabilities]).items()
                    }
                },
            }
            for arm in arms
        ],
        "comparisons": comparisons,
        "gains": {arm.arm: gains(judged, arm.probabilities) for arm in arms},
        "expected": [row for arm in arms if arm.arm == "student" for row in expected_rows(task, arm)],
    }  # fmt: skip


def expected_rows(task: AudienceTask, arm: AudienceArm) -> list[dict[str, Any]]:
    """For each anchor of the test: how many candidates it has, were expected of them, and came.

    `ended` says whether it had ended with the last event: of one that runs on, more may come.
    """
    rows = []
    ends, last = anchor_times(task.everything, task.spec)[1], last_moment(task.later)
    for anchor in np.unique(arm.judged.anchors):
        mine = arm.judged.anchors == anchor
        told = expected_positives(arm.probabilities[mine].astype(np.float64), arm.spread or 0.0)
        rows.append(
            {
                "anchor": task.later_keys[anchor], "candidates": int(mine.sum()),
                "came": int(arm.judged.labels[mine].sum()), "expected": told.mean, "low": told.low,
                "high": told.high, "ended": bool(ends[anchor] <= last),
            }
        )  # fmt: skip
    return rows
