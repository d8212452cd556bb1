"""Amounts with a unit in a text, each told in one unit of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

_UNITS: dict[str, dict[str, str]] = {
    "mm": {
        "1": "mm|毫米",
        "10": "cm|厘米|公分",
        "1000": "m|meters?|metres?|米",
        "25.4": "inch(?:es)?|英寸|吋",
    },
    "g": {"0.001": "mg|毫克", "1": "g|gr|grams?|克", "1000": "kg|kilos?|kilograms?|千克|公斤"},
    "ml": {"1": "ml|毫升", "10": "cl", "1000": "l|liters?|litres?|升"},
    "mb": {"1": "mb", "1000": "gb", "1000000": "tb"},
}
_FACTORS = [
    (unit, Decimal(factor), how) for unit, all_how in _UNITS.items() for factor, how in all_how.items()
]
_WRITTEN = "|".join(f"(?P<u{n}>{how})" for n, (_, _, how) in enumerate(_FACTORS))
# Behind a unit of Latin letters no letter or digit follows, nor a slash: 1 Gb/s is no size.
_FOUND = re.compile(
    r"(?<![a-z0-9.,×*/])(?P<number>\d{1,6}(?:[.,]\d{1,3})?)[ -]?"
    rf"(?:(?:{_WRITTEN})(?![a-z0-9/])|(?P<inch>[\"″]))"
    r"(?! (?:stereo|mono|mini|audio|jack|plug|aux|headset|male|female|m/[mf]))"
)


class Amount(NamedTuple):
    """An amount.

    Attributes:
        value: in `unit`.
        unit: mm, g, ml or mb.
    """

    value: Decimal
    unit: str

    def __str__(self) -> str:
        text = f"{self.value:f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{self.unit}"


def amounts(text: str) -> Iterator[Amount]:
    """The amounts of a text, in order: lengths in millimetres, weights in grams, volumes in millilitres, …

    "500 g" and "0.5kg" are the same. A comma is a decimal one, but for three digits behind it. What is
    multiplied ("10 x 15 cm") is told as its last factor is written.

    Args:
        text: as `kgdistill.words.plain` leaves it.
    """
    for found in _FOUND.finditer(text):
        written = found["number"]
        grouped = re.fullmatch(r"\d{1,3},\d{3}", written) is not None
        try:
            value = Decimal(written.replace(",", "" if grouped else "."))
        except InvalidOperation:  # pragma: no cover - the pattern lets only numbers through
            continue
        if re.fullmatch(r"[2-6](?:\.0)?g", found[0]):
            continue  # 4G and SATA 3.0G are no weights
        unit, factor = ("mm", Decimal("25.4")) if found["inch"] else _unit(found)
        if value:
            yield Amount(value * factor, unit)


def _unit(found: re.Match[str]) -> tuple[str, Decimal]:
    unit, factor, _ = next(known for n, known in enumerate(_FACTORS) if found[f"u{n}"])
    return unit, factor
