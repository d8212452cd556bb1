"""How texts become words for search: folded, split at units, plurals cut, neighbours joined."""

from __future__ import annotations

import itertools
import re
import unicodedata

_INCH = re.compile(r"(?<=\d)\s?[\"”″]")
_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def fold(text: str) -> str:
    """Lower case without accents; the sign for inches becomes the word."""
    plain = unicodedata.normalize("NFKD", text.lower())
    return _INCH.sub(" inch", "".join(c for c in plain if not unicodedata.combining(c)))


def stem(word: str) -> str:
    """Cuts an English plural; a word with a digit stays (Harman 1991, the S-stemmer)."""
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """The stemmed words of a text, in order."""
    return [stem(word) for word in _WORD.findall(fold(text))]


def terms(text: str) -> list[str]:
    """What an index holds of a text.

    Words; the parts of a word that mixes letters and digits ("32gb" is also "32" and "gb"); and each
    pair of alphabetic neighbours written together, so that "power bank" and "powerbank" meet.
    """
    base = words(text)
    out = list(base)
    for word in base:
        parts = _PART.findall(word)
        if len(parts) > 1:
            out += [stem(part) for part in parts]
    out += [a + b for a, b in itertools.pairwise(base) if a.isalpha() and b.isalpha()]
    return out
