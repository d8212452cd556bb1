"""Columns that hold JSON as text: what names with dots lead to in it, and rows of the records of a list."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kgdistill.ingest.readers.nested import as_text, at, decode, inside, records_of, roots
from kgdistill.ingest.readers.source import RawBatch, Source, reject, reject_table

Origins = Mapping[str, tuple[str, str]]
"""By column the one that the source has, and what leads from there into the JSON that it holds."""


def origins_of(columns: Sequence[str], header: Container[str]) -> dict[str, tuple[str, str]]:
    """Where each column comes from; one that is nowhere comes from itself."""
    origins = {}
    for column in columns:
        root = next((name for name in roots(column) if name in header), None)
        if column in header or root is None:
            origins[column] = (column, "")
        else:
            origins[column] = (root, column[len(root) + 1 :])
    return origins


def opened(
    source: Source, batch: RawBatch, columns: Sequence[str], origins: Origins, each: str | None
) -> RawBatch:
    """A batch with the wanted columns in place of those that hold JSON.

    Args:
        source: what is read.
        batch: with the columns that `origins` name.
        columns: the columns wanted.
        origins: where they come from, and `each`.
        each: a list in JSON, of which each record makes a row; rows of one line stay together.
    """
    texts = {name: batch.table[name].to_pylist() for name, rest in origins.values() if rest or name == each}
    if each is not None:
        name = origins[each][0]
        texts.setdefault(name, batch.table[name].to_pylist())
    faults: dict[int, tuple[str, str]] = {}
    values = {name: _decoded(name, cells, faults) for name, cells in texts.items()}
    rows = list(range(batch.table.num_rows))
    records: list[Any] = []
    if each is not None:
        name, rest = origins[each]
        lists = _lists(name, rest, values[name], faults)
        rows = [row for row, several in enumerate(lists) for _ in several]
        records = [record for several in lists for record in several]
    good = [place for place, row in enumerate(rows) if row not in faults]
    chosen = pa.array([rows[place] for place in good], pa.int64())
    arrays = []
    for column in columns:
        name, rest = origins[column]
        inner = None if each is None else inside(column, each)
        if inner is not None:
            some = [records[place] for place in good]
            arrays.append(_array([as_text(at(one, inner) if inner else one) for one in some]))
        elif rest:
            arrays.append(_array([as_text(at(value, rest)) for value in values[name]]).take(chosen))
        else:
            arrays.append(batch.table[name].take(chosen))
    told = [
        reject(source, int(batch.lines[row]), str(texts[name][row]), f"is not JSON: {why}")
        | {"column": name, "row_group": batch.row_group}
        for row, (name, why) in sorted(faults.items())
    ]
    table = pa.table(arrays, names=list(columns)) if columns else pa.table({"": chosen}).select([])
    rejects = pa.concat_tables([batch.rejects, reject_table(told)])
    lines = batch.lines[np.asarray(chosen)]
    return RawBatch(table, lines, batch.row_group, rejects, batch.size, batch.notices)


def _lists(name: str, rest: str, values: list[Any], faults: dict[int, tuple[str, str]]) -> list[list[Any]]:
    """The records of each row; a row whose list is a text that is no JSON is among the faults."""
    lists: list[list[Any]] = []
    for row, value in enumerate(values):
        try:
            lists.append(list(records_of(at(value, rest) if rest else value)))
        except (json.JSONDecodeError, RecursionError) as error:
            faults.setdefault(row, (name, getattr(error, "msg", "nested too deeply")))
            lists.append([None])
    return lists


def _decoded(name: str, cells: list[Any], faults: dict[int, tuple[str, str]]) -> list[Any]:
    """The objects and lists that texts hold; adds rows that hold none to the faults."""
    values: list[Any] = []
    for row, cell in enumerate(cells):
        value = None
        if isinstance(cell, str) and cell.strip():
            try:
                value = decode(cell)
            except (json.JSONDecodeError, RecursionError) as error:
                faults.setdefault(row, (name, getattr(error, "msg", "nested too deeply")))
            else:
                if not isinstance(value, dict | list | None):
                    faults.setdefault(row, (name, "neither a list nor an object"))
                    value = None
        values.append(value)
    return values


def _array(cells: list[Any]) -> pa.Array:
    if any(isinstance(cell, list) for cell in cells):
        lists = [cell if cell is None or isinstance(cell, list) else [cell] for cell in cells]
        return pa.array(lists, pa.list_(pa.string()))
    return pa.array(cells, pa.string())
