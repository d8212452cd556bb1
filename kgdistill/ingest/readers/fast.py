"""Arrow's CSV parser, for blocks of which it can be told what it makes of each line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from kgdistill.arrays import IntArray
from kgdistill.ingest.readers.opened import count_lines
from kgdistill.ingest.readers.records import BACKSLASH, MANY_LINES, SWALLOWED, UNIT, Signs, like_rows
from kgdistill.ingest.readers.text import is_text

_LF, _CR, _BLANK, _BACKSLASH = 10, 13, 32, 92


@dataclass(frozen=True)
class Parsed:
    """What became of a block, or of its first bytes.

    Attributes:
        table: the wanted columns, named by their position in the file.
        lines: one per row, the line in the block from 0.
        uneven: rows with another number of values: line, that number, the row's text.
        taken: how many bytes; the record that the rest starts goes on in the next block.
        odd: what is worth a word: why, the first line of it in the block, how many rows.
    """

    table: pa.Table
    lines: IntArray
    uneven: list[tuple[int, int, str]]
    taken: int
    odd: list[tuple[str, int, int]]


@dataclass(frozen=True)
class _Layout:
    """Where rows stand in a block: of each its first line, from 0, and how many it has; the rest as above."""

    starts: IntArray
    heights: IntArray
    taken: int
    odd: list[tuple[str, int, int]]


class FastParser:
    """Parses blocks that hold text without NUL bytes and escapes."""

    def __init__(self, signs: Signs, width: int, wanted: Sequence[int], nulls: Sequence[str]) -> None:
        delimiter, quote = signs.delimiter, signs.quote
        self._delimiter, self._escape = delimiter, signs.escape
        self._swap, self._char = signs.swap, signs.char
        self._quote = quote
        self._wanted = wanted
        self._names = [str(i) for i in range(width)]
        self._uneven: list[Any] = []
        self._plain = pacsv.ParseOptions(
            delimiter=self._char, quote_char=False, invalid_row_handler=self._skip
        )
        self._quoted = pacsv.ParseOptions(
            delimiter=self._char,
            quote_char=quote if quote is not None and quote.isascii() else False,
            newlines_in_values=True,
            invalid_row_handler=self._skip,
        )
        if quote is not None:
            mark, edge = re.escape(quote.encode()), re.escape(self._char.encode())
            # From a quote at the start of a value to the one that closes it.
            self._values = re.compile(
                b"%b(?<![^%b\r\n]%b)(?:[^%b]+|%b%b)*" % (mark, edge, mark, mark, mark, mark)
            )
        # Arrow wants at least one column.
        ids = [str(i) for i in wanted] or ["0"]
        self._convert = pacsv.ConvertOptions(
            include_columns=ids,
            column_types=dict.fromkeys(ids, pa.string()),
            null_values=list(nulls),
            strings_can_be_null=bool(nulls),
            check_utf8=False,
        )

    def _skip(self, row: Any) -> str:
        self._uneven.append((row.number, row.actual_columns, row.text))
        return "skip"

    def parse(self, block: bytes) -> Parsed | None:
        """The block's rows, or None where it needs the other parser."""
        quoted = self._quote is not None and self._quote.encode() in block
        if quoted and (self._swap or not self._quoted.quote_char):
            return None
        if b"\0" in block or not is_text(block):
            return None
        if self._escape is not None and self._escape.encode() in block:
            return None
        size = len(block)
        if self._swap:
            if UNIT.encode() in block:
                return None
            block = block.replace(self._delimiter.encode(), UNIT.encode())
        if not quoted:
            table = self._read(block, self._plain)
            if table is not None and table.num_rows + len(self._uneven) == count_lines(block):
                return self._parsed(table, np.arange(count_lines(block), dtype=np.int64), size, [])
        layout = self._layout(block, quoted)
        if layout is None or layout.taken == 0:
            return None
        if quoted:
            table = self._read(block[: layout.taken], self._quoted)
        if table is None or table.num_rows + len(self._uneven) != len(layout.starts):
            return None
        if any(layout.heights[n - 1] > 1 for n, _, _ in self._uneven):
            # Each of its lines is a reject.
            return None
        odd = layout.odd
        return self._parsed(table, layout.starts, size if layout.taken == len(block) else layout.taken, odd)

    def _parsed(
        self, table: pa.Table, starts: IntArray, taken: int, odd: list[tuple[str, int, int]]
    ) -> Parsed:
        uneven = [(int(starts[n - 1]), width, text) for n, width, text in self._uneven]
        if uneven:
            starts = np.delete(starts, [n - 1 for n, _, _ in self._uneven])
        return Parsed(table if self._wanted else table.select([]), starts, uneven, taken, odd)

    def _read(self, block: bytes, options: Any) -> pa.Table | None:
        self._uneven.clear()
        reading = pacsv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(block) + 1)
        try:
            return pacsv.read_csv(pa.BufferReader(block), reading, options, self._convert)
        except pa.ArrowInvalid:
            return None

    def _layout(self, block: bytes, quoted: bool) -> _Layout | None:
        """The rows that are not blank; None where more text follows a closing quote."""
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _LF)
        if b"\r" in block:
            following = np.append(data[1:], 0)
            ends = np.flatnonzero((data == _LF) | ((data == _CR) & (following != _LF)))
        taken = len(block)
        row_ends = ends
        quotes = np.zeros(0, np.intp)
        if quoted:
            found = self._quotes(block, data)
            if found is None:
                return None
            quotes = found
            row_ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
            if len(quotes) % 2:
                taken = int(row_ends[-1]) + 1 if len(row_ends) else 0
        starts = np.concatenate([[0], row_ends + 1])
        stops = np.append(row_ends, taken)
        # A row's CR before its LF is no content.
        crlf = (stops > starts) & (data[np.maximum(stops - 1, 0)] == _CR) & (stops < taken)
        filled = stops - crlf > starts
        first = np.searchsorted(ends, starts[filled]).astype(np.int64)
        heights = np.searchsorted(ends, stops[filled]).astype(np.int64) - first + 1
        odd = self._swallowed(data, ends, first, heights) if len(quotes) else []
        odd += self._backslashed(data, ends, quotes, taken) if quoted else []
        return _Layout(first, heights, taken, odd)

    def _quotes(self, block: bytes, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp] | None:
        """The quotes that open and close values, in turn, doubled ones as closing and opening anew."""
        assert self._quote is not None
        quotes = np.flatnonzero(data == ord(self._quote))
        edges = [ord(self._char), _LF, _CR, ord(self._quote)]
        last = len(data) - 1
        for _ in range(2):
            opening, closing = quotes[0::2], quotes[1::2]
            opens = (opening == 0) | np.isin(data[np.maximum(opening - 1, 0)], edges)
            closes = (closing == last) | np.isin(data[np.minimum(closing + 1, last)], edges)
            if opens.all() and closes.all():
                return quotes
            # Some may stand in the middle of an unquoted value, where they are text.
            places = [at for found in self._values.finditer(block) for at in found.span()]
            quotes = np.array([at for at in places if at <= last], np.intp)
        return None

    def _swallowed(
        self, data: npt.NDArray[np.uint8], ends: npt.NDArray[np.intp], first: IntArray, heights: IntArray
    ) -> list[tuple[str, int, int]]:
        """Rows over many lines, and those whose lines are each like a row."""
        tall = np.flatnonzero(heights > 1)
        if not len(tall):
            return []
        delimiters = np.flatnonzero(data == ord(self._char))
        bounds = np.searchsorted(delimiters, np.r_[0, ends, len(data)])
        alike = np.diff(bounds) == len(self._names) - 1
        different = np.r_[0, np.cumsum(~alike)]
        start, height = first[tall], heights[tall]
        stop = np.minimum(start + height, len(alike))
        spaced = delimiters[data[np.minimum(delimiters + 1, len(data) - 1)] == _BLANK]
        before = np.asarray(np.searchsorted(spaced, np.r_[0, ends, len(data)]))
        blanks = before[stop] > before[start]
        rows = (different[stop] == different[start]) & np.array(
            [like_rows(int(n), len(self._names), bool(b)) for n, b in zip(height, blanks, strict=True)], bool
        )
        wrong = tall[rows | (height > MANY_LINES)]
        return [(SWALLOWED, int(first[wrong[0]]), len(wrong))] if len(wrong) else []

    def _backslashed(
        self,
        data: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.intp],
        quotes: npt.NDArray[np.intp],
        taken: int,
    ) -> list[tuple[str, int, int]]:
        """Quoted values that end in a backslash."""
        assert self._quote is not None
        opening, closing = quotes[0 : len(quotes) // 2 * 2 : 2], quotes[1::2]
        last = len(data) - 1
        end = (closing == last) | (data[np.minimum(closing + 1, last)] != ord(self._quote))
        wrong = closing[end & (data[closing - 1] == _BACKSLASH) & (closing - 1 > opening) & (closing < taken)]
        if self._escape is not None or not len(wrong):
            return []
        return [(BACKSLASH, int(np.searchsorted(ends, wrong[0])), len(wrong))]
