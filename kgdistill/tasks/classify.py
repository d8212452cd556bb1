"""A task of the kind classify on one snapshot: whose classes are told, from what, and what is right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.nearest import nearest
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.item_groups import rows_to_one
from kgdistill.tasks.spec import ClassifySpec, GivenSplit, HeldOut, Target

SplitPart: TypeAlias = Literal["train", "validation", "test"]
PARTS: tuple[SplitPart, ...] = get_args(SplitPart)
_NO_PART = -1
_CLASS_TYPES = ("string", "bool", "int64")


@dataclass(frozen=True)
class Neighbours:
    """What stands beside the subjects along one relationship: a history's items, or the nodes of a fact.

    Attributes:
        name: the relationship type and the label behind it, such as "BOUGHT Product".
        label: of the nodes.
        members: float32 CSR [subjects, nodes], 1 where the two are tied.
        texts: what is written on each node; empty strings where nothing is.
        groups: per fact of the nodes that is read, float32 CSR [nodes, groups], rows summing to 1 or 0.
    """

    name: str
    label: str
    members: sp.csr_matrix
    texts: Sequence[str]
    groups: Mapping[str, sp.csr_matrix]


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


class ClassifyTask:
    """Made by `build_classify_task`. Ids are those of the snapshot, over all nodes of the label.

    Classes of the test are refused until `open_test` was called, so that nothing is chosen on them by
    accident.

    Attributes:
        spec: what was declared.
        label: of the subjects.
        keys: their business keys, by id.
        texts: what is read of each subject; None where it is not known by text.
        neighbours: what stands beside the subjects; empty where they are known by text alone.
        class_names: of each target.
    """

    def __init__(
        self,
        spec: ClassifySpec,
        *,
        keys: Sequence[str],
        texts: Sequence[str] | None,
        neighbours: Sequence[Neighbours],
        targets: Sequence[Classes],
        part: IntArray,
    ) -> None:
        self.spec = spec
        self.label = spec.subjects.label
        self.keys = keys
        self.texts = texts
        self.neighbours = tuple(neighbours)
        self._targets = {target.name: target for target in targets}
        self._part = part
        self._opened = False
        self.class_names = {target.name: target.names for target in targets}

    def __len__(self) -> int:
        return len(self.keys)

    def several(self, target: str) -> bool:
        """Whether a subject can have several classes of a target."""
        return self._targets[target].several

    def open_test(self) -> None:
        """Hands out the test's classes from now on; for the final evaluation alone."""
        self._opened = True

    def subjects(self, part: SplitPart, target: str | None = None) -> IntArray:
        """The labelled subjects of a part, ascending: those of any target, or of one."""
        targets = self._targets.values() if target is None else [self._targets[target]]
        known = np.logical_or.reduce([t.known for t in targets])
        return np.flatnonzero(known & (self._part == PARTS.index(part))).astype(np.int64)

    @property
    def unlabelled(self) -> IntArray:
        """Subjects without any known class, ascending: what they are known by may be learned from."""
        known = np.logical_or.reduce([t.known for t in self._targets.values()])
        return np.flatnonzero(~known & (self._part == _NO_PART)).astype(np.int64)

    def truth(self, target: str, part: SplitPart) -> BoolArray:
        """What is right, bool [subjects(part, target), classes]; a row without any is out of scope.

        Raises:
            LeakError: the test, before `open_test` was called.
        """
        if part == "test" and not self._opened:
            raise LeakError(
                "the test's classes are closed",
                where=self.spec.heading,
                hint="choose on the validation; the final evaluation calls open_test() first",
            )
        return self._targets[target].truth[self.subjects(part, target)]

    def describe(self) -> list[str]:
        """The protocol in words, to stand beside every number; one sentence each."""
        protocol = self.spec.protocol
        if isinstance(protocol, HeldOut):
            split = (
                f"{protocol.share:.0%} of the labelled {self.label}s are held out for the test and "
                f"{protocol.validation_share:.0%} for validation, by a hash of their key and {protocol.seed}."
            )
        else:
            split = f"The property {protocol.property} says which part each labelled {self.label} belongs to."
        counts = ", ".join(f"{len(self.subjects(part)):,} {part}" for part in PARTS)
        known = " and ".join(self.spec.subjects.by)
        lines = [f"Subjects: {self.label}s by {known}; {counts}; {len(self.unlabelled):,} unlabelled.", split]
        for name, classes in self.class_names.items():
            none = self._targets[name].out_of_scope
            beside = f", and {int(none.sum()):,} subjects of none of them" if none.any() else ""
            lines.append(f"Target {name}: {len(classes):,} classes{beside}.")
        return lines


def build_classify_task(snapshot: Snapshot, spec: ClassifySpec) -> ClassifyTask:
    """Applies a declared task to a snapshot; what stands in the snapshot is from before its cut.

    A target is never among what a subject is known by: its property is left out of the texts and its
    relationship out of the facts.

    Raises:
        InputError: a label, property or relationship that the snapshot lacks; no labelled subject; a
            target with one class, or with nearly one a subject; a part without subjects; nothing that the
            subjects are known by.
        SchemaError: an unknown label.
    """
    side = spec.subjects
    node = snapshot.schema.node(side.label)
    where = f"task {spec.name}" if spec.name else "task"
    if not snapshot.num_nodes(side.label):
        raise InputError(f"the graph has no {side.label}", where=where, hint="ingest some first")
    targets = [_classes(snapshot, side.label, name, target, where) for name, target in spec.targets.items()]
    labelled = np.logical_or.reduce([target.known for target in targets])
    keys: list[str] = snapshot.keys(side.label).tolist()
    if isinstance(spec.protocol, HeldOut):
        part = _held_out(keys, labelled, side.label, spec.protocol)
    else:
        part = _given(snapshot, spec, keys, labelled, where)
    _check_parts(targets, part, where)
    texts = None
    if "text" in side.by:
        hidden = {target.property for target in spec.targets.values()}
        fields = [name for name in node.text if name not in hidden]
        texts = _texts(snapshot, side.label, fields)
        if not any(texts):
            raise InputError(
                f"no {side.label} has any text to read",
                where=f"{where}: subjects",
                hint=f"its text properties: {', '.join(fields) or 'none'}; `by` can name history or facts",
            )
    return ClassifyTask(
        spec, keys=keys, texts=texts, neighbours=_neighbours(snapshot, spec, where),
        targets=targets, part=part,
    )  # fmt: skip


def _texts(snapshot: Snapshot, label: str, fields: Sequence[str]) -> list[str]:
    """The fields of each node as one text, without those that are empty."""
    table = snapshot.node_table(label)
    columns = [table[name].cast(pa.string()).to_pylist() for name in fields if name in table.column_names]
    if not columns:
        return [""] * table.num_rows
    return [" ".join(filter(None, row)).strip() for row in zip(*columns, strict=True)]


def _classes(snapshot: Snapshot, label: str, name: str, target: Target, where: str) -> Classes:
    place = f"{where}: targets.{name}"
    if target.property is not None:
        values = _property(snapshot, label, target.property, place)
        pairs = [(row, value) for row, value in enumerate(values) if value is not None and value != ""]
    else:
        pairs = _behind(snapshot, label, str(target.relationship), place)
    if not pairs:
        source = target.property or target.relationship
        raise InputError(f"no {label} has a {source}: there is nothing to learn from", where=place)
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
    return Classes(name, names, truth, known, target.several)


def _property(snapshot: Snapshot, label: str, name: str, place: str) -> list[str | None]:
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


def _edges_from(
    snapshot: Snapshot, label: str, name: str, place: str, kinds: Sequence[str]
) -> list[EdgeType]:
    """The edge types of a relationship that lead from a label, of some kinds."""
    edges = [e for e in snapshot.edge_types if e[0] == label]
    known = sorted({e[1] for e in edges if snapshot.schema.relationship(e).kind in kinds})
    found = [e for e in edges if e[1] == name and name in known]
    if not found:
        raise InputError(
            f"no {' or '.join(kinds)} {name!r} leads from {label}",
            where=place,
            hint=f"{nearest(name, known)}known: {', '.join(known) or 'none'}",
        )
    return found


def _behind(snapshot: Snapshot, label: str, name: str, place: str) -> list[tuple[int, str]]:
    """Subjects and the keys of the nodes that a relationship leads to."""
    pairs: list[tuple[int, str]] = []
    for edge in _edges_from(snapshot, label, name, place, ("fact", "event")):
        source, target = snapshot.edge_index(edge)
        pairs += zip(source.tolist(), snapshot.keys(edge[2])[target].tolist(), strict=True)
    return pairs


def _held_out(keys: Sequence[str], labelled: BoolArray, label: str, protocol: HeldOut) -> IntArray:
    part = np.full(len(keys), _NO_PART, np.int64)
    test, validation = protocol.share, protocol.share + protocol.validation_share
    for row in np.flatnonzero(labelled).tolist():
        at = hashed_share(f"{label}:{keys[row]}", protocol.seed)
        part[row] = 2 if at < test else 1 if at < validation else 0
    return part


def hashed_share(key: str, seed: int) -> float:
    """A number in [0, 1) that a key and a seed decide, whatever else there is."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _given(
    snapshot: Snapshot, spec: ClassifySpec, keys: Sequence[str], labelled: BoolArray, where: str
) -> IntArray:
    protocol = spec.protocol
    assert isinstance(protocol, GivenSplit)
    label, place = spec.subjects.label, f"{where}: protocol.property"
    meaning = {value: i for i, part in enumerate(PARTS) for value in getattr(protocol, part)}
    if protocol.of == "node":
        values = enumerate(_property(snapshot, label, protocol.property, place))
        said = {row: meaning[value] for row, value in values if value in meaning}
    else:
        said = _given_by_targets(snapshot, spec, meaning, place)
    part = np.full(len(keys), _NO_PART, np.int64)
    for row, number in said.items():
        # What the file calls test is no unlabelled material either.
        part[row] = number if labelled[row] or number else _NO_PART
    if not (part == 1).any():
        for row in np.flatnonzero(part == 0).tolist():
            if hashed_share(f"{label}:{keys[row]}", protocol.seed) < protocol.validation_share:
                part[row] = 1
    return part


def _given_by_targets(
    snapshot: Snapshot, spec: ClassifySpec, meaning: Mapping[str, int], place: str
) -> dict[int, int]:
    """The part that each subject's relationship to a target names."""
    said: dict[int, int] = {}
    names = [t.relationship for t in spec.targets.values() if t.relationship is not None]
    if not names:
        raise InputError("no target is a relationship that could have the property", where=place)
    for name in names:
        for edge in _edges_from(snapshot, spec.subjects.label, name, place, ("fact", "event")):
            table = snapshot.edge_table(edge)
            if spec.protocol.property not in table.column_names:  # type: ignore[union-attr]
                continue
            values = table[spec.protocol.property].cast(pa.string()).to_pylist()  # type: ignore[union-attr]
            rows = table["source"].to_pylist()
            said |= {row: meaning[v] for row, v in zip(rows, values, strict=True) if v in meaning}
    if not said:
        raise InputError(f"no relationship of a target says its part in {place}", where=place)
    return said


def _check_parts(targets: Sequence[Classes], part: IntArray, where: str) -> None:
    for target in targets:
        place = f"{where}: targets.{target.name}"
        counts = {name: int((target.known & (part == i)).sum()) for i, name in enumerate(PARTS)}
        if empty := [name for name, count in counts.items() if not count]:
            shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            raise InputError(
                f"{int(target.known.sum()):,} labelled leave none for {' and '.join(empty)} ({shown})",
                where=place,
                hint="label more subjects, or change the shares or the values of the protocol",
            )
        held = target.truth[target.known & (part == 0)]
        learned = held.any(axis=0)
        # One class of several is told from its absence.
        if learned.sum() < 2 and not (target.several and learned.any() and not held.all()):
            only = f": all are {target.names[int(learned.argmax())]!r}" if learned.any() else ""
            raise InputError(
                f"the training subjects have fewer than two classes{only}",
                where=place,
                hint="there is nothing to tell apart",
            )


def _neighbours(snapshot: Snapshot, spec: ClassifySpec, where: str) -> list[Neighbours]:
    side, place = spec.subjects, f"{where}: subjects"
    hidden = {target.relationship for target in spec.targets.values()}
    out: list[Neighbours] = []
    if "history" in side.by:
        events = [e for e in snapshot.schema.edges("event") if e[0] == side.label and e[1] not in hidden]
        name = side.history
        if name is None:
            known = sorted({e[1] for e in events if e in snapshot.edge_types and snapshot.num_edges(e)})
            if len(known) != 1:
                raise InputError(
                    f"{side.label} has {len(known)} kinds of events, and `history` names none of them",
                    where=place,
                    hint=f"write history: one of {', '.join(known)}"
                    if known
                    else "`by` can name text or facts",
                )
            name = known[0]
        edges = [e for e in _edges_from(snapshot, side.label, name, place, ("event",)) if name not in hidden]
        out += [_beside(snapshot, edge, facts="facts" in side.by, hidden=hidden) for edge in edges]
        if not any(beside.members.nnz for beside in out):
            raise InputError(f"no {side.label} has a history of {name}", where=place)
    if "facts" in side.by:
        facts = [
            e
            for e in snapshot.schema.edges("fact")
            if e[0] == side.label
            and e[1] not in hidden
            and e in snapshot.edge_types
            and snapshot.num_edges(e)
        ]
        out += [_beside(snapshot, edge, facts=False, hidden=hidden) for edge in facts]
        if not facts and not any(beside.groups for beside in out):
            raise InputError(
                f"neither {side.label} nor its history has facts", where=place, hint="leave facts out of `by`"
            )
    return out


def _beside(snapshot: Snapshot, edge: EdgeType, *, facts: bool, hidden: set[str | None]) -> Neighbours:
    shape = (snapshot.num_nodes(edge[0]), snapshot.num_nodes(edge[2]))
    groups: dict[str, sp.csr_matrix] = {}
    for fact in snapshot.schema.edges("fact") if facts else []:
        if fact[0] == edge[2] and fact[1] not in hidden and fact in snapshot.edge_types:
            members = _incidence(snapshot, fact, (shape[1], snapshot.num_nodes(fact[2])))
            if members.nnz:
                groups[f"{fact[1]} {fact[2]}"] = rows_to_one(members)
    node = snapshot.schema.node(edge[2])
    return Neighbours(
        f"{edge[1]} {edge[2]}", edge[2], _incidence(snapshot, edge, shape),
        _texts(snapshot, edge[2], node.text), groups,
    )  # fmt: skip


def _incidence(snapshot: Snapshot, edge: EdgeType, shape: tuple[int, int]) -> sp.csr_matrix:
    source, target = snapshot.edge_index(edge)
    matrix = sp.csr_matrix((np.ones(len(source), np.float32), (source, target)), shape=shape)
    # Several events between the same two are one.
    matrix.data[:] = 1.0
    return matrix


def mean_of_members(members: sp.csr_matrix, table: FloatArray) -> FloatArray:
    """The mean of the rows of `table` that each subject is tied to, float32 [subjects, F]; 0 without any."""
    total = np.asarray(members @ table, np.float32)
    lengths = np.maximum(np.diff(members.indptr), 1).astype(np.float32)
    return np.asarray(total / lengths[:, None], np.float32)
