"""Answers that keep places for new items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kgdistill.errors import InputError
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle


def with_new(bundle: Bundle, answer: Answer, newcomers: Answer, k: int, places: int) -> Answer:
    """The first `k` items of an answer, of which at least `places` are new where there are as many.

    New is an item with fewer buyers than the student needs to learn it by (the pool `cold`). Those that are
    among the `k` already keep their places and count; for as many as are missing, the first of `newcomers`
    take the places of the last items that are not new, behind the others. That costs the least: who looks at
    the first items alone sees the same ones.

    Args:
        bundle: that gave both answers.
        answer: at least `k` items, if there are as many.
        newcomers: `k` items of the pool `cold`, for the same history, texts and filters.
        k: how many.
        places: how many of them are to be new.

    Returns:
        As `answer`; `Answer.new` names the new items. Scores order those of one pool alone.

    Raises:
        InputError: the bundle does not recommend, or `places` is not from 0 to `k`.
    """
    if bundle.history is None:
        raise InputError("this bundle does not recommend: it knows nothing of new items")
    if not 0 <= places <= k:
        raise InputError(f"{places} of {k} places are to be new: it is from 0 to {k}", where="new")
    cold = set(bundle.history.positions("cold").tolist())
    first = answer.hits[:k]
    is_new = [bundle.items.places[hit.id] in cold for hit in first]
    there = {hit.id for hit in first}
    found = [hit for hit in newcomers if hit.id not in there][: max(0, places - sum(is_new))]
    # Free places come first, then those of the last that are not new.
    taken = max(0, len(first) + len(found) - k)
    leave = set(np.flatnonzero(~np.array(is_new, np.bool_))[::-1][:taken].tolist())
    kept = [hit for n, hit in enumerate(first) if n not in leave]
    hits = tuple(hit._replace(rank=rank) for rank, hit in enumerate([*kept, *found], start=1))
    new = tuple(hit.id for hit in hits if bundle.items.places[hit.id] in cold)
    return replace(answer, hits=hits, new=new)
