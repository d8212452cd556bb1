"""What somebody did, as callers give it: keys of items bought, or keys by the kind of event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.serve.items import Items
from kgdistill.serve.keys import key_texts

Past: TypeAlias = Sequence[str | int] | Mapping[str, Sequence[str | int]]
"""Keys of items bought, the latest last; or such keys by event, `{"BOUGHT": [...], "VIEWED": [...]}`."""
Texts: TypeAlias = list[str] | dict[str, list[str]]


def past_texts(past: Past) -> Texts:
    """Every key as a text; read once, as an iterator would be empty the second time.

    Raises:
        InputError: one text instead of several keys, or a key that is neither text nor a whole number.
    """
    return {str(n): key_texts(k) for n, k in past.items()} if isinstance(past, Mapping) else key_texts(past)


def past_size(past: Past) -> int:
    """How many keys it holds."""
    return sum(map(len, past.values())) if isinstance(past, Mapping) else len(past)


def past_places(
    items: Items, own: str, events: Iterable[str], past: Texts
) -> tuple[IntArray, tuple[str, ...]]:
    """Positions of the known keys, as `HistoryScorer` reads them, and the unknown keys.

    Args:
        items: of the bundle.
        own: the event that is right, whose items are the history where no event is named.
        events: the further ones that the bundle reads.
        past: from `past_texts`.

    Raises:
        InputError: an event that the bundle does not read.
    """
    if not isinstance(past, dict):
        return items.index(past)
    names = [own, *events]
    for name in past:
        if name not in names:
            raise InputError(
                f"the bundle reads no event {name[:40]!r}",
                hint=f"{nearest(name, names)}known: {', '.join(names)}",
            )
    found = [items.index(past.get(name, [])) for name in names]
    places = [kind * len(items) + known for kind, (known, _) in enumerate(found)]
    return np.concatenate(places), tuple(dict.fromkeys(key for _, unknown in found for key in unknown))


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
