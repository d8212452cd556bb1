"""What the first rows of a file say about its columns."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError
from kgdistill.ingest.readers import Source, SourceOptions, column_names, read_batches
from kgdistill.ingest.readers._source import suffixes

SAMPLE = 1_000
_NOTHING = ("NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan", "\\N", "#N/A")
_FORMATS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%m/%d/%y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%d %b %Y",
    "%b %d, %Y",
    "%Y%m%d",
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?)?\Z")
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?\Z")
_COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+\Z")
_MONEY = re.compile(r"[^\d.,+-]+")
_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}
_UNITS = (("s", 1e8, 4e9), ("ms", 1e11, 4e12), ("us", 1e14, 4e15), ("ns", 1e17, 4e18))
_Shape = TypeVar("_Shape")
# With fewer values nothing is an exception; of more, this share has to fit.
_FEW = 20
_SHARE = 0.97
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}\Z")
_PHONE = re.compile(r"\+?[\d][\d ()/-]{6,}\d\Z")


@dataclass(frozen=True)
class TimeShape:
    """How times are written: ISO 8601 where both are None; `other` fits the sample as well."""

    format: str | None = None
    unit: str | None = None
    other: str | None = None


@dataclass(frozen=True)
class NumberShape:
    """How numbers are written: with a decimal comma, with a currency around them, as whole numbers."""

    comma: bool = False
    money: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Column:
    """A column of the sample.

    Attributes:
        name: as in the file.
        words: the words of its name in lower case, without accents.
        values: its values as text, those that are there.
        rows: rows of the sample.
        lists: its values are lists; `values` then holds their elements.
    """

    name: str
    words: tuple[str, ...]
    values: list[str]
    rows: int
    lists: bool = False
    time: TimeShape | None = None
    number: NumberShape | None = None
    distinct: int = 0
    personal: bool = False

    @property
    def flat(self) -> str:
        """The name's words without anything between them."""
        return "".join(self.words)

    def length(self) -> float:
        """The mean length of its values."""
        return sum(map(len, self.values)) / max(len(self.values), 1)


@dataclass(frozen=True)
class Sample:
    """A file's options, columns and first rows."""

    path: Path
    options: SourceOptions
    columns: list[Column] = field(default_factory=list)
    rows: int = 0


def sample(path: Path) -> Sample:
    """Reads the names and the first rows of a file.

    Raises:
        InputError: it cannot be read, is empty, or nothing tells its format.
    """
    options = _options(path)
    source = Source(path.name, path, None, options)
    names = column_names(source)
    taken: list[pa.Table] = []
    rows = 0
    for batch in read_batches(source, names, batch_rows=SAMPLE, block_bytes=1 << 20):
        taken.append(batch.table)
        rows += batch.table.num_rows
        if rows >= SAMPLE:
            break
    tables = [t.slice(0, SAMPLE) for t in taken[:1]] if rows >= SAMPLE and taken[0].num_rows else taken
    columns = [_column(name, [t[name] for t in tables]) for name in names]
    rows = sum(t.num_rows for t in tables)
    columns = [_decided(c, source) for c in columns]
    absent = sorted({v for c in columns for v in c.values if v in _NOTHING})
    if absent and options.format in ("csv", "tsv", "recbole"):
        options = SourceOptions(
            options.format, options.delimiter, options.encoding, null_values=("", *absent)
        )
        columns = [_described(c.name, [v for v in c.values if v not in absent], c.rows) for c in columns]
    return Sample(path, options, columns, rows)


def words(name: str) -> tuple[str, ...]:
    """The words of a name: CustomerID, customer_id and customer-id are customer, id."""
    spelled = name
    for letter, letters in _UMLAUTS.items():
        spelled = spelled.replace(letter, letters)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", plain)
    return tuple(part.lower() for part in parts)


def _options(path: Path) -> SourceOptions:
    told, compression = suffixes(path)
    if told in ("jsonl", "parquet", "arrow"):
        return SourceOptions(format=told)
    if told is None and path.suffix.lower() not in (".txt", ".dat"):
        raise InputError(
            "has a suffix that tells no format",
            where=str(path),
            hint="rename it: .csv, .tsv, .jsonl, .parquet",
        )
    encoding, head = "utf-8", b""
    if compression is None:
        try:
            with path.open("rb") as file:
                head = file.read(1 << 18)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    whole = head[: head.rfind(b"\n") + 1] or head
    try:
        text = whole.decode("utf-8-sig")
    except UnicodeDecodeError:
        encoding, text = "cp1252", whole.decode("cp1252", "replace")
    if told == "recbole":
        return SourceOptions(format=told, encoding=encoding)
    lines = [line for line in text.splitlines()[:1] if line]
    counts = {mark: lines[0].count(mark) for mark in (",", ";", "\t", "|")} if lines else {}
    usual = "\t" if told == "tsv" else ","
    best = max(counts, key=lambda mark: (counts[mark], mark == usual)) if counts else usual
    if counts.get(best, 0) == 0 or best == usual:
        return SourceOptions(format=told or "csv", encoding=encoding)
    if best == "\t":
        return SourceOptions(format="tsv", encoding=encoding)
    return SourceOptions(format="csv", delimiter=best, encoding=encoding)


def _column(name: str, parts: list[pa.ChunkedArray]) -> Column:
    rows = sum(len(part) for part in parts)
    values: list[str] = []
    lists = stamps = False
    for part in parts:
        kind = part.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            lists = True
            part = pc.list_flatten(part)
        stamps = stamps or pa.types.is_timestamp(part.type) or pa.types.is_date(part.type)
        try:
            texts = pc.cast(part, pa.string()).to_pylist()
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            continue
        values += [text for v in texts if v is not None and (text := v.strip())]
    column = _described(name, values, rows, lists)
    if stamps and column.time is None:
        column = replace(column, time=TimeShape())
    return column


def _described(name: str, values: list[str], rows: int, lists: bool = False) -> Column:
    counted = Counter(values)
    some = list(counted)[:300]
    shaped = some if some else []
    return Column(
        name=name,
        words=words(name),
        values=values,
        rows=rows,
        lists=lists,
        time=None if lists else _tolerant(counted, _time),
        number=None if lists else _tolerant(counted, _number),
        distinct=len(counted),
        personal=bool(shaped) and (_most(shaped, _MAIL) or (_most(shaped, _PHONE) and _any_plus(shaped))),
    )


def _decided(column: Column, source: Source) -> Column:
    """Reads on until a time tells whether its day or its month stands first."""
    shape = column.time
    if shape is None or shape.format is None or shape.other is None:
        return column
    fitting = [shape.format, shape.other]
    for batch in read_batches(source, [column.name]):
        for text in pc.unique(batch.table[column.name]).to_pylist():
            left = [one for one in fitting if text is None or _fits(text.strip(), one)]
            # What fits neither is no time at all.
            fitting = left or fitting
        if len(fitting) == 1:
            break
    return replace(column, time=TimeShape(fitting[0], None, fitting[1] if len(fitting) > 1 else None))


def _most(values: list[str], shape: re.Pattern[str]) -> bool:
    return sum(shape.match(v) is not None for v in values) > 0.8 * len(values)


def _any_plus(values: list[str]) -> bool:
    return any(v.startswith("+") for v in values)


def _tolerant(counted: Counter[str], guess: Callable[[list[str]], _Shape | None]) -> _Shape | None:
    """A guess that a few values may contradict: a sample has bad rows as the whole file has."""
    distinct = list(counted)[:300]
    whole = guess(distinct)
    total = sum(counted[value] for value in distinct)
    if whole is not None or total < _FEW:
        return whole
    fitting = [value for value in distinct if guess([value]) is not None]
    if sum(counted[value] for value in fitting) < total * _SHARE:
        return None
    return guess(fitting)


def _time(values: list[str]) -> TimeShape | None:
    if not values:
        return None
    if all(_ISO.match(v) for v in values):
        return TimeShape()
    fitting = [shape for shape in _FORMATS if all(_fits(v, shape) for v in values)]
    if fitting:
        return TimeShape(format=fitting[0], other=fitting[1] if len(fitting) > 1 else None)
    if all(_PLAIN.match(v) for v in values):
        numbers = [float(v) for v in values]
        for unit, low, high in _UNITS:
            if all(low <= number <= high for number in numbers):
                return TimeShape(unit=unit)
    return None


def _fits(text: str, shape: str) -> bool:
    if shape == "%Y%m%d" and len(text) != 8:
        return False
    try:
        year = datetime.strptime(text, shape).year
    except ValueError:
        return False
    return 1900 <= year <= 2100


def _number(values: list[str]) -> NumberShape | None:
    if not values:
        return None
    money = not all(_PLAIN.match(v) or _COMMA.match(v) for v in values)
    if money:
        bare = [_MONEY.sub("", v) for v in values]
        # Something other than one currency around every number is text.
        rests = {re.sub(r"[\d.,\s+-]+", "", v) for v in values} - {""}
        if len(rests) > 1 or any(len(rest) > 3 for rest in rests):
            return None
        values = bare
    if all(_PLAIN.match(v) for v in values):
        whole = all("." not in v or v.endswith(".0") for v in values)
        return NumberShape(money=money, whole=whole and not money)
    if all(_COMMA.match(v) or re.fullmatch(r"[-+]?\d+", v) for v in values):
        return NumberShape(comma=True, money=money)
    return None
