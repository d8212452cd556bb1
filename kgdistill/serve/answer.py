"""What a bundle answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, overload

Basis = Literal[
    "history", "history and text", "text", "popularity",
    "words and meaning", "words", "meaning", "vectors", "together", "groups", "nothing",
]  # fmt: skip
"""On what an answer rests: what was bought, a text, what is bought most; for a search the words that are
shared, what the text means to the tower, both or nothing; for a similar item the vectors; for what goes with
items what was bought together with them, or with their categories and brands alone."""


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


@dataclass(frozen=True)
class Answer(Sequence[Hit]):
    """The items of an answer, the best first, and what it rests on.

    Attributes:
        basis: on what it rests.
        hits: the items; none where none is left.
        unknown: keys of the history that the bundle does not know.
        new: ids of the items that few have bought yet, where places were kept for such.
    """

    basis: Basis
    hits: tuple[Hit, ...] = ()
    unknown: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, at: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[at]
