"""Tells by the values of a column whether they are ids, and whether of orders."""

from __future__ import annotations

import re

import pyarrow as pa

from kgdistill.ingest.mapping.cast import key_text
from kgdistill.ingest.propose.headings import has, has_word, is_id
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import ATTRIBUTE, ID, TITLE, is_known, word_set

SALE = "order invoice purchase bestellung auftrag rechnung transaction bon receipt basket sale"
# Values that are looked at.
_VALUES = 200
# Of fewer different ones it is not told, nor of less than many where no word of the name says "id".
_LEAST, _MANY = 5, 10
_KEY = re.compile(r"[^\s,;|]{1,100}\Z")
# Fractions, measures such as 500ml, and addresses of pages.
_NO_KEY = re.compile(r"[+-]?\d+[.,]\d+\Z|\d[\d.,]*[a-zA-Z%]{1,3}\Z|\w+://")
_MASK = re.compile(r"[*＊•●]|[xX]{3}")
_LONG = 60
_CODED = re.compile(r"[\d@_-]")
_NUMBER = re.compile(r"(#?)[A-Za-z]{0,6}[-_/]?\d{2,}([-_/]\d+)*\Z")
_NUMBERED = word_set(f"{SALE} {TITLE} {ID} bestell reference")


def some_values(column: ColumnProfile) -> list[str]:
    """Different values of a column as keys, from all over its first rows."""
    values = list(dict.fromkeys(column.values))
    texts: list[str] = key_text(pa.array(values[:: len(values) // _VALUES + 1], pa.string())).to_pylist()
    return texts


def looks_like_ids(column: ColumnProfile) -> bool:
    """Whether the values tell things apart, as numbers, codes and words with hyphens do."""
    if column.lists or column.distinct < _LEAST or (column.time is not None and column.time.unit is None):
        return False
    some = some_values(column)
    whole = all(_KEY.match(value) and not _NO_KEY.match(value) for value in some)
    return whole and 2 * sum(_CODED.search(value) is not None for value in some) > len(some)


def names_one(column: ColumnProfile, vocabulary: str) -> bool:
    """Whether codes stand in a column that is called as a thing, with a word that says nothing else of it."""
    rest = tuple(word for word in column.words if word not in vocabulary.split())
    coded = column.number is None and column.distinct >= _MANY and looks_like_ids(column)
    return coded and len(rest) < len(column.words) and not is_known(rest)


def may_tell_lines(column: ColumnProfile) -> bool:
    """Whether a column is called as an id or as what tells variants of a product apart."""
    told = is_id(column) or has(column, f"{ATTRIBUTE} variant variation option line")
    return told and bool(column.cells) and column.time is None and not has_word(column, "row")


def is_masked(column: ColumnProfile) -> bool:
    """Whether most values hide a part, as j***n and 138****1234 do."""
    some = dict.fromkeys(column.values)
    return 2 * sum(_MASK.search(value) is not None for value in some) > len(some) > 0


def is_whole(column: ColumnProfile) -> bool:
    """Whether at most half of the values are long, or lists of `NAME:VALUE;`, as no keys are."""
    some = dict.fromkeys(column.values)
    return 2 * sum(len(value) > _LONG or {";", ":"} <= {*value} for value in some) <= len(some)


def may_number_orders(column: ColumnProfile) -> bool:
    """Whether values such as #1001 come again in a column that is called as an order, a number or a name."""
    some = some_values(column) if column.values and not column.lists and column.time is None else []
    signs = [_NUMBER.match(value) for value in some]
    called = column.flat in _NUMBERED or all(sign is not None and sign[1] for sign in signs)
    return called and bool(signs) and all(signs) and 1 < column.distinct < len(column.values)
