"""Python's CSV parser over the blocks of a file: slower than Arrow's, and exact where that is not."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kgdistill.errors import InputError
from kgdistill.ingest.readers.opened import count_lines
from kgdistill.ingest.readers.source import Source
from kgdistill.ingest.readers.text import MAX_RECORD_BYTES, TextBlocks

# Stands for delimiters that are no single ASCII character.
UNIT = "\x1f"
# Stands for UNIT where that is the file's own.
_OWN_UNIT = "\udc01"
# Stands for NUL, which Python's parser refuses before 3.11.
NUL = "\udc00"
_FIELD_LIMIT = 2**31 - 1
# A value of more lines than this is worth a word: it may hold rows that a stray quote has swallowed.
MANY_LINES = 30

SWALLOWED = (
    f"is one row of more than {MANY_LINES} lines, or of lines that are each like a row: is a quote in it "
    "left open? (quote: null where quotes mean nothing)"
)
BACKSLASH = 'holds a quoted value that ends in a backslash: does it escape the quote? (escape: "\\\\")'


@dataclass(frozen=True)
class Signs:
    """What has a meaning in a delimited file; None: nothing is a quote, or an escape."""

    delimiter: str
    quote: str | None
    escape: str | None

    @property
    def swap(self) -> bool:
        """Whether `UNIT` has to stand for the delimiter, which is no single ASCII character."""
        return len(self.delimiter) > 1 or not self.delimiter.isascii()

    @property
    def char(self) -> str:
        """The delimiter that a parser is given."""
        return UNIT if self.swap else self.delimiter


@dataclass(frozen=True)
class Record:
    """One row as it stands in the file.

    Attributes:
        line: the line on which it starts.
        text: its lines, with their ends.
        row: its values; empty for a blank line; None where it cannot be split.
        fault: why it cannot be split.
    """

    line: int
    text: list[str]
    row: list[str] | None
    fault: str = ""


class Records:
    """The records of one block, and of those that follow while a quote is open."""

    def __init__(self, source: Source, blocks: TextBlocks, signs: Signs) -> None:
        self._source, self._blocks, self._signs = source, blocks, signs
        self._quoted = _quoted(signs)
        self._nothing = _nothing(signs)
        self.dirty = False
        self.pulled = 0
        self._open = False
        self._record: list[str] = []
        self._size = 0
        self._stream = io.StringIO()
        if csv.field_size_limit() < _FIELD_LIMIT:
            csv.field_size_limit(_FIELD_LIMIT)

    def parse(self, block: bytes) -> Iterator[Record]:
        """Each record; counts the file's lines on.

        After a closing quote only a delimiter or the line's end can follow: where something else does,
        the lines from the record's first to this one are a record without values; the next starts anew.

        Raises:
            InputError: a quote stays open to the end of the file, or for too long.
        """
        signs = self._signs
        reader = csv.reader(
            self._feed(block),
            delimiter=signs.char,
            quotechar=signs.quote,
            escapechar=signs.escape,
            quoting=csv.QUOTE_NONE if signs.quote is None else csv.QUOTE_MINIMAL,
            strict=True,
        )
        while True:
            self._record, self._size = [], 0
            row: list[str] | None = None
            fault = ""
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = self._bad_quote() if "expected after" in str(error) else f"cannot be split: {error}"
            self._open = False
            line = self._blocks.line
            self._blocks.line += len(self._record)
            if row is not None and signs.swap:
                row = [self.plain(cell) for cell in row]
            yield Record(line, self._record, row, fault)

    def plain(self, text: str) -> str:
        """Text as it stands in the file, but for bytes that are no text."""
        if self._signs.swap:
            text = text.replace(UNIT, self._signs.delimiter).replace(_OWN_UNIT, UNIT)
        return text

    def rest(self) -> bytes:
        """What the parser has not taken of its last block."""
        return self.plain(self._stream.read()).replace(NUL, "\0").encode("utf-8", "surrogateescape")

    def odd(self, record: Record, width: int) -> list[str]:
        """What is worth a word about a record that fits."""
        found = []
        if len(record.text) > 1:
            count = len(record.text)
            like = all(line.count(self._signs.char) == width - 1 for line in record.text)
            blank = any(f"{self._signs.char} " in line for line in record.text)
            if count > MANY_LINES or (like and like_rows(count, width, blank)):
                found.append(SWALLOWED)
        if self._signs.quote is not None and self._signs.escape is None:
            text = "".join(record.text)
            if f"\\{self._signs.quote}" in text and any(
                end > start and text[end - 1] == "\\" for start, end in self._spans(text)
            ):
                found.append(BACKSLASH)
        return found

    def _feed(self, block: bytes) -> Iterator[str]:
        while True:
            self._stream = io.StringIO(self._decode(block), newline="")
            for line in self._stream:
                self._open = True
                self._record.append(line)
                self._size += len(line)
                yield line
            if not self._open:
                return
            # The record goes on in the next block.
            following = self._blocks.next()
            if following is None or self._size > MAX_RECORD_BYTES:
                raise self._unclosed(following is None)
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
            text = text.replace("\0", NUL)
        if self._signs.swap:
            text = text.replace(UNIT, _OWN_UNIT).replace(self._signs.delimiter, UNIT)
        if self._nothing is not None:
            text = self._nothing.sub(lambda _: f"{self._signs.escape}{self._signs.escape}N", text)
        return text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where each quoted value's opening and closing quote stand; the end of an open one is the text's."""
        assert self._quoted is not None
        for found in self._quoted.finditer(text):
            if found["quoted"] is not None:
                yield found.start("quoted"), found.end("quoted")

    def _opened(self, text: str) -> int | None:
        """On which line of a text, from 0, the quote stands that is open at its end."""
        if self._quoted is not None:
            for start, end in self._spans(text):
                if end == len(text):
                    return count_lines(text[:start].encode("utf-8", "replace") + b"x") - 1
        return None

    def _bad_quote(self) -> str:
        first = self._blocks.line
        last = first + len(self._record) - 1
        opened = self._opened("".join(self._record[:-1])) if len(self._record) > 1 else None
        why = "text follows a closing quote"
        if opened is not None:
            why = f"the quote opened on line {first + opened} is closed on line {last}, before more text"
        if f"\\{self._signs.quote}" in self._record[-1] and self._signs.escape is None:
            return f'{why}; where a backslash escapes quotes, say escape: "\\\\"'
        return f"{why}; a quote inside quotes is doubled (quote: null where quotes mean nothing)"

    def _unclosed(self, at_end: bool) -> InputError:
        opened = self._opened("".join(self._record))
        line = self._blocks.line + (opened or 0)
        what = "ends with the escape character" if opened is None else "opens a quote that is never closed"
        return self._source.fail(
            what if at_end else f"opens a quote that is not closed within {MAX_RECORD_BYTES >> 20} MiB",
            place=f"line {line}",
            hint="double a quote inside quotes, or say that the file has none (quote: null)",
        )


def like_rows(lines: int, width: int, blank: bool) -> bool:
    """Whether that a row's lines all hold as many delimiters as a row is no chance.

    Args:
        lines: how many there are.
        width: how many values a row has.
        blank: after a delimiter comes a blank, as in text.
    """
    return width > 2 or (width == 2 and (lines > 2 or not blank))


def _quoted(signs: Signs) -> re.Pattern[str] | None:
    """Matches value by value; what stands between its quotes is the group `quoted`."""
    if signs.quote is None:
        return None
    quote, char = re.escape(signs.quote), re.escape(signs.char)
    escape = "" if signs.escape is None else re.escape(signs.escape)
    pair = f"|{escape}(?:.|\\Z)" if escape else ""
    inside = f"{quote}(?P<quoted>(?:[^{quote}{escape}]+|{quote}{quote}{pair})*){quote}?"
    return re.compile(f"(?:{inside})?(?:[^{char}{escape}\r\n]+{pair})*(?:[{char}\r\n]|\\Z)", re.DOTALL)


def _nothing(signs: Signs) -> re.Pattern[str] | None:
    """What stands for no value in a file with an escape: it and N, alone."""
    if signs.escape is None:
        return None
    outside = f"[^{re.escape(signs.char)}\r\n]"
    return re.compile(f"(?<!{outside}){re.escape(signs.escape)}N(?!{outside})")
