"""What a batch's rows make: their faults, and the canonical rows of one type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.ingest.idle import PieceRows
from kgdistill.ingest.mapping.cast import is_list, parents_of
from kgdistill.ingest.mapping.model import Condition
from kgdistill.ingest.mapping.plan import Cell, EdgePlan, NodePlan
from kgdistill.ingest.mapping.values import Column, Evaluator, Fault
from kgdistill.ingest.model import REJECT_SCHEMA, Notice, TypeKey, type_name
from kgdistill.ingest.rows import row_schema
from kgdistill.store.schema import Schema

_EMPTY = "is empty, but required"
# Above this a double no longer tells whole numbers apart.
_MOST_UNITS = float(2**53)
# Sums of events are exact decimals of 38 digits: these leave room for any number of events.
_MOST_SPENT = 1e15
_MOST_EVENTS = 10**12
# No index of Neo4j holds a value of 8 kB.
_LONGEST_KEY = 4096


class Book:
    """Which rows are bad, each with its first fault."""

    def __init__(self, rows: int) -> None:
        self.bad: BoolArray = np.zeros(rows, bool)
        self.faults: list[Fault] = []

    def add(self, fault: Fault, mask: BoolArray) -> None:
        """Notes the fault for the rows of the mask [rows] that have none yet."""
        kept = fault.of(mask & ~self.bad)
        # A list can have several faults in one row.
        rows, first = np.unique(kept.rows, return_index=True)
        if len(rows):
            self.faults.append(Fault(rows, kept.column, kept.values.take(pa.array(first)), kept.reason))
            self.bad[rows] = True

    def flag(self, wrong: BoolArray, column: Column, name: str, reason: str) -> None:
        """Notes a fault for rows by their worked-out values."""
        rows = np.flatnonzero(wrong).astype(np.int64)
        if len(rows):
            texts = pc.cast(column.values.take(pa.array(rows)), pa.string())
            self.add(Fault(rows, name, texts, reason), np.ones(len(self.bad), bool))

    def check(self, cell: Cell, values: Evaluator, mask: BoolArray) -> Column:
        """A cell's values; where it has faults, or is empty but must not be, rows of the mask are bad."""
        column = values.column(cell.plan)
        for fault in column.faults:
            self.add(fault, mask)
        if cell.required and column.values.null_count:
            empty = np.asarray(pc.is_null(column.values)) & mask
            for fault in values.unmatched(cell.plan):
                self.add(fault, empty)
            rows = np.flatnonzero(empty).astype(np.int64)
            self.add(Fault(rows, cell.plan.columns, pa.nulls(len(rows), pa.string()), _EMPTY), mask)
        return column

    def spread(self, lines: IntArray) -> None:
        """Makes all rows of a line bad of which one is."""
        self.bad |= np.isin(lines, lines[self.bad])

    def counted(self, key: TypeKey, mask: BoolArray, made: BoolArray, ends: dict[str, Any]) -> PieceRows:
        """What a piece makes of rows without a fault.

        Args:
            key: its type.
            mask: bool [rows]: those for which its `when` holds.
            made: bool [rows]: those of which it made something.
            ends: by columns the keys that it needs, an array [rows].
        """
        held = mask & ~self.bad
        empty = {name: int(np.count_nonzero(held & _none(keys))) for name, keys in ends.items()}
        return PieceRows(type_name(key), int(np.count_nonzero(held)), int(np.count_nonzero(made)), empty)

    def table(self, source: str, lines: IntArray, row_group: int | None, several: bool = False) -> pa.Table:
        """The rejected rows as REJECT_SCHEMA; with `several` rows of a line the first fault of each line."""
        tables = [
            pa.table(
                {
                    "source": pa.array([source] * len(fault.rows), pa.string()),
                    "line": pa.array(lines[fault.rows]),
                    "row_group": pa.array([row_group] * len(fault.rows), pa.int64()),
                    "column": pa.array([fault.column] * len(fault.rows), pa.string()),
                    "value": fault.values,
                    "reason": pa.array([fault.reason] * len(fault.rows), pa.string()),
                },
                schema=REJECT_SCHEMA,
            )
            for fault in self.faults
        ]
        whole = pa.concat_tables([REJECT_SCHEMA.empty_table(), *tables])
        if several and whole.num_rows:
            _, first = np.unique(np.asarray(whole["line"]), return_index=True)
            whole = whole.take(pa.array(first))
        return whole


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a batch that `where` has left.

    Attributes:
        schema: the graph's.
        values: their values.
        lines: int64 [rows].
        deleted: bool [rows].
        times: timestamp [rows], or None where the source has none.
        book: their faults.
        tables: what they make, by type.
        made: bool [rows]: whether anything was made of it.
        acted: bool [rows]: whether an event was made of it.
        odd: by column and reason, what is odd about values that are no fault.
        of_records: the columns that differ between the rows of one line; None: each line has one.
    """

    schema: Schema
    values: Evaluator
    lines: IntArray
    deleted: BoolArray
    times: pa.Array | None
    book: Book
    tables: dict[TypeKey, list[pa.Table]] = field(default_factory=dict)
    made: BoolArray = field(default_factory=lambda: np.zeros(0, bool))
    acted: BoolArray = field(default_factory=lambda: np.zeros(0, bool))
    odd: dict[tuple[str, str], list[Fault]] = field(default_factory=dict)
    of_records: frozenset[str] | None = None

    def active(self, conditions: Sequence[Condition], cells: Iterable[Cell | None]) -> BoolArray:
        """The rows for which all the conditions hold; of a line one, where neither they nor cells differ."""
        mask = np.ones(len(self.lines), bool)
        for condition in conditions:
            mask &= self.values.holds(condition)
        if self.of_records is not None:
            used = {name for cell in cells if cell is not None for name in cell.plan.value.own_columns()}
            if self.of_records.isdisjoint(used | {condition.column for condition in conditions}):
                mask[1:] &= self.lines[1:] != self.lines[:-1]
        return mask

    def check(self, cell: Cell, mask: BoolArray) -> Column:
        """A cell's values; its faults in rows of the mask are noted."""
        return self.book.check(cell, self.values, mask)

    def check_key(self, cell: Cell, mask: BoolArray) -> Column:
        """As `check`, of keys, which no store's index takes at any length."""
        column = self.check(cell, mask)
        self.flag_long(column.values, cell.plan.columns, mask)
        for odd in column.odd:
            self.odd.setdefault((odd.column, odd.reason), []).append(odd.of(mask))
        return column

    def notices(self, source: str) -> list[Notice]:
        """What is odd about rows without a fault, each row once for each column."""
        found = []
        for (column, reason), faults in self.odd.items():
            rows = np.concatenate([fault.rows for fault in faults])
            values = pa.concat_arrays([fault.values for fault in faults])
            rows, first = np.unique(rows, return_index=True)
            good = ~self.book.bad[rows]
            if good.any():
                at = int(np.argmax(good))
                value = values[int(first[at])].as_py() or ""
                line = int(self.lines[rows[at]])
                found.append(Notice(source, line, column, value, reason, int(np.count_nonzero(good))))
        return found

    def flag_long(self, keys: pa.Array, name: str, mask: BoolArray) -> None:
        """Notes keys (text, or lists of it) that are too long, for the rows of the mask."""
        flat = pc.list_flatten(keys) if is_list(keys.type) else keys
        sizes = pc.binary_length(flat)
        if (pc.max(sizes).as_py() or 0) <= _LONGEST_KEY:
            return
        wrong = np.flatnonzero(np.asarray(pc.fill_null(pc.greater(sizes, _LONGEST_KEY), False)))
        rows = parents_of(keys)[wrong] if is_list(keys.type) else wrong.astype(np.int64)
        texts = pc.utf8_slice_codeunits(flat.take(pa.array(wrong)), 0, 200)
        self.book.add(Fault(rows, name, texts, f"is too long for a key ({_LONGEST_KEY:,} bytes)"), mask)

    def add(self, key: TypeKey, rows: IntArray, columns: dict[str, Any], *, deletes: bool = True) -> None:
        """Adds rows of a type: of each its row in the batch and its columns; absent ones are null."""
        if len(rows) == 0:
            return
        self.made[rows] = True
        if not isinstance(key, str) and self.schema.relationship(key).kind == "event":
            self.acted[rows] = True
        columns["_line"] = pa.array(self.lines[rows])
        if self.times is not None:
            columns["_time"] = take(self.times, rows)
        columns["_deleted"] = pa.array(self.deleted[rows] if deletes else np.zeros(len(rows), bool))
        schema = row_schema(self.schema, key)
        arrays = [
            columns[f.name] if columns.get(f.name) is not None else pa.nulls(len(rows), f.type)
            for f in schema
        ]
        self.tables.setdefault(key, []).append(pa.Table.from_arrays(arrays, schema=schema))


def take(values: pa.Array, rows: IntArray) -> pa.Array:
    """These rows; the array itself where they are all of it."""
    if len(rows) == len(values) and bool((rows == np.arange(len(rows))).all()):
        return values
    return values.take(pa.array(rows))


def explode(rows: IntArray, *ends: pa.Array) -> tuple[IntArray, list[pa.Array]]:
    """Rows with their keys, one per element where these are lists, one per combination of several.

    Args:
        rows: int64 [rows]: rows of the batch.
        ends: text, or lists of text, for every row of the batch.

    Returns:
        The rows (repeated) and the keys; those without a key are left out.
    """
    done: list[pa.Array] = []
    for values in ends:
        keys = take(values, rows)
        if is_list(keys.type):
            parents = parents_of(keys)
            keys = pc.list_flatten(keys)
        elif keys.null_count:
            parents = np.flatnonzero(np.asarray(pc.is_valid(keys))).astype(np.int64)
            keys = keys.take(pa.array(parents))
        else:
            done.append(keys)
            continue
        done = [other.take(pa.array(parents)) for other in done]
        done.append(keys)
        rows = rows[parents]
    return rows, done


class NodeMaker:
    """Makes nodes: first their faults, then, once all are known, the rows."""

    def __init__(self, plan: NodePlan, rows: Rows) -> None:
        self._plan, self._rows = plan, rows
        self._mask = rows.active(plan.when, [plan.key, *plan.properties])
        self._key = rows.check_key(plan.key, self._mask)
        alive = self._mask & ~rows.deleted
        self._cells = {cell.name: rows.check(cell, alive) for cell in plan.properties}
        # Of several nodes of a row each is called by what it is told by, and not by all of them.
        several = is_list(self._key.values.type)
        self._own = [c.name for c in plan.properties if several and c.plan.value == plan.key.plan.value]

    def make(self) -> PieceRows:
        """Adds the rows without a fault, and tells how many."""
        rows = np.flatnonzero(self._mask & ~self._rows.book.bad).astype(np.int64)
        rows, (keys,) = explode(rows, self._key.values)
        columns = {name: _alive(column.values, rows, self._rows) for name, column in self._cells.items()}
        for name in self._own:
            columns[name] = pc.if_else(pc.is_valid(columns[name]), keys, columns[name])
        self._rows.add(self._plan.label, rows, {self._plan.key.name: keys, **columns})
        ends = {self._plan.key.plan.columns: self._key.values}
        return self._rows.book.counted(self._plan.label, self._mask, _hit(rows, self._mask), ends)


class EdgeMaker:
    """Makes relationships and event lines, as `NodeMaker` does nodes."""

    def __init__(self, plan: EdgePlan, rows: Rows) -> None:
        self._plan, self._rows = plan, rows
        self._mask = rows.active(plan.when, [plan.source, plan.target, plan.event_id, *plan.properties])
        self._source = rows.check_key(plan.source, self._mask)
        self._target = rows.check_key(plan.target, self._mask)
        self._ends = ((plan.source, self._source), (plan.target, self._target))
        alive = self._mask & ~rows.deleted
        self._id = None if plan.event_id is None else rows.check_key(plan.event_id, self._mask)
        self._cells = {
            cell.name: rows.check(cell, self._mask if cell.name in plan.identity else alive)
            for cell in plan.properties
        }
        self._columns = {cell.name: cell.plan.columns for cell in plan.properties}
        if plan.aggregated:
            self._check_event(alive)

    def _check_event(self, alive: BoolArray) -> None:
        cells = self._cells
        if "quantity" in cells:
            many = pc.greater(pc.abs(cells["quantity"].values), _MOST_UNITS)
            self._flag(many, "quantity", "is too large", alive)
        for name in ("amount", "spend"):
            if name in cells:
                much = pc.invert(pc.less_equal(pc.abs(cells[name].values), _MOST_SPENT))
                self._flag(much, name, "is too large", alive)
        if "last_at" in cells and "first_at" in cells:
            early = pc.less(cells["last_at"].values, cells["first_at"].values)
            self._flag(early, "last_at", "lies before first_at", alive)
        if "count" in cells:
            self._flag(pc.less(cells["count"].values, 1), "count", "is below 1", alive)
            self._flag(pc.greater(cells["count"].values, _MOST_EVENTS), "count", "is too large", alive)
        if "first_quantity" in cells:
            self._flag(pc.less(cells["first_quantity"].values, 0), "first_quantity", "is below 0", alive)

    def _flag(self, wrong: pa.Array, name: str, reason: str, mask: BoolArray) -> None:
        rows = np.asarray(pc.fill_null(wrong, False)).astype(bool) & mask
        self._rows.book.flag(rows, self._cells[name], self._columns[name], reason)

    def make(self) -> PieceRows:
        """Adds the rows without a fault, and tells how many."""
        plan = self._plan
        rows = np.flatnonzero(self._mask & ~self._rows.book.bad).astype(np.int64)
        rows, (source, target) = explode(rows, self._source.values, self._target.values)
        columns: dict[str, Any] = {"source": source, "target": target}
        for name, column in self._cells.items():
            if name in plan.identity:
                columns[name] = take(column.values, rows)
            else:
                columns[name] = _alive(column.values, rows, self._rows)
        if plan.aggregated:
            columns |= self._event(columns, rows)
            columns["_id"] = None if self._id is None else take(self._id.values, rows)
            columns["_overlap"] = _repeat(pa.scalar(plan.overlap), len(rows))
        self._rows.add(plan.edge, rows, columns)
        ends = {end.plan.columns: keys.values for end, keys in self._ends}
        return self._rows.book.counted(plan.edge, self._mask, _hit(rows, self._mask), ends)

    def _event(self, columns: dict[str, Any], rows: IntArray) -> dict[str, Any]:
        """A line as one event per pair of ends that has happened once; what is not said is filled in."""
        known = self._rows.schema.relationships[self._plan.edge[1]].properties
        gone = self._rows.deleted[rows]
        one = _repeat(pa.scalar(1, pa.int64()), len(rows))
        event: dict[str, Any] = {}
        if self._plan.lines:
            event["first_at"] = event["last_at"] = columns.get("at")
            event["spend"] = columns.get("amount")
            units = columns.get("quantity")
            if units is not None:
                # A fraction, such as a weight, is still a purchase.
                units = pc.cast(pc.max_element_wise(pc.ceil(units), 0.0, skip_nulls=False), pa.int64())
            event["first_quantity"] = units
        else:
            event = {name: columns.get(name) for name in known}
            if event.get("last_at") is None or event["last_at"].null_count:
                given = event.get("last_at")
                event["last_at"] = (
                    event["first_at"] if given is None else pc.coalesce(given, event["first_at"])
                )
        for name in ("count", "first_quantity"):
            given = event.get(name)
            event[name] = one if given is None else pc.coalesce(given, one) if given.null_count else given
        if gone.any():
            nothing = pa.array(gone)
            event = {
                name: None if v is None else pc.if_else(nothing, pa.scalar(None, v.type), v)
                for name, v in event.items()
            }
        return {name: value for name, value in event.items() if name in known}


def _hit(rows: IntArray, of: BoolArray) -> BoolArray:
    """Which of all rows are among some."""
    hit = np.zeros(len(of), bool)
    hit[rows] = True
    return hit


def _none(keys: pa.Array) -> BoolArray:
    """Which rows have no key."""
    sizes = pc.list_value_length(keys) if is_list(keys.type) else pc.cast(pc.is_valid(keys), pa.int32())
    return ~np.asarray(pc.fill_null(sizes, 0)).astype(bool)


def _repeat(value: pa.Scalar, rows: int) -> pa.Array:
    return pa.array([value.as_py()], value.type).take(pa.array(np.zeros(rows, np.int64)))


def _alive(values: pa.Array, rows: IntArray, of: Rows) -> pa.Array:
    """The rows' values, null for those that are to be deleted."""
    taken = take(values, rows)
    gone = of.deleted[rows]
    return pc.if_else(pa.array(gone), pa.scalar(None, taken.type), taken) if gone.any() else taken


def without_repeats(table: pa.Table) -> pa.Table:
    """Of rows that differ in their line alone the first."""
    codes = np.zeros(table.num_rows, np.int64)
    width = 1
    for name in table.column_names:
        column = table[name]
        if name == "_line" or column.null_count == len(column):
            continue
        if is_list(column.type):
            return table
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0)
        size = len(encoded.dictionary)
        if size <= 1:
            continue
        if width * size >= 2**62:
            codes, distinct = pd.factorize(codes)
            width = len(distinct)
        codes = codes * size + np.asarray(encoded.indices).astype(np.int64)
        width *= size
    if width > 4 * table.num_rows:
        codes, distinct = pd.factorize(codes)
        width = len(distinct)
    first = np.full(width, -1, np.int64)
    # Written backwards: what stays is the first.
    first[codes[::-1]] = np.arange(table.num_rows - 1, -1, -1)
    kept = np.sort(first[first >= 0])
    return table if len(kept) == table.num_rows else table.take(pa.array(kept))
