"""`kgdistill derive`: relationships computed from events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from kgdistill.store.protocol import EdgeType

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
    """Derive relationships from events before a cut.

    They are brought to what the events say: what is missing is written, what is outdated is deleted.

    \b
    Examples:
      kgdistill derive also-bought --cut 2017-10-15
      kgdistill derive brand-similar --cut 2017-10-15 --store neo4j://localhost:7687
    """


@app.command("also-bought")
def also_bought(
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
    """Derive ALSO_BOUGHT: products bought by the same users.

    \b
    Examples:
      kgdistill derive also-bought --cut 2017-10-15
      kgdistill derive also-bought --cut 2017-10-15 --top-k 10 --state state/ --json
    """
    from kgdistill.derive.also_bought import ALSO_BOUGHT

    _derive(
        ALSO_BOUGHT,
        cut,
        (store, user, password_file, schema),
        (top_k, min_support),
        state,
        (archive, wait),
        json,
    )


@app.command("viewed-together")
def viewed_together(
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
    """Derive VIEWED_TOGETHER: products viewed by the same users.

    \b
    Examples:
      kgdistill derive viewed-together --cut 2017-10-15
      kgdistill derive viewed-together --cut 2017-10-15 --min-support 3 --json
    """
    from kgdistill.derive.also_bought import VIEWED_TOGETHER

    _derive(
        VIEWED_TOGETHER,
        cut,
        (store, user, password_file, schema),
        (top_k, min_support),
        state,
        (archive, wait),
        json,
    )


@app.command("brand-similar")
def brand_similar(
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
    """Derive BRAND_SIMILAR: brands of which the same users bought.

    \b
    Examples:
      kgdistill derive brand-similar --cut 2017-10-15
      kgdistill derive brand-similar --cut 2017-10-15 --top-k 10 --json
    """
    from kgdistill.derive.also_bought import BRAND_SIMILAR

    _derive(
        BRAND_SIMILAR,
        cut,
        (store, user, password_file, schema),
        (top_k, min_support),
        state,
        (archive, wait),
        json,
    )


def _derive(
    edge: EdgeType,
    cut: str,
    place: tuple[str, str, Path | None, Path | None],
    limits: tuple[int, int],
    state: Path | None,
    kept: tuple[Path | None, float],
    json: bool,
) -> None:
    from kgdistill.derive.also_bought import derive

    before = moment(cut, "--cut")
    url, user, password_file, schema = place
    archive, wait = kept
    with store_at(url, user, password_file, wait_s=wait) as opened:
        if schema is not None:
            opened.apply_schema(schema_at(schema))
        report = derive(
            opened,
            edge,
            cut=before,
            top_k=limits[0],
            min_support=limits[1],
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
