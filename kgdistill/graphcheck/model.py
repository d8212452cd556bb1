"""What a look at the graph finds: statistics and findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Distribution:
    """Degrees of the nodes of one label, in one direction, over one edge type.

    Attributes:
        label: whose degrees.
        nodes: how many nodes have at least one; the figures below are over these.
        without: how many have none.
        min, median, mean, p99, max: relationships of a node; 0 where no node has any.
        histogram: (from, to, nodes): how many nodes have from..to relationships, in powers of two.
    """

    label: str
    nodes: int
    without: int
    min: int
    median: float
    mean: float
    p99: float
    max: int
    histogram: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Hub:
    """A node with a large share of an edge type's relationships."""

    type: str
    label: str
    key: str
    name: str | None
    relationships: int
    share: float


@dataclass(frozen=True)
class NodeStats:
    """One label.

    Attributes:
        label, count: how many nodes.
        isolated: how many have no fact, event or judgement; None for what runs write.
        filled: for each property that is no vector, how many nodes have a value that is not blank.
    """

    label: str
    count: int
    isolated: int | None
    filled: dict[str, int]


@dataclass(frozen=True)
class EdgeStats:
    """One edge type: how many, and the degrees at its start and at its end."""

    type: str
    kind: str
    count: int
    start: Distribution
    end: Distribution


@dataclass(frozen=True)
class Gap:
    """Days without events: the first, the last, how many."""

    first: date
    last: date
    days: int


@dataclass(frozen=True)
class TimeStats:
    """When the events of one type happened; of aggregated ones the first and the last count.

    Attributes:
        type: the edge type.
        first, last: as the clocks of the graph's zone show them.
        days: from the first to the last, both included.
        days_without, weeks_without: days, and weeks counted from the first day, without an event.
        gaps: the longest ones, the longest first.
        future: events more than a day after the check.
        unit, buckets: (first day, events by their first time) per day, week or month.
    """

    type: str
    first: datetime
    last: datetime
    days: int
    days_without: int
    weeks_without: int
    gaps: list[Gap]
    future: int
    unit: Literal["day", "week", "month"]
    buckets: list[tuple[date, int]]


@dataclass(frozen=True)
class Finding:
    """Something in the graph that a person should know of.

    Attributes:
        code: a short name that stays the same, for scripts.
        severity: error (it is wrong), warning (it probably is), note (it may surprise).
        subject: the label or edge type.
        message: what was found.
        count, total: of how many it holds, and among how many.
        examples: up to ten.
        advice: what to do.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    count: int
    total: int
    examples: list[str]
    advice: str


@dataclass(frozen=True)
class GraphStats:
    """The whole graph.

    Attributes:
        store: its address.
        at: when it was looked at, UTC.
        zone: in which the times and days of events are told.
        nodes, edges: every type of the schema, empty ones too.
        times: every event type that holds something.
        hubs: the largest first.
        unknown: types of the schema that the store does not know.
    """

    store: str
    at: datetime
    nodes: list[NodeStats]
    edges: list[EdgeStats]
    times: list[TimeStats]
    hubs: list[Hub]
    unknown: list[str] = field(default_factory=list)
    zone: str = "UTC"


@dataclass(frozen=True)
class Inspection:
    """Statistics and findings of one look; findings from the gravest on.

    `aliases` are keys of brands that look like another one, each with that one's key.
    """

    stats: GraphStats
    findings: list[Finding]
    aliases: list[tuple[str, str]] = field(default_factory=list)
