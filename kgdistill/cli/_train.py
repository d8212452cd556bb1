"""`kgdistill report`: what a run left behind, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kgdistill.cli._options import JsonOption
from kgdistill.cli._output import print_json, shown

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    root.command("report")(report)


def report(run: RunArgument, json: JsonOption = False) -> None:
    """Write report.html and report.md of a run anew.

    \b
    Examples:
      kgdistill report runs/demo
    """
    from kgdistill.evaluate.report import write_report

    html, markdown = write_report(run)
    if json:
        print_json({"html": html, "markdown": markdown})
    else:
        print(shown(html))
        print(shown(markdown))
