"""`kgdistill profile`: what is known of a user, and from what."""

from __future__ import annotations

from typing import Annotated

import typer

from kgdistill.cli.asking import BundleOption, RunBundleOption, ask
from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.cli.times import zone_of
from kgdistill.moment import moment
from kgdistill.wording import event_name, spoken


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("profile")(profile)


def profile(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    run: RunBundleOption = None,
    bundle: BundleOption = None,
    least: Annotated[
        float,
        typer.Option("--least", min=0.0, max=1.0, help="What is less probable is not told."),
    ] = 0.5,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="DATE", help="What was done from then on does not count."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="en|zh", help="Of the sentence; left out: as the names are."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Tell what a user cares for more than others, and what a run's bundle makes of that.

    Categories, brands, times and values of products' properties whose share of what was bought, viewed, rated
    or searched for is more than chance would give, and where prices stand among those of the same category.
    With a run or bundle that tells classes of a history (the task profile): each property with its
    probability, and the products and searches that speak most for it; below --least none is told.

    \b
    Examples:
      kgdistill profile 900
      kgdistill profile 900 --run runs/profile --least 0.7 --json
    """
    from kgdistill.cli.hashed import of_store
    from kgdistill.explore.interests import interests
    from kgdistill.run.profile import properties

    until = moment(before, "--before") if before is not None else None
    told = None if language is None else spoken(language, "--language")
    loaded = None if run is None and bundle is None else ask(bundle, run, None, "profile").bundle
    with store_at(store, user, password_file) as opened:
        user_id = of_store(user_id, opened)
        found = interests(opened, user_id, before=until, zone=zone_of(opened))
        known = []
        if loaded is not None:
            known = properties(loaded, opened, user_id, least=least, before=until)
    if json:
        print_json(found.to_dict() | {"sentence": found.sentence(told), "properties": known})
        return
    rows = [
        [
            kind,
            i.name,
            event_name(i.event, "en"),
            i.products,
            f"{100 * i.share:.0f} %",
            f"{100 * i.usual:.0f} %",
            f"{i.lift:.1f}",
        ]
        for kind, some in (
            ("category", found.categories),
            ("brand", found.brands),
            ("property", found.properties),
            ("time", found.times),
        )
        for i in some
    ]
    if rows:
        print_table(["kind", "name", "by", "how many", "share", "everybody's", "times as much"], rows)
    for p in known:
        said = (
            f"{p['class']} ({p['probability']:.2f})"
            if p["told"]
            else f"not told, at most {p['probability']:.2f}"
        )
        because = ", ".join(
            f"{event_name(e['event'], 'en')} {e['title']} +{e['less']:.2f}" for e in p["evidence"]
        )
        say(f"{p['property']}: {said}" + (f"; by {because}" if because else ""))
    say(found.sentence(told))
