"""What bytes a file holds: text in some encoding, or something else that a suffix does not tell."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from encodings.aliases import aliases

from charset_normalizer import from_bytes

from kgdistill.errors import InputError
from kgdistill.ingest.readers.eastern_signs import OF_TWO_BYTES, READS, SURE, best_eastern, eastern_score
from kgdistill.ingest.readers.letters import LATIN, SCRIPTS, likeliest, reads_as_words
from kgdistill.ingest.readers.opened import open_bytes
from kgdistill.ingest.readers.source import Source
from kgdistill.nearest import nearest

_BLOCK = 1 << 20
_LOOKED_AT = 256 << 20
_FOREIGN = 256 << 10
_TAIL = 64 << 10
# Those that files come in, the likelier first where several read equally well.
_KNOWN = (
    "cp1252", "gb18030", "cp932", "big5", "cp949", "euc_jp", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp874", "cp1257", "cp437", "cp850", "mac_roman",
    "iso8859_2",
)  # fmt: skip
_EASTERN_NAMES = {
    "gb18030": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "cp932": "cp932", "shift_jis": "cp932",
    "shift_jis_2004": "cp932", "shift_jisx0213": "cp932", "big5": "big5", "cp950": "big5",
    "big5hkscs": "big5", "cp949": "cp949", "euc_kr": "cp949", "euc_jp": "euc_jp", "euc_jis_2004": "euc_jp",
}  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE = "open it and save the sheet as CSV (UTF-8)"
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook, or another old Office file", _SAVE),
    (b"PAR1", "is a Parquet file", "name it .parquet"),
    (b"ARROW1", "is an Arrow file", "name it .arrow"),
    (b"SQLite format 3\0", "is an SQLite database", "export its tables as CSV"),
    (b"%PDF", "is a PDF", "ask for the table as CSV"),
    (b"\x89PNG", "is a picture (PNG)", ""),
    (b"GIF8", "is a picture (GIF)", ""),
    (b"\xff\xd8\xff", "is a picture (JPEG)", ""),
    (b"BZh", "is compressed with bzip2", "unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "is compressed with xz", "unpack it, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "is a RAR archive", "unpack it"),
    (b"ORC", "is an ORC file", "export it as Parquet"),
    (b"Obj\x01", "is an Avro file", "export it as Parquet"),
    (b"\x89HDF", "is an HDF5 file", "export it as Parquet"),
    (b"\x93NUMPY", "is a NumPy array", "export it as Parquet"),
    (b"\x80\x04\x95", "is a Python pickle", "export it as Parquet"),
    (b"\x80\x05\x95", "is a Python pickle", "export it as Parquet"),
    (b"\x7fELF", "is a program", ""),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|table|\?xml|[a-z]+[ >])", re.IGNORECASE)
# Signs that stand in the same places in all of Windows' encodings of one byte.
_SIGNS = set("‚„…‘’“”•–—™\u00a0§©«®°»µ".encode("cp1252"))
_EURO = re.compile(rb"\d[ \xa0]?\x80(?![A-Za-z])|(?<![A-Za-z\x80-\xff])\x80[ \xa0]?\d")
_NO_EURO = re.compile(rb"[A-Za-z]\x80|\x80[A-Za-z]")


@dataclass(frozen=True)
class Scan:
    """A file's bytes, as far as they were looked at, without compression.

    Attributes:
        head: whole lines from its start, up to about a MiB.
        tail: its last lines; empty where the file was not read to its end.
        foreign: lines with more than ASCII in them, up to 256 KiB.
        lines: how many such lines there are; `broken` of them are not UTF-8.
    """

    head: bytes
    tail: bytes
    foreign: bytes
    lines: int
    broken: int


@dataclass(frozen=True)
class Encoding:
    """The encoding's name, what is doubtful about it, and whether there is only ASCII in the file."""

    name: str = "utf-8"
    doubt: str = ""
    plain: bool = False


def scan(source: Source) -> Scan:
    """Reads a file, up to 256 MiB of it.

    Raises:
        InputError: it cannot be read, is empty, or holds something other than text.
    """
    with open_bytes(source) as (stream, _):
        head: bytes = stream.read(_BLOCK)
        if not head.removeprefix(codecs.BOM_UTF8).strip():
            raise source.fail("is empty", hint="a header line and rows are expected")
        check_text(source, head)
        foreign: list[bytes] = []
        size = lines = broken = 0
        block, rest, read = head, b"", len(head)
        while block:
            block = rest + block
            cut = block.rfind(b"\n") + 1 or len(block)
            rest = block[cut:]
            if not block[:cut].isascii():
                for line in block[:cut].split(b"\n"):
                    if not line.isascii():
                        lines += 1
                        broken += not _is_utf8(line)
                        if size < _FOREIGN:
                            foreign.append(line[:4_000])
                            size += len(foreign[-1]) + 1
            more: bytes = stream.read(_BLOCK) if read < _LOOKED_AT else b""
            read += len(more)
            if not more:
                break
            block = more
        ended = read < _LOOKED_AT or not stream.read(1)
        tail = (block + more)[-_TAIL:] if ended else b""
    if len(head) == _BLOCK:
        head = head[: head.rfind(b"\n") + 1] or head
    return Scan(head, tail, b"\n".join(foreign), lines, broken)


def check_text(source: Source, head: bytes) -> None:
    """Refuses what is no text by its first bytes, with what to do about it."""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        if (
            b"xl/" in head
            or b"[Content_Types].xml" in head[:200]
            or (source.path and ".xls" in source.path.name)
        ):
            raise source.fail("is an Excel workbook, not CSV", hint=_SAVE)
        raise source.fail("is a zip archive", hint="unpack it")
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise source.fail(what, hint=hint)
    if head[257:262] == b"ustar":
        raise source.fail("is a tar archive", hint="unpack it")
    if _MARKUP.match(head[:200].removeprefix(codecs.BOM_UTF8)):
        hint = "some shops call a web page .xls or .csv; open it and save it as CSV (UTF-8)"
        raise source.fail("is HTML or XML, not CSV", hint=hint)
    if by_mark(head) is None:
        controls = len(re.findall(rb"[\x00\x02-\x06\x0e-\x1a\x7f]", head[:65_536]))
        if controls > 0.05 * len(head[:65_536]):
            raise source.fail("is not text", hint="CSV, TSV, JSON lines, Parquet and Arrow are read")


def by_mark(head: bytes) -> str | None:
    """The encoding that a mark at the start, or NUL bytes in every second place, tell."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    some = head[: min(len(head), 4_096) & ~1]
    even, odd = some[0::2].count(0), some[1::2].count(0)
    for name, here, there in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if here > 0.3 * len(some) / 2 and there < 0.05 * len(some):
            return name
        # In scripts other than Latin delimiters, figures and line ends have one.
        if here > 0.05 * len(some) / 2 and 10 * there < here and "\n" in some.decode(name, "replace"):
            return name
    return None


def known_encoding(name: str) -> str:
    """The name, where Python knows a text encoding of it.

    Raises:
        InputError: it knows none, with names that are near.
    """
    try:
        codecs.lookup(name)
        "".encode(name)
        b"".decode(name)
    except (LookupError, ValueError, TypeError) as error:
        some = {*aliases, *aliases.values(), "utf-8", "utf-16", "latin-1", *_KNOWN}
        hint = f"{nearest(name.replace(' ', '-'), some)}such as utf-8, utf-16, cp1252, gb18030, shift_jis"
        raise InputError(f"{name!r} is not a text encoding", where="--encoding", hint=hint) from error
    return name


def encoding_of(source: Source, seen: Scan, told: str | None = None) -> Encoding:
    """The encoding of a file, by its bytes, or as told where the text then reads well.

    Raises:
        InputError: no encoding that is known reads well, or the one told does not.
    """
    if told is not None:
        return _as_told(source, seen, told)
    marked = by_mark(seen.head)
    if marked is not None and marked != "utf-8":
        doubt = (
            ""
            if seen.head.startswith(_MARKS[1][0][:2]) or seen.head.startswith(b"\xfe\xff")
            else "no mark tells it"
        )
        return Encoding(marked, doubt)
    if b"\x1b$" in seen.head and seen.lines == 0:
        return Encoding("iso2022_jp", "by its escape sequences")
    if seen.broken <= 0.05 * seen.lines:
        bad = f"{seen.broken:,} of {seen.lines:,} lines beyond ASCII are not UTF-8 and would be rejected"
        return Encoding("utf-8", bad if seen.broken else _written_twice(seen.foreign), seen.lines == 0)
    best = detected(seen.foreign)
    if best is None and seen.broken < seen.lines:
        told = f"is a mixture: {seen.lines - seen.broken:,} of {seen.lines:,} lines beyond ASCII are UTF-8"
        raise source.fail(told, hint="export the parts that it was made of again, as UTF-8")
    if best is None:
        hint = "say it: --encoding NAME; or export the file again as UTF-8"
        raise source.fail("is text in no encoding that could be recognised", hint=hint)
    return Encoding(
        best, f"it would read {shown_as(seen.foreign, best)}; another can be said with --encoding"
    )


def _as_told(source: Source, seen: Scan, told: str) -> Encoding:
    name = known_encoding(told)
    wide = codecs.lookup(name).name.startswith(("utf-16", "utf-32")) or b"\0" in seen.head
    text = seen.head if wide else seen.foreign
    try:
        codecs.getincrementaldecoder(name)().decode(text, False)
    except UnicodeError as error:
        other = detected(seen.foreign) if seen.broken else "utf-8"
        hint = (
            f"{other} reads it: {shown_as(seen.foreign, other)}" if other and seen.foreign else "name another"
        )
        raise source.fail(f"is not {name} text", hint=hint) from error
    if not seen.lines or wide:
        return Encoding(name, plain=not seen.lines)
    other = "utf-8" if seen.broken == 0 else detected(seen.foreign)
    same = codecs.lookup(name).name
    if other is not None and codecs.lookup(other).name != same and not _reads_well(seen.foreign, name):
        raise source.fail(
            f"looks garbled when read as {name}: {shown_as(seen.foreign, name)}",
            hint=f"{other} reads it: {shown_as(seen.foreign, other)}",
        )
    return Encoding(name)


def _reads_well(foreign: bytes, name: str) -> bool:
    same = codecs.lookup(name).name
    if _is_utf8(foreign):
        # What is UTF-8 in every line is nothing else.
        return same in ("utf-8", "utf-8-sig")
    eastern = _EASTERN_NAMES.get(same.replace("-", "_"))
    if eastern is not None:
        return eastern_score(foreign, eastern) >= READS
    words = reads_as_words(foreign, name)
    return (
        words if words is not None else bool(from_bytes(foreign, cp_isolation=[name], enable_fallback=False))
    )


def detected(foreign: bytes) -> str | None:
    """The encoding, of those that files come in, that reads these lines best; None where none does well."""
    alone = set(foreign) - _SIGNS - set(range(128)) == {0x80}
    if alone and len(_NO_EURO.findall(foreign)) <= len(_EURO.findall(foreign)):
        # Without any word that is not plain, the byte is a euro sign, and no letter.
        return "cp1252"
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", foreign)]
    # Accents stand alone between plain letters; signs of two bytes, and other scripts, in runs.
    accents = runs.count(1) > 0.5 * sum(runs)
    script = sum(runs) >= 3 * len(runs)
    eastern, score = best_eastern(foreign)
    if score >= SURE:
        return eastern
    fitting = [
        name
        for name in _KNOWN
        if not (name in OF_TWO_BYTES and (name != eastern or score < READS))
        and not ((accents and name not in LATIN) or (script and name in LATIN))
    ]
    guessed = from_bytes(foreign, cp_isolation=fitting, enable_fallback=False)
    found = [m for m in guessed if m.encoding in fitting]
    if not found:
        best = likeliest(foreign)
        return best if accents and reads_as_words(foreign, best) else None
    least = min(m.chaos for m in found)
    near = [m for m in found if m.chaos <= least + 0.03]
    most = max(m.coherence for m in near)
    # Several read the same text: the likeliest of them is named.
    likely = {name for m in near if m.coherence >= most - 0.1 for name in m.could_be_from_charset}
    return _neighbour(foreign, min(likely & set(fitting), key=_KNOWN.index))


def _neighbour(foreign: bytes, name: str) -> str:
    """The encoding itself, or one with other letters in the same places that is likelier for these."""
    if name in LATIN:
        # A euro sign beside a number.
        euro = _EURO.search(foreign) is not None
        return likeliest(foreign, [some for some in LATIN if not euro or some.startswith("cp125")])
    return likeliest(foreign, SCRIPTS) if name in SCRIPTS else name


def _written_twice(foreign: bytes) -> str:
    """The doubt where UTF-8 was taken for cp1252 and written as UTF-8 again."""
    text = foreign.decode("utf-8", "replace")
    lines = [line for line in text.split("\n") if line]
    twice = []
    for line in lines[:500]:
        try:
            once = line.encode("cp1252").decode("utf-8")
        except UnicodeError:
            continue
        twice.append((line, once))
    if lines and len(twice) > 0.5 * len(lines[:500]):
        was, once = (_piece(some) for some in twice[0])
        return f"the text looks garbled: {was} was perhaps {once}; export it again"
    if "\ufffd" in text:
        lost = sum("\ufffd" in line for line in lines)
        return f"{lost:,} lines hold \ufffd where a character was lost; export it again"
    return ""


def shown_as(foreign: bytes, name: str) -> str:
    """Some of the text, as that encoding reads it."""
    text = foreign[:4_000].decode(name, "replace")
    return ", ".join(dict.fromkeys(_piece(line) for line in text.split("\n")[:3] if not line.isascii()))


def _piece(line: str) -> str:
    """The part of a line around its first character beyond ASCII."""
    pieces = [piece.strip() for piece in re.split(r"[,;\t|\"]", line) if not piece.isascii()]
    return repr(pieces[0][:30] if pieces else "")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
