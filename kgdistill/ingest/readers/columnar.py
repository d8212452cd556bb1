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

from kgdistill.arrays import IntArray
from kgdistill.errors import DiskError
from kgdistill.ingest.readers import columnar_lists as lists
from kgdistill.ingest.readers.nested import inside, roots
from kgdistill.ingest.readers.opened import compression_of, open_bytes
from kgdistill.ingest.readers.source import (
    RawBatch,
    Source,
    line_groups,
    missing_column,
    reject,
    reject_table,
)


def columnar_names(source: Source) -> list[str]:
    """The names of the columns, those inside structs dotted."""
    with _schema_of(source) as schema:
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


def text_columns(source: Source, columns: Sequence[str]) -> set[str]:
    """Those of the columns, or of what their names lead through, that are there or hold text."""
    with _schema_of(source) as schema:
        there = {column for column in columns if _leads(schema, column)}
        inner = {name for column in columns if column not in there for name in roots(column)}
        return there | {name for name in inner if _leads(schema, name) and lists.is_text(_kind(schema, name))}


def holds_text(source: Source, column: str) -> bool:
    """Whether a column is there and holds text."""
    with _schema_of(source) as schema:
        return _leads(schema, column) and lists.is_text(_kind(schema, column))


@contextmanager
def _schema_of(source: Source) -> Iterator[Any]:
    if source.table is not None:
        yield source.table.schema
        return
    with _plain_file(source) as path:
        if source.options.format == "parquet":
            with _parquet(source, path) as file:
                yield file.schema_arrow
        else:
            with _ipc(source, path, []) as (schema, _):
                yield schema


def read_columnar(source: Source, columns: Sequence[str], batch_rows: int) -> Iterator[RawBatch]:
    """The wanted columns with the types that they have; see `read_batches`."""
    names, each = list(columns), source.options.each
    wanted = names if each is None else list(dict.fromkeys([*names, each]))
    if source.table is not None:
        yield from _batches(source, names, _table_parts(source.table, wanted, source, batch_rows))
        return
    assert source.path is not None
    with _plain_file(source) as path:
        if source.options.format == "parquet":
            with _parquet(source, path) as file:
                check_columns(source, wanted, file.schema_arrow)
                before = _rows_before(source, file)
                yield from _batches(source, names, _parquet_parts(source, file, wanted, batch_rows), before)
        else:
            with _ipc(source, path, wanted) as (schema, parts):
                check_columns(source, wanted, schema)
                yield from _batches(source, names, _ipc_parts(source, parts, batch_rows))


def check_columns(source: Source, columns: list[str], schema: Any) -> None:
    """Refuses a schema that lacks a column, or has it twice."""
    for column in columns:
        if schema.get_all_field_indices(column):
            if len(schema.get_all_field_indices(column)) > 1:
                raise source.fail(f"has the column {column!r} twice")
        elif not _leads(schema, column):
            raise missing_column(source, column, leaf_names(schema))


def _leads(schema: Any, column: str) -> bool:
    return lists.leads(pa.struct(list(schema)), column)


def _kind(schema: Any, column: str) -> Any:
    """The type of what a name leads to."""
    return _pick(schema.empty_table(), column).type


def _pick(table: pa.Table, column: str) -> Any:
    """A column, or what a dotted name leads to."""
    index = table.schema.get_field_index(column)
    if index >= 0:
        return _plain(table.column(index))
    for name, rest in lists.cuts(column)[1:]:
        index = table.schema.get_field_index(name)
        if index >= 0 and lists.leads(table.schema.field(index).type, rest):
            whole = lists.plain(table.column(index))
            return pa.chunked_array([lists.pick(whole, rest)])
    raise AssertionError(column)


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


# Rows of records that are made at a time, where a line does not hold more.
_ROWS = 65_536
_Part = tuple[pa.Table, "int | None", int]
"""Rows, their row group, and their bytes in the source."""


def _batches(
    source: Source, columns: list[str], parts: Iterator[_Part], before: int = 0
) -> Iterator[RawBatch]:
    row, each = before + 1, source.options.each
    for table, group, size in parts:
        lines = np.arange(row, row + table.num_rows, dtype=np.int64)
        row += table.num_rows
        if each is None:
            yield _batch(source, columns, [_pick(table, column) for column in columns], (lines, group, size))
            continue
        for start, stop in line_groups(lists.lengths(_pick(table, each)), _ROWS):
            part, some = table.slice(start, stop - start), lines[start:stop]
            arrays, places = _of_records(part, columns, each)
            yield _batch(source, columns, arrays, (some[places], group, 0 if start else size))


def _of_records(table: pa.Table, columns: list[str], each: str) -> tuple[list[Any], IntArray]:
    """The columns with a row for each record of a list, and for each such row that of the table."""
    records, places = lists.records(_pick(table, each))
    arrays = []
    for column in columns:
        name = inside(column, each)
        if name is None:
            arrays.append(_pick(table, column).take(pa.array(places)))
        else:
            arrays.append(pa.chunked_array([lists.pick(records, name) if name else records]))
    return arrays, places


def _batch(
    source: Source, columns: list[str], arrays: list[Any], place: tuple[IntArray, int | None, int]
) -> RawBatch:
    """A batch of columns; `place`: the lines, the row group and the bytes."""
    lines, group, size = place
    picked = pa.table(arrays, names=columns) if columns else pa.table({"": pa.nulls(len(lines))}).select([])
    bad = _not_text(source, picked)
    rejects: dict[int, dict[str, Any]] = {}
    if bad:
        for i, (column, value) in bad.items():
            told = reject(source, int(lines[i]), value, "is not UTF-8 text")
            rejects.setdefault(int(lines[i]), told | {"row_group": group, "column": column})
        keep = ~np.isin(lines, list(rejects))
        picked, lines = picked.filter(pa.array(keep)), lines[keep]
    return RawBatch(picked, lines, group, reject_table(list(rejects.values())), size)


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
            reader = file.iter_batches(rows, [group], _leaves(file, columns) or None, use_threads=False)
            for batch in reader:
                end = done + batch.num_rows
                yield pa.Table.from_batches([batch]), group, size * end // total - size * done // total
                done = end
        except (OSError, pa.ArrowException) as error:
            raise source.fail(
                f"cannot be read as Parquet: {error}", hint="copy it again", place=f"row group {group}"
            ) from error


def _leaves(file: Any, columns: list[str]) -> list[str]:
    """What is to be read of a Parquet file for these columns: of a list of keys and values all."""
    schema, chosen = file.schema_arrow, []
    paths = [file.schema.column(i).path for i in range(len(file.schema))]
    for column in columns:
        if column in schema.names or _struct_only(pa.struct(list(schema)), column):
            chosen.append(column)
            continue
        # Between a list and its records stand names of the format, such as list.element.
        parts = column.split(".")
        own = [path for path in paths if path.split(".")[0] == parts[0]]
        within = [path for path in own if _holds(path.split("."), parts)]
        chosen += within or own or [column]
    return list(dict.fromkeys(chosen))


def _struct_only(kind: Any, column: str) -> bool:
    return any(
        not rest or (pa.types.is_struct(kind.field(i).type) and _struct_only(kind.field(i).type, rest))
        for name, rest in lists.cuts(column)
        if (i := kind.get_field_index(name)) >= 0
    )


def _holds(path: list[str], parts: list[str]) -> bool:
    """Whether the parts stand in a path, in their order."""
    rest = iter(path)
    return all(part in rest for part in parts)


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
