"""Files of one kind as one: their first rows together, and what only first rows have filled down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kgdistill.errors import InputError
from kgdistill.ingest.propose.events import kinds_of
from kgdistill.ingest.propose.heads import heads_of
from kgdistill.ingest.propose.numbers import alike
from kgdistill.ingest.propose.profile import ColumnProfile, Sample, sample, wanted_rows
from kgdistill.ingest.readers import Source

# Of the names in two files of JSON lines so many are in both, where they are of one kind.
_ALIKE = 0.8


def with_heads(names: list[str], taken: Sample, root: Path, encoding: str | None = None) -> Sample:
    """The sample of files; what only the first row of an order, or the like, has is filled down in it."""
    of_records = taken.options.each is not None or taken.only is not None
    if of_records or all(column.full for column in taken.columns):
        return taken
    known = [column.name for column in taken.columns]
    sources = [Source(name, root / name, None, taken.options) for name in names]
    heads = heads_of(sources, known, wanted_rows(known))
    if heads is None:
        return taken
    both: Sample | None = None
    for name in names:
        try:
            part = sample(root / name, encoding, fill=heads.fill)
        except InputError:  # further on a row has several keys
            return taken
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
    pairs = _paired(one, two)
    if one.total != two.total or one.only != two.only:
        return None
    first, second = one.options, two.options
    nothing = tuple(dict.fromkeys((*first.null_values, *second.null_values)))
    # What is all ASCII reads in every encoding.
    encoding = second.encoding if one.plain else first.encoding
    first = replace(first, null_values=nothing, encoding=encoding)
    second = replace(second, null_values=nothing, encoding=encoding if two.plain else second.encoding)
    columns = [_merged(a, b) for a, b in pairs]
    if not pairs or first != second or any(c is None for c in columns):
        return None
    return Sample(
        path=one.path,
        options=first,
        columns=[c for c in columns if c is not None],
        rows=one.rows + two.rows,
        doubts=tuple(dict.fromkeys((*one.doubts, *two.doubts))),
        plain=one.plain and two.plain,
        total=one.total,
        only=one.only,
        nested=one.nested,
    )


def _cells(one: ColumnProfile, two: ColumnProfile) -> list[str]:
    return [*one.cells, *two.cells] if one.cells and two.cells else []


def _paired(one: Sample, two: Sample) -> list[tuple[ColumnProfile, ColumnProfile]]:
    """The columns of both side by side; in JSON lines one may lack some. Nothing where they are others."""
    first, second = ({c.name: c for c in taken.columns} for taken in (one, two))
    names = list(dict.fromkeys([*first, *second]))
    lines = one.options.format == two.options.format == "jsonl"
    if [*first] != [*second] and not (lines and len(first.keys() & second) >= _ALIKE * len(names)):
        return []
    return [
        (first.get(n) or _without_values(second[n], one), second.get(n) or _without_values(first[n], two))
        for n in names
    ]


def _without_values(column: ColumnProfile, taken: Sample) -> ColumnProfile:
    cells = [""] * taken.rows if column.cells else []
    return replace(column, values=[], rows=taken.rows, cells=cells, distinct=0, kinds=(), gaps=True)


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
