"""One reading of a file or stream: lines, a model where one tells their classes, alerts, what is kept."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from kgdistill.errors import InputError
from kgdistill.progress import step
from kgdistill.tasks.alerts import Alerts
from kgdistill.watch.lines import Line, format_of, records
from kgdistill.watch.state import Position, State
from kgdistill.watch.statements import LineError, Statement, StatementReader, beginning
from kgdistill.watch.watcher import Alert, Labeller, Watcher

_BATCH, _SAVE_S = 512, 5.0
_BEGINNING, _FIRST = 1 << 20, 1_000
LONGEST_TEXT = 10_000
"""Characters of a statement that a model reads."""
_SHOWN, _NAMES = 40, 50
_REJECTS = ("source", "line", "value", "reason")


@dataclass(frozen=True)
class Sinks:
    """Where a watch writes.

    Attributes:
        state: taken up where it is there; None: nothing is kept, and all windows are closed at the end.
        out: alerts as JSON lines, each once, whatever was killed when.
        rejects: CSV of the lines that are no statements.
    """

    state: Path | None = None
    out: Path | None = None
    rejects: Path | None = None


@dataclass
class Outcome:
    """What one reading came to.

    Attributes:
        watcher: with all counts since the state began.
        alerts: told in this reading.
        lines: read in this reading.
        before: lines of the file that had been read before.
        empty, rejected: of `lines`.
        reasons: of the rejected, and how often each.
        first: the first rejected line and its reason; empty where there is none.
        unfinished: the line from which on all is left for the next reading: no line break ends it, or a quote
            is open; 0 where none is.
        late: statements that came after their window was over.
        cut: texts longer than a model reads.
        unknown: sentiments that the model does not tell, and of how many statements it told another; beyond
            some names, all further ones are one.
    """

    watcher: Watcher
    alerts: list[Alert] = field(default_factory=list)
    lines: int = 0
    before: int = 0
    empty: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: str = ""
    unfinished: int = 0
    late: int = 0
    cut: int = 0
    unknown: Counter[str] = field(default_factory=Counter)


class Session:
    """Reads a file or a stream to its end.

    Args:
        alerts: what is told.
        reading: how lines are read.
        label: tells what lines lack; None: nothing does.
        sentiments: those that `label` tells: another one in a line is not believed. Empty: all are.
        sinks: where it writes.
        tell: called with every alert.
    """

    def __init__(
        self,
        alerts: Alerts,
        reading: StatementReader,
        *,
        label: Labeller | None = None,
        sentiments: Collection[str] = (),
        sinks: Sinks | None = None,
        tell: Callable[[Alert], None] | None = None,
    ) -> None:
        self.alerts, self.reading, self.label, self.sentiments = alerts, reading, label, sentiments
        self.sinks, self.tell = sinks or Sinks(), tell

    def read(self, file: BinaryIO, *, stream: bool = False) -> Outcome:
        """Reads to the end.

        Args:
            file: binary.
            stream: it cannot be read again from its start: with a state every line needs an id.

        Raises:
            InputError: nothing is a statement; the file is another than before; the state was kept for other
                alerts; a file that is written to is another than before.
            ArtefactError: the state is damaged.
            DiskError: something cannot be written.
            RunLockedError: somebody watches with the same state.
        """
        state = State(self.sinks.state)
        with state.locked():
            self._state, self._stream = state, stream
            self._outcome = Outcome(state.watcher(self.alerts, self.reading.zone))
            self._position = None if stream else state.position(self.reading.where)
            self._accepted, self._known = 0, state.knows("out", self.sinks.out)
            self._out = state.written("out", self.sinks.out)
            self._rejects = state.written("rejects", self.sinks.rejects)
            if self._rejects is not None and not self._rejects.length():
                self._rejects.row(*_REJECTS)
            late = self._outcome.watcher.counts.late
            try:
                self._all(file)
                self._outcome.late = self._outcome.watcher.counts.late - late
            finally:
                for written in (self._out, self._rejects):
                    if written is not None:
                        written.close()
        return self._outcome

    def _all(self, file: BinaryIO) -> None:
        self._saved = time.monotonic()
        batch: list[Statement] = []
        with step(f"watching {self.reading.where}") as progress:
            for record in records(file, self.reading.kind, grows=self.sinks.state is not None):
                if record is not None:
                    progress.advance()
                    if self._unfinished(record):
                        self._outcome.unfinished = record.line
                        break
                    batch += self._statement(record)
                if batch and (record is None or len(batch) >= _BATCH):
                    self._feed(batch)
                    batch = []
            self._feed(batch)
        if self._position is not None and self._position.records < self._position.before:
            raise self._another("is shorter than what was read of it before")
        if not self._accepted:
            self._refuse()
        if self.sinks.state is None:
            self._told(*self._outcome.watcher.finish())
        self._keep()

    def _refuse(self) -> None:
        """Nothing that was read is a statement: an error, but where a state waits for more of the same."""
        outcome = self._outcome
        new = not self._state.kept if self._position is None else not self._position.before
        if outcome.rejected:
            message = f"none of {outcome.lines:,} lines is a statement; the first: {outcome.first}"
        elif new and not outcome.unfinished:
            message = "holds no statement"
        else:
            return
        raise InputError(
            message,
            where=self.reading.where,
            hint='a line is JSON such as {"id": "7", "at": "2024-03-05T14:03", "text": "..."}; '
            "or CSV with a header",
        )

    def _unfinished(self, record: Line) -> bool:
        """Whether a last line without a line break is half of one, which the next reading finds whole."""
        if record.whole or self.sinks.state is None:
            return False
        if self.reading.kind == "csv":
            return True
        try:
            self.reading.statement(record)
        except LineError:
            return True
        return False

    def _statement(self, record: Line) -> list[Statement]:
        """The statement of a record, none where it was read before, is empty or rejected."""
        outcome = self._outcome
        if self.reading.is_header(record):
            return []
        try:
            if self._position is not None and self._position.passed(record.raw):
                outcome.before += 1
                return []
        except InputError as error:
            raise self._another(error.message) from error
        outcome.lines += 1
        try:
            statement = self.reading.statement(record)
            if statement is None:
                outcome.empty += 1
                return []
            statement = self._checked(statement)
        except LineError as error:
            self._reject(record.line, beginning(record.raw or b"", self.reading.encoding), str(error))
            return []
        self._accepted += 1
        return [statement]

    def _another(self, message: str) -> InputError:
        hint = "files that grow are read on; another file needs another name, or a new --state"
        return InputError(message, where=self.reading.where, hint=hint)

    def _checked(self, statement: Statement) -> Statement:
        """The statement, without a sentiment that the model does not tell.

        Raises:
            LineError: it lacks what it is counted by.
        """
        if self._stream and self.sinks.state is not None and not statement.id:
            raise LineError(
                "has no id: without one a stream with a --state would be counted twice after a restart"
            )
        if statement.sentiment is None and self.label is None:
            raise LineError("has no sentiment, and no model tells it: give --run or --bundle")
        if statement.sentiment is None and not statement.text:
            raise LineError("has neither a sentiment nor a text")
        if not self.sentiments or statement.sentiment is None or statement.sentiment in self.sentiments:
            return statement
        name, unknown = statement.sentiment[:_SHOWN], self._outcome.unknown
        if not statement.text:
            raise LineError(f"has the sentiment {name!r}, which the model does not tell, and no text")
        unknown[name if name in unknown or len(unknown) < _NAMES else "…"] += 1
        return replace(statement, sentiment=None)

    def _reject(self, line: int, value: str, reason: str) -> None:
        outcome = self._outcome
        outcome.rejected += 1
        outcome.first = outcome.first or f"line {line:,} {reason}"
        # What a reason quotes differs from line to line.
        outcome.reasons[reason.partition("; ")[0] if "'" not in reason else reason.rpartition("' ")[2]] += 1
        if self._rejects is not None:
            self._rejects.row(self.reading.where, line, value, reason)

    def _feed(self, batch: Sequence[Statement]) -> None:
        if batch:
            if not self._known:
                # What a kill leaves behind the first alert is then known to be of this state.
                self._save(None)
                self._known = True
            self._told(*self._outcome.watcher.feed(self._labelled(batch)))
        if time.monotonic() - self._saved > _SAVE_S:
            self._keep()

    def _labelled(self, batch: Sequence[Statement]) -> list[Statement]:
        """The statements with what the model says of those that lack something."""
        out = list(batch)
        wants_topic = self.alerts.topic is not None
        if self.label is None:
            return out
        places = [
            i for i, s in enumerate(out)
            if s.text and (s.sentiment is None or (wants_topic and s.topic is None))
        ]  # fmt: skip
        self._outcome.cut += sum(len(out[i].text) > LONGEST_TEXT for i in places)
        told = self.label([out[i].text[:LONGEST_TEXT] for i in places]) if places else []
        for i, (sentiment, topic) in zip(places, told, strict=True):
            out[i] = replace(out[i], sentiment=out[i].sentiment or sentiment, topic=out[i].topic or topic)
        return out

    def _told(self, alerts: Sequence[Alert], wrong: Sequence[tuple[Statement, str]]) -> None:
        for statement, reason in wrong:
            self._reject(statement.line, statement.raw, reason)
        for alert in alerts:
            self._outcome.alerts.append(alert)
            if self._out is not None:
                self._out.line(alert.json())
            if self.tell is not None:
                self.tell(alert)
        if alerts:
            self._keep()

    def _keep(self) -> None:
        # Lines of which none was a statement are read again: the next call may say better what they hold.
        if self._accepted:
            self._save(self._position)

    def _save(self, position: Position | None) -> None:
        self._state.save(
            self._outcome.watcher, self.reading.where, position,
            {"out": self._out, "rejects": self._rejects},
        )  # fmt: skip
        self._saved = time.monotonic()


def watch_file(
    path: str | Path,
    alerts: Alerts,
    *,
    label: Labeller | None = None,
    sentiments: Collection[str] = (),
    sinks: Sinks | None = None,
    reading: StatementReader | None = None,
    tell: Callable[[Alert], None] | None = None,
) -> Outcome:
    """Watches a file of JSON lines or CSV to its end.

    Args:
        path: the file; by its name it is CSV (.csv, .tsv) or JSON lines.
        alerts: what is told, such as `load_task("sentiment").alerts`.
        label, sentiments, sinks, tell: as `Session`.
        reading: how lines are read; by the file's name where None.

    Raises:
        InputError: it is no file, it has the newest first, or as `Session.read`.
    """
    path = Path(path)
    if reading is None:
        reading = StatementReader(format_of(path.name), where=str(path))
    try:
        with path.open("rb") as file:
            check_text(file.peek(4096), str(path))
            if file.seekable():
                _refuse_newest_first(file.read(_BEGINNING), alerts, reading)
                file.seek(0)
            session = Session(alerts, reading, label=label, sentiments=sentiments, sinks=sinks, tell=tell)
            return session.read(file)
    except OSError as error:
        if error.filename is None or Path(error.filename) != path:
            raise
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _refuse_newest_first(beginning: bytes, alerts: Alerts, reading: StatementReader) -> None:
    """Refuses a file of whose first statements most come late, before anything of it is counted or kept."""
    first = StatementReader(reading.kind, reading.columns, reading.zone, reading.where, reading.encoding)
    watcher = Watcher(alerts, reading.zone)
    for record in islice(records(io.BytesIO(beginning), reading.kind), _FIRST):
        if record is None or first.is_header(record):
            continue
        with suppress(LineError):
            if (statement := first.statement(record)) is not None:
                watcher.feed([replace(statement, sentiment="", topic="")])
    late, counted = watcher.counts.late, watcher.counts.counted
    if late > counted:
        raise InputError(
            f"of its first {late + counted:,} statements {late:,} come after their window is over: "
            "is the newest first?",
            where=reading.where,
            hint="sort the file by time, the oldest first",
        )


def check_text(head: bytes, where: str) -> None:
    """InputError where the first bytes are no text in UTF-8."""
    if b"\0" in head or head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        raise InputError(
            "is no text in UTF-8", where=where, hint="give a file of JSON lines or CSV, unpacked, in UTF-8"
        )
