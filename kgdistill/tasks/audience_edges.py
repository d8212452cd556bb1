"""Which relationships of a schema a task reads that finds an audience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema
from kgdistill.tasks.spec import MatchSpec

_LONGEST_PATH = 3


class FactStep(NamedTuple):
    """One relationship of a path, and whether it is followed from its source."""

    edge: EdgeType
    forward: bool

    @property
    def end(self) -> str:
        """The label that it leads to."""
        return self.edge[2] if self.forward else self.edge[0]


@dataclass(frozen=True)
class AudienceEdges:
    """What a task reads of a schema.

    Attributes:
        history: from candidates to items.
        positives: from candidates, to anchors or to what `through` leads on from.
        through: a fact that leads on to anchors; None without.
        reached: between candidates and anchors; None where nobody knows.
        paths: the shortest paths of facts from anchors to items.
    """

    history: EdgeType
    positives: EdgeType
    through: EdgeType | None
    reached: EdgeType | None
    paths: tuple[tuple[FactStep, ...], ...]

    @property
    def item(self) -> str:
        """The label of the items."""
        return self.history[2]


def audience_edges(spec: MatchSpec, schema: Schema) -> AudienceEdges:
    """What an audience task reads.

    Raises:
        InputError: the schema lacks one of the relationships, or it leads elsewhere.
    """
    where, anchor, candidate = f"task {spec.name}", spec.anchors.label, spec.candidates.label
    events, facts = schema.edges("event"), schema.edges("fact")
    history = _one(
        [e for e in events if e[0] == candidate and e[1] == spec.candidates.history], events,
        f"{where}: candidates.history", str(spec.candidates.history), f"an event from {candidate}",
    )  # fmt: skip
    positives, name = spec.positives, str(spec.positives.event)
    through = None
    if positives.through is None:
        ends = [(candidate, name, anchor)]
        what = f"an event from {candidate} to {anchor}"
    else:
        led = [f for f in facts if f[1] == positives.through and f[2] == anchor]
        ends = [(candidate, name, f[0]) for f in led]
        what = f"an event from {candidate} to what {positives.through} leads on to {anchor} from"
    positive = _one([e for e in events if e in ends], events, f"{where}: positives", name, what)
    if positives.through is not None:
        through = (positive[2], positives.through, anchor)
    reached = None
    if spec.reached_by is not None:
        pairs = [(candidate, spec.reached_by, anchor), (anchor, spec.reached_by, candidate)]
        what = f"an event between {candidate} and {anchor}"
        reached = _one(
            [e for e in events if e in pairs], events, f"{where}: reached_by", spec.reached_by, what
        )
    paths = fact_paths(facts, anchor, history[2]) if "facts" in spec.anchors.by else ()
    if "facts" in spec.anchors.by and not paths:
        raise InputError(
            f"no facts lead from {anchor} to {history[2]}", where=f"{where}: anchors.by",
            hint="declare what it is for in the schema, or write by: text",
        )  # fmt: skip
    return AudienceEdges(history, positive, through, reached, paths)


def _one(found: list[EdgeType], known: list[EdgeType], where: str, name: str, what: str) -> EdgeType:
    if len(found) == 1:
        return found[0]
    names = sorted({edge[1] for edge in known})
    several = f"; it leads to {', '.join(edge[2] for edge in found)}" if found else ""
    raise InputError(
        f"{name} is not {what}{several}", where=where,
        hint=f"{nearest(name, names)}events: {', '.join(names)}",
    )  # fmt: skip


def fact_paths(facts: list[EdgeType], start: str, end: str) -> tuple[tuple[FactStep, ...], ...]:
    """The shortest ways along facts, in either direction, from one label to another; no label twice."""
    steps = [FactStep(e, True) for e in facts] + [FactStep(e, False) for e in facts]
    ways: list[tuple[FactStep, ...]] = [()]
    for _ in range(_LONGEST_PATH):
        longer = []
        for way in ways:
            at = way[-1].end if way else start
            been = {start, *(s.end for s in way)}
            longer += [
                (*way, s)
                for s in steps
                if (s.edge[0] if s.forward else s.edge[2]) == at and s.end not in been
            ]
        if found := [way for way in longer if way[-1].end == end]:
            return tuple(found)
        ways = longer
    return ()
