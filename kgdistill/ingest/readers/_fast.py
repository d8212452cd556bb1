"""Arrow's CSV parser, for blocks of which it can be told what it makes of each line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from kgdistill.ingest._model import Lines
from kgdistill.ingest.readers._text import count_lines, is_text

# Stands for delimiters that are no single ASCII character.
UNIT = "\x1f"
_LF, _CR = 10, 13


@dataclass(frozen=True)
class Signs:
    """What has a meaning in a delimited file; None: nothing is a quote, or an escape."""

    delimiter: str
    quote: str | None
    escape: str | None


@dataclass(frozen=True)
class Parsed:
    """What became of a block, or of its first bytes.

    Attributes:
        table: the wanted columns, named by their position in the file.
        lines: one per row, the line in the block from 0.
        uneven: rows with another number of values: line, that number, the row's text.
        taken: how many bytes; the record that the rest starts goes on in the next block.
    """

    table: pa.Table
    lines: Lines
    uneven: list[tuple[int, int, str]]
    taken: int


class FastParser:
    """Parses blocks that hold text without NUL bytes and escapes."""

    def __init__(self, signs: Signs, width: int, wanted: Sequence[int], nulls: Sequence[str]) -> None:
        delimiter, quote = signs.delimiter, signs.quote
        self._delimiter, self._escape = delimiter, signs.escape
        self._swap = len(delimiter) > 1 or not delimiter.isascii()
        self._char = UNIT if self._swap else delimiter
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
        options = self._quoted if quoted else self._plain
        table = None if quoted and self._ends_open(block) else self._read(block, options)
        if table is not None and table.num_rows + len(self._uneven) == count_lines(block):
            # Every row has one line, whatever quotes there are.
            starts, whole = np.arange(count_lines(block), dtype=np.int64), len(block)
        else:
            found = self._row_starts(block)
            if found is None or found[1] == 0:
                return None
            starts, whole = found
            if table is None or whole < len(block):
                table = self._read(block[:whole], options)
            if table is None or table.num_rows + len(self._uneven) != len(starts):
                return None
        uneven = [(int(starts[n - 1]), width, text) for n, width, text in self._uneven]
        if uneven:
            starts = np.delete(starts, [n - 1 for n, _, _ in self._uneven])
        return Parsed(
            table if self._wanted else table.select([]),
            starts,
            uneven,
            size if whole == len(block) else whole,
        )

    def _read(self, block: bytes, options: Any) -> pa.Table | None:
        self._uneven.clear()
        reading = pacsv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(block) + 1)
        try:
            return pacsv.read_csv(pa.BufferReader(block), reading, options, self._convert)
        except pa.ArrowInvalid:
            return None

    def _ends_open(self, block: bytes) -> bool:
        """Whether the last line leaves a quote open, if the line before it does not."""
        end = len(block) - (2 if block.endswith(b"\r\n") else block.endswith((b"\n", b"\r")))
        start = max(block.rfind(b"\n", 0, end), block.rfind(b"\r", 0, end)) + 1
        lines = iter([block[start:end].decode("utf-8") + "\n", "x"])
        next(csv.reader(lines, delimiter=self._char, quotechar=self._quote), None)
        return next(lines, None) is None

    def _row_starts(self, block: bytes) -> tuple[Lines, int] | None:
        """The line of each row that is not blank, and where the last whole row ends.

        None where quotes stand in any place but around a whole value, or doubled inside.
        """
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _LF)
        if b"\r" in block:
            following = np.append(data[1:], 0)
            ends = np.flatnonzero((data == _LF) | ((data == _CR) & (following != _LF)))
        taken = len(block)
        row_ends = ends
        if self._quote is not None and self._quote.encode() in block:
            quotes = np.flatnonzero(data == ord(self._quote))
            if not self._around_values(data, quotes):
                return None
            row_ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
            if len(quotes) % 2:
                taken = int(row_ends[-1]) + 1 if len(row_ends) else 0
        starts = np.concatenate([[0], row_ends + 1])
        stops = np.append(row_ends, taken)
        # A row's CR before its LF is no content.
        crlf = (stops > starts) & (data[np.maximum(stops - 1, 0)] == _CR) & (stops < taken)
        filled = stops - crlf > starts
        return np.searchsorted(ends, starts[filled]).astype(np.int64), taken

    def _around_values(self, data: npt.NDArray[np.uint8], quotes: npt.NDArray[np.intp]) -> bool:
        assert self._quote is not None
        opening, closing = quotes[0::2], quotes[1::2]
        edges = [ord(self._char), _LF, _CR, ord(self._quote)]
        opens = (opening == 0) | np.isin(data[np.maximum(opening - 1, 0)], edges)
        last = len(data) - 1
        closes = (closing == last) | np.isin(data[np.minimum(closing + 1, last)], edges)
        return bool(opens.all() and closes.all())
