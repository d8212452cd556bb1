"""`kgdistill explain`: the paths of the graph from a user to a product."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from kgdistill.moment import moment
from kgdistill.wording import say as worded
from kgdistill.wording import spoken


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
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Show the paths in the graph that lead from a user's purchases to a product.

    \b
    Examples:
      kgdistill explain 900 1095275
      kgdistill explain 900 1095275 --picture why.png
      kgdistill explain 900 1095275 --before 2017-10-15 --json
    """
    from kgdistill.explore import explain as find_paths

    cut = moment(before, "--before") if before is not None else None
    told = None if language is None else spoken(language, "--language")
    with store_at(store, user, password_file) as opened:
        found = find_paths(opened, user_id, product_id, limit=limit, before=cut, language=told)
        zone = "UTC" if json else zone_of(opened)
    if picture is not None and found:
        from kgdistill.explore import draw, subgraph

        draw(subgraph(found), picture)
    if json:
        print_json([path.to_dict() for path in found])
    elif found:
        print_table(
            ["specificity", "last bought" if cut is None else "bought", "because"],
            in_zone([[path.specificity, path.bought_at, path.because] for path in found], zone),
        )
    if not found:
        say(worded("no path", told or "en", user=user_id, item=product_id))
    elif picture is not None:
        say(f"drawn in {shown(picture)}")
