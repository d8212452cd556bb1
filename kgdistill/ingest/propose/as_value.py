"""What a column is in a mapping: a key, a number or a time, with the options it needs to be read."""

from __future__ import annotations

from typing import Any

from kgdistill.ingest.propose.numbers import around
from kgdistill.ingest.propose.profile import ColumnProfile


def as_key(column: ColumnProfile, **options: Any) -> Any:
    """A column as a key; where some rows have none they make nothing."""
    given = _plain(column, options)
    if not column.full and not column.lists:
        given["required"] = False
    return {"column": column.name, **given} if given else column.name


def _plain(column: ColumnProfile, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with what frees the values of guards against spreadsheets first of all."""
    if column.guard is None:
        return dict(options)
    pattern, instead = column.guard
    return {**options, "replace": {pattern: instead, **options.get("replace", {})}}


def _folded(column: ColumnProfile) -> dict[str, Any]:
    return {"fold": "nfkc"} if column.wide else {}


def as_number(column: ColumnProfile, **options: Any) -> Any:
    """A column as a number, by how its values are written."""
    given = {**_folded(column), **options}
    shape = column.number
    if shape is not None and not shape.bare:
        given["replace"] = around(shape)
    if shape is not None and (shape.comma or shape.point):
        given["decimal"] = "," if shape.comma else "."
    if shape is not None and shape.most is not None:
        given["max"] = shape.most
    given = _plain(column, given)
    return {"column": column.name, **given} if given else column.name


def as_moment(column: ColumnProfile) -> Any:
    """A column as a time, by how its values are written."""
    shape = column.time
    given: dict[str, Any] = _folded(column)
    if shape is not None and shape.formats:
        given["format"] = shape.formats[0] if len(shape.formats) == 1 else list(shape.formats)
    if shape is not None and shape.unit is not None:
        given["unit"] = shape.unit
    if shape is not None and shape.zone is not None:
        given["zone"] = shape.zone
    given = _plain(column, given)
    return {"column": column.name, **given} if given else column.name
