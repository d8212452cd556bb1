"""The next basket with repeats, as a setting of a suite of discovery."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bench.suites.judge import merged
from bench.suites.result import ArmScores, SuiteResult
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run.run import Run
from kgdistill.tasks.basket import HALF_LIVES, RepeatTask, describe_repeat, personal_frequency, repeat_task
from kgdistill.tasks.match import Scorer


def add_repeat(result: SuiteResult, runs: list[Run], lines: pa.Table, peers: bool) -> None:
    """Judges what answers the repeat task, as a setting "repeat" of its own.

    Args:
        result: gets the setting.
        runs: of ours.
        lines: every purchase: source, target (string keys), at.
        peers: whether to judge those of this task too.
    """
    closed = repeat_task(runs[0].task, lines)
    opened = repeat_task(runs[0].task, lines)
    opened.open_test()
    result.protocol += [f"repeat: {line}" for line in describe_repeat(closed.protocol)]

    def judged(scorer: Scorer, arm: str) -> dict[str, dict[str, DoubleArray]]:
        found = evaluate_arm(scorer, opened, arm=arm, title=arm).settings["warm"]
        keys = [str(opened.user_keys[int(user)]) for user in found.users]
        result.units["repeat"] = keys
        k = opened.protocol.k
        return {"repeat": {f"{m}@{k}": found.values(m) for m in ("ndcg", "recall", "mrr")}}

    for run in runs:
        scores = judged(run.by_history.repeat_scorer(opened, "test"), "student")
        result.arms = [
            merged(arm, scores) if (arm.arm, arm.seed) == ("student", run.config.seed) else arm
            for arm in result.arms
        ]
    if not peers:
        return
    half_life = max(
        HALF_LIVES,
        key=lambda h: (
            evaluate_arm(
                personal_frequency(closed, "validation", half_life=h), closed, arm="frequency",
                title="frequency", split="validation", progress=False,
            ).mean("warm")
        ),
    )  # fmt: skip
    told = {"half_life_weeks": half_life.days / 7}
    scorer = personal_frequency(opened, "test", half_life=half_life)
    result.arms += [
        ArmScores(
            "personal_frequency", "personal frequency with decay", "peer", 0, None, None, None,
            judged(scorer, "personal_frequency"), told,
        ),
        ArmScores(
            "line_popularity", "popularity by purchases", "peer", 0, None, None, None,
            judged(_lines_popularity(opened), "line_popularity"),
        ),
    ]  # fmt: skip
    result.comparisons.append(("student", "personal_frequency"))


def _lines_popularity(task: RepeatTask) -> Scorer:
    _, items, _ = task.lines
    counts = np.bincount(items, minlength=task.train.shape[1]).astype(np.float32)

    def score(users: IntArray, candidates: IntArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.broadcast_to(counts[candidates], (len(users), len(candidates)))

    return score
