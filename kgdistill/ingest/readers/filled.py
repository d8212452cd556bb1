"""Cells that only the first row of an order, or of anything else with several rows, has: filled down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.ingest.cast import ColumnTypeError
from kgdistill.ingest.keys import KeyIndex, begins, hashes_of, one_key
from kgdistill.ingest.mapping.cast import as_bytes, is_list, is_text, key_text, plain_array, to_text, trim
from kgdistill.ingest.readers.source import FillDown, RawBatch, Source

_KEY, _HASH = "key", "hash"
# Before what columns are called in the source.
_FILLED = "."


class Filler:
    """Of each key of a source the first value of the columns that are filled down, held in memory.

    Args:
        source: the whole of it.
        batches: its rows, with the columns of `by` and those that are filled.
        columns: those that are filled, of any that `fill_down` names.

    Raises:
        InputError: a column of `by` holds no texts or numbers.
    """

    def __init__(self, source: Source, batches: Iterable[RawBatch], columns: Sequence[str]) -> None:
        assert source.options.fill_down is not None
        self._source, self._by, self._columns = source, source.options.fill_down.by, columns
        parts = [self._firsts(batch.table) for batch in batches]
        kinds = {name: _common(part[_FILLED + name].type for part in parts) for name in columns}
        parts = [self._of_kinds(part, kinds) for part in parts]
        whole = pa.concat_tables(parts) if parts else pa.table({_KEY: pa.array([], pa.string())})
        hashes = pa.array(hashes_of(plain_array(whole[_KEY])))
        # A stable order: of one key the first row of the source comes first.
        order = [(_HASH, "ascending"), (_KEY, "ascending")]
        whole = whole.append_column(_HASH, hashes)
        whole = whole.take(pc.sort_indices(whole, sort_keys=order)).combine_chunks()
        new = begins(whole[_KEY])
        starts = pa.array(new)
        self._index = KeyIndex.of(np.asarray(whole[_HASH].filter(starts)), whole[_KEY].filter(starts))
        group = np.cumsum(new) - 1
        self._values: dict[str, Any] = {}
        for name in columns if parts else ():
            values = whole[_FILLED + name]
            there = np.flatnonzero(np.asarray(pc.is_valid(values)))
            groups, first = np.unique(group[there], return_index=True)
            place = np.full(int(new.sum()), -1, np.int64)
            place[groups] = there[first]
            self._values[name] = values.take(pa.array(place, mask=place < 0))

    def filled(self, batch: RawBatch, columns: Sequence[str]) -> RawBatch:
        """These columns of a batch, those that are filled down with a value wherever their key has one."""
        table, rows = batch.table, None
        for name, held in self._values.items():
            values = plain_array(table[name])
            empty = _empty(values)
            if not pc.any(empty).as_py():
                continue
            if rows is None:
                rows = self._index.rows(self._keys(table))
            told = plain_array(held.take(pa.array(rows, mask=rows < 0)))
            kind = _common((values.type, told.type))
            values = pc.if_else(empty, _as(told, kind), _as(values, kind))
            table = table.set_column(table.schema.get_field_index(name), name, values)
        return replace(batch, table=table.select(list(columns)))

    def _firsts(self, table: pa.Table) -> pa.Table:
        """Of a batch the rows that hold the first value of a key in a column, empty cells as null."""
        keys = self._keys(table)
        codes = np.asarray(pc.fill_null(keys.dictionary_encode().indices, -1))
        columns = {_KEY: keys}
        chosen = np.zeros(len(keys), bool)
        for name in self._columns:
            values = plain_array(table[name])
            empty = _empty(values)
            columns[_FILLED + name] = pc.if_else(empty, pa.scalar(None, values.type), values)
            there = np.flatnonzero((codes >= 0) & ~np.asarray(empty))
            chosen[there[np.unique(codes[there], return_index=True)[1]]] = True
        return pa.table(columns).filter(pa.array(chosen))

    def _keys(self, table: pa.Table) -> pa.Array:
        texts = []
        for name in self._by:
            try:
                texts.append(key_text(trim(to_text(as_bytes(plain_array(table[name])))[0])))
            except (ColumnTypeError, pa.ArrowException) as error:
                told = str(error).splitlines()[0]
                raise self._source.fail(
                    f"the column {name!r} {told}, and is no key to fill down by"
                ) from error
        return one_key(texts)

    def _of_kinds(self, part: pa.Table, kinds: dict[str, pa.DataType]) -> pa.Table:
        for name, kind in kinds.items():
            at = part.schema.get_field_index(_FILLED + name)
            part = part.set_column(at, _FILLED + name, _as(plain_array(part[_FILLED + name]), kind))
        return part


def filled_of(fill: FillDown | None, columns: Sequence[str]) -> list[str]:
    """Those of the columns that are filled down."""
    return [] if fill is None else [name for name in columns if name in fill.columns]


def _empty(values: pa.Array) -> Any:
    """Which cells hold nothing, or white space alone."""
    values = as_bytes(values)
    if not is_text(values.type) or not pa.types.is_string(values.type):
        return pc.is_null(values)
    return pc.is_null(trim(values))


def _common(kinds: Iterable[pa.DataType]) -> pa.DataType:
    """The type of a column whose batches differ, as in JSON lines some hold lists of texts."""
    some = list(dict.fromkeys(kinds))
    return next((kind for kind in some if is_list(kind)), some[0] if some else pa.string())


def _as(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values as they are, or each as a list of one where others are lists."""
    if is_list(kind) and not is_list(values.type):
        lengths = np.asarray(pc.is_valid(values)).astype(np.int32)
        offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), values.drop_null())
        return pc.if_else(pc.is_valid(values), lists, pa.scalar(None, lists.type))
    return values
