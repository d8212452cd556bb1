"""BM25 over all fields of a catalogue, and how much of a query a product holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.tasks.words import terms, words

TITLE_WEIGHT = 3
# The usual values for short texts; bm25s' own defaults (1.5, 0.75) are those for documents.
K1 = 0.9
B = 0.4


class LexicalIndex:
    """A BM25 index (Lucene's form, by bm25s) whose fields count with whole weights.

    A word in a field of weight w counts as w words (BM25F with one length for all fields, Robertson et
    al. 2004).

    Args:
        fields: name → text of each product; the first is the title.
        weights: of the fields; by default 3 for the first and 1 for the others.
        k1, b: BM25's saturation and length normalisation.

    Raises:
        InputError: bm25s is not installed; a weight is below 1 or of an unknown field.
    """

    def __init__(
        self,
        fields: Mapping[str, Sequence[str]],
        *,
        weights: Mapping[str, int] | None = None,
        k1: float = K1,
        b: float = B,
    ) -> None:
        try:
            import bm25s  # type: ignore[import-untyped]
        except ImportError as error:
            raise InputError(
                "search needs bm25s, which is not installed", hint="pip install 'kgdistill[search]'"
            ) from error
        if weights is None:
            weights = {name: TITLE_WEIGHT if i == 0 else 1 for i, name in enumerate(fields)}
        for name, weight in weights.items():
            if name not in fields or weight < 1:
                raise InputError(f"the weight {weight} of the field {name!r} cannot be used")
        rows: list[list[str]] = [[] for _ in next(iter(fields.values()))]
        for name, weight in weights.items():
            for row, text in zip(rows, fields[name], strict=True):
                row += terms(text, singles=True) * weight
        self._size = len(rows)
        self._bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._bm25.index(rows, show_progress=False)
        self._known: dict[str, int] = self._bm25.vocab_dict
        self._holds = self._incidence(rows)
        frequency = np.asarray(self._holds.sum(0)).ravel()
        self._idf = np.log1p((self._size - frequency + 0.5) / (frequency + 0.5))

    def _incidence(self, rows: list[list[str]]) -> sp.csc_matrix:
        columns = [np.unique([self._known[t] for t in row if t in self._known]) for row in rows]
        ends = np.concatenate([[0], np.cumsum([len(c) for c in columns])])
        flat = np.concatenate(columns).astype(np.int64) if self._size else np.zeros(0, np.int64)
        width = max(self._known.values(), default=-1) + 1
        shape = (self._size, width)
        return sp.csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=shape).tocsc()

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """BM25, float32 [Q, products]; 0 where no term of the query stands."""
        out = np.zeros((len(queries), self._size), np.float32)
        for row, query in enumerate(queries):
            asked = [t for t in terms(query) if t in self._known]
            if asked:
                out[row] = self._bm25.get_scores(asked)
        return out

    def coverage(self, queries: Sequence[str]) -> FloatArray:
        """The share of the query's known words that a product holds, by idf; float32 [Q, products]."""
        out = np.zeros((len(queries), self._size), np.float32)
        for row, query in enumerate(queries):
            asked = [self._known[w] for w in dict.fromkeys(words(query)) if w in self._known]
            total = self._idf[asked].sum() if asked else 0.0
            for column in asked:
                start, end = self._holds.indptr[column], self._holds.indptr[column + 1]
                out[row, self._holds.indices[start:end]] += self._idf[column] / total
        return out
