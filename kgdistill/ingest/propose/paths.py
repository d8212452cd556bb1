"""What stands between the names of a category's path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kgdistill.ingest.propose.profile import ColumnProfile

_MARKS = (" > ", " / ", " | ", " » ", "|", ">", "/", ";")
_SIGNS = dict.fromkeys(mark.strip() for mark in _MARKS)
_BETWEEN = (",", ";", "|")
# Of the values that look like several paths, those that must hold one of several names.
_DEEP = 0.2


@dataclass(frozen=True)
class Several:
    """Values that hold several paths each.

    Attributes:
        between: what stands between paths.
        mark: what stands between the names of a path.
        values: those with several paths.
        unlike: those with the sign in which no part begins as another path does.
        escaped: in some the sign stands within a name, behind a backslash.
        root: the name with which every path begins.
    """

    between: str
    mark: str
    values: list[str]
    unlike: list[str]
    escaped: bool = False
    root: str = ""


def several(column: ColumnProfile) -> Several | None:
    """How values hold several paths, as `Home > Pots, Home`; None where a sign between them is of names."""
    if column.lists:
        return None
    for between in _BETWEEN:
        cut = re.compile(rf"(?<!\\){re.escape(between)}")
        listed = [(value, [part.strip() for part in cut.split(value)]) for value in column.values]
        marks = [mark for mark in _MARKS if between not in mark]
        counts = {mark: sum(mark in part for _, parts in listed for part in parts) for mark in marks}
        mark = max(marks, key=lambda mark: counts[mark])
        first = {parts[0].split(mark)[0].strip() for _, parts in listed}
        both = [(value, parts) for value, parts in listed if len(parts) > 1]
        like = [value for value, parts in both if _together(parts, mark, first)]
        escaped = any(f"\\{between}" in value for value in column.values)
        deep = sum(mark in value for value in like)
        alone = escaped and not both and counts[mark] > 0
        if alone or (2 * len(like) > len(both) and deep >= _DEEP * len(like)):
            names = [part.split(mark, 1)[0].strip() for _, parts in listed for part in parts]
            below = {part for _, parts in listed for part in parts if mark in part}
            root = names[0] if len(set(names)) == 1 and len(below) > 1 else ""
            told = set(like)
            return Several(between, mark, like, [v for v, _ in both if v not in told], escaped, root)
    return None


def _together(parts: list[str], mark: str, first: set[str]) -> bool:
    """Whether one of the parts of a value, but for the first, begins as another path does."""
    heads = {part + mark for part in parts}
    nested = any(part.startswith(head) for part in parts for head in heads)
    return nested or any(part.split(mark)[0].strip() in first for part in parts[1:])


def separator(column: ColumnProfile) -> str | None:
    """What stands between the names of a path, where most values are paths; of several the usual one."""
    listed = several(column)
    if listed is not None:
        return listed.mark
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
    listed = several(column)
    if listed is not None:
        return {"replace": without_root(listed), "split": mark} if listed.root else {"split": mark}
    signs = other_signs(column, mark)
    return {"replace": {any_sign(signs): mark}, "split": mark} if signs else {"split": mark}


def without_root(listed: Several) -> dict[str, str]:
    """What takes the name away with which all paths begin, wherever one does."""
    signs = (listed.root, listed.between, listed.mark.strip())
    root, between, mark = (re.escape(sign).replace(r"\ ", " ") for sign in signs)
    return {rf"(^|{between})\s*(?:{root}\s*{between}\s*)*{root}\s*(?:{mark}\s*|$)": r"\1"}


def any_sign(signs: list[str], values: Sequence[str] = ()) -> str:
    """A pattern for any of the signs, in values that have several in a row (A >> B) for all; blanks too."""
    either = re.escape(signs[0]) if len(signs) == 1 else f"[{''.join(signs)}]"
    doubled = re.compile(rf"{either}\s*{either}")
    several = any(doubled.search(value) for value in values)
    return rf"\s*(?:{either}\s*)+" if several else rf"\s*{either}\s*"


def names_of(column: ColumnProfile, mark: str) -> Iterator[tuple[int, str]]:
    """The names of all paths of a column, and at which height each stands."""
    marks = "|".join(map(re.escape, (mark, *other_signs(column, mark))))
    for value in column.values:
        yield from enumerate(name.strip() for name in re.split(marks, value))


def numbered(columns: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """Columns that are called alike but for a number, in its order: category, category2, category3.

    Of several such families the longest; without any none.
    """
    families: dict[tuple[str, ...], dict[int, ColumnProfile]] = {}
    for column in columns:
        numbers = [word for word in column.words if word.isdecimal()]
        if len(numbers) < 2:
            called = tuple(word for word in column.words if not word.isdecimal())
            families.setdefault(called, {}).setdefault(int(numbers[0]) if numbers else 1, column)
    family = max(families.values(), key=len, default={})
    return [family[number] for number in sorted(family)] if len(family) > 1 else []


def apart(levels: Sequence[ColumnProfile], *, blanks: bool) -> str | None:
    """What stands between names where most of them come at the head of some values and below it in others."""
    if len(levels) != 1 or levels[0].lists or several(levels[0]) is not None:
        return None
    mark = separator(levels[0]) or (" " if blanks else None)
    if mark is None:
        return None
    places = list(names_of(levels[0], mark))
    first = {name for i, name in places if i == 0}
    below = [name for i, name in places if i > 0]
    return mark if below and 2 * sum(name in first for name in below) > len(below) else None
