"""What a query says of an item's fields: its brand, its category, what else it is, and what it may cost."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.listed import parts_of
from kgdistill.serve.answer import Facet
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.price import priced
from kgdistill.tasks.audience import MemberGroups
from kgdistill.tasks.words import TextWord, words
from kgdistill.words import NamesInWords, other_numbers, paired, spelled

# A field names things where its values are so short, and two items or more share one, on average.
_WORDS, _SHARED = 3, 2
# A name of one word, so short, may be a code, and the word another one of the language.
_CODE = 3
# Of a longer text so many words are read for names.
_READ = 50
_PRICE = (
    "price",
    "preis",
    "prix",
    "precio",
    "prezzo",
    "prijs",
    "cena",
    "单价",
    "价格",
    "售价",
    "價格",
    "価格",
)


@dataclass(frozen=True)
class Said:
    """What a query says of fields, and which items are so.

    Attributes:
        facets: as they stand in the query; of names in each other the longer ones.
        holding: items of each facet, bool [facets, N].
        named: the share of the query's words that name what an item is, float32 [N]; as in `NamedTerm`.
    """

    facets: tuple[Facet, ...]
    holding: BoolArray
    named: FloatArray

    def every(self) -> BoolArray:
        """The items that are all that is said, of one field any, bool [N]."""
        out = np.ones(self.holding.shape[1], np.bool_)
        for field in {facet.field for facet in self.facets}:
            rows = [n for n, facet in enumerate(self.facets) if facet.field == field]
            out &= self.holding[rows].any(axis=0)
        return out


class _Field:
    """A field's values, each once, of lists their parts, and which of them every item has."""

    def __init__(self, items: Items, name: str) -> None:
        self.name = name
        column = items.table[name].combine_chunks()
        encoded = column.dictionary_encode()
        self.values: list[str] = encoded.dictionary.to_pylist()
        self._size = len(self.values)
        self._texts = encoded.indices.fill_null(self._size).to_numpy(zero_copy_only=False).astype(np.int64)
        self._parts: tuple[IntArray, IntArray] | None = None
        if items.lists(name):
            parts, code = [parts_of(text) for text in self.values], dict[str, int]()
            owner = np.repeat(np.arange(self._size), [len(some) for some in parts])
            codes = [code.setdefault(part, len(code)) for some in parts for part in some]
            self.values, self._parts = list(code), (owner, np.array(codes, np.int64))

    def holding(self, codes: Sequence[int]) -> BoolArray:
        """The items that have one of some values, bool [N]."""
        chosen = np.zeros(len(self.values) + 1, np.bool_)
        chosen[list(codes)] = True
        if self._parts is not None:
            owner, part = self._parts
            texts, chosen = owner[chosen[part]], np.zeros(self._size + 1, np.bool_)
            chosen[texts] = True
        out: BoolArray = chosen[self._texts]
        return out

    @cached_property
    def counts(self) -> list[int]:
        """How many items have each value."""
        times = np.bincount(self._texts, minlength=self._size + 1)[:-1]
        if self._parts is not None:
            owner, part = self._parts
            times = np.bincount(part, times[owner]).astype(np.int64)
        out: list[int] = times.tolist()
        return out


class _Facts:
    """As a `_Field`, of what one kind of facts leads to, from an item or over several steps."""

    def __init__(self, name: str, families: Sequence[MemberGroups], items: int) -> None:
        self.name, self._size = name, items
        values = dict[str, int]()
        codes = [
            np.array([values.setdefault(one, len(values)) for one in family.names], np.int64)[family.groups]
            for family in families
        ]
        self.values = list(values)
        pairs = np.stack([np.concatenate([family.items for family in families]), np.concatenate(codes)])
        self._items, self._codes = np.unique(pairs, axis=1)

    def holding(self, codes: Sequence[int]) -> BoolArray:
        """The items from which a fact leads to one of some values, bool [N]."""
        out = np.zeros(self._size, np.bool_)
        out[self._items[np.isin(self._codes, list(codes))]] = True
        return out

    @cached_property
    def counts(self) -> list[int]:
        """Of how many items each value is."""
        return np.bincount(self._codes, minlength=len(self.values)).tolist()  # type: ignore[no-any-return]


class Facets:
    """The names that stand in a bundle's fields, and its price.

    Args:
        items: the catalogue.
        groups: that its items share: what one is called is a name too, where no field has it.
    """

    def __init__(self, items: Items, groups: Sequence[MemberGroups] = ()) -> None:
        self._items = items
        kinds = {name: items.kind(name) for name in items.properties}
        texts = [name for name, kind in kinds.items() if kind == "text" and name != SHOWN[0]]
        fields = [field for field in (_Field(items, name) for name in texts) if _names_things(field)]
        self._fields: list[_Field | _Facts] = [*fields, *_facts(groups, len(items))]
        self.price = next(
            (
                name
                for name, kind in kinds.items()
                if kind in ("number", "whole") and any(word in name.casefold() for word in _PRICE)
            ),
            None,
        )
        # Words of a name → field → what is named → the values that are so.
        self._named: dict[tuple[str, ...], dict[int, dict[str, list[int]]]] = {}
        self.words: dict[str, int] = defaultdict(int)
        for at, field in enumerate(self._fields):
            for code, (value, count) in enumerate(zip(field.values, field.counts, strict=True)):
                for name, path in _names(value):
                    said = tuple(words(name))
                    if len("".join(said)) < 2 or not any(c.isalpha() for word in said for c in word):
                        continue
                    if isinstance(field, _Facts) and any(n < len(fields) for n in self._named.get(said, ())):
                        continue
                    self._named.setdefault(said, {}).setdefault(at, {}).setdefault(path, []).append(code)
                    for word in said:
                        self.words[word] += count
        self._names = NamesInWords(self._named)
        self._held: dict[str, BoolArray] = {}

    def without_price(self, text: str) -> tuple[str, Facet | None]:
        """A folded text without what it says of the price, where the items have one."""
        found = priced(text) if self.price is not None else None
        if found is None or self.price is None:
            return text, None
        rest = " ".join(f"{text[: found.start]} {text[found.end :]}".split())
        return rest, Facet(self.price, None, found.least, found.most, text[found.start : found.end].strip())

    def of(self, asked: Sequence[TextWord], price: Facet | None, *, partly: bool = False) -> Said | None:
        """What the words of a query say; None where they say nothing.

        Args:
            asked: the words; of more than 50 the first.
            price: what the query says of it.
            partly: where they name nothing, also what is named with one of the words.
        """
        asked = asked[:_READ]
        stems = [self._as_named(word) for word in asked]
        held = np.zeros((len(asked), len(self._items)), np.bool_)
        told: list[tuple[Facet, BoolArray]] = []
        taken: dict[int, set[int]] = defaultdict(set)

        def tell(facet: Facet, items: BoolArray) -> None:
            if all((facet.field, facet.value) != (other.field, other.value) for other, _ in told):
                told.append((facet, items))

        for span, fields in self._names.spans(stems):
            for at, named in fields.items():
                if len(span) == 1 and not self._is_meant(asked[span.start], at, named):
                    continue
                facet, items = self._told(at, named, asked[span.start : span.stop])
                held[span.start : span.stop] |= items
                if taken[at].isdisjoint(span):
                    tell(facet, items)
                    taken[at] |= set(span)
        if not told and partly:
            for n, word in enumerate(asked):
                for at, named in self._parts.get(stems[n], {}).items():
                    facet, items = self._told(at, named, [word])
                    held[n] |= items
                    tell(facet, items)
        if price is not None:
            told.append((price, self._items.mask({price.field: (price.least, price.most)})))
        if not told:
            return None
        share = held.sum(axis=0, dtype=np.float32) / np.float32(max(len(asked), 1))
        return Said(tuple(facet for facet, _ in told), np.stack([items for _, items in told]), share)

    def _is_meant(self, asked: TextWord, at: int, named: Mapping[str, list[int]]) -> bool:
        """Whether a word means what it names; "en" in titles that are hardly ever of that language does not.

        Of the items in whose titles a short word stands fewer are so, then, than of all.
        """
        if len(asked.typed) > _CODE or not asked.typed.isalpha() or paired(asked.typed):
            return True
        holding = self._fields[at].holding([code for codes in named.values() for code in codes])
        titled = self._titled(asked.typed)
        return not titled.any() or float(holding[titled].mean()) >= float(holding.mean())

    def _titled(self, word: str) -> BoolArray:
        """The items in whose titles a word stands, bool [N]."""
        if word not in self._held:
            titles = self._items.table["title"].combine_chunks()
            pattern = rf"(?:^|[^\pL\pN]){re.escape(word)}(?:[^\pL\pN]|$)"
            held = pc.match_substring_regex(titles, pattern, ignore_case=True).fill_null(False)
            self._held[word] = np.asarray(held.to_numpy(zero_copy_only=False), np.bool_)
        return self._held[word]

    def knows(self, asked: TextWord) -> bool:
        """Whether a name has a word, in either number."""
        return self._as_named(asked) in self.words

    def _as_named(self, asked: TextWord) -> str:
        """A word as it stands in names: where none has it, in the other number, if one has that."""
        if asked.word in self.words:
            return asked.word
        return next((word for word in other_numbers(asked.typed) if word in self.words), asked.word)

    def _told(
        self, at: int, named: Mapping[str, list[int]], said: Sequence[TextWord]
    ) -> tuple[Facet, BoolArray]:
        """A facet, and which items are so; of several paths that end alike the end is its value."""
        field, text = self._fields[at], _as_typed(said)
        value = next(iter(named)) if len(named) == 1 else text
        codes = [code for codes in named.values() for code in codes]
        return Facet(field.name, value, None, None, text), field.holding(codes)

    @cached_property
    def _parts(self) -> dict[str, dict[int, dict[str, list[int]]]]:
        """As `_named`, by each word of the names alone."""
        parts: dict[str, dict[int, dict[str, list[int]]]] = {}
        for said, fields in self._named.items():
            for word in said:
                for at, named in fields.items():
                    for path, codes in named.items():
                        parts.setdefault(word, {}).setdefault(at, {}).setdefault(path, []).extend(codes)
        return parts


def _facts(groups: Sequence[MemberGroups], items: int) -> list[_Facts]:
    """The groups by the fact that leads away from an item: what is further along it is of the same kind."""
    kinds = dict[str, list[MemberGroups]]()
    for family in groups:
        kinds.setdefault(family.name.split(" > ")[0], []).append(family)
    return [_Facts(name, families, items) for name, families in kinds.items()]


def _names_things(field: _Field) -> bool:
    if field.name in SHOWN:
        return bool(field.values)
    lengths = [len(words(value)) for value in field.values[:1000]]
    counted = sum(field.counts)
    return bool(lengths) and float(np.mean(lengths)) <= _WORDS and counted >= _SHARED * len(field.values)


def _names(value: str) -> Iterator[tuple[str, str]]:
    """What a value is called, each level of a path by itself, and the path as far as it goes."""
    levels = [level.strip() for level in value.split(">")]
    for depth, level in enumerate(levels, start=1):
        path = " > ".join(levels[:depth])
        for name in spelled(level):
            yield name, path


def _as_typed(said: Sequence[TextWord]) -> str:
    """Some neighbouring words; pairs of characters overlap."""
    if all(paired(word.typed) for word in said):
        return said[0].typed + "".join(word.typed[-1] for word in said[1:])
    return " ".join(word.typed for word in said)
