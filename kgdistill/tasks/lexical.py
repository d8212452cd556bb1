"""An inverted index over the texts of a catalogue: BM25, and how much of a query an item holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.tasks.words import RULE, TextWord, models, parts, terms, terms_of, tokens
from kgdistill.words import paired

TITLE_WEIGHT = 3
# The usual values for short texts; 1.5 and 0.75 are those for documents.
K1 = 0.9
B = 0.4
# The rule of indices that were kept before it had a name.
_UNNAMED = "s-stems-1"


@dataclass(frozen=True)
class LexicalIndex:
    """Which items hold a term, and how often; made by `lexical_index`, and small enough to be deployed.

    Scores are BM25 in Lucene's form (Kamphuis et al. 2020). A term in a field of weight w counts as w terms
    (BM25F with one length for all fields, Robertson et al. 2004).

    Attributes:
        terms: every term once; its place is its number.
        starts: int64 [terms + 1], where the postings of each term begin.
        items: int32 [postings], ascending within a term.
        counts: int32 [postings], how often the item holds the term.
        size: how many items there are.
        k1, b: saturation and length normalisation.
    """

    terms: list[str]
    starts: IntArray
    items: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    size: int
    k1: float = K1
    b: float = B

    def __post_init__(self) -> None:
        whole = len(self.starts) == len(self.terms) + 1 and self.starts[0] == 0
        rises = whole and (np.diff(self.starts) >= 0).all()
        if not rises or not self.starts[-1] == len(self.items) == len(self.counts):
            raise ArtefactError("the postings of an index of words do not fit together")
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < self.size:
            raise ArtefactError("an index of words names items that are not there")

    @cached_property
    def _place(self) -> dict[str, int]:
        return {term: number for number, term in enumerate(self.terms)}

    @cached_property
    def _weights(self) -> FloatArray:
        """What each posting adds to a score, float32 [postings]."""
        held = np.diff(self.starts)
        idf = np.log(1 + (self.size - held + 0.5) / (held + 0.5)).astype(np.float32)
        lengths = np.bincount(self.items, self.counts, self.size)
        norm = self.k1 * (1 - self.b + self.b * lengths / max(lengths.mean(), 1e-9))
        share = self.counts.astype(np.float32) / (norm[self.items] + self.counts)
        return np.asarray(np.repeat(idf, held) * share, np.float32)

    @cached_property
    def _idf(self) -> FloatArray:
        held = np.diff(self.starts).astype(np.float32)
        return np.asarray(np.log1p((self.size - held + 0.5) / (held + 0.5)), np.float32)

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """BM25, float32 [Q, items]; 0 where no term of the query stands."""
        out = np.zeros((len(queries), self.size), np.float32)
        for row, query in enumerate(queries):
            for number in self._terms(query):
                postings = slice(self.starts[number], self.starts[number + 1])
                out[row, self.items[postings]] += self._weights[postings]
        return out

    def _terms(self, query: str) -> list[int]:
        """The known terms of a query, with repeats; a known amount is not looked for by its pieces."""
        place = self._place
        held = [t._replace(pieces=()) if t.amount and t.word in place else t for t in tokens(query)]
        joined = [word for word, _, _ in models(held)]
        return [place[term] for term in [*terms_of(held), *joined] if term in place]

    def coverage(self, queries: Sequence[str]) -> FloatArray:
        """The share of the query's known words that an item holds, by idf; float32 [Q, items].

        A word is also held where it is part of a model number that is written otherwise.
        """
        out = np.zeros((len(queries), self.size), np.float32)
        for row, query in enumerate(queries):
            asked = self.asked(query)
            total = sum(self._idf[numbers[0]] for numbers in asked) if asked else np.float32(1)
            for numbers in asked:
                held = [self.holders(number) for number in numbers]
                items = held[0] if len(held) == 1 else np.unique(np.concatenate(held))
                out[row, items] += self._idf[numbers[0]] / total
        return out

    def asked(self, query: str) -> list[tuple[int, ...]]:
        """The known words of a query, each once: its own term, and the model numbers that it is part of.

        Of an amount or a model number that nobody wrote so, the known parts.
        """
        held, place = tokens(query), self._place
        found: dict[tuple[int, ...], None] = {}
        joined = [(place[word], a, b) for word, a, b in models(held) if word in place]
        for at, token in enumerate(held):
            ways = [place[token.word]] if token.word in place else []
            ways += [number for number, start, end in joined if start <= at < end]
            if ways:
                found[tuple(ways)] = None
            else:
                found |= dict.fromkeys((place[part],) for part in parts(token) if part in place)
        return list(found)

    def unknown(self, query: str) -> list[TextWord]:
        """The words of a query that no item holds in any way; not of scripts whose words are pairs."""
        held, place = tokens(query), self._place
        joined = [(start, end) for word, start, end in models(held) if word in place]
        joined += [(n, n + 2) for n, (a, b) in enumerate(pairwise(held)) if a.word + b.word in place]
        return [
            token
            for at, token in enumerate(held)
            if not any(term in place for term in (token.word, *parts(token)))
            and not any(start <= at < end for start, end in joined)
            and not paired(token.word)
        ]

    def holders(self, number: int) -> npt.NDArray[np.int32]:
        """The items that hold a term, ascending."""
        return self.items[self.starts[number] : self.starts[number + 1]]

    def document_frequencies(self) -> dict[str, int]:
        """How many items hold each term."""
        return dict(zip(self.terms, np.diff(self.starts).tolist(), strict=True))

    def document_frequency(self, term: str) -> int:
        """How many items hold a term; 0 where none does."""
        number = self._place.get(term, -1)
        return int(self.starts[number + 1] - self.starts[number]) if number >= 0 else 0

    def extended(self, fields: Mapping[str, Sequence[str]]) -> LexicalIndex:
        """The index with further items behind these, as if it had been made over all of them."""
        more = lexical_index(fields, k1=self.k1, b=self.b)
        both = dict.fromkeys([*self.terms, *more.terms])
        place = {term: number for number, term in enumerate(both)}
        theirs = np.array([place[term] for term in more.terms], np.int64)
        numbers = [np.repeat(np.arange(len(self.terms)), np.diff(self.starts))]
        numbers += [np.repeat(theirs, np.diff(more.starts))]
        postings = np.concatenate(numbers), np.concatenate([self.items, more.items + np.int32(self.size)])
        counts = np.concatenate([self.counts, more.counts])
        return _sorted(list(place), *postings, counts, self.size + more.size, self.k1, self.b)

    def settings(self) -> dict[str, Any]:
        """What a bundle keeps of it beside `arrays`."""
        return {"size": self.size, "k1": self.k1, "b": self.b, "words": RULE}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a bundle keeps of it; the terms as UTF-8, one a line."""
        joined = np.frombuffer("\n".join(self.terms).encode(), np.uint8)
        return {"terms": joined, "starts": self.starts, "items": self.items, "counts": self.counts}

    @classmethod
    def from_arrays(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> LexicalIndex:
        """What `settings` and `arrays` gave.

        Raises:
            ArtefactError: something is missing, they do not fit together, or the texts were cut into words by
                another rule than queries are now.
        """
        if (rule := settings.get("words", _UNNAMED)) != RULE:
            raise ArtefactError(f"its texts were cut into words by {rule!r}, this version cuts by {RULE!r}")
        try:
            joined = arrays["terms"].tobytes().decode()
            size, k1, b = int(settings["size"]), float(settings["k1"]), float(settings["b"])
            starts, items, counts = (arrays[name] for name in ("starts", "items", "counts"))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"holds no whole index of words: {error}") from error
        return cls(joined.split("\n") if joined else [], starts, items, counts, size, k1, b)


def mix_fields(vectors: Sequence[FloatArray]) -> FloatArray:
    """Unit vectors of items from those of their fields, the title first and counting as in the index."""
    mixed = vectors[0] * float(TITLE_WEIGHT)
    for other in vectors[1:]:
        mixed = mixed + other
    return np.asarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9), np.float32)


def lexical_index(
    fields: Mapping[str, Sequence[str]],
    *,
    weights: Mapping[str, int] | None = None,
    k1: float = K1,
    b: float = B,
) -> LexicalIndex:
    """An index over all fields.

    Args:
        fields: name → text of each item; the first is the title.
        weights: of the fields; by default 3 for the first and 1 for the others.
        k1, b: BM25's saturation and length normalisation.

    Raises:
        InputError: a weight is below 1 or of an unknown field.
    """
    if weights is None:
        weights = {name: TITLE_WEIGHT if i == 0 else 1 for i, name in enumerate(fields)}
    for name, weight in weights.items():
        if name not in fields or weight < 1:
            raise InputError(f"the weight {weight} of the field {name!r} cannot be used")
    place: dict[str, int] = defaultdict(lambda: len(place))
    numbers, items, counts = [], [], []
    size = len(next(iter(fields.values())))
    for name, weight in weights.items():
        held = [[place[t] for t in terms(text, singles=True)] for text in fields[name]]
        numbers.append(np.fromiter(chain.from_iterable(held), np.int64))
        items.append(np.repeat(np.arange(size, dtype=np.int32), list(map(len, held))))
        counts.append(np.full(len(numbers[-1]), weight, np.int32))
    flat = np.concatenate(numbers), np.concatenate(items), np.concatenate(counts)
    return _sorted(list(place), *flat, size, k1, b)


def _sorted(
    held: list[str],
    numbers: IntArray,
    items: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    size: int,
    k1: float,
    b: float,
) -> LexicalIndex:
    """An index of postings in any order, in which a term and an item may meet several times."""
    pairs, at = np.unique(numbers * size + items, return_inverse=True)
    starts = np.searchsorted(pairs, np.arange(len(held) + 1) * size).astype(np.int64)
    summed = np.bincount(at.ravel(), counts, len(pairs)).astype(np.int32)
    return LexicalIndex(held, starts, (pairs % max(size, 1)).astype(np.int32), summed, size, k1, b)
