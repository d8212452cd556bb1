"""`kgdistill watch`: surges of negative statements in a file or a stream."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgdistill.cli.asking import BundleOption, RunBundleOption, ask
from kgdistill.cli.options import JsonOption
from kgdistill.cli.output import print_line, say, shown
from kgdistill.errors import InputError
from kgdistill.moment import zone_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from kgdistill.tasks.alerts import Alerts
    from kgdistill.watch.lines import Format
    from kgdistill.watch.session import Outcome
    from kgdistill.watch.watcher import Alert, Labeller


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("watch")(watch)


def watch(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines or CSV; - is standard input.")],
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    task: Annotated[
        str, typer.Option("--task", metavar="NAME|FILE", help="Declares the alerts, where no bundle does.")
    ] = "sentiment",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", metavar="FILE", help="Go on from here, and keep it: nothing is counted twice."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write alerts here as JSON lines, each once."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE.html", help="Draw the curves and alerts.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE.csv", help="Write the lines that do not fit.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="KIND", help="jsonl or csv; else by the file's name.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field", metavar="NAME=KEY", help="Where id, at, text, topic or sentiment stands; repeated."
        ),
    ] = None,
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="Of times without one, and of days.")
    ] = "UTC",
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Of the file, such as gb18030.")
    ] = "utf-8",
    bad: Annotated[
        list[str] | None,
        typer.Option(
            "--bad",
            metavar="CLASS",
            help="The sentiment that counts; repeated: each does, be it negative or 悪い.",
        ),
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", metavar="TIME", help="Counted together: 15min, 1h, 1d.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="TIME", help="Half as much weight after: 7d, 28d.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="TIME", help="For late statements: 30min, 2h.")
    ] = None,
    false_alarms: Annotated[
        float | None, typer.Option("--false-alarms", metavar="N", help="Allowed a month, over all topics.")
    ] = None,
    min_count: Annotated[
        int | None, typer.Option("--min-count", metavar="N", help="Fewest bad statements of a surge.")
    ] = None,
    least: Annotated[
        float | None,
        typer.Option("--least", metavar="X", help="Times the usual odds that a surge has at least."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Tell surges of negative statements by topic, a line for each that starts or ends.

    Lines hold at (a time), topic, sentiment and id; what they lack of sentiment and topic a bundle tells from
    their text. A window is judged when a later statement closes it.

    \b
    Examples:
      kgdistill watch statements.jsonl --page alerts.html
      kgdistill watch reviews.csv --run runs/sentiment --field at=date --state watch.json
      tail -F statements.jsonl | kgdistill watch - --state watch.json --json
    """
    from kgdistill.watch.session import Sinks, check_text, watch_file
    from kgdistill.watch.statements import StatementReader

    bad = list(dict.fromkeys(bad or ()))
    changed = {
        "bad": bad[0] if bad else None, "also": tuple(bad[1:]) if bad else None,
        "window": window, "memory": memory, "wait": wait, "false_alarms": false_alarms,
        "min_count": min_count, "least": least,
    }  # fmt: skip
    _apart(file, {"--state": state, "--out": out, "--rejects": rejects, "--page": page})
    if page is not None:
        from kgdistill.watch.page import write_page
    alerts, label, sentiments = _declared(
        bundle, run, task, {k: v for k, v in changed.items() if v is not None}
    )
    where = "-" if file == "-" else shown(file)
    reading = StatementReader(_kind(format, file), _columns(field), _zone(zone), where, encoding)
    sinks = Sinks(state, out, rejects)

    def tell(alert: Alert) -> None:
        if json:
            print(alert.json())
        else:
            print_line(alert.sentence(reading.zone))
        sys.stdout.flush()

    if file == "-":
        from kgdistill.watch.session import Session

        check_text(sys.stdin.buffer.peek(4096) if hasattr(sys.stdin.buffer, "peek") else b"", where)
        outcome = Session(alerts, reading, label=label, sentiments=sentiments, sinks=sinks, tell=tell).read(
            sys.stdin.buffer, stream=True
        )
    else:
        outcome = watch_file(
            file, alerts, label=label, sentiments=sentiments, sinks=sinks, reading=reading, tell=tell
        )
    _summarise(outcome, alerts, rejects)
    _say_unknown(outcome, sentiments)
    # A stream with a state may have been sent again.
    if 2 * outcome.late > outcome.lines and (file != "-" or state is None):
        say("more than half came late: sort them by time, the oldest first")
    if page is not None:
        say(f"page  {shown(write_page(outcome.watcher, page, where))}")


def _apart(file: str, written: dict[str, Path | None]) -> None:
    """InputError where a file that is written to is the input or another one that is."""
    places = {} if file == "-" else {_place(file): "FILE"}
    with contextlib.suppress(OSError, ValueError):
        if file == "-" and stat.S_ISREG((found := os.fstat(sys.stdin.fileno())).st_mode):
            places[found.st_dev, found.st_ino] = "standard input"
    for option, path in written.items():
        if path is None:
            continue
        beside = [path.with_name(path.name + ".lock"), path.with_name(path.name + ".partial")]
        for one in [path, *(beside if option == "--state" else ())]:
            other = places.setdefault(_place(one), option)
            if other != option:
                raise InputError(
                    f"{option} would write over {other}", where=shown(one), hint="name another file"
                )


def _place(path: str | Path) -> object:
    """What is the same for all names of a file."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _declared(
    bundle: Path | None, run: Path | None, task: str, changed: dict[str, Any]
) -> tuple[Alerts, Labeller | None, tuple[str, ...]]:
    """What is told, as declared and as the options change it; what labels texts, and by which sentiments."""
    from kgdistill.tasks.spec import ClassifySpec, load_task, parse_task
    from kgdistill.watch.label import labeller

    if bundle is None and run is None:
        spec, asked = load_task(task), None
    else:
        asked = ask(bundle, run, None, "watch")
        declared = asked.bundle.task
        spec = parse_task(declared) if declared.get("alerts") else load_task(task)
        if not declared.get("alerts"):
            say(f"the bundle declares no alerts: those of the task {spec.name!r} are told")
    alerts = spec.alerts if isinstance(spec, ClassifySpec) else None
    if alerts is None:
        raise InputError(f"the task {spec.name!r} declares no alerts", hint="add `alerts:` to its file")
    alerts = alerts.changed(changed)
    if asked is None:
        return alerts, None, ()
    label = labeller(asked.bundle, alerts, shown(bundle if bundle is not None else str(run)))
    told = asked.bundle.classifier
    return alerts, label, told.targets[alerts.target].names if told is not None else ()


def _kind(name: str | None, file: str) -> Format:
    from kgdistill.watch.lines import format_of

    if name not in (None, "jsonl", "csv"):
        raise InputError(f"{name!r} is no format", where="--format", hint="jsonl or csv")
    if name is None:
        return format_of(file)
    return "csv" if name == "csv" else "jsonl"


def _columns(fields: list[str] | None) -> dict[str, str]:
    columns = {}
    for text in fields or ():
        name, equals, key = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{text[:60]!r} is no NAME=KEY", where="--field", hint="--field at=created_at")
        columns[name.strip()] = key.strip()
    return columns


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    try:
        return zone_named(name)
    except ValueError as error:
        raise InputError(
            f"there is no time zone {name!r}", where="--zone", hint="such as Asia/Shanghai"
        ) from error


def _summarise(outcome: Outcome, alerts: Alerts, rejects: Path | None) -> None:
    """What became of every line, on standard error."""
    from kgdistill.watch.watcher import in_zone

    watcher, counts = outcome.watcher, outcome.watcher.counts
    if outcome.before:
        say(f"{outcome.before:,} lines had been read before")
    say(
        f"{outcome.lines:,} lines read; {counts.counted:,} statements are counted, {counts.negatives:,} of "
        f"them {alerts.said}, in {len(watcher.topics):,} topics and {counts.windows:,} windows"
    )
    if outcome.rejected:
        see = f"; they are in {shown(rejects)}" if rejects is not None else "; --rejects FILE.csv shows all"
        say(f"{outcome.rejected:,} lines did not fit, the first: {outcome.first}{see}")
        for reason, count in outcome.reasons.most_common(5):
            say(f"  {count:,} {reason}")
    for count, words in (
        (outcome.empty, "lines were empty"),
        (
            counts.late,
            "statements came after their window was over, or had been read before, and are not counted",
        ),
        (counts.repeated, "statements had the id of another one"),
        (counts.no_topic, "statements have no topic"),
        (outcome.cut, "texts were too long to be read to their end"),
        (len(watcher.clock.held), "statements are held: their time is far from all others so far"),
    ):
        if count:
            say(f"{count:,} {words}")
    if counts.counted and not set(alerts.every).intersection(watcher.sentiments):
        seen = ", ".join(name for name, _ in watcher.sentiments.most_common(5))
        say(f"no statement is {alerts.said!r}; there are: {seen} (--bad says which counts)")
    if outcome.unfinished:
        say(f"line {outcome.unfinished:,} is not finished; from it on, all is left for the next time")
    if watcher.open_since is not None:
        since = in_zone(watcher.open_since, watcher.clock.zone)
        say(f"windows are open from {since} {watcher.clock.zone} on; later statements close them")
    if watcher.going:
        say(f"still going on: {', '.join(watcher.going)}")


def _say_unknown(outcome: Outcome, sentiments: Sequence[str]) -> None:
    """What lines call their sentiment, where the model does not know it and told them itself."""
    unknown = outcome.unknown
    if unknown:
        names = ", ".join(name for name, _ in unknown.most_common(5))
        say(
            f"{unknown.total():,} statements have a sentiment that the model does not tell ({names}): "
            f"it told theirs from their text; it tells {', '.join(sentiments)[:200]}"
        )
