"""What a bundle answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, overload

Basis = Literal[
    "history", "history and text", "text", "popularity",
    "words and meaning", "words", "meaning", "fields", "vectors", "together", "groups", "nothing",
]  # fmt: skip
"""On what an answer rests: what was bought, a text, what is bought most; for a search the words that are
shared, what the text means to the tower, both, the brand, category or price that is named, or nothing; for a
similar item the vectors; for what goes with items what was bought together with them, or with their
categories and brands alone."""


class Hit(NamedTuple):
    """One item of an answer.

    Attributes:
        rank: from 1.
        id: the item's key.
        title, brand, category: as the bundle has them; empty where it has none.
        score: see `Bundle.score_is`.
        because: the term of the score that raises it most, in words, where asked for and one stands out.
    """

    rank: int
    id: str
    title: str
    brand: str
    category: str
    score: float
    because: str = ""


class Correction(NamedTuple):
    """A word that was searched for in the place of what was typed."""

    typed: str
    searched: str


class Facet(NamedTuple):
    """What a query says of one field.

    Attributes:
        field: of the items.
        value: that is named, of a path as far as it is named; None of a range.
        least, most: of a range, either of which may be None.
        text: the words of the query that say so.
    """

    field: str
    value: str | None
    least: float | None
    most: float | None
    text: str


@dataclass(frozen=True)
class Answer(Sequence[Hit]):
    """The items of an answer, the best first, and what it rests on.

    Attributes:
        basis: on what it rests.
        hits: the items; none where none is left.
        unknown: keys of the history that the bundle does not know.
        new: ids of the items that few have bought yet, where places were kept for such.
        corrections: of a search, what was searched for in the place of what was typed.
        facets: of a search, what the text says of the items' fields.
        missing: of a search, words of the text but small ones that no item has, as they were typed.
        notes: what else is to be said of it.
    """

    basis: Basis
    hits: tuple[Hit, ...] = ()
    unknown: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    facets: tuple[Facet, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def first(self, k: int) -> Answer:
        """The same with its first `k` items alone."""
        return replace(self, hits=self.hits[:k])

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, at: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[at]
