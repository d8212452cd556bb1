"""CSV, TSV and their like, in constant memory and with exact lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.readers._fast import UNIT, FastParser, Parsed, Signs
from kgdistill.ingest.readers._source import (
    RawBatch,
    Source,
    make_batch,
    missing_column,
    reject,
    reject_table,
)
from kgdistill.ingest.readers._text import (
    MAX_RECORD_BYTES,
    TextBlocks,
    count_lines,
    open_bytes,
)

# Stands for UNIT where that is the file's own.
_OWN_UNIT = "\udc01"
# Stands for NUL, which Python's parser refuses before 3.11.
_NUL = "\udc00"
_FIELD_LIMIT = 2**31 - 1


def delimited_header(source: Source) -> list[str]:
    """The names of the columns."""
    with open_bytes(source) as (stream, raw):
        return _Delimited(source, TextBlocks(source, stream, raw, 1 << 16), 1).header()


def read_delimited(
    source: Source, columns: Sequence[str], batch_rows: int, block_bytes: int
) -> Iterator[RawBatch]:
    """The wanted columns as text; see `read_batches`."""
    with open_bytes(source) as (stream, raw):
        blocks = TextBlocks(source, stream, raw, block_bytes)
        yield from _Delimited(source, blocks, batch_rows).batches(list(columns))


class _Delimited:
    def __init__(self, source: Source, blocks: TextBlocks, batch_rows: int) -> None:
        options = source.options
        default = "\t" if options.format in ("tsv", "recbole") else ","
        told = _told_delimiter(blocks)
        self.delimiter = options.delimiter if options.delimiter is not None else told or default
        self.quote, self.escape = options.quote, options.escape
        if not self.delimiter or set(self.delimiter) & {"\n", "\r", "\0", self.quote, self.escape}:
            raise source.fail(f"cannot have the delimiter {self.delimiter!r}")
        for name, sign in (("quote", self.quote), ("escape", self.escape)):
            if sign is not None and (len(sign) != 1 or sign in "\n\r\0"):
                raise source.fail(f"cannot have the {name} {sign!r}", hint="one character, or none")
        if self.escape is not None and self.escape == self.quote:
            raise source.fail(f"cannot have the escape {self.escape!r}", hint="a doubled quote needs none")
        self.swap = len(self.delimiter) > 1 or not self.delimiter.isascii()
        self.char = UNIT if self.swap else self.delimiter
        self._nothing = _nothing(self.char, self.escape)
        self.source = source
        self.blocks = blocks
        self.batch_rows = batch_rows
        self.width = 0
        self.nulls = set(options.null_values)
        if csv.field_size_limit() < _FIELD_LIMIT:
            csv.field_size_limit(_FIELD_LIMIT)

    def marked(self, text: str) -> str:
        """Text in which what stands for nothing (an escape and N, alone) stays as it is when parsed."""
        if self._nothing is None or self.escape is None:
            return text
        return self._nothing.sub(lambda _: f"{self.escape}{self.escape}N", text)

    def header(self) -> list[str]:
        """The column names; leaves the blocks after the header."""
        options = self.source.options
        if options.columns is not None:
            names, what = list(options.columns), "columns"
            block = self.blocks.next()
            if block is None:
                raise self._empty()
            self.blocks.push_back(block)
        else:
            names, what = self._first_row(), "header"
        self.width = len(names)
        repeated = [name for i, name in enumerate(names) if name and name in names[:i]]
        if repeated:
            raise self.source.fail(f"has the column {repeated[0]!r} twice", place=f"the {what}")
        return names

    def _empty(self) -> InputError:
        return self.source.fail("is empty", hint="a header line and rows are expected")

    def _first_row(self) -> list[str]:
        rows = _Rows(self)
        while (block := self.blocks.next()) is not None:
            for start, row in rows.parse(block):
                if not row:
                    continue
                self.blocks.push_back(rows.rest())
                self.blocks.line = start + rows.taken
                fault = _fault(row)
                if fault is not None:
                    hint = "say its encoding"
                    if fault:
                        hint += ", probably utf-16-be" if row[0].startswith(_NUL) else ", probably utf-16-le"
                    raise self.source.fail(fault or self.blocks.not_text(), place="the header", hint=hint)
                names = [cell.strip() for cell in row]
                if self.source.options.format == "recbole":
                    names = [name.rsplit(":", 1)[0] for name in names]
                return names
        raise self._empty()

    def batches(self, columns: list[str]) -> Iterator[RawBatch]:
        names = self.header()
        for column in columns:
            if column not in names:
                raise missing_column(self.source, column, names)
        wanted = [names.index(column) for column in columns]
        signs = Signs(self.delimiter, self.quote, self.escape)
        parser = FastParser(signs, self.width, wanted, list(self.nulls))
        while (block := self.blocks.next()) is not None:
            parsed = parser.parse(block)
            if parsed is None:
                yield from self._slowly(block, columns, wanted)
                continue
            if parsed.taken < len(block):
                following = self.blocks.next()
                self.blocks.push_back(block[parsed.taken :] + (following or b""))
            yield from self._quickly(parsed, columns)
            self.blocks.line += count_lines(block[: parsed.taken])

    def _quickly(self, parsed: Parsed, columns: list[str]) -> Iterator[RawBatch]:
        first = self.blocks.line
        table, lines = parsed.table.rename_columns(columns), parsed.lines + first
        bad = [
            reject(self.source, first + line, text.replace(self.char, self.delimiter), self._uneven(values))
            for line, values, text in parsed.uneven
        ]
        for start in range(0, max(table.num_rows, len(bad)), self.batch_rows):
            end = start + self.batch_rows
            yield RawBatch(
                table.slice(start, self.batch_rows),
                lines[start:end],
                None,
                reject_table(bad[start:end]),
                self.blocks.consumed(),
            )

    def _slowly(self, block: bytes, columns: list[str], wanted: list[int]) -> Iterator[RawBatch]:
        rows = _Rows(self)
        good: list[list[str]] = []
        lines: list[int] = []
        bad: list[dict[str, Any]] = []

        def flush() -> RawBatch:
            arrays = [self._column(good, i) for i in wanted]
            places = np.asarray(lines, dtype=np.int64)
            batch = make_batch(columns, arrays, places, bad, self.blocks.consumed())
            good.clear()
            lines.clear()
            bad.clear()
            return batch

        pulled = 0
        for line, row in rows.parse(block):
            if not row:
                continue
            fault = _fault(row) if rows.dirty else None
            if fault is not None or len(row) != self.width:
                bad.append(self._reject(line, row, fault))
            else:
                good.append(row)
                lines.append(line)
            if len(good) + len(bad) >= self.batch_rows or rows.pulled > pulled:
                pulled = rows.pulled
                yield flush()
        if good or bad:
            yield flush()

    def _reject(self, line: int, row: list[str], fault: str | None) -> dict[str, Any]:
        text = self.delimiter.join(row).replace(_NUL, "\0")
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        reason = self._uneven(len(row)) if fault is None else fault or self.blocks.not_text()
        return reject(self.source, line, text, reason)

    def _uneven(self, values: int) -> str:
        named = "the header" if self.source.options.columns is None else "the columns named"
        return f"has {values} {'value' if values == 1 else 'values'}, not {self.width} as {named}"

    def _column(self, rows: list[list[str]], i: int) -> Any:
        values = [row[i] for row in rows]
        if self.nulls:
            return pa.array([None if v in self.nulls else v for v in values], pa.string())
        return pa.array(values, pa.string())


def _nothing(delimiter: str, escape: str | None) -> re.Pattern[str] | None:
    if escape is None:
        return None
    outside = f"[^{re.escape(delimiter)}\r\n]"
    return re.compile(f"(?<!{outside}){re.escape(escape)}N(?!{outside})")


def _told_delimiter(blocks: TextBlocks) -> str | None:
    """The delimiter that a first line such as `sep=;` tells a spreadsheet; the line is taken."""
    line = blocks.next_line()
    if line is None:
        return None
    told = re.fullmatch(r'"?sep=([^\r\n"])\1*"?\s*', line.decode("utf-8", "replace"), re.IGNORECASE)
    if told is None:
        blocks.put_back_line(line)
        return None
    return told[1]


def _fault(row: list[str]) -> str | None:
    """Why a row is no text; empty where its bytes are not of the encoding."""
    text = "".join(row)
    if _NUL in text:
        return "holds a NUL byte"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return None


class _Rows:
    """Python's parser over one block, and over those that follow while a quote is open."""

    def __init__(self, file: _Delimited) -> None:
        self._file = file
        self.dirty = False
        self.pulled = 0
        self.taken = 0
        self._open = False
        self._text = ""
        self._stream = io.StringIO()

    def parse(self, block: bytes) -> Iterator[tuple[int, list[str]]]:
        """(line, values) of each row; of blank lines no values. Counts the file's lines on."""
        file = self._file
        reader = csv.reader(
            self._feed(block),
            delimiter=file.char,
            quotechar=file.quote,
            escapechar=file.escape,
            quoting=csv.QUOTE_NONE if file.quote is None else csv.QUOTE_MINIMAL,
        )
        first = file.blocks.line
        self._first = self._start = first
        for row in reader:
            self._open = False
            start, self._start = self._start, first + reader.line_num
            self.taken = self._start - start
            file.blocks.line = self._start
            yield start, [self._swapped_back(cell) for cell in row] if file.swap else row

    def _swapped_back(self, text: str) -> str:
        return text.replace(UNIT, self._file.delimiter).replace(_OWN_UNIT, UNIT)

    def rest(self) -> bytes:
        """What the parser has not taken of its last block."""
        text = self._stream.read()
        if self._file.swap:
            text = self._swapped_back(text)
        return text.replace(_NUL, "\0").encode("utf-8", "surrogateescape")

    def _feed(self, block: bytes) -> Iterator[str]:
        file = self._file
        record = ""
        while True:
            self._text = self._decode(block)
            self._stream = io.StringIO(self._text, newline="")
            for line in self._stream:
                self._open = True
                yield line
            if not self._open:
                return
            # The record goes on in the next block.
            lines = list(io.StringIO(self._text, newline=""))
            if self._start >= self._first:
                record = "".join(lines[self._start - self._first :])
            else:
                record += self._text
            self._first += len(lines)
            following = file.blocks.next()
            if following is None or len(record) > MAX_RECORD_BYTES:
                raise self._unclosed(record, following is None)
            self.pulled += 1
            block = following

    def _decode(self, block: bytes) -> str:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            self.dirty = True
            text = block.decode("utf-8", "surrogateescape")
        if "\0" in text:
            self.dirty = True
            text = text.replace("\0", _NUL)
        if self._file.swap:
            text = text.replace(UNIT, _OWN_UNIT).replace(self._file.delimiter, UNIT)
        return self._file.marked(text)

    def _unclosed(self, record: str, at_end: bool) -> InputError:
        file = self._file
        assert file.quote is not None
        opened = _open_quote(record, file.char, file.quote)
        line = self._start + count_lines(record[:opened].encode("utf-8", "replace") + b"x") - 1
        return file.source.fail(
            "opens a quote that is never closed"
            if at_end
            else f"opens a quote that is not closed within {MAX_RECORD_BYTES >> 20} MiB",
            place=f"line {line}",
            hint="double a quote inside quotes, or say that the file has none (quote: null)",
        )


def _open_quote(record: str, delimiter: str, quote: str) -> int:
    """Where the quote stands that is still open at the end of a record."""
    at = 0
    while at < len(record):
        if record[at] == quote:
            opened, end = at, at + 1
            while True:
                end = record.find(quote, end)
                if end < 0:
                    return opened
                if record[end + 1 : end + 2] != quote:
                    break
                end += 2
            at = end + 1
        following = record.find(delimiter, at)
        if following < 0:
            break
        at = following + 1
    return 0
