"""Queries to learn from: made up from a catalogue, as people might type them, or logged."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.unspaced import cut, unspaced_words, written
from kgdistill.tasks.words import fold
from kgdistill.words import unspaced

_VALUE = re.compile(r"[,;|>\n，；、]|\[SEP\]")
_NUMBER = re.compile(r"(?=.*\d)(?=.*[^\W\d_])[^\W_]+(?:[-./][^\W_]+)*")
# Templates that draw an item, with their shares; "vocabulary" and "node" are taken whole beside them.
_SHARES = {
    "phrase": 0.2,
    "node phrase": 0.2,
    "value phrase": 0.15,
    "span": 0.1,
    "drop": 0.1,
    "typo": 0.1,
    "number": 0.05,
    "other field": 0.1,
}


@dataclass(frozen=True)
class SyntheticQueries:
    """Queries with where they come from.

    Attributes:
        texts: distinct where they are made up.
        sources: an item that each was made from, or that was clicked, int64 [Q].
        templates: how each came about.
    """

    texts: list[str]
    sources: IntArray
    templates: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def beside(self, others: SyntheticQueries) -> SyntheticQueries:
        """These, and of the others those whose text is none of these."""
        mine = set(self.texts)
        rows = np.array([i for i, text in enumerate(others.texts) if text not in mine], np.int64)
        more = others._take(rows)
        sources = np.concatenate([self.sources, more.sources])
        return SyntheticQueries([*self.texts, *more.texts], sources, [*self.templates, *more.templates])

    def _take(self, rows: IntArray) -> SyntheticQueries:
        texts = [self.texts[i] for i in rows]
        return SyntheticQueries(texts, self.sources[rows], [self.templates[i] for i in rows])


def title_phrases(catalogue: SearchCatalogue, *, min_items: int = 4, min_makers: int = 3) -> list[str]:
    """Word sequences of up to three words that several makers use in titles: kinds of things, mostly.

    A phrase that only one maker uses is a model's name; where the graph has no makers (no facts under
    which an item has exactly one node), `min_items` alone decides. Names of nodes are left out.

    Returns:
        Sorted phrases of lower-case words without digits.
    """
    makers, known = _makers(catalogue), words_of(catalogue)
    count: Counter[str] = Counter()
    used: dict[str, set[int]] = defaultdict(set)
    for row, title in enumerate(catalogue.titles):
        for phrase in spans(title, known):
            count[phrase] += 1
            if makers is not None and makers[row] >= 0 and len(used[phrase]) < min_makers:
                used[phrase].add(int(makers[row]))
    names = {fold(name) for fact in catalogue.facts for name in fact.names}
    return sorted(
        phrase
        for phrase, n in count.items()
        if n >= min_items
        and (makers is None or len(used[phrase]) >= min_makers)
        and not any(word in names for word in cut(phrase, known))
    )


def words_of(catalogue: SearchCatalogue) -> frozenset[str]:
    """What counts as a word of the catalogue's titles in scripts without blanks."""
    return unspaced_words(catalogue.titles, (name for fact in catalogue.facts for name in fact.names))


def spans(text: str, known: frozenset[str], longest: int = 3) -> set[str]:
    """Sequences of up to `longest` neighbouring words without digits.

    The last has three letters or more; in scripts without blanks, whose words are `known`, two.
    """
    found = set()
    tokens = cut(text, known)
    for size in range(1, longest + 1):
        for part in zip(*(tokens[i:] for i in range(size)), strict=False):
            enough = len(part[-1]) > (1 if unspaced(part[-1]) else 2)
            if enough and len(part[0]) > 1 and not any(c.isdigit() for w in part for c in w):
                found.add(written(part))
    return found


def head_phrases(
    catalogue: SearchCatalogue, phrases: list[str], phrase_vectors: FloatArray, title_vectors: FloatArray
) -> IntArray:
    """For each item the phrase of its title that stands nearest to the title as a whole.

    Args:
        catalogue: the items.
        phrases: what may be chosen.
        phrase_vectors: unit vectors, float32 [phrases, E].
        title_vectors: unit vectors, float32 [items, E].

    Returns:
        int64 [items], rows of `phrases`; -1 where the title holds none.
    """
    place, known = {phrase: row for row, phrase in enumerate(phrases)}, words_of(catalogue)
    out = np.full(len(catalogue), -1, np.int64)
    for row, title in enumerate(catalogue.titles):
        mine = sorted(place[p] for p in spans(title, known) if p in place)
        if mine:
            out[row] = mine[int((phrase_vectors[mine] @ title_vectors[row]).argmax())]
    return out


def synthesise(
    catalogue: SearchCatalogue, phrases: list[str], heads: IntArray, *, count: int = 40_000, seed: int = 0
) -> SyntheticQueries:
    """Makes up distinct queries; the same arguments give the same queries.

    Every title phrase, every node's name, and every word and pair of words that three items or
    more use are queries. The rest are drawn from single items: head phrase with a maker or another node,
    with an attribute value; a span; words dropped; a slip of the keyboard; the product number; words of
    another field.

    Args:
        catalogue: the items.
        phrases: from `title_phrases`.
        heads: from `head_phrases`.
        count: how many items are drawn; fewer queries come of them where they repeat.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[int, str]] = {}

    def add(query: str, source: int, template: str) -> None:
        query = " ".join(query.split())
        if query and len(query) <= 80 and any(c.isalpha() for c in query):
            made.setdefault(query, (source, template))

    for fact in catalogue.facts:
        nodes = fact.members.tocsc()
        for node, name in enumerate(fact.names):
            holders = nodes.indices[nodes.indptr[node] : nodes.indptr[node + 1]]
            if len(holders):
                add(fold(name), int(rng.choice(holders)), "node")
    known = words_of(catalogue)
    _vocabulary(catalogue, known, rng, add)
    draws = _Draws(catalogue, known, phrases, heads, rng)
    names = list(_SHARES)
    templates = rng.choice(len(names), size=count, p=np.array(list(_SHARES.values())))
    for item, template in zip(rng.integers(len(catalogue), size=count), templates, strict=True):
        name = names[template]
        add(draws.by_name[name](int(item)), int(item), name)
    texts = list(made)
    sources = np.array([made[t][0] for t in texts], np.int64)
    return SyntheticQueries(texts, sources, [made[t][1] for t in texts])


class _Draws:
    """One method for each template that draws an item; an empty string where it cannot be applied."""

    def __init__(
        self,
        catalogue: SearchCatalogue,
        known: frozenset[str],
        phrases: list[str],
        heads: IntArray,
        rng: np.random.Generator,
    ) -> None:
        self._rng, self._known = rng, known
        self._titles = catalogue.titles
        self._others = [values for i, values in enumerate(catalogue.fields.values()) if i]
        self._facts = catalogue.facts
        self._head = [phrases[h] if h >= 0 else "" for h in heads]
        self.by_name: dict[str, Callable[[int], str]] = {
            "phrase": lambda item: self._head[item],
            "node phrase": self.node_phrase,
            "value phrase": self.value_phrase,
            "span": self.span,
            "drop": self.drop,
            "typo": self.typo,
            "number": self.number,
            "other field": self.other_field,
        }

    def _one(self, options: list[str]) -> str:
        return options[int(self._rng.integers(len(options)))] if options else ""

    def _window(self, tokens: list[str], longest: int) -> str:
        if not tokens:
            return ""
        size, start = int(self._rng.integers(1, longest + 1)), int(self._rng.integers(len(tokens)))
        return written(tokens[start : start + size])

    def node_phrase(self, item: int) -> str:
        nodes = []
        for fact in self._facts:
            start, end = fact.members.indptr[item], fact.members.indptr[item + 1]
            nodes += [fact.names[n] for n in fact.members.indices[start:end]]
        name = fold(self._one(nodes))
        return f"{name} {self._head[item]}" if name and self._head[item] else ""

    def value_phrase(self, item: int) -> str:
        values = [v.strip() for field in self._others for v in _VALUE.split(field[item])]
        short = [v for v in values if 0 < len(v.split()) <= 2 and any(c.isalpha() for c in v)]
        value = fold(self._one(short))
        return f"{value} {self._head[item]}" if value and self._head[item] else ""

    def span(self, item: int) -> str:
        return self._window(cut(self._titles[item], self._known), 3)

    def drop(self, item: int) -> str:
        tokens = cut(self._titles[item], self._known)
        size = min(int(self._rng.integers(2, 6)), len(tokens))
        kept = np.sort(self._rng.permutation(len(tokens))[:size])
        return written(tokens[i] for i in kept)

    def typo(self, item: int) -> str:
        tokens = (self._head[item] or fold(self._titles[item])).split()[:3]
        long = [i for i, word in enumerate(tokens) if len(word) > 3 and not unspaced(word)]
        if not long:
            return ""
        at = int(self._rng.choice(long))
        word, i = tokens[at], int(self._rng.integers(1, len(tokens[at]) - 1))
        slips = [
            word[:i] + word[i + 1 :],
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            word[:i] + word[i] + word[i:],
        ]
        tokens[at] = self._one(slips)
        return " ".join(tokens)

    def number(self, item: int) -> str:
        tokens = cut(self._titles[item], self._known)
        return self._one([t for t in tokens if len(t) >= 4 and _NUMBER.fullmatch(t)])

    def other_field(self, item: int) -> str:
        return self._window(cut(self._one([f[item] for f in self._others if f[item]]), self._known), 3)


def _vocabulary(
    catalogue: SearchCatalogue,
    known: frozenset[str],
    rng: np.random.Generator,
    add: Callable[[str, int, str], None],
) -> None:
    holders: dict[str, list[int]] = defaultdict(list)
    for row, texts in enumerate(zip(*catalogue.fields.values(), strict=True)):
        for span in set().union(*(spans(text, known, 2) for text in texts)):
            holders[span].append(row)
    for span in sorted(holders):
        if len(holders[span]) >= 3:
            add(span, int(rng.choice(holders[span])), "vocabulary")


def _makers(catalogue: SearchCatalogue) -> IntArray | None:
    """The node of each item under the facts that most items have exactly one of; None without such."""
    best: IntArray | None = None
    for fact in catalogue.facts:
        degree = np.diff(fact.members.indptr)
        if (degree == 1).mean() > 0.5 and len(fact.names) >= 3:
            node = np.full(len(catalogue), -1, np.int64)
            one = degree == 1
            node[one] = fact.members.indices[fact.members.indptr[:-1][one]]
            if best is None or (node >= 0).sum() > (best >= 0).sum():
                best = node
    return best
