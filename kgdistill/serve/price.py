"""What a query says of a price: "under 20", "bis 20 €", "20元以下", "between 10 and 20"."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from kgdistill.units import NUMBER, number

_MONEY = r"(?:[€$£¥元円]|(?:eur|euros?|usd|dollars?|gbp|rmb|cny|yuan)(?![a-z])|块钱?|人民币)"
# With a currency anywhere; without one only where the query ends: "under 5 minutes" is no price.
_SOME = rf"(?:[€$£¥] ?(?P<A>{NUMBER})|(?P<B>{NUMBER}) ?{_MONEY}|(?P<C>{NUMBER}) ?$)"
_PAID = rf"(?:[€$£¥] ?(?P<A>{NUMBER})|(?P<B>{NUMBER}) ?{_MONEY})"
# Where prices are written so, a point before three digits stands between thousands: 1.500 €.
_GERMAN = re.compile(
    r"€|(?<![a-z])(?:eur|euros?|zwischen|und|von|bis|unter|weniger als|billiger als|hochstens|maximal|"
    r"mindestens|mehr als|uber|ab)(?![a-z])"
)
_AHEAD = r"(?:(?<![^\W_])|(?<=[\u3040-\u9fff]))"


def _pattern(text: str) -> re.Pattern[str]:
    """Each `SOME` and `PAID` of a text with names of its own."""
    parts = re.split("(SOME|PAID)", text)
    for n, part in enumerate(parts):
        if part in ("SOME", "PAID"):
            amount = _SOME if part == "SOME" else _PAID
            parts[n] = re.sub(r"\?P<([ABC])>", rf"?P<\g<1>{n}>", amount)
    return re.compile("".join(parts))


_BOTH = (
    rf"{_AHEAD}(?:between|zwischen) ?(?:[€$£¥] ?)?({NUMBER}) ?{_MONEY}? (?:and|und) SOME",
    rf"{_AHEAD}(?:from|von) ?(?:[€$£¥] ?)?({NUMBER}) ?{_MONEY}? (?:to|bis) PAID",
    rf"{_AHEAD}[€$£¥]? ?({NUMBER}) ?{_MONEY}? ?(?:-|–|~|to|bis|到|至) ?PAID",
)
_MOST = (
    rf"{_AHEAD}(?:under|below|less than|cheaper than|up to|at most|no more than|max\.?|maximum|maximal|unter|"
    r"weniger als|billiger als|hochstens|bis zu) ?SOME",
    r"(?:<=?|≤|低于|不超过|不到|少于|小于) ?SOME",
    rf"{_AHEAD}bis PAID",
    rf"{_AHEAD}({NUMBER}) ?{_MONEY}? ?(?:以下|以内|之内|之下)",
)
_LEAST = (
    rf"{_AHEAD}(?:at least|more than|no less than|min\.?|minimum|mindestens|mehr als) ?SOME",
    r"(?:>=?|≥|高于|不低于|大于|超过) ?SOME",
    rf"{_AHEAD}(?:over|above|from|uber|ab) PAID",
    rf"{_AHEAD}({NUMBER}) ?{_MONEY}? ?(?:以上|起)",
)
_KINDS = [
    (_pattern(text), kind)
    for kind, texts in (("both", _BOTH), ("most", _MOST), ("least", _LEAST))
    for text in texts
]


class Price(NamedTuple):
    """A price that stands in a text.

    Attributes:
        start, end: where.
        least, most: one of which may be None.
    """

    start: int
    end: int
    least: float | None
    most: float | None


def priced(text: str) -> Price | None:
    """The first price that a folded text speaks of, if it does.

    A number that a unit follows is none, nor one without a currency in the midst of the text. Which currency
    it is does not matter: it is the catalogue's. With German words or euros "1.500" is fifteen hundred.
    """
    for pattern, kind in _KINDS:
        for found in pattern.finditer(text):
            point: Literal["decimal", "thousands"] = "thousands" if _GERMAN.search(found[0]) else "decimal"
            values = [number(group, point=point) for group in found.groups() if group is not None]
            if None in values:
                continue
            low, high = float(values[0] or 0), float(values[-1] or 0)
            least, most = {"both": (min(low, high), max(low, high)), "most": (None, high)}.get(
                kind, (low, None)
            )
            return Price(found.start(), found.end() + text.startswith("的", found.end()), least, most)
    return None
