"""The targets of a classify task on one snapshot: their classes, and which subject has which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.progress import notice
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.check import kept_targets
from kgdistill.tasks.neighbours import edges_from
from kgdistill.tasks.spec import ClassifySpec
from kgdistill.tasks.splits import first_alike
from kgdistill.tasks.target import Target

TIES = ("fact", "event")
_CLASS_TYPES = ("string", "bool", "int64")
MANY = 50_000_000
"""Labelled subjects times classes, above which a target is said to be large: every member of a teacher says
something of each pair."""
_BYTES = 90
"""What training takes of memory for each pair: 1.05 GiB for 2,000 classes of 6,000 texts."""


@dataclass(frozen=True)
class Classes:
    """One target of every node of the label.

    Attributes:
        name: of the target.
        names: the classes, sorted.
        truth: bool [subjects, classes].
        known: bool [subjects]: it has a class, or is known to have none of them.
        several: whether a subject can have several.
    """

    name: str
    names: tuple[str, ...]
    truth: BoolArray
    known: BoolArray
    several: bool

    @property
    def out_of_scope(self) -> BoolArray:
        """Known to belong to none of the classes, bool [subjects]."""
        return np.asarray(self.known & ~self.truth.any(axis=1) & (not self.several), np.bool_)


def held_together(targets: Sequence[Classes], texts: Sequence[str], rows: IntArray) -> list[str]:
    """The texts of some subjects, by which copies are kept together; empty where each may lie anywhere.

    That is so of a text whose every class has no other one: without it nothing could be learned of them.

    Args:
        targets: with what is right of these subjects.
        texts: of all subjects.
        rows: of these, int64 [R].
    """
    firsts = first_alike([texts[row] for row in rows])
    classed, shared = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    for target in targets:
        places, classes = np.nonzero(target.truth[rows])
        least = np.full(len(target.names), len(rows))
        most = np.full(len(target.names), -1)
        np.minimum.at(least, classes, firsts[places])
        np.maximum.at(most, classes, firsts[places])
        classed[firsts[places]] = True
        shared[firsts[places[(least < most)[classes]]]] = True
    alone = (classed & ~shared)[firsts]
    return ["" if lone else texts[row] for row, lone in zip(rows.tolist(), alone.tolist(), strict=True)]


def classes_of(snapshot: Snapshot, spec: ClassifySpec, where: str) -> tuple[ClassifySpec, list[Classes]]:
    """The targets that somebody has, and the task with these alone."""
    label = spec.subjects.label
    places = {name: f"{where}: targets.{name}" for name in spec.targets}
    pairs = {name: _pairs(snapshot, label, target, places[name]) for name, target in spec.targets.items()}
    kept = kept_targets(spec, {name: len(found) for name, found in pairs.items()})
    for name, target in spec.targets.items():
        told = f"no {label} has any {target.property or target.relationship}"
        if not pairs[name] and name in kept:
            raise InputError(f"{told}: there is nothing to learn from", where=places[name])
        if not pairs[name]:
            notice(f"{places[name]}: {told}: it is left out")
    targets = {name: spec.targets[name] for name in kept}
    classes = [
        _classes(snapshot, label, name, target, pairs[name], places[name]) for name, target in targets.items()
    ]
    alerts = spec.alerts
    if alerts is not None and alerts.topic not in targets:  # those that name none are then of one topic
        alerts = alerts.model_copy(update={"topic": None})
    return spec.model_copy(update={"targets": targets, "alerts": alerts}), classes


def _pairs(snapshot: Snapshot, label: str, target: Target, place: str) -> list[tuple[int, str]]:
    """Subjects and their classes."""
    if target.property is None:
        return _behind(snapshot, label, str(target.relationship), place)
    values = property_values(snapshot, label, target.property, place)
    return [(row, value) for row, value in enumerate(values) if value is not None and value != ""]


def _classes(
    snapshot: Snapshot, label: str, name: str, target: Target, pairs: list[tuple[int, str]], place: str
) -> Classes:
    none = target.none_of_them
    names = tuple(sorted({value for _, value in pairs} - {none}))
    at = {value: i for i, value in enumerate(names)}
    truth = np.zeros((snapshot.num_nodes(label), len(names)), np.bool_)
    known = np.zeros(len(truth), np.bool_)
    for row, value in pairs:
        known[row] = True
        if value != none:
            truth[row, at[value]] = True
    many = int((truth.sum(axis=1) > 1).sum())
    if many and not target.several:
        raise InputError(
            f"{many:,} {label}s have several classes where one is the most",
            where=place,
            hint="write several: true",
        )
    if len(names) > 50 and len(names) * 2 > known.sum():
        raise InputError(
            f"{len(names):,} classes for {int(known.sum()):,} labelled {label}s are nearly one each",
            where=place,
            hint="name something that several subjects share",
        )
    if (cells := len(names) * int(known.sum())) > MANY:
        notice(
            f"{place}: {len(names):,} classes for {known.sum():,} {label}s take some "
            f"{cells * _BYTES / 2**30:,.1f} GiB to train, and time by the same measure: name coarser classes "
            "in several targets if need be, or rank them by their text (kind: match)"
        )
    return Classes(name, names, truth, known, target.several)


def property_values(snapshot: Snapshot, label: str, name: str, place: str) -> list[str | None]:
    """The values of a property as classes."""
    node = snapshot.schema.node(label)
    if name not in node.properties:
        known = ", ".join(node.properties) or "none"
        raise InputError(
            f"{label} has no property {name!r}",
            where=place,
            hint=f"{nearest(name, node.properties)}known: {known}",
        )
    if node.properties[name].type not in _CLASS_TYPES:
        raise InputError(
            f"{name} is {node.properties[name].type}, whose values are no classes",
            where=place,
            hint=f"a class is one of: {', '.join(_CLASS_TYPES)}",
        )
    table = snapshot.node_table(label)
    if name not in table.column_names:
        raise InputError(f"later events change {name}; a snapshot at a cut leaves it out", where=place)
    values: list[str | None] = table[name].cast(pa.string()).to_pylist()
    return values


def _behind(snapshot: Snapshot, label: str, name: str, place: str) -> list[tuple[int, str]]:
    """Subjects and the keys of the nodes that a relationship leads to."""
    pairs: list[tuple[int, str]] = []
    for edge in edges_from(snapshot, label, name, place, TIES):
        source, target = snapshot.edge_index(edge)
        pairs += zip(source.tolist(), snapshot.keys(edge[2])[target].tolist(), strict=True)
    return pairs
