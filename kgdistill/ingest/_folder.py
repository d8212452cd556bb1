"""A folder of CSV, TSV and Parquet files, one per type of the graph."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.errors import InputError
from kgdistill.ingest._model import GraphTables, Lines, Origin, Rejects, TypeKey, type_name
from kgdistill.ingest._validate import conform, nearest
from kgdistill.store.schema import Schema

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_folder(folder: str | Path, schema: Schema) -> GraphTables:
    """Reads one file per type: Product.csv, User.tsv, BOUGHT.parquet, Category-PART_OF-Department.csv.

    CSV and TSV files are UTF-8 with a header. A node file has the type's key column and any of its
    properties; a relationship file has `source`, `target` and any properties. Where a relationship
    type has several pairs of ends, the file's name carries them. BOUGHT and its like may also be
    given line by line (source, target, at[, quantity, amount]) and are then aggregated.

    Whether the ends of relationships exist is checked by `validate_tables` and `ingest_tables`, since
    they may stand in the store.

    Returns:
        Conforming tables; rows that do not fit are in `rejects`, with the line of the file.

    Raises:
        InputError: the folder is missing or holds no such file; a file is named after no type of the
            schema, is empty, cannot be parsed, or has an unknown, repeated or missing column.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError("is not a folder", where=str(place))
    files = sorted(p for p in place.iterdir() if p.suffix.lower() in (*_DELIMITERS, ".parquet"))
    if not files:
        raise InputError(
            "holds no CSV, TSV or Parquet file",
            where=str(place),
            hint="one file per type is expected, such as User.csv, Product.csv and BOUGHT.csv",
        )
    chosen: dict[TypeKey, Path] = {}
    for file in files:
        key = _type_of(file, schema)
        if key in chosen:
            raise InputError(f"holds the same type as {chosen[key].name}", where=str(file))
        chosen[key] = file
    rejects = Rejects()
    tables = GraphTables({}, {})
    for key, file in chosen.items():
        raw, origin = _read_file(file, rejects)
        table, tables.origins[key] = conform(schema, key, raw, origin, rejects)
        if isinstance(key, str):
            tables.nodes[key] = table
        else:
            tables.edges[key] = table
    return GraphTables(tables.nodes, tables.edges, rejects.table(), tables.origins)


def _type_of(file: Path, schema: Schema) -> TypeKey:
    name = file.stem
    if name in schema.nodes:
        return name
    if name in schema.relationships:
        pairs = schema.relationships[name].endpoints
        if len(pairs) > 1:
            names = ", ".join(f"{a}-{name}-{b}{file.suffix}" for a, b in pairs)
            raise InputError(
                f"{name} has several pairs of ends", where=str(file), hint=f"name it one of: {names}"
            )
        return (pairs[0][0], name, pairs[0][1])
    by_name = {type_name(edge): edge for edge in schema.edges()}
    if name in by_name:
        return by_name[name]
    known = [*schema.nodes, *schema.relationships]
    hint = nearest(name, [*known, *by_name])
    raise InputError(
        "is named after no type of the schema", where=str(file), hint=f"{hint}types: {', '.join(known)}"
    )


def _read_file(file: Path, rejects: Rejects) -> tuple[pa.Table, Origin]:
    if file.suffix.lower() == ".parquet":
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"cannot be read as Parquet: {error}", where=str(file)) from error
        lines = np.arange(1, table.num_rows + 1, dtype=np.int64)
    else:
        table, lines = _read_delimited(file, _DELIMITERS[file.suffix.lower()], rejects)
    if table.num_rows == 0:
        raise InputError("has no rows", where=str(file), hint="remove the file, or fill it")
    return table, Origin(str(file), lines)


def _read_delimited(file: Path, delimiter: str, rejects: Rejects) -> tuple[pa.Table, Lines]:
    """All columns as text, and each row's line."""
    names = _header(file, delimiter)
    uneven: list[Any] = []

    def skip(row: Any) -> str:
        uneven.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            file,
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(file)) from error
    except pa.ArrowInvalid as error:
        raise InputError(
            f"cannot be read: {error}", where=str(file), hint="it should be UTF-8 text with a header line"
        ) from error
    lines = np.arange(2, table.num_rows + 2, dtype=np.int64)
    if uneven or _newlines(file) > table.num_rows + 1:
        lines = _scan_lines(file, delimiter, len(names), rejects)
        if len(lines) != table.num_rows:
            raise InputError(
                "has quotes that do not match", where=str(file), hint="double a quote inside quotes"
            )
    return table, lines


def _header(file: Path, delimiter: str) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            names = next((row for row in csv.reader(stream, delimiter=delimiter) if row), None)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(file), hint="convert it to UTF-8") from error
    if names is None:
        raise InputError("is empty", where=str(file), hint="a header line and rows are expected")
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise InputError(f"has the column {repeated[0]!r} twice", where=str(file))
    return names


def _newlines(file: Path) -> int:
    count = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            count += block.count(b"\n")
    return count


def _scan_lines(file: Path, delimiter: str, width: int, rejects: Rejects) -> Lines:
    """The line on which each row starts, where quotes, blank lines or uneven rows make that differ.

    Rows with another number of values than the header are rejected here.
    """
    lines: list[int] = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        end, header = 0, True
        for row in reader:
            start, end = end + 1, reader.line_num
            if not row:
                continue
            if header:
                header = False
            elif len(row) == width:
                lines.append(start)
            else:
                reason = f"has {len(row)} values, not {width} as the header"
                rejects.add(str(file), start, "", delimiter.join(row), reason)
    return np.asarray(lines, dtype=np.int64)
