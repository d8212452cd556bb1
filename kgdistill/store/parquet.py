"""Parquet files that a store is to load: checked before anything is stored, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from kgdistill.errors import InputError, SchemaError
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema
from kgdistill.store.validate import check_names, edge_name, shown

if TYPE_CHECKING:
    import duckdb

# What a path of ours may hold where it stands in a statement or is read as a pattern.
_SPECIAL = frozenset("*?[]{}'\"\\$~%")


def read_parts(file: Path, types: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The rows of a checked file in tables of up to `rows`, its columns in the types that `types` has."""
    with pq.ParquetFile(file) as held:
        wanted = file_types(file, types)
        for batch in held.iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch]).cast(wanted)


def file_types(file: Path, types: pa.Schema) -> pa.Schema:
    """The columns of the file, in the types that `types` has."""
    return pa.schema([types.field(name) for name in pq.read_schema(file).names])


def distinct(file: Path, column: str, rows: int) -> Iterator[list[str]]:
    """The distinct values of a text column, in lists of up to `rows`."""
    import duckdb

    with plain_path(file) as path, duckdb.connect() as engine:
        engine.execute("SET memory_limit = '1GB'")
        found = engine.execute(f'SELECT DISTINCT "{column}" FROM read_parquet(?)', [path])
        while part := found.fetchmany(rows):
            yield [row[0] for row in part]


@contextmanager
def plain_path(file: Path) -> Iterator[str]:
    """A path of `file` without characters that mean something in a statement or a file pattern."""
    path = str(file.absolute())
    if not _SPECIAL & set(path) and path.endswith(".parquet"):
        yield path
        return
    with TemporaryDirectory(prefix="kgdistill-") as folder:
        link = Path(folder) / "rows.parquet"
        link.symlink_to(path)
        yield str(link)


def conform_file(schema: Schema, key: str | EdgeType, file: Path) -> list[str]:
    """The columns of a Parquet file that `GraphStore.load` is to store, in the file's order.

    Raises:
        InputError: it cannot be read.
        SchemaError: unknown, missing or misplaced column, wrong type, a null or repeated key.
    """
    if isinstance(key, str):
        where, types = key, schema.node_arrow_schema(key)
        first = [schema.node(key).key]
        identity = first
    else:
        where, types = edge_name(key), schema.edge_arrow_schema(key)
        first = ["source", "target"]
        identity = [*first, *schema.relationship(key).identity]
    try:
        held = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot be read as Parquet: {error}", where=str(file)) from error
    where = f"{where} in {file}"
    check_names(held.names, types, identity, where)
    if held.names[: len(first)] != first:
        raise SchemaError(f"the first columns must be {', '.join(first)}", where=where)
    for field in held:
        wanted = types.field(field.name).type
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_string(wanted) and (pa.types.is_large_string(plain) or pa.types.is_string(plain))
        if not text and plain != wanted:
            raise SchemaError(f"is {field.type}, but the schema has {wanted}", where=f"{where}.{field.name}")
    with plain_path(file) as path:
        _check_keys(path, identity, where)
    return list(held.names)


def without_bar(engine: duckdb.DuckDBPyConnection) -> None:
    """Keeps DuckDB's own progress bar off; in a notebook, setting that may be an error."""
    found = engine.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    if found is not None and found[0]:
        engine.execute("SET enable_progress_bar = false")


def _check_keys(path: str, names: Sequence[str], where: str) -> None:
    """Looks for null and repeated keys with bounded memory: what does not fit goes to disk for a while."""
    import duckdb

    columns = ", ".join(f'"{name}"' for name in names)
    with TemporaryDirectory(prefix="kgdistill-") as scratch, duckdb.connect() as engine:
        engine.execute("SET memory_limit = '1GB'")
        engine.execute("SET temp_directory = ?", [scratch])
        without_bar(engine)
        missing = " OR ".join(f'"{name}" IS NULL' for name in names)
        repeated = f"GROUP BY {columns} HAVING count(*) > 1"
        source = "FROM read_parquet(?)"
        try:
            null = engine.execute(f"SELECT 1 {source} WHERE {missing} LIMIT 1", [path]).fetchall()
            twice = engine.execute(
                f"SELECT {columns}, count(*) {source} {repeated} LIMIT 1", [path]
            ).fetchall()
        except duckdb.Error as error:
            raise InputError(f"cannot be read as Parquet: {error}", where=where) from error
    if null:
        raise SchemaError(f"there is a null among the keys ({', '.join(names)})", where=where)
    if twice:
        text = ", ".join(f"{name} {shown(value)}" for name, value in zip(names, twice[0], strict=False))
        raise SchemaError(f"{text} stands in it {twice[0][-1]} times", where=where, hint="give each key once")
