"""`kgdistill derive`: relationships computed from events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kgdistill.cli.jobs import KeptOption, WaitOption, say_if_unkept
from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.moment import moment

_SHOWN = 10

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

CutOption = Annotated[str, typer.Option("--cut", metavar="DATE", help="Events at or after it do not count.")]
TopOption = Annotated[int, typer.Option("--top-k", min=1, help="Partners of each one.")]
SupportOption = Annotated[int, typer.Option("--min-support", min=1, help="Least number of common users.")]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FOLDER",
        help="Keep what was counted here, so that the same command counts only what changed since. "
        "It holds user keys.",
    ),
]


@app.callback()
def group() -> None:
    """Derive relationships: from events before a cut, or from titles.

    They are brought to what these say: what is missing is written, what is outdated is deleted.

    \b
    Examples:
      kgdistill derive also-bought --cut 2017-10-15
      kgdistill derive brand-similar --cut 2017-10-15 --store neo4j://localhost:7687
      kgdistill derive facts
    """


def _command(name: str, what: str, more: str) -> None:
    """Adds the command that derives relationships of the type that it is named after."""
    edge = name.replace("-", "_").upper()

    def run(
        cut: CutOption,
        store: StoreOption = DEFAULT_STORE,
        user: UserOption = "neo4j",
        password_file: PasswordFileOption = None,
        schema: SchemaOption = None,
        top_k: TopOption = 20,
        min_support: SupportOption = 5,
        state: StateOption = None,
        archive: KeptOption = None,
        wait: WaitOption = 0.0,
        json: JsonOption = False,
    ) -> None:
        from kgdistill.derive.also_bought import DERIVATIONS, derive

        before = moment(cut, "--cut")
        with store_at(store, user, password_file, wait_s=wait) as opened:
            if schema is not None:
                opened.apply_schema(schema_at(schema))
            report = derive(
                opened,
                next(known for known in DERIVATIONS if known[1] == edge),
                cut=before,
                top_k=top_k,
                min_support=min_support,
                state=state,
                archive=archive,
                wait_s=wait,
            )
            where = opened.url
        if json:
            print_json({"store": where, **vars(report)})
            return
        columns = ["type", "rows", "written", "deleted"]
        print_table(columns, [[report.type, report.rows, report.written, report.deleted]], title=where)
        say(f"{report.counted:,} of {report.items:,} counted anew in {report.seconds:.1f} s")
        say_if_unkept(report.archive, where)

    example = f"kgdistill derive {name} --cut 2017-10-15"
    run.__doc__ = f"Derive {edge}: {what}.\n\n\b\nExamples:\n  {example}\n  {example} {more}"
    app.command(name)(run)


for _name, _what, _more in (
    ("also-bought", "products bought by the same users", "--top-k 10 --state state/ --json"),
    ("viewed-together", "products viewed by the same users", "--min-support 3 --json"),
    ("brand-similar", "brands of which the same users bought", "--top-k 10 --json"),
):
    _command(_name, _what, _more)


@app.command()
def facts(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    confidence: Annotated[
        float, typer.Option("--min-confidence", min=0.0, max=1.0, help="What is less certain is left out.")
    ] = 0.8,
    aliases: Annotated[
        Path | None,
        typer.Option(
            "--aliases", metavar="FILE", help="Other ways to write brands: CSV (alias,name) or YAML."
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take every mined fact out again.")] = False,
    archive: KeptOption = None,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Derive MENTIONS: brand, size, colour, material and audience, mined from products' titles.

    Each has a confidence and says that it was mined. A brand is told only where no MADE_BY tells of one. What
    was ingested is never changed; training reads mined facts as it reads the others.

    \b
    Examples:
      kgdistill derive facts
      kgdistill derive facts --min-confidence 0.9 --aliases brands.csv --json
      kgdistill derive facts --undo
    """
    from kgdistill.derive.mined import derive_facts
    from kgdistill.ingest.alias_file import read_aliases

    known = read_aliases(aliases) if aliases is not None else None
    with store_at(store, user, password_file, wait_s=wait) as opened:
        report = derive_facts(
            opened, least=confidence, aliases=known, undo=undo, archive=archive, wait_s=wait
        )
        where = opened.url
    if json:
        print_json({"store": where, **vars(report)})
        return
    print_table(["kind", "facts"], [list(row) for row in report.facts.items()], title=where)
    if unknown := report.unknown_aliases:
        more = ", …" if len(unknown) > _SHOWN else ""
        say(f"aliases of no brand in the graph: {', '.join(unknown[:_SHOWN])}{more}")
    say(
        f"{report.products:,} of {report.read:,} products with a title have one; {report.written:,} written, "
        f"{report.deleted:,} deleted in {report.seconds:.1f} s"
    )
    say_if_unkept(report.archive, where)
