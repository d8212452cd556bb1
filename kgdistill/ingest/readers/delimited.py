"""CSV, TSV and their like, in constant memory and with exact lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.model import Notice
from kgdistill.ingest.readers.detect import scan
from kgdistill.ingest.readers.encoding import advice, encoding_to_try
from kgdistill.ingest.readers.fast import FastParser, Parsed
from kgdistill.ingest.readers.opened import count_lines, open_bytes
from kgdistill.ingest.readers.records import NUL, Record, Records, Signs
from kgdistill.ingest.readers.source import RawBatch, Source, make_batch, missing_column, reject, reject_table
from kgdistill.ingest.readers.text import TextBlocks


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
        self.source = source
        self.blocks = blocks
        self.batch_rows = batch_rows
        self.width = 0
        self.nulls = set(source.options.null_values)
        self.signs = _signs(source, _told_delimiter(blocks))

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
            hint = "rename one, or skip the header (skip_lines: 1) and say all names (columns) in the mapping"
            raise self.source.fail(f"has the column {repeated[0]!r} twice", hint=hint, place=f"the {what}")
        return names

    def _empty(self) -> InputError:
        skipped = self.source.options.skip_lines
        what = f"has nothing after the {skipped:,} lines that are skipped" if skipped else "is empty"
        return self.source.fail(what, hint="a header line and rows are expected")

    def _first_row(self) -> list[str]:
        records = Records(self.source, self.blocks, self.signs)
        while (block := self.blocks.next()) is not None:
            for record in records.parse(block):
                if record.row == []:
                    continue
                self.blocks.push_back(records.rest())
                if record.row is None:
                    raise self.source.fail(record.fault, place="the header")
                fault = _fault(record.row)
                if fault is not None:
                    seen = scan(self.source)
                    hint = advice(seen, self.blocks.encoding, encoding_to_try(seen))
                    raise self.source.fail(fault or self.blocks.not_text(), place="the header", hint=hint)
                names = [cell.strip() for cell in record.row]
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
        parser = FastParser(self.signs, self.width, wanted, list(self.nulls))
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
            reject(
                self.source,
                first + line,
                text.replace(self.signs.char, self.signs.delimiter),
                self._uneven(values),
            )
            for line, values, text in parsed.uneven
        ]
        notices = [self._notice(first + line, why, rows) for why, line, rows in parsed.odd]
        for start in range(0, max(table.num_rows, len(bad)), self.batch_rows):
            end = start + self.batch_rows
            yield RawBatch(
                table.slice(start, self.batch_rows),
                lines[start:end],
                None,
                reject_table(bad[start:end]),
                self.blocks.consumed(),
                tuple(notices) if start == 0 else (),
            )

    def _slowly(self, block: bytes, columns: list[str], wanted: list[int]) -> Iterator[RawBatch]:
        records = Records(self.source, self.blocks, self.signs)
        good: list[list[str]] = []
        lines: list[int] = []
        bad: list[dict[str, Any]] = []
        notices: list[Notice] = []

        def flush() -> RawBatch:
            arrays = [self._column(good, i) for i in wanted]
            places = np.asarray(lines, dtype=np.int64)
            consumed = self.blocks.consumed()
            batch = make_batch(columns, arrays, places, bad[: self.batch_rows], consumed, tuple(notices))
            good.clear()
            lines.clear()
            del bad[: self.batch_rows]
            notices.clear()
            return batch

        pulled = 0
        for record in records.parse(block):
            if record.row == []:
                continue
            fault = self._why(record, records.dirty)
            if fault is not None or record.row is None:
                bad += self._rejects(records, record, fault or "")
            else:
                good.append(record.row)
                lines.append(record.line)
                notices += [self._notice(record.line, why) for why in records.odd(record, self.width)]
            while len(good) + len(bad) >= self.batch_rows or records.pulled > pulled:
                pulled = records.pulled
                yield flush()
        if good or bad:
            yield flush()

    def _why(self, record: Record, dirty: bool) -> str | None:
        """Why a record is no row."""
        if record.row is None:
            return record.fault
        fault = _fault(record.row) if dirty else None
        if fault is not None:
            return fault or self.blocks.not_text()
        return self._uneven(len(record.row)) if len(record.row) != self.width else None

    def _rejects(self, records: Records, record: Record, fault: str) -> list[dict[str, Any]]:
        """Every line of a record that is not blank, so that as many are counted as are left out.

        A record with as many values as the header is one row, however many lines it has.
        """
        whole = record.row is not None and len(record.row) == self.width
        found: list[dict[str, Any]] = []
        for line, text in enumerate(record.text, record.line):
            shown = records.plain(text.rstrip("\r\n")).replace(NUL, "\0")
            shown = shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            if shown and not (whole and found):
                found.append(reject(self.source, line, shown, fault))
        return found

    def _notice(self, line: int, why: str, rows: int = 1) -> Notice:
        return Notice(self.source.name, line, "", "", why, rows)

    def _uneven(self, values: int) -> str:
        named = "the header" if self.source.options.columns is None else "the columns named"
        return f"has {values} {'value' if values == 1 else 'values'}, not {self.width} as {named}"

    def _column(self, rows: list[list[str]], i: int) -> Any:
        values = [row[i] for row in rows]
        if self.nulls:
            return pa.array([None if v in self.nulls else v for v in values], pa.string())
        return pa.array(values, pa.string())


def _signs(source: Source, told: str | None) -> Signs:
    """What has a meaning in the file; `told`: the delimiter by the file's own first line."""
    options = source.options
    default = told or ("\t" if options.format in ("tsv", "recbole") else ",")
    signs = Signs(default if options.delimiter is None else options.delimiter, options.quote, options.escape)
    if not signs.delimiter or set(signs.delimiter) & {"\n", "\r", "\0", signs.quote, signs.escape}:
        hint = "another than the quote, the escape and the end of a line"
        raise source.fail(f"cannot have the delimiter {signs.delimiter!r}", hint=hint)
    for name, sign in (("quote", signs.quote), ("escape", signs.escape)):
        if sign is not None and (len(sign) != 1 or sign in "\n\r\0"):
            raise source.fail(f"cannot have the {name} {sign!r}", hint="one character, or none")
    if signs.escape is not None and signs.escape == signs.quote:
        raise source.fail(f"cannot have the escape {signs.escape!r}", hint="a doubled quote needs none")
    return signs


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
    if NUL in text:
        return "holds a NUL byte"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return None
