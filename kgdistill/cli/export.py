"""`kgdistill export`: the graph, a part of it, and the saved queries, for people's own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    AllowSensitiveOption,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say, shown

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Write the graph, a part of it, or the saved queries as files for other programs.

    \b
    Examples:
      kgdistill export graph --around Product:1095275 --hops 2 --out near.graphml
      kgdistill export queries --out saved.cypher
    """


@app.command("graph")
def graph(
    out: Annotated[Path, typer.Option("--out", metavar="FILE|FOLDER", help="Where to.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="graphml|gexf|neo4j-csv",
            help="Left out: what FILE's name ends in, or neo4j-csv for a name without an end.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="LABEL", help="Only such nodes; may be given several times."),
    ] = None,
    type_name: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="Only such relationships, and, without --label, their ends."
        ),
    ] = None,
    around: Annotated[
        str | None,
        typer.Option("--around", metavar="LABEL:ID", help="Only what is near this node; or LABEL:NAME."),
    ] = None,
    hops: Annotated[int, typer.Option("--hops", min=1, help="How many relationships away.")] = 1,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Of what runs wrote back, this one's alone.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            min=1,
            help="More nodes and relationships are refused; left out: 500000, of neo4j-csv any number.",
        ),
    ] = None,
    allow_sensitive: AllowSensitiveOption = False,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Write the graph, or a part of it.

    GraphML is read by yEd, Cytoscape, igraph and NetworkX, GEXF by Gephi; neo4j-csv is a folder for
    `neo4j-admin database import`, with the command beside the files. Vectors go into the last alone. What the
    schema declares sensitive is left out, unless it is allowed.

    \b
    Examples:
      kgdistill export graph --around Product:1095275 --hops 2 --out near.graphml
      kgdistill export graph --type MADE_BY --type IN_CATEGORY --out catalogue.gexf
      kgdistill export graph --format neo4j-csv --out import/
    """
    from kgdistill.explore.graph_files import export_graph, graph_format
    from kgdistill.explore.part import Selection

    graph_format(out, format)  # before a store is opened
    part = Selection(
        label or (), type_name or (), around, hops, run, allow_sensitive=allow_sensitive, most=most
    )
    with store_at(store, user, password_file) as opened:
        done = export_graph(opened, out, format, part)
    if json:
        print_json(done)
        return
    print_table(["type", "written"], [*done.nodes.items(), *done.relationships.items()])
    if done.left_out:
        say(f"left out as sensitive: {', '.join(done.left_out)} (--allow-sensitive)")
    say(f"in {shown(out)}" if len(done.files) == 1 else f"{len(done.files)} files in {shown(out)}")


@app.command("queries")
def queries(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.cypher|FOLDER", help="One file, or one for each.")
    ],
    json: JsonOption = False,
) -> None:
    """Write the saved queries for Neo4j Browser and cypher-shell, each with its question and parameters.

    \b
    Examples:
      kgdistill export queries --out saved.cypher
      kgdistill export queries --out browser/
    """
    from kgdistill.explore.saved_cypher import save_queries

    files = save_queries(out)
    if json:
        print_json({"files": files})
    else:
        say(f"in {shown(out)}" if len(files) == 1 else f"{len(files)} files in {shown(out)}")
