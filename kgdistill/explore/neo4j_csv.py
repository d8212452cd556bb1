"""A part of a graph as the files that `neo4j-admin database import` reads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import DiskError, InputError
from kgdistill.explore.part import GraphPart
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.progress import step
from kgdistill.store.neo4j.cypher import META, constraints
from kgdistill.store.neo4j.query import ZONED
from kgdistill.store.schema import PropertyType

COMMAND, CONSTRAINTS = "import.sh", "constraints.cypher"
_META = "kgdistill-schema.csv"
_TYPES: dict[PropertyType, str] = {
    "string": "string",
    "int64": "long",
    "double": "double",
    "bool": "boolean",
    "timestamp": "datetime{timezone:UTC}",
    "float_list": "float[]",
}
_HEAD = """#!/bin/sh
# Makes the database neo4j of a server that is stopped from the files beside this one:
#   sh import.sh /path/to/bin/neo4j-admin [--overwrite-destination=true]
# Then start the server, and let it make the unique keys: cypher-shell -f constraints.cypher
here=$(cd "$(dirname "$0")" && pwd) || exit 1
admin=${1:-neo4j-admin}
[ $# -gt 0 ] && shift
"""


def save_neo4j_csv(part: GraphPart, folder: str | Path) -> list[Path]:
    """Writes a part as CSV with its header, a file for each type, and the command that imports them.

    The folder also gets the Cypher of the unique keys, and a node that says the schema, so that kgdistill
    opens the database as its own. Strings are quoted, also empty ones; what is not known is an empty cell.

    Args:
        part: what is written.
        folder: a new or empty folder.

    Returns:
        The files.

    Raises:
        InputError: the folder holds something.
        DiskError: it cannot be written.
    """
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("holds something already", where=str(folder), hint="name a new or empty folder")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        names = _write_all(part, partial)
        if folder.is_dir():
            folder.rmdir()
        os.replace(partial, folder)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in names]


def _write_all(part: GraphPart, folder: Path) -> list[str]:
    tables = part.tables
    keys: list[TypeKey] = [*tables.nodes, *tables.edges]
    arguments = []
    names = []
    with step("writing the files", total=len(keys)) as work:
        for key in keys:
            table = tables.nodes[key] if isinstance(key, str) else tables.edges[key]
            work.advance()
            if not table.num_rows:
                continue
            name = f"{type_name(key)}.csv"
            _write(part, key, table, folder / name)
            names.append(name)
            kind, called = ("nodes", key) if isinstance(key, str) else ("relationships", key[1])
            arguments.append(f'--{kind}={called}="$here/{name}"')
    _write_schema(part, folder / _META)
    arguments.append(f'--nodes={META.strip("`")}="$here/{_META}"')
    (folder / CONSTRAINTS).write_text(
        "".join(f"{line};\n" for line in constraints(part.schema)), encoding="utf-8"
    )
    options = ["--delimiter=,", "'--array-delimiter=;'", "'--quote=\"'", "--multiline-fields=true"]
    # The name first: it would be taken for another file of the last type.
    command = ['"$admin" database import full neo4j "$@"', *options, *arguments]
    (folder / COMMAND).write_text(_HEAD + " \\\n  ".join(command) + "\n", encoding="utf-8")
    return [*names, _META, CONSTRAINTS, COMMAND]


def _write(part: GraphPart, key: TypeKey, table: pa.Table, file: Path) -> None:
    schema = part.schema
    if isinstance(key, str):
        node = schema.nodes[key]
        properties = node.properties
        heads = [f"{node.key}:ID({key})"]
    else:
        properties = schema.relationship(key).properties
        heads = [f":START_ID({key[0]})", f":END_ID({key[2]})"]
    heads += [f"{name}:{_TYPES[prop.type]}" for name, prop in properties.items()]
    columns = [_cells(table.column(i), table.schema.field(i).type) for i in range(table.num_columns)]
    _save(pa.table(columns, names=heads), file)


def _write_schema(part: GraphPart, file: Path) -> None:
    shape, digest = part.schema.model_dump_json(), part.schema.digest()
    row = {"id:long": [1], "shape:string": [shape], "digest:string": [digest], "times:string": [ZONED]}
    _save(pa.table(row), file)


def _save(table: pa.Table, file: Path) -> None:
    from pyarrow import csv

    csv.write_csv(table, file)


def _cells(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as CSV writes it: times as ISO text in UTC, a list with its numbers between semicolons."""
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(column)).as_py():
        # As Java reads them.
        words = pc.replace_substring(pc.cast(column, pa.string()), "nan", "NaN")
        return pc.replace_substring(words, "inf", "Infinity")
    if pa.types.is_list(kind):
        flat = column.combine_chunks()
        return pc.binary_join(flat.cast(pa.list_(pa.string())), ";")
    return column
