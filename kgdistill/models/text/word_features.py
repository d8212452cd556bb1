"""Exact words of texts as features: TF-IDF of words and pairs of words, in whatever script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import FloatArray
from kgdistill.words import paired, words

_LEAST, _MOST = 2, 50_000


@dataclass(frozen=True)
class WordFeatures:
    """The words that some texts share.

    Attributes:
        words: what has a column; of scripts without blanks characters and pairs of them, else words and pairs
            of neighbouring words.
        idf: log((1 + texts) / (1 + texts with the word)) + 1, float32 [words].
    """

    words: tuple[str, ...]
    idf: FloatArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordFeatures:
        """Of the words that two texts or more hold, the commonest 50,000."""
        held = Counter(word for text in texts for word in set(_grams(text)))
        common = sorted((-count, word) for word, count in held.items() if count >= _LEAST)[:_MOST]
        counts = np.array([-count for count, _ in common], np.float64)
        idf = np.log((1 + len(texts)) / (1 + counts)) + 1
        return cls(tuple(word for _, word in common), idf.astype(np.float32))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def table(self, texts: Sequence[str]) -> sp.csr_matrix:
        """(1 + log count) idf of each text's words at unit length, float32 CSR [texts, words]."""
        rows: list[int] = []
        columns: list[int] = []
        values: list[int] = []
        for row, text in enumerate(texts):
            found = Counter(self._places[gram] for gram in _grams(text) if gram in self._places)
            rows += [row] * len(found)
            columns += found.keys()
            values += found.values()
        at = np.array(columns, np.int64)
        weights = (1 + np.log(np.array(values, np.float64))) * self.idf[at]
        norms = np.sqrt(np.bincount(rows, weights**2, minlength=len(texts))) if rows else np.ones(len(texts))
        weights /= np.maximum(norms, 1e-9)[np.array(rows, np.int64)]
        shape = (len(texts), len(self.words))
        return sp.csr_matrix((weights.astype(np.float32), (np.array(rows, np.int64), at)), shape=shape)


def _grams(text: str) -> list[str]:
    found = words(text, singles=True)
    return [*found, *(f"{a} {b}" for a, b in pairwise(found) if not paired(a) and not paired(b))]
