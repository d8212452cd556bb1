"""The part of a bundle that tells what goes with an item: what was in one basket with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.serve.items import Items
from kgdistill.serve.parts import Arrays, HeldPart, all_of, check_arrays, check_settings, check_table, refuse

_BACKING = 10
"""The weight, in users, of what the groups of two items say beside what was counted of these themselves."""
_KINDS = {"partner": "int32", "support": "int32", "expected": "float32", "beyond": "uint8"}


class BoughtTogether(NamedTuple):
    """Why an item goes with another.

    Attributes:
        item: position of the other.
        groups: what the other belongs to and what the item does; None where they were counted themselves.
        support: how many users had both together.
        lift: how many times as many as by chance; 0 where that is not beyond chance.
    """

    item: int
    groups: tuple[str, str] | None
    support: int
    lift: float


@dataclass(frozen=True)
class PartnerTable:
    """Of each item, or group of items, what was in one basket with it.

    Attributes:
        indptr: where each one's rows begin, int64 [N + 1].
        partner: int32 [rows], ascending within one.
        support: how many users had both in one basket, int32 [rows].
        expected: how many would by chance, float32 [rows].
        beyond: 1 where the support is beyond chance, uint8 [rows].
        users: how many users have each, int64 [N].
    """

    indptr: IntArray
    partner: npt.NDArray[np.int32]
    support: npt.NDArray[np.int32]
    expected: npt.NDArray[np.float32]
    beyond: npt.NDArray[np.uint8]
    users: IntArray

    def row(self, of: int, *, usual: bool) -> tuple[npt.NDArray[np.int32], DoubleArray]:
        """Partners, and how many users had each with it: more than by chance, or `usual`, all of them."""
        part = slice(self.indptr[of], self.indptr[of + 1])
        support = self.support[part].astype(np.float64)
        if not usual:
            support = np.where(self.beyond[part], np.maximum(support - self.expected[part], 0.0), 0.0)
        return self.partner[part], support

    def evidence(self, of: int, partner: int) -> tuple[int, float]:
        """Support and lift of a pair: 0 where it is not kept, a lift of 0 where it is not beyond chance."""
        part = slice(self.indptr[of], self.indptr[of + 1])
        found = np.flatnonzero(self.partner[part] == partner)
        if not len(found):
            return 0, 0.0
        at = int(self.indptr[of] + found[0])
        lift = float(self.support[at] / max(self.expected[at], 1e-9)) if self.beyond[at] else 0.0
        return int(self.support[at]), lift


@dataclass(frozen=True)
class Grouping:
    """The items of now in the groups of one column.

    Attributes:
        names: of the groups, by code.
        table: what is in one basket, group by group.
        codes: of each item, int64 [items], one past the last group where it has none.
        share: of the users of its group's items those that are an item's, float64 [items].
    """

    names: list[str]
    table: PartnerTable
    codes: IntArray
    share: DoubleArray

    def into(self, of: int, *, usual: bool) -> DoubleArray:
        """Of the users of an item's group the share that had each item with it, as far as groups tell."""
        code = int(self.codes[of])
        partner, support = self.table.row(code, usual=usual)
        out = np.zeros(len(self.names) + 1)
        out[partner] = support / max(int(self.table.users[code]), 1)
        # Of a kind are substitutes, but also what is bought in several sorts at once.
        out[code] = 1.0 if usual else 0.0
        return np.asarray(out[self.codes] * self.share)


class Complements(HeldPart):
    """What goes with an item.

    Args:
        given: `columns`: by name of a column of the items, the first that an item has a value in counts, its
            values in the order of their codes.
        held: the arrays of a `PartnerTable` of the items (`items.partner` …) and of each column's groups
            (`group0.partner` …).
        items: how many there are, at least as many as the table knows.

    Raises:
        ArtefactError: settings and arrays do not fit together.
    """

    name: ClassVar[str] = "complements"

    def __init__(self, given: Mapping[str, Any], held: Arrays, items: int) -> None:
        columns = given.get("columns")
        named = isinstance(columns, dict) and all(all_of(names, str) for names in columns.values())
        check_settings(given, {"columns": named})
        super().__init__(given, held, items)
        self._columns: dict[str, list[str]] = given["columns"]
        known = held["items.users"].size if "items.users" in held else 0
        sizes = [("items", known), *((f"group{n}", len(v)) for n, v in enumerate(self._columns.values()))]
        if known > items:
            raise refuse(f"complements.items.users tells of {known:,} items, not of {items:,}")
        check_arrays(self.name, held, {k: v for name, size in sizes for k, v in _shapes(held, name, size)})
        self.items, *self._groups = (_table(held, name, size) for name, size in sizes)
        self._placed: tuple[Items, list[Grouping]] | None = None

    def scores(self, of: int, items: Items, *, usual: bool) -> DoubleArray:
        """How much each item goes with one, float64 [items]; 0 where nothing says so.

        It is an estimated share: of the users of the one, those that had the other with it, less what chance
        brings, and only where that is beyond chance; what the items' groups say is added. With `usual` it is
        the whole share, and what the groups say counts as if `_BACKING` users more had said it.

        Args:
            of: position of the item.
            items: the bundle's, those that were added later among them.
            usual: also what is bought with anything.
        """
        out = np.zeros(len(items))
        users = int(self.items.users[of]) if of < len(self.items.users) else 0
        if users:
            partner, support = self.items.row(of, usual=usual)
            out[partner] = support / (users + _BACKING if usual else users)
        grouping = self._of(of, items)
        if grouping is not None:
            weight = _BACKING / (users + _BACKING) if usual else 1.0
            out += weight * grouping.into(of, usual=usual)
        return out

    def evidence(self, of: int, item: int, items: Items) -> BoughtTogether:
        """What stands behind that an item goes with one: the two themselves, or else their groups."""
        support, lift = self.items.evidence(of, item) if of < len(self.items.users) else (0, 0.0)
        grouping = self._of(of, items)
        if lift or grouping is None or grouping.codes[item] == len(grouping.names):
            return BoughtTogether(of, None, support, lift)
        mine, its = int(grouping.codes[of]), int(grouping.codes[item])
        together, lift = grouping.table.evidence(mine, its)
        if support and not lift:
            return BoughtTogether(of, None, support, 0.0)
        return BoughtTogether(of, (grouping.names[mine], grouping.names[its]), together, lift)

    def _of(self, item: int, items: Items) -> Grouping | None:
        """The first column's groups in which an item has one."""
        return next((g for g in self._groupings(items) if g.codes[item] < len(g.names)), None)

    def _groupings(self, items: Items) -> list[Grouping]:
        # Items are added now and then, and asked about often.
        if self._placed is None or self._placed[0] is not items:
            users = np.zeros(len(items))
            users[: len(self.items.users)] = self.items.users
            found = []
            for (column, names), table in zip(self._columns.items(), self._groups, strict=True):
                place = {name: code for code, name in enumerate(names)}
                values = items.columns([column])[column]
                codes = np.array([place.get(v, len(names)) if v else len(names) for v in values], np.int64)
                everybody = np.bincount(codes, users, len(names) + 1)
                share = np.where(codes < len(names), users / np.maximum(everybody, 1.0)[codes], 0.0)
                found.append(Grouping(names, table, codes, share))
            self._placed = items, found
        return self._placed[1]


def _shapes(held: Arrays, name: str, size: int) -> list[tuple[str, tuple[str, tuple[int, ...]]]]:
    """dtype and shape of the arrays of one table."""
    rows = held[f"{name}.partner"].size if f"{name}.partner" in held else 0
    kinds = [(f"{name}.{part}", (kind, (rows,))) for part, kind in _KINDS.items()]
    return [*kinds, (f"{name}.indptr", ("int64", (size + 1,))), (f"{name}.users", ("int64", (size,)))]


def _table(held: Arrays, name: str, size: int) -> PartnerTable:
    table = PartnerTable(**{part: held[f"{name}.{part}"] for part in ("indptr", *_KINDS, "users")})
    check_table(f"complements.{name}", table.indptr, table.partner, size)
    for part in ("support", "expected", "users"):
        if (getattr(table, part) < 0).any():
            raise refuse(f"complements.{name}.{part} holds a negative number")
    return table
