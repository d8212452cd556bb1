"""Among whom an audience is chosen: by what is known of candidates, or what another bundle tells of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kgdistill.arrays import BoolArray
from kgdistill.errors import InputError, sensitive_error
from kgdistill.nearest import near_or_all, nearest
from kgdistill.serve.items import Items, Where
from kgdistill.words import plain

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle
    from kgdistill.serve.classifier import Prediction

_SHOWN = 20
_ALLOW = "allow it: --allow-sensitive, in Python allow_sensitive=True"


class Among(NamedTuple):
    """Who may be chosen.

    Attributes:
        mask: bool [candidates].
        notes: what has to be said of it, such as that something sensitive was allowed.
    """

    mask: BoolArray
    notes: tuple[str, ...]


def among(
    bundle: Bundle,
    where: Where,
    *,
    profiles: Bundle | None = None,
    least: float = 0.5,
    allow_sensitive: bool = False,
) -> Among:
    """The candidates of a bundle that finds audiences of whom something holds.

    What is sensitive, known or told, chooses nobody unless it is allowed.

    Args:
        bundle: finds audiences.
        where: property, or target of `profiles`, → a value or a list of which one must hold; of a property
            also as `Items.mask` takes it.
        profiles: a bundle that tells classes of the same histories: a candidate has the class that it tells.
        least: less probable classes are not told, and nobody is chosen by them.
        allow_sensitive: whether what is sensitive may choose.

    Raises:
        InputError: something sensitive that is not allowed; a property that neither bundle knows; a value of
            another kind; the bundles do not fit.
    """
    finder = bundle.finder
    if finder is None or finder.people is None:
        raise InputError(
            "this bundle keeps nothing of candidates to choose by", hint="make it anew: kgdistill fit"
        )
    if profiles is not None and profiles.classifier is None:
        raise InputError("tells no classes", where="profiles", hint="name a run of a task that does")
    targets = {} if profiles is None or profiles.classifier is None else profiles.classifier.targets
    # A bundle that does not say which of its targets are sensitive may tell anything.
    told_of = () if profiles is None else profiles.config.get("sensitive", list(targets))
    declared = {} if profiles is None else profiles.task.get("targets", {})
    by = {name for name, target in declared.items() if target.get("property") in finder.sensitive}
    guarded = {*finder.sensitive, *told_of, *by}
    mask, notes = np.ones(len(finder.people), np.bool_), _allowed(guarded, where, allow_sensitive)
    told = None
    for name, wanted in where.items():
        if name in targets:
            assert profiles is not None
            told = _predictions(bundle, profiles) if told is None else told
            mask &= _holds(told, name, _classes(name, wanted, targets[name].names), least)
            notes.append(f"{name} is what the other bundle predicts{_by(bundle, profiles)}")
        elif name in finder.sensitive and name not in finder.people.properties:
            raise InputError(
                f"the bundle holds no {name}: it is sensitive, and the run was made without it",
                where="where",
                hint="make the run with kgdistill fit --allow-sensitive",
            )  # fmt: skip
        elif name not in finder.people.properties:
            known = sorted({*finder.people.properties, *finder.sensitive, *targets})
            raise InputError(
                f"neither is {name!r} known of candidates, nor does a bundle tell it", where="where",
                hint=f"{nearest(str(name), known)}known: {', '.join(known) or 'nothing'}",
            )  # fmt: skip
        else:
            mask &= _of_value(finder.people, name, wanted, notes)
    return Among(mask, tuple(notes))


def _of_value(people: Items, name: str, wanted: Any, notes: list[str]) -> BoolArray:
    """Who has what is asked for; of a value that nobody has the notes say which there are."""
    asked = [value for value in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(value, str)]
    for value in asked if people.kind(name) == "text" else []:
        if not people.mask({name: value}).any():
            told = near_or_all(value, people.values(name))
            notes.append(f"nobody has {name} {value!r}{'; ' + told if told else ''}")
    return people.mask({name: wanted})


def _allowed(guarded: Collection[str], where: Where, allow_sensitive: bool) -> list[str]:
    """What is to be said of what is sensitive in a filter; InputError where it was not allowed."""
    named = [name for name in where if name in guarded]
    if named and not allow_sensitive:
        raise sensitive_error(named, "where", "nobody is chosen by it, known or predicted", _ALLOW)
    verb = "is" if len(named) == 1 else "are"
    return [f"{', '.join(named)} {verb} sensitive, and was allowed to choose"] if named else []


def _by(bundle: Bundle, profiles: Bundle) -> str:
    """What predictions rest on, where another bundle reads more than this one knows."""
    assert bundle.finder is not None
    own = bundle.finder.names.history
    return "" if profiles.task["subjects"].get("history") in (None, own) else f", by {own} alone"


def _predictions(bundle: Bundle, profiles: Bundle) -> list[Prediction]:
    """What is told of each candidate by its whole history."""
    finder = bundle.finder
    assert finder is not None
    read = profiles.classifier.nodes if profiles.classifier is not None else ()
    if not any(n.history and n.relationship == finder.names.history for n in read):
        raise InputError(f"the other bundle tells nothing from {finder.names.history}", where="profiles")
    keys, histories = bundle.items.keys, [[] for _ in range(finder.data.candidates)]  # type: list[str], list[list[str]]
    for who, what in zip(finder.data.history.who.tolist(), finder.data.history.what.tolist(), strict=True):
        histories[who].append(keys[what])
    return profiles.classify(histories=[{finder.names.history: mine} for mine in histories])


def _classes(name: str, wanted: Any, known: Sequence[str]) -> set[str]:
    """The classes that are asked for, as `plain` leaves them; InputError for one that is never told."""
    asked = [str(value) for value in (wanted if isinstance(wanted, list) else [wanted])]
    told = {plain(one) for one in known}
    for value in asked:
        if plain(value) not in told:
            hint = f"{nearest(value, known)}there are: {', '.join(known[:_SHOWN])}"
            raise InputError(f"{name} is never told as {value[:60]!r}", where="where", hint=hint)
    return {plain(value) for value in asked}


def _holds(told: Sequence[Prediction], name: str, asked: Collection[str], least: float) -> BoolArray:
    """Whether a class that is asked for is told of each, and likely enough."""
    return np.array(
        [
            one.known
            and any(
                plain(c) in asked and one.targets[name].probabilities[c] >= least
                for c in one.targets[name].classes
            )
            for one in told
        ],
        np.bool_,
    )
