"""What a student makes of the purchases on a path: by how much a product's score falls without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from kgdistill.serve.bundle import Bundle
from kgdistill.serve.past import Past, numbers_above
from kgdistill.serve.reasons import parts
from kgdistill.store import GraphStore, Schema
from kgdistill.tasks.histories import stored_past

_HISTORIES = 8
"""Scored at a time: what a table of weights between items says of so many fits the caches."""


def events_read(bundle: Bundle) -> frozenset[str]:
    """The events that a student reads of a history: its own, and those that weigh something beside it."""
    return frozenset((bundle.event, *(name for name, weight in bundle.events.items() if weight)))


def past_read(
    bundle: Bundle, store: GraphStore, schema: Schema, user: str, before: datetime | None = None
) -> Past:
    """What a user did, as a store holds it and a bundle reads it; arguments as of `weighed_by`."""
    names, above = (bundle.event, *bundle.events), numbers_above(bundle.task)
    return stored_past(store, schema, user, names, before=before, above=above)


def weighed_by(
    bundle: Bundle, store: GraphStore, schema: Schema, user: str, before: datetime | None = None
) -> tuple[PathWeights, frozenset[str]]:
    """`weigh` and `reads` of `kgdistill.explore.explain`: a student's, of what a store says that a user did.

    Args:
        bundle: of a task that ranks by history.
        store: an open store.
        schema: its schema.
        user: the key.
        before: only what was done before this time; naive is UTC.

    Raises:
        StoreError: from the store.
    """
    past = past_read(bundle, store, schema, user, before)
    return PathWeights(bundle, {user: past}), events_read(bundle)


class PathWeights:
    """Weighs paths for `kgdistill.explore.explain` by the student itself.

    Args:
        bundle: of a task that ranks by history.
        histories: by user, keys of items bought, the latest last, or keys by event.
    """

    def __init__(self, bundle: Bundle, histories: Mapping[str, Past]) -> None:
        self._bundle, self._histories = bundle, histories

    def __call__(self, user: str, product: str, members: Sequence[tuple[str, ...]]) -> list[float]:
        """Which share of what speaks for a product goes with each of some sets of purchases, from 0 to 1.

        The score falls by that much where the purchases are taken out of the history; what speaks for the
        product is the sum of the terms that raise its score. 0 of purchases and products that the bundle
        lacks.

        Args:
            user, product: keys.
            members: keys of purchases, taken out together.
        """
        bundle, history = self._bundle, self._histories.get(user, ())
        known = bundle.index(history)[0]
        if bundle.history is None or product not in bundle.items.places or not len(known):
            return [0.0] * len(members)
        scorer = bundle.history.scorer
        pool = scorer.pool(np.array([bundle.items.places[product]], np.int64))
        speaking = float(np.maximum(parts(scorer, known, pool, np.array([0])), 0).sum())
        left = [known[~np.isin(known, bundle.index(keys)[0])] for keys in members]
        scores = [
            float(score)
            for start in range(0, len(left), _HISTORIES)
            for score in scorer.block(left[start : start + _HISTORIES], pool).scores[:, 0]
        ]
        whole = float(scorer.scores(known, pool)[0])
        return [min(max((whole - score) / max(speaking, 1e-9), 0.0), 1.0) for score in scores]
