"""Searching: a query is read, then words find, meaning and what it says of fields reorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.ranking.topk import top_k
from kgdistill.serve.answer import Answer, Basis, Correction
from kgdistill.serve.facets import Facets, Said
from kgdistill.serve.items import Items
from kgdistill.serve.keys import at_most
from kgdistill.serve.search import LONGEST, SearchIndex, unread
from kgdistill.serve.spelling import Spelling, corrected, is_small
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.words import fold, tokens

FacetUse = Literal["boost", "filter", "off"]
FACET_USES = ("boost", "filter", "off")
_CELLS = 1 << 19


@dataclass(frozen=True)
class Query:
    """A text as it is searched for.

    Attributes:
        text: with slips corrected and without what it says of the price.
        corrections: what was corrected.
        said: what it says of the items' fields; None where that is nothing.
        fields: whether they are read.
    """

    text: str
    corrections: tuple[Correction, ...] = ()
    said: Said | None = None
    fields: bool = True


class Searching:
    """What a bundle finds by text.

    Args:
        items: the catalogue.
        index: its words and vectors.
        tower: reads what is searched for.
        popularity: log(1 + buyers) of every item, float32 [N], where that is known: of items of which nothing
            else is known the most bought come first.
    """

    def __init__(
        self, items: Items, index: SearchIndex, tower: TextTower | None, popularity: FloatArray | None = None
    ) -> None:
        self._items, self._index, self._tower = items, index, tower
        self._popularity = popularity if popularity is not None else np.zeros(len(items), np.float32)

    @cached_property
    def facets(self) -> Facets:
        """The names in the items' fields."""
        return Facets(self._items)

    @cached_property
    def spelling(self) -> Spelling:
        """The words of the items' texts and fields."""
        return Spelling({**self.facets.words, **self._index.words.document_frequencies()})

    def read(self, text: str, *, spelling: bool = True, facets: bool = True) -> Query:
        """A text as it is searched for.

        Args:
            text: as it was typed.
            spelling: correct words that neither the items' texts nor their fields have.
            facets: read what it says of fields.
        """
        text = text[:LONGEST]
        folded, price, corrections = fold(text), None, tuple[Correction, ...]()
        whole = folded
        if facets:
            folded, price = self.facets.without_price(folded)
        words = tokens(folded)
        if spelling:
            unknown = [word for word in words if not self._index.words.document_frequency(word.word)]
            if unknown:
                folded, corrections = corrected(folded, unknown, self.spelling)
        words = tokens(folded) if corrections else words
        said = self.facets.of(words, price) if facets else None
        return Query(text if folded == whole else folded, corrections, said, facets)

    def nearest(self, text: str, k: int) -> IntArray:
        """Positions of the items whose words say most of a text, of equals the most bought; maybe none."""
        score = self._index.words.coverage([text[:LONGEST]])[0]
        score = np.where(score > 0, score + self._popularity * np.float32(1e-3), np.float32(-np.inf))
        items, _ = top_k(score[None], np.arange(len(score)), max(1, min(k, len(score))))
        out: IntArray = items[0][items[0] >= 0]
        return out

    def answers(
        self, texts: Sequence[str], k: int, mask: BoolArray | None, *, spelling: bool, facets: FacetUse
    ) -> list[Answer]:
        """The items that fit each text best; memory does not grow with their number.

        Args:
            texts: what is searched for.
            k: how many.
            mask: the items that are ranked, bool [N]; None for all.
            spelling, facets: see `Bundle.search`.

        Raises:
            InputError: `facets` is nothing that can be done with them.
        """
        if facets not in FACET_USES:
            raise InputError(f"facets is {facets!r}", hint=f"known: {', '.join(FACET_USES)}")
        queries = [self.read(text, spelling=spelling, facets=facets != "off") for text in texts]
        if facets == "filter":
            answers = [self._filtered(query, k, mask) for query in queries]
        else:
            rows = max(1, _CELLS // max(len(self._items), 1))
            parts = (queries[start : start + rows] for start in range(0, len(queries), rows))
            answers = [answer for part in parts for answer in self._of(part, k, mask)]
        return [
            replace(answer, notes=(told, *answer.notes)) if (told := unread(text)) else answer
            for text, answer in zip(texts, answers, strict=True)
        ]

    def _filtered(self, query: Query, k: int, mask: BoolArray | None) -> Answer:
        """What is all that the query says, where there is any such item."""
        if query.said is None:
            return self._of([query], k, mask)[0]
        every = query.said.every() if mask is None else query.said.every() & mask
        if every.any():
            return self._of([query], k, every)[0]
        answer = self._of([query], k, mask)[0]
        return replace(
            answer, notes=(*answer.notes, "no item is all that the text says; it orders them only")
        )

    def _of(self, queries: Sequence[Query], k: int, mask: BoolArray | None) -> list[Answer]:
        items = None if mask is None else np.flatnonzero(mask)
        pool = np.arange(len(self._items)) if items is None else items
        texts = [query.text for query in queries]
        vectors = np.zeros((len(texts), 0), np.float32)
        if self._tower is not None:
            vectors = unit(self._tower.encode(texts, known=True))
        scores, bases = self._index.ranked(texts, vectors, items, self._said(queries))
        answers = []
        for query, row, basis in zip(queries, scores, bases, strict=True):
            said, told = query.said, basis
            if basis == "nothing" and query.fields:
                said = said or self.facets.of(tokens(query.text), None, partly=True)
                row, told = self._by_fields(said, pool, row)
            best, score = top_k(row[None], pool, at_most(k, len(pool)))
            facets = said.facets if said is not None else ()
            hits = self._items.hits(best[0], score[0])
            missing = self._missing(query)
            answers.append(Answer(told, hits, corrections=query.corrections, facets=facets, missing=missing))
        return answers

    def _missing(self, query: Query) -> tuple[str, ...]:
        """The words, but small ones, that neither the items' texts nor their fields, where read, have."""
        unknown = self._index.words.unknown(query.text)
        if unknown and query.fields:
            unknown = [word for word in unknown if not self.facets.knows(word)]
        return tuple(dict.fromkeys(word.typed for word in unknown if not is_small(word.typed)))

    def _by_fields(self, said: Said | None, pool: IntArray, row: FloatArray) -> tuple[FloatArray, Basis]:
        """Scores by what a text says of fields alone, and then by how often an item is bought."""
        if said is None or not (any_of := said.holding[:, pool]).any():
            return row, "nothing"
        share = any_of.mean(axis=0, dtype=np.float32)
        bought = self._popularity[pool]
        score = share + bought / np.float32(1e-9 + 1e3 * max(float(bought.max(initial=0)), 1.0))
        return np.where(share > 0, score, np.float32(-np.inf)), "fields"

    def _said(self, queries: Sequence[Query]) -> dict[str, FloatArray]:
        """What the queries say of the fields, as `fuse` takes it."""
        if all(query.said is None for query in queries):
            return {}
        named = np.zeros((len(queries), len(self._items)), np.float32)
        fits = np.zeros_like(named)
        for row, query in enumerate(queries):
            if query.said is None:
                continue
            named[row] = query.said.named
            ranges = [n for n, facet in enumerate(query.said.facets) if facet.value is None]
            # A range is one more word beside those that an item can hold.
            fits[row] = query.said.holding[ranges].sum(axis=0) / np.float32(1 + len(tokens(query.text)))
        return {"named": named, "fits": fits} if fits.any() else {"named": named}
