"""`kgdistill ingest resume|status|history`: jobs after the fact."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_line, print_table, say, shown
from kgdistill.cli.times import in_zone, zone_of
from kgdistill.errors import InputError, StoreDamagedError

if TYPE_CHECKING:
    from kgdistill.ingest.archive import Archive
    from kgdistill.ingest.idle import IdlePiece
    from kgdistill.ingest.job import JobReport
    from kgdistill.ingest.model import Notice
    from kgdistill.store import GraphStore, Schema

ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        envvar="KGDISTILL_ARCHIVE",
        metavar="FOLDER",
        help="Where accepted rows are kept. Where left out: beside an embedded store (STORE.archive); of a "
        "server in the working folder (kgdistill-HOST-PORT.archive).",
    ),
]
KeptOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        envvar="KGDISTILL_ARCHIVE",
        metavar="FOLDER",
        help="The store's archive, which keeps this too. Where left out: the one that the store was filled "
        "from.",
    ),
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long to wait for another job.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("resume")(resume)
    app.command("status")(status)
    app.command("history")(history)


def resume(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Finish what a stopped job left.

    That is rows that were accepted and are not in the store yet; the files are not needed.

    \b
    Examples:
      kgdistill ingest resume
      kgdistill ingest resume --store neo4j://localhost:7687 --archive shop.archive
    """
    from kgdistill.ingest.job import resume as go_on

    place = archive_at(archive, store)
    with open_or_put_aside(store, user, password_file, place.folder, wait) as opened:
        report = go_on(opened, place, wait_s=wait)
        url = opened.url
    print_report(report, url, json)


def status(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    json: JsonOption = False,
) -> None:
    """Show whether the store is up to date.

    That is whether it holds all that was accepted; and the latest event of each type.

    \b
    Examples:
      kgdistill ingest status
      kgdistill ingest status --store bolt://localhost:7687 --json
    """
    from kgdistill.ingest.job import latest_events
    from kgdistill.ingest.projection import pending

    place = archive_at(archive, store)
    with store_at(store, user, password_file) as opened:
        left = pending(opened, place)
        url, zone = opened.url, zone_of(opened)
    latest = latest_events(place)
    unfinished = place.unfinished()
    if json:
        print_json(
            {
                "store": url,
                "archive": place.folder,
                "jobs": len(place.numbers()),
                "pending": left,
                "unfinished": unfinished,
                "latest_events": latest,
            }
        )
        return
    print_table(["type", "latest event"], in_zone(list(latest.items()), zone), title=url)
    say(f"{_count(len(place.numbers()), 'job')} in {shown(place.folder)}")
    if unfinished:
        say("a job is being read, or was stopped while it was; started again, it reads from the beginning")
    if left:
        verb = "is" if len(left) == 1 else "are"
        say(f"{_count(len(left), 'job')} {verb} not in the store yet: kgdistill ingest resume")
    elif place.numbers():
        say("the store holds them all")


def history(
    store: StoreOption = DEFAULT_STORE,
    archive: ArchiveOption = None,
    sources: Annotated[bool, typer.Option("--sources", help="A line for each source.")] = False,
    json: JsonOption = False,
) -> None:
    """List every job, the refused ones too.

    When, from what, and how many rows were accepted, skipped and rejected.

    \b
    Examples:
      kgdistill ingest history
      kgdistill ingest history --sources --json
    """
    place = archive_at(archive, store)
    entries: list[dict[str, Any]] = []
    for record in place.jobs():
        entry: dict[str, Any] = {
            "job": record.number,
            "started_at": record.started_at,
            "mapping": record.mapping,
            "state": "accepted",
            "sources": len(record.sources),
            "rows": record.rows,
            "accepted": record.accepted,
            "skipped": record.skipped,
            "rejected": record.rejected,
            "message": "",
        }
        if not sources:
            entries.append(entry)
            continue
        for source in record.sources:
            kept = source.rows - source.skipped - source.rejected
            detail = {"sources": source.name, "rows": source.rows, "accepted": kept}
            entries.append(entry | detail | {"skipped": source.skipped, "rejected": source.rejected})
    for failure in place.failures():
        entries.append(
            dict.fromkeys(["sources", "rows", "accepted", "skipped", "rejected"])
            | {
                "job": failure.number,
                "started_at": failure.started_at,
                "mapping": failure.mapping,
                "state": "refused",
                "message": failure.message,
            }
        )
    entries.sort(key=lambda e: e["job"])
    if json:
        print_json(entries)
        return
    columns = ["job", "started_at", "mapping", "state", "sources", "rows", "accepted", "skipped", "rejected"]
    columns.append("message")
    zone = next((record.time_zone for record in reversed(place.jobs())), "UTC")
    rows = in_zone([[e[c] for c in columns] for e in entries], zone)
    print_table(columns, rows, title=shown(place.folder))


def open_or_put_aside(
    url: str, user: str, password_file: Path | None, archive: Path, wait_s: float
) -> GraphStore:
    """Opens a store; an embedded one that is damaged is put aside where its archive can make it anew.

    The new one is empty, and the job that follows fills it from the archive.

    Raises:
        StoreError: as `store_at`.
    """
    from kgdistill.ingest.projection import put_aside

    try:
        return store_at(url, user, password_file, existing=False, wait_s=wait_s)
    except StoreDamagedError as error:
        aside = put_aside(url) if (archive / "archive.json").is_file() else None
        if aside is None:
            raise
        say(f"{error.message}; it is put aside as {shown(aside)} and made anew from {shown(archive)}")
        return store_at(url, user, password_file, existing=False, wait_s=wait_s)


def say_if_unkept(archive: Path | None, url: str) -> None:
    """Says where no archive keeps what was just written."""
    if archive is None:
        say(f"no archive keeps this: {url} was filled from none that is there, and rebuilding it loses it")


def archive_at(path: Path | None, store: str) -> Archive:
    """The archive that the options name, which must be there.

    Raises:
        InputError: there is none.
    """
    from kgdistill.ingest.archive import Archive, default_archive

    place = path or default_archive(store)
    if not (place / "archive.json").is_file():
        raise InputError(
            "there is no archive here", where=str(place), hint="name it with --archive; a first job makes one"
        )
    return Archive(place)


def schema_of_job(path: Path | None, archive: Path | None, store: str) -> Schema:
    """The schema that `--schema` names; else that of former jobs, with what the project's own adds."""
    from kgdistill.ingest.archive import default_archive, job_schema
    from kgdistill.store import load_schema

    own = load_schema(path)
    return own if path is not None else job_schema(archive or default_archive(store), own)


def print_report(report: JobReport, url: str, json: bool, schema: Schema | None = None) -> None:
    """Says what a job did; what it read is told by the schema."""
    written, removed = report.applied.written, report.applied.removed
    if json:
        reasons = [{"reason": r, "column": c, "rows": n} for r, c, n in report.reasons]
        warnings = [dataclasses.asdict(notice) for notice in report.warnings]
        idle = [dataclasses.asdict(piece) for piece in report.idle]
        values = {"store": url, **vars(report), "reasons": reasons, "warnings": warnings, "idle": idle}
        del values["applied"]
        done = {"jobs_applied": report.applied.jobs, "merged": report.applied.merged}
        print_json(values | {"written": written, "removed": removed, **done})
        return
    print_warnings(report.warnings)
    say_encodings(report.encodings)
    if report.state == "unchanged":
        seen = f"{_as_they_were(report.unchanged)}, and " if report.unchanged else ""
        say(f"nothing to do: {seen}{url} holds all that was accepted")
        return
    rows = [[name, count, removed.get(name, 0)] for name, count in written.items()]
    print_table(["type", "written", "removed"], rows, title=url)
    if report.reasons:
        print()
        print_titled("rejected", ["reason", "column", "rows"], [list(r) for r in report.reasons])
    seconds = report.read_seconds + report.apply_seconds
    repeated = _kept(report.repeated, schema) if schema is not None else []
    what = f"{report.accepted:,} rows of {_count(len(report.read), 'source')}"
    if not report.read and report.job is not None:
        what = "what other aliases change"
    elif not report.read:
        what = f"what {_count(len(report.applied.jobs), 'earlier job')} had accepted"
    say(
        f"{what} in {seconds:.1f} s into {url}"
        + (f"; {_as_they_were(report.unchanged)}" if report.unchanged else "")
        + (f"; {report.late:,} events came late" if report.late else "")
        + (f"; {report.gone:,} events of former versions are gone" if report.gone else "")
        + "".join(f"; of {names}, which rows describe differently, {kept}" for kept, names in repeated)
        + (f"; {report.skipped:,} rows make nothing" if report.skipped else "")
    )
    say_eventless(report.eventless, report.idle)
    for label, merged in report.applied.merged.items():
        say(
            f"{label}: {_count(merged.spellings, 'other spelling')} in {_count(merged.rows, 'row')} "
            f"count for {_count(merged.names, 'name')}, by the aliases"
        )
    if report.rejected:
        kept = f"; they are in {shown(report.rejects_path)}" if report.rejects_path else ""
        say(f"{report.rejected:,} of {report.rows:,} rows did not fit and were left out{kept}")


def say_eventless(counts: Mapping[str, int], idle: Iterable[IdlePiece]) -> None:
    """Says of each source that makes events how many of its rows make none, and what makes nothing at all."""
    for name, rows in counts.items():
        why = "a condition does not hold, or what an event needs is empty"
        say(f"{name}: {_count(rows, 'row')} without an event: {why}")
    for piece in idle:
        say(str(piece))


def _kept(repeated: Iterable[str], schema: Schema) -> list[tuple[str, str]]:
    """Which of several rows counts, and of which types, as `kgdistill.ingest.fold` has it."""
    edges = {"-".join(key): schema.relationship(key) for key in schema.edges()}
    found: dict[str, list[str]] = {}
    for name in repeated:
        rel, kept = edges.get(name), "the last counts"
        if rel is not None and rel.aggregated:
            kept = "the last version of each event counts"
        elif rel is not None and rel.time is not None:
            later = [name for name, prop in rel.properties.items() if prop.cumulative]
            kept = "the first by time counts" + (f", but the last {' and '.join(later)}" if later else "")
        found.setdefault(kept, []).append(name)
    return [(kept, ", ".join(names)) for kept, names in found.items()]


def print_warnings(notices: Sequence[Notice]) -> None:
    """Says what is odd, a line each."""
    for notice in notices:
        places = [notice.source]
        places += [f"line {notice.line:,}"] if notice.line else []
        places += [f"column {notice.column}"] if notice.column else []
        value = f"{notice.value[:60]!r} " if notice.value else ""
        more = f" ({notice.rows:,} rows in all)" if notice.rows > 1 else ""
        say(f"warning: {', '.join(places)}: {value}{notice.reason}{more}")


def say_encodings(encodings: Mapping[str, str]) -> None:
    """Says which sources were read in another encoding than UTF-8."""
    for encoding in dict.fromkeys(encodings.values()):
        names = [name for name, other in encodings.items() if other == encoding]
        more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
        say(f"read as {encoding}: {', '.join(names[:10])}{more}")


def print_titled(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table among several: where it goes to no terminal, its title is a line of its own."""
    if not sys.stdout.isatty():
        print_line(f"{title}:")
    print_table(columns, rows, title=title)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _as_they_were(number: int) -> str:
    return f"{_count(number, 'source')} {'is as it was' if number == 1 else 'are as they were'}"
