"""What callers give: keys, and how many answers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kgdistill.errors import InputError


def check_count(value: int, name: str = "k") -> None:
    """InputError where it is no whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} is {value!r}; it must be a whole number and at least 1")


def at_most(k: int, items: int) -> int:
    """`k`, and no more than there are items."""
    check_count(k)
    return min(int(k), max(items, 1))


def key_texts(keys: Iterable[object]) -> list[str]:
    """Keys as texts: whole numbers are taken for the ids that they spell."""
    if isinstance(keys, str | bytes):
        raise InputError(
            f"{keys[:20]!r} is one text, not several keys", hint="give a list: ['20000', '20037']"
        )
    if not isinstance(keys, Iterable):
        raise InputError(f"{keys!r:.20} is no list of keys", hint="give a list: ['20000', '20037']")
    found = list(keys)
    if set(map(type, found)) <= {str}:
        return found  # type: ignore[return-value]
    for n, key in enumerate(found):
        if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
            raise InputError(f"the key {str(key)[:20]!r} is a {type(key).__name__}", hint="keys are texts")
        found[n] = str(key)
    return found  # type: ignore[return-value]
