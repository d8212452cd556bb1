"""What the commands that ask a bundle share: which bundle, which items, and how an answer is shown."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from kgdistill.cli.options import store_at
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError
from kgdistill.moment import moment
from kgdistill.nearest import near_or_all, nearest
from kgdistill.wording import event_name

if TYPE_CHECKING:
    from kgdistill.run.base import RunBase
    from kgdistill.serve.answer import Answer
    from kgdistill.serve.bundle import Bundle
    from kgdistill.serve.past import Past
    from kgdistill.store import GraphStore

_LONGEST_ID = 200

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle; nothing else is needed.")
]
RunBundleOption = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="The folder of a run, whose bundle is asked.")
]
BundleTaskOption = Annotated[
    str | None,
    typer.Option("--task", metavar="NAME|FILE", help="Refuse a bundle that was made for another task."),
]
UserIdOption = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="A user of the run's snapshot; needs --run.")
]
HistoryOption = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="ID,ID,...",
        help="Products bought, by id; of a bundle that ranks what is bought again every purchase: ID@TIME.",
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="When is asked what is bought again: a time in UTC, or now; left out: right after the latest "
        "purchase that is known.",
    ),
]
PurchasesOption = Annotated[
    Path | None,
    typer.Option(
        "--purchases",
        metavar="FILE|-",
        help='Every purchase with its time, in JSON lines: {"product": ID, "at": TIME}.',
    ),
]
HistoryStoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="KGDISTILL_STORE",
        metavar="URL",
        help="What --user bought, as this store knows it now; as the run's folder does where left out.",
    ),
]
EventOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="TYPE=ID,ID,...",
        help="Products of a further event that the task weighs; repeated.",
    ),
]
CountOption = Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only items of which this holds; repeated for another property, or another value of the same. "
        "A range of numbers or times is LEAST..MOST, either left out; nothing behind the = asks for those "
        "without a value.",
    ),
]


class ForWhom(NamedTuple):
    """For whom an answer is: what was done, what not to recommend beside it, by whom, and how it is known."""

    history: Past
    exclude: list[str]
    rests_on: str
    notes: list[str]
    user: str = ""


def history_keys(
    user: str | None, history: str | None, run: bool, events: Sequence[str] | None = None
) -> list[str]:
    """The keys of --history; none where --user says whose it is.

    Raises:
        InputError: a user beside --history or --event, a user without a run, or an id is none.
    """
    if user is not None and not run:
        raise InputError("a bundle knows no users", where="--user", hint="give --history, or --run")
    for option, given in (("--history", history is not None), ("--event", bool(events))):
        if user is not None and given:
            raise InputError(f"give one of: --user, {option}")
    if user is not None:
        _check_id(user, "--user")
    return _ids(history, "--history") if history is not None else []


def done_before(bundle: Bundle) -> str:
    """What a history is called: what was bought, viewed or whatever the bundle's task asks for."""
    return f"what was {event_name(bundle.event, 'en')} before"


def for_whom(
    asked: Asked,
    keys: list[str],
    events: Sequence[str] | None,
    user: str | None,
    store: tuple[str | None, str, Path | None],
) -> ForWhom:
    """For whom an answer is, by what --history, --event or --user say.

    Args:
        asked: the bundle that reads a history, and its run.
        keys: of --history.
        events: TYPE=ID,ID,… each.
        user: whose history the store at `store` (its URL, or the run's folder; user, password file) says.

    Raises:
        InputError: as `past`, or there is no such user.
        StoreError: from the store.
    """
    if user is not None and asked.run is not None and asked.bundle.history is not None:
        url, name, password_file = store
        with store_at(url, name, password_file) if url is not None else nullcontext() as graph:
            return of_user(asked.run, asked.bundle, user, graph)
    told = "what was done before" if events else done_before(asked.bundle)
    return ForWhom(past(asked.bundle, keys, events), [], told, [])


def of_user(run: RunBase, bundle: Bundle, user: str, store: GraphStore | None) -> ForWhom:
    """All purchases of a user that the store, or else the run's folder, knows by now.

    Raises:
        InputError: there is no such user.
    """
    from kgdistill.serve.past import day_text
    from kgdistill.tasks.histories import gone

    place = "the run's folder" if store is None else store.url
    label = run.config.discovery.candidates
    left = gone(store, label, bundle.keys) if store is not None else []
    user = _by_salt(run, user, store)
    pasts = run.pasts(bundle.keys, store, user=user)
    # What weighs nothing was left out when the run learned: an answer does not rest on it.
    events = bundle.events
    pasts = replace(pasts, others={name: of for name, of in pasts.others.items() if events.get(name)})
    known, further = pasts.known.get(user), pasts.further(user)
    if known is None and not further:
        _check_user(run, user, store)
        return ForWhom([], left, "", [f"{place} knows no purchase of the user {user}"])
    items, out = ([], left) if known is None else (known.items, [*known.beside, *left])
    if not items and not further:
        return ForWhom([], out, "", [f"the run's models know nothing that {user} bought"])
    counts = [(done_before(bundle), items), *((event_name(n, "en"), keys) for n, keys in further.items())]
    told = "; ".join(f"{what}: {_products(keys)}" for what, keys in counts if keys)
    latest = max(of[user].until for of in (pasts.known, *pasts.others.values()) if user in of)
    told += f", the latest event on {day_text(latest, bundle.zone)}, known from {place}"
    return ForWhom(pasts.of(user), out, told, [], user)


def _by_salt(run: RunBase, user: str, store: GraphStore | None) -> str:
    """The id of a user, who may be asked for by what was hashed."""
    from kgdistill.cli.hashed import by_salt, of_store

    label = run.config.discovery.anchors
    if store is not None and label == "User":
        return of_store(user, store)
    return by_salt(user, lambda ids: ids & {*run.snapshot.keys(label).tolist()})


def _check_user(run: RunBase, user: str, store: GraphStore | None) -> None:
    """Refuses a user whom the store, or without one the run's folder, lacks: InputError with keys near it."""
    from kgdistill.explore.explanations import check_known, of_hashes

    protocol, schema = run.config.discovery, run.snapshot.schema
    label = protocol.anchors
    if store is not None:
        key = schema.node(label).key
        check_known(store, label, key, {user}, store.read_nodes(label, [])[key].to_pylist())
        return
    keys = run.snapshot.keys(label).tolist()
    if user not in keys:
        near = get_close_matches(user, sorted(keys), n=3, cutoff=0.5)
        hashed = of_hashes(user, keys)
        hint = f"{hashed}; " if hashed else f"near it are: {', '.join(near)}; " if near else ""
        hint += f"of a {label} newer than the run ask the store: --store URL"
        raise InputError(f"the run's folder knows no {label} with the id {user!r}", where="--user", hint=hint)


def at_moment(bundle: Bundle, whom: ForWhom, at: str | None) -> ForWhom:
    """The same, asked at a moment; what it rests on says which, where it is known.

    Args:
        bundle: that is asked.
        whom: for whom.
        at: of --at: a time, or `now`; None: as `Timed`.

    Raises:
        InputError: it is no time, or the bundle does not rank what is bought again.
    """
    from kgdistill.ranking.habits import Timed
    from kgdistill.serve.past import moment_text

    if bundle.repeats is None:
        if at is not None:
            hint = "leave it out, or ask a bundle of a task with repeats: basket"
            raise InputError("the answers of this bundle have no moment", where="--at", hint=hint)
        return whom
    given = whom.history if isinstance(whom.history, Timed) else Timed(list(whom.history))  # type: ignore[arg-type]
    if at is not None:
        asked = datetime.now(timezone.utc) if at == "now" else moment(at, "--at")
        given = replace(given, at=asked)
    said = f", as of {moment_text(given.at, bundle.zone)}" if isinstance(given.at, datetime) else ""
    return whom._replace(history=given, rests_on=whom.rests_on + said)


def _products(keys: Sequence[str]) -> str:
    return f"{len(keys):,} product{'s' if len(keys) > 1 else ''}"


def past(bundle: Bundle, bought: list[str], events: Sequence[str] | None) -> Past:
    """What --history and --event say was done.

    Args:
        bundle: says which further events it reads.
        bought: the ids of --history.
        events: TYPE=ID,ID,… each.

    Raises:
        InputError: an event that the bundle does not read, or no such text.
    """
    classes = bundle.classifier.events if bundle.classifier is not None else []
    own, *further = classes or [bundle.event, *bundle.events]
    if not events:
        return [_with_time(key) for key in bought] if bundle.repeats is not None else bought
    found: dict[str, list[str]] = {}
    for told in events:
        name, equals, ids = told.partition("=")
        name = name.strip()
        if not equals or not ids.strip():
            raise InputError(
                f"{told[:60]!r} is no TYPE=ID,ID,...", where="--event", hint="--event VIEWED=1,2"
            )
        if name not in further:
            known = ", ".join(further) or "none: its task weighs no further events"
            raise InputError(
                f"the bundle reads no event {name[:40]!r} beside its own",
                where="--event",
                hint=f"{nearest(name, further)}known: {known}",
            )
        found.setdefault(name, []).extend(_ids(ids, "--event"))
    return {own: bought, **found}


def _with_time(text: str) -> tuple[str, str]:
    key, at, time = text.rpartition("@")
    if not at:
        hint = "--history 20000@2024-03-01,20000@2024-03-08, or --purchases FILE"
        raise InputError(f"{text[:60]!r} has no time, and this bundle needs it", where="--history", hint=hint)
    _check_id(key, "--history")
    moment(time, "--history")
    return key, time


def purchases_in(file: Path) -> list[tuple[str, str]]:
    """Purchases of JSON lines, {"product": ID, "at": TIME} each; - is what comes in.

    Raises:
        InputError: the file cannot be read, or a line is no such thing.
    """
    option = f"--purchases {file}"
    found = []
    for n, line in lines_in(file, option):
        try:
            row = json.loads(line)
            key, at = str(row["product"]), str(row["at"])
        except (ValueError, TypeError, KeyError) as error:
            hint = '{"product": "20000", "at": "2024-03-01T18:00"}'
            raise InputError(f"line {n} is no product with its time", where=option, hint=hint) from error
        moment(at, f"{option}, line {n}")
        found.append((key, at))
    return found


def lines_in(file: Path, where: str) -> list[tuple[int, str]]:
    """The lines of a file that hold something, with their numbers; - is what comes in.

    Raises:
        InputError: the file cannot be read, or is no text in UTF-8.
    """
    incoming = str(file) == "-"
    if incoming and sys.stdin is None:
        raise InputError("standard input is closed", where=where, hint="give it something: < FILE")
    try:
        text = (sys.stdin.buffer.read() if incoming else file.read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is no text in UTF-8: {error}", where=where, hint="convert it first") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error}", where=where) from error
    lines = enumerate(text.split("\n"), start=1)
    return [(n, line.removesuffix("\r")) for n, line in lines if line.strip()]


def _ids(text: str, option: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    for key in keys:
        _check_id(key, option)
    return keys


def _check_id(key: str, option: str) -> None:
    """Refuses what no id can be."""
    if not key.strip():
        raise InputError("an id is empty", where=option)
    if len(key) > _LONGEST_ID:
        raise InputError(f"an id is {len(key)} characters long; {_LONGEST_ID} are the most", where=option)
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in key):
        raise InputError("an id holds control characters", where=option)


class Asked(NamedTuple):
    """A bundle, and the run that it is of, if one was named."""

    bundle: Bundle
    run: RunBase | None


def ask(bundle: Path | None, run: Path | None, task: str | None, command: str) -> Asked:
    """Opens the bundle that was named.

    Raises:
        InputError: none or two were named, or it was made for another task.
        ArtefactError: there is none, or it is damaged.
    """
    from kgdistill.serve.bundle import load_bundle
    from kgdistill.serve.joined import Joined, bundles_in, runs_in
    from kgdistill.tasks.spec import load_task

    if (run is None) == (bundle is None):
        raise InputError("give one of: --run, --bundle", hint=f"kgdistill {command} --help")
    if run is not None and not (run / "bundle").exists() and (run / "items.arrow").is_file():
        raise InputError("is a bundle", where=f"--run {run}", hint=f"--bundle {run}")
    if bundle is not None and is_run(bundle):
        raise InputError("is a run", where=f"--bundle {bundle}", hint=f"--run {bundle}")
    place = bundle if bundle is not None else Path(run or "") / "bundle"
    if (names := bundles_in(place)) is not None:
        # A task's file need not have come along with its bundle.
        wanted = task if task is None or task in names else load_task(task).name
        name = Joined(place, names).of(command.replace("-", "_"), wanted)
        if run is None:
            return Asked(load_bundle(place / names[name]), None)
        run = run / (runs_in(run) or {})[name]
    opened = None
    if run is not None:
        from kgdistill.run.base import RunBase

        opened = RunBase.open(run)
        opened.need("bundle")
    folder = bundle if bundle is not None else Path(run or "") / "bundle"
    loaded = load_bundle(folder)
    if task is not None:
        held = loaded.task.get("name")
        wanted = task if task == held else load_task(task).name
        if wanted != held:
            raise InputError(
                f"was made for {held!r}, not for {wanted!r}", where=str(folder), hint="name another bundle"
            )
    return Asked(loaded, opened)


def asked_at(folder: Path, command: str) -> Asked:
    """The bundle at a folder, or of the run that is there; of several the one that answers `command`.

    Raises:
        InputError, ArtefactError: as `ask`.
    """
    a_run = is_run(folder)
    return ask(None if a_run else folder, folder if a_run else None, None, command)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, or that of several, be it without a bundle yet, and no bundle itself."""
    from kgdistill.serve.joined import BUNDLES, RUNS

    inside = (RUNS, "bundle/config.json", f"bundle/{BUNDLES}", "graph/stage.json")
    return any((folder / name).is_file() for name in inside)


def conditions(bundle: Bundle, where: Sequence[str] | None) -> tuple[dict[str, Any], list[str]]:
    """A filter, and what is to be said of it: values that no item has.

    Raises:
        InputError: a condition is no KEY=VALUE, of a property that the bundle lacks, or of another kind.
    """
    found: dict[str, list[Any]] = {}
    for condition in where or ():
        name, equals, text = condition.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"{condition[:60]!r} is no KEY=VALUE", where="--where", hint="--where brand=Acme"
            )
        found.setdefault(name.strip(), []).append(bundle.items.parsed(name.strip(), text.strip()))
    notes = []
    for name, values in found.items():
        for value in values:
            if not bundle.items.mask({name: value}).any():
                told = near_or_all(value, bundle.items.values(name)) if isinstance(value, str) else ""
                notes.append(f"no item has {name} {value!r}{'; ' + told if told else ''}")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}, notes


def show(
    bundle: Bundle,
    answer: Answer,
    notes: list[str],
    *,
    rests_on: str,
    columns: Sequence[str],
    nothing: str,
    json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes an answer: JSON, with whatever `more` there is, or a table with what it rests on."""
    if json:
        print_json(
            {
                "basis": answer.basis, "rests_on": rests_on, "score_is": bundle.score_is, "notes": notes,
                "unknown": answer.unknown, "new": answer.new, **(more or {}),
                "hits": [hit._asdict() for hit in answer],
            }
        )  # fmt: skip
        return
    for note in notes:
        say(note)
    if not answer:
        say(nothing)
        return
    print_table(columns, [[getattr(hit, name) for name in columns] for hit in answer])
    say(f"rests on {rests_on}")
    say("a score is no probability, and is compared within this list alone")
