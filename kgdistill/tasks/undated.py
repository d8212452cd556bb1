"""What a task asks about that has no time, and that a snapshot at a cut therefore leaves out."""

from __future__ import annotations

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.progress import notice
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema
from kgdistill.store.undated import dating, undated
from kgdistill.tasks.audience_edges import audience_edges
from kgdistill.tasks.spec import AnchorsByTime, MatchSpec, TaskSpec, TimeSplit


def check_dated(spec: TaskSpec, store: GraphStore, schema: Schema, where: str) -> None:
    """Says what has no time of the labels that a task with a cut asks about, before anything is trained.

    Raises:
        InputError: nothing of one has that it cannot do without.
        StoreError: from the store.
    """
    for label, needed in _asked(spec, schema).items():
        name = schema.node(label).time
        if name is not None:
            column = store.read_nodes(label, [name])[name]
            _tell(schema, label, column, where, needed=needed)


def no_positive(spec: MatchSpec, snapshot: Snapshot) -> InputError | None:
    """Why the anchors of the training have no positive, where that is for want of times.

    Args:
        spec: a task that finds an audience.
        snapshot: all that is known, without a cut.
    """
    for label in _asked(spec, snapshot.schema):
        node, table = snapshot.schema.node(label), snapshot.node_table(label)
        missing = table[node.time].null_count if node.time in table.column_names else 0
        if missing:
            told = undated(label, node, missing, table.num_rows)
            return InputError(
                f"the anchors of the training have no positive: {told}",
                where=f"task {spec.name}",
                hint=dating(label, node),
            )
    return None


def _tell(schema: Schema, label: str, column: pa.ChunkedArray, where: str, *, needed: bool) -> None:
    node, missing = schema.node(label), column.null_count
    if not missing:
        return
    told = undated(label, node, missing, len(column))
    if needed and missing == len(column):
        raise InputError(told, where=where, hint=dating(label, node))
    notice(f"{where}: {told}; {dating(label, node)}")


def _asked(spec: TaskSpec, schema: Schema) -> dict[str, bool]:
    """The labels that a task with a cut reads, True where it needs them; none of one without a cut."""
    if not isinstance(spec, MatchSpec) or not isinstance(spec.protocol, TimeSplit | AnchorsByTime):
        return {}
    labels = dict.fromkeys((spec.anchors.label, spec.candidates.label), True)
    if spec.finds_audience:
        edges = audience_edges(spec, schema)
        labels |= dict.fromkeys((edges.item, edges.positives[2]), True)
        # Of several ways from anchors to items one may be enough.
        for step in (step for path in edges.paths for step in path):
            labels.setdefault(step.end, len(edges.paths) == 1)
    return labels
