"""Tells which rows of a source, and which pieces of its mapping, make nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class PieceRows:
    """What the rows of a source that fit make by one node, relationship or tree of its mapping.

    Attributes:
        type: such as `User-BOUGHT-Product`; of a tree its label.
        held: for how many of them its `when` holds.
        made: of how many of these it makes something.
        empty: by key (its columns) how many of these have none.
    """

    type: str
    held: int
    made: int
    empty: dict[str, int] = field(default_factory=dict)


Part: TypeAlias = tuple[str, int, int, Sequence[PieceRows]]
"""A file or batch: its name (SOURCE or SOURCE:FILE), its rows, those without an event, what pieces make."""


@dataclass(frozen=True)
class IdlePiece:
    """A piece of a mapping that made nothing of all rows of its source.

    Attributes:
        source: the mapping's name for it.
        type: such as `User-BOUGHT-Product`; of a tree its label.
        rows: those that fit and for which its `when` holds.
        empty: by key (its columns) how many of these have none.
    """

    source: str
    type: str
    rows: int
    empty: dict[str, int]

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.source}: {self.type} makes nothing: no row fits, or has what its when asks"
        keys = (
            f"{key} is empty in {'all' if rows == self.rows else f'{rows:,}'}"
            for key, rows in self.empty.items()
            if rows
        )
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{self.source}: {self.type} makes nothing: of {rows} {' and '.join(keys)}"


def joined_pieces(parts: Iterable[Sequence[PieceRows]]) -> tuple[PieceRows, ...]:
    """What the parts of one source, each with all pieces in the same order, make together."""
    return tuple(
        PieceRows(
            some[0].type,
            sum(one.held for one in some),
            sum(one.made for one in some),
            {key: sum(one.empty[key] for one in some) for key in some[0].empty},
        )
        for some in zip(*(part for part in parts if part), strict=True)
    )


def eventless_rows(parts: Iterable[Part]) -> dict[str, int]:
    """By source how many rows make no event, where any."""
    rows: Counter[str] = Counter()
    for name, _, eventless, _ in parts:
        rows[name.split(":")[0]] += eventless
    return dict(+rows)


def idle_pieces(parts: Iterable[Part]) -> list[IdlePiece]:
    """The pieces that make nothing of a source that has rows."""
    rows: defaultdict[str, int] = defaultdict(int)
    by_source: defaultdict[str, list[Sequence[PieceRows]]] = defaultdict(list)
    for name, count, _, pieces in parts:
        source = name.split(":")[0]
        rows[source] += count
        by_source[source].append(pieces)
    return [
        IdlePiece(name, piece.type, piece.held, piece.empty)
        for name, some in by_source.items()
        if rows[name]
        for piece in joined_pieces(some)
        if not piece.made
    ]
