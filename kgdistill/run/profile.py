"""What a bundle makes of what a store holds of a user."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kgdistill.errors import InputError
from kgdistill.explore.paths import Paths
from kgdistill.run.known import known_subjects
from kgdistill.serve.attributions import KnownSubject, attributions, told_of
from kgdistill.serve.bundle import Bundle
from kgdistill.store import GraphStore, kept_schema


def properties(
    bundle: Bundle, store: GraphStore, user: str, *, least: float = 0.5, before: datetime | None = None
) -> list[dict[str, Any]]:
    """The properties of a user that a bundle tells by history, as JSON can hold them.

    Of each the `class` that is told with its `probability`, whether that is `told` (something of the history
    is known, it is at least `least` probable and within scope), the `probabilities` of all, and as
    `evidence` the items and texts that speak most for it, each with its `event`; see `attributions`.

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
    if bundle.classifier is None or not (bundle.classifier.events or bundle.task["subjects"].get("history")):
        raise InputError("this bundle tells no classes of a history", hint="train one for the task profile")
    known = known_subjects(bundle, store, kept_schema(store), user=user, before=before).get(
        user, KnownSubject({})
    )
    prediction, speaks = told_of(bundle, [known])[0], attributions(bundle, known)
    products = {e.key for some in speaks.values() for e in some if e.event in known.done}
    titles = {
        (name, key): title for key, title in Paths(store).products(products).items() for name in known.done
    }
    titles |= {(name, one.key): one.text for name, some in known.wrote.items() for one in some}
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
                "evidence": [
                    {**e._asdict(), "title": titles.get((e.event, e.key), e.key)} for e in speaks[name]
                ],
            }
        )
    return found
