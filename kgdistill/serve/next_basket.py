"""The next basket: what a bundle answers that ranks what is bought again beside what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.ranking.habits import DAY_US
from kgdistill.ranking.topk import top_k
from kgdistill.serve.answer import Answer, Basis
from kgdistill.serve.items import Where
from kgdistill.serve.keys import at_most, key_texts
from kgdistill.serve.past import Past, moment_text, timed
from kgdistill.serve.reasons import reasons
from kgdistill.serve.repeats import Repeats, first_places
from kgdistill.wording import event_name, language_of, say

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle

_USERS = 64
"""Answered at a time, so that memory does not grow with their number."""


@dataclass(frozen=True)
class _Asked:
    """One user's lines, as the repeat model reads them.

    Attributes:
        places: positions, by time and position, int64 [n].
        at: how long before the moment, microseconds below 0, int64 [n].
        unknown: keys that the bundle lacks.
        notes: which moment, where it was not given.
    """

    places: IntArray
    at: IntArray
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def next_baskets(
    bundle: Bundle,
    histories: Sequence[Past],
    k: int,
    *,
    where: Where | None = None,
    pool: str | None = None,
    new_only: bool = False,
    exclude: Sequence[Sequence[str | int]] | None = None,
) -> list[Answer]:
    """What each user buys next, had before or not.

    A user without a purchase before the moment is answered by what was bought most of late.

    Args:
        bundle: with a `Repeats` part.
        histories: every purchase with its time; see `Timed`.
        k: how many; fewer where fewer are left.
        where: what must hold for an item; see `Items.mask`.
        pool: `warm`, `cold` or `all`; None: what anybody bought, and what the user did.
        new_only: leave out what was bought.
        exclude: for each history, keys that are not to be recommended.

    Raises:
        InputError: as `Bundle.recommend`; a purchase without a time.
    """
    part, items = bundle.repeats, bundle.items
    assert part is not None
    among = _among(bundle, pool, where)
    ranked = int(among.sum()) if among is not None else len(items)
    k = at_most(k, ranked)
    asked = [_asked(bundle, part, history) for history in histories]
    left = [bundle.index(key_texts(keys))[0] for keys in exclude] if exclude is not None else []
    answers = []
    for start in range(0, len(asked), _USERS):
        some = asked[start : start + _USERS]
        scores = _scores(bundle, part, some, among, whole=pool is not None)
        for n, one in enumerate(some):
            if left:
                scores[n, left[start + n]] = -np.inf
            if new_only:
                scores[n, one.places] = -np.inf
        best, found = top_k(scores, np.arange(len(items)), k)
        for one, places, values in zip(some, best, found, strict=True):
            basis: Basis = "history" if len(one.places) else "popularity"
            answers.append(Answer(basis, items.hits(places, values), one.unknown, notes=one.notes))
    return answers


def _among(bundle: Bundle, pool: str | None, where: Where | None) -> BoolArray | None:
    """What is ranked; None: everything."""
    if pool is None:
        return bundle.items.mask(where) if where else None
    mask = np.zeros(len(bundle), np.bool_)
    mask[bundle.ranked(pool, where).items] = True
    return mask


def _asked(bundle: Bundle, part: Repeats, history: Past) -> _Asked:
    keys, at, moment = timed(history)
    latest = int(at.max(initial=part.until_us - 1)) + 1
    until = max(part.until_us, latest) if moment is None else moment
    places = np.array([bundle.items.places.get(key, -1) for key in keys], np.int64)
    unknown = tuple(dict.fromkeys(key for key, place in zip(keys, places, strict=True) if place < 0))
    kept = (places >= 0) & (at < until)
    order = np.lexsort((places[kept], at[kept]))
    notes = () if moment is not None else (f"as of {moment_text(until, bundle.zone)}",)
    return _Asked(places[kept][order], at[kept][order] - until, unknown, notes if kept.any() else ())


def _scores(
    bundle: Bundle, part: Repeats, asked: Sequence[_Asked], among: BoolArray | None, *, whole: bool
) -> FloatArray:
    """float32 [B, N]; -inf of what is not ranked: unless `whole`, also of what nobody bought."""
    assert bundle.history is not None
    count = len(bundle)
    known = [n for n, one in enumerate(asked) if len(one.places)]
    out = np.full((len(asked), count), -2, np.float32)
    out[:, part.bought] = -1 - np.arange(len(part.bought), dtype=np.float32) / count
    if known:
        lines = [(asked[n].places, asked[n].at) for n in known]
        out[known] = part.scores(lines, bundle.history.scorer, among)
    everybody = np.full(count, whole)
    everybody[part.bought] = True
    for n, one in enumerate(asked):
        ranked = everybody.copy()
        ranked[one.places] = True
        out[n, ~(ranked if among is None else ranked & among)] = -np.inf
    return out


def with_habits(bundle: Bundle, answer: Answer, history: Past) -> Answer:
    """The same answer with how often and when each item was bought; else what the student says for it."""
    assert bundle.repeats is not None
    assert bundle.history is not None
    one, scorer = _asked(bundle, bundle.repeats, history), bundle.history.scorer
    places = bundle.items.index([hit.id for hit in answer])[0]
    told = [_again(bundle, one, place) for place in places.tolist()]
    new = [n for n, said in enumerate(told) if not said]
    if new and len(one.places):
        pool, bought = scorer.pool(np.sort(places[new])), first_places(one.places)
        for n, said in zip(new, reasons(scorer, bought, places[new], pool, bundle.items), strict=True):
            told[n] = said
    hits = (hit._replace(because=why) for hit, why in zip(answer, told, strict=True))
    return replace(answer, hits=tuple(hits))


def _again(bundle: Bundle, one: _Asked, place: int) -> str:
    """Empty where it was not bought."""
    days = np.unique((-1 - one.at[one.places == place]) // DAY_US)
    if not len(days):
        return ""
    told = language_of(bundle.items.names[place])
    event, ago = event_name(bundle.event, told), int(days[0])
    last = say(("today", "yesterday")[ago], told) if ago < 2 else say("days ago", told, days=ago)
    if len(days) == 1:
        return say("once", told, event=event, last=last)
    every = round(int(days[-1] - days[0]) / (len(days) - 1))
    often = say("every day", told) if every < 2 else say("every days", told, days=every)
    return say("again", told, event=event, times=len(days), every=often, last=last)
