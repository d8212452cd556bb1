"""The commands, put together."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import kgdistill
from kgdistill.cli import (
    answer,
    audience,
    derive,
    explore,
    export,
    find,
    graph,
    ingest,
    jobs,
    neo4j,
    page,
    profile,
    query,
    reply,
    runs,
    shell,
    store,
    task,
    train,
    watch,
    why,
)
from kgdistill.cli.output import say

_STAGED = ("demo", "evaluate", "fit", "ingest")


class _Root(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs the command; Ctrl-C ends it with one line and 130."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            rest = "; the same command, started again, goes on from the last finished stage"
            say(f"\nkgdistill: stopped{rest if ctx.invoked_subcommand in _STAGED else ''}")
            raise typer.Exit(130) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kgdistill {kgdistill.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Root,
    # Plain help and errors: quick to start, the same in a pipe, and no markup in what the data says.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Distils a shop's knowledge graph and a text model into a small student.

    \b
    Examples:
      kgdistill demo --quick
      kgdistill ingest dataset complete-journey --store ladybug:shop.db
      kgdistill query list
    """


jobs.register(ingest.app)
app.add_typer(ingest.app, name="ingest")
app.add_typer(derive.app, name="derive")
app.add_typer(graph.app, name="graph")
app.add_typer(task.app, name="task")
train.register(app)
answer.register(app)
find.register(app)
why.register(app)
audience.register(app)
watch.register(app)
reply.register(app)
app.add_typer(query.app, name="query")
app.add_typer(runs.app, name="runs")
app.add_typer(export.app, name="export")
shell.register(app)
explore.register(app)
page.register(app)
profile.register(app)
app.add_typer(store.app, name="store")
store.register(app)
app.add_typer(neo4j.app, name="neo4j")
