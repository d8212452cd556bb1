"""Words, nearness in meaning and named facts in one score; the same for a teacher and a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Fusion:
    """How much each part of the score weighs; every part lies in [0, 1].

    Attributes:
        meaning: of nearness in meaning against BM25, which weighs 1 − meaning.
        coverage: of the share of the query's words that an item holds.
        facts: of the facts that the query names.
        depth: where given, only the first `depth` of the lexical ranking are ordered by the whole score;
            the others follow in lexical order.
    """

    meaning: float = 0.5
    coverage: float = 0.5
    facts: float = 0.2
    depth: int | None = None


# Words find, meaning reorders: what a shop would serve.
SERVING = Fusion(depth=100)
# Where the candidates are given, all of them are reordered.
WHOLE = Fusion()


def unit(scores: FloatArray) -> FloatArray:
    """Each row scaled to [0, 1]; a row of equal values becomes 0."""
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return np.asarray((scores - low) / np.maximum(high - low, 1e-9), np.float32)


def fuse(parts: Mapping[str, FloatArray], fusion: Fusion) -> FloatArray:
    """One score, float32 [Q, items]; a part that is not there weighs nothing.

    Where no item holds a word of the query, the lexical parts are 0 throughout and meaning decides
    alone, at any depth.

    Args:
        parts: each float32 [Q, items]: "words" (BM25) and "near" (cosines) as they come, "coverage" and
            "named", which are shares; and "fits", the share of the query that is no word and that an item
            meets, which weighs what coverage does.
        fusion: what each weighs.
    """
    weighed = []
    near, words = parts.get("near"), parts.get("words")
    meaning = fusion.meaning if near is not None else 0.0
    if words is not None:
        first = unit(words)
        weighed.append((1 - meaning) * first)
    if "coverage" in parts:
        weighed.append(fusion.coverage * parts["coverage"])
    if near is not None:
        weighed.append(meaning * unit(near) if words is not None else near)
    if "named" in parts and fusion.facts:
        weighed.append(fusion.facts * parts["named"])
    if "fits" in parts:
        weighed.append(fusion.coverage * parts["fits"])
    score = weighed[0]
    for more in weighed[1:]:
        score = score + more
    if words is None or near is None or fusion.depth is None or fusion.depth >= score.shape[1]:
        return np.asarray(score, np.float32)
    if "coverage" in parts:
        first = first + fusion.coverage * parts["coverage"]
    if "fits" in parts:
        first = first + fusion.coverage * parts["fits"]
    out = np.asarray(first - 10, np.float32)
    for row, values in enumerate(score):
        if not words[row].any():
            out[row] = values
            continue
        best = _best(first[row], near[row], fusion.depth)
        out[row, best] = values[best]
    return out


def _best(first: FloatArray, then: FloatArray, depth: int) -> IntArray:
    """The columns of the `depth` highest; ties at the edge go to the higher `then`, not to the lower id."""
    bound = np.partition(first, len(first) - depth)[len(first) - depth]
    above, tied = np.flatnonzero(first > bound), np.flatnonzero(first == bound)
    free = depth - len(above)
    if free < len(tied):
        edge = np.partition(then[tied], len(tied) - free)[len(tied) - free]
        over, equal = tied[then[tied] > edge], tied[then[tied] == edge]
        tied = np.concatenate([over, equal[: free - len(over)]])
    return np.concatenate([above, tied])
