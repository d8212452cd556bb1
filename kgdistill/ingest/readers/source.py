"""What is read: files and tables, how they are written down, and the batches they give."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.ingest.model import REJECT_SCHEMA, Notice
from kgdistill.nearest import nearest

FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "recbole")
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".inter": "recbole",
    ".item": "recbole",
    ".user": "recbole",
    ".kg": "recbole",
    ".link": "recbole",
}
COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
STDIN = "-"


@dataclass(frozen=True)
class FillDown:
    """Which cells that are empty take the value of the first row of their file that has the same key and one.

    Attributes:
        by: the columns whose texts together are the key.
        columns: those that are filled.
    """

    by: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class SourceOptions:
    """How a source is written down.

    Attributes:
        format: csv, tsv, jsonl, parquet, arrow (file or stream) or recbole (tab-separated, header cells
            such as `user_id:token`); None: by the file's suffix.
        delimiter: between values, of one or several characters; None: tab for tsv and recbole, else comma.
        encoding: of text formats, any of Python's; None: UTF-8, or UTF-16 or 32 where the file starts with
            their mark.
        quote: around values that hold delimiters or newlines; None: quotes mean nothing.
        escape: takes the meaning from the character after it; None: no character does.
        skip_lines: of a text file, lines before the header (or, without one, before the first row).
        columns: names for files without a header.
        check_text: whether text that looks garbled is refused.
        null_values: texts that stand for no value in delimited files.
        fill_down: cells that take the value of an earlier or later row; None: none do.
        each: a list of records, of which each makes a row of its own, beside the other columns; a row
            without any makes one without them.
    """

    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quote: str | None = '"'
    escape: str | None = None
    skip_lines: int = 0
    columns: tuple[str, ...] | None = None
    null_values: tuple[str, ...] = ("",)
    check_text: bool = True
    fill_down: FillDown | None = None
    each: str | None = None


@dataclass(frozen=True)
class Source:
    """One file or one table.

    Attributes:
        name: its identity: the mapping's name for it, a colon, and the path below the data root.
        path: the file; None for a table.
        table: the table; None for a file.
        options: how the file is written down.
        keep: holds a temporary file alive for as long as the source is.
        groups: of a Parquet file only the row groups from the first to before the second number.
    """

    name: str
    path: Path | None = None
    table: pa.Table | None = None
    options: SourceOptions = field(default_factory=SourceOptions)
    keep: object = field(default=None, repr=False, compare=False)
    groups: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """Its name in messages: the path, `standard input`, or the table's name."""
        if self.keep is not None:
            return "standard input"
        return self.name if self.path is None else str(self.path)

    def fail(self, message: str, hint: str = "", place: str = "") -> InputError:
        """The refusal of this source; `place` is a line or row group in it."""
        return InputError(message, where=f"{self.where}, {place}" if place else self.where, hint=hint)


@dataclass(frozen=True)
class Fingerprint:
    """What a source held: SHA-256 (hex) of its bytes, and how many bytes (of a table: in memory)."""

    sha256: str
    size: int


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a source.

    Attributes:
        table: exactly the columns asked for, in that order.
        lines: int64, one per row: the line of the file on which it starts, from 1; in Parquet, Arrow and
            tables the row, from 1. With `each` the rows of one line have the same, and are in one batch.
        row_group: the Parquet row group, from 0; None elsewhere.
        rejects: rows that could not be split into columns (REJECT_SCHEMA).
        size: bytes of the source consumed since the batch before.
        notices: what is odd about rows that are no rejects.
    """

    table: pa.Table
    lines: npt.NDArray[np.int64]
    row_group: int | None
    rejects: pa.Table
    size: int
    notices: tuple[Notice, ...] = ()


def reject_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of REJECT_SCHEMA; absent columns are null."""
    return pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)


def reject(source: Source, line: int, value: str, reason: str) -> dict[str, Any]:
    """One rejected row as a whole; its text is shortened to 200 characters."""
    return {"source": source.name, "line": line, "column": "", "value": value[:200], "reason": reason}


def make_batch(
    columns: list[str],
    arrays: list[Any],
    lines: IntArray,
    rejects: list[dict[str, Any]],
    size: int,
    notices: tuple[Notice, ...] = (),
) -> RawBatch:
    """A batch of columns made value by value."""
    if columns:
        table = pa.Table.from_arrays(arrays, names=columns)
    else:
        # A table without columns still has rows.
        table = pa.table({"": pa.nulls(len(lines))}).select([])
    return RawBatch(table, lines, None, reject_table(rejects), size, notices)


def line_groups(lengths: IntArray, most: int) -> Iterator[tuple[int, int]]:
    """Where to cut items that stand together, so that about `most` rows come of them, and at least one item.

    Args:
        lengths: int64 [items]: how many rows each makes.
        most: rows at a time.

    Yields:
        The first item of a part, and the one after its last.
    """
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + most, side="right")), start + 1)
        yield start, stop
        start = stop


def by_lines(batch: RawBatch, most: int) -> Iterator[RawBatch]:
    """A batch in parts of about `most` rows, those of one line together; nothing where it holds nothing."""
    starts = np.flatnonzero(np.r_[True, np.diff(batch.lines) != 0][: len(batch.lines)])
    lengths = np.diff(np.r_[starts, len(batch.lines)])
    if not len(starts) and batch.rejects.num_rows:
        yield batch
    for number, (first, last) in enumerate(line_groups(lengths, most)):
        start, stop = int(starts[first]), int(starts[first] + lengths[first:last].sum())
        part = replace(batch, table=batch.table.slice(start, stop - start), lines=batch.lines[start:stop])
        # What is told of the whole is told once.
        yield part if number == 0 else replace(part, rejects=reject_table([]), size=0, notices=())


def missing_column(source: Source, column: str, names: list[str]) -> InputError:
    """The refusal of a source that lacks a column."""
    some = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
    if len(names) == 1:
        for other in (";", "\t", "|", ","):
            if other in names[0]:
                hint = f"is it delimited otherwise? say delimiter: {other!r} in the mapping"
                return source.fail(f"has no column {column!r}, but one column {names[0]!r}", hint=hint)
    return source.fail(f"has no column {column!r}", hint=f"{nearest(column, names)}columns: {some}")


def suffixes(path: Path) -> tuple[str | None, str | None]:
    """Format and compression by the file's name; None where it does not say."""
    stem, suffix = os.path.splitext(path.name.lower())
    compression = COMPRESSIONS.get(suffix)
    if compression is not None:
        suffix = os.path.splitext(stem)[1]
    return SUFFIXES.get(suffix), compression


def table_source(name: str, data: object, options: SourceOptions | None = None) -> Source:
    """A pandas frame, an Arrow table or batch, or anything with the Arrow stream interface as a source.

    Raises:
        InputError: it is none of these, or a column's values have no common type.
    """
    try:
        if isinstance(data, pd.DataFrame):
            table = pa.Table.from_pandas(data, preserve_index=False)
        elif isinstance(data, pa.Table):
            table = data
        elif isinstance(data, pa.RecordBatch):
            table = pa.Table.from_batches([data])
        elif hasattr(data, "__arrow_c_stream__"):
            table = pa.table(data)
        else:
            raise InputError(
                f"is a {type(data).__name__}, not a table", where=name, hint="give a pandas or Arrow table"
            )
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"cannot become an Arrow table: {error}", where=name) from error
    return Source(name, None, table, options or SourceOptions())


class _Hash:
    """A sink that keeps nothing but the hash."""

    closed = False

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def fingerprint(source: Source) -> Fingerprint:
    """The hash by which a source is told from its other versions, read in constant memory.

    Raises:
        InputError: the file cannot be read.
    """
    if source.table is not None:
        return Fingerprint(_table_hash(source.table), max(source.table.nbytes, 1))
    assert source.path is not None
    digest, size = hashlib.sha256(), 0
    try:
        with source.path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise source.fail(f"cannot be read: {error.strerror or error}") from error
    return Fingerprint(digest.hexdigest(), size)


def _table_hash(table: pa.Table, rows: int = 65_536) -> str:
    # Neither pandas' own notes in the schema nor the chunks in memory are data.
    table = table.replace_schema_metadata(None)
    sink = _Hash()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        for start in range(0, table.num_rows, rows):
            writer.write_table(table.slice(start, rows).combine_chunks())
    return sink.sha256.hexdigest()
