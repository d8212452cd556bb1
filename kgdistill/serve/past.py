"""What somebody did, as callers give it: keys of items bought, or keys by the kind of event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.moment import local, moment, naive_utc
from kgdistill.nearest import nearest
from kgdistill.ranking.habits import Time, Timed
from kgdistill.serve.items import Items
from kgdistill.serve.keys import key_texts

Texts: TypeAlias = list[str] | dict[str, list[str]]
Past: TypeAlias = (
    Sequence[str | int] | Mapping[str, Sequence[str | int]] | Sequence[tuple[str | int, Time]] | Timed
)
"""Keys of items bought, the latest last; or such keys by event, `{"BOUGHT": [...], "VIEWED": [...]}`; or to a
bundle that ranks what is bought again, every purchase with its time: a `Timed`, or its lines alone."""


def timed(history: Past) -> tuple[list[str], IntArray, int | None]:
    """The keys, the times and the moment of asking, microseconds since 1970.

    Raises:
        InputError: it holds something else than pairs of a key and a time.
    """
    whole = history if isinstance(history, Timed) else None
    given = whole.lines if whole is not None else history
    hint = "give pairs: [('20000', '2024-03-01'), ('20000', '2024-03-08T18:00')]"
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InputError("what is bought again is told by every purchase and its time", hint=hint)
    keys, times = [], []
    for line in given:
        if not isinstance(line, tuple | list) or len(line) != 2:
            raise InputError(f"{line!r:.40} is no purchase with its time", hint=hint)
        keys.append(line[0])
        times.append(_micros(line[1]))
    moment = None if whole is None or whole.at is None else _micros(whole.at)
    return key_texts(keys), np.array(times, np.int64), moment


def moment_text(time: int | datetime, zone: str) -> str:
    """A moment for people, to the minute, as the clocks of `zone` show it, and which zone that is.

    Args:
        time: microseconds since 1970, UTC; or a time, which is UTC where it names no zone.
        zone: such as a bundle's.
    """
    return f"{_local(time, zone):%Y-%m-%d %H:%M} {zone}"


def day_text(time: int | datetime, zone: str) -> str:
    """The day of a moment in `zone`; as `moment_text`."""
    return f"{_local(time, zone):%Y-%m-%d}"


def _local(time: int | datetime, zone: str) -> datetime:
    told: datetime = time if isinstance(time, datetime) else np.datetime64(time, "us").astype(datetime)
    return local(naive_utc(told), zone)


def _micros(time: Time) -> int:
    if isinstance(time, str):
        time = moment(time, "history")
    if isinstance(time, np.datetime64) and not np.isnat(time):
        return int(time.astype("datetime64[us]").astype(np.int64))
    if not isinstance(time, datetime):
        raise InputError(f"{time!r:.40} is no time", where="history", hint="write 2017-10-15T12:00:00")
    return int(np.datetime64(naive_utc(time), "us").astype(np.int64))


def past_texts(past: Past) -> Texts:
    """Every key as a text; read once, as an iterator would be empty the second time.

    Of purchases with times each key once, in the order of its first before the moment of asking.

    Raises:
        InputError: one text instead of several keys, or a key that is neither text nor a whole number.
    """
    if isinstance(past, Timed) or (
        isinstance(past, list | tuple) and any(isinstance(k, tuple) for k in past)
    ):
        keys, at, moment = timed(past)
        known = np.flatnonzero(at < moment) if moment is not None else np.arange(len(at))
        return list(dict.fromkeys(keys[n] for n in known[np.argsort(at[known], kind="stable")]))
    return {str(n): key_texts(k) for n, k in past.items()} if isinstance(past, Mapping) else key_texts(past)


def past_size(past: Past) -> int:
    """How many keys it holds."""
    if isinstance(past, Mapping):
        return sum(map(len, past.values()))
    return len(past.lines) if isinstance(past, Timed) else len(past)


def past_places(
    items: Items, own: str, events: Mapping[str, float], past: Texts
) -> tuple[IntArray, tuple[str, ...]]:
    """Positions of the known keys, as `HistoryScorer` reads them, and the unknown keys.

    Args:
        items: of the bundle.
        own: the event that is right, whose items are the history where no event is named.
        events: the further ones that the bundle reads, and what one weighs; those of 0 are passed over.
        past: from `past_texts`.

    Raises:
        InputError: an event that the bundle does not read.
    """
    if not isinstance(past, dict):
        return items.index(past)
    weights = {own: 1.0, **events}
    for name in past:
        if name not in weights:
            raise InputError(
                f"the bundle reads no event {name[:40]!r}",
                hint=f"{nearest(name, weights)}known: {', '.join(weights)}",
            )
    found = [items.index(past.get(name, []) if weight else []) for name, weight in weights.items()]
    places = [kind * len(items) + known for kind, (known, _) in enumerate(found)]
    return np.concatenate(places), tuple(dict.fromkeys(key for _, unknown in found for key in unknown))


def numbers_above(task: Mapping[str, Any]) -> dict[str, float]:
    """By event and property, such as RATED.rating, the number above which one counts, of a bundle's task."""
    return dict((task.get("positives") or {}).get("above") or {})


def known_places(items: Items, keys: Sequence[str | int]) -> IntArray:
    """Positions of keys, all of which the bundle must know.

    Raises:
        InputError: as `past_texts`, or naming one that it does not know.
    """
    known, unknown = items.index(key_texts(keys))
    if unknown:
        near = nearest(unknown[0], items.keys[:10_000])
        raise InputError(f"the bundle knows no item {unknown[0][:40]!r}", hint=near)
    return known
