"""Which window a statement belongs to, and when a window is over: by the statements' own times alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo

from kgdistill.watch.statements import Statement

DAY = 86_400
# Windows are counted from a Monday.
_MONDAY = 4 * DAY
# A clock is believed when so many statements in a row agree on it.
_AGREE = 3
_JUMP = 30
_EPOCH = datetime(1970, 1, 1)


@dataclass
class Clock:
    """The time of a stream: the latest that its statements agree on.

    A statement far ahead of all others (30 days, or 30 windows where these are longer) is held until two more
    say about the same time; then it was a gap. Where the next one does not, its clock was wrong.

    Attributes:
        window: seconds.
        wait: seconds that a window stays open after its end.
        zone: in which windows of whole days begin at midnight; shorter ones are counted in UTC, as an hour
            may come twice on a clock.
        latest: seconds since 1970; None before the first three statements.
        held: statements whose time is not believed yet, in their order.
    """

    window: int
    wait: int = 0
    zone: tzinfo = timezone.utc
    latest: int | None = None
    held: list[Statement] = field(default_factory=list)

    @property
    def jump(self) -> int:
        """Seconds ahead that are not believed at once."""
        return _JUMP * max(self.window, DAY)

    @property
    def of_days(self) -> bool:
        """Whether windows are of whole days."""
        return self.window % DAY == 0

    @property
    def by_zone(self) -> bool:
        """Whether windows begin at midnight of a zone other than UTC."""
        return self.of_days and self.zone is not timezone.utc

    def number(self, at: int) -> int:
        """The window of a time, counted from Monday, 1970-01-05."""
        if self.by_zone:
            there = (_EPOCH + timedelta(seconds=at)).replace(tzinfo=timezone.utc).astimezone(self.zone)
            at = int((there.replace(tzinfo=None) - _EPOCH).total_seconds())
        return (at - _MONDAY) // self.window

    def start(self, number: int) -> int:
        """When a window starts, in seconds since 1970."""
        at = number * self.window + _MONDAY
        return (
            int((_EPOCH + timedelta(seconds=at)).replace(tzinfo=self.zone).timestamp())
            if self.by_zone
            else at
        )

    @property
    def closed(self) -> int | None:
        """The last window that is over; None before the clock is known."""
        return None if self.latest is None else self.number(self.latest - self.wait) - 1

    def _near(self, statement: Statement) -> bool:
        return self.latest is not None and statement.at <= self.latest + self.jump

    def holds(self, statement: Statement) -> bool:
        """Whether one of the same id and window is held, and this one would be too."""
        number = self.number(statement.at)
        return (
            bool(statement.id)
            and not self._near(statement)
            and any(statement.id == held.id and number == self.number(held.at) for held in self.held)
        )

    def offer(self, statement: Statement) -> tuple[list[Statement], list[Statement]]:
        """Takes a statement.

        Returns:
            Those whose time is believed now, in their order, and those that turned out to be wrong.
        """
        if self._near(statement):
            wrong, self.held = self.held, []
            return [statement], wrong
        self.held.append(statement)
        near = [s for s in self.held if abs(s.at - statement.at) <= self.jump]
        if len(near) < _AGREE:
            return [], []
        wrong = [s for s in self.held if s not in near]
        self.held = []
        return near, wrong

    def leave(self) -> tuple[list[Statement], list[Statement]]:
        """What becomes of the statements held where nothing more will come; as `offer`."""
        held, self.held = self.held, []
        return (held, []) if self.latest is None else ([], held)

    def place(self, statement: Statement) -> int | None:
        """The window that a believed statement is counted in; None where that is over."""
        number, closed = self.number(statement.at), self.closed
        self.latest = max(statement.at, self.latest if self.latest is not None else statement.at)
        return None if closed is not None and number <= closed else number
