"""How texts become words for search: as everywhere, with English plurals cut and neighbours joined."""

from __future__ import annotations

import itertools
import re

from kgdistill import words as shared

RULE = "s-stems-1"
"""How `terms` cuts a text, by name: an index keeps it, so that no query is cut otherwise than the texts were.
It changes with what `terms` gives, be it by this module or by `kgdistill.words`."""

_INCH = re.compile(r"(?<=\d)\s?[\"”″]")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\d.]+")


def fold(text: str) -> str:
    """The text as words compare it (`kgdistill.words.plain`); the sign for inches becomes the word."""
    return shared.plain(_INCH.sub(" inch", text))


def stem(word: str) -> str:
    """Cuts an English plural (Harman 1991, the S-stemmer): -ies to -y, -es after a hiss, and any other -s.

    Words of three letters or with anything but letters stay, as do those in -ss, -us and -is. Cut twice is
    cut once.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(text: str, *, singles: bool = False) -> list[str]:
    """The stemmed words of a text, in order; `singles` as in `kgdistill.words.words`."""
    return [stem(word) for word in shared.words(fold(text), singles=singles)]


def terms(text: str, *, singles: bool = False) -> list[str]:
    """What an index holds of a text.

    Words; the parts of a word that mixes letters and digits ("32gb" is also "32" and "gb"); and each
    pair of alphabetic neighbours written together, so that "power bank" and "powerbank" meet.

    Args:
        text: any.
        singles: for a text that is to be found: see `kgdistill.words.words`.
    """
    base = words(text, singles=singles)
    out = list(base)
    for word in base:
        parts = _PART.findall(word)
        if len(parts) > 1:
            out += [stem(part) for part in parts]
    alone = [word.isalpha() and not shared.paired(word) for word in base]
    out += [
        a + b
        for (a, first), (b, second) in itertools.pairwise(zip(base, alone, strict=True))
        if first and second
    ]
    return out
