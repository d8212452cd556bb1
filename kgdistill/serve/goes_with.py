"""What goes with some items: bought in the same baskets, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kgdistill.errors import InputError
from kgdistill.ranking.topk import top_k
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.complements import BoughtTogether
from kgdistill.serve.items import Where
from kgdistill.serve.keys import at_most
from kgdistill.serve.past import known_places
from kgdistill.wording import language_of, say


def goes_with(
    bundle: Bundle,
    items: Sequence[str | int],
    k: int = 20,
    *,
    where: Where | None = None,
    usual: bool = False,
) -> Answer:
    """What people have in one basket with some items: what completes them, not what could stand in for them.

    That an item is bought with another counts where more people do so than by chance (`partners` of
    `kgdistill.derive.together`). Where too few bought an item, its category stands in for it, or without one
    its brand, and what is bought together with that beyond chance; `Hit.because` says which. What has neither
    is not listed, so that there may be fewer than `k`.

    Args:
        bundle: of a task that ranks by history.
        items: keys; what goes with all of them comes before what goes with one.
        k: how many.
        where: what must hold for an item, before ranking; see `Items.mask`.
        usual: also list what is bought with anything, the likeliest in the same basket first.

    Returns:
        Of basis `together` where one of the items was counted itself, `groups` where their categories or
        brands alone stand in for them, `nothing` where nothing is known.

    Raises:
        InputError: the bundle does not know an item, none is given, or it was made without this part; k or a
            filter cannot be used.
    """
    part = bundle.complements
    if part is None:
        task = bundle.task.get("name") or bundle.task.get("kind") or "another task"
        raise InputError(
            f"this bundle was made for {task!r} and holds nothing of what is bought together",
            hint="make it anew of a task that recommends: kgdistill train student --run RUN",
        )
    asked = known_places(bundle.items, items)
    if not len(asked):
        raise InputError("no item is given", hint="name one or more by their ids")
    parts = np.stack([part.scores(of, bundle.items, usual=usual) for of in asked.tolist()])
    scores = parts.mean(axis=0)
    mask = bundle.items.mask(where) if where else np.ones(len(bundle), np.bool_)
    mask &= scores > 0
    mask[asked] = False
    pool = np.flatnonzero(mask)
    best, score = top_k(scores[None, pool].astype(np.float32), pool, at_most(k, len(pool)))
    strongest = parts[:, best[0]].argmax(axis=0)
    told = [
        part.evidence(int(asked[of]), item, bundle.items)
        for of, item in zip(strongest.tolist(), best[0].tolist(), strict=True)
        if item >= 0
    ]
    hits = zip(bundle.items.hits(best[0], score[0]), told, strict=True)
    named = tuple(hit._replace(because=_because(bundle, evidence)) for hit, evidence in hits)
    counted = any(evidence.groups is None for evidence in told)
    return Answer("together" if counted else "groups" if told else "nothing", named)


def _because(bundle: Bundle, evidence: BoughtTogether) -> str:
    title = bundle.items.titles[evidence.item] or bundle.keys[evidence.item]
    told = language_of(title)
    if evidence.groups is None:
        message = "in one basket beyond chance" if evidence.lift else "in one basket"
        return say(message, told, item=title, support=evidence.support, lift=evidence.lift)
    own, other = (name.rsplit(" > ", 1)[-1] for name in evidence.groups)
    if evidence.lift:
        return say("groups in one basket", told, item=title, own=own, other=other, lift=evidence.lift)
    same = evidence.groups[0] == evidence.groups[1]
    return say("same group" if same else "of a group", told, item=title, own=own, other=other)
