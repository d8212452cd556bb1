"""The rows of an answer: one by one, and as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import pyarrow as pa

from kgdistill.errors import InputError, QueryError
from kgdistill.nearest import nearest
from kgdistill.plain import json_rows, plain
from kgdistill.whole_file import whole_file

FileFormat = Literal["csv", "json", "parquet"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
_ROWS_AT_A_TIME = 64


class Writable(Protocol):
    """Something that takes text, such as an open file."""

    def write(self, text: str, /) -> int:
        """Takes a text."""
        ...


class AnswerRows:
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


def file_format(file: str | Path, given: str | None = None) -> FileFormat:
    """The format that is given, or else that the file's name ends in.

    Raises:
        InputError: it is none of `FORMATS`.
    """
    name = Path(file).suffix.removeprefix(".").lower() if given is None else given
    for known in FORMATS:
        if name == known:
            return known
    hint = (
        f"{nearest(name, FORMATS)}there are: {', '.join(FORMATS)}; by the end of the file's name, or --format"
    )
    raise InputError(f"{name!r} is no format of rows", where=str(file), hint=hint)


def save_rows(table: pa.Table, file: str | Path, format: str | None = None) -> Path:
    """Writes an answer as a file, in place of a former one.

    Args:
        table: as `GraphStore.query` gives it; its times are UTC, and stay so.
        file: where to; its folder is made.
        format: `csv` (UTF-8 with a header; a list as JSON, an empty cell for null), `json` (a list of
            objects) or `parquet`; None: what the file's name ends in.

    Raises:
        InputError: an unknown format.
        QueryError: a value that neither CSV nor JSON can hold.
        DiskError: it cannot be written; a former file stays.
    """
    file = Path(file)
    kind = file_format(file, format)
    with whole_file(file) as partial:
        if kind == "parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, partial)
        else:
            with partial.open("w", encoding="utf-8", newline="") as opened:
                print_rows(table, opened, kind)
    return file


def print_rows(table: pa.Table, out: Writable, format: Literal["csv", "json"]) -> None:
    """Writes an answer as text; see `save_rows`."""
    rows = AnswerRows(table)
    if format == "json":
        for piece in json_rows(dict(zip(table.column_names, row, strict=True)) for row in rows):
            out.write(piece)
        return
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(table.column_names)
    lines.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> Any:
    simple = plain(value)
    if isinstance(simple, bool):
        return "true" if simple else "false"
    return json.dumps(simple, ensure_ascii=False) if isinstance(simple, list | dict) else simple
