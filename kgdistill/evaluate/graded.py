"""Judges matches by text against people's grades, and writes the one document of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.ranking.bootstrap import bootstrap_mean, paired_bootstrap
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.ranking.graded import DEPTH, Judgements, search_metrics

_CELLS = 1 << 23
Settings = dict[str, dict[str, DoubleArray]]
"""Setting → metric → float64 [queries that have one]."""


class Parts(Protocol):
    """What a score is made of; see `fuse`."""

    def __call__(self, queries: IntArray) -> Mapping[str, FloatArray]:
        """Of some queries, each float32 [B, items]."""


@dataclass(frozen=True)
class GradedArm:
    """How one arm did; `fit_seconds` and `parameters` where they are known."""

    arm: str
    title: str
    settings: Settings
    fit_seconds: float | None = None
    parameters: int | None = None


def judge_parts(
    parts: Parts, judgements: Judgements, fusion: Fusion, *, items: int, ks: Sequence[int]
) -> Settings:
    """Ranks every item for every judged query.

    full: all items ranked, as a shop would serve them. relevant: how many of the relevant are among the first
    50. rerank: the judged items alone, without a depth, as there is nothing to find first; left out where no
    query has grades to tell apart. Each over the queries that have a grade above 0. Memory is a few matrices
    of 8 M float32.

    Args:
        parts: of the score.
        judgements: of the queries.
        fusion: what the parts weigh.
        items: how many are ranked.
        ks: how many ranks count; the first decides.
    """
    block = max(_CELLS // max(items, 1), 1)
    blocks: list[dict[str, DoubleArray]] = []
    for start in range(0, len(judgements.queries), block):
        rows = np.arange(start, min(start + block, len(judgements.queries)))
        held = parts(rows)
        score, whole = fuse(held, fusion), fuse(held, replace(fusion, depth=None))
        mine = judgements.take(rows)
        measured: dict[str, DoubleArray] = {}
        for k in ks:
            measured |= search_metrics(score, mine, k=k, given=whole)
        blocks.append(measured)
    whole_of = {name: np.concatenate([part[name] for part in blocks]) for name in blocks[0]}
    settings: Settings = {}
    for k in ks:
        for setting, metrics in by_setting(whole_of, k).items():
            settings.setdefault(setting, {}).update(metrics)
    if all(len(np.unique(grades)) < 2 for grades in judgements.grades):
        settings.pop("rerank", None)
    return settings


def by_setting(measured: Mapping[str, DoubleArray], k: int) -> Settings:
    """What `search_metrics` gave, each setting over the queries that have a value."""
    full, recall = measured[f"full/ndcg@{k}"], measured[f"full/recall@{DEPTH}"]
    there, relevant = np.isfinite(full), np.isfinite(recall)
    settings = {
        "full": {f"ndcg@{k}": full[there], f"judged@{k}": measured[f"full/judged@{k}"][there]},
        "relevant": {f"recall@{DEPTH}": recall[relevant]},
        "rerank": {f"ndcg@{k}": measured[f"rerank/ndcg@{k}"][there]},
    }
    return {name: metrics for name, metrics in settings.items() if len(next(iter(metrics.values())))}


def graded_document(
    protocol: Mapping[str, Any],
    arms: Sequence[GradedArm],
    comparisons: Sequence[tuple[str, str]],
    *,
    items: int,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of a comparison, in the shape of `metrics_document`.

    Args:
        protocol: name, description, k and whatever else is to be told.
        arms: all over the same queries.
        comparisons: pairs of arms (a, b) whose difference a - b is wanted.
        items: how many were ranked.
        samples, level, seed: as in `bootstrap_mean`.
    """
    draw: dict[str, Any] = {"samples": samples, "level": level, "seed": seed}
    held = {arm.arm: arm for arm in arms}
    sizes = {s: len(next(iter(metrics.values()))) for s, metrics in arms[0].settings.items()}
    return {
        "protocol": {
            **protocol,
            "settings": {s: {"users": size, "candidates": items} for s, size in sizes.items()},
            "bootstrap": {"samples": samples, "level": level},
        },
        "arms": [
            {
                "arm": arm.arm,
                "title": arm.title,
                "fit_seconds": arm.fit_seconds,
                "parameters": arm.parameters,
                "settings": {
                    setting: {m: bootstrap_mean(values, **draw)._asdict() for m, values in metrics.items()}
                    for setting, metrics in arm.settings.items()
                },
            }
            for arm in arms
        ],
        "comparisons": [
            _difference(held[a], held[b], setting, metric, draw)
            for a, b in comparisons
            for setting, metrics in held[a].settings.items()
            for metric in list(metrics)[:1]
        ],
    }


def _difference(
    a: GradedArm, b: GradedArm, setting: str, metric: str, draw: dict[str, Any]
) -> dict[str, Any]:
    found = paired_bootstrap(a.settings[setting][metric], b.settings[setting][metric], **draw)
    ends = {"difference": found.mean, "low": found.low, "high": found.high}
    return {"a": a.arm, "b": b.arm, "setting": setting, "metric": metric, **ends}
