"""Tells how rows of files of one kind come again: those of an order, and those of exports that overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kgdistill.ingest.propose.guess import Guess, used
from kgdistill.ingest.propose.headings import bare, has_word
from kgdistill.ingest.propose.ids import SALE, may_tell_lines
from kgdistill.ingest.propose.lines import is_each
from kgdistill.ingest.propose.profile import Again, ColumnProfile, Sample
from kgdistill.ingest.propose.visitors import is_visitor
from kgdistill.ingest.propose.words import PRODUCT, USER
from kgdistill.ingest.readers import Source, read_batches

# Rows that are compared.
_ROWS = 500_000
# Of an id of rows there are at least so many for each row; what overlaps, or is sent again, has it twice.
_EACH = 0.5
_OF_LINES = "line row item position event message"


def again(
    files: Sequence[str],
    taken: Sample,
    root: Path,
    line: Sequence[str],
    rest: Sequence[str] = (),
    more: Sequence[str] = (),
) -> Again:
    """How many lines come again in the first rows of files of one kind.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        line: the columns that tell a line from others.
        rest: columns in which it is the same wherever it stands.
        more: columns that tell a line from others, too, where they have something.
    """
    own = len(line) + len(more)
    seen: dict[int, tuple[str, int]] = {}
    same = other = within = 0
    for file, rows in _read(files, taken, root, [*line, *more, *rest]):
        for row in rows:
            if None in row[: len(line)]:
                continue
            key, told = hash(row[:own]), hash(row[own:])
            before = seen.get(key)
            if before is None:
                seen[key] = (file, told)
            elif before[0] == file:
                within += 1
            elif before[1] == told:
                same += 1
            else:
                other += 1
    return Again(same, other, within)


def line_id(
    files: Sequence[str], taken: Sample, root: Path, columns: Sequence[ColumnProfile]
) -> Again | None:
    """How rows come again by an id of their own; None where no column is one.

    That is one that all rows have, and of whose values those that come again are of rows that are all alike.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        columns: those that stand for nothing else.
    """
    for column in sorted((c for c in columns if _may_be_line(c)), key=lambda c: not bare(c)):
        where: dict[object, set[str]] = {}
        times: Counter[object] = Counter()
        for file, values in _read(files, taken, root, [column.name]):
            times.update(key for (key,) in values)
            for key in {key for (key,) in values}:
                where.setdefault(key, set()).add(file)
        several = {key for key, count in times.items() if count > 1}
        if None in times or (several and _differ(files, taken, root, column.name, several)):
            continue
        same = sum(len(where[key]) - 1 for key in several)
        return Again(same, within=times.total() - len(times) - same, by=column.name)
    return None


def _may_be_line(column: ColumnProfile) -> bool:
    """Whether a column may be the id of a row; what numbers rows of an export tells nothing of the next."""
    # An order may have several lines in the next export, though each has one in this.
    others = has_word(column, f"{USER} {PRODUCT} {SALE}") and not has_word(column, _OF_LINES)
    each = column.full and column.distinct >= max(2, _EACH * len(column.values))
    plain = not (column.lists or column.personal or (column.time is not None and column.time.unit is None))
    return has_word(column, "id uuid guid") and each and plain and not others and not is_visitor(column)


def _differ(files: Sequence[str], taken: Sample, root: Path, name: str, several: set[object]) -> bool:
    """Whether rows of one of several keys differ in any column."""
    names = [name, *(c.name for c in taken.columns if c.name != name)]
    seen: dict[object, int] = {}
    for _, rows in _read(files, taken, root, names):
        for row in rows:
            if row[0] in several and seen.setdefault(row[0], told := hash(row)) != told:
                return True
    return False


def _read(
    files: Sequence[str], taken: Sample, root: Path, names: Sequence[str]
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """The first rows of files, in parts, each with its file."""
    rows = 0
    for file in files:
        for batch in read_batches(Source(file, root / file, None, taken.options), names):
            columns = [_hashable(batch.table[name].to_pylist()) for name in names]
            yield file, list(zip(*columns, strict=True))
            rows += batch.table.num_rows
            if rows >= _ROWS:
                return


def _hashable(cells: list[Any]) -> list[object]:
    """Cells of which some rows have several values, in JSON."""
    return [tuple(cell) if isinstance(cell, list) else cell for cell in cells]


def come_again(files: Sequence[str], taken: Sample, root: Path, found: Guess) -> Again:
    """How many lines come again, as in several files of a kind, and by what those of one product differ.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        found: what their columns are taken for.
    """
    who = [c.name for c in (found.user, found.time) if c is not None]
    if found.product is None or not (who or found.order is not None):
        return Again()
    counted, more = Again(), list[str]()
    if found.order is not None:
        line = [found.order, found.product]
        counted = again(files, taken, root, [c.name for c in line], who)
        if counted.within:
            named = [c for c in taken.columns if c.name not in who and c not in line and may_tell_lines(c)]
            more, _ = told_by(named, line)
            counted = again(files, taken, root, [c.name for c in line], who, more)
    elif len(files) > 1:
        counted = again(files, taken, root, [*who, found.product.name])
    own = line_id(files, taken, root, [c for c in taken.columns if c.name not in used(found)])
    # Ids that each export gives anew tell nothing of the next one.
    return own if own is not None and own.same >= counted.same else replace(counted, more=tuple(more))


def told_by(columns: Sequence[ColumnProfile], line: Sequence[ColumnProfile]) -> tuple[list[str], int]:
    """Columns that tell those first rows apart that are of one line, and how many stay alike.

    Args:
        columns: some of which may.
        line: the columns that tell most lines apart.
    """
    rows = [row for row in zip(*(column.cells for column in line), strict=False) if all(row)]
    alike, more = len(rows) - len(set(rows)), list[str]()
    whole = [row for row, cells in enumerate(zip(*(c.cells for c in line), strict=False)) if all(cells)]
    keys = rows
    # What is another on each row may count the rows of a file.
    for column in sorted((c for c in columns if c.cells), key=is_each):
        finer = [(*key, column.cells[row]) for key, row in zip(keys, whole, strict=True)]
        left = len(finer) - len(set(finer))
        if alike and left < alike:
            keys, alike, more = finer, left, [*more, column.name]
    return more, alike


def is_of_one(files: Sequence[str], taken: Sample, root: Path, name: str, beside: Sequence[str]) -> bool:
    """Whether rows with the same value of a column hold the same beside it, as those of an order do.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        name: the column; its values come again.
        beside: the columns beside it; where they have nothing they tell nothing.
    """
    seen: dict[tuple[int, object], object] = {}
    rows = 0
    for file in files:
        for batch in read_batches(Source(file, root / file, None, taken.options), [name, *beside]):
            keys = _hashable(batch.table[name].to_pylist())
            for number, other in enumerate(beside):
                for key, value in zip(keys, batch.table[other].to_pylist(), strict=True):
                    told = key is not None and value is not None
                    if told and seen.setdefault((number, key), value) != value:
                        return False
            rows += batch.table.num_rows
            if rows >= _ROWS:
                return True
    return True
