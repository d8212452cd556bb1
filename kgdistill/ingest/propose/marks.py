"""Tells the decimal mark of numbers such as 1.500 by what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kgdistill.ingest.propose.headings import is_id
from kgdistill.ingest.propose.numbers import NumberShape
from kgdistill.ingest.propose.profile import Sample


def with_marks(groups: Sequence[tuple[list[str], Sample]]) -> list[tuple[list[str], Sample]]:
    """The groups of files with the decimal marks that other numbers of theirs tell.

    Those of the same file count before those of columns of the same name, and these before all others.
    """
    marks = [_marks(taken) for _, taken in groups]
    every = {mark for told in marks for mark in told.values()}
    told_groups = []
    for place, (names, taken) in enumerate(groups):
        semicolons = taken.options.delimiter == ";"
        columns = []
        for column in taken.columns:
            shape = column.number
            if shape is not None and shape.either:
                same = {told[column.name] for told in marks if column.name in told}
                levels = (set(marks[place].values()), same, every)
                said = next((min(level) for level in levels if len(level) == 1), "")
                column = replace(column, number=_decided(shape, said, semicolons=semicolons))
            columns.append(column)
        told_groups.append((names, replace(taken, columns=columns)))
    return told_groups


def _marks(taken: Sample) -> dict[str, str]:
    """By name the decimal marks of the columns whose numbers tell them."""
    numbers = ((c.name, c.number) for c in taken.columns if c.time is None and not is_id(c))
    return {name: shape.mark for name, shape in numbers if shape is not None and shape.mark}


def _decided(shape: NumberShape, said: str, *, semicolons: bool) -> NumberShape:
    """The shape as other numbers, else the currency, else the signs between columns say."""
    # No sum of money has three decimals throughout.
    thousands = shape.local and not shape.point
    if said and not (thousands and said == "."):
        return shape.read_by(said)
    if thousands:
        return shape.read_by(",", sure=not said)
    if semicolons and (shape.bare or not shape.point):
        # Where commas are decimal, semicolons stand between columns; it is but a hint.
        return shape.read_by(",", sure=False)
    return shape
