"""Parquet, Arrow IPC and tables in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.errors import DiskError
from kgdistill.ingest.readers.opened import compression_of, open_bytes
from kgdistill.ingest.readers.source import RawBatch, Source, missing_column, reject, reject_table


def columnar_names(source: Source) -> list[str]:
    """The names of the columns, those inside structs dotted."""
    if source.table is not None:
        return leaf_names(source.table.schema)
    with _plain_file(source) as path:
        if source.options.format == "parquet":
            with _parquet(source, path) as file:
                return leaf_names(file.schema_arrow)
        with _ipc(source, path, []) as (schema, _):
            return leaf_names(schema)


def leaf_names(schema: Any, prefix: str = "") -> list[str]:
    """The columns of an Arrow schema, those inside structs dotted."""
    names: list[str] = []
    for column in schema:
        if pa.types.is_struct(column.type) and column.type.num_fields:
            names += leaf_names(column.type, f"{prefix}{column.name}.")
        else:
            names.append(prefix + column.name)
    return names


def read_columnar(source: Source, columns: Sequence[str], batch_rows: int) -> Iterator[RawBatch]:
    """The wanted columns with the types that they have; see `read_batches`."""
    names = list(columns)
    if source.table is not None:
        yield from _batches(source, names, _table_parts(source.table, names, source, batch_rows))
        return
    assert source.path is not None
    with _plain_file(source) as path:
        if source.options.format == "parquet":
            with _parquet(source, path) as file:
                check_columns(source, names, file.schema_arrow)
                before = _rows_before(source, file)
                yield from _batches(source, names, _parquet_parts(source, file, names, batch_rows), before)
        else:
            with _ipc(source, path, names) as (schema, parts):
                check_columns(source, names, schema)
                yield from _batches(source, names, _ipc_parts(source, parts, batch_rows))


def check_columns(source: Source, columns: list[str], schema: Any) -> None:
    """Refuses a schema that lacks a column, or has it twice."""
    for column in columns:
        if schema.get_all_field_indices(column):
            if len(schema.get_all_field_indices(column)) > 1:
                raise source.fail(f"has the column {column!r} twice")
        elif _struct_path(schema, column) is None:
            raise missing_column(source, column, leaf_names(schema))


def _struct_path(schema: Any, column: str) -> list[str] | None:
    """The names on the way to a column: one, or those of structs and a field in them."""
    for i in (len(column), *(i for i, c in enumerate(column) if c == ".")):
        name, rest = column[:i], column[i + 1 :]
        index = schema.get_field_index(name)
        if index < 0:
            continue
        if not rest:
            return [name]
        kind = schema.field(index).type
        below = _struct_path(kind, rest) if pa.types.is_struct(kind) else None
        if below is not None:
            return [name, *below]
    return None


def _pick(table: pa.Table, column: str) -> Any:
    path = _struct_path(table.schema, column)
    assert path is not None
    values = table.column(path[0])
    for name in path[1:]:
        values = pc.struct_field(values, name)
    return _plain(values)


def _plain(values: Any) -> Any:
    """Without dictionary, run-end or extension types."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.cast(values.type.storage_type)
    if pa.types.is_run_end_encoded(values.type):
        values = pa.chunked_array(
            [pc.run_end_decode(chunk) for chunk in values.chunks], values.type.value_type
        )
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values


_Part = tuple[pa.Table, "int | None", int]
"""Rows, their row group, and their bytes in the source."""


def _batches(
    source: Source, columns: list[str], parts: Iterator[_Part], before: int = 0
) -> Iterator[RawBatch]:
    row = before + 1
    for table, group, size in parts:
        arrays = [_pick(table, column) for column in columns]
        lines = np.arange(row, row + table.num_rows, dtype=np.int64)
        row += table.num_rows
        picked = pa.table(arrays, names=columns) if columns else table.select([])
        bad = _not_text(source, picked)
        rejects = []
        if bad:
            keep = np.ones(len(lines), bool)
            keep[list(bad)] = False
            for i, (column, value) in bad.items():
                found = reject(source, int(lines[i]), value, "is not UTF-8 text")
                rejects.append(found | {"row_group": group, "column": column})
            picked, lines = picked.filter(pa.array(keep)), lines[keep]
        yield RawBatch(picked, lines, group, reject_table(rejects), size)


def _not_text(source: Source, table: pa.Table) -> dict[int, tuple[str, str]]:
    """By row: the first column with text in it that is none, and that text."""
    bad: dict[int, tuple[str, str]] = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        try:
            values.validate(full=True)
            continue
        except pa.ArrowInvalid as error:
            damage = error
        found = {}
        for i in range(len(values)):
            try:
                values[i].as_py()
            except UnicodeDecodeError as fault:
                found[i] = (name, fault.object.decode("utf-8", "replace"))
        if not found:
            raise source.fail(f"is damaged in column {name!r}: {damage}", hint="copy it again")
        bad = found | bad
    return bad


def _table_parts(table: pa.Table, columns: list[str], source: Source, rows: int) -> Iterator[_Part]:
    check_columns(source, columns, table.schema)
    total = max(table.nbytes, 1)
    for start in range(0, table.num_rows, rows):
        part = table.slice(start, rows)
        end = start + part.num_rows
        yield part, None, total * end // table.num_rows - total * start // table.num_rows


@contextmanager
def _plain_file(source: Source) -> Iterator[str]:
    """The file's path, or that of a decompressed copy: these formats are not read from start to end."""
    if compression_of(source) is None:
        yield str(source.path)
        return
    handle, path = tempfile.mkstemp(prefix=".kgdistill-")
    try:
        with os.fdopen(handle, "wb") as copy, open_bytes(source) as (stream, _):
            while block := stream.read(1 << 20):
                try:
                    copy.write(block)
                except OSError as error:
                    raise DiskError(
                        f"{source.where} cannot be decompressed: {error.strerror or error}",
                        where=os.path.dirname(path),
                    ) from error
        yield path
    finally:
        os.unlink(path)


def _size(source: Source) -> int:
    assert source.path is not None
    return source.path.stat().st_size


@contextmanager
def _parquet(source: Source, path: str) -> Iterator[Any]:
    if os.path.getsize(path) == 0:
        raise source.fail("is empty")
    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise source.fail(f"cannot be read as Parquet: {error}", hint="copy it again") from error
    with file:
        yield file


def _rows_before(source: Source, file: Any) -> int:
    """The rows of a Parquet file before the row groups that are wanted."""
    first = source.groups[0] if source.groups is not None else 0
    return sum(int(file.metadata.row_group(group).num_rows) for group in range(first))


def _parquet_parts(source: Source, file: Any, columns: list[str], rows: int) -> Iterator[_Part]:
    total, size, done = max(file.metadata.num_rows, 1), _size(source), _rows_before(source, file)
    for group in range(*(source.groups or (0, file.num_row_groups))):
        try:
            reader = file.iter_batches(rows, [group], columns or None, use_threads=False)
            for batch in reader:
                end = done + batch.num_rows
                yield pa.Table.from_batches([batch]), group, size * end // total - size * done // total
                done = end
        except (OSError, pa.ArrowException) as error:
            raise source.fail(
                f"cannot be read as Parquet: {error}", hint="copy it again", place=f"row group {group}"
            ) from error


@contextmanager
def _ipc(source: Source, path: str, columns: list[str]) -> Iterator[tuple[Any, Iterator[tuple[Any, int]]]]:
    """The whole schema, and the batches (of the fields wanted) with their bytes in the file."""
    if os.path.getsize(path) == 0:
        raise source.fail("is empty")
    try:
        with pa.memory_map(path) as stream:
            if stream.read(6) == b"ARROW1":
                schema = pa.ipc.open_file(stream).schema
                reader = pa.ipc.open_file(stream, options=_fields(schema, columns))
                count = reader.num_record_batches
                size = _size(source)
                batches = (
                    (reader.get_batch(i), size * (i + 1) // count - size * i // count) for i in range(count)
                )
                yield schema, batches
            else:
                stream.seek(0)
                schema = pa.ipc.open_stream(stream).schema
                stream.seek(0)
                opened = pa.ipc.open_stream(stream, options=_fields(schema, columns))
                yield schema, _stream_batches(opened, stream, _size(source) / stream.size())
    except (OSError, pa.ArrowException) as error:
        raise source.fail(f"cannot be read as Arrow: {error}", hint="copy it again") from error


def _fields(schema: Any, columns: list[str]) -> Any:
    """Reads only the fields that hold a wanted column (all where none is wanted)."""
    wanted = [
        i
        for i, name in enumerate(schema.names)
        if any(column == name or column.startswith(f"{name}.") for column in columns)
    ]
    return pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False)


def _stream_batches(reader: Any, stream: Any, scale: float) -> Iterator[tuple[Any, int]]:
    done = 0
    for batch in reader:
        end = int(stream.tell() * scale)
        yield batch, end - done
        done = end


def _ipc_parts(source: Source, batches: Iterator[tuple[Any, int]], rows: int) -> Iterator[_Part]:
    for batch, size in batches:
        _check_offsets(source, batch)
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            yield pa.Table.from_batches([part]), None, size if start == 0 else 0


def _check_offsets(source: Source, batch: Any) -> None:
    """Arrow's files have no checksums, and following a wrong offset would end the process."""
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            # What is merely no UTF-8 is found again, and rejected, row by row.
            if "Invalid UTF8" not in str(error):
                raise source.fail(f"is damaged in column {name!r}: {error}", hint="copy it again") from error
