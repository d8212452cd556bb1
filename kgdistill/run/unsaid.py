"""Says which facts no words tell."""

from __future__ import annotations

from kgdistill.progress import notice
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.item_groups import ItemGroups, unsaid_facts


def say_unsaid_facts(snapshot: Snapshot, label: str, fields: list[ItemGroups]) -> None:
    """A notice for each fact of a label that what reads words misses (`unsaid_facts`)."""
    for edge in unsaid_facts(snapshot, label, fields):
        notice(
            f"{'-'.join(edge)}: no text of {label} says it, so that a student and a search, which read "
            f"words, miss it; map the {edge[2]}'s name to a property of {label} too, such as "
            f"{edge[2].lower()}_text, which `text` of {label} names in the schema"
        )
