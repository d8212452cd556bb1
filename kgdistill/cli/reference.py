"""The command line's reference, made from its own help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

_WIDTH = 100


def commands() -> Iterator[tuple[str, Any]]:
    """Every group and command with its full name, in the order of the help."""
    from kgdistill.cli.app import app

    yield from _below("kgdistill", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, child in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {part}", child)


def help_of(name: str, command: Any) -> str:
    """What `name --help` prints, at a fixed width."""
    context = command.context_class(
        command,
        info_name=name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def reference() -> str:
    """The whole reference in Markdown."""
    parts = [
        "# The command line\n\nMade from `--help` by `make docs`; a test compares. "
        "Results go to standard output, as a table or with `--json`; progress and messages go to standard "
        "error. Exit codes: 0 done, 2 bad input (one message, nothing stored is lost), 130 after Ctrl-C "
        "(the same command, started again, goes on from the last finished stage).\n"
    ]
    parts += [f"## {name}\n\n```text\n{help_of(name, command)}\n```\n" for name, command in commands()]
    return "\n".join(parts)
