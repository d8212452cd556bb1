"""Brands that look like the same one, written differently."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from kgdistill.words import PAIRED_RANGES, paired, plain

_COMPANY = frozenset(
    re.findall(
        r"\w+",
        "inc incorporated ltd limited llc llp lp plc co corp corporation company companies cie "
        "gmbh ag kg kgaa ohg ug se sa sas sarl srl spa bv nv oy oyj ab as aps pty pte kk group "
        "holding holdings",
    )
)
_RUNS = re.compile(f"[{PAIRED_RANGES}]+|[^{PAIRED_RANGES}]+")
_EASTERN_COMPANY = re.compile(
    "(股份|責任|责任)?有限公司$|(集团|集團)?公司$|集团$|集團$|(官方)?(旗舰店|旗艦店|专卖店)$|株式会社|주식회사"
)


def folded(name: str) -> str:
    """A name without what people write differently: case, accents, punctuation, spaces, & for and, Inc.

    Examples:
        >>> folded("P & G, Inc.") == folded("p and g")
        True
    """
    return "".join(_core(name))


def _core(name: str) -> list[str]:
    """The words of a name without those that only say that it is a company."""
    words = _words(name)
    while len(words) > 1 and words[-1] in _COMPANY:
        words.pop()
        # "& Co." leaves its "and" behind.
        if len(words) > 1 and words[-1] == "and":
            words.pop()
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    return [_EASTERN_COMPANY.sub("", word) or word for word in words]


def _halves(core: Sequence[str]) -> tuple[str, str] | None:
    """The two names in one that stands in two scripts, whichever is first: 苏泊尔（SUPOR）, SUPOR 苏泊尔."""
    runs = [(paired(run), run) for word in core for run in _RUNS.findall(word)]
    changes = sum(one[0] != other[0] for one, other in pairwise(runs))
    eastern, latin = ("".join(run for kind, run in runs if kind is wanted) for wanted in (True, False))
    if changes != 1 or len(eastern) < 2 or len(latin) < 2 or latin.isdigit():
        return None
    return eastern, latin


def _words(name: str) -> list[str]:
    # A stop or an apostrophe inside a word is no gap: S.A., Levi's.
    text = re.sub(r"['’`´.]", "", re.sub(r"[&+]", " and ", plain(name)))
    return "".join(c if c.isalnum() else " " for c in text).split()


def _initials(name: str) -> tuple[str, bool]:
    """The first letters of a name of several words with an "and", and whether it consists of these alone."""
    words = [w for w in _words(name) if w not in _COMPANY]
    if "and" not in words[1:-1]:
        return "", False
    letters = [w for w in words if w != "and"]
    return "".join(w[0] for w in letters), all(len(w) == 1 for w in letters)


def alike(names: Sequence[str]) -> list[list[int]]:
    """Groups of names that differ in writing only; each the places of two or more names.

    A name in two scripts is one with either of them that stands alone, unless that one is beside several
    others: 小米 Redmi and 红米 Redmi do not make 小米 of 红米.
    """
    cores = [_core(name) for name in names]
    halves = [_halves(core) for core in cores]
    keys = ["/".join(pair) if pair else "".join(core) for pair, core in zip(halves, cores, strict=True)]
    beside: dict[str, set[str]] = defaultdict(set)
    for pair in filter(None, halves):
        for half in pair:
            beside[half].update(pair)
    first = {key: key for key in keys}

    def root(key: str) -> str:
        while first[key] != key:
            key = first[key]
        return key

    for key, some in zip(keys, halves, strict=True):
        for half in some or ():
            if half in first and len(beside[half]) == 2:
                first[root(key)] = root(half)
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if key:
            groups.setdefault(root(key), []).append(place)
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
