"""`kgdistill query` and `explain`: what the graph says."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    StoreOption,
    UserOption,
    store_at,
)
from kgdistill.cli.output import print_json, print_json_rows, print_table, say, shown
from kgdistill.cli.times import in_zone, zone_of
from kgdistill.errors import InputError, QueryError
from kgdistill.moment import moment
from kgdistill.wording import say as worded
from kgdistill.wording import spoken

if TYPE_CHECKING:
    import pyarrow as pa

    from kgdistill.store.protocol import Parameter

_ROWS_AT_A_TIME = 64


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    root.command("query")(query)
    root.command("explain")(explain)


def query(
    cypher: Annotated[str | None, typer.Argument(metavar="CYPHER", help="A read-only query.")] = None,
    saved: Annotated[str | None, typer.Option("--saved", metavar="NAME", help="Run a saved query.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the saved queries.")] = False,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            help="A parameter: JSON, or else text.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="More rows than this are an error.")] = 1000,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds before giving up.")] = 30.0,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the graph in Cypher; nothing can be written this way.

    \b
    Examples:
      kgdistill query --list
      kgdistill query --saved history_of_user --param user=900
      kgdistill query 'MATCH (b:Brand) RETURN count(b) AS brands'
      kgdistill query 'MATCH (p:Product {product_id: $id}) RETURN p.title AS title' -p 'id="1095275"' --json
    """
    if sum((cypher is not None, saved is not None, show)) != 1:
        raise InputError("give one of: a query, --saved NAME, --list", hint="kgdistill query --help")
    if show:
        _list(json)
        return
    from kgdistill.store.notes import notes_of

    pairs = [_pair(text) for text in param or []]
    repeated = [name for n, (name, _) in enumerate(pairs) if name in [other for other, _ in pairs[:n]]]
    if repeated:
        raise InputError(f"the parameter {repeated[0]!r} is given twice", where="--param")
    with store_at(store, user, password_file) as opened:
        if saved is not None:
            from kgdistill.explore import run_query

            # A saved query knows its parameters' types and reads the text itself.
            table = run_query(opened, saved, dict(pairs), limit=limit, timeout_s=timeout)
        else:
            values = {name: _typed(name, text) for name, text in pairs}
            table = opened.query(cypher or "", values, limit=limit, timeout_s=timeout)
        zone = "UTC" if json else zone_of(opened)
    for note in notes_of(table):
        say(f"note: {note}")
    rows = _Rows(table)
    if json:
        print_json_rows(dict(zip(table.column_names, row, strict=True)) for row in rows)
        return
    print_table(table.column_names, rows if zone == "UTC" else in_zone(list(rows), zone))
    say(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}")


class _Rows:
    """The rows of a table; only a few of them are Python values at a time."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in self._table.to_batches(_ROWS_AT_A_TIME):
            try:
                columns = [column.to_pylist() for column in batch.columns]
            except (OverflowError, ValueError) as error:
                raise QueryError(
                    "the answer holds a value that cannot be shown, such as a time after the year 9999",
                    hint="return it as a text: CAST(… AS STRING)",
                ) from error
            for row in zip(*columns, strict=True):
                yield list(row)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{text!r} is not NAME=VALUE", where="--param")
    return name, value


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


def _list(json: bool) -> None:
    from kgdistill.explore import saved_queries

    found = saved_queries()
    if json:
        print_json(found)
        return
    rows = [
        [
            q.name,
            ", ".join(p.name if p.default is None else f"{p.name}={p.default}" for p in q.parameters),
            q.description,
        ]
        for q in found
    ]
    print_table(["name", "parameters", "what it tells"], rows)


def explain(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    product_id: Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's id.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many paths.")] = 5,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="DATE",
            help="Purchases from then on do not count; of one bought again since, the first is shown.",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the paths as a PNG.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="en|zh", help="Of the sentences; left out: the product's name's."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Show the paths in the graph that lead from a user's purchases to a product.

    \b
    Examples:
      kgdistill explain 900 1095275
      kgdistill explain 900 1095275 --picture why.png
      kgdistill explain 900 1095275 --before 2017-10-15 --json
    """
    from kgdistill.explore import explain as find_paths

    cut = moment(before, "--before") if before is not None else None
    told = None if language is None else spoken(language, "--language")
    with store_at(store, user, password_file) as opened:
        found = find_paths(opened, user_id, product_id, limit=limit, before=cut, language=told)
        zone = "UTC" if json else zone_of(opened)
    if picture is not None and found:
        from kgdistill.explore import draw, subgraph

        draw(subgraph(found), picture)
    if json:
        print_json([path.to_dict() for path in found])
    elif found:
        print_table(
            ["specificity", "last bought" if cut is None else "bought", "because"],
            in_zone([[path.specificity, path.bought_at, path.because] for path in found], zone),
        )
    if not found:
        say(worded("no path", told or "en", user=user_id, item=product_id))
    elif picture is not None:
        say(f"drawn in {shown(picture)}")
