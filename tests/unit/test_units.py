"""Amounts with a unit, each told in one unit of its kind."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kgdistill.tasks import quantities
from kgdistill.units import METRIC, amounts, shown
from kgdistill.words import plain


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Tea 500 g", ["500g"]),
        ("Tea 0.5kg", ["500g"]),
        ("Tee 0,5 kg", ["500g"]),
        ("Tee 0,500 kg", ["500g"]),
        ("Rice 1,500 g", ["1500g"]),
        ("Oil 1 L and 250ml", ["1000ml", "250ml"]),
        ('Case 39.6 cm (15.6")', ["396mm", "396.24mm"]),
        ("Cable, 1.8m", ["1800mm"]),
        ("Desk 47-inch", ["1193.8mm"]),
        ("4 GB, 1TB", ["4000mb", "1000000mb"]),
        ("炒锅32厘米 2公斤装", ["320mm", "2000g"]),
        ("5斤大米 2市斤", ["2500g", "1000g"]),
        ("5G phone, SATA 3.0G", []),
        ("1 Gb/s, 160g/m²", []),
        ("3.5mm stereo cable 2 m", ["2000mm"]),
        ('2-1/4" card', []),
        ("0 kg, model A4, 1440 x 900 pixels, mm", []),
    ],
)
def test_an_amount_is_told_in_one_unit(text: str, said: list[str]) -> None:
    assert [str(amount) for amount in amounts(plain(text))] == said


@pytest.mark.parametrize("unit", METRIC)
def test_words_and_attributes_read_the_same_units(unit: str) -> None:
    for factor, spellings in METRIC[unit].items():
        for written in spellings:
            text = f"tea 20 {written}"
            told = f"{shown(20 * Decimal(factor))}{unit}"
            assert [str(one) for one in amounts(text)] == [told], text
            assert [one.words for one in quantities.amounts(text)] == [(told,)], text
