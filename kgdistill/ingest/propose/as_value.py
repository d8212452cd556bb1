"""What a column is in a mapping: a key, a number or a time, with the options it needs to be read."""

from __future__ import annotations

import html
import re
from typing import Any

from kgdistill.ingest.propose.numbers import around
from kgdistill.ingest.propose.profile import ColumnProfile

_CLOSING = re.compile(r"</[a-zA-Z]\w*>|<br ?/?>")
# What a page does not show, and its tags.
_TAGS = (r"(?is)<(?:script|style)\b.*?</(?:script|style)>", r"(?s)<!--.*?-->", r"</?[a-zA-Z][^<>]*>")
_ENTITY = re.compile(r"&#?\w{2,8};")
# The rest stays as it is, so that a mapping can be read.
_MOST_ENTITIES = 20


def as_key(column: ColumnProfile, **options: Any) -> Any:
    """A column as a key; where some rows have none they make nothing."""
    given = _plain(column, options)
    if not column.full and not column.lists:
        given["required"] = False
    if column.otherwise:
        return {"coalesce": [column.name, column.otherwise], **given}
    return {"column": column.name, **given} if given else column.name


def _plain(column: ColumnProfile, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with what frees the values of guards against spreadsheets first of all."""
    if column.guard is None:
        return dict(options)
    pattern, instead = column.guard
    return {**options, "replace": {pattern: instead, **options.get("replace", {})}}


def _folded(column: ColumnProfile) -> dict[str, Any]:
    return {"fold": "nfkc"} if column.wide else {}


def as_text(column: ColumnProfile) -> Any:
    """A column as a text, without the tags and entities of web pages that some values hold."""
    values = dict.fromkeys(column.values)
    tags = any(_CLOSING.search(value) for value in values)
    entities = dict.fromkeys(name for value in values for name in _ENTITY.findall(value))
    signs = {name: html.unescape(name) for name in [*entities][:_MOST_ENTITIES]}
    # The sign of entities themselves last: of &amp;lt; the text is &lt;.
    told = sorted((name for name in signs if signs[name] != name), key=lambda name: signs[name] == "&")
    page = (pattern for pattern in _TAGS if tags and any(re.search(pattern, value) for value in values))
    replaced = dict.fromkeys(page, " ")
    replaced |= {name: signs[name].replace("\\", r"\\").replace("\xa0", " ") for name in told}
    if tags and any(r"\n" in value for value in values):
        replaced[r"\\n"] = " "
    return {"column": column.name, "replace": {**replaced, r"\s+": " "}} if replaced else column.name


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
