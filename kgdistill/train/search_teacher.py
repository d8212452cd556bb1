"""The teacher of search: words, meaning and the graph's facts in one score, and what it hands down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.terms.lexical import TITLE_WEIGHT, LexicalIndex
from kgdistill.models.text.transformer import TextEncoder
from kgdistill.progress import step
from kgdistill.tasks.search_catalogue import Facts, SearchCatalogue
from kgdistill.tasks.words import words

_BATCH = 256


@dataclass(frozen=True)
class Fusion:
    """How much each part of the score weighs; every part lies in [0, 1].

    Attributes:
        meaning: of the cosine against BM25, which weighs 1 − meaning.
        coverage: of the share of the query's words that a product holds.
        facts: of the facts that the query names.
        depth: where given, only the first `depth` of the lexical ranking are ordered by the whole score;
            the others follow in lexical order.
    """

    meaning: float = 0.5
    coverage: float = 0.5
    facts: float = 0.2
    depth: int | None = None


@dataclass(frozen=True)
class Parts:
    """The parts of a score, each float32 [Q, products]; lexical and meaning as they come, not yet scaled."""

    lexical: FloatArray
    coverage: FloatArray
    meaning: FloatArray
    facts: FloatArray | None = None


def unit(scores: FloatArray) -> FloatArray:
    """Each row scaled to [0, 1]; a row of equal values becomes 0."""
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return np.asarray((scores - low) / np.maximum(high - low, 1e-9), np.float32)


def fuse(parts: Parts, fusion: Fusion) -> FloatArray:
    """One score, float32 [Q, products].

    Where no product holds a word of the query, the lexical parts are 0 throughout and meaning decides
    alone, at any depth.
    """
    lexical = (1 - fusion.meaning) * unit(parts.lexical) + fusion.coverage * parts.coverage
    score = lexical + fusion.meaning * unit(parts.meaning)
    if parts.facts is not None and fusion.facts:
        score = score + fusion.facts * parts.facts
    if fusion.depth is None or fusion.depth >= score.shape[1]:
        return np.asarray(score, np.float32)
    first = unit(parts.lexical) + fusion.coverage * parts.coverage
    out = np.asarray(first - 10, np.float32)
    for row, values in enumerate(score):
        if not parts.lexical[row].any():
            out[row] = values
            continue
        # Ties at the edge go to the nearer in meaning, not to the lower id.
        order = np.lexsort((-parts.meaning[row], -first[row]))[: fusion.depth]
        out[row, order] = values[order]
    return out


class FactLinks:
    """Finds the nodes that a query names, and the products that hang on them.

    A node is named where its whole name, in stemmed words, stands in the query: "canon ink" names the
    brand Canon. A product's score is the share of the query's words that name nodes it hangs on; of
    overlapping names of one product the longest counts.
    """

    def __init__(self, facts: Sequence[Facts], products: int) -> None:
        self._products = products
        self._holders: dict[tuple[str, ...], list[IntArray]] = defaultdict(list)
        for fact in facts:
            nodes = fact.members.tocsc()
            for node, name in enumerate(fact.names):
                named = tuple(words(name))
                holders = nodes.indices[nodes.indptr[node] : nodes.indptr[node + 1]]
                if named and len(holders):
                    self._holders[named].append(holders.astype(np.int64))
        self._longest = max(map(len, self._holders), default=0)

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Float32 [Q, products] in [0, 1]."""
        out = np.zeros((len(queries), self._products), np.float32)
        for row, query in enumerate(queries):
            asked = words(query)
            held: dict[int, npt.NDArray[np.bool_]] = {}
            for size in range(min(self._longest, len(asked)), 0, -1):
                for start in range(len(asked) - size + 1):
                    for holders in self._holders.get(tuple(asked[start : start + size]), []):
                        for word in range(start, start + size):
                            mask = held.setdefault(word, np.zeros(self._products, bool))
                            mask[holders] = True
            for mask in held.values():
                out[row] += mask / np.float32(len(asked))
        return out


@dataclass(frozen=True)
class SearchTargets:
    """What the teacher hands down for a list of queries.

    Attributes:
        queries: float32 [Q, E], the text teacher's vectors.
        candidates: int64 [Q, C], the teacher's first products.
        scores: float32 [Q, C], its scores of them, descending.
    """

    queries: FloatArray
    candidates: IntArray
    scores: FloatArray


def prose_fields(catalogue: SearchCatalogue) -> list[str]:
    """The title and the fields that are running text: four words or more on average, where present."""
    names = []
    for i, (name, values) in enumerate(catalogue.fields.items()):
        present = [len(v.split()) for v in values if v]
        if i == 0 or (len(present) > len(values) / 2 and np.mean(present) >= 4):
            names.append(name)
    return names


def mix_fields(vectors: Sequence[FloatArray]) -> FloatArray:
    """Unit vectors of products from those of their fields, the title first and counting as in BM25."""
    mixed = vectors[0] * float(TITLE_WEIGHT)
    for other in vectors[1:]:
        mixed = mixed + other
    return np.asarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9), np.float32)


def encode_fields(catalogue: SearchCatalogue, encoder: TextEncoder, names: Sequence[str]) -> list[FloatArray]:
    """The fields' vectors, each float32 [products, E]; 0 where a field is empty."""
    place: dict[str, int] = {}
    for name in names:
        for text in catalogue.fields[name]:
            if text:
                place.setdefault(text, len(place))
    encoded = encoder.encode(list(place))
    empty = np.zeros((1, encoded.shape[1]), np.float32)
    table = np.concatenate([encoded, empty])
    return [table[[place.get(text, len(place)) for text in catalogue.fields[name]]] for name in names]


class SearchTeacher:
    """Words (BM25), meaning (a bi-encoder over the running text) and the graph's facts.

    Args:
        catalogue: what to search; without facts the teacher is that of text alone.
        lexical: an index over the catalogue's fields.
        encoder: of the queries.
        vectors: the products' vectors by the same encoder, float32 [products, E]; see `mix_fields`.
        fusion: the weights.
    """

    def __init__(
        self,
        catalogue: SearchCatalogue,
        lexical: LexicalIndex,
        encoder: TextEncoder,
        vectors: FloatArray,
        fusion: Fusion | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.lexical = lexical
        self.encoder = encoder
        self.vectors = vectors
        self.fusion = fusion if fusion is not None else Fusion()
        self._links = FactLinks(catalogue.facts, len(catalogue)) if catalogue.facts else None

    def parts(self, queries: Sequence[str], vectors: FloatArray | None = None) -> Parts:
        """The parts of the score; `vectors` are the queries', where they are known already."""
        if vectors is None:
            vectors = self.encoder.encode(list(queries))
        return Parts(
            lexical=self.lexical.scores(queries),
            coverage=self.lexical.coverage(queries),
            meaning=np.asarray(vectors @ self.vectors.T, np.float32),
            facts=self._links.scores(queries) if self._links is not None else None,
        )

    def scores(self, queries: Sequence[str], vectors: FloatArray | None = None) -> FloatArray:
        """Float32 [Q, products]."""
        return fuse(self.parts(queries, vectors), self.fusion)

    def targets(
        self, queries: Sequence[str], vectors: FloatArray | None = None, *, candidates: int = 32
    ) -> SearchTargets:
        """The first `candidates` products of every query with their scores."""
        if vectors is None:
            vectors = self.encoder.encode(list(queries))
        size = min(candidates, len(self.catalogue))
        ids = np.empty((len(queries), size), np.int64)
        values = np.empty((len(queries), size), np.float32)
        with step("Asking the search teacher", total=len(queries)) as work:
            for part in _batches(len(queries)):
                chosen = [queries[i] for i in range(part.start, part.stop)]
                score = self.scores(chosen, vectors[part])
                near = np.argpartition(-score, size - 1, axis=1)[:, :size]
                kept = np.take_along_axis(score, near, axis=1)
                order = np.lexsort((near, -kept))
                ids[part] = np.take_along_axis(near, order, axis=1)
                values[part] = np.take_along_axis(kept, order, axis=1)
                work.advance(len(chosen))
        return SearchTargets(vectors, ids, values)


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, _BATCH):
        yield slice(start, min(start + _BATCH, count))
