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
from kgdistill.ingest.mapping.values import Evaluator
from kgdistill.ingest.propose.events import EVENTS, normal
from kgdistill.ingest.propose.heads import Heads
from kgdistill.ingest.propose.numbers import NumberShape, number_shape
from kgdistill.ingest.propose.record_lists import Nested, RecordList, nested_in
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
_NOTHING = word_set("NA N/A n/a NULL null None NaN nan \\N #N/A 0000-00-00")
# As programs that count visits write it.
_NOTHING |= {"0000-00-00 00:00:00", "(not set)", "(none)", "(direct)"}
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
        by: the column that tells lines apart; empty where none does.
        more: columns by which those of one order and product differ.
    """

    same: int = 0
    other: int = 0
    within: int = 0
    by: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A file's options, columns and first rows, and what is doubtful about how it is written.

    `nested`: the lists of records in it; `only`: a column by whose having a value, or none, these rows are
    told from others of the file.
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
    only: tuple[str, bool] | None = None
    nested: Nested = field(default_factory=Nested)

    @property
    def called(self) -> str:
        """What the table is called, see `called`."""
        return called(self.path)


@dataclass(frozen=True)
class Lookup:
    """Files in which rows look up others: by which column, of which there.

    `share` of the first rows find one; `again` rows there stand more than once, all alike. `needed`: a row
    that finds none makes nothing.
    """

    name: str
    files: list[str]
    sample: Sample
    here: str
    there: str
    share: float
    again: int = 0
    needed: bool = True


def called(path: Path) -> str:
    """What a table is called: by its file, or by the folder of a file that is but a numbered piece of it."""
    stem = path.name.split(".")[0]
    if not _PIECE.fullmatch(stem):
        return stem
    # Folders such as day=2024-03-01 divide a table; orders.parquet is called as its file would be.
    named = (name for folder in path.parents if (name := folder.name.split(".")[0]) and "=" not in name)
    return next((name for name in named if not _PIECE.fullmatch(name)), stem)


def sample(
    path: Path,
    encoding: str | None = None,
    *,
    fill: FillDown | None = None,
    nested: Nested | None = None,
    each: RecordList | None = None,
    only: tuple[str, bool] | None = None,
    closely: bool = True,
) -> Sample:
    """Reads the names and the first rows of a file.

    Args:
        path: the file.
        encoding: of its text, where it is known.
        fill: what is filled down in it.
        nested: the lists of records in it, and the JSON in its texts, where they are known.
        each: one of the lists, of which each record is a row.
        only: a column that the rows have a value in, or that they have none in.
        closely: whether what only the whole file tells is looked up.

    Raises:
        InputError: it cannot be read, is empty, or nothing tells its format.
    """
    told = suffixes(path)[0]
    columnar = told in ("parquet", "arrow")
    layout = Layout(SourceOptions(format=told)) if columnar else layout_of(path, encoding)
    source = Source(path.name, path, None, layout.options)
    if each is not None:
        source = replace(source, options=replace(layout.options, each=each.name))
    in_file = Counter(column_names(source))
    if nested is None:
        plain = [name for name, times in in_file.items() if times == 1 and _can_be_named(name)]
        nested = nested_in(source, plain, wanted_rows(plain))
    inner = {**({} if each is None else each.columns), **nested.fields, **nested.by_key}
    counted = Counter(n for n in in_file.elements() if not nested.hides(n)) + Counter([*inner])
    names = [n for n in counted if counted[n] == 1 and _can_be_named(n)]
    doubts = list(layout.doubts)
    if repeated := [name for name in counted if name and counted[name] > 1]:
        doubts.append(f"named more than once, and left out: {', '.join(repeated[:20])}")
    some = _Rows(source, only)
    tables, rows = _first_rows(some, names, layout.total is not None)
    columns = [_column(name, [t[name] for t in tables]) for name in names]
    lines = source.options.format == "jsonl"
    written = {**(json_columns(source) if lines else dict.fromkeys(names, True)), **inner}
    columns = [c if written.get(c.name) else _stored(c) for c in columns]
    columns, options = _without_nothing(columns, source.options)
    if fill is not None:
        options = replace(options, fill_down=fill)
        columns = _filled(columns, replace(some, source=replace(source, options=options)), layout.total)
    if closely:
        columns = _closely(columns, replace(some, source=replace(source, options=options)))
    if each is not None:
        columns = [replace(c, words=each.words_of(c.name) or c.words) for c in columns]
    as_read = (tuple(doubts), layout.plain, layout.total)
    return Sample(path, options, columns, rows, *as_read, only=only, nested=nested)


def _filled(columns: list[ColumnProfile], some: _Rows, total: tuple[str, str] | None) -> list[ColumnProfile]:
    """The columns, those that are filled down as they are then."""
    fill = some.source.options.fill_down
    tables, _ = _first_rows(some, [c.name for c in columns], total is not None)
    return [
        _column(c.name, [t[c.name] for t in tables]) if fill and c.name in fill.columns else c
        for c in columns
    ]


def _closely(columns: list[ColumnProfile], some: _Rows) -> list[ColumnProfile]:
    """The columns with what only the whole file tells of them."""
    columns = [_read_on(column, some) for column in columns]
    enough = wanted_rows([c.name for c in columns])
    gaps = _gaps(some, [c.name for c in columns if c.full and c.rows >= enough and not c.lists])
    return [replace(c, gaps=c.name in gaps) for c in columns]


def _without_nothing(
    columns: list[ColumnProfile], options: SourceOptions
) -> tuple[list[ColumnProfile], SourceOptions]:
    """The columns without the texts that stand for no value, and the options that say so."""
    said = Counter(v for c in columns for v in c.values if v in _NOTHING)
    # One alone may be a slip, and is better seen among the rejects.
    absent = sorted(v for v, times in said.items() if times > 1)
    if not absent or options.format not in ("csv", "tsv", "recbole"):
        return columns, options
    columns = [
        replace(
            _described(c.name, ["" if v in absent else v for v in c.cells or c.values], c.rows), guard=c.guard
        )
        if any(v in absent for v in c.values)
        else c
        for c in columns
    ]
    return columns, replace(options, null_values=("", *absent))


@dataclass(frozen=True)
class _Rows:
    """The rows of a file, or those that have a value in a column, or none."""

    source: Source
    only: tuple[str, bool] | None = None

    def tables(self, names: list[str], **how: int) -> Iterator[pa.Table]:
        """Their columns, in parts."""
        wanted = names if self.only is None else list(dict.fromkeys([*names, self.only[0]]))
        for batch in read_batches(self.source, wanted, **how):
            table = batch.table
            if self.only is not None:
                column, present = self.only
                texts = Evaluator(table, self.source.where, None).text(column)
                table = table.filter(pc.equal(pc.is_valid(texts), present)).select(names)
            yield table


def _can_be_named(name: str) -> bool:
    # Half a character in a name of JSON can stand in no table.
    return bool(name) and name == name.encode(errors="ignore").decode()


def wanted_rows(names: list[str]) -> int:
    """How many rows are looked at closely."""
    return max(50, min(SAMPLE, _CELLS // max(len(names), 1)))


def _gaps(some: _Rows, names: list[str]) -> set[str]:
    """The columns in which rows beyond the sample have nothing."""
    gaps: set[str] = set()
    rows = 0
    for table in some.tables(names) if names else ():
        gaps |= {name for name in names if table[name].null_count}
        rows += table.num_rows
        if rows >= _GAPS_WITHIN:
            break
    return gaps


def _first_rows(some: _Rows, names: list[str], without_last: bool) -> tuple[list[pa.Table], int]:
    wanted = wanted_rows(names)
    taken: list[pa.Table] = []
    rows = 0
    for table in some.tables(names, batch_rows=wanted, block_bytes=1 << 20):
        taken.append(table)
        rows += table.num_rows
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


def _read_on(column: ColumnProfile, some: _Rows) -> ColumnProfile:
    """What only the whole file tells: whether the day stands first, decimal marks, all kinds of events."""
    shape = column.time
    if shape is not None and shape.other is not None:
        for counted in _counts(column, some):
            shape = count_orders(shape, counted)
        first, other = shape.only
        return replace(column, time=turned(shape) if other > first else shape)
    number = column.number
    if number is not None and number.either and shape is None and not column.lists:
        shapes = (number_shape(counted) for counted in _counts(column, some))
        mark = next((other.mark for other in shapes if other is not None and other.mark), "")
        return replace(column, number=number.read_by(mark)) if mark else column
    few = column.distinct <= _KINDS // 4 and not column.lists
    if few and any(normal(value) in EVENTS for value in set(column.values)):
        kinds: Counter[str] = Counter()
        for counted in _counts(column, some):
            kinds.update(counted)
            if len(kinds) > _KINDS:
                return column
        return replace(column, kinds=tuple(kinds))
    return column


def _counts(column: ColumnProfile, some: _Rows) -> Iterator[Counter[str]]:
    """The texts of a column and how often each comes, batch by batch."""
    for table in some.tables([column.name]):
        values = plain_array(table[column.name])
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
