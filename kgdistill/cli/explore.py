"""`kgdistill explain`: the paths of the graph from a user to a product."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say, shown
from kgdistill.cli.times import in_zone, zone_of
from kgdistill.errors import InputError
from kgdistill.moment import moment
from kgdistill.wording import say as worded
from kgdistill.wording import spoken

if TYPE_CHECKING:
    from kgdistill.explore.reasons import Weigh
    from kgdistill.store import GraphStore


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("explain")(explain)


def explain(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    product_id: Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's id.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many paths.")] = 5,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="DATE",
            help="Purchases from then on do not count; of one bought again since, the first is shown.",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the paths as a PNG.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="en|zh", help="Of the sentences; left out: the product's name's."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="A run, or a bundle: what its student makes of the purchases counts for the order.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Of a run of several tasks, which.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the paths in the graph that lead from what a user bought, viewed or searched for to a product.

    What is no more than chance is no path. The first is the most specific: few products, and a lift that
    enough purchases carry; with --run, times the share of the score that goes with the purchases on it,
    and paths from events that the run reads before all others.

    \b
    Examples:
      kgdistill explain 900 1095275
      kgdistill explain 900 1095275 --picture why.png
      kgdistill explain 900 1095275 --before 2017-10-15 --json
      kgdistill explain 900 1095275 --run runs/demo
    """
    from kgdistill.cli.hashed import of_store
    from kgdistill.explore import explain as find_paths

    cut = moment(before, "--before") if before is not None else None
    told = None if language is None else spoken(language, "--language")
    with store_at(store, user, password_file) as opened:
        user_id = of_store(user_id, opened)
        weigh, reads = (None, None) if run is None else _weights(run, task, opened, user_id, cut)
        found = find_paths(
            opened, user_id, product_id, limit=limit, before=cut, language=told, weigh=weigh, reads=reads
        )
        zone = "UTC" if json else zone_of(opened)
    if picture is not None and found:
        from kgdistill.explore import draw, subgraph

        draw(subgraph(found), picture)
    if json:
        print_json([path.to_dict() for path in found])
    elif found:
        columns = ["specificity", *(["student"] if run is not None else []), "last", "because"]
        rows = [
            [p.specificity, *([f"{p.weight or 0:.0%}"] if run is not None else []), p.bought_at, p.because]
            for p in found
        ]
        print_table(columns, in_zone(rows, zone))
    if not found:
        say(worded("no path", told or "en", user=user_id, item=product_id))
    elif picture is not None:
        say(f"drawn in {shown(picture)}")


def _weights(
    run: Path, task: str | None, store: GraphStore, user: str, cut: datetime | None
) -> tuple[Weigh, frozenset[str]]:
    """What the student of a run, or a bundle, makes of what a user bought, and which events it reads."""
    from kgdistill.cli.asking import ask, is_run
    from kgdistill.serve.weigh import weighed_by

    asked = ask(None, run, task, "explain") if is_run(run) else ask(run, None, task, "explain")
    if asked.bundle.history is None:
        raise InputError("its task knows nobody by what was bought", where=f"--run {run}")
    return weighed_by(asked.bundle, store, store.schema, user, cut)
