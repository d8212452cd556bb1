"""A trained student that finds an audience, as a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from kgdistill.errors import InputError
from kgdistill.serve.audience import SPACE, AudienceKeys, AudienceNames, Finder
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.file import bundle_config
from kgdistill.serve.items import Items
from kgdistill.serve.pack import kept_items
from kgdistill.serve.readings import Readings
from kgdistill.serve.tower import TextTower
from kgdistill.tasks.audience_edges import AudienceEdges, audience_edges
from kgdistill.tasks.audience_task import AudienceTask


class _Trained(Protocol):
    """A trained student, as far as a bundle needs it."""

    @property
    def head(self) -> torch.nn.Module: ...
    @property
    def temperature(self) -> float: ...
    @property
    def spread(self) -> float: ...


def pack_audience(student: _Trained, tower: TextTower, task: AudienceTask, space: str) -> Bundle:
    """A student with all that is known by now of candidates and anchors, as a bundle.

    Args:
        student: trained before the cut.
        tower: reads words.
        task: opened; what came after the cut is answered from and moves no weight.
        space: of `task.later.vectors`, the tower's own.
    """
    spec, later = task.spec, task.later
    snapshot = task.everything
    edges = audience_edges(spec, snapshot.schema)
    table, names = kept_items(snapshot, edges.item, np.arange(later.items))
    if len(table) != later.items:
        raise InputError(f"{later.items - len(table):,} {edges.item}s have no name to show")
    data = replace(later, vectors={SPACE: later.vectors[space]})
    head = {name: held.detach().cpu().numpy() for name, held in student.head.state_dict().items()}
    cut = np.datetime64(task.snapshot.cut, "us").astype(np.int64)
    keys = AudienceKeys(
        tuple(snapshot.keys(spec.candidates.label).tolist()), tuple(task.later_keys),
        tuple(snapshot.texts(spec.anchors.label)),
    )  # fmt: skip
    label = spec.candidates.label
    people, _ = kept_items(snapshot, label, np.arange(later.candidates))
    finder = Finder(
        data, head, student.temperature, student.spread, int(cut), _names(task, edges), keys, Items(people),
        snapshot.schema.node(label).sensitive_properties,
    )  # fmt: skip
    config = bundle_config(spec.declared(), edges.item, Readings.joined(names), task.snapshot)
    return Bundle(config, Items(table), text=tower, audience=finder)


def _names(task: AudienceTask, edges: AudienceEdges) -> AudienceNames:
    spec = task.spec
    paths = []
    for path in edges.paths:
        words = []
        for edge, forward in reversed(path):
            # Told from the item on, against the way that it was found.
            words.append(f"<-{edge[1]}-" if forward else f"-{edge[1]}->")
            words.append(edge[0] if forward else edge[2])
        paths.append(" ".join(words[:-1]))
    return AudienceNames(
        spec.candidates.label, spec.anchors.label, edges.item, edges.history[1], edges.positives[1],
        tuple(paths), edges.reached[1] if edges.reached is not None else "",
    )  # fmt: skip
