"""`kgdistill query`: saved queries and Cypher of one's own."""

from __future__ import annotations

import json as json_module
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import clean, print_json, print_line, print_table, say, shown
from kgdistill.cli.times import in_zone, zone_of
from kgdistill.errors import InputError
from kgdistill.nearest import nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from kgdistill.explore import SavedQuery
    from kgdistill.explore.export import FileFormat
    from kgdistill.store.protocol import Parameter


class QueryGroup(TyperGroup):
    """A group of commands in which what is none of them belongs to `default`."""

    default = "cypher"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the default command's name before what does not begin with a command's."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=QueryGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="CYPHER | COMMAND [ARGS]...",
)

ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may be given several times."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="More rows than this are an error.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds before giving up.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="table|csv|json|parquet",
        help="Of the rows; left out: a table, or what FILE's name ends in. Times are UTC but in a table.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the rows here, in place of a former file.")
]


@app.callback()
def group() -> None:
    """Ask the graph, by a saved query's name or in Cypher; nothing can be written this way.

    \b
    Examples:
      kgdistill query list
      kgdistill query show brand_shares
      kgdistill query run history_of_user -p user=900
      kgdistill query 'MATCH (b:Brand) RETURN count(b) AS brands'
    """


@app.command("list")
def list_queries(json: JsonOption = False) -> None:
    """List the saved queries.

    \b
    Examples:
      kgdistill query list
      kgdistill query list --json
    """
    from kgdistill.explore import saved_queries

    found = saved_queries()
    if json:
        print_json(found)
        return
    print_table(["name", "parameters", "title"], [[q.name, _takes(q), q.title] for q in found])
    say("kgdistill query show NAME tells more of one")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `kgdistill query list`.")],
    json: JsonOption = False,
) -> None:
    """Show what a saved query asks, what it takes, and its Cypher.

    \b
    Examples:
      kgdistill query show brand_shares
      kgdistill query show why --json
    """
    from kgdistill.explore import saved_query

    query = saved_query(name)
    if json:
        print_json(query)
        return
    print_line(query.title)
    print_line(query.description)
    if query.parameters:
        print()
        rows = [[f"-p {p.name}=", p.type, p.default, p.description] for p in query.parameters]
        print_table(["parameter", "type", "default", "what it is"], rows)
    example = [word for part in shlex.split(query.example) for word in ("-p", part)]
    print(f"\nkgdistill query run {shlex.join([name, *example])}")
    for dialect, text in query.text.items():
        if dialect == "neo4j" and len(set(query.text.values())) == 1:
            continue
        print(f"\n{f'// {dialect}' if len(set(query.text.values())) > 1 else ''}".rstrip())
        print(clean("\n".join(line for line in text.splitlines() if not line.startswith("//"))))


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `kgdistill query list`.")],
    param: ParamOption = None,
    limit: LimitOption = 1000,
    timeout: TimeoutOption = 30.0,
    format: FormatOption = None,
    out: OutOption = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Run a saved query; what it asks about is named by its id or by its name.

    \b
    Examples:
      kgdistill query run history_of_user -p user=900
      kgdistill query run brand_reach -p brand="Private" -p run=demo
      kgdistill query run never_recommended -p run=demo -p limit=1000 --out never.csv
    """
    from kgdistill.explore import run_query, saved_query

    form = _form(format, json, out)
    saved_query(name)  # Before a store is opened.
    given = pairs_of(param)
    with store_at(store, user, password_file) as opened:
        table = run_query(opened, name, dict(given), limit=limit, timeout_s=timeout)
        zone = zone_of(opened) if form == "table" else "UTC"
    show_rows(table, form, out, zone)


@app.command("cypher")
def cypher(
    text: Annotated[str, typer.Argument(metavar="CYPHER", help="A read-only query.")],
    param: ParamOption = None,
    limit: LimitOption = 1000,
    timeout: TimeoutOption = 30.0,
    format: FormatOption = None,
    out: OutOption = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Ask in Cypher; the word `cypher` may be left out. A parameter is JSON, or else a text.

    \b
    Examples:
      kgdistill query 'MATCH (b:Brand) RETURN count(b) AS brands'
      kgdistill query cypher 'MATCH (b:Brand) RETURN b.name AS brand ORDER BY brand' --out brands.csv
      kgdistill query 'MATCH (p:Product {product_id: $id}) RETURN p.title AS title' -p 'id="1095275"' --json
    """
    form = _form(format, json, out)
    if text.replace("-", "_").isidentifier():
        raise _no_command(text)
    values = {name: _typed(name, value) for name, value in pairs_of(param)}
    with store_at(store, user, password_file) as opened:
        table = opened.query(text, values, limit=limit, timeout_s=timeout)
        zone = zone_of(opened) if form == "table" else "UTC"
    show_rows(table, form, out, zone)


def _takes(query: SavedQuery) -> str:
    return ", ".join(
        p.name if p.required else f"[{p.name}]" if p.default is None else f"{p.name}={p.default}"
        for p in query.parameters
    )


def _no_command(word: str) -> InputError:
    """For one word where Cypher is expected: it was meant for a command or a saved query."""
    from kgdistill.explore import saved_queries

    names = [query.name for query in saved_queries()]
    if word in ("list", "show", "run"):
        hint = f"options come after it: kgdistill query {word} …"
    elif word in names:
        hint = f"run a saved query by: kgdistill query run {word}"
    else:
        near = nearest(word, ["list", "show", "run", *names])
        hint = f"{near}see: kgdistill query list, kgdistill query --help"
    return InputError(f"{word[:60]!r} is no query", hint=hint)


def _form(format: str | None, json: bool, out: Path | None) -> FileFormat | Literal["table"]:
    """What the options ask for.

    Raises:
        InputError: an unknown one, two of them, or one that standard output or a file cannot take.
    """
    from kgdistill.explore import file_format

    if json:
        if format not in (None, "json"):
            raise InputError(f"--json and --format {format} are two formats", hint="give one of them")
        format = "json"
    if out is not None:
        return file_format(out, format)
    if format in (None, "table"):
        return "table"
    found = file_format("--format", format)
    if found == "parquet":
        raise InputError("Parquet needs a file", where="--format", hint="give --out FILE")
    return found


def show_rows(table: pa.Table, form: FileFormat | Literal["table"], out: Path | None, zone: str) -> None:
    """Prints an answer and its notes, or writes it to `out`; a table's times are those of `zone`."""
    from kgdistill.explore import AnswerRows, print_rows, save_rows
    from kgdistill.store.notes import notes_of

    for note in notes_of(table):
        say(f"note: {note}")
    rows = AnswerRows(table)
    if out is not None:
        save_rows(table, out, form)
    elif form == "json" or form == "csv":
        plain = form == "json" or not sys.stdout.isatty()
        print_rows(table, sys.stdout if plain else _Cleaned(sys.stdout), form)
        return
    else:
        print_table(table.column_names, rows if zone == "UTC" else in_zone(list(rows), zone))
    where = "" if out is None else f" in {shown(out)}"
    say(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}{where}")


class _Cleaned:
    """A terminal that no text steers."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        return int(self._terminal.write(clean(text)))


def pairs_of(param: list[str] | None) -> list[tuple[str, str]]:
    """Splits NAME=VALUE; InputError for what is none, or a name that is given twice."""
    found: list[tuple[str, str]] = []
    for text in param or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{text!r} is not NAME=VALUE", where="--param")
        if name in dict(found):
            raise InputError(f"the parameter {name!r} is given twice", where="--param")
        found.append((name, value))
    return found


def _typed(name: str, text: str) -> Parameter:
    """The value as JSON says it, or the text where it is not JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value: Any = json_module.loads(text, parse_constant=refuse)
    except ValueError:
        return text
    except RecursionError as error:
        raise InputError("is nested too deeply", where=f"--param {name}") from error
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float | bool) or item is None for item in items):
        raise InputError(
            "is neither a text, number, true, false, null nor a list of these", where=f"--param {name}"
        )
    parsed: Parameter = value
    return parsed
