"""Answers to questions, declared: which were given before, and which judge, which stay closed."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.ranking.topk import best_entries
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.neighbours import field_texts
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.spec import GivenSplit, HeldOut, MatchSpec
from kgdistill.tasks.splits import PART_NAMES, Parts, applied, parts_of, split_sentence
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.words import one_line

# [smile] and /:^_^, as chats write pictures in words.
_PICTURE = re.compile(r"(\[[^\[\]\sA-Z\d]{1,8}\]|(?<!\S)/:\S+)$")
_CLOSING = set(".,;:!?~。、·…-*'") | {"\u200d", "\ufe0f"}
Part: TypeAlias = Literal["validation", "test"]


@dataclass(frozen=True)
class Questions:
    """Questions with what is right.

    Attributes:
        texts: of the questions.
        right: of each the answers that were given to it, numbers of `AnswerTask.answers`.
        keys: of the questions.
    """

    texts: list[str]
    right: list[frozenset[int]]
    keys: list[str]


@dataclass
class AnswerTask:
    """Answers ranked for questions, by what was asked before; made by `build_answer_task`.

    What is searched are the *entries*: every training question, and behind them every answer by its own text.

    Attributes:
        snapshot: what a model may see.
        spec: the task.
        answers: the text of each, one for all nodes that say the same.
        nodes: of each answer the nodes of the graph that say it.
        entries: the texts that are searched.
        keys: of the entries, `LABEL/KEY`.
        entry, answer: int64 [pairs]: which entry leads to which answer.
        merged: how many nodes said what another one said.
    """

    snapshot: Snapshot
    spec: MatchSpec
    answers: list[str]
    nodes: list[list[int]]
    entries: list[str]
    keys: list[str]
    entry: IntArray
    answer: IntArray
    merged: int
    split: GivenSplit | HeldOut
    _parts: dict[str, Questions] = field(default_factory=dict)
    _open: bool = field(default=False, init=False)

    def open_test(self) -> None:
        """Lets the test be read; only evaluation may call it."""
        self._open = True

    def asked(self, part: Part) -> Questions:
        """The questions of a part.

        Raises:
            LeakError: the test, before `open_test` was called.
        """
        if part == "test" and not self._open:
            raise LeakError("the test is not opened", where=self.spec.heading, hint="call open_test()")
        return self._parts[part]

    @cached_property
    def catalogue(self) -> SearchCatalogue:
        """The entries as something to search."""
        return SearchCatalogue({"text": self.entries}, [])

    def clicked(self) -> SyntheticQueries:
        """Each training question beside the next of the same answer, and beside the answer's own text."""
        queries, sources = [], []
        order = np.argsort(self.answer, kind="stable")
        for mine in np.split(self.entry[order], np.flatnonzero(np.diff(self.answer[order])) + 1):
            for at, entry in enumerate(mine[:-1].tolist()):  # the last is the answer itself
                for other in {int(mine[(at + 1) % len(mine)]), int(mine[-1])}:
                    queries.append(self.entries[entry])
                    sources.append(other)
        return SyntheticQueries(queries, np.array(sources, np.int64), ["answered"] * len(queries))

    def by_answer(self, scores: FloatArray) -> FloatArray:
        """The best of each answer's entries, float32 [Q, answers], of scores float32 [Q, entries]."""
        return best_entries(scores, self.entry, self.answer, len(self.answers))

    def describe(self) -> list[str]:
        """The protocol in words, one sentence each."""
        counts = ", ".join(f"{len(asked.texts):,} {name}" for name, asked in self._parts.items())
        past = len(self.entries) - len(self.answers)
        return [
            f"{self.spec.anchors.label}s by text: {past:,} train, {counts}.",
            split_sentence(self.spec.protocol, self.split, "answered ", self.spec.anchors.label),
            f"{len(self.answers):,} distinct answers, after {self.merged:,} that repeat another were merged; "
            "all are ranked, ties by their order.",
            "coverage: the share that is answered with the confidence that validation chose; precision: how "
            "many of these are right.",
        ]


def build_answer_task(snapshot: Snapshot, spec: MatchSpec) -> AnswerTask:
    """Applies a declared task to a snapshot.

    Answers of the same text, but for case, white space, compatibility forms, and the marks and pictures that
    close it, are one; it has the spelling that was given most often. A question of the
    test or of validation whose very text stands in train as well is kept out of train.

    Raises:
        InputError: no question was answered; a part has no questions.
    """
    where, edge = f"task {spec.name}", spec.interaction
    assert edge is not None
    if edge not in snapshot.edge_types or not snapshot.num_edges(edge):
        raise InputError(f"no {spec.anchors.label} leads to a {spec.candidates.label}", where=where)
    ends = snapshot.edge_index(edge)
    asking, giving = ends[::-1] if spec.positives.reverse else ends
    questions, said = _texts(snapshot, spec.anchors.label), _texts(snapshot, spec.candidates.label)
    numbers, answers, nodes = _merged(said, giving)
    right: dict[int, set[int]] = {}
    for question, node in zip(asking.tolist(), giving.tolist(), strict=True):
        if questions[question] and node in numbers:
            right.setdefault(question, set()).add(numbers[node])
    if not right:
        raise InputError("no question with a text leads to an answer with a text", where=where)
    rows = sorted(right)
    parts, split = _parts(snapshot, spec, rows, questions, where)
    lines = {r: one_line(questions[r]) for r in rows}
    held = {lines[r] for r, part in zip(rows, parts, strict=True) if part > 0}
    past = [r for r, part in zip(rows, parts, strict=True) if part == 0 and lines[r] not in held]
    by_part: dict[str, Questions] = {}
    names: tuple[Part, Part] = ("validation", "test")
    for name in names:
        number = PART_NAMES.index(name)
        mine = [r for r, part in zip(rows, parts, strict=True) if part == number]
        own = [str(snapshot.keys(spec.anchors.label)[r]) for r in mine]
        by_part[name] = Questions([questions[r] for r in mine], [frozenset(right[r]) for r in mine], own)
    for part_name, count in {"train": len(past), **{n: len(a.texts) for n, a in by_part.items()}}.items():
        if not count:
            raise InputError(
                f"{len(rows):,} answered questions leave none for {part_name}", where=where,
                hint="answer more questions, or change the shares or the values of the protocol",
            )  # fmt: skip
    pairs = [(i, a) for i, r in enumerate(past) for a in sorted(right[r])]
    pairs += [(len(past) + a, a) for a in range(len(answers))]
    labels = spec.anchors.label, spec.candidates.label
    keys = [f"{labels[0]}/{snapshot.keys(labels[0])[r]}" for r in past]
    keys += [f"{labels[1]}/{snapshot.keys(labels[1])[mine[0]]}" for mine in nodes]
    entry, answer = np.array(pairs, np.int64).T
    return AnswerTask(
        snapshot, spec, answers, nodes, [*(questions[r] for r in past), *answers], keys, entry, answer,
        sum(map(len, nodes)) - len(nodes), split, by_part,
    )  # fmt: skip


def unclosed(line: str) -> str:
    """A line without the marks, emoji and pictures in words that close it; itself where nothing is left."""
    text = line
    while text:
        last = text[-1]
        if last.isspace() or last in _CLOSING or unicodedata.category(last) in ("So", "Sk"):
            text = text[:-1]
        elif picture := _PICTURE.search(text, text.rfind(" ") + 1):
            text = text[: picture.start()]
        else:
            return text
    return line


def _texts(snapshot: Snapshot, label: str) -> list[str]:
    return field_texts(snapshot, label, snapshot.schema.node(label).text)


def _merged(said: Sequence[str], given: IntArray) -> tuple[dict[int, int], list[str], list[list[int]]]:
    """The number of each node's answer, the texts of the answers, and the nodes of each."""
    places: dict[str, int] = {}
    numbers: dict[int, int] = {}
    nodes: list[list[int]] = []
    times = Counter(given.tolist())
    for node in sorted(times):
        if folded := unclosed(one_line(said[node])):
            numbers[node] = places.setdefault(folded, len(places))
            if numbers[node] == len(nodes):
                nodes.append([])
            nodes[numbers[node]].append(node)
    for mine in nodes:  # the spelling that was given most often comes first
        mine.sort(key=lambda node: (-times[node], node))
    return numbers, [said[mine[0]] for mine in nodes], nodes


def _parts(
    snapshot: Snapshot, spec: MatchSpec, rows: Sequence[int], questions: Sequence[str], where: str
) -> tuple[Parts, GivenSplit | HeldOut]:
    """The part of each answered question, of all questions; by what it was split."""
    protocol, label = spec.protocol, spec.anchors.label
    assert isinstance(protocol, GivenSplit | HeldOut)
    values: list[str | None] = []
    if isinstance(protocol, GivenSplit):
        table = snapshot.node_table(label)
        if protocol.of != "node" or protocol.property not in table.column_names:
            known = ", ".join(table.column_names)
            raise InputError(
                f"{label} has no property {protocol.property!r} of its own",
                where=f"{where}: protocol.property",
                hint=f"known: {known}; protocol: {{split: held_out}} asks for none",
            )  # fmt: skip
        said = table[protocol.property].cast(pa.string()).to_pylist()
        values = [said[r] for r in rows]
    split = applied(protocol, values)
    keys = snapshot.keys(label)[np.array(rows, np.int64)]
    return parts_of(split, values, keys, [questions[r] for r in rows]), split
