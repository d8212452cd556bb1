"""Tells who somebody is by columns that look personal, and by which of them nobody is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kgdistill.ingest.propose.headings import has, has_word
from kgdistill.ingest.propose.ids import is_masked
from kgdistill.ingest.propose.lines import by_mail, is_each
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import (
    BIRTH,
    BRAND,
    CATEGORY,
    HANDLE,
    PERSONAL,
    PRICE,
    QUANTITY,
    TITLE,
    USER,
    word_set,
)

if TYPE_CHECKING:
    from kgdistill.ingest.propose.guess import Guess

# People to whom goods or bills go.
_PAYER = word_set(
    "bill billing ship shipping recipient receiver empfaenger destinataire destinatario odbiorca"
)
_PHONES = word_set("mobile phone telephone telefon tel handy")
# Of fewer rows all may be one customer's.
_ROWS = 20
_CHANGED = "updated modified changed update geaendert aktualisiert aenderungsdatum aktualisierung"


def is_personal(column: ColumnProfile) -> bool:
    """Whether a column may tell who somebody is, by its heading or its values."""
    if column.personal:
        return True
    if _is_of_phones(column):
        return False
    if has(column, PERSONAL) and (column.time is None or has(column, BIRTH)):
        return True
    if "name" in column.words and _PAYER & set(column.words) and not has_word(column, "method company"):
        return True
    named = column.words[-1:] in (("name",), ("names",))
    return named and has(column, USER + " first last")


def _is_of_phones(column: ColumnProfile) -> bool:
    """Whether it tells of phones as goods are, such as their models, and holds no number of one."""
    named = set(column.words) & word_set(PERSONAL)
    of_goods = bool(named) and named <= _PHONES and named < set(column.words)
    numbers = any(len(re.findall(r"\d", value)) > 5 or "*" in value for value in column.values)
    return of_goods and not numbers and bool(column.values)


def _handles(found: Guess) -> list[ColumnProfile]:
    return [c for c in found.personal if c.personal or (has(c, HANDLE) and len(c.words) <= 2)]


def by_handle(found: Guess, left: list[ColumnProfile], shared: frozenset[str]) -> None:
    """Takes what looks personal for who it was, where nothing else tells or others know people by that."""
    some = [c for c in _handles(found) if found.order is not None or not is_alone(c)]
    masked = max((c.distinct for c in some if is_masked(c)), default=0)
    # Beside those of customers that are masked, a few are those of the shop's own people.
    handles = [c for c in some if not is_masked(c) and c.distinct >= masked]
    handles.sort(key=lambda c: -c.tied)
    if handles and found.user is not None and handles[0].tied > found.user.tied:
        found.user = handles[0]
    elif _has_goods(found, left) and any(c.time is not None for c in left):
        found.user, told = by_mail(found.user, handles, shared)
        found.unsure |= told
    found.personal = [c for c in found.personal if c is not found.user]


def _has_goods(found: Guess, left: list[ColumnProfile]) -> bool:
    """Whether somebody bought what rows tell: products, an order that lines look up, or names of goods."""
    named = any(has(c, TITLE) for c in left) and any(has(c, QUANTITY) or has(c, PRICE) for c in left)
    order = found.order is not None and not has_word(found.order, "session")
    return found.product is not None or order or named


def is_alone(column: ColumnProfile) -> bool:
    """Whether one and the same stands in many rows, as the shop's own account does."""
    return column.distinct == 1 and len(column.values) >= _ROWS


def doubt_of_masks(found: Guess, people: list[ColumnProfile]) -> dict[str, str]:
    """By name what to say of columns that would tell who somebody is, were their values not masked.

    Args:
        found: what the columns are taken for; nothing is said where a user is.
        people: those that are called as users.
    """
    masked = [c for c in (*people, *_handles(found)) if is_masked(c)] if found.user is None else []
    told = "is masked, as {} is, so that several people share a value ({:,} in {:,} rows): no user"
    return {c.name: told.format(c.values[0][:20], c.distinct, len(c.values)) for c in masked}


def of_shop(found: Guess, left: list[ColumnProfile]) -> None:
    """Takes no user from a list of products with a shop's account, or the time of a change, in each row."""
    user, key, time = found.user, found.product, found.time
    if user is None or key is None or not is_each(key) or found.order is not None or found.event is not None:
        return
    told = sum(any(has(c, one) for c in left) for one in (TITLE, BRAND, CATEGORY, PRICE))
    changed = time is not None and has_word(time, _CHANGED)
    if told < 2 or (user.distinct > 1 and not changed):
        return
    how = f"{user.distinct:,} in {len(user.values):,} rows, each of another product"
    if changed and time is not None:
        how += f", and {time.name} is when that changed"
    found.unsure[user.name] = f"{how}: taken for the shop's, so that nobody bought or saw anything"
    found.user = None
