"""What a command prints: JSON, tables, and messages beside them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from kgdistill.plain import STEERING, json_text

# Scripts and emoji need them.
_JOINERS = "\u200c\u200d"


def print_json(value: Any) -> None:
    """Writes `value` to standard output as JSON; times in ISO 8601, numbers that are none as null."""
    print(json_text(value))


def clean(text: str) -> str:
    """A text for the terminal: line breaks stay, what would steer it is shown as `\\x1b`."""
    return STEERING.sub(lambda found: found[0] if found[0] in "\n\t" else _shown(found[0]), text)


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def print_table(columns: Sequence[str], rows: Collection[Sequence[Any]], *, title: str = "") -> None:
    """Writes a table to standard output: ruled on a terminal, aligned plain text elsewhere.

    Elsewhere it goes through the rows three times and keeps none; a Chinese character is two cells wide.
    """
    from rich.cells import cell_len

    names = [_cell(name) for name in columns]
    right = [len(rows) > 0] * len(names)
    for row in rows:
        right = [number and _is_number(value) for number, value in zip(right, row, strict=True)]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
        for name, number in zip(names, right, strict=True):
            table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        Console().print(table)
        return
    widths = [cell_len(name) for name in names]
    for row in rows:
        widths = [max(width, cell_len(_cell(value))) for width, value in zip(widths, row, strict=True)]
    for line in itertools.chain([names], ([_cell(value) for value in row] for row in rows)):
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        padded = [gap + cell if r else cell + gap for cell, gap, r in zip(line, gaps, right, strict=True)]
        print("  ".join(padded).rstrip())


def print_line(text: str) -> None:
    """Writes one line to standard output, whatever the data in it say."""
    print(_cell(text))


def print_wide(table: Any) -> None:
    """Writes a table of rich to standard output; where that is no terminal, as wide as it needs."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Scores need no more; sums of money keep their cents.
        return f"{value:.6g}" if abs(value) < 1e4 else f"{value:.12g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    # A line break or a control character in the data would break the table, or steer the terminal.
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else " " if c.isspace() else _shown(c) for c in text)


def say(text: str) -> None:
    """Writes a message to standard error, beside the output."""
    print(clean(text), file=sys.stderr, flush=True)


def shown(path: str | Path) -> str:
    """A path as a person would type it: relative where it lies below the working folder."""
    resolved = Path(path).resolve()
    here = Path.cwd()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(path)
