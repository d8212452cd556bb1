"""`kgdistill why`: why the student ranks an item where it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli.asking import (
    BundleOption,
    BundleTaskOption,
    EventOption,
    ForWhom,
    HistoryOption,
    HistoryStoreOption,
    RunBundleOption,
    UserIdOption,
    ask,
    for_whom,
    history_keys,
)
from kgdistill.cli.options import JsonOption, PasswordFileOption, UserOption
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError
from kgdistill.wording import event_name

if TYPE_CHECKING:
    from kgdistill.serve.why import Why


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("why")(why)


def why(
    item: Annotated[str, typer.Argument(metavar="ID", help="The id of what is recommended, or is not.")],
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    user_id: UserIdOption = None,
    history: HistoryOption = None,
    events: EventOption = None,
    without: Annotated[
        str | None,
        typer.Option(
            "--without",
            metavar="ID,ID,...",
            help="Where it would stand without these purchases; left out: without those of one kind.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", metavar="POOL", help="all, warm or cold; left out: what holds the item."),
    ] = None,
    store: HistoryStoreOption = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """Say why the student ranks an item where it does, and where it would stand otherwise.

    What each term of the score adds, which purchases carry most, and the rank without some of them: the
    student scores anew, without graph or teacher. Paths of the graph are told by `explain`.

    \b
    Examples:
      kgdistill why 1029743 --bundle runs/demo/bundle --history 1095275,1082185
      kgdistill why 1029743 --bundle runs/demo/bundle --history 1095275,1082185 --without 1095275
      kgdistill why 1029743 --run runs/demo --user 900 --json
    """
    from kgdistill.serve.why import why as told_why

    keys = history_keys(user_id, history, run is not None, events)
    if user_id is None and history is None:
        raise InputError("give one of: --user, --history", hint="kgdistill why --help")
    asked = ask(bundle, run, task, "why")
    whom = for_whom(asked, keys, events, user_id, (store, user, password_file))
    if not whom.history and whom.notes:
        raise InputError("; ".join(whom.notes), where="--user")
    taken = None if without is None else [key.strip() for key in without.split(",")]
    found = told_why(asked.bundle, whom.history, item, without=taken, exclude=whom.exclude, pool=pool)
    both = None
    if user_id is not None and asked.run is not None:
        from kgdistill.run.disagreement import both_ranks

        both = both_ranks(asked.run, asked.bundle, whom.user or user_id, item)
    if json:
        told = {
            **found.to_dict(),
            "rests_on": whom.rests_on,
            "teacher": None if both is None else both._asdict(),
        }
        print_json(told)
        return
    _show(found, whom, event_name(asked.bundle.event, "en"))
    if both is not None and both.sentence:
        say(f"by what was bought before the run's cut, {both.sentence}")


def _show(found: Why, whom: ForWhom, done: str) -> None:
    print(f"{found.title or found.id}: {found}")
    print()
    print_table(["term", "adds", "share"], [[t.term, t.part, f"{t.share:.0%}"] for t in found.terms])
    if found.carriers:
        print_table(
            [done, "id", "score falls by", "rank without it"],
            [[c.title or c.id, c.id, c.less, c.rank] for c in found.carriers],
        )
    if found.unknown:
        say(f"unknown in --history: {', '.join(found.unknown)}")
    say(f"rests on {whom.rests_on}; ranked among the pool {found.pool!r}")
