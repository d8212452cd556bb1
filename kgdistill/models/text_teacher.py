"""The teacher of matching by text: words, meaning and the graph's facts in one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms import Term
from kgdistill.models.terms.named import NamedTerm
from kgdistill.models.terms.near import NearTerm
from kgdistill.models.terms.words import CoverageTerm, WordsTerm
from kgdistill.models.text.transformer import TextEncoder
from kgdistill.progress import step
from kgdistill.ranking.fusion import WHOLE, Fusion, fuse
from kgdistill.ranking.topk import top_k
from kgdistill.tasks.lexical import LexicalIndex
from kgdistill.tasks.search_catalogue import SearchCatalogue

_CELLS = 1 << 23


@dataclass(frozen=True)
class TextTargets:
    """What the teacher hands down for a list of queries.

    Attributes:
        queries: float32 [Q, E], the text teacher's vectors.
        candidates: int64 [Q, C], the teacher's first items.
        scores: float32 [Q, C], its scores of them, descending.
    """

    queries: FloatArray
    candidates: IntArray
    scores: FloatArray


@dataclass(frozen=True)
class TextTeacher:
    """Words (BM25), meaning (a bi-encoder over the running text) and the graph's facts.

    Attributes:
        catalogue: what to search; without facts the teacher is that of text alone.
        index: over the catalogue's fields.
        encoder: of the queries.
        vectors: of the items by the same encoder, float32 [items, E]; see `mix_fields`.
        fusion: the weights.
        device: where vectors are compared.
    """

    catalogue: SearchCatalogue
    index: LexicalIndex
    encoder: TextEncoder
    vectors: FloatArray
    fusion: Fusion = WHOLE
    device: torch.device | None = None

    def over(self, catalogue: SearchCatalogue) -> TextTeacher:
        """The same teacher over another catalogue's facts: none, or shuffled ones."""
        return replace(self, catalogue=catalogue)

    def terms(self, queries: Sequence[str], vectors: FloatArray | None = None) -> list[Term]:
        """The terms of the score; `vectors` are the queries', where they are known already."""
        asked = self.encoder.encode(list(queries)) if vectors is None else vectors
        near = NearTerm(asked, self.vectors, self.device)
        held: list[Term] = [WordsTerm(queries, self.index), CoverageTerm(queries, self.index), near]
        if self.catalogue.facts:
            held.append(NamedTerm(queries, self.catalogue.facts, len(self.catalogue)))
        return held

    def parts(self, queries: Sequence[str], vectors: FloatArray | None = None) -> dict[str, FloatArray]:
        """What each term says of every item, float32 [Q, items], by name."""
        return term_parts(self.terms(queries, vectors), np.arange(len(queries)), len(self.catalogue))

    def scores(self, queries: Sequence[str], vectors: FloatArray | None = None) -> FloatArray:
        """Float32 [Q, items]."""
        return fuse(self.parts(queries, vectors), self.fusion)

    def targets(
        self, queries: Sequence[str], vectors: FloatArray | None = None, *, candidates: int = 32
    ) -> TextTargets:
        """The first `candidates` items of every query with their scores."""
        if vectors is None:
            vectors = self.encoder.encode(list(queries))
        terms, items = self.terms(queries, vectors), len(self.catalogue)
        size, block = min(candidates, items), max(min(_CELLS // max(items, 1), 256), 1)
        ids = np.empty((len(queries), size), np.int64)
        values = np.empty((len(queries), size), np.float32)
        with step("Asking the teacher", total=len(queries)) as work:
            for start in range(0, len(queries), block):
                rows = np.arange(start, min(start + block, len(queries)))
                score = fuse(term_parts(terms, rows, items), self.fusion)
                ids[rows], values[rows] = top_k(score, np.arange(items), size)
                work.advance(len(rows))
        return TextTargets(vectors, ids, values)


def term_parts(terms: Sequence[Term], anchors: IntArray, items: int) -> dict[str, FloatArray]:
    """What each term says of every item, float32 [B, items], by its name."""
    every = np.arange(items)
    return {term.name: term.pairs(anchors, every).cpu().numpy() for term in terms}
