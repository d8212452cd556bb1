"""What is written on classes, which teaches them as a text of theirs would."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
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
        rows: the place of each among all of the target's, int64 [texts].
    """

    texts: tuple[str, ...]
    classes: IntArray
    rows: IntArray

    def without(self, classes: IntArray) -> ClassTexts:
        """Those of the other classes."""
        at = np.flatnonzero(~np.isin(self.classes, classes))
        return ClassTexts(tuple(self.texts[i] for i in at), self.classes[at], self.rows[at])


def class_texts(
    snapshot: Snapshot, label: str, target: Target, names: Collection[str], *, hidden: Collection[str | None]
) -> ClassTexts:
    """What is written on the classes of a target: names, fields, and where `by` says so what facts lead to.

    Args:
        snapshot: everything in it is from before its cut.
        label: of the subjects.
        target: what is told.
        names: of the classes, in their order.
        hidden: relationship types that are never read, such as the targets'.
    """
    own = target.property is not None and "text" in target.by
    held = {name: [in_words(name)] if own else [] for name in names}
    for edge in snapshot.edge_types:
        if edge[:2] == (label, target.relationship):
            _of_nodes(snapshot, edge[2], target, held, hidden)
    pairs = [
        (text, number)
        for number, texts in enumerate(held.values())
        for text in dict.fromkeys(filter(None, texts))
    ]
    classes = np.array([number for _, number in pairs], np.int64)
    return ClassTexts(tuple(text for text, _ in pairs), classes, np.arange(len(pairs)))


def in_words(name: str) -> str:
    """A name as words: ORDER_STATUS, order-status and orderStatus are order status."""
    words = " ".join(filter(None, _BREAK.split(name)))
    return words.lower() if words.isupper() else words


def _of_nodes(
    snapshot: Snapshot,
    label: str,
    target: Target,
    held: dict[str, list[str]],
    hidden: Collection[str | None],
) -> None:
    """Adds what is written on the nodes of a label that are classes."""
    keys: list[str] = snapshot.keys(label).tolist()
    own = [in_words(name) for name in _names(snapshot, label)]
    rows = {row: key for row, key in enumerate(keys) if key in held}
    if "text" in target.by:
        fields = field_texts(snapshot, label, snapshot.schema.node(label).text)
        for row, key in rows.items():
            held[key] += [own[row], fields[row]]
    for edge in snapshot.edge_types if "facts" in target.by else ():
        if edge[0] == label and edge[1] not in hidden and snapshot.schema.relationship(edge).kind == "fact":
            for row, text in _behind(snapshot, edge, list(rows)):
                held[rows[row]].append(f"{own[row]} {text}")


def _behind(snapshot: Snapshot, edge: EdgeType, rows: list[int]) -> list[tuple[int, str]]:
    """The first names that a fact leads to from some nodes, by the nodes' rows."""
    source, goal = snapshot.edge_index(edge)
    names, taken, out = _names(snapshot, edge[2]), dict.fromkeys(rows, 0), []
    for row, node in sorted(zip(source.tolist(), goal.tolist(), strict=True)):
        if names[node] and taken.get(row, MOST) < MOST:
            taken[row] += 1
            out.append((row, names[node]))
    return out


def _names(snapshot: Snapshot, label: str) -> list[str]:
    """What the nodes of a label are called; the key where nothing else is known."""
    called = field_texts(snapshot, label, [snapshot.schema.node(label).name])
    return [name or str(key) for name, key in zip(called, snapshot.keys(label), strict=True)]
