"""Checks that nothing from after the cut, and no label, reaches a model. They fail loudly."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot.snapshot import Snapshot, edge_key
from kgdistill.store.schema import NodeType, RelationshipType

_AGAIN = "take the snapshot again; where this comes back, it is a defect: please report it"


def check_no_future(snapshot: Snapshot) -> None:
    """Reads what the snapshot really holds and makes sure that nothing in it is from its cut or later.

    Every event and every node with a time is strictly before the cut (a missing time counts as not
    before), and so is every other time that stands in it, but for one that is `planned`; no property that
    later events change is there, and no edge type or label that is derived or written back. Without a cut
    only the last holds.

    Raises:
        LeakError: says which type, how many rows and the first offending time.
        ArtefactError: a file of the snapshot cannot be read.
    """
    for label in snapshot.labels:
        node = snapshot.schema.node(label)
        if node.output:
            raise LeakError(f"{label} is written back by runs and must not be read", where=_at(snapshot))
        _check(snapshot, label, node, snapshot.node_table(label))
    for edge in snapshot.edge_types:
        rel = snapshot.schema.relationship(edge)
        if rel.kind not in ("fact", "event"):
            raise LeakError(
                f"{edge_key(edge)} is of the kind {rel.kind} and must not be read", where=_at(snapshot)
            )
        _check(snapshot, edge_key(edge), rel, snapshot.edge_table(edge))


def check_disjoint(
    message_edges: npt.NDArray[Any],
    label_edges: npt.NDArray[Any],
    num_targets: int,
    reverse: npt.NDArray[Any] | None = None,
) -> None:
    """Makes sure that no supervised edge is among the edges over which messages pass.

    Args:
        message_edges: int64 [2, E], (source, target) of the supervised edge type.
        label_edges: int64 [2, L], (source, target).
        num_targets: how many targets there are; every target id is below it.
        reverse: int64 [2, R], (target, source): the message-passing edges of the reversed type.

    Raises:
        LeakError: some are; says how many and the first.
        InputError: another shape, or ids that are negative or not below `num_targets`.
    """
    labels = _codes(label_edges, num_targets, "label_edges")
    _meet(labels, _codes(message_edges, num_targets, "message_edges"), num_targets, "")
    if reverse is not None:
        back = _codes(np.asarray(reverse)[::-1], num_targets, "reverse")
        _meet(labels, back, num_targets, "the reverse of ")


def _check(snapshot: Snapshot, name: str, item: NodeType | RelationshipType, table: pa.Table) -> None:
    cut = snapshot.cut
    if cut is None:
        return
    for column in table.column_names:
        prop = item.properties.get(column)
        if prop is not None and prop.cumulative:
            raise LeakError(
                f"{name}.{column} is changed by later events, but stands in {table.num_rows:,} rows of a "
                f"snapshot at {cut.isoformat()}",
                where=_at(snapshot),
                hint=_AGAIN,
            )
    if item.time is not None and item.time not in table.column_names:
        raise LeakError(f"{name} has lost its time {item.time}", where=_at(snapshot), hint=_AGAIN)
    for column in table.column_names:
        prop = item.properties.get(column)
        if prop is None or prop.type != "timestamp" or (prop.planned and column != item.time):
            continue
        late = table[column].filter(pc.invert(before(table[column], cut)))
        if column != item.time:
            late = late.drop_null()
        if len(late):
            first: datetime | None = pc.min(late).as_py()
            shown = first.isoformat() if first is not None else "without any time"
            raise LeakError(
                f"{len(late):,} rows of {name} are not before the cut {cut.isoformat()} by their {column}; "
                f"the first: {shown}",
                where=_at(snapshot),
                hint=_AGAIN,
            )


def before(times: pa.ChunkedArray, cut: datetime) -> pa.ChunkedArray:
    """Which of these times are strictly before `cut`; a null is not."""
    return pc.fill_null(pc.less(times, pa.scalar(cut, pa.timestamp("us"))), False)


def _codes(edges: npt.NDArray[Any], num_targets: int, name: str) -> npt.NDArray[np.int64]:
    array = np.asarray(edges)
    if array.ndim != 2 or array.shape[0] != 2 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} is {array.dtype} {list(array.shape)}, not int64 [2, number of edges]")
    array = array.astype(np.int64)
    if array.size and (array.min() < 0 or array[1].max() >= num_targets):
        raise InputError(f"{name} holds ids that are negative or, as a target, not below {num_targets:,}")
    codes: npt.NDArray[np.int64] = array[0] * np.int64(num_targets) + array[1]
    return codes


def _meet(
    labels: npt.NDArray[np.int64], messages: npt.NDArray[np.int64], num_targets: int, what: str
) -> None:
    common = np.flatnonzero(np.isin(labels, messages))
    if len(common):
        source, target = divmod(int(labels[common[0]]), num_targets)
        raise LeakError(
            f"{what}{len(common):,} supervised edges stand among the message-passing edges; "
            f"the first: source {source}, target {target}",
            hint="take the supervised edges out of the edge index before the forward pass",
        )


def _at(snapshot: Snapshot) -> str:
    return str(snapshot.folder)
