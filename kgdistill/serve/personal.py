"""A search's answer in the order that somebody's history suggests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgdistill.errors import InputError
from kgdistill.serve.answer import Answer
from kgdistill.serve.past import Past

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle

DEPTH = 100
"""So many of what a search finds are put in order; what follows keeps its place."""
SHARE = 0.1
"""How much of the order is the history's unless told."""


def personal(answer: Answer, history: Past, by: Bundle, share: float = SHARE) -> Answer:
    """The hits of a search, those that a history suggests further ahead.

    The score is (1 - share) · what the search says + share · what the history says, both from 0, the least of
    the first `DEPTH` hits, to 1. An item that the other bundle lacks is neither suggested nor held back: it
    has the middle.

    Args:
        answer: of a search.
        history: as `Bundle.recommend`'s; unknown keys are reported.
        by: the bundle that knows what was bought; the one that searched, or another over the same keys.
        share: from 0, the answer as it is, to 1, what was found in the history's order.

    Raises:
        InputError: `share` is not from 0 to 1, or the bundle knows of no history.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the history's share is {share}; it is from 0 to 1")
    if by.history is None:
        raise InputError(
            "this bundle knows nothing of what was bought, so that a history says nothing to it",
            hint="name one beside it that recommends",
        )
    known, unknown = by.index(history)
    answer = replace(answer, unknown=unknown)
    if not len(known) or share == 0 or not answer:
        return answer
    first, rest = answer.hits[:DEPTH], answer.hits[DEPTH:]
    places = np.array([by.items.places.get(hit.id, -1) for hit in first], np.int64)
    items = np.unique(places[places >= 0])
    if not len(items):
        return answer
    scores = by.history.scorer.scores(known, by.history.scorer.pool(items))
    liked = np.full(len(first), 0.5)
    liked[places >= 0] = _from_0_to_1(scores)[np.searchsorted(items, places[places >= 0])]
    found = _from_0_to_1(np.array([hit.score for hit in first]))
    blended = (1 - share) * found + share * liked
    order = np.argsort(-blended, kind="stable")
    ahead = [first[n]._replace(score=float(blended[n])) for n in order]
    # What follows stays behind: its scores are counted on from the last of these.
    behind = [hit._replace(score=hit.score - first[-1].score + ahead[-1].score) for hit in rest]
    hits = (hit._replace(rank=rank) for rank, hit in enumerate([*ahead, *behind], start=1))
    return replace(answer, hits=tuple(hits))


def _from_0_to_1(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    values = scores.astype(np.float64)
    return np.asarray((values - values.min()) / max(float(np.ptp(values)), 1e-12))
