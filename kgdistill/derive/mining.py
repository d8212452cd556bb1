"""What titles say: brand, size, colour, material, audience, by the graph's own names and short word lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from kgdistill.declared import parse_yaml
from kgdistill.units import amounts
from kgdistill.words import PAIRED_RANGES, plain

KINDS = ("brand", "size", "colour", "material", "audience")
_LISTS = Path(__file__).with_name("attributes.yaml")
# Names and words are looked up as words of scripts with blanks, and as single characters of the others.
_UNIT = re.compile(rf"[{PAIRED_RANGES}]|[^\W{PAIRED_RANGES}_]+")
_PAIRED = re.compile(f"[{PAIRED_RANGES}]")
_OTHERS = frozenset({"for", "fits", "with", "compatible", "to", "by", "like", "适用", "兼容", "适合"})
"""Behind one of these stands the brand of something else."""
_LONGEST = 6
LEAST = 0.8
"""What is mined with less confidence is left out, unless another bound is given."""
_SHRUNK = 5
# How often a finding is right that is the only one of its kind, and one of several: at least so often on the
# products of Icecat that are not measured (bench/mined_facts.py); of audiences nothing is known there.
_CONFIDENCE = {
    "colour": (0.95, 0.9), "material": (0.9, 0.7), "audience": (0.9, 0.6), "size": (0.95, 0.95)
}  # fmt: skip
_UNTOLD = {"first": 0.9, "inside": 0.6}


class Mined(NamedTuple):
    """What a title says.

    Attributes:
        kind: one of `KINDS`.
        value: such as red, stainless steel, 500g; of a brand its key.
        confidence: how often such a finding is right, from 0 to 1.
    """

    kind: str
    value: str
    confidence: float


class BrandNames:
    """The graph's brands as titles may write them, and how far a title that names one is to be trusted.

    Args:
        names: as a brand is written → its key.

    Attributes:
        by_units: the same by the words, or single characters, of each name.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.by_units: dict[tuple[str, ...], str] = {}
        self._right: dict[tuple[str, str], list[int]] = {}
        for name, key in sorted(names.items()):
            units = tuple(_UNIT.findall(plain(name)))
            written = "".join(units)
            # A letter or a number alone is no name.
            if len(units) <= _LONGEST and len(written) > 1 and not written.isdigit():
                self.by_units.setdefault(units, key)

    def learn(self, titles: Iterable[str], keys: Iterable[str]) -> None:
        """Counts how often a title that names a brand is of that brand, where the brand is known."""
        for title, key in zip(titles, keys, strict=True):
            said = self._named(title)
            if said is not None:
                rule, named = said
                for at in ((rule, ""), (rule, named)):
                    counted = self._right.setdefault(at, [0, 0])
                    counted[0] += named == key
                    counted[1] += 1

    def find(self, title: str) -> Mined | None:
        """The brand that a title names: at its start, or the only one inside it."""
        said = self._named(title)
        if said is None:
            return None
        rule, key = said
        right, times = self._right.get((rule, ""), [0, 0])
        # A rule is as good as it was on all brands; a brand whose name means something else is not.
        whole = (right + _SHRUNK * _UNTOLD[rule]) / (times + _SHRUNK)
        right, times = self._right.get((rule, key), [0, 0])
        return Mined("brand", key, round((right + _SHRUNK * whole) / (times + _SHRUNK), 3))

    def without(self, text: str) -> str:
        """A text, as `plain` leaves it, without a brand's name at its start."""
        units = list(islice(_UNIT.finditer(text), _LONGEST))
        for size in range(len(units), 0, -1):
            if tuple(unit[0] for unit in units[:size]) in self.by_units:
                return text[units[size - 1].end() :]
        return text

    def _named(self, title: str) -> tuple[str, str] | None:
        units, at = _UNIT.findall(plain(title)), 0
        inside: list[str] = []
        while at < len(units):
            size = next((n for n in range(_LONGEST, 0, -1) if tuple(units[at : at + n]) in self.by_units), 0)
            if not size:
                at += 1
                continue
            key = self.by_units[tuple(units[at : at + size])]
            if at == 0:
                return "first", key
            before = units[at - 1]
            if before not in _OTHERS and "".join(units[max(0, at - 2) : at]) not in _OTHERS:
                inside.append(key)
            at += size
        return ("inside", inside[0]) if len(set(inside)) == 1 else None


def mined(title: str, brands: BrandNames | None = None) -> list[Mined]:
    """What a title says, each once; of a brand only the one that it is of.

    Args:
        title: as it stands.
        brands: the graph's; None leaves them out.
    """
    text = plain(title)
    if brands is not None:
        text = brands.without(text)  # Paper Mate is no paper, and 3M no three metres
    found = [brands.find(title)] if brands is not None else []
    told = [one for one in found if one is not None]
    sizes = dict.fromkeys(map(str, amounts(text)))
    told += [Mined("size", size, _CONFIDENCE["size"][len(sizes) > 1]) for size in sizes]
    for kind, pattern, values in _lists():
        held = dict.fromkeys(values[hit[0]] for hit in pattern.finditer(text))
        told += [Mined(kind, value, _CONFIDENCE[kind][len(held) > 1]) for value in held]
    return told


@cache
def _lists() -> list[tuple[str, re.Pattern[str], dict[str, str]]]:
    """For each kind a pattern of its terms, and the value that each stands for."""
    raw: dict[str, Any] = parse_yaml(_LISTS.read_text(encoding="utf-8"), where=str(_LISTS))
    found = []
    for kind, held in raw.items():
        values = {plain(term): value for value, terms in held["values"].items() for term in terms}
        terms = sorted(values, key=lambda term: (-len(term), term))
        own = "|".join(
            re.escape(t) if _PAIRED.match(t) else rf"(?<![\w'-]){re.escape(t)}(?![\w'])" for t in terms
        )
        behind = "".join(
            f"(?<!{re.escape(b)})" if _PAIRED.match(b) else rf"(?<!\b{re.escape(b)}[ -])"
            for b in held["not_behind"]
        )
        before = "|".join(re.escape(b) for b in held["not_before"])
        found.append((kind, re.compile(rf"{behind}(?:{own})(?![ -](?:{before})(?!\w))"), values))
    return found


def known_brands(names: Sequence[str], keys: Sequence[str], aliases: Mapping[str, str]) -> BrandNames:
    """The brands of a graph, with other ways to write them.

    Args:
        names, keys: of the brands.
        aliases: as somebody writes it → a brand's name or key.
    """
    by_name = {name: key for name, key in zip(names, keys, strict=True) if name}
    spelled = {**{key: key for key in keys}, **by_name}
    return BrandNames(
        {**by_name, **{alias: spelled[name] for alias, name in aliases.items() if name in spelled}}
    )
