"""Tells by which column all files know products and users, and which of them need a join to find it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.lines import is_catalogue
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.ties import SURE, Tie

ROLES = ("product", "user")


@dataclass
class Agreement:
    """What files have to take for a key, so that all know the same things by it.

    Attributes:
        keys: by place of a group of files and role, `product` or `user`, the column that is its key.
        joins: by place and role the column with which a row finds another group's, and the key there.
        apart: by place the things that stay apart, as nothing tells which of there is meant.
    """

    keys: dict[tuple[int, str], str] = field(default_factory=dict)
    joins: dict[tuple[int, str], tuple[Tie, str]] = field(default_factory=dict)
    apart: dict[int, Tie] = field(default_factory=dict)


def agreed(
    guesses: Sequence[Guess], tied: Sequence[Sequence[Tie]], unique: Callable[[int, str], bool]
) -> Agreement:
    """By which column each table of products and users is known, and how files without it find it.

    That is the one that its table is guessed to have; another one where files know but that, and several rows
    there are of one, as products have variants.

    Args:
        guesses: by group of files what its columns are.
        tied: by group its ties to others.
        unique: whether no two rows of a group differ that have the same value of a column.
    """
    agreement = Agreement()
    for role in ROLES:
        keys = {place: key_of(found, role) for place, found in enumerate(guesses)}
        tables = {
            place: key.name
            for place, key in keys.items()
            if key is not None and is_table(guesses[place], role)
        }
        found_by: dict[int, dict[int, Tie]] = {to: {} for to in tables}
        for place, own in keys.items():
            some = [tie for tie in tied[place] if tie.to in tables and tie.share >= SURE]
            if own is None or not some:
                continue
            name = own.name
            best = max(some, key=lambda tie: (tie.there == tables[tie.to], tie.here == name, tie.share))
            if best.here == name or (best.there == tables[best.to] and place not in tables):
                found_by[best.to][place] = best
        for to, places in found_by.items():
            _agree(agreement, role, (to, tables[to]), places, unique)
    return agreement


def key_of(found: Guess, role: str) -> ColumnProfile | None:
    """The column that is the key of the product or user of a row."""
    return found.product if role == "product" else found.user


def is_table(found: Guess, role: str) -> bool:
    """Whether rows are products, or users, and none of what somebody did."""
    if role == "product":
        alone = found.product is not None and found.user is None and found.order is None
        return alone and (found.quantity is None or is_catalogue(found)) and "Product" not in found.unsure
    other = (found.product, found.order, found.query, found.statement, found.question, found.ad)
    return all(column is None for column in other)


def _agree(
    agreement: Agreement,
    role: str,
    table: tuple[int, str],
    places: Mapping[int, Tie],
    unique: Callable[[int, str], bool],
) -> None:
    """By which column a table is known, and how the files that know its things by some column find it."""
    to, key = table
    several = {tie.there for tie in places.values() if tie.there != key and not unique(to, tie.there)}
    by_key = any(tie.there == key for tie in places.values())
    if len(several) == 1 and (not by_key or unique(to, key)):
        # By the finer one the coarser is found, and not the other way round.
        key = several.pop()
        agreement.keys[to, role] = key
    for place, tie in places.items():
        if tie.there == key:
            agreement.keys[place, role] = tie.here
        elif tie.there in several:
            agreement.apart[place] = tie
        else:
            agreement.joins[place, role] = (tie, key)
