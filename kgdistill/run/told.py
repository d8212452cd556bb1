"""What a run tells of nodes that it did not learn from, by what a store knows now: to be written back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kgdistill.errors import InputError, sensitive_error
from kgdistill.explore.writeback import ANSWERS, CLASS, ToldClass
from kgdistill.progress import step
from kgdistill.run.known import known_subjects
from kgdistill.serve.attributions import KnownSubject
from kgdistill.serve.bundle import Bundle
from kgdistill.store import GraphStore, Schema, kept_schema
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.answers import build_answer_task
from kgdistill.tasks.classify import build_classify_task
from kgdistill.tasks.sensitive import sensitive_targets
from kgdistill.tasks.spec import ClassifySpec, MatchSpec

if TYPE_CHECKING:
    from kgdistill.run.run import Run

_AT_ONCE = 1000
"""How many are told between two steps of the progress."""


def told_classes(
    run: Run, store: GraphStore, *, least: float = 0.5, allow_sensitive: bool = False
) -> dict[EdgeType, list[ToldClass]]:
    """The classes of subjects without one, and of those that were held out for the test.

    Left out is what is less probable than `least`, "none of them", and whom nothing is known of.

    Args:
        run: of a task that tells classes.
        store: says what is known of the subjects.
        least: see above.
        allow_sensitive: whether classes of what is sensitive are told too.

    Returns:
        By the type of the relationship, what is told; of each type that the task may write, maybe nothing.

    Raises:
        InputError: all that the task tells is sensitive, and was not allowed; a relationship that a target
            is told by leads to several labels.
        StoreError: from the store.
    """
    spec, bundle = run.config.task, run.bundle()
    assert isinstance(spec, ClassifySpec)
    task = build_classify_task(run.snapshot, spec)
    spec = task.spec
    schema = kept_schema(store)
    guarded = [] if allow_sensitive else sensitive_targets(spec, schema)
    if len(guarded) == len(spec.targets):
        raise sensitive_error(
            guarded,
            str(run.folder),
            "it is not written back",
            "allow it: --allow-sensitive, allow_sensitive=True",
        )
    edges = told_edges(run)
    out: dict[EdgeType, list[ToldClass]] = {edge: [] for edge in edges.values()}
    learned = {
        name: {task.keys[i] for i in (*task.subjects("train", name), *task.subjects("validation", name))}
        for name in spec.targets
    }
    sensitive = set(sensitive_targets(spec, schema))
    for keys, given in _known(bundle, store, spec, schema):
        for key, one in zip(keys, bundle.classify(**given), strict=True):
            for name, target in one.targets.items() if one.known else ():
                if name in guarded or key in learned[name]:
                    continue
                for held in target.classes:
                    if target.probabilities[held] >= least:
                        p = target.probabilities[held]
                        told = ToldClass(key, name, held, p, name in sensitive)
                        out[edges[name]].append(told)
    return out


def sensitive_told(run: Run, store: GraphStore) -> tuple[str, ...]:
    """The targets that a run tells and whose classes are sensitive."""
    spec, part = run.config.task, run.bundle().classifier
    assert isinstance(spec, ClassifySpec)
    told = part.targets if part is not None else {}
    return tuple(name for name in sensitive_targets(spec, kept_schema(store)) if name in told)


def told_edges(run: Run) -> dict[str, EdgeType]:
    """What the classes of each target are written as.

    Raises:
        InputError: the relationship that a target is told by leads to several labels.
    """
    spec = run.config.task
    assert isinstance(spec, ClassifySpec)
    return {name: (spec.subjects.label, str(spec.output), _end(run, name)) for name in spec.targets}


def _end(run: Run, name: str) -> str:
    """The label of the nodes that stand for a target's classes."""
    spec = run.config.task
    assert isinstance(spec, ClassifySpec)
    relationship = spec.targets[name].relationship
    if relationship is None:
        return CLASS
    ends = [e[2] for e in run.snapshot.schema.edges() if e[:2] == (spec.subjects.label, relationship)]
    if len(ends) != 1:
        raise InputError(
            f"{relationship} leads to {', '.join(ends)}: which of them a class is cannot be told",
            where=f"task {spec.name}: targets.{name}",
            hint="declare a relationship of its own for each label",
        )  # fmt: skip
    return ends[0]


def _known(
    bundle: Bundle, store: GraphStore, spec: ClassifySpec, schema: Schema
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Keys of subjects, part by part, and what of them `Bundle.classify` reads."""
    part, label = bundle.classifier, spec.subjects.label
    if part is None:
        raise InputError("this bundle tells no classes")
    node = schema.node(label)
    hidden = {target.property for target in spec.targets.values()}
    fields = [name for name in node.text if name not in hidden and "text" in spec.subjects.by]
    table = store.read_nodes(label, [name for name in fields if name != node.key])
    keys: list[str] = table[node.key].to_pylist()
    columns = [table[name].cast(pa.string()).to_pylist() for name in fields]
    own = [" ".join(filter(None, row)).strip() for row in zip(*columns, strict=True)] or [""] * len(keys)
    known = known_subjects(bundle, store, schema)
    facts: dict[str, dict[str, list[str]]] = {}
    for nodes in part.nodes:
        if not nodes.history:
            ties = store.read_relationships((label, nodes.relationship, nodes.label), [])
            for source, target in zip(ties["source"].to_pylist(), ties["target"].to_pylist(), strict=True):
                facts.setdefault(source, {}).setdefault(nodes.relationship, []).append(target)
    with step("Telling classes", total=len(keys)) as work:
        for start in range(0, len(keys), _AT_ONCE):
            mine = keys[start : start + _AT_ONCE]
            of = [known.get(key, KnownSubject({})) for key in mine]
            given: dict[str, Any] = {}
            if part.dim:
                texts = own[start : start + _AT_ONCE]
                given["texts"] = [one._replace(own=text).text for one, text in zip(of, texts, strict=True)]
            if part.events:
                given["histories"] = [one.done for one in of]
            if any(not nodes.history for nodes in part.nodes):
                given["facts"] = [facts.get(key, {}) for key in mine]
            yield mine, given
            work.advance(len(mine))


def told_answers(run: Run, store: GraphStore, *, least: float | None = None) -> pa.Table:
    """The answers to questions without one, and to those held out for the test: user, product, rank, score.

    As in `Run.recommendations`, `user` is who asks, here the question, and `product` the answer; a question
    that is handed over to a person has none.

    Args:
        run: of a task that answers by past answers.
        store: says what was asked.
        least: the confidence from which on an answer is given; None as the bundle says.
    """
    spec, bundle = run.config.task, run.bundle()
    assert isinstance(spec, MatchSpec)
    task = build_answer_task(run.snapshot, spec)
    assert bundle.answers is not None
    label, node = spec.anchors.label, kept_schema(store).node(spec.anchors.label)
    held = {key.partition("/")[2] for key in bundle.items.keys if key.startswith(f"{label}/")}
    held |= set(task.asked("validation").keys)
    # The answers' own entries come last, in their order.
    own = [key.partition("/")[2] for key in bundle.items.keys[-len(bundle.answers.said) :]]
    said = {saying.text: key for saying, key in zip(bundle.answers.said, own, strict=True)}
    table = store.read_nodes(label, list(node.text))
    columns = [table[name].cast(pa.string()).to_pylist() for name in node.text]
    rows = []
    with step("Answering", total=table.num_rows) as work:
        for key, *fields in zip(table[node.key].to_pylist(), *columns, strict=True):
            text = " ".join(filter(None, fields)).strip()
            if key not in held and text:
                answer = bundle.answer(text, k=1, answer_from=least)
                if answer.decision == "answer":
                    rows.append(
                        {"user": key, "product": said[answer.text], "rank": 1, "score": answer.confidence}
                    )
            work.advance(1)
    return pa.Table.from_pylist(rows, schema=ANSWERS)


def told_finds(run: Run, store: GraphStore, k: int = 20) -> pa.Table:
    """What a run finds for every query that the store holds: user (here the query), product, rank, score.

    Args:
        run: of a task whose anchors are known by their text.
        store: says what was typed, and which products there still are.
        k: for each query; fewer where fewer fit.
    """
    spec, bundle = run.config.task, run.bundle()
    assert isinstance(spec, MatchSpec)
    label, node = spec.anchors.label, kept_schema(store).node(spec.anchors.label)
    there = set(store.read_nodes(spec.candidates.label, []).column(0).to_pylist())
    table = store.read_nodes(label, list(node.text))
    columns = [table[name].cast(pa.string()).to_pylist() for name in node.text]
    texts = [" ".join(filter(None, row)).strip() for row in zip(*columns, strict=True)]
    asked = [(key, text) for key, text in zip(table[node.key].to_pylist(), texts, strict=True) if text]
    rows: list[dict[str, Any]] = []
    with step("Searching", total=len(asked)) as work:
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            answers = bundle.search_many([text for _, text in part], k)
            for (key, _), answer in zip(part, answers, strict=True):
                hits = [hit for hit in answer if hit.id in there]
                rows += [
                    {"user": key, "product": hit.id, "rank": rank, "score": hit.score}
                    for rank, hit in enumerate(hits, 1)
                ]
            work.advance(len(part))
    return pa.Table.from_pylist(rows, schema=ANSWERS)
