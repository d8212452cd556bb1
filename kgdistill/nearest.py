"""Words for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LISTED, _LONG = 8, 40


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing; case is no difference.

    Near is what one slip for every three letters leads to, or what begins or ends with the other, or what
    begins as it and has but letters more.
    """
    folded = {k.casefold(): k for k in known}
    asked = name.casefold()
    close = difflib.get_close_matches(asked, folded, n=3, cutoff=0.6)
    best = next((other for other in close if _is_near(asked, other)), None)
    return f"did you mean {folded[best]!r}? " if best is not None else ""


def there_are(name: str, known: Iterable[str]) -> str:
    """`there are: a, b`: the values that are known, those nearest to a name first, at most eight of them."""
    values, asked = sorted(set(known)), name.casefold()
    if not values:
        return ""
    if len(values) > _LISTED:
        close = difflib.get_close_matches(asked, [v.casefold() for v in values], n=_LISTED, cutoff=0.0)
        places = {near: place for place, near in reversed(list(enumerate(close)))}
        values.sort(key=lambda value: places.get(value.casefold(), len(places)))
    else:
        values.sort(key=lambda v: -difflib.SequenceMatcher(None, asked, v.casefold()).ratio())
    told = ", ".join(v if len(v) <= _LONG else f"{v[: _LONG - 1]}…" for v in values[:_LISTED])
    more = f" and {len(values) - _LISTED:,} more" if len(values) > _LISTED else ""
    return f"there are: {told}{more}"


def near_or_all(name: str, known: Sequence[str]) -> str:
    """What to offer in the place of a value that nothing has: a near one, else those that there are."""
    return nearest(name, known).strip() or there_are(name, known)


def _is_near(asked: str, other: str) -> bool:
    short, long = sorted((asked, other), key=len)
    if short and (long.startswith(short) or long.endswith(short)):
        return True
    # Loaded here, as hardly any command needs it.
    from rapidfuzz.distance import OSA

    slips = int(OSA.distance(asked, other))
    return slips <= max(1, len(long) // 3) or (short[:1] == long[:1] and slips == len(long) - len(short))
