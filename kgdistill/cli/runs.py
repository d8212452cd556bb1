"""`kgdistill runs`: the runs that wrote to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli.jobs import KeptOption, WaitOption
from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.cli.times import in_zone, zone_of

if TYPE_CHECKING:
    from kgdistill.explore.runs import RunEntry

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_COLUMNS = ["run", "task", "written at", "cut", "metric", "value", "rows", "in the archive"]


@app.callback()
def group() -> None:
    """List the runs that wrote answers back into a graph, and remove those that are no longer wanted.

    \b
    Examples:
      kgdistill runs list
      kgdistill runs prune --keep 3 --dry-run
      kgdistill runs prune former
    """


@app.command("list")
def list_all(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: KeptOption = None,
    json: JsonOption = False,
) -> None:
    """List the runs that the graph or its archive holds, the last written last.

    \b
    Examples:
      kgdistill runs list
      kgdistill runs list --store neo4j://localhost:7687 --json
    """
    from kgdistill.explore.runs import list_runs

    with store_at(store, user, password_file) as opened:
        found = list_runs(opened, archive=archive)
        zone = zone_of(opened) if not json else "UTC"
    if json:
        print_json(found)
        return
    print_table(_COLUMNS, in_zone([_row(entry) for entry in found], zone))
    say(f"{len(found):,} run{'' if len(found) == 1 else 's'}")


@app.command("prune")
def prune(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="The runs that go.")] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=0, metavar="N", help="All go but the last written N of each task."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: KeptOption = None,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Remove runs from the graph and its archive: what they answered, their vectors and their nodes.

    The folder of a run on this machine is left alone: `kgdistill writeback` brings it back.

    \b
    Examples:
      kgdistill runs prune former --dry-run
      kgdistill runs prune --keep 3
      kgdistill runs prune --keep 1 --store neo4j://localhost:7687 --json
    """
    from kgdistill.explore.runs import prune_runs

    with store_at(store, user, password_file, wait_s=wait) as opened:
        done = prune_runs(opened, names or (), keep=keep, dry_run=dry_run, archive=archive, wait_s=wait)
        zone = zone_of(opened) if not json else "UTC"
    if json:
        print_json(done)
        return
    print_table(_COLUMNS, in_zone([_row(entry) for entry in done.removed], zone))
    verb = "would go" if dry_run else "went"
    say(f"{len(done.removed):,} run{'' if len(done.removed) == 1 else 's'} {verb}; {len(done.kept):,} stay")


def _row(entry: RunEntry) -> list[object]:
    counted = ", ".join(f"{n:,} {name}" for name, n in entry.rows.items())
    return [
        entry.run, entry.task, entry.written_at, entry.cut, entry.metric, entry.value, counted, entry.archived
    ]  # fmt: skip
