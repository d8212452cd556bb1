"""`kgdistill explore`: the graph as a page."""

from __future__ import annotations

import contextlib
import sys
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
from kgdistill.cli.output import print_json, say


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("explore")(explore)


def explore(
    store: StoreOption = DEFAULT_STORE,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="BUNDLE", help="A bundle, such as RUN/bundle, whose answers are shown too."
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", help="The address to listen on; any but this machine's own needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="KGDISTILL_TOKEN",
            metavar="TEXT",
            help="What readers must know, 16 characters or more; drawn where it is needed and left out.",
        ),
    ] = None,
    allow_sensitive: AllowSensitiveOption = False,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Open the graph as a page: cards, reasons, neighbourhoods, runs compared; nothing can be written there.

    \b
    Examples:
      kgdistill explore
      kgdistill explore --store neo4j://127.0.0.1:7687 --bundle runs/demo/bundle
      kgdistill explore --host 0.0.0.0 --port 8080
      kgdistill explore --port 0 --json
    """
    from kgdistill.page import serve_page

    def told(address: str) -> None:
        if json:
            print_json({"address": address})
            sys.stdout.flush()
        else:
            say(f"open {address}\nCtrl-C ends it")

    with store_at(store, user, password_file) as opened, contextlib.suppress(KeyboardInterrupt):
        serve_page(
            opened,
            host=host,
            port=port,
            token=token,
            bundle=bundle,
            allow_sensitive=allow_sensitive,
            opened=told,
        )
