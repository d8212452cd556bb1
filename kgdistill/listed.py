"""Texts that list values: colour, size and material in one property."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# A comma between digits is a decimal one.
_BREAK = re.compile(r"[;；|、，]|,(?!\d)|(?<!\d),")
_SEVERAL, _SHARED = 0.2, 0.9


def parts_of(text: str) -> tuple[str, ...]:
    """The values that a text lists, each once and sorted; a path is one value."""
    if " > " in text:
        return (text,)
    return tuple(sorted({part for one in _BREAK.split(text) if (part := one.strip())}))


def lists_values(texts: Iterable[str | None]) -> bool:
    """Whether a field's texts list values that items share.

    They do where a fifth of them have several parts, nine in ten parts are another item's too, and there are
    fewer parts than whole texts: titles fail the second, brands such as "Johnson, Inc" the third.

    Args:
        texts: of the items, None where one has none.
    """
    times = Counter(text for text in texts if text)
    items: Counter[tuple[str, ...]] = Counter()
    for text, count in times.items():
        items[parts_of(text)] += count
    if sum(n for parts, n in items.items() if len(parts) > 1) < _SEVERAL * max(times.total(), 1):
        return False
    held: Counter[str] = Counter()
    for parts, count in items.items():
        for part in parts:
            held[part] += count
    shared = sum(count for count in held.values() if count > 1)
    return shared >= _SHARED * held.total() and len(held) < len(items)
