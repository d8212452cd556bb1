"""What a subject is known by beside its own words: a history, and the nodes that facts lead to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.item_groups import rows_to_one
from kgdistill.tasks.reads import parent_fact
from kgdistill.tasks.side import Side, events_there


@dataclass(frozen=True)
class Neighbours:
    """What stands beside the subjects along one relationship: a history's items, or the nodes of a fact.

    Attributes:
        relationship: such as "BOUGHT".
        label: of the nodes.
        history: whether it is an event.
        members: float32 CSR [subjects, nodes], 1 where the two are tied.
        texts: what is written on each node; empty strings where nothing is.
        groups: per fact of the nodes that is read, and for the tree above what it leads to, float32 CSR
            [nodes, groups], rows summing to 1 or 0.
    """

    relationship: str
    label: str
    history: bool
    members: sp.csr_matrix
    texts: Sequence[str]
    groups: Mapping[str, sp.csr_matrix]


def field_texts(snapshot: Snapshot, label: str, fields: Sequence[str]) -> list[str]:
    """The fields of each node as one text, without those that are empty."""
    table = snapshot.node_table(label)
    columns = [table[name].cast(pa.string()).to_pylist() for name in fields if name in table.column_names]
    if not columns:
        return [""] * table.num_rows
    return [" ".join(filter(None, row)).strip() for row in zip(*columns, strict=True)]


def edges_from(snapshot: Snapshot, label: str, name: str, place: str, kinds: Sequence[str]) -> list[EdgeType]:
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


def history_of(
    snapshot: Snapshot, side: Side, *, hidden: Collection[str | None], place: str
) -> list[EdgeType]:
    """The events that are a history, as far as the snapshot holds any; none where `side.by` names none.

    Args:
        snapshot: everything in it is from before its cut.
        side: the subjects.
        hidden: relationship types that are never read, such as the targets'.
        place: stands for the declaration in messages.

    Raises:
        InputError: one is no event of the label, or `history` names none where there are several; nobody has
            any.
    """
    if "history" not in side.by:
        return []
    events = [e for e in snapshot.schema.edges("event") if e[0] == side.label and e[1] not in hidden]
    held = [e for e in events if e in snapshot.edge_types and snapshot.num_edges(e)]
    names = events_there(side, snapshot.schema) or sorted({e[1] for e in held})
    if not side.events and len(names) != 1:
        raise InputError(
            f"{side.label} has {len(names)} kinds of events, and `history` names none of them",
            where=place,
            hint=f"write history: one or several of {', '.join(names)}"
            if names
            else "`by` can name text or facts",
        )
    found = [e for name in names for e in edges_from(snapshot, side.label, name, place, ("event",))]
    if not any(e in held for e in found):
        raise InputError(f"no {side.label} has a history of {' or '.join(names)}", where=place)
    # Of one event what it leads to is kept, whether anybody got there or not.
    there = {e[1] for e in held}
    return [e for e in found if e[1] in there and e in events]


def neighbours_of(
    snapshot: Snapshot,
    side: Side,
    events: Sequence[EdgeType],
    *,
    hidden: Collection[str | None],
    place: str,
) -> list[Neighbours]:
    """What `side.by` names of history and facts; not what a subject wrote, which is its text.

    Args:
        snapshot, side, hidden, place: as of `history_of`.
        events: what that found.

    Raises:
        InputError: there are no facts.
    """
    out = [
        _beside(snapshot, edge, facts="facts" in side.by, hidden=hidden)
        for edge in events
        if not snapshot.schema.is_text(edge[2])
    ]
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


def _beside(snapshot: Snapshot, edge: EdgeType, *, facts: bool, hidden: Collection[str | None]) -> Neighbours:
    shape = (snapshot.num_nodes(edge[0]), snapshot.num_nodes(edge[2]))
    groups: dict[str, sp.csr_matrix] = {}
    for fact in snapshot.schema.edges("fact") if facts else []:
        if fact[0] == edge[2] and fact[1] not in hidden and fact in snapshot.edge_types:
            members = _incidence(snapshot, fact, (shape[1], snapshot.num_nodes(fact[2])))
            if members.nnz:
                groups[f"{fact[1]} {fact[2]}"] = rows_to_one(members)
                if (up := parent_fact(snapshot, fact)) is not None and up[1] not in hidden:
                    above = _incidence(snapshot, up, (members.shape[1], members.shape[1]))
                    groups[f"{fact[1]} {fact[2]} > parent"] = rows_to_one(sp.csr_matrix(members @ above))
    node = snapshot.schema.node(edge[2])
    return Neighbours(
        edge[1], edge[2], snapshot.schema.relationship(edge).kind == "event",
        _incidence(snapshot, edge, shape), field_texts(snapshot, edge[2], node.text), groups,
    )  # fmt: skip


def _incidence(snapshot: Snapshot, edge: EdgeType, shape: tuple[int, int]) -> sp.csr_matrix:
    source, target = snapshot.edge_index(edge)
    matrix = sp.csr_matrix((np.ones(len(source), np.float32), (source, target)), shape=shape)
    # Several events between the same two are one.
    matrix.data[:] = 1.0
    return matrix
