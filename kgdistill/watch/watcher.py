"""From statements to alerts: counts by topic and window, the detector, and what must outlast a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Literal, NamedTuple

import numpy as np

from kgdistill.tasks.alerts import Alerts
from kgdistill.watch.clock import Clock
from kgdistill.watch.detector import Change, Sensitivity, SurgeDetector
from kgdistill.watch.statements import Statement

EVERYTHING, NO_TOPIC, OTHER_TOPICS = "everything", "(no topic)", "(other topics)"
MOST_TOPICS = 1000
"""Beyond so many topics, all further ones are one."""
# Kept of each curve, of all curves together, of alerts, and of the names of sentiments.
_CURVE, _POINTS, _TOLD, _SENTIMENTS = 1000, 50_000, 1000, 50
_EPOCH = datetime(1970, 1, 1)

Labels = Sequence["tuple[str | None, str | None]"]
Labeller = Callable[[Sequence[str]], Labels]
"""Texts to (sentiment, topic) each; None where the model does not tell it."""


@dataclass(frozen=True)
class Alert:
    """A surge that starts, or its end.

    Attributes:
        id: the same whenever the same statements are watched.
        kind: "surge" or "over".
        topic: what the statements are about.
        since, until: the counted windows, in ISO 8601, UTC: of a surge those since it likely began.
        negatives, statements: counted there.
        expected: negatives there, had nothing changed.
        usual: the share of negatives that this is.
        a_month: alerts as strong as this that a month would bring over all topics, had nothing changed; 0 at
            the end of a surge.
    """

    id: str
    kind: Literal["surge", "over"]
    topic: str
    since: str
    until: str
    negatives: int
    statements: int
    expected: float
    usual: float
    a_month: float

    def json(self) -> str:
        """The alert as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def sentence(self, zone: tzinfo = timezone.utc) -> str:
        """The alert for people, by the clocks of a zone."""
        since, until = in_zone(self.since, zone), in_zone(self.until, zone)
        seen = f"{self.negatives:,} of {self.statements:,} statements from {since} to {until} {zone}"
        if self.kind == "over":
            return f"{until} {self.topic}: the surge is over; {seen} negative, {self.expected:.1f} usual"
        return f"{until} {self.topic}: a surge of negatives: {seen}, where {self.expected:.1f} are usual"


class Wrong(NamedTuple):
    """A statement that is not counted, and why."""

    statement: Statement
    reason: str


@dataclass
class Counts:
    """What became of the statements.

    Attributes:
        counted: in their windows.
        negatives: of these.
        late: came after their window was over; or, where lines are read again, were counted before.
        repeated: the id is that of another statement of an open window.
        no_topic: counted without a topic.
        jumped: rejected, their clock being ahead of all others.
        windows: closed, with statements.
    """

    counted: int = 0
    negatives: int = 0
    late: int = 0
    repeated: int = 0
    no_topic: int = 0
    jumped: int = 0
    windows: int = 0


class Window:
    """A window that is open: by topic the negatives and statements, and the ids that were counted."""

    def __init__(self, counts: dict[str, list[int]] | None = None, ids: Sequence[str] = ()) -> None:
        self.counts, self.ids = counts or {}, set(ids)


class Watcher:
    """Counts statements and tells surges.

    Args:
        alerts: what is told.
        zone: in which windows of whole days begin.
    """

    def __init__(self, alerts: Alerts, zone: tzinfo = timezone.utc) -> None:
        self.alerts = alerts
        self.clock = Clock(alerts.window * 60, alerts.wait * 60, zone)
        self.detector = SurgeDetector(sensitivity(alerts))
        self.topics: list[str] = []
        self.counts = Counts()
        self.sentiments: Counter[str] = Counter()
        self.curves: dict[str, list[list[float]]] = {}
        self.told: list[Alert] = []
        self._open: dict[int, Window] = {}

    def feed(self, statements: Sequence[Statement]) -> tuple[list[Alert], list[Wrong]]:
        """Takes statements in the order of the stream; each has a sentiment.

        Returns:
            The alerts of the windows that they close, and the statements that are not counted.
        """
        told: list[Alert] = []
        wrong: list[Wrong] = []
        for statement in statements:
            if self.clock.holds(statement):
                self.counts.repeated += 1
                continue
            believed, refused = self.clock.offer(statement)
            wrong += self._jumped(refused)
            told += [alert for one in believed for alert in self._take(one)]
        return told, wrong

    def finish(self) -> tuple[list[Alert], list[Wrong]]:
        """Closes every window: nothing more will come. As `feed`."""
        believed, refused = self.clock.leave()
        wrong = self._jumped(refused)
        told = [alert for one in believed for alert in self._take(one)]
        for number in sorted(self._open):
            told += self._close(number)
        return told, wrong

    @property
    def open_since(self) -> str | None:
        """When the first window that is open starts; None where none is."""
        return self._time(self.clock.start(min(self._open))) if self._open else None

    @property
    def going(self) -> list[str]:
        """Topics with a surge that is going on."""
        return [t for t, going in zip(self.topics, self.detector.going.tolist(), strict=True) if going]

    def _jumped(self, refused: Sequence[Statement]) -> list[Wrong]:
        self.counts.jumped += len(refused)
        days = self.clock.jump // 86_400
        return [Wrong(s, f"its time lies more than {days:,} days from all others") for s in refused]

    def _take(self, statement: Statement) -> list[Alert]:
        number = self.clock.place(statement)
        if number is None:
            self.counts.late += 1
            return []
        self._count(self._open.setdefault(number, Window()), statement)
        closed = self.clock.closed
        over = sorted(n for n in self._open if closed is not None and n <= closed)
        return [alert for n in over for alert in self._close(n)]

    def _count(self, window: Window, statement: Statement) -> None:
        if statement.id and statement.id in window.ids:
            self.counts.repeated += 1
            return
        if statement.id:
            window.ids.add(statement.id)
        bad = statement.sentiment in self.alerts.every
        counted = window.counts.setdefault(self._topic(statement), [0, 0])
        counted[0] += bad
        counted[1] += 1
        self.counts.counted += 1
        self.counts.negatives += bad
        if len(self.sentiments) < _SENTIMENTS or statement.sentiment in self.sentiments:
            self.sentiments[str(statement.sentiment)] += 1

    def _topic(self, statement: Statement) -> str:
        if statement.topic:
            return statement.topic
        if self.alerts.topic is None:
            return EVERYTHING
        self.counts.no_topic += 1
        return NO_TOPIC

    def _close(self, number: int) -> list[Alert]:
        window = self._open.pop(number)
        # Sorted: which line came first within a window changes nothing.
        for topic in sorted(set(window.counts) - set(self.topics)):
            if len(self.topics) >= MOST_TOPICS:
                more, rest = window.counts.pop(topic), window.counts.setdefault(OTHER_TOPICS, [0, 0])
                rest[0], rest[1] = rest[0] + more[0], rest[1] + more[1]
                topic = OTHER_TOPICS
            if topic not in self.topics:
                self.topics.append(topic)
                self.detector.add_topics(1)
        x, n = (
            np.array([window.counts.get(topic, (0, 0))[i] for topic in self.topics], np.int64) for i in (0, 1)
        )
        changes = self.detector.step(number, x, n)
        self.counts.windows += 1
        for topic, row in zip(self.topics, self.detector.last[:, -1], strict=True):
            curve = self.curves.setdefault(topic, [])
            curve.append([number, *(float(v) for v in row[:3])])
            del curve[: -max(50, min(_CURVE, _POINTS // len(self.topics)))]
        told = [self._alert(number, change) for change in changes]
        self.told = [*self.told, *told][-_TOLD:]
        return told

    def _alert(self, number: int, change: Change) -> Alert:
        topic, kind = self.topics[change.topic], "over" if change.ends else "surge"
        until = self._time(self.clock.start(number + 1))
        return Alert(
            f"{topic}/{until}/{kind}", "over" if change.ends else "surge", topic,
            self._time(self.clock.start(number + 1 - change.windows)), until,
            change.negatives, change.statements, round(change.expected, 3),
            round(change.expected / max(change.statements, 1), 5), change.a_month,
        )  # fmt: skip

    @staticmethod
    def _time(seconds: int) -> str:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="minutes")

    # Keeping ------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """All that `restored` needs, as JSON can hold it."""
        return {
            "alerts": self.alerts.model_dump(),
            "zone": str(self.clock.zone) if self.clock.by_zone else "UTC",
            "latest": self.clock.latest,
            "held": [asdict(statement) for statement in self.clock.held],
            "open": {str(n): [w.counts, sorted(w.ids)] for n, w in self._open.items()},
            "window": self.detector.window,
            "topics": self.topics,
            "detector": {name: array.tolist() for name, array in self.detector.arrays().items()},
            "counts": asdict(self.counts),
            "sentiments": dict(self.sentiments),
            "curves": self.curves,
            "told": [asdict(alert) for alert in self.told],
        }

    @classmethod
    def restored(cls, kept: dict[str, Any], zone: tzinfo = timezone.utc) -> Watcher:
        """What `kept` was taken from; the zone is that of its windows, or they are none of whole days.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        watcher = cls(Alerts.model_validate(kept["alerts"]), zone)
        watcher.clock.latest = kept["latest"]
        watcher.clock.held = [Statement(**statement) for statement in kept["held"]]
        watcher._open = {int(n): Window(counts, ids) for n, (counts, ids) in kept["open"].items()}
        watcher.detector.window, watcher.topics = kept["window"], list(kept["topics"])
        watcher.detector.add_topics(len(watcher.topics))
        own = watcher.detector.arrays()
        watcher.detector.restore(
            {n: np.asarray(kept["detector"][n]).reshape(a.shape) for n, a in own.items()}
        )
        watcher.counts = Counts(**{f.name: kept["counts"][f.name] for f in fields(Counts)})
        watcher.sentiments = Counter(kept["sentiments"])
        watcher.curves = {topic: list(curve) for topic, curve in kept["curves"].items()}
        watcher.told = [Alert(**alert) for alert in kept["told"]]
        return watcher


def in_zone(text: str, zone: tzinfo) -> str:
    """A time of an alert as the clocks of a zone show it."""
    there = datetime.fromisoformat(text).replace(tzinfo=timezone.utc).astimezone(zone)
    return there.replace(tzinfo=None).isoformat(timespec="minutes")


def sensitivity(alerts: Alerts) -> Sensitivity:
    """What the detector takes for a surge."""
    return Sensitivity(
        alerts.window / 60, alerts.memory / 60, alerts.false_alarms, alerts.min_count, alerts.least
    )
