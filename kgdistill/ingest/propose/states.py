"""Tells which rows a status leaves out: orders that came to nothing, and products that are not sold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kgdistill.ingest.propose.events import UNDONE, UNPAID, UNSOLD, no_of, normal
from kgdistill.ingest.propose.headings import has_word, is_id
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.yaml_text import flow

_STATE = "status state zustand visibility"
# What is not sent yet may be paid.
_SENDING = "fulfillment fulfilment shipping shipment delivery versand lieferung versandstatus lieferstatus"
_SHOWN = "published publish active online enabled visible available listed buyable"
_SHOWN += " aktiv sichtbar veroeffentlicht verfuegbar lieferbar"
_KINDS = 50
_BACK = UNDONE - UNPAID - {"return", "returns"}


def _is_state(column: ColumnProfile) -> bool:
    return has_word(column, _STATE) or column.flat.endswith("status")


def undone(columns: Sequence[ColumnProfile]) -> dict[str, str]:
    """By column of orders a doubt that tells which of them came to nothing, and how to leave them out."""
    doubts = {}
    for column in columns:
        known = UNDONE - UNPAID if has_word(column, _SENDING) else UNDONE
        some = sorted({v for v in column.values if normal(v) in known})
        if some and _is_state(column) and column.distinct <= _KINDS:
            where = flow([{"column": column.name, "not_in": some}])
            doubts[column.name] = f"rows of all kinds count; to leave some out: where: {where}"
            if not column.full:
                doubts[column.name] += f"; {column.lacking} have none, and would stay"
        elif any(word in _BACK for word in column.words) and not is_id(column):
            doubts |= _undone_besides(column)
    return doubts


def _undone_besides(column: ColumnProfile) -> dict[str, str]:
    """A doubt of a time at which orders were undone, or of what was paid back for them."""
    condition: dict[str, Any] = {}
    if column.time is not None and not column.full:
        some, condition = len(column.values), {"present": False}
    elif column.number is not None:
        some = sum(re.search("[1-9]", value) is not None for value in column.values)
        condition = {"max": 0} if column.full else {}
    else:
        return {}
    told = f"{some:,} of {column.rows:,} rows have one, and count whole"
    where = flow([{"column": column.name, **condition}])
    return {column.name: f"{told}; to leave them out: where: {where}" if condition else told} if some else {}


def unsold(columns: Sequence[ColumnProfile]) -> dict[str, str]:
    """By column of products a doubt that tells which of them are not sold, and how to leave them out."""
    doubts = {}
    for column in columns:
        shown = has_word(column, _SHOWN) and not column.lists
        states = _is_state(column) and column.distinct <= _KINDS
        some = {v for v in column.values if (states or shown) and normal(v) in UNSOLD}
        some |= no_of(column) if shown else set()
        if some:
            rows = sum(value in some for value in column.values)
            where = flow([{"column": column.name, "not_in": sorted(some)}])
            told = f"{rows:,} of {column.rows:,} rows are not for sale, and are products as others"
            doubts[column.name] = f"{told}; to leave them out: where: {where}"
    return doubts
