"""What a bundle makes of what a store holds of a user."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kgdistill.errors import InputError
from kgdistill.explore.paths import Paths
from kgdistill.serve.attributions import attributions
from kgdistill.serve.bundle import Bundle
from kgdistill.store import GraphStore, kept_schema
from kgdistill.tasks.histories import items_of, stored_purchases


def properties(
    bundle: Bundle, store: GraphStore, user: str, *, least: float = 0.5, before: datetime | None = None
) -> list[dict[str, Any]]:
    """The properties of a user that a bundle tells by history, as JSON can hold them.

    Of each the `class` that is told with its `probability`, whether that is `told` (something of the history
    is known, it is at least `least` probable and within scope), the `probabilities` of all, and as
    `evidence` the items that speak most for it; see `attributions`.

    Args:
        bundle: of a task that tells classes of histories, such as profile.
        store: an open store.
        user: the subject's key.
        least: see above.
        before: only events before this time count; naive is UTC.

    Raises:
        InputError: the bundle tells no classes of a history.
        StoreError: from the store.
    """
    if bundle.classifier is None or not any(nodes.history for nodes in bundle.classifier.nodes):
        raise InputError("this bundle tells no classes of a history", hint="train one for the task profile")
    subject, schema = bundle.task["subjects"]["label"], kept_schema(store)
    keys: list[str] = []
    for nodes in bundle.classifier.nodes:
        if nodes.history:
            edge = (subject, nodes.relationship, nodes.label)
            keys += items_of(stored_purchases(store, edge, schema, user=user), before=before)
    keys = list(dict.fromkeys(keys))
    prediction, speaks = bundle.classify(histories=[keys])[0], attributions(bundle, keys)
    titles = Paths(store).products({e.key for some in speaks.values() for e in some})
    found = []
    for name, target in prediction.targets.items():
        told = target.first
        probability = target.probabilities[told]
        found.append(
            {
                "property": name,
                "class": told,
                "probability": probability,
                "told": prediction.known and probability >= least and not target.out_of_scope,
                "probabilities": target.probabilities,
                "evidence": [{**e._asdict(), "title": titles.get(e.key, e.key)} for e in speaks[name]],
            }
        )
    return found
