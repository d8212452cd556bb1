"""Refuses a text file that is in another encoding than it is read in, with the one to try."""

from __future__ import annotations

import codecs
from typing import Any

from kgdistill.errors import InputError
from kgdistill.ingest.readers.detect import Scan, by_mark, detected, scan, shown_as
from kgdistill.ingest.readers.opened import count_lines, open_bytes
from kgdistill.ingest.readers.source import Source

# Up to this share of the lines beyond ASCII may be damaged; with more, the file is in another encoding. UTF-8
# is seldom valid by chance: there half of them may, and one alone.
_DAMAGED, _DAMAGED_UTF_8 = 0.05, 0.5
_BLOCK = 1 << 20
_HOW = "say encoding: {} in the mapping, which reads it as {}, or export it again as UTF-8"


def refuse_unmarked(source: Source, head: bytes) -> None:
    """Refuses UTF-16 without a mark.

    Raises:
        InputError: every second byte is NUL.
    """
    name = by_mark(head)
    if name is not None and name.startswith("utf-16"):
        raise source.fail(
            "is UTF-16 without the mark that says so",
            hint=f"say encoding: {name} in the mapping, or export it again as UTF-8",
        )


def refuse_encoding(source: Source, encoding: str, block: bytes) -> None:
    """Refuses a file of which more than a few lines are not of the encoding.

    Args:
        source: the file.
        encoding: what it is read in.
        block: lines of it as UTF-8; what is not of the encoding is invalid.

    Where the mapping says UTF-8 and some lines are, the others are left to the rows, however many.

    Raises:
        InputError: with the line and byte of the first fault, and the encoding to try.
    """
    seen = scan(source)
    lines, broken, utf_8 = seen.lines, seen.broken, True
    mixed = seen.broken < seen.lines
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        utf_8 = False
        beyond = [line for line in block.splitlines() if not line.isascii()]
        lines, broken = len(beyond), sum(not _is_utf8(line) for line in beyond)
    if broken <= (max(1, _DAMAGED_UTF_8 * lines) if utf_8 else _DAMAGED * lines):
        return
    if utf_8 and mixed and source.options.encoding is not None:
        return
    if seen.lines and not seen.broken:
        raise _is_utf_8(source, encoding, seen.foreign.decode("utf-8"))
    name = encoding_to_try(seen)
    if name is None and utf_8:
        # Damage, not another encoding: each such row is a reject, and the share of rejects decides.
        return
    line, byte = _first_fault(source, encoding)
    hint = advice(seen, encoding, name)
    raise source.fail(
        f"is not {encoding.upper()} text, first at byte {byte:,} of the file",
        place=f"line {line:,}",
        hint=f"{hint}; encoding: utf-8 rejects the rows that are none" if utf_8 and mixed else hint,
    )


def encoding_to_try(seen: Scan) -> str | None:
    """The encoding that reads a file's lines beyond ASCII; None where none does well."""
    if not seen.lines:
        return None
    return detected(seen.foreign) or detected(seen.foreign.replace(b"\t", b", "))


def advice(seen: Scan, encoding: str, name: str | None) -> str:
    """What to do about a file that is not of an encoding, and perhaps of the one named."""
    if name is None or codecs.lookup(name).name == codecs.lookup(encoding).name:
        return "say its encoding in the mapping (encoding: NAME), or export it again as UTF-8"
    return _HOW.format(name, shown_as(seen.foreign, name))


class UnlikeTold:
    """Looks at a file that is said to be in some encoding for whether it is UTF-8.

    Args:
        source: the file.
        encoding: what it is said to be in.
    """

    def __init__(self, source: Source, encoding: str) -> None:
        self._source, self._encoding = source, encoding
        self._decoder: Any = codecs.getincrementaldecoder("utf-8")()
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32", "utf-7")):
            self._decoder = None
        self._signs = 0
        self._some = ""

    def see(self, data: bytes, last: bool) -> None:
        """The next bytes.

        Raises:
            InputError: after the last, where all are UTF-8 and several beyond ASCII.
        """
        if self._decoder is None:
            return
        try:
            text = self._decoder.decode(data, last)
        except UnicodeDecodeError:
            self._decoder = None
            return
        if not text.isascii():
            self._signs += sum(sign > "\x7f" for sign in text)
            self._some = self._some or text
        # A single sign may stand for two others by chance.
        if last and self._signs > 1:
            raise _is_utf_8(self._source, self._encoding, self._some)


def _is_utf_8(source: Source, encoding: str, text: str) -> InputError:
    some = next(line for line in text.splitlines() if not line.isascii())
    return source.fail(
        f"is UTF-8, not {encoding.upper()} text: {some[:60]!r}", hint="leave encoding out of the mapping"
    )


def _first_fault(source: Source, encoding: str) -> tuple[int, int]:
    """The line, from 1, and the byte, from 1 and without compression, where the text ends."""
    decoder = codecs.getincrementaldecoder(encoding)()
    read, line = 0, 1
    with open_bytes(source) as (stream, _):
        while True:
            data: bytes = stream.read(_BLOCK)
            read += len(data)
            try:
                text = decoder.decode(data, not data)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, "replace")
                line += count_lines(f"{before}x".encode()) - 1
                return line, read - len(error.object) + error.start + 1
            if not data:
                return line, read
            line += count_lines(f"{text}x".encode()) - 1


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
