"""Files as blocks of UTF-8 text, whatever their compression and encoding."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from kgdistill.ingest.readers.encoding import UnlikeTold, refuse_encoding, refuse_unmarked
from kgdistill.ingest.readers.opened import compression_of, open_bytes
from kgdistill.ingest.readers.source import Source

BLOCK_BYTES = 4 << 20
# A longer one is a quote that nobody closed, or no text file; it must not fill the memory.
MAX_RECORD_BYTES = 32 << 20


def _flag(error: UnicodeError) -> tuple[str, int]:
    """Marks what cannot be decoded with a character that UTF-8 does not have."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("kgdistill.flag", _flag)
_LINE_END = re.compile(rb"\r\n|\n|\r")


def _marked(head: bytes) -> str:
    """The encoding that a file's first bytes tell; UTF-8 where they tell none."""
    # The mark of UTF-32 starts with that of UTF-16.
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if head.startswith(mark):
            return name
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def foreign_encoding(source: Source) -> str:
    """The encoding in which a text file is read, as its mapping says or its mark tells; empty for UTF-8.

    Raises:
        InputError: the file cannot be read.
    """
    name = source.options.encoding
    if name is None:
        with open_bytes(source) as (stream, _):
            name = _marked(stream.read(4))
    return "" if codecs.lookup(name).name in ("utf-8", "utf-8-sig") else name


def plain_hash(source: Source) -> str:
    """The SHA-256 of a compressed file's bytes without compression; empty for any other source.

    Raises:
        InputError: the file cannot be read, or is damaged or cut off.
    """
    if source.table is not None or compression_of(source) is None:
        return ""
    digest = hashlib.sha256()
    with open_bytes(source) as (stream, _):
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class TextBlocks:
    """Iterates over blocks of whole lines in UTF-8; bytes that are no text stay as invalid UTF-8.

    A line ends with LF, CR LF or CR. The mark at the start of the file (BOM) is left out, and so are the
    lines that the options skip.
    """

    def __init__(self, source: Source, stream: Any, raw: Any, block_bytes: int) -> None:
        self._source = source
        self._stream = stream
        self._raw = raw
        self._block_bytes = block_bytes
        self._told = 0
        self._blocks = self._whole_lines()
        self._pushed: list[bytes] = []
        self.line = 1
        # The first read must be long enough to hold a whole mark.
        self._first: bytes = stream.read(max(block_bytes, 4))
        self.encoding = source.options.encoding or _marked(self._first)
        self._decoder = self._make_decoder()
        self._doubted = True
        if source.options.encoding is None and b"\0" in self._first and self._decoder is None:
            refuse_unmarked(source, self._first)
        self._skip_lines(source.options.skip_lines)

    def _make_decoder(self) -> Any:
        try:
            info = codecs.lookup(self.encoding)
            "".encode(self.encoding)
        except LookupError as error:
            raise self._source.fail(f"has the unknown encoding {self.encoding!r}") from error
        return None if info.name in ("utf-8", "utf-8-sig") else info.incrementaldecoder("kgdistill.flag")

    def _skip_lines(self, count: int) -> None:
        while count and (block := self.next()) is not None:
            ends = [found.end() for found in islice(_LINE_END.finditer(block), count)]
            if len(ends) == count:
                self.push_back(block[ends[-1] :])
            self.line += len(ends)
            count -= len(ends)

    def next_line(self) -> bytes | None:
        """The next line with its end, or None."""
        block = self.next()
        if block is None:
            return None
        end = _LINE_END.search(block)
        cut = end.end() if end else len(block)
        self.push_back(block[cut:])
        self.line += 1
        return block[:cut]

    def put_back_line(self, line: bytes) -> None:
        """Gives back what `next_line` gave."""
        self.push_back(line)
        self.line -= 1

    def not_text(self) -> str:
        """What is said of bytes that are not of the encoding."""
        return f"is not {self.encoding.upper()} text"

    def __iter__(self) -> Iterator[bytes]:
        while (block := self.next()) is not None:
            yield block

    def next(self) -> bytes | None:
        """The next block, or None."""
        return self._pushed.pop() if self._pushed else next(self._blocks, None)

    def push_back(self, block: bytes) -> None:
        """Gives a block back, to be the next one."""
        if block:
            self._pushed.append(block)

    def consumed(self) -> int:
        """Bytes of the file read since this was last asked."""
        position = int(self._raw.tell())
        size, self._told = position - self._told, position
        return size

    def _decoded(self) -> Iterator[bytes]:
        first = True
        told = None if self._decoder is None else UnlikeTold(self._source, self.encoding)
        while True:
            data: bytes = self._first if first else self._stream.read(self._block_bytes)
            last = not data
            if told is not None:
                told.see(data, last)
            if self._decoder is not None:
                try:
                    data = self._decoder.decode(data, final=last).encode("utf-8", "surrogateescape")
                except UnicodeError as error:
                    # Such as UTF-16 without the mark that tells the order of its bytes.
                    raise self._source.fail(f"is not {self.encoding.upper()} text: {error}") from error
            if first:
                data = data.removeprefix(codecs.BOM_UTF8)
                first = False
            if data:
                yield data
            if last:
                return

    def _whole_lines(self) -> Iterator[bytes]:
        rest = b""
        for data in self._decoded():
            data = rest + data
            cut = data.rfind(b"\n") + 1
            if cut == 0:
                # A CR at the very end may be half of a CR LF.
                cut = data.rfind(b"\r", 0, len(data) - 1) + 1
            if cut == 0 and len(data) > MAX_RECORD_BYTES:
                raise self._source.fail(
                    f"has a line of more than {MAX_RECORD_BYTES >> 20} MiB",
                    place=f"line {self.line}",
                    hint="check its format and encoding",
                )
            rest = data[cut:]
            if cut:
                self._check(data[:cut])
                yield data[:cut]
        if rest:
            self._check(rest)
            yield rest

    def _check(self, block: bytes) -> None:
        """Refuses a file that is in another encoding; a few bytes that are no text are left to the rows."""
        if self._doubted and not is_text(block):
            refuse_encoding(self._source, self.encoding, block)
            self._doubted = False


def is_text(block: bytes) -> bool:
    """Whether a block is valid UTF-8."""
    if block.isascii():
        return True
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
