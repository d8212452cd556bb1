"""Amounts and model numbers in a text: one word for each, however it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from kgdistill.units import METRIC, NUMBER, number, shown

_UNITS: dict[str, dict[str, tuple[str, ...]]] = {
    # Beside what attributes are read in: an inch stays one, and more is spelt out.
    "g": {"1": ("gramm", "gramme", "grammes"), "1000": ("kilogramm",)},
    "ml": {
        "1": ("milliliter", "milliliters", "millilitre", "millilitres"),
        "100": ("dl",),
        "1000": ("公升",),
    },
    "inch": {"1": ("inch", "inches", "zoll", "英寸", "寸", "吋"), "12": ("ft", "foot", "feet")},
    "oz": {"1": ("oz", "ounce", "ounces"), "16": ("lb", "lbs")},
    "floz": {"1": ("fl oz", "fl.oz", "fl. oz", "floz")},
    # Written apart or together, and not counted over: a gigabyte is 1,000 or 1,024 megabytes.
    **{unit: {"1": (unit,)} for unit in ("kb", "mb", "gb", "tb", "kw", "mah", "hz", "mhz", "ghz", "dpi")},
    "w": {"1": ("w", "watt", "watts", "瓦")},
    "v": {"1": ("v", "volt", "volts", "伏")},
}
_WRITTEN = {
    written: (unit, Decimal(factor))
    for table in (METRIC, _UNITS)
    for unit, factors in table.items()
    for factor, all_written in factors.items()
    for written in all_written
}
"""A unit as it is written → what its amounts are told in, and how many of those it is."""

# An amount of a script with letters ends where its unit does; 500克装 goes on.
_END = r"(?![a-z0-9\u00c0-\u024f])"
_BEGIN = r"(?<![a-z0-9\u00c0-\u024f])(?<![a-z0-9][-_.,])(?<!\d )"


def _one_of(written: list[str]) -> str:
    parts = [
        re.escape(unit) + ("" if ord(unit[-1]) > 0x24F else _END)
        for unit in sorted(written, key=lambda unit: (-len(unit), unit))
    ]
    return f"(?:{'|'.join(parts)})"


_UNIT = _one_of(list(_WRITTEN))
_PACKED = _one_of([w for w, (unit, _) in _WRITTEN.items() if unit in ("g", "ml")])
_IN_PACKS = (
    rf"(\d{{1,4}})[ -]?er{_END}(?:[ -]?(?:packs?|packung|set|box){_END})?",
    rf"(?:pack|set|box) (?:of|mit|von) (\d{{1,4}}){_END}",
    rf"(\d{{1,4}})[ -]?(?:packs?|pcs|pieces?|count|ct|stuck|stk){_END}",
    r"(\d{1,4}) ?(?:[件只个包袋盒瓶罐支片条双]装|[片只个支]入)",
    # "6 x 330 ml": what is multiplied is a weight or a volume; "10 x 15 cm" is no pack.
    rf"(\d{{1,4}}) ?[x×*] ?(?={NUMBER} ?{_PACKED})",
)
_FOUND = re.compile(
    rf"{_BEGIN}(?:(?P<number>{NUMBER})[ -]?(?P<unit>{_UNIT})(?: ?[x×*] ?(?P<times>\d{{1,4}}){_END}"
    rf"(?! ?{_UNIT}|[.,]\d))?"
    rf"|(?P<pack>{'|'.join(_IN_PACKS)})"
    r"|(?P<model>(?=[a-z0-9_-]*[a-z])(?=[a-z0-9_-]*\d)[a-z0-9]+(?:[-_\u2010][a-z0-9]+)+"
    rf"(?![a-z0-9\u00c0-\u024f_-])))"
)


class Quantity(NamedTuple):
    """An amount or a model number that stands in a text.

    Attributes:
        start, end: where.
        words: "500g" of "0.5 kg", "6pack" and "330ml" of "330ml x 6", "wh1000xm4" of "WH-1000XM4".
        model: whether it is a model number, which may also be written with blanks.
    """

    start: int
    end: int
    words: tuple[str, ...]
    model: bool


def amounts(text: str) -> Iterator[Quantity]:
    """The amounts and the model numbers of a text, in order.

    Weights are told in grams, volumes in millilitres, lengths in millimetres or inches, the count of a pack
    in packs; watts, volts and bytes stay what they are. A model number is letters and digits with hyphens
    between. What could be read in two ways stays as it is: "6x", "10 x 15", "1 2 l".

    Args:
        text: as `kgdistill.words.plain` leaves it.
    """
    if not any(c.isdigit() for c in text):
        return
    for found in _FOUND.finditer(text):
        words = _words(found)
        if words:
            yield Quantity(found.start(), found.end(), words, found["model"] is not None)


def _words(found: re.Match[str]) -> tuple[str, ...]:
    if found["model"] is not None:
        return (re.sub(r"[-_\u2010]", "", found["model"]),)
    if found["pack"] is not None:
        count = next(group for group in found.groups()[4:] if group and group.isdigit())
        return (f"{int(count)}pack",)
    unit, factor = _WRITTEN[found["unit"]]
    value = number(found["number"])
    if value is None:
        return ()
    amount = f"{shown(value * factor)}{unit}"
    if found["times"] is None:
        return (amount,)
    return (f"{int(found['times'])}pack", amount) if unit in ("g", "ml") else ()
