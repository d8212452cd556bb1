"""Complete Journey: new products for a household, and the next basket with repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.baselines import RecboleModel
from bench.suites.choose import Chooser, Peer
from bench.suites.data import graph_of, journey_lines
from bench.suites.discovery import Discovery, discovery_suite, with_tail
from bench.suites.judge import merged
from bench.suites.peers import Content, collaborative, content, popular, recboles
from bench.suites.result import ArmScores, SuiteResult
from bench.suites.run import SuiteOptions
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.datasets.complete_journey import complete_journey_protocol, complete_journey_tables
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.run.run import Run
from kgdistill.tasks.basket import HALF_LIVES, RepeatTask, describe_repeat, personal_frequency, repeat_task
from kgdistill.tasks.match import Scorer, Setting

_WARM: tuple[Setting, ...] = ("warm", "tail")


def journey_suite(options: SuiteOptions) -> SuiteResult:
    """Every arm on Complete Journey.

    Raises:
        InputError: the data's package is not installed, or a setting is not valid.
    """

    def peers(chooser: Chooser, read: Content, place: Path) -> list[Peer]:
        found = [popular(), *collaborative(_WARM), *content(read, powers=False)]
        if options.recbole_seconds > 0:
            models: tuple[RecboleModel, ...] = ("LightGCN", "BPR", "CFKG", "KGAT")
            found += recboles(models, read.facts, place / "recbole", options.recbole_seconds, _WARM)
        return found

    result, runs = discovery_suite(
        Discovery(
            name="completejourney" if options.households is None else f"completejourney-{options.households}",
            protocol=with_tail(complete_journey_protocol()),
            graph=lambda: graph_of(complete_journey_tables(households=options.households)),
            choose={
                "warm": ("warm", "ndcg@20"),
                "cold": ("cold", "ndcg@20"),
                "strictly_cold": ("cold", "ndcg@20"),
                "tail": ("warm", "ndcg@20"),
            },
            peers=peers,
            headline=dict.fromkeys(("warm", "cold", "strictly_cold", "tail", "repeat"), "ndcg@20"),
            against=("ease", "als", "category_popularity", "metadata_knn", "recbole_lightgcn"),
        ),
        options,
    )
    _add_repeat(result, runs, options.peers)
    return result


def _add_repeat(result: SuiteResult, runs: list[Run], peers: bool) -> None:
    """Judges what answers the repeat task, as a setting "repeat" of its own."""
    lines = journey_lines()
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

    # A run whose student has a repeat feature says so by this method: (task, split) -> Scorer.
    for run in runs:
        make = getattr(run, "repeat_scorer", None)
        if make is not None:
            scores = judged(make(opened, "test"), "student")
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
