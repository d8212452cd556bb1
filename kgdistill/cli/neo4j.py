"""`kgdistill neo4j`: a real Neo4j on this machine, without Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kgdistill.cli.options import JsonOption
from kgdistill.cli.output import print_json, print_table, say, shown

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

FolderOption = Annotated[
    Path,
    typer.Option("--folder", metavar="PATH", help="Holds the graph, the settings, the log and the password."),
]
_FOLDER = Path(".neo4j")


@app.callback()
def group() -> None:
    """Start and stop a local Neo4j; Java 17 or later and Maven must be on the path.

    \b
    Examples:
      kgdistill neo4j start
      kgdistill neo4j status --json
      kgdistill neo4j stop
    """


@app.command("start")
def start(
    folder: FolderOption = _FOLDER,
    bolt_port: Annotated[
        int | None,
        typer.Option("--bolt-port", min=1, max=65535, help="By default the last, or a free one."),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option("--http-port", min=1, max=65535, help="By default the last, or a free one."),
    ] = None,
    heap: Annotated[str, typer.Option("--heap", metavar="SIZE", help="Java heap: 512m, 2g.")] = "1g",
    json: JsonOption = False,
) -> None:
    """Start Neo4j on 127.0.0.1; its password lies in FOLDER/password, readable by you alone.

    \b
    Examples:
      kgdistill neo4j start
      kgdistill neo4j start --folder /data/graph --bolt-port 7687 --heap 4g
    """
    from kgdistill.store.neo4j import local as local_neo4j

    server = local_neo4j.start(folder, bolt_port=bolt_port, http_port=http_port, heap=heap)
    if json:
        print_json(server)
        return
    print_table(
        ["url", "user", "password file", "pid"],
        [[server.url, server.user, shown(server.password_file), str(server.pid)]],
    )
    say("it was running already" if server.already_running else "started")
    say(f"use it:  --store {server.url} --password-file {shown(server.password_file)}")


@app.command("stop")
def stop(folder: FolderOption = _FOLDER, json: JsonOption = False) -> None:
    """Stop the server of a folder and wait until it has ended; the graph stays.

    \b
    Examples:
      kgdistill neo4j stop
      kgdistill neo4j stop --folder /data/graph
    """
    from kgdistill.store.neo4j import local as local_neo4j

    report = local_neo4j.stop(folder)
    if json:
        print_json(report)
    else:
        print(f"stopped in {report.seconds:.1f} s" if report.was_running else "none was running")


@app.command("status")
def status(folder: FolderOption = _FOLDER, json: JsonOption = False) -> None:
    """Say whether the server of a folder runs, and where.

    \b
    Examples:
      kgdistill neo4j status
      kgdistill neo4j status --folder /data/graph --json
    """
    from kgdistill.store.neo4j import local as local_neo4j

    found = local_neo4j.status(folder)
    if json:
        server = found.server
        print_json(
            {
                "state": found.state,
                "url": server.url if server else None,
                "http_url": server.http_url if server else None,
                "pid": server.pid if server else None,
                "password_file": server.password_file if server else None,
            }
        )
        return
    server = found.server
    row = [found.state, server.url, str(server.pid)] if server else [found.state, "", ""]
    print_table(["state", "url", "pid"], [row])
