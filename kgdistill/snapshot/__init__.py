"""Frozen, hashed copies of the graph at a cut: the only thing training reads."""

from kgdistill.snapshot.leaks import check_disjoint, check_no_future
from kgdistill.snapshot.snapshot import Snapshot, open_snapshot
from kgdistill.snapshot.take import take_events, take_judgements, take_snapshot

__all__ = [
    "Snapshot",
    "check_disjoint",
    "check_no_future",
    "open_snapshot",
    "take_events",
    "take_judgements",
    "take_snapshot",
]
