"""Amounts with a unit in a text, each told in one unit of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

TIMES = {"百": 100, "千": 1_000, "万": 10_000, "萬": 10_000, "亿": 10**8, "億": 10**8}
"""What signs behind a number multiply it by."""
TIMES_BEHIND = "(?:[百千]?[万萬亿億]|[百千])"
"""A pattern for such signs as stand together: 万, 千万."""
METRIC: dict[str, dict[str, tuple[str, ...]]] = {
    "mm": {
        "1": ("mm", "毫米"),
        "10": ("cm", "厘米", "公分"),
        "1000": ("m", "meter", "meters", "metre", "metres", "米"),
    },
    "g": {
        "0.001": ("mg", "毫克"),
        "1": ("g", "gr", "gram", "grams", "克"),
        "500": ("斤", "市斤"),
        "1000": ("kg", "kilo", "kilos", "kilogram", "kilograms", "千克", "公斤"),
    },
    "ml": {
        "1": ("ml", "毫升"),
        "10": ("cl",),
        "1000": ("l", "liter", "liters", "litre", "litres", "升"),
    },
}
"""A unit that amounts are told in → how many of it one of the written units is → how that is written."""
# A table for attributes: an inch is a length like others, and a gigabyte a thousand megabytes.
_UNITS: dict[str, dict[str, tuple[str, ...]]] = {
    **METRIC,
    "mm": {**METRIC["mm"], "25.4": ("inch", "inches", "英寸", "吋")},
    "mb": {"1": ("mb",), "1000": ("gb",), "1000000": ("tb",)},
}
_FACTORS = [
    (unit, Decimal(factor), "|".join(how))
    for unit, all_how in _UNITS.items()
    for factor, how in all_how.items()
]
_WRITTEN = "|".join(f"(?P<u{n}>{how})" for n, (_, _, how) in enumerate(_FACTORS))
# Behind a unit of Latin letters no letter or digit follows, nor a slash: 1 Gb/s is no size.
_FOUND = re.compile(
    r"(?<![a-z0-9.,×*/])(?P<number>\d{1,6}(?:[.,]\d{1,3})?)[ -]?"
    rf"(?:(?:{_WRITTEN})(?![a-z0-9/])|(?P<inch>[\"″]))"
    r"(?! (?:stereo|mono|mini|audio|jack|plug|aux|headset|male|female|m/[mf]))"
)

NUMBER = r"\d{1,9}(?:[.,]\d{1,9})*"
"""A number that `number` reads, as a pattern."""


class Amount(NamedTuple):
    """An amount.

    Attributes:
        value: in `unit`.
        unit: mm, g, ml or mb.
    """

    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{shown(self.value)}{self.unit}"


def amounts(text: str) -> Iterator[Amount]:
    """The amounts of a text, in order: lengths in millimetres, weights in grams, volumes in millilitres, …

    "500 g" and "0.5kg" are the same. A comma is a decimal one, but for three digits behind it. What is
    multiplied ("10 x 15 cm") is told as its last factor is written.

    Args:
        text: as `kgdistill.words.plain` leaves it.
    """
    for found in _FOUND.finditer(text):
        value = number(found["number"])
        if re.fullmatch(r"[2-6](?:\.0)?g", found[0]):
            continue  # 4G and SATA 3.0G are no weights
        unit, factor = ("mm", Decimal("25.4")) if found["inch"] else _unit(found)
        if value:
            yield Amount(value * factor, unit)


def _unit(found: re.Match[str]) -> tuple[str, Decimal]:
    unit, factor, _ = next(known for n, known in enumerate(_FACTORS) if found[f"u{n}"])
    return unit, factor


def number(written: str, *, point: Literal["decimal", "thousands"] = "decimal") -> Decimal | None:
    """A number with a decimal point or comma, and with either between thousands; None where it is none.

    "1,500" is fifteen hundred and "0,500" a half; "1.500" alone does not say which it is.

    Args:
        written: as `NUMBER` finds it.
        point: what a single point before three digits is: decimal, as in English, or between thousands, as
            in German.
    """
    whole, *rest = re.split("[.,]", written)
    if not rest:
        return Decimal(whole)
    thousands = all(len(part) == 3 for part in rest) and 1 <= len(whole) <= 3 and int(whole) > 0
    if len(rest) == 1:
        grouped = thousands and ("," in written or point == "thousands")
        return Decimal(whole + rest[0]) if grouped else Decimal(f"{whole}.{rest[0]}")
    if len(set(re.findall("[.,]", written))) == 1:
        return Decimal(whole + "".join(rest)) if thousands else None
    *middle, last = rest
    grouped = len({*re.findall("[.,]", written[: -len(last) - 1])}) == 1
    return (
        Decimal(f"{whole}{''.join(middle)}.{last}") if grouped and all(len(p) == 3 for p in middle) else None
    )


def shown(value: Decimal) -> str:
    """Without a needless point or nought."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
