"""What one event of a further kind weighs in a history: as a task declares it, or as it was learned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kgdistill.tasks.positives import LEARNED, Weight

_FILE = "weights.json"


@dataclass(frozen=True)
class EventWeight:
    """What one event of a further kind weighs, as the shop's own events say.

    Attributes:
        weight: of one beside the task's own; 0: left out, as no weight was surely better than none.
        reached, without: NDCG@k of a linear model with the best weight, and without these events.
        k: ranks that counted.
        users: how many were asked.
    """

    weight: float
    reached: float
    without: float
    k: int
    users: int


def in_numbers(declared: Mapping[str, Weight], learned: Mapping[str, EventWeight]) -> dict[str, float]:
    """What every kind weighs, by its type: as given, or as learned where the task says so."""
    return {name: learned[name].weight if w == LEARNED else w for name, w in declared.items()}


def weighed_sentences(
    weights: Mapping[str, float], learned: Mapping[str, EventWeight], own: str
) -> list[str]:
    """What is said of further events: each kind's weight, and what it rests on where it was learned.

    Args:
        weights: of every kind, by its type.
        learned: those of them that were learned.
        own: the type of the task's own event.
    """
    said = []
    for name, weight in weights.items():
        line = f"Histories also hold {name}, which weighs {weight:g} beside {own}"
        if name in learned:
            told = learned[name]
            line = line if weight else f"{name} is left out of histories"
            sure = "" if weight else ", where no gain is sure"
            line += (
                f", as learned from the last tenth of the known events{sure}: "
                f"NDCG@{told.k} of a linear model {told.reached:.4f} with its best weight, "
                f"{told.without:.4f} without, of {told.users:,} users"
            )
        said.append(f"{line}.")
    return said


def save_weights(folder: Path, learned: Mapping[str, EventWeight]) -> None:
    """Writes weights.json: what was learned, by the events' type."""
    told = {name: asdict(weight) for name, weight in learned.items()}
    (folder / _FILE).write_text(json.dumps(told, indent=2), encoding="utf-8")


def load_weights(folder: Path) -> dict[str, EventWeight]:
    """Reads what `save_weights` wrote; empty where nothing was learned."""
    file = folder / _FILE
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: EventWeight(**weight) for name, weight in told.items()}
