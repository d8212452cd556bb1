"""DuckDB over the archive's files: the engine, and what its statements are put together from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from kgdistill.errors import DiskError, InputError, KgdistillError, StoreError
from kgdistill.ingest.archive import RowFile

if TYPE_CHECKING:
    import duckdb


@contextlib.contextmanager
def engine(temporary: Path, *, memory_mb: int = 640, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a bound on its memory; what does not fit goes to `temporary`.

    Raises:
        DiskError, InputError, StoreError: DuckDB's errors in our words.
    """
    import duckdb  # The extra `ingest` brings it; writing back a run needs this module alone.

    connection = duckdb.connect(":memory:")
    try:
        connection.execute(f"SET memory_limit = '{memory_mb}MB'")
        connection.execute(f"SET threads = {threads}")
        connection.execute("SET temp_directory = " + literal(str(temporary)))
        connection.execute("SET preserve_insertion_order = false")
        yield connection
    except duckdb.IOException as error:
        low = str(error).lower()
        if "no space" in low or "could not write" in low or "too large" in low:
            hint = "free some space and run the same command again"
            raise DiskError(
                "the disk is full or cannot be written", where=str(temporary), hint=hint
            ) from error
        raise InputError(f"the archive cannot be read: {error}", hint="restore it from a backup") from error
    except duckdb.OutOfMemoryException as error:
        raise StoreError(f"not enough memory to fold the archive: {error}") from error
    except duckdb.Error as error:
        if isinstance(error, KgdistillError):
            raise
        raise InputError(f"the archive cannot be read: {error}") from error
    finally:
        connection.close()


def literal(text: str) -> str:
    """A string in SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def read(files: Sequence[RowFile], columns: Sequence[str], schema: pa.Schema) -> str:
    """A FROM clause over files of one type; columns that an older schema lacked are null."""
    if not files:
        empty = ", ".join(f"NULL::{_sql_type(schema, name)} AS {quoted(name)}" for name in columns)
        return f"(SELECT {empty} WHERE false)"
    paths = ", ".join(literal(str(file.path)) for file in files)
    chosen = ", ".join(quoted(name) for name in columns)
    return f"(SELECT {chosen} FROM read_parquet([{paths}], union_by_name = true))"


def _sql_type(schema: pa.Schema, name: str) -> str:
    if name in ("_job", "_source"):
        return "INTEGER"
    kind = schema.field(name).type
    if pa.types.is_list(kind):
        return "FLOAT[]"
    names = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}
    return names.get(kind, "TIMESTAMP")
