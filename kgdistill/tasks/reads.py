"""Which relationships of a snapshot the models read."""

from __future__ import annotations

from collections.abc import Iterable

from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.protocol import DiscoveryProtocol


def facts_of(snapshot: Snapshot, label: str) -> list[EdgeType]:
    """The facts that lead from nodes of a label and that the snapshot holds."""
    facts = [e for e in snapshot.edge_types if e[0] == label and snapshot.num_edges(e)]
    return [e for e in facts if snapshot.schema.relationship(e).kind == "fact"]


def parent_fact(snapshot: Snapshot, fact: EdgeType) -> EdgeType | None:
    """The tree above what a fact leads to, where the snapshot holds one."""
    up = (fact[2], "PART_OF", fact[2])
    return up if up in snapshot.edge_types and snapshot.num_edges(up) else None


def unread_edges(
    snapshot: Snapshot, protocol: DiscoveryProtocol, weights: Iterable[str] = ()
) -> list[EdgeType]:
    """The edge types that the snapshot holds and that no model reads.

    Args:
        snapshot: an open snapshot.
        protocol: names the interaction that is learnt from.
        weights: the types of the further events that histories hold.
    """
    facts = facts_of(snapshot, protocol.candidates)
    others = protocol.beside(weights).values()
    read = {protocol.interaction, *others, *facts, *(parent_fact(snapshot, fact) for fact in facts)}
    return [e for e in snapshot.edge_types if snapshot.num_edges(e) and e not in read]
