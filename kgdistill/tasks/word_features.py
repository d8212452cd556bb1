"""Exact words of texts as features: TF-IDF of words and pairs of words, in whatever script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.words import paired, words

MOST = 50_000
"""Words that have a column, at most."""
_LEAST = 2


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
    def of(cls, texts: Sequence[str], *, most: int = MOST) -> WordFeatures:
        """Of the words that two texts or more hold, the commonest `most`."""
        held = Counter(word for text in texts for word in set(_grams(text)))
        common = sorted((-count, word) for word, count in held.items() if count >= _LEAST)[:most]
        counts = np.array([-count for count, _ in common], np.float64)
        idf = np.log((1 + len(texts)) / (1 + counts)) + 1
        return cls(tuple(word for _, word in common), idf.astype(np.float32))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def read(self, texts: Sequence[str]) -> WordTable:
        """(1 + log count) idf of each text's words, at unit length."""
        held = [Counter(self._places[g] for g in _grams(text) if g in self._places) for text in texts]
        lengths = np.fromiter(map(len, held), np.int64, len(held))
        columns = np.fromiter((word for row in held for word in row), np.int64, int(lengths.sum()))
        counts = np.fromiter((count for row in held for count in row.values()), np.float64, len(columns))
        weights = (1 + np.log(counts)) * self.idf[columns]
        owner = np.repeat(np.arange(len(held)), lengths)
        norms = np.sqrt(np.bincount(owner, weights**2, minlength=len(held)))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return WordTable(columns, (weights / norms[owner]).astype(np.float32), starts)


@dataclass(frozen=True)
class WordTable:
    """The words of some texts, one text after the other.

    Attributes:
        columns: of `WordFeatures.words`, int64 [T].
        weights: float32 [T].
        starts: where each text's begin, and their end, int64 [texts + 1].
    """

    columns: IntArray
    weights: FloatArray
    starts: IntArray

    def rows(self, rows: IntArray) -> WordTable:
        """Of some of the texts."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return WordTable(self.columns[at], self.weights[at], starts)

    def total(self, values: FloatArray) -> FloatArray:
        """The weighted sum of each text's rows of `values`, float32 [words, C] -> [texts, C]."""
        out = np.zeros((len(self.starts) - 1, values.shape[1]), np.float32)
        some = np.flatnonzero(np.diff(self.starts))
        if len(some):
            said = values[self.columns] * self.weights[:, None]
            out[some] = np.add.reduceat(said, self.starts[some], axis=0)
        return out


def _grams(text: str) -> list[str]:
    found = words(text, singles=True)
    return [*found, *(f"{a} {b}" for a, b in pairwise(found) if not paired(a) and not paired(b))]
