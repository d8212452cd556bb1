"""What a restart goes on from: the watcher, how far files were read, how much of what was written counts."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator
from datetime import timezone, tzinfo
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kgdistill.errors import ArtefactError, DiskError, InputError, RunLockedError
from kgdistill.private import make_private
from kgdistill.tasks.alerts import Alerts
from kgdistill.watch.kept import check_kept
from kgdistill.watch.watcher import Watcher

_FORMAT = 2


class Position:
    """How many records of a file were read, and a digest of them, so that another file is told from it.

    Args:
        records: read before.
        digest: of them.
    """

    def __init__(self, records: int = 0, digest: str = "") -> None:
        self.before, self._wanted = records, digest
        self.records = 0
        self._hash = hashlib.sha256()

    def passed(self, raw: bytes | None) -> bool:
        """Counts a record; True where it was read before.

        Raises:
            InputError: the file does not begin with what was read before.
        """
        self.records += 1
        self._hash.update((raw or b"") + b"\n")
        if self.records == self.before and self._hash.hexdigest() != self._wanted:
            raise InputError("does not begin with the lines that were read before")
        return self.records <= self.before

    def kept(self) -> list[Any]:
        """As JSON holds it: what was read, at least what was read before."""
        if self.records < self.before:
            return [self.before, self._wanted]
        return [self.records, self._hash.hexdigest()]


class Written:
    """A file that lines are added to; after a restart it is cut to what the state knows of.

    Args:
        file: made where it is missing.
        length: bytes that count; None: a new file in place of a former one.

    Raises:
        DiskError: it cannot be written.
        InputError: it is shorter than `length`: another file.
    """

    def __init__(self, file: Path, length: int | None) -> None:
        self.file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if length is None or not file.exists():
                file.write_bytes(b"")
                make_private(file)
            elif file.stat().st_size < length:
                hint = "move it away, or start with a new --state"
                raise InputError("is shorter than what was written there before", where=str(file), hint=hint)
            else:
                os.truncate(file, length)
            self._out = file.open("ab")
        except OSError as error:
            raise DiskError(f"cannot be written: {error.strerror or error}", where=str(file)) from error

    def line(self, text: str) -> None:
        """Adds a line."""
        self._out.write(text.encode() + b"\n")

    def row(self, *cells: object) -> None:
        """Adds a line of CSV."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(cells)
        self.line(buffer.getvalue())

    def length(self) -> int:
        """Bytes that are safely on disk."""
        self._out.flush()
        return self._out.tell()

    def close(self) -> None:
        """Closes the file."""
        self._out.close()


class State:
    """A state file.

    Attributes:
        file: where it is kept; None: nowhere.
        kept: what was there, within `locked`; empty at the first start.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.kept: dict[str, Any] = {}

    def watcher(self, alerts: Alerts, zone: tzinfo = timezone.utc) -> Watcher:
        """The watcher to go on with.

        Raises:
            InputError: it watched for something else.
            ArtefactError: the file is damaged.
        """
        if not self.kept:
            return Watcher(alerts, zone)
        try:
            watcher = Watcher.restored(self.kept["watcher"], zone)
            counted = self.kept["watcher"].get("zone", "UTC")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.file, str(error)) from error
        # Windows of days are other ones in another zone; shorter ones are the same.
        zones = ("days of", counted, str(zone) if watcher.clock.of_days else counted)
        for name, value, asked in (
            *((name, value, getattr(alerts, name)) for name, value in watcher.alerts.model_dump().items()),
            zones,
        ):
            if value != asked:
                raise InputError(
                    f"was kept for {name} {value}, not {asked}",
                    where=str(self.file),
                    hint="ask for the same, or name a new file with --state",
                )
        return watcher

    def position(self, name: str) -> Position:
        """How far a file was read."""
        records, digest = self.kept.get("files", {}).get(name, (0, ""))
        return Position(records, digest)

    def knows(self, key: str, file: Path | None) -> bool:
        """Whether it was kept with this file; True where nothing is kept or written."""
        return self.file is None or file is None or self._length(key, file) is not None

    def written(self, key: str, file: Path | None) -> Written | None:
        """The file that lines are added to, cut to what counts; None where none is wanted.

        Raises:
            InputError: alerts stand there that another watch wrote.
        """
        if file is None:
            return None
        if key == "out" and not self.knows(key, file) and file.is_file() and file.stat().st_size:
            raise InputError(
                "holds lines that this state did not write",
                where=str(file),
                hint="move it away, or name another file with --out: each --state has its own",
            )
        return Written(file, self._length(key, file))

    def _length(self, key: str, file: Path) -> int | None:
        length: int | None = self.kept.get("written", {}).get(f"{key}:{file.resolve()}")
        return length

    def save(
        self, watcher: Watcher, name: str, position: Position | None, out: dict[str, Written | None]
    ) -> None:
        """Writes everything, whole or not at all; what was written before it counts from now on.

        Raises:
            DiskError: it cannot be written; the former stays.
        """
        lengths = {f"{k}:{w.file.resolve()}": w.length() for k, w in out.items() if w is not None}
        if self.file is None:
            return
        files = dict(self.kept.get("files", {}))
        if position is not None:
            files[name] = position.kept()
        written = {**self.kept.get("written", {}), **lengths}
        self.kept = {"format": _FORMAT, "files": files, "written": written, "watcher": watcher.kept()}
        partial = self.file.with_name(self.file.name + ".partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump(self.kept, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            make_private(partial, self.file)
            os.replace(partial, self.file)
        except OSError as error:
            raise DiskError(f"cannot be written: {error.strerror or error}", where=str(self.file)) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Reads it, and keeps others from watching with the same file meanwhile.

        Raises:
            ArtefactError: the file is damaged.
            RunLockedError: somebody does.
            DiskError: the lock cannot be made.
        """
        if self.file is None:
            yield
            return
        lock = FileLock(f"{self.file}.lock", timeout=0)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise RunLockedError(
                "another process is watching with this state", where=str(self.file)
            ) from error
        except OSError as error:
            raise DiskError(f"cannot be written: {error.strerror or error}", where=str(self.file)) from error
        try:
            if self.file.exists():
                self.kept = _read(self.file)
            yield
        finally:
            lock.release()


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        kept = json.loads(text)
        if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
            another = isinstance(kept, dict) and isinstance(kept.get("format"), int)
            raise ValueError("another version wrote it" if another else "it holds something else")
        check_kept(text)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    return kept


def _damaged(file: Path | None, why: str) -> ArtefactError:
    return ArtefactError(
        f"is no state of a watch: {why[:200]}", where=str(file), hint="name a new file with --state"
    )
