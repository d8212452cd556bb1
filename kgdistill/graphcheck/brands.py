"""Brands that look like the same one, written differently."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_COMPANY = frozenset(
    re.findall(
        r"\w+",
        "inc incorporated ltd limited llc llp lp plc co corp corporation company companies cie "
        "gmbh ag kg kgaa ohg ug se sa sas sarl srl spa bv nv oy oyj ab as aps pty pte kk group "
        "holding holdings",
    )
)


def folded(name: str) -> str:
    """A name without what people write differently: case, accents, punctuation, spaces, & for and, Inc.

    Examples:
        >>> folded("P & G, Inc.") == folded("p and g")
        True
    """
    words = _words(name)
    while len(words) > 1 and words[-1] in _COMPANY:
        words.pop()
        # "& Co." leaves its "and" behind.
        if len(words) > 1 and words[-1] == "and":
            words.pop()
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    return "".join(words)


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    # A stop or an apostrophe inside a word is no gap: S.A., Levi's.
    plain = re.sub(r"['’`´.]", "", re.sub(r"[&+]", " and ", plain))
    return "".join(c if c.isalnum() else " " for c in plain).split()


def _initials(name: str) -> tuple[str, bool]:
    """The first letters of a name of several words with an "and", and whether it consists of these alone."""
    words = [w for w in _words(name) if w not in _COMPANY]
    if "and" not in words[1:-1]:
        return "", False
    letters = [w for w in words if w != "and"]
    return "".join(w[0] for w in letters), all(len(w) == 1 for w in letters)


def alike(names: Sequence[str]) -> list[list[int]]:
    """Groups of names that differ in writing only; each the places of two or more names."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if key := folded(name):
            groups.setdefault(key, []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def abbreviated(names: Sequence[str]) -> list[list[int]]:
    """Groups of a name like P&G, first, and the names that it may stand for."""
    short: dict[str, int] = {}
    long: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        letters, alone = _initials(name)
        if letters and alone:
            short.setdefault(letters, place)
        elif letters:
            long.setdefault(letters, []).append(place)
    return [[place, *long[letters]] for letters, place in short.items() if letters in long]
