"""What is written on classes, which teaches them as a text of theirs would."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema
from kgdistill.tasks.neighbours import field_texts
from kgdistill.tasks.target import Target

MOST = 20
"""Texts of a class's facts, at most: a shop's whole range says little of what is meant."""
# snake_case, kebab-case and camelCase.
_BREAK = re.compile(r"[_\-\s]+|(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class ClassTexts:
    """Texts that stand for classes of a target.

    Attributes:
        texts: what is written.
        classes: whose each is, int64 [texts].
        facts: whether a fact led to it, bool [texts].
        rows: the place of each among all of the target's, int64 [texts].
    """

    texts: tuple[str, ...]
    classes: IntArray
    facts: BoolArray
    rows: IntArray

    def without(self, classes: IntArray) -> ClassTexts:
        """Those of the other classes."""
        return self._at(~np.isin(self.classes, classes))

    def without_facts(self) -> ClassTexts:
        """Those that no fact led to."""
        return self._at(~self.facts)

    def _at(self, kept: BoolArray) -> ClassTexts:
        at = np.flatnonzero(kept)
        return ClassTexts(tuple(self.texts[i] for i in at), self.classes[at], self.facts[at], self.rows[at])


def class_texts(
    snapshot: Snapshot, label: str, target: Target, names: Collection[str], *, hidden: Collection[str | None]
) -> ClassTexts:
    """What is written on the classes of a target: names, fields, and where `by` says so what facts lead to.

    Nothing that the schema calls sensitive: other texts would say it in other words.

    Args:
        snapshot: everything in it is from before its cut.
        label: of the subjects.
        target: what is told.
        names: of the classes, in their order.
        hidden: relationship types that are never read, such as the targets'.
    """
    own = target.property is not None and "text" in target.by
    held = {name: _Held([in_words(name)] if own else [], []) for name in names}
    reader = _Reader(snapshot, snapshot.schema.guarded(), target, hidden)
    for edge in snapshot.edge_types:
        if edge[:2] == (label, target.relationship):
            reader.add(edge[2], held)
    rows = [
        (text, number, text not in one.own)
        for number, one in enumerate(held.values())
        for text in dict.fromkeys(filter(None, [*one.own, *one.behind]))
    ]
    texts, classes, facts = zip(*rows, strict=True) if rows else ((), (), ())
    return ClassTexts(texts, np.array(classes, np.int64), np.array(facts, np.bool_), np.arange(len(rows)))


def in_words(name: str) -> str:
    """A name as words: ORDER_STATUS, order-status and orderStatus are order status."""
    words = " ".join(filter(None, _BREAK.split(name)))
    return words.lower() if words.isupper() else words


class _Held(NamedTuple):
    """What is written on one class, and what its facts lead to."""

    own: list[str]
    behind: list[str]


@dataclass(frozen=True)
class _Reader:
    """Reads what is written on nodes that are classes, as far as a schema lets it."""

    snapshot: Snapshot
    schema: Schema
    target: Target
    hidden: Collection[str | None]

    def add(self, label: str, held: dict[str, _Held]) -> None:
        """Adds what is written on the nodes of a label to their classes' texts."""
        own = [in_words(name) for name in self._names(label)]
        rows = {row: key for row, key in enumerate(self.snapshot.keys(label).tolist()) if key in held}
        if "text" in self.target.by:
            fields = field_texts(self.snapshot, label, self.schema.node(label).text)
            for row, key in rows.items():
                held[key].own.extend([own[row], fields[row]])
        for edge in self.schema.edges("fact") if "facts" in self.target.by else ():
            if edge[0] == label and edge[1] not in self.hidden and edge in self.snapshot.edge_types:
                for row, text in self._behind(edge, list(rows)):
                    held[rows[row]].behind.append(f"{own[row]} {text}")

    def _behind(self, edge: EdgeType, rows: list[int]) -> list[tuple[int, str]]:
        """The first names that a fact leads to from some nodes, by the nodes' rows."""
        source, goal = self.snapshot.edge_index(edge)
        names, taken, out = self._names(edge[2]), dict.fromkeys(rows, 0), []
        for row, node in sorted(zip(source.tolist(), goal.tolist(), strict=True)):
            if names[node] and taken.get(row, MOST) < MOST:
                taken[row] += 1
                out.append((row, names[node]))
        return out

    def _names(self, label: str) -> list[str]:
        """What the nodes of a label are called; the key where nothing else is known."""
        called = field_texts(self.snapshot, label, [self.schema.node(label).name])
        return [name or str(key) for name, key in zip(called, self.snapshot.keys(label), strict=True)]
