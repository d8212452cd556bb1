"""What subjects wrote, such as their searches: events that lead to texts are words of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType


class WrittenText(NamedTuple):
    """A text that a subject wrote: when, and the key of its node."""

    at: Any
    key: str
    text: str


def as_one_text(written: Iterable[WrittenText]) -> str:
    """What a subject wrote, each text once, the latest first: of too long a text the end is not read."""
    ordered = sorted(written, key=lambda one: (one.at, one.key), reverse=True)
    return "\n".join(dict.fromkeys(one.text for one in ordered if one.text))


def written_texts(snapshot: Snapshot, events: Sequence[EdgeType]) -> list[str]:
    """What each subject wrote, empty where nothing, by events that lead to texts (`Schema.is_text`)."""
    held: list[list[WrittenText]] = [[] for _ in range(snapshot.num_nodes(events[0][0]))]
    for edge in events:
        texts = snapshot.node_table(edge[2])[snapshot.schema.node(edge[2]).name].to_pylist()
        keys, times = snapshot.keys(edge[2]), snapshot.times(edge)
        assert times is not None
        for who, what, at in zip(*snapshot.edge_index(edge).tolist(), times.tolist(), strict=True):
            held[who].append(WrittenText(at, keys[what], texts[what]))
    return [as_one_text(mine) for mine in held]
