"""Answers as tables that a browser shows: cells in words, and links to the nodes that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pyarrow as pa

from kgdistill.explore import AnswerRows, run_query, saved_query
from kgdistill.explore.queries import SavedQuery
from kgdistill.moment import local
from kgdistill.page.source import GraphSource
from kgdistill.plain import json_text
from kgdistill.store import Schema
from kgdistill.store.protocol import Parameter

_RETURNED = re.compile(r"\b\w+\.(\w+) AS (\w+)")


class SheetCell(NamedTuple):
    """A value in words; `href` leads to the node that it names."""

    text: str
    href: str = ""
    number: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: what it shows.
        columns: their names.
        rows: a cell for each column.
        more: where all of it is, with a form and downloads; empty: nowhere else.
        about: one sentence.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[SheetCell]]
    more: str = ""
    about: str = ""
    numbers: Sequence[bool] = field(default_factory=tuple)


def card_url(label: str, key: str) -> str:
    """Where a node's card is."""
    return "/card?" + urlencode({"label": label, "key": key})


def query_url(name: str, values: Mapping[str, Any]) -> str:
    """Where a saved query is, with its form filled in."""
    given = {k: v for k, v in values.items() if v is not None}
    return f"/query/{name}" + ("?" + urlencode(given) if given else "")


def cell_text(value: Any, zone: str = "UTC") -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        # Sums of money keep their cents.
        return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, datetime):
        return local(value, zone).isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
    return json_text(value) if isinstance(value, list | dict) else str(value)


def linked_columns(query: SavedQuery, schema: Schema) -> dict[str, str]:
    """The columns that hold keys, and of which label: those that the query returns a key as."""
    labels = {kind.key: label for label, kind in schema.nodes.items()}
    text = "\n".join(query.text.values())
    return {column: labels[prop] for prop, column in _RETURNED.findall(text) if prop in labels}


def sheet(
    table: pa.Table,
    *,
    title: str,
    links: Mapping[str, str] | None = None,
    more: str = "",
    about: str = "",
    zone: str = "UTC",
) -> Sheet:
    """An answer as a table.

    Args:
        table: the answer.
        title, more, about: see `Sheet`.
        links: of columns that hold keys, the label.
        zone: of the times.
    """
    columns, linked = table.column_names, dict(links or {})
    numbers = [pa.types.is_integer(k) or pa.types.is_floating(k) or pa.types.is_decimal(k)
               for k in table.schema.types]  # fmt: skip
    # A union tells of each row which label its key is of.
    named = columns.index("label") if {"label", "key"} <= set(columns) else None
    rows = []
    for values in AnswerRows(table):
        cells = []
        for column, value, number in zip(columns, values, numbers, strict=True):
            label = values[named] if named is not None and column == "key" else linked.get(column)
            href = card_url(label, value) if label and isinstance(value, str) else ""
            cells.append(SheetCell(cell_text(value, zone), href, number))
        rows.append(cells)
    return Sheet(title, columns, rows, more, about, numbers)


def asked(source: GraphSource, name: str, values: Mapping[str, Any], *, limit: int = 10_000) -> pa.Table:
    """The answer of a saved query to these parameters; see `run_query`."""
    given: dict[str, Parameter] = {k: v for k, v in values.items() if v not in (None, "")}
    return run_query(source.store, name, given, limit=limit)


def asked_sheet(
    source: GraphSource, name: str, values: Mapping[str, Any], *, rows: int | None = None
) -> Sheet:
    """The answer of a saved query as a table; `rows` at most, where it takes a limit."""
    query = saved_query(name)
    limited = {"limit": rows} if rows and any(p.name == "limit" for p in query.parameters) else {}
    table = asked(source, name, {**values, **limited})
    return sheet(
        table,
        title=query.title,
        about=query.description,
        links=linked_columns(query, source.schema),
        more=query_url(name, values),
        zone=source.zone,
    )
