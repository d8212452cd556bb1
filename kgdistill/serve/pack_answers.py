"""What a bundle says to a class, and past answers, out of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from kgdistill.models.text.token_table import TokenTable
from kgdistill.ranking.confidence import Confidence
from kgdistill.serve.answers import Answers, Saying
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.file import bundle_config
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.readings import Readings
from kgdistill.serve.search import SearchIndex
from kgdistill.serve.tower import TextTower
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.answers import AnswerTask
from kgdistill.tasks.classify import ClassifyTask

TEMPLATE = "template"
"""The property of a class's node that says what is answered."""


def pack_answers(
    student: TokenTable, search: SearchIndex, task: AnswerTask, confidence: Confidence, precision: float
) -> Bundle:
    """A student that answers questions, as a bundle: its items are the entries.

    Args:
        student: trained; its table is the text tower.
        search: the entries' words and vectors.
        task: what was asked.
        confidence: fitted on validation.
        precision: that its threshold was chosen for.
    """
    columns = {"id": pa.array(task.keys, pa.string()), "title": pa.array(task.entries, pa.string())}
    columns |= {name: pa.nulls(len(task.keys), pa.string()) for name in SHOWN if name not in columns}
    spec, snapshot = task.spec, task.snapshot
    config = bundle_config(spec.declared(), spec.anchors.label, Readings.joined(["title"]), snapshot)
    tower = TextTower.of(student.tokenizer, student.table.weight.detach().cpu().numpy(), None, None)
    said = tuple(
        Saying(text, _nodes(snapshot, spec.candidates.label, nodes))
        for text, nodes in zip(task.answers, task.nodes, strict=True)
    )
    part = Answers({}, {}, said, task.entry, task.answer, confidence, precision)
    return Bundle(config, Items(pa.table(columns)), text=tower, search=search, answers=part)


def class_answers(
    snapshot: Snapshot,
    task: ClassifyTask,
    sure: Mapping[str, float],
    precision: float,
) -> Answers:
    """What is said to the classes of a task.

    A class is a node behind a relationship: its property `template` is what is said, and the nodes that its
    facts lead to go with it.

    Args:
        snapshot: that the task is of.
        task: what is told.
        sure: of targets with one class a subject, the probability from which on it is believed.
        precision: that these were chosen for.
    """
    templates = {}
    for name in sure:
        held = task.spec.targets[name].relationship
        if held is not None:
            labels = {e[2] for e in snapshot.edge_types if e[:2] == (task.label, held)}
            known = [_templates(snapshot, label, set(task.class_names[name])) for label in sorted(labels)]
            templates[name] = {k: v for part in known for k, v in part.items()}
    return Answers(templates, sure, precision=precision)


def _templates(snapshot: Snapshot, label: str, classes: set[str]) -> dict[str, Saying]:
    table, keys = snapshot.node_table(label), snapshot.keys(label).tolist()
    texts = table[TEMPLATE].to_pylist() if TEMPLATE in table.column_names else [None] * len(keys)
    return {
        key: Saying(text or "", _nodes(snapshot, label, [row]))
        for row, (key, text) in enumerate(zip(keys, texts, strict=True))
        if key in classes
    }


def _nodes(snapshot: Snapshot, label: str, rows: list[int]) -> tuple[dict[str, str], ...]:
    """Where the facts of some nodes lead, each once: label, id, name and the relationship."""
    out: dict[tuple[str, str], dict[str, str]] = {}
    for edge in snapshot.schema.edges("fact"):
        if edge[0] != label or edge not in snapshot.edge_types:
            continue
        source, target = snapshot.edge_index(edge)
        behind, keys = snapshot.schema.node(edge[2]), snapshot.keys(edge[2])
        table = snapshot.node_table(edge[2])
        names = table[behind.name] if behind.name in table.column_names else None
        for row in target[np.isin(source, rows)].tolist():
            shown = None if names is None else names[row].as_py()
            node = {"label": edge[2], "id": str(keys[row]), "name": str(shown or keys[row])}
            out.setdefault((edge[2], node["id"]), {**node, "relationship": edge[1]})
    return tuple(out.values())
