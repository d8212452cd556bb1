"""Answers whose items are less alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle

DEPTH = 10
"""An answer of k is picked among so many times k."""


def diversified(bundle: Bundle, answer: Answer, k: int, share: float) -> Answer:
    """The `k` items of an answer that are good and unlike those before them.

    Maximal marginal relevance (Carbonell & Goldstein 1998): each next item has the largest
    (1 - share) · relevance - share · likeness, with the relevance from 0, the answer's last, to 1, its first,
    and the likeness that to the most like item before it.

    Args:
        bundle: that gave the answer.
        answer: more than `k` items, `DEPTH` times as many.
        k: how many.
        share: from 0, the answer as it is, to 1.

    Raises:
        InputError: `share` is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of diversity is {share}; it is from 0 to 1")
    if not answer:
        return answer
    like = likeness(bundle, answer)
    scores = np.array([hit.score for hit in answer], np.float64)
    relevance = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-12)
    chosen: list[int] = []
    most = np.zeros(len(answer))
    left = np.ones(len(answer), np.bool_)
    for _ in range(min(k, len(answer))):
        gain = np.where(left, (1 - share) * relevance - share * most, -np.inf)
        best = int(gain.argmax())
        chosen.append(best)
        left[best] = False
        most = np.maximum(most, like[best])
    hits = (answer.hits[n]._replace(rank=rank) for rank, n in enumerate(chosen, start=1))
    return replace(answer, hits=tuple(hits))


def likeness(bundle: Bundle, answer: Answer) -> FloatArray:
    """How alike the items of an answer are, float32 [hits, hits], from 0 to 1.

    Half of it is the cosine of the student's vectors where that is above 0, a quarter each the brand and the
    category if it is the same.
    """
    items = bundle.index([hit.id for hit in answer])[0]
    vectors = np.zeros((len(items), 1), np.float32) if bundle.vectors is None else bundle.vectors[items]
    same = np.zeros((len(items), len(items)), np.float32)
    for names in ([hit.brand for hit in answer], [hit.category for hit in answer]):
        column = np.array(names)
        same += 0.25 * ((column[:, None] == column) & (column != "")[:, None])
    out: FloatArray = same + 0.5 * np.clip(vectors @ vectors.T, 0, 1)
    return out
