"""Works out the values of a mapping for the rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.errors import InputError
from kgdistill.ingest.cast import ColumnTypeError, words
from kgdistill.ingest.mapping.cast import (
    as_bytes,
    cast_times,
    cast_values,
    is_list,
    is_text,
    key_text,
    lost_digits,
    no_number,
    parents_of,
    plain_array,
    to_text,
    trim,
)
from kgdistill.ingest.mapping.model import Condition, template_parts
from kgdistill.ingest.mapping.plan import JoinPlan, Plan
from kgdistill.private import hash_of
from kgdistill.store.schema import arrow_type

_JOINED = ", "
LOST_DIGITS = (
    "is a number in scientific notation, as spreadsheets write long ids: the digits it lacks are lost; "
    "export the column as text"
)
_SAMPLE = datetime(2017, 4, 1, 13, 5)


@dataclass(frozen=True)
class Fault:
    """Rows whose value does not fit: rows int64 [faults], their values as text, and why."""

    rows: IntArray
    column: str
    values: pa.Array
    reason: str

    def of(self, mask: BoolArray) -> Fault:
        """Only those in rows of the mask [rows of the batch]."""
        kept = mask[self.rows]
        return self if kept.all() else replace(self, rows=self.rows[kept], values=self.values.filter(kept))


@dataclass(frozen=True)
class Column:
    """A value for every row: an array of the plan's type, or of lists of it, the faults met, and oddities."""

    values: pa.Array
    faults: tuple[Fault, ...] = ()
    odd: tuple[Fault, ...] = ()


class Evaluator:
    """The values of one batch, each worked out once.

    Args:
        table: the rows.
        where: the source's name, for errors.
        salt: for hashes.
        joins: those whose columns the rows have.
    """

    def __init__(
        self, table: pa.Table, where: str, salt: bytes | None, joins: tuple[JoinPlan, ...] = ()
    ) -> None:
        self.rows = int(table.num_rows)
        self._table = table
        self._where = where
        self._salt = salt
        self._joins = {join.name: join for join in joins}
        self._raw: dict[str, pa.Array] = {}
        self._texts: dict[str, pa.Array] = {}
        self._columns: dict[int, Column] = {}

    def column(self, plan: Plan) -> Column:
        """The value for every row.

        Raises:
            InputError: a column's type can never become the plan's.
        """
        if plan.slot not in self._columns:
            try:
                self._columns[plan.slot] = self._work_out(plan)
            except (ColumnTypeError, pa.ArrowNotImplementedError) as error:
                raise InputError(
                    f"the column {plan.columns!r} {str(error).splitlines()[0]}",
                    where=self._where,
                    hint=f"the mapping makes {words(plan.kind)} of it",
                ) from error
        return self._columns[plan.slot]

    def holds(self, condition: Condition) -> BoolArray:
        """For which rows the condition holds, bool [rows]."""
        texts = self.text(condition.column)
        result = np.ones(self.rows, bool)
        if condition.present is not None:
            result &= np.asarray(pc.is_valid(texts)) == condition.present
        if condition.in_ is not None:
            result &= np.asarray(pc.is_in(texts, value_set=pa.array(condition.in_, pa.string())))
        if condition.not_in is not None:
            result &= ~np.asarray(pc.is_in(texts, value_set=pa.array(condition.not_in, pa.string())))
        if condition.matches is not None:
            found = pc.match_substring_regex(texts, rf"\A(?:{condition.matches})\z")
            result &= np.asarray(pc.fill_null(found, False)).astype(bool)
        if condition.min is not None or condition.max is not None:
            numbers = cast_values(texts, "double")[0].to_numpy(zero_copy_only=False).astype(float)
            low = -np.inf if condition.min is None else condition.min
            high = np.inf if condition.max is None else condition.max
            result &= (numbers >= low) & (numbers <= high)
        return result

    def unmatched(self, plan: Plan) -> Iterator[Fault]:
        """The rows that lack what a value is made of, as a join found nothing for them, and why."""
        joins = {join.name: join for c in plan.value.own_columns() if (join := self._join_of(c)) is not None}
        for join in joins.values():
            yield from self._lacking(join, ~np.asarray(self._table[join.found]))

    def _join_of(self, column: str) -> JoinPlan | None:
        """The join that a column comes from; a column of the row's own may have a join's name."""
        name, dot, _ = column.partition(".")
        return self._joins.get(name) if dot else None

    def _lacking(self, join: JoinPlan, rows: BoolArray) -> Iterator[Fault]:
        """Why a join found nothing for the rows of the mask."""
        for column in join.here:
            former = self._join_of(column)
            if former is not None:
                yield from self._lacking(former, rows & ~np.asarray(self._table[former.found]))
            empty = rows & np.asarray(pc.is_null(self.text(column, is_key=True)))
            none = np.flatnonzero(empty).astype(np.int64)
            reason = f"is empty, so that nothing can be found in the join {join.name}"
            yield Fault(none, column, pa.nulls(len(none), pa.string()), reason)
        none = np.flatnonzero(rows).astype(np.int64)
        # Where anything is hashed, the key may be what hides behind it.
        texts = pa.nulls(len(none), pa.string())
        if not self._salt:
            shown = _joined([self.text(column, is_key=True) for column in join.here], _JOINED)
            texts = pc.utf8_slice_codeunits(shown.take(pa.array(none)), 0, 200)
        yield Fault(none, ", ".join(join.here), texts, f"is in no row of the join {join.name}")

    def _array(self, name: str) -> pa.Array:
        if name not in self._raw:
            self._raw[name] = as_bytes(plain_array(self._table[name]))
        return self._raw[name]

    def text(self, name: str, is_key: bool = False) -> pa.Array:
        """A column as trimmed text; the elements of lists are joined."""
        if is_key:
            return key_text(self.text(name))
        if name not in self._texts:
            values = self._array(name)
            if is_list(values.type):
                inner, _ = to_text(plain_array(pc.list_flatten(values)))
                self._texts[name] = trim(pc.binary_join(_lists(values, inner), _JOINED))
            else:
                self._texts[name] = trim(to_text(values)[0])
        return self._texts[name]

    def _work_out(self, plan: Plan) -> Column:
        raw, faults = self._origin(plan)
        done = _Finish(plan, raw, self._salt)
        # The plans of its parts are worked out by now.
        inner = [odd for part in plan.parts for odd in self.column(part).odd]
        return Column(done.values, (*faults, *done.faults), (*inner, *done.odd))

    def _origin(self, plan: Plan) -> tuple[pa.Array, list[Fault]]:
        value = plan.value
        if value.column is not None:
            return self._array(value.column), []
        if plan.constant is not None:
            return pc.take(plan.constant, pa.array(np.zeros(self.rows, np.int64))), []
        if value.columns is not None:
            texts = [self.text(name, plan.is_key) for name in value.columns]
            if value.as_list:
                return _side_by_side(texts), []
            return _joined(texts, value.separator), []
        if value.template is not None:
            pieces: list[Any] = []
            for text, name in template_parts(value.template):
                column = [] if name is None else [self.text(name, plan.is_key)]
                pieces += [pa.scalar(text), *column]
            return pc.binary_join_element_wise(*pieces, pa.scalar(""), null_handling="emit_null"), []
        columns = [self.column(part) for part in plan.parts]
        if value.multiply is not None:
            product = pc.multiply(columns[0].values, columns[1].values)
            return product, [fault for column in columns for fault in column.faults]
        return self._first(columns)

    def _first(self, columns: list[Column]) -> tuple[pa.Array, list[Fault]]:
        """The first that has a value; a fault counts where nothing before it has one."""
        values, faults = columns[0].values, list(columns[0].faults)
        for column in columns[1:]:
            open_rows = np.asarray(pc.is_null(values))
            faults += [kept for fault in column.faults if len((kept := fault.of(open_rows)).rows)]
            other = column.values
            if is_list(values.type) != is_list(other.type):
                values, other = as_lists(values), as_lists(other)
            values = pc.if_else(pa.array(open_rows), other, values)
        return values, faults


class _Finish:
    """From the raw values to those of the plan."""

    def __init__(self, plan: Plan, raw: pa.Array, salt: bytes | None) -> None:
        self.plan = plan
        self.faults: list[Fault] = []
        self.odd: list[Fault] = []
        self._salt = salt
        self._rows = len(raw)
        self._parents: IntArray | None = None
        self._empty: BoolArray | None = None
        if is_list(raw.type):
            raw = self._explode(raw)
        values = raw
        if plan.as_text or is_text(raw.type):
            values = self._text(values, raw)
        if plan.value.split is not None:
            raw = values = trim(self._explode(pc.split_pattern(values, plan.value.split)))
        keep = self._parents is None or plan.shape == "many" or plan.kind == "float_list"
        values = self._elements(values, raw, keep)
        if self._parents is not None:
            raw = values = self._collect(values, keep)
            self._parents = None
        elif plan.kind == "float_list":
            raise ColumnTypeError("holds no lists")
        self.values = self._bounds(values, raw)
        if plan.default is not None and self.values.null_count:
            self.values = self._with_default(self.values, plan.default)

    def _explode(self, lists: pa.Array) -> pa.Array:
        lists = plain_array(lists)
        empty = np.asarray(pc.is_null(lists))
        inner = parents_of(lists)
        if self._parents is None:
            self._parents, self._empty = inner, empty
        else:
            self._parents = self._parents[inner]
        return plain_array(pc.list_flatten(lists))

    def _note(self, bad: BoolArray, raw: pa.Array, reason: str) -> None:
        if bad.any() and self.plan.value.invalid != "null":
            self.faults.append(self._fault(bad, raw, reason))

    def _fault(self, bad: BoolArray, raw: pa.Array, reason: str) -> Fault:
        where = np.flatnonzero(bad).astype(np.int64)
        rows = where if self._parents is None else self._parents[where]
        texts = pc.utf8_slice_codeunits(to_text(raw.take(pa.array(where)))[0], 0, 200)
        if self.plan.value.hash:
            # What is personal does not go into a file of rejects.
            texts = pa.nulls(len(texts), pa.string())
        return Fault(rows, self.plan.columns, texts, reason)

    def _key(self, texts: pa.Array) -> pa.Array:
        """Trimmed text as keys; what is none is a fault, what has lost its digits is odd."""
        texts = key_text(texts, strip=self.plan.value.strip)
        none = no_number(texts)
        if none.any():
            self._note(none, texts, "is no key: it stands for a number that is missing or infinite")
            texts = pc.if_else(pa.array(none), pa.scalar(None, pa.string()), texts)
        lost = lost_digits(texts)
        if lost.any():
            self.odd.append(self._fault(lost, texts, LOST_DIGITS))
        return texts

    def _text(self, values: pa.Array, raw: pa.Array) -> pa.Array:
        value = self.plan.value
        texts, bad = to_text(values)
        self._note(bad, raw, "is not text in UTF-8")
        if value.fold is not None:
            texts = pc.utf8_normalize(texts, form="NFKC")
        texts = trim(texts, strip=value.strip)
        if self.plan.is_key and value.values is None:
            texts = self._key(texts)
        for pattern, replacement in (value.replace or {}).items():
            texts = pc.replace_substring_regex(texts, pattern, replacement)
        if value.case is not None:
            texts = pc.utf8_lower(texts) if value.case == "lower" else pc.utf8_upper(texts)
        return trim(texts, strip=value.strip) if value.replace else texts

    def _elements(self, values: pa.Array, raw: pa.Array, keep: bool) -> pa.Array:
        plan, value = self.plan, self.plan.value
        kind = plan.kind if keep else "string"
        if kind == "float_list":
            kind = "double"
        if value.values is not None:
            assert plan.outcomes is not None
            found = pc.index_in(values, value_set=pa.array(list(value.values), pa.string()))
            other = np.asarray(pc.and_(pc.is_null(found), pc.is_valid(values)))
            outcome = plan.outcomes.take(found)
            if plan.default is not None:
                default = plan.default.take(pa.array(np.zeros(len(values), np.int64)))
                outcome = pc.if_else(pa.array(other), default, outcome)
            else:
                some = ", ".join(list(value.values)[:10]) + (", …" if len(value.values) > 10 else "")
                self._note(other, raw, f"is not one of: {some}")
            return outcome if keep else to_text(outcome)[0]
        if value.hash:
            assert self._salt is not None
            return _hashed(values, self._salt)
        if kind == "timestamp":
            result, bad = cast_times(values, value.format or (), value.unit, plan.zone)
        else:
            result, bad = cast_values(values, kind, value.decimal)
        self._note(bad, raw, self._unfit(kind))
        return result

    def _unfit(self, kind: str) -> str:
        formats = self.plan.value.format
        if kind == "timestamp" and formats:
            shown = [_SAMPLE.isoformat() if f == "iso" else _SAMPLE.strftime(f) for f in formats]
            return f"is not a time such as {' or '.join(shown)}"
        if kind == "timestamp" and self.plan.value.unit:
            return f"is not a number of {self.plan.value.unit} since 1970"
        return f"is not {words(kind)}"

    def _collect(self, elements: pa.Array, keep: bool) -> pa.Array:
        assert self._parents is not None
        assert self._empty is not None
        if self.plan.kind == "float_list":
            gap = np.asarray(pc.is_null(elements))
            self._note(gap, elements, "is a list with a gap")
        has = np.asarray(pc.is_valid(elements))
        counts = np.bincount(self._parents[has], minlength=self._rows)
        offsets = np.r_[0, np.cumsum(counts)].astype(np.int32)
        kept = elements if has.all() else elements.drop_null()
        lists = pa.ListArray.from_arrays(
            pa.array(offsets), kept, mask=pa.array(self._empty) if self._empty.any() else None
        )
        if self.plan.kind == "float_list":
            return pc.cast(lists, arrow_type("float_list"), safe=False)
        if keep:
            return lists
        joined = trim(pc.binary_join(lists, _JOINED))
        if self.plan.kind == "string":
            return joined
        self._parents = None
        values = self.plan.value
        if self.plan.kind == "timestamp":
            result, bad = cast_times(joined, values.format or (), values.unit, self.plan.zone)
        else:
            result, bad = cast_values(joined, self.plan.kind, values.decimal)
        self._note(bad, joined, self._unfit(self.plan.kind))
        return result

    def _bounds(self, values: pa.Array, raw: pa.Array) -> pa.Array:
        for bound, beyond in ((self.plan.low, pc.less), (self.plan.high, pc.greater)):
            if bound is None:
                continue
            limit, reason = bound
            out = np.asarray(pc.fill_null(beyond(values, limit[0]), False)).astype(bool)
            if out.any():
                self._note(out, raw, reason)
                values = pc.if_else(pa.array(out), pa.scalar(None, values.type), values)
        return values

    def _with_default(self, values: pa.Array, default: pa.Array) -> pa.Array:
        fill = pc.take(default, pa.array(np.zeros(len(values), np.int64)))
        if is_list(values.type):
            fill = as_lists(fill)
        return pc.if_else(pc.is_null(values), fill, values)


def _hashed(texts: pa.Array, salt: bytes) -> pa.Array:
    encoded = texts.dictionary_encode()
    digests = [hash_of(text, salt) for text in encoded.dictionary.to_pylist()]
    return pa.array(digests, pa.string()).take(encoded.indices)


def _lists(like: pa.Array, elements: pa.Array) -> pa.Array:
    """Lists of the same lengths, without the elements that have no value."""
    parents = parents_of(like)
    has = np.asarray(pc.is_valid(elements))
    offsets = np.r_[0, np.cumsum(np.bincount(parents[has], minlength=len(like)))].astype(np.int32)
    nulls = pc.is_null(like)
    mask = nulls if like.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), elements.drop_null(), mask=mask)


def _joined(texts: list[pa.Array], separator: str) -> pa.Array:
    """Joined row by row without those that have no value; null where none has one."""
    result = texts[0]
    for text in texts[1:]:
        both = pc.binary_join_element_wise(result, text, separator, null_handling="emit_null")
        result = pc.coalesce(both, result, text)
    return result


def _side_by_side(texts: list[pa.Array]) -> pa.Array:
    """A list per row with one element per column; null where no column has a value."""
    rows, width = len(texts[0]), len(texts)
    order = np.arange(rows * width).reshape(width, rows).T.ravel()
    offsets = np.arange(0, rows * width + 1, width).astype(np.int32)
    empty = np.all([np.asarray(pc.is_null(text)) for text in texts], axis=0)
    elements = pa.concat_arrays(texts).take(pa.array(order))
    return pa.ListArray.from_arrays(
        pa.array(offsets), elements, mask=pa.array(empty) if empty.any() else None
    )


def as_lists(values: pa.Array) -> pa.Array:
    """Lists themselves; else lists of one value, or of none."""
    if is_list(values.type):
        return values
    has = np.asarray(pc.is_valid(values))
    offsets = np.r_[0, np.cumsum(has)].astype(np.int32)
    mask = pa.array(~has) if not has.all() else None
    return pa.ListArray.from_arrays(pa.array(offsets), values.drop_null(), mask=mask)
