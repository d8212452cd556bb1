"""What stands between the names of a category's path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kgdistill.ingest.propose.profile import ColumnProfile

_MARKS = (" > ", " / ", " | ", " » ", "|", ">", "/", ";")
_SIGNS = dict.fromkeys(mark.strip() for mark in _MARKS)


def separator(column: ColumnProfile) -> str | None:
    """What stands between the names of a path, where most values are paths; of several the usual one."""
    counts = {mark: sum(mark in value for value in column.values) for mark in _MARKS}
    most = 0.5 * len(column.values)
    for mark in _MARKS:
        if counts[mark] > most:
            return mark
    for mark in sorted(filter(counts.get, _MARKS), key=lambda mark: -counts[mark]):
        otherwise = parted_otherwise(column, mark)
        if counts[mark] + sum(len(otherwise[sign]) for sign in other_signs(column, mark)) > most:
            return mark
    return None


def parted_otherwise(column: ColumnProfile, mark: str) -> dict[str, list[str]]:
    """By sign the values that hold it and not the mark."""
    without = [value for value in column.values if mark not in value]
    by_sign = {sign: [value for value in without if sign in value] for sign in _SIGNS}
    return {sign: values for sign, values in by_sign.items() if values}


def other_signs(column: ColumnProfile, mark: str) -> list[str]:
    """The signs that part paths of the same tree in place of the mark.

    No value holds both, and half of those with the sign begin as one with the mark, or without any, does;
    one value alone that begins as one without any does not tell.
    """
    if mark not in _MARKS:
        # A blank parts lists, and no paths.
        return []
    plain = {value for value in column.values if not any(sign in value for sign in _SIGNS)}
    heads = {value.split(mark)[0].strip() for value in column.values if mark in value}
    signs = []
    for sign, values in parted_otherwise(column, mark).items():
        first = {value: value.split(sign)[0].strip() for value in values}
        several = sum(name in plain for name in first.values()) > 1
        known = sum(first[value] in heads or (several and first[value] in plain) for value in values)
        both = any(mark in value and sign in value.replace(mark, "") for value in column.values)
        if not both and 2 * known >= len(values):
            signs.append(sign)
    return signs


def parted(column: ColumnProfile, mark: str) -> dict[str, Any]:
    """The options that cut the paths of a column."""
    signs = other_signs(column, mark)
    return {"replace": {any_sign(signs): mark}, "split": mark} if signs else {"split": mark}


def any_sign(signs: list[str]) -> str:
    """A pattern for any of the signs, and blanks around it."""
    either = re.escape(signs[0]) if len(signs) == 1 else f"[{''.join(signs)}]"
    return rf"\s*{either}\s*"


def names_of(column: ColumnProfile, mark: str) -> Iterator[tuple[int, str]]:
    """The names of all paths of a column, and at which height each stands."""
    marks = "|".join(map(re.escape, (mark, *other_signs(column, mark))))
    for value in column.values:
        yield from enumerate(name.strip() for name in re.split(marks, value))
