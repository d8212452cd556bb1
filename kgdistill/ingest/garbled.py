"""Text that was read in a wrong encoding, here or before: refused, not stored."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.ingest.model import Notice
from kgdistill.ingest.readers import Source

# How the bytes from 80 to BF read as cp1252, or as Latin-1 where that has none.
_LATER = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
# UTF-8 read as cp1252: CafÃ©, â€™, Ð¿Ñ€, ä¸­.
_TWICE = f"[ÂÃ]{_LATER}|[à-ï]{_LATER}{{2}}|ð{_LATER}{{3}}|(?:[Ä-ß]{_LATER}){{2}}"
# What no text holds: a lost character, control characters, characters of private use.
_NEVER = "[\ufffd\u0080-\u0084\u0086-\u009f\ue000-\uf8ff]"
# Shift-JIS read as cp1252.
_KANA = "[‚ƒ].[‚ƒ]"
# Letters of Central Europe read as cp1252: Z³oty, ksi¹¿ka, £odzi.
_SIGN_IN_WORD = re.compile(
    "[^\\W\\d_][¹³¼¾¿£¥¢¤¯¨¸]{1,2}[a-zà-ÿ]|[A-ZÀ-Þ][¹³¼¾¿£¥¢¤¯¨¸]{1,2}[A-ZÀ-Þ]|(?<!\\w)£[a-z]{0,9}[à-ÿ]"
)
# In UTF-8 such signs are somebody's own: of lists, prices and names.
_SIGN_WITHIN = re.compile("[a-zà-ÿ][¹³¼¾¿£¥¢¤¯¨¸]{1,2}[a-zà-ÿ]")
_BROKEN = re.compile(f"{_NEVER}|{_TWICE}|{_KANA}")
# Letters of other scripts read as cp1252 come in runs, without a plain letter between.
_RUN = re.compile("[€ƒ‚„†‡ˆ‰ŠŒŽšœžŸ¡-ª¬-º¼-ÿ]{4,}")
_EASTERN = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uff00-\uffef]")
_EASTERN_ENCODINGS = ("gb18030", "big5", "cp932", "cp949")

# A column is refused where this share of its values beyond ASCII is garbled, and those are some, or much.
_SHARE = 0.5
_SOME = 3
_MUCH = 0.1
# So many values of a batch are looked at.
_SAMPLE = 2_000
_EXAMPLES = 50
GARBLED = "looks garbled, as text does that was read in a wrong encoding"


def is_garbled(text: str) -> bool:
    """Whether a text is one that was read in a wrong encoding, as far as it shows."""
    if _BROKEN.search(text):
        return True
    for run in _RUN.findall(text):
        letters = sum(sign >= "À" for sign in run)
        if 3 * letters >= len(run) and len(set(run)) > 1:
            return True
    # UTF-8 read as GB18030, Big5 and the like.
    if len(_EASTERN.findall(text)) < 4:
        return False
    return any(_is_utf8_in(text, name) for name in _EASTERN_ENCODINGS)


def _is_utf8_in(text: str, encoding: str) -> bool:
    try:
        return not text.encode(encoding).decode("utf-8").isascii()
    except UnicodeError:
        return False


@dataclass
class _Seen:
    values: int = 0
    beyond: int = 0
    garbled: int = 0
    line: int = 0
    examples: list[str] = field(default_factory=list)
    # With signs within words, which UTF-8 may have.
    odd: int = 0
    first_odd: tuple[int, str] = (0, "")

    @property
    def example(self) -> str:
        return self.examples[0] if self.examples else ""


class TextCheck:
    """Looks at the text of one source as it is read.

    Args:
        source: the source.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._columns: dict[str, _Seen] = {}
        told = source.options.encoding
        unicode = told is None or codecs.lookup(told).name.startswith("utf")
        # The encoding of one or two bytes that somebody says the text is in.
        self._told = None if unicode else told

    def see(self, table: pa.Table, lines: IntArray) -> None:
        """The next rows, and the line of each."""
        if not self._source.options.check_text:
            return
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                self._look(self._columns.setdefault(name, _Seen()), column.combine_chunks(), lines)

    def _look(self, seen: _Seen, column: pa.Array, lines: IntArray) -> None:
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        seen.values += len(column) - column.null_count
        ascii = pc.fill_null(pc.string_is_ascii(column), True)
        rows = np.flatnonzero(~np.asarray(ascii).astype(bool))
        if not len(rows):
            return
        some = rows[:: max(1, len(rows) // _SAMPLE)]
        texts = [
            (int(row), text) for row, text in zip(some, column.take(pa.array(some)).to_pylist(), strict=True)
        ]
        sign = _SIGN_IN_WORD if self._told else _SIGN_WITHIN
        odd = [(row, text) for row, text in texts if sign.search(text)]
        garbled = [(row, text) for row, text in texts if is_garbled(text)]
        if self._told:
            garbled = sorted({*garbled, *odd})
        elif odd:
            seen.first_odd = seen.first_odd if seen.odd else (int(lines[odd[0][0]]), odd[0][1])
            seen.odd += len(odd) * len(rows) // len(some)
        seen.beyond += len(rows)
        if garbled and not seen.garbled:
            seen.line = int(lines[garbled[0][0]])
        seen.examples += [text for _, text in garbled[: _EXAMPLES - len(seen.examples)]]
        seen.garbled += len(garbled) * len(rows) // len(some)

    def notices(self) -> Iterable[Notice]:
        """The columns with a few values that look garbled.

        Raises:
            InputError: most of a column's text beyond ASCII does.
        """
        for name, seen in self._columns.items():
            if not seen.garbled:
                if seen.odd >= max(_SOME, _SHARE * seen.beyond):
                    line, text = seen.first_odd
                    yield Notice(self._source.name, line, name, text[:200], GARBLED, seen.odd)
                continue
            much = seen.garbled >= _SOME or seen.garbled >= _MUCH * seen.values
            # Odd signs that no wrong reading explains are somebody's data.
            if much and seen.garbled >= _SHARE * seen.beyond and self._explained(seen):
                raise self._refusal(name, seen)
            example = seen.example[:200]
            yield Notice(self._source.name, seen.line, name, example, GARBLED, seen.garbled)

    def _explained(self, seen: _Seen) -> bool:
        """Whether most of the values have lost characters, are UTF-8 read wrongly, or all fit an encoding."""
        told = self._told or "cp1252"
        known = [
            "\ufffd" in text or _is_utf8_in(text, told) or _is_utf8_in(text, "latin-1")
            for text in seen.examples
        ]
        return 2 * sum(known) >= len(known) or self._read_as("\n".join(seen.examples)) is not None

    def _read_as(self, text: str) -> str | None:
        """The encoding that would have read a text, where there is one that reads another than is there."""
        from kgdistill.ingest.readers.detect import detected

        told = self._told or "cp1252"
        try:
            data = text.encode(told)
            other = "utf-8" if _is_utf8_in(text, told) else detected(data)
        except (UnicodeError, LookupError):
            return None
        return other if other is not None and data.decode(other, "replace") != text else None

    def _refusal(self, name: str, seen: _Seen) -> InputError:
        hint = "export it again"
        told = self._told
        other = self._read_as(seen.example)
        if other is not None:
            was = seen.example.encode(told or "cp1252").decode(other, "replace")
            hint = f"say encoding: {other} in the mapping, which reads {was[:40]!r}"
            if told is None:
                hint = f"it was perhaps {was[:40]!r} in {other}: export it again"
        return InputError(
            f"{seen.garbled:,} of {seen.beyond:,} values beyond ASCII look garbled, such as "
            f"{seen.example[:60]!r}",
            where=f"{self._source.where}, line {seen.line:,}, column {name}",
            hint=f"{hint}; check_text: false in the mapping takes the text as it is",
        )
