"""A task of the kind classify on one snapshot: whose classes are told, from what, and what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.nearest import nearest
from kgdistill.progress import notice
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.class_targets import TIES, Classes, classes_of, held_together, property_values
from kgdistill.tasks.class_texts import ClassTexts, class_texts
from kgdistill.tasks.neighbours import Neighbours, edges_from, field_texts, history_of, neighbours_of
from kgdistill.tasks.spec import ClassifySpec, GivenSplit, HeldOut
from kgdistill.tasks.splits import (
    PART_NAMES,
    TRAIN,
    VALIDATION,
    Parts,
    applied,
    first_alike,
    parts_of,
    split_sentence,
)
from kgdistill.tasks.written import written_texts

SplitPart: TypeAlias = Literal["train", "validation", "test"]
_NO_PART = -2
"""Neither a part nor unlabelled."""


class ClassifyTask:
    """Made by `build_classify_task`. Ids are those of the snapshot, over all nodes of the label.

    Classes of the test are refused until `open_test` was called, so that nothing is chosen on them by
    accident.

    Attributes:
        spec: what was declared.
        split: by what it was split; the declared one, or what takes its place.
        label: of the subjects.
        keys: their business keys, by id.
        texts: what is read of each subject; None where it is not known by text.
        neighbours: what stands beside the subjects; empty where they are known by text alone.
        class_names: of each target.
        class_texts: of each target, what is written on its classes; empty where subjects are known by more
            than text.
    """

    def __init__(
        self,
        spec: ClassifySpec,
        *,
        keys: Sequence[str],
        texts: Sequence[str] | None,
        neighbours: Sequence[Neighbours],
        targets: Sequence[Classes],
        parts: Parts,
        split: GivenSplit | HeldOut | None = None,
        class_texts: Mapping[str, ClassTexts] | None = None,
    ) -> None:
        self.spec = spec
        self.split = spec.protocol if split is None else split
        self.label = spec.subjects.label
        self.keys = keys
        self.texts = texts
        self.neighbours = tuple(neighbours)
        self._targets = {target.name: target for target in targets}
        self._parts = parts
        self._opened = False
        self.class_names = {target.name: target.names for target in targets}
        self.class_texts = dict(class_texts or {})

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
        return np.flatnonzero(known & (self._parts == PART_NAMES.index(part))).astype(np.int64)

    @property
    def unlabelled(self) -> IntArray:
        """Subjects without any known class, ascending: what they are known by may be learned from."""
        known = np.logical_or.reduce([t.known for t in self._targets.values()])
        return np.flatnonzero(~known & (self._parts == -1)).astype(np.int64)

    def copies(self, subjects: IntArray) -> tuple[IntArray, IntArray]:
        """The first of some subjects of each text, ascending places, and of each subject whose text it has.

        Args:
            subjects: whose classes may be known.

        Returns:
            int64 [distinct], places in `subjects`, and int64 [subjects], places in the first. Subjects that
            are not known by text are no copies, nor those of a text whose classes have no other.
        """
        firsts = np.arange(len(subjects))
        if self.texts is not None:
            firsts = first_alike(held_together([*self._targets.values()], self.texts, subjects))
        first, which = np.unique(firsts, return_inverse=True)
        return first, which

    def without(self, subjects: IntArray, classes: Mapping[str, IntArray] | None = None) -> ClassifyTask:
        """The same task, of which some subjects, and what is written on some classes, take no part.

        Its test is closed.
        """
        parts = self._parts.copy()
        parts[subjects] = _NO_PART
        fold = self._changed(parts=parts)
        for name, gone in (classes or {}).items():
            if name in fold.class_texts:
                fold.class_texts[name] = fold.class_texts[name].without(gone)
        return fold

    def on_everything(self) -> ClassifyTask:
        """The same task, whose validation subjects are trained on too; its test is closed."""
        return self._changed(parts=np.where(self._parts == VALIDATION, TRAIN, self._parts))

    @property
    def facts_of(self) -> tuple[str, ...]:
        """Whose facts are read: a label, or classes."""
        read = [b.label if b.history else self.label for b in self.neighbours if not b.history or b.groups]
        return (*dict.fromkeys(read), *["classes"] * any(w.facts.any() for w in self.class_texts.values()))

    def without_facts(self) -> ClassifyTask:
        """The same task by texts and what histories lead to: no fact of these, of subjects or classes.

        Its test is closed.
        """
        return self._changed(
            neighbours=[replace(beside, groups={}) for beside in self.neighbours if beside.history],
            class_texts={name: written.without_facts() for name, written in self.class_texts.items()},
        )

    def exchanged(self, seed: int) -> ClassifyTask:
        """The same task, where subjects of train, and of validation, have each other's classes.

        Nothing is written on the classes. Its test is closed.
        """
        draw, targets = np.random.default_rng(seed), []
        for target in self._targets.values():
            truth = target.truth.copy()
            for rows in (self.subjects("train", target.name), self.subjects("validation", target.name)):
                truth[rows] = truth[draw.permutation(rows)]
            targets.append(replace(target, truth=truth))
        return self._changed(targets=targets, class_texts={})

    def _changed(
        self,
        *,
        neighbours: Sequence[Neighbours] | None = None,
        targets: Sequence[Classes] | None = None,
        parts: Parts | None = None,
        class_texts: Mapping[str, ClassTexts] | None = None,
    ) -> ClassifyTask:
        return ClassifyTask(
            self.spec, keys=self.keys, texts=self.texts, split=self.split,
            neighbours=self.neighbours if neighbours is None else neighbours,
            targets=list(self._targets.values()) if targets is None else targets,
            parts=self._parts if parts is None else parts,
            class_texts=self.class_texts if class_texts is None else class_texts,
        )  # fmt: skip

    def with_texts(self, texts: Sequence[str]) -> ClassifyTask:
        """The same task with unlabelled subjects behind its own, known by text alone; its test is closed."""
        return self._longer(texts, None)

    def with_class_texts(self) -> ClassifyTask:
        """The same task with what is written on its classes as training subjects behind its own."""
        longer = self
        for name, written in self.class_texts.items():
            longer = longer._longer(written.texts, (name, written.classes))
        return longer

    def _longer(self, texts: Sequence[str], of: tuple[str, IntArray] | None) -> ClassifyTask:
        """With further subjects, unlabelled or each of a class of a target."""
        assert self.texts is not None
        assert not self.neighbours
        count, targets = len(texts), []
        for target in self._targets.values():
            truth, known = np.zeros((count, len(target.names)), np.bool_), np.zeros(count, np.bool_)
            if of is not None and of[0] == target.name:
                truth[np.arange(count), of[1]] = known[:] = True
            targets.append(
                replace(
                    target,
                    truth=np.concatenate([target.truth, truth]),
                    known=np.concatenate([target.known, known]),
                )
            )
        part = -1 if of is None else TRAIN
        return ClassifyTask(
            self.spec, keys=[*self.keys, *("" for _ in texts)], texts=[*self.texts, *texts], neighbours=(),
            targets=targets, parts=np.pad(self._parts, (0, count), constant_values=part), split=self.split,
        )  # fmt: skip

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
        split = split_sentence(self.spec.protocol, self.split, "labelled ", self.label)
        counts = ", ".join(f"{len(self.subjects(part)):,} {part}" for part in PART_NAMES)
        side = self.spec.subjects
        history = f"history ({', '.join(side.events)})" if len(side.events) > 1 else "history"
        known = " and ".join(history if by == "history" else by for by in side.by)
        lines = [f"Subjects: {self.label}s by {known}; {counts}; {len(self.unlabelled):,} unlabelled.", split]
        if repeated := self._repeated():
            lines.append(repeated)
        for name, classes in self.class_names.items():
            none = self._targets[name].out_of_scope
            beside = f", and {int(none.sum()):,} subjects of none of them" if none.any() else ""
            lines.append(f"Target {name}: {len(classes):,} classes{beside}.")
        return lines

    def _repeated(self) -> str:
        """How many texts of a part stand in those before it as well, in a sentence; empty where none does."""
        if self.texts is None:
            return ""
        texts, firsts, said = self.texts, first_alike(self.texts), []
        train, validation, test = (
            np.array([row for row in self.subjects(part) if texts[row]], np.int64) for part in PART_NAMES
        )
        for name, part, before, where in (
            ("test", test, np.concatenate([train, validation]), "train or validation"),
            ("validation", validation, train, "train"),
        ):
            if known := int(np.isin(firsts[part], firsts[before]).sum()):
                said.append(f"{known:,} of the {name}'s {len(part):,} texts stand in {where}, too.")
        return " ".join(said)


def build_classify_task(snapshot: Snapshot, spec: ClassifySpec) -> ClassifyTask:
    """Applies a declared task to a snapshot; what stands in the snapshot is from before its cut.

    A target is never among what a subject is known by: its property is left out of the texts and its
    relationship out of the facts. One that nobody has is left out, where there is another, and that is said.

    Raises:
        InputError: a label, property or relationship that the snapshot lacks; no labelled subject; a
            target with one class, or with nearly one a subject; a part without subjects; nothing that the
            subjects are known by.
        SchemaError: an unknown label.
    """
    side, declared = spec.subjects, spec.targets
    node = snapshot.schema.node(side.label)
    where = f"task {spec.name}" if spec.name else "task"
    if not snapshot.num_nodes(side.label):
        raise InputError(f"the graph has no {side.label}", where=where, hint="ingest some first")
    spec, targets = classes_of(snapshot, spec, where)
    hidden = {target.relationship for target in declared.values()}
    events = history_of(snapshot, side, hidden=hidden, place=f"{where}: subjects")
    spec = _with_history(spec, events, where)
    texts = None
    if "text" in side.by:
        properties = {target.property for target in declared.values()}
        fields = [name for name in node.text if name not in properties]
        texts = field_texts(snapshot, side.label, fields)
        if not any(texts):
            raise InputError(
                f"no {side.label} has any text to read",
                where=f"{where}: subjects",
                hint=f"its text properties: {', '.join(fields) or 'none'}; `by` can name history or facts",
            )
    keys: list[str] = snapshot.keys(side.label).tolist()
    parts, split = _parts(snapshot, spec, targets, texts, where)
    _check_parts(targets, parts, texts if isinstance(split, HeldOut) else None, where)
    for target in targets:
        _tell_oddities(target, parts, texts, where)
    if wrote := [edge for edge in events if snapshot.schema.is_text(edge[2])]:
        said = written_texts(snapshot, wrote)
        both = zip(texts or [""] * len(keys), said, strict=True)
        texts = ["\n".join(filter(None, parts)) for parts in both]
    beside = neighbours_of(snapshot, side, events, hidden=hidden, place=f"{where}: subjects")
    written = {}
    if "text" in side.by and not beside:
        written = {
            target.name: class_texts(snapshot, side.label, declared[target.name], target.names, hidden=hidden)
            for target in targets
        }
    return ClassifyTask(
        spec, keys=keys, texts=texts, neighbours=beside,
        targets=targets, parts=parts, split=split, class_texts=written,
    )  # fmt: skip


def _with_history(spec: ClassifySpec, events: Sequence[EdgeType], where: str) -> ClassifySpec:
    """The task with those events as history that the graph holds; the others are said."""
    there = tuple(dict.fromkeys(edge[1] for edge in events))
    for name in spec.subjects.events:
        if name not in there:
            notice(f"{where}: subjects.history: no {spec.subjects.label} has any {name}: it is left out")
    history = there[0] if len(there) == 1 else there or None
    return spec.model_copy(update={"subjects": spec.subjects.model_copy(update={"history": history})})


def _parts(
    snapshot: Snapshot,
    spec: ClassifySpec,
    targets: Sequence[Classes],
    texts: Sequence[str] | None,
    where: str,
) -> tuple[Parts, GivenSplit | HeldOut]:
    """The part of each subject, -1 for those without a label; by what it was split."""
    protocol, label = spec.protocol, spec.subjects.label
    values: list[str | None] = []
    if isinstance(protocol, GivenSplit):
        place = f"{where}: protocol.property"
        if protocol.of == "node":
            values = property_values(snapshot, label, protocol.property, place)
        else:
            values = _said_by_targets(snapshot, spec, protocol.property, place)
    split = applied(protocol, values)
    if texts is not None:
        texts = held_together(targets, texts, np.arange(len(texts)))
    parts = parts_of(split, values, snapshot.keys(label), texts)
    labelled = np.logical_or.reduce([target.known for target in targets])
    if isinstance(split, GivenSplit):
        # What the file calls test is no unlabelled material either.
        labelled = labelled | (parts > TRAIN)
    parts[~labelled] = -1
    return parts, split


def _said_by_targets(snapshot: Snapshot, spec: ClassifySpec, name: str, place: str) -> list[str | None]:
    """A property of each subject's relationship to a target."""
    types = [t.relationship for t in spec.targets.values() if t.relationship is not None]
    values: list[str | None] = [None] * snapshot.num_nodes(spec.subjects.label)
    properties: set[str] = set()
    for relationship in types:
        for edge in edges_from(snapshot, spec.subjects.label, relationship, place, TIES):
            table = snapshot.edge_table(edge)
            properties |= {*table.column_names} - {"source", "target"}
            if name in table.column_names:
                said = table[name].cast(pa.string()).to_pylist()
                for row, value in zip(table["source"].to_pylist(), said, strict=True):
                    values[row] = value
    if name not in properties:
        raise InputError(
            f"no relationship of a target has a property {name!r}",
            where=place,
            hint=f"{nearest(name, properties)}known: {', '.join(sorted(properties)) or 'none'}",
        )
    return values


def _tell_oddities(target: Classes, parts: Parts, texts: Sequence[str] | None, where: str) -> None:
    """Says what nobody can learn: a class without a training subject, one text with several classes."""
    place = f"{where}: targets.{target.name}"
    rows = np.flatnonzero(target.known & (parts == TRAIN))
    bare = [target.names[c] for c in np.flatnonzero(~target.truth[rows].any(axis=0))]
    if bare:
        shown = ", ".join(map(repr, bare[:5])) + (", ..." if len(bare) > 5 else "")
        notice(f"{place}: {len(bare):,} of {len(target.names):,} classes have no training subject: {shown}")
    if texts is None or target.several:
        return
    said: dict[str, set[bytes]] = {}
    for row in rows.tolist():
        if texts[row]:
            said.setdefault(texts[row], set()).add(target.truth[row].tobytes())
    torn = [text for text, classes in said.items() if len(classes) > 1]
    if torn:
        notice(
            f"{place}: {len(torn):,} texts of the training stand there with several classes: {torn[0]!r:.60}"
        )


def _few_texts(targets: Sequence[Classes], target: Classes, texts: Sequence[str] | None) -> str:
    """That labelled subjects have fewer texts, where those of one text lie in one part; else nothing."""
    if texts is None:
        return ""
    known = np.flatnonzero(target.known)
    count = len({*first_alike(held_together(targets, texts, known)).tolist()})
    told = f"; they have {count:,} distinct texts, and those of one text lie in one part"
    return told if count < len(known) else ""


def _check_parts(targets: Sequence[Classes], parts: Parts, texts: Sequence[str] | None, where: str) -> None:
    for target in targets:
        place = f"{where}: targets.{target.name}"
        counts = {name: int((target.known & (parts == i)).sum()) for i, name in enumerate(PART_NAMES)}
        if empty := [name for name, count in counts.items() if not count]:
            shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            raise InputError(
                f"{int(target.known.sum()):,} labelled leave none for {' and '.join(empty)} ({shown})",
                where=place,
                hint="label more subjects, or change the shares or the values of the protocol"
                + _few_texts(targets, target, texts),
            )
        held = target.truth[target.known & (parts == TRAIN)]
        learned = held.any(axis=0)
        # One class of several is told from its absence.
        if learned.sum() < 2 and not (target.several and learned.any() and not held.all()):
            only = f": all are {target.names[int(learned.argmax())]!r}" if learned.any() else ""
            raise InputError(
                f"the training subjects have fewer than two classes{only}",
                where=place,
                hint="there is nothing to tell apart",
            )
