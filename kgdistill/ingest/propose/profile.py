"""What the first rows of a file say about its columns."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.ingest.mapping.cast import plain_array
from kgdistill.ingest.propose.events import EVENTS, kinds_of, normal
from kgdistill.ingest.propose.heads import Heads, heads_of
from kgdistill.ingest.propose.numbers import NumberShape, alike, number_shape
from kgdistill.ingest.propose.text import Layout, layout_of
from kgdistill.ingest.propose.times import TimeShape, count_orders, time_shape, turned
from kgdistill.ingest.propose.words import END, word_set, words
from kgdistill.ingest.readers import FillDown, Source, SourceOptions, column_names, read_batches
from kgdistill.ingest.readers.json_lines import json_columns
from kgdistill.ingest.readers.source import suffixes

SAMPLE = 1_000
# Cells that are looked at, so that a file of thousands of columns takes no longer.
_CELLS = 200_000
_DISTINCT = 300
_GAPS_WITHIN = 500_000
# Different kinds of events that a whole file may have; with more, the column is none of kinds.
_KINDS = 200
_NOTHING = word_set("NA N/A n/a NULL null None NaN nan \\N #N/A 0000-00-00") | {"0000-00-00 00:00:00"}
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}\Z")
_FULL_WIDTH = re.compile("[\uff01-\uff5e]")
_FORMULA = re.compile('^="([^"]*)"$')
_NUMBERED = re.compile(r"'[-+=@\d]")
_PHONE = re.compile(r"\+?[\d][\d ()/-]{6,}\d\Z")
# A piece of a table, whose folder has the name: part-00000-1f2e-c000, 000000_0, 2024-03, 2024年03月, data_1,
# or a UUID. Letters are digits only behind a number: ad_2024, feed2 and b2b are names.
_UUID = r"[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}"
_PIECE = re.compile(
    rf"((part(-[mr])?|data|file|chunk|shard|page|batch|export|segment|split)?[-_.]*\d+([qtw]\d+)?|{_UUID})"
    rf"([-_.年月日号]({_UUID}|tid|[qtw]\d+|(?=[a-f]*\d)[\da-f]+)?)*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ColumnProfile:
    """A column of the sample.

    Attributes:
        name: as in the file.
        words: the words of its name in lower case, without accents.
        values: its values as text, those that are there.
        rows: rows of the sample.
        cells: a text for each row, empty where there is none; none at all where they are not known by row.
        lists: its values are lists; `values` then holds their elements.
        kinds: of a column that names events, those in the whole file.
        gaps: beyond the sample some rows have nothing there.
        head: it is of things of several rows each, such as orders: their key, or on their first rows alone.
        wide: some values hold full-width signs; times and numbers are told without that.
        guard: a pattern, and what takes its place, that frees values of what tells a spreadsheet that
            they are text; `values` are without it.
        tied: the share of values that another file has too, or of another's that are here; 0 below a half.
        means: by its values the key of a `user` or `product`, as another file has it, or an `order`.
        otherwise: the name of the column that counts where a row has nothing here.
    """

    name: str
    words: tuple[str, ...]
    values: list[str]
    rows: int
    cells: list[str] = field(default_factory=list)
    lists: bool = False
    time: TimeShape | None = None
    number: NumberShape | None = None
    distinct: int = 0
    personal: bool = False
    kinds: tuple[str, ...] = ()
    gaps: bool = False
    wide: bool = False
    guard: tuple[str, str] | None = None
    head: bool = False
    tied: float = 0.0
    means: str = ""
    otherwise: str = ""

    @property
    def flat(self) -> str:
        """The name's words without anything between them."""
        return "".join(self.words)

    @property
    def full(self) -> bool:
        """Whether every row has a value."""
        return not self.gaps and len(self.values) >= self.rows

    @property
    def lacking(self) -> str:
        """How many rows have no value, and what share of those that were looked at."""
        gaps = self.rows - len(self.values)
        return (
            f"{gaps:,} of {self.rows:,} rows ({gaps / self.rows:.0%})" if gaps > 0 else "rows after the first"
        )

    def length(self) -> float:
        """The mean length of its values."""
        return sum(map(len, self.values)) / max(len(self.values), 1)


@dataclass(frozen=True)
class Again:
    """Lines of one kind of file that come again.

    Attributes:
        same: in a further file, alike.
        other: in a further file, with something else in them.
        within: in the same file.
    """

    same: int = 0
    other: int = 0
    within: int = 0


@dataclass(frozen=True)
class Sample:
    """A file's options, columns and first rows, and what is doubtful about how it is written.

    `lookups` are other files whose columns stand among its own, as NAME.COLUMN; `aside` are its columns in
    whose place these are; `priced`: the prices of its products stand in another file, and `elsewhere` names
    what else is said of them there (fields of a guess). `again`: lines of several files of its kind. `heads`:
    what only the first of several rows of one thing has, which the options fill down.
    """

    path: Path
    options: SourceOptions
    columns: list[ColumnProfile] = field(default_factory=list)
    rows: int = 0
    doubts: tuple[str, ...] = ()
    plain: bool = False
    total: tuple[str, str] | None = None
    lookups: tuple[Lookup, ...] = ()
    aside: tuple[ColumnProfile, ...] = ()
    priced: bool = False
    heads: Heads | None = None
    elsewhere: tuple[str, ...] = ()
    again: Again = Again()

    @property
    def called(self) -> str:
        """What the table is called, see `called`."""
        return called(self.path)


@dataclass(frozen=True)
class Lookup:
    """Files in which rows look up others: by which column, of which there.

    `share` of the first rows find one; `again` rows there stand more than once, all alike.
    """

    name: str
    files: list[str]
    sample: Sample
    here: str
    there: str
    share: float
    again: int = 0


def called(path: Path) -> str:
    """What a table is called: by its file, or by the folder of a file that is but a numbered piece of it."""
    stem = path.name.split(".")[0]
    if not _PIECE.fullmatch(stem):
        return stem
    # Folders such as day=2024-03-01 divide a table; orders.parquet is called as its file would be.
    named = (name for folder in path.parents if (name := folder.name.split(".")[0]) and "=" not in name)
    return next((name for name in named if not _PIECE.fullmatch(name)), stem)


def sample(path: Path, encoding: str | None = None, fill: FillDown | None = None) -> Sample:
    """Reads the names and the first rows of a file.

    Args:
        path: the file.
        encoding: of its text, where it is known.
        fill: what is filled down in it.

    Raises:
        InputError: it cannot be read, is empty, or nothing tells its format.
    """
    told = suffixes(path)[0]
    columnar = told in ("parquet", "arrow")
    layout = Layout(SourceOptions(format=told)) if columnar else layout_of(path, encoding)
    source = Source(path.name, path, None, layout.options)
    all_names = column_names(source)
    counted = Counter(all_names)
    # Half a character in a name of JSON can stand in no table.
    names = [n for n in all_names if n and counted[n] == 1 and n == n.encode(errors="ignore").decode()]
    doubts = list(layout.doubts)
    if repeated := [name for name in counted if name and counted[name] > 1]:
        doubts.append(f"named more than once, and left out: {', '.join(repeated[:20])}")
    tables, rows = _first_rows(source, names, layout.total is not None)
    columns = [_column(name, [t[name] for t in tables]) for name in names]
    options = layout.options
    if options.format == "jsonl":
        written = json_columns(source)
        columns = [c if written.get(c.name) else _stored(c) for c in columns]
    said = Counter(v for c in columns for v in c.values if v in _NOTHING)
    # One alone may be a slip, and is better seen among the rejects.
    absent = sorted(v for v, times in said.items() if times > 1)
    if absent and options.format in ("csv", "tsv", "recbole"):
        options = replace(options, null_values=("", *absent))
        columns = [
            replace(
                _described(c.name, ["" if v in absent else v for v in c.cells or c.values], c.rows),
                guard=c.guard,
            )
            if any(v in absent for v in c.values)
            else c
            for c in columns
        ]
    if fill is not None:
        options = replace(options, fill_down=fill)
        tables, _ = _first_rows(replace(source, options=options), names, layout.total is not None)
        columns = [
            _column(c.name, [t[c.name] for t in tables]) if c.name in fill.columns else c for c in columns
        ]
    source = replace(source, options=options)
    columns = [_read_on(column, source) for column in columns]
    gaps = _gaps(source, [c.name for c in columns if c.full and c.rows >= _wanted(names) and not c.lists])
    columns = [replace(c, gaps=c.name in gaps) for c in columns]
    return Sample(path, options, columns, rows, tuple(doubts), layout.plain, layout.total)


def _wanted(names: list[str]) -> int:
    """How many rows are looked at closely."""
    return max(50, min(SAMPLE, _CELLS // max(len(names), 1)))


def _gaps(source: Source, names: list[str]) -> set[str]:
    """The columns in which rows beyond the sample have nothing."""
    gaps: set[str] = set()
    rows = 0
    for batch in read_batches(source, names) if names else ():
        gaps |= {name for name in names if batch.table[name].null_count}
        rows += batch.table.num_rows
        if rows >= _GAPS_WITHIN:
            break
    return gaps


def _first_rows(source: Source, names: list[str], without_last: bool) -> tuple[list[pa.Table], int]:
    wanted = _wanted(names)
    taken: list[pa.Table] = []
    rows = 0
    for batch in read_batches(source, names, batch_rows=wanted, block_bytes=1 << 20):
        taken.append(batch.table)
        rows += batch.table.num_rows
        if rows >= wanted:
            break
    if rows >= wanted:
        taken = [taken[0]] if taken[0].num_rows else taken[-1:]
    elif without_last and taken:
        taken[-1] = taken[-1].slice(0, taken[-1].num_rows - 1)
    return taken, sum(t.num_rows for t in taken)


def _column(name: str, parts: list[pa.ChunkedArray]) -> ColumnProfile:
    rows = sum(len(part) for part in parts)
    cells: list[str] = []
    lists = typed = False
    for part in parts:
        kind = part.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            lists = True
            part = pc.list_flatten(part)
        typed |= pa.types.is_floating(part.type) or pa.types.is_decimal(part.type)
        if pa.types.is_floating(part.type):
            part = pc.if_else(pc.is_nan(part), None, part)
        try:
            texts = pc.cast(part, pa.string()).to_pylist()
        except (pa.ArrowException, UnicodeDecodeError):
            continue
        cells += ["" if v is None else v.strip() for v in texts]
    column = _described(name, cells, rows, lists)
    return _stored(column) if typed else column


def _stored(column: ColumnProfile) -> ColumnProfile:
    """A column whose points nobody wrote, as its values are stored as numbers."""
    number = column.number
    if number is None or not number.bare or number.comma or number.point:
        return column
    return replace(column, number=replace(number, either=False, mark=""))


def _described(name: str, cells: list[str], rows: int, lists: bool = False) -> ColumnProfile:
    guard = _guard([cell for cell in cells if cell])
    if guard is not None:
        cells = [re.sub(*guard, cell).strip() for cell in cells]
    values = [cell for cell in cells if cell]
    counted = Counter(values)
    wide = any(_FULL_WIDTH.search(value) for value in counted)
    some: Counter[str] = Counter()
    for value in list(counted)[:_DISTINCT]:
        some[narrow(value) if wide else value] += counted[value]
    return ColumnProfile(
        name=name,
        words=words(name),
        values=values,
        rows=rows,
        cells=[] if lists or len(cells) != rows else cells,
        lists=lists,
        time=None if lists else time_shape(some, ahead=not word_set(END).isdisjoint(words(name))),
        number=None if lists else number_shape(some),
        distinct=len(counted),
        personal=_most(some, _MAIL) or (_most(some, _PHONE) and any(v.startswith("+") for v in some)),
        wide=wide,
        guard=guard,
    )


def _guard(values: list[str]) -> tuple[str, str] | None:
    """How values are kept from a spreadsheet that would make numbers of them: '0012 or ="0012"."""
    formulas = [value for value in values if value.startswith('="')]
    if formulas and all(_FORMULA.fullmatch(value) for value in formulas):
        return _FORMULA.pattern, r"\1"
    marked = [value for value in values if value.startswith("'")]
    if not marked or any(value.endswith("'") for value in marked):
        return None
    # Beside others an apostrophe alone may be part of a name.
    numbers = all(_NUMBERED.match(v) for v in marked) and not any(re.search(r"\s|.'", v) for v in values)
    return ("^'", "") if numbers or len(marked) == len(values) else None


def narrow(text: str) -> str:
    """A text as the option `fold: nfkc` reads it."""
    return unicodedata.normalize("NFKC", text).strip()


def _read_on(column: ColumnProfile, source: Source) -> ColumnProfile:
    """What only the whole file tells: whether the day stands first, decimal marks, all kinds of events."""
    shape = column.time
    if shape is not None and shape.other is not None:
        for counted in _counts(column, source):
            shape = count_orders(shape, counted)
        first, other = shape.only
        return replace(column, time=turned(shape) if other > first else shape)
    number = column.number
    if number is not None and number.either and shape is None and not column.lists:
        shapes = (number_shape(counted) for counted in _counts(column, source))
        mark = next((other.mark for other in shapes if other is not None and other.mark), "")
        return replace(column, number=number.read_by(mark)) if mark else column
    few = column.distinct <= _KINDS // 4 and not column.lists
    if few and any(normal(value) in EVENTS for value in set(column.values)):
        kinds: Counter[str] = Counter()
        for counted in _counts(column, source):
            kinds.update(counted)
            if len(kinds) > _KINDS:
                return column
        return replace(column, kinds=tuple(kinds))
    return column


def _counts(column: ColumnProfile, source: Source) -> Iterator[Counter[str]]:
    """The texts of a column and how often each comes, batch by batch."""
    for batch in read_batches(source, [column.name]):
        values = plain_array(batch.table[column.name])
        if not pa.types.is_string(values.type):
            return
        if column.guard is not None:
            values = pc.replace_substring_regex(values, *column.guard)
        if column.wide:
            values = pc.utf8_normalize(values, form="NFKC")
        found = pc.value_counts(pc.utf8_trim_whitespace(values)).to_pylist()
        yield Counter({item["values"]: item["counts"] for item in found if item["values"]})


def _most(values: Counter[str], shape: re.Pattern[str]) -> bool:
    return sum(shape.match(v) is not None for v in values) > 0.8 * len(values) > 0


def with_heads(names: list[str], taken: Sample, root: Path, encoding: str | None = None) -> Sample:
    """The sample of files; what only the first row of an order, or the like, has is filled down in it."""
    if all(column.full for column in taken.columns):
        return taken
    known = [column.name for column in taken.columns]
    sources = [Source(name, root / name, None, taken.options) for name in names]
    heads = heads_of(sources, known, _wanted(known))
    if heads is None:
        return taken
    both: Sample | None = None
    for name in names:
        part = sample(root / name, encoding, heads.fill)
        both = part if both is None else merged(both, part)
        if both is None:
            return taken
    if both is None:
        return taken
    of_things = {*heads.fill.by, *heads.fill.columns}
    columns = [replace(column, head=column.name in of_things) for column in both.columns]
    return replace(both, columns=columns, heads=heads)


def merged(one: Sample, two: Sample) -> Sample | None:
    """Both as one, where one description of their columns reads both files; else None."""
    if [c.name for c in one.columns] != [c.name for c in two.columns] or one.total != two.total:
        return None
    first, second = one.options, two.options
    nothing = tuple(dict.fromkeys((*first.null_values, *second.null_values)))
    # What is all ASCII reads in every encoding.
    encoding = second.encoding if one.plain else first.encoding
    first = replace(first, null_values=nothing, encoding=encoding)
    second = replace(second, null_values=nothing, encoding=encoding if two.plain else second.encoding)
    columns = [_merged(a, b) for a, b in zip(one.columns, two.columns, strict=True)]
    if first != second or any(c is None for c in columns):
        return None
    return Sample(
        path=one.path,
        options=first,
        columns=[c for c in columns if c is not None],
        rows=one.rows + two.rows,
        doubts=tuple(dict.fromkeys((*one.doubts, *two.doubts))),
        plain=one.plain and two.plain,
        total=one.total,
    )


def _cells(one: ColumnProfile, two: ColumnProfile) -> list[str]:
    return [*one.cells, *two.cells] if one.cells and two.cells else []


def _merged(one: ColumnProfile, two: ColumnProfile) -> ColumnProfile | None:
    """One column of two files, where its times and numbers are written alike in both."""
    if not one.values or not two.values:
        full = one if one.values else two
        cells = _cells(one, two)
        return replace(full, rows=one.rows + two.rows, cells=cells, gaps=one.gaps or two.gaps)
    time, number = one.time, one.number
    if one.time != two.time:
        known = [c.time for c in (one, two) if c.time is not None]
        if len(known) < 2 or one.lists or not {known[0].formats, (known[0].other,)} >= {known[1].formats}:
            return None
        if known[0].formats != known[1].formats and all(shape.only[0] for shape in known):
            # Each tells for itself, and otherwise.
            return None
        # Which stands first, day or month, the one may tell for the other.
        time = max(known, key=lambda shape: abs(shape.only[0] - shape.only[1]) + (shape.other is None))
    if one.number is None or two.number is None:
        number = None
    elif (number := alike(one.number, two.number)) is None:
        return None
    values = [*one.values, *two.values]
    return replace(
        one,
        values=values,
        rows=one.rows + two.rows,
        cells=_cells(one, two),
        lists=one.lists or two.lists,
        time=time,
        number=number,
        distinct=len(set(values)),
        personal=one.personal or two.personal,
        kinds=tuple(dict.fromkeys([*kinds_of(one), *kinds_of(two)] if one.kinds or two.kinds else ())),
        gaps=one.gaps or two.gaps,
        wide=one.wide or two.wide,
        guard=one.guard or two.guard,
    )
