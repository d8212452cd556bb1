"""Judging models that answer questions: reciprocal rank, the first answer, coverage at a stated precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray
from kgdistill.ranking.bootstrap import bootstrap_mean, paired_bootstrap
from kgdistill.ranking.confidence import Confidence, evidence, fit_confidence
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.tasks.answers import AnswerTask, Questions


@dataclass(frozen=True)
class Ranked:
    """What a model says of some questions.

    Attributes:
        scores, near, coverage: of every answer, float32 [Q, answers]; see `evidence`.
    """

    scores: FloatArray
    near: FloatArray
    coverage: FloatArray

    @property
    def evidence(self) -> FloatArray:
        """What a confidence in the first answer rests on, float32 [Q, F]; see `evidence`."""
        return evidence(self.near, self.coverage, self.scores, self.first)

    def without(self, asked: Questions) -> Ranked:
        """The same of questions that nobody has answered yet: those that are right are left out."""
        scores = self.scores.copy()
        for row, right in enumerate(asked.right):
            scores[row, list(right)] = -np.inf
        return Ranked(scores, self.near, self.coverage)

    @property
    def first(self) -> list[int]:
        """The best answer of each question; of equals the one of the smallest number."""
        best: list[int] = self.scores.argmax(axis=1).tolist()
        return best

    def right(self, asked: Questions) -> BoolArray:
        """Whether the first answer is right, bool [Q]."""
        return np.array([a in right for a, right in zip(self.first, asked.right, strict=True)], np.bool_)


def ranked(task: AnswerTask, parts: Mapping[str, FloatArray], fusion: Fusion) -> Ranked:
    """The answers to some questions.

    Args:
        task: whose entries are scored.
        parts: of the score, each float32 [Q, entries]; see `fuse`.
        fusion: what they weigh.
    """
    scores = task.by_answer(fuse(parts, fusion))
    nothing = np.zeros_like(scores)
    near, coverage = (
        task.by_answer(parts[name]) if name in parts else nothing for name in ("near", "coverage")
    )
    return Ranked(scores, near, coverage)


def commonest(task: AnswerTask, count: int) -> Ranked:
    """The baseline that looks at no question: to each of `count` the answers by how often they were given."""
    given = np.bincount(task.answer, minlength=len(task.answers)).astype(np.float32)
    scores = np.tile(given, (count, 1))
    nothing = np.zeros_like(scores)
    return Ranked(scores, nothing, nothing)


def fitted_confidence(task: AnswerTask, said: Ranked, precision: float) -> Confidence:
    """The confidence in a model's first answer, by what it says of the validation questions.

    Each is asked a second time of the other answers, none of which is right: where every question finds its
    answer, nothing else shows what one looks like that has none. Both count alike.
    """
    asked = task.asked("validation")
    other = said.without(asked)
    # Of a single answer that is left nothing says how far it lies above the next.
    rows = np.isfinite(other.scores).sum(axis=1) > 1
    numbers = np.concatenate([said.evidence, other.evidence[rows]])
    right = np.concatenate([said.right(asked), np.zeros(int(rows.sum()), np.bool_)])
    return fit_confidence(numbers, right, precision=precision)


def measures(said: Ranked, asked: Questions, confidence: Confidence) -> dict[str, DoubleArray]:
    """Of each question: mrr, recall@1 and coverage, and precision of those that are answered, float64.

    Args:
        said: of the questions.
        asked: what is right.
        confidence: from where on an answer is given.
    """
    order = np.argsort(-said.scores, axis=1, kind="stable")
    ranks = [
        next(r for r, a in enumerate(row.tolist(), start=1) if a in right)
        for row, right in zip(order, asked.right, strict=True)
    ]
    right = said.right(asked).astype(np.float64)
    given = confidence.of(said.evidence) >= confidence.threshold
    return {
        "mrr": 1.0 / np.array(ranks, np.float64),
        "recall@1": right,
        "coverage": given.astype(np.float64),
        "precision": right[given],
    }


def answers_document(
    protocol: Mapping[str, Any],
    arms: Sequence[Mapping[str, Any]],
    comparisons: Sequence[tuple[str, str]],
    *,
    count: int,
) -> dict[str, Any]:
    """The figures of a comparison in the shape of every run.

    Args:
        protocol: name and description.
        arms: of each `arm`, `title`, `fit_seconds`, `parameters` and, as `measures`, what `measure` gave.
        comparisons: pairs of arms, each a difference of their MRR.
        count: of the answers.
    """
    held = {arm["arm"]: arm["measures"]["mrr"] for arm in arms}
    asked = len(next(iter(held.values())))
    return {
        "protocol": {
            **protocol, "k": 1, "metric": "mrr", "units": "questions", "ranked": "answers",
            "settings": {"all": {"users": asked, "candidates": count}},
            "bootstrap": {"samples": 1000, "level": 0.95},
        },
        "arms": [
            {
                **{name: value for name, value in arm.items() if name != "measures"},
                "settings": {
                    "all": {m: bootstrap_mean(v)._asdict() for m, v in arm["measures"].items() if len(v)}
                },
            }
            for arm in arms
        ],
        "comparisons": [
            {"a": a, "b": b, "setting": "all", "metric": "mrr", **_difference(held[a], held[b])}
            for a, b in comparisons
        ],
    }  # fmt: skip


def _difference(a: DoubleArray, b: DoubleArray) -> dict[str, float]:
    found = paired_bootstrap(a, b)
    return {"difference": found.mean, "low": found.low, "high": found.high}
