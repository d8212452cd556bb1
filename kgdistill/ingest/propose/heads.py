"""Finds columns that only the first row of a thing has, of an order's lines or a product's variants."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray
from kgdistill.ingest.cast import ColumnTypeError
from kgdistill.ingest.keys import hashes_of
from kgdistill.ingest.mapping.values import Evaluator
from kgdistill.ingest.readers import FillDown, Source, read_batches

# With fewer things of several rows, or columns on fewer of them, it may be chance.
_THINGS, _WHOLE, _CHANCE = 3, 0.95, 0.05
# Of the things, that stand in two places; of a column's values, that stand on later rows.
_AGAIN, _SLIPS = 0.01, 0.05
_CONFIRMED_BY = 500_000


@dataclass(frozen=True)
class Heads:
    """What only the first of consecutive rows with one key has.

    Attributes:
        fill: the column that is the key, and those that only the first row has.
        rows: that were counted.
        empty: by column, later rows without a value whose first row has one.
    """

    fill: FillDown
    rows: int
    empty: dict[str, int]


def heads_of(sources: Sequence[Source], names: Sequence[str], rows: int) -> Heads | None:
    """The columns that only first rows have; None where there are none, or where a key comes again elsewhere.

    Args:
        sources: files with the same columns.
        names: the columns.
        rows: that are looked at first of each; what they tell is confirmed by more.

    Raises:
        InputError: a file cannot be read.
    """
    fill: FillDown | None = None
    for source in sources:
        texts = next(_texts(source, names, rows), None)
        told = None if texts is None else _told(texts)
        if fill is None:
            fill = told
        elif told is not None and told.by == fill.by:
            fill = FillDown(fill.by, tuple(dict.fromkeys((*fill.columns, *told.columns))))
    return None if fill is None else _confirmed(sources, fill)


def _told(texts: pa.Table) -> FillDown | None:
    """What the first rows of a file tell."""
    there = {name: np.asarray(pc.is_valid(texts[name])) for name in texts.column_names}
    gaps = [name for name, mask in there.items() if not mask.all()]
    fill, most = None, (0, 0, 0)
    for key in texts.column_names if gaps else ():
        later = _later(texts[key])
        first = np.r_[later[1:], False] & ~later
        things = len(pc.unique(texts[key].drop_null()))
        if first.sum() < _THINGS or things < np.count_nonzero(there[key] & ~later):
            continue
        on_first = {name: np.count_nonzero(there[name] & first) for name in gaps if name != key}
        alone = [name for name in on_first if not (there[name] & later).any()]
        whole = [name for name in alone if on_first[name] >= _WHOLE * first.sum()]
        share = first.sum() / (first | later).sum()
        columns = [name for name in alone if name in whole or share ** on_first[name] <= _CHANCE]
        # Of keys that say the same, as who ordered and the order's number may, the one that tells more apart.
        rank = (len(whole), int(later.sum()), things)
        if whole and rank > most:
            fill, most = FillDown((key,), tuple(columns)), rank
    return fill


def _confirmed(sources: Sequence[Source], fill: FillDown) -> Heads | None:
    key = fill.by[0]
    rows = things = again = 0
    first: Counter[str] = Counter()
    later: Counter[str] = Counter()
    empty: Counter[str] = Counter()
    for source in sources:
        known: set[int] = set()
        # The first row of the thing with which a batch ends stands before the next.
        head: pa.Table | None = None
        for texts in _texts(source, [key, *fill.columns]):
            rows += texts.num_rows
            both = texts if head is None else pa.concat_tables([head, texts])
            new = np.arange(both.num_rows) >= both.num_rows - texts.num_rows
            goes_on = _later(both[key])
            starts = new & ~goes_on & np.asarray(pc.is_valid(both[key]))
            hashes = hashes_of(both[key].filter(pa.array(starts)).combine_chunks()).tolist()
            things, again = things + len(hashes), again + len(hashes) - len({*hashes} - known)
            known |= {*hashes}
            at = np.maximum.accumulate(np.where(goes_on, 0, np.arange(both.num_rows)))
            for name in fill.columns:
                there = np.asarray(pc.is_valid(both[name]))
                first[name] += int((there & ~goes_on & new).sum())
                later[name] += int((there & goes_on).sum())
                empty[name] += int((~there & goes_on & there[at]).sum())
            head = both.slice(int(at[-1]), 1)
            if rows >= _CONFIRMED_BY:
                break
    columns = tuple(name for name in fill.columns if later[name] <= _SLIPS * first[name] and empty[name])
    if not columns or again > _AGAIN * things:
        return None
    return Heads(FillDown(fill.by, columns), rows, {name: empty[name] for name in columns})


def _later(keys: pa.ChunkedArray) -> BoolArray:
    """The rows whose key is that of the row before, bool [rows]."""
    same = pc.fill_null(pc.equal(keys.slice(1), keys.slice(0, max(len(keys) - 1, 0))), False)
    later: BoolArray = np.r_[False, np.asarray(same).astype(bool)][: len(keys)]
    return later


def _texts(source: Source, names: Sequence[str], rows: int = 65_536) -> Iterator[pa.Table]:
    """Columns as text, so many rows at a time; without those that are none, such as lists of objects."""
    for batch in read_batches(source, names, batch_rows=rows):
        values, texts = Evaluator(batch.table, source.where, None), {}
        for name in names:
            with contextlib.suppress(ColumnTypeError, pa.ArrowException):
                texts[name] = values.text(name)
        if values.rows:
            yield pa.table(texts)
