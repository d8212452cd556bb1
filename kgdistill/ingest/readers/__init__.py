"""Reads files and tables as batches of columns, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kgdistill.errors import InputError
from kgdistill.ingest.readers.columnar import columnar_names, holds_text, read_columnar, text_columns
from kgdistill.ingest.readers.delimited import delimited_header, read_delimited
from kgdistill.ingest.readers.filled import Filler, filled_of
from kgdistill.ingest.readers.find import find_sources, spool
from kgdistill.ingest.readers.json_cells import opened, origins_of
from kgdistill.ingest.readers.json_lines import json_columns, read_json
from kgdistill.ingest.readers.source import (
    FORMATS,
    FillDown,
    Fingerprint,
    RawBatch,
    Source,
    SourceOptions,
    by_lines,
    fingerprint,
    suffixes,
    table_source,
)
from kgdistill.ingest.readers.text import BLOCK_BYTES, foreign_encoding, plain_hash

__all__ = [
    "FORMATS",
    "FillDown",
    "Fingerprint",
    "RawBatch",
    "Source",
    "SourceOptions",
    "column_names",
    "encodings_of",
    "find_sources",
    "fingerprint",
    "plain_hash",
    "read_batches",
    "spool",
    "suffixes",
    "table_source",
]


def column_names(source: Source) -> list[str]:
    """The source's columns: its header or schema, of JSON lines the names in the first 1,000 rows.

    Fields of structs and of nested JSON objects are dotted: `style.Color`.

    Raises:
        InputError: the source cannot be read, is empty, or names a column twice.
    """
    source = _with_format(source)
    if source.table is not None or source.options.format in ("parquet", "arrow"):
        return columnar_names(source)
    if source.options.format == "jsonl":
        return list(json_columns(source))
    return delimited_header(source)


def encodings_of(sources: Iterable[Source]) -> dict[str, str]:
    """By name, the encodings of those text files that are not in UTF-8.

    Raises:
        InputError: a file cannot be read.
    """
    files = [source for source in map(_with_format, sources) if source.table is None]
    texts = [source for source in files if source.options.format not in ("parquet", "arrow")]
    return {source.name: name for source in texts if (name := foreign_encoding(source))}


def read_batches(
    source: Source,
    columns: Sequence[str],
    *,
    batch_rows: int = 65_536,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[RawBatch]:
    """The rows of a source, in constant memory; what is filled down is read, and held, before.

    Delimited columns come as string with the null values as null; JSON lines as string, or list of string
    where any value in the batch is a list (numbers, booleans and objects as their JSON text, absent names
    as null); Parquet, Arrow and tables with the types they have, dictionaries decoded. A dotted name leads
    into structs and JSON objects, those in text columns too (and, in JSON, by number into lists); in a list
    of records it gives a list, and in one of keys and values the value of a key. A column whose own name
    holds the dots comes first. Blank lines are no rows. With the option `each` a row stands for each record
    of a list.

    Args:
        source: what to read.
        columns: the columns wanted, each once.
        batch_rows: the most rows in a batch; one batch may have fewer, or only rejects.
        block_bytes: how much of a text file is read at a time.

    Raises:
        InputError: the source cannot be read, is empty, damaged or cut off, lacks a column (in JSON lines:
            where the first 1,000 rows have a similar name instead, or none of the columns), names one
            twice, or a quote stays open.
        DiskError: a compressed Parquet or Arrow file does not fit on the disk without its compression.
    """
    source = _with_format(source)
    fill = source.options.fill_down
    if fill is None or not (some := filled_of(fill, columns)):
        yield from _as_written(source, columns, batch_rows, block_bytes)
        return
    # The first row of a piece's keys may stand in another piece.
    whole = replace(source, groups=None)
    # All of them, so that a name that is none is refused.
    firsts = _as_written(whole, list(dict.fromkeys([*fill.by, *fill.columns])), batch_rows, block_bytes)
    filler = Filler(whole, firsts, some)
    wanted = list(dict.fromkeys([*columns, *fill.by]))
    for batch in _as_written(source, wanted, batch_rows, block_bytes):
        yield filler.filled(batch, columns)


def _as_written(
    source: Source, columns: Sequence[str], batch_rows: int, block_bytes: int
) -> Iterator[RawBatch]:
    each = source.options.each
    columnar = source.table is not None or source.options.format in ("parquet", "arrow")
    dotted = each is not None or any("." in column for column in columns)
    if not dotted or (source.options.format == "jsonl" and not columnar):
        yield from _plain(source, columns, batch_rows, block_bytes)
        return
    wanted = [*columns, *([] if each is None else [each])]
    header = text_columns(source, wanted) if columnar else delimited_header(source)
    origins = origins_of(wanted, header)
    if columnar and each is not None and not holds_text(source, each):
        # A list of its own, which the reader itself makes rows of.
        each = None
    if each is None and not any(rest for _, rest in origins.values()):
        yield from _plain(source, columns, batch_rows, block_bytes)
        return
    own = list(dict.fromkeys(name for name, _ in origins.values()))
    if each is not None:
        source = replace(source, options=replace(source.options, each=None))
    for batch in _plain(source, own, batch_rows, block_bytes):
        yield from by_lines(opened(source, batch, columns, origins, each), batch_rows)


def _plain(source: Source, columns: Sequence[str], batch_rows: int, block_bytes: int) -> Iterator[RawBatch]:
    """The rows as the reader of their format gives them."""
    if source.table is not None or source.options.format in ("parquet", "arrow"):
        yield from read_columnar(source, columns, batch_rows)
    elif source.options.format == "jsonl":
        yield from read_json(source, columns, batch_rows, block_bytes)
    else:
        yield from read_delimited(source, columns, batch_rows, block_bytes)


def _with_format(source: Source) -> Source:
    if source.path is None:
        return source
    told = source.options.format or suffixes(source.path)[0]
    if told not in FORMATS:
        raise InputError(
            "has no known format" if told is None else f"has the unknown format {told!r}",
            where=source.where,
            hint=f"say its format: {', '.join(FORMATS)}",
        )
    return replace(source, options=replace(source.options, format=told))
