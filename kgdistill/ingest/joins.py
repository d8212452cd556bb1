"""Other tables in which the rows of a source look up one by a key: held in memory, asked batch by batch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.ingest.cast import ColumnTypeError
from kgdistill.ingest.garbled import TextCheck
from kgdistill.ingest.keys import KeyIndex, begins, hashes_of, one_key
from kgdistill.ingest.mapping.cast import is_list, plain_array, to_text
from kgdistill.ingest.mapping.plan import JoinPlan
from kgdistill.ingest.mapping.values import Evaluator, Fault, as_lists
from kgdistill.ingest.model import Notice, joined_notices
from kgdistill.ingest.readers import RawBatch, Source, column_names, fingerprint, read_batches, table_source
from kgdistill.nearest import nearest

_KEY, _TIME, _HASH, _LINE, _FILE = "key", "time", "hash", "line", "file"
_US = pa.timestamp("us")
_NEVER = -(2**63)
# Before what columns are called there.
_WANTED = "."


@dataclass(frozen=True, eq=False)
class Looked:
    """A table of which rows are looked up by a key.

    Attributes:
        plan: the join.
        index: of the keys.
        table: in that order the keys and the wanted columns.
    """

    plan: JoinPlan
    index: KeyIndex
    table: pa.Table


@dataclass(frozen=True)
class Joins:
    """The joins of one source of a mapping.

    Attributes:
        tables: in the order in which they are looked up.
        notices: what is odd about their files.
    """

    tables: tuple[Looked, ...] = ()
    notices: tuple[Notice, ...] = ()

    def check(self, source: Source, columns: Sequence[str]) -> None:
        """Refuses columns of which it is unclear, or wrong, where they come from.

        Args:
            source: whose rows look up others.
            columns: what is read of it.

        Raises:
            InputError: the source itself has a column of a join's, or a column's join does not exist.
        """
        if not self.tables:
            return
        names = column_names(source)
        joins = [looked.plan for looked in self.tables]
        for join in joins:
            for column in join.columns:
                if (name := f"{join.name}.{column}") in names:
                    raise source.fail(
                        f"has a column {name!r} itself, beside the join {join.name!r}",
                        hint="give the join another name in the mapping",
                    )
        known = [join.name for join in joins]
        own = {name.partition(".")[0] for name in names}
        for column in columns:
            prefix, dot, _ = column.partition(".")
            hint = nearest(prefix, known)
            # Objects of JSON may come later in the file.
            if (
                dot
                and column not in names
                and prefix not in own
                and (hint or source.options.format != "jsonl")
            ):
                told = f"{hint}its joins: {', '.join(known)}"
                raise source.fail(f"has no column {column!r}, and no join {prefix!r}", hint=told)

    def added(self, batch: RawBatch, where: str) -> RawBatch:
        """A batch with the joins' columns, and for each join whether a row has found one.

        Args:
            batch: rows of the source.
            where: the source's name, for errors.
        """
        return replace(batch, table=self._look_up(batch.table, where)[0])

    def mark(self, source: Source) -> str:
        """The hash of all that the rows of a source find: another one where they would find anything else.

        Empty without joins, and where the source cannot be read: what is wrong with it, reading will say.
        """
        if not self.tables:
            return ""
        hit = [np.zeros(looked.table.num_rows, bool) for looked in self.tables]
        joined = tuple(f"{looked.plan.name}." for looked in self.tables)
        keys = dict.fromkeys(column for looked in self.tables for column in looked.plan.here)
        own = [column for column in keys if not column.startswith(joined)]
        with contextlib.suppress(InputError):
            for batch in read_batches(source, own):
                for mask, rows in zip(hit, self._look_up(batch.table, source.name, keys)[1], strict=True):
                    mask[rows[rows >= 0]] = True
            told = hashlib.sha256()
            for looked, mask in zip(self.tables, hit, strict=True):
                found = table_source("", looked.table.filter(pa.array(mask)))
                told.update(fingerprint(found).sha256.encode())
            return told.hexdigest()
        return ""

    def _look_up(
        self, table: pa.Table, where: str, only: Container[str] | None = None
    ) -> tuple[pa.Table, list[IntArray]]:
        """The table with the joins' columns (or some), and by join the row that each row found, or -1."""
        found: list[IntArray] = []
        for looked in self.tables:
            plan = looked.plan
            rows = looked.index.rows(_keys(Evaluator(table, where, None), plan.here, where))
            found.append(rows)
            missing = rows < 0
            place = pa.array(rows, mask=missing)
            for column in plan.columns:
                name = f"{plan.name}.{column}"
                if only is None or name in only:
                    table = table.append_column(name, looked.table[_WANTED + column].take(place))
            table = table.append_column(plan.found, pa.array(~missing))
        return table, found


def load_joins(plans: Sequence[JoinPlan], sources: Sequence[Sequence[Source]]) -> Joins:
    """Reads the tables of joins into memory.

    Args:
        plans: the joins, in their order.
        sources: the files or the table of each.

    Raises:
        InputError: one cannot be read, or has rows of one key that differ in what is wanted of them.
    """
    notices: list[Notice] = []
    tables = [_load(plan, files, notices) for plan, files in zip(plans, sources, strict=True)]
    return Joins(tuple(tables), joined_notices(notices))


def _load(plan: JoinPlan, sources: Sequence[Source], notices: list[Notice]) -> Looked:
    parts: list[pa.Table] = []
    for number, source in enumerate(sources):
        text = TextCheck(source)
        for batch in read_batches(source, plan.read):
            text.see(batch.table, batch.lines)
            values = Evaluator(batch.table, source.where, None)
            keys, times = _keys(values, plan.there, source.where), pa.nulls(values.rows, _US)
            notices += [*batch.notices, *_left_out(batch, source)]
            if plan.updated_at is not None:
                times = values.column(plan.updated_at.plan).values
                notices += _untimed(batch, source, values.column(plan.updated_at.plan).faults)
            columns = {
                _KEY: keys,
                _TIME: times,
                _HASH: pa.array(hashes_of(keys)),
                _LINE: pa.array(batch.lines),
                _FILE: pa.array(np.full(len(keys), number, np.int32)),
                **{_WANTED + name: plain_array(batch.table[name]) for name in plan.columns},
            }
            parts.append(pa.table(columns).filter(pc.is_valid(keys)))
        notices += text.notices()
    if not parts:
        nothing = _nothing(plan)
        return Looked(plan, KeyIndex.of(np.zeros(0, np.uint64), nothing[_KEY]), nothing)
    whole = _concat(parts, sources[0])
    parts.clear()
    # A stable order: of one key the latest row comes first, of as late ones that of the first file.
    order = [(_HASH, "ascending"), (_KEY, "ascending"), (_TIME, "descending")]
    whole = whole.take(pc.sort_indices(whole, sort_keys=order))
    new = begins(whole[_KEY])
    if not new.all():
        _check_alike(plan, whole, new, sources)
        whole = whole.filter(pa.array(new))
    whole = whole.combine_chunks()
    index = KeyIndex.of(np.asarray(whole[_HASH]), whole[_KEY])
    return Looked(plan, index, whole.drop_columns([_TIME, _HASH, _LINE, _FILE]))


def _nothing(plan: JoinPlan) -> pa.Table:
    names = [_KEY, *(_WANTED + name for name in plan.columns)]
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _left_out(batch: RawBatch, source: Source) -> list[Notice]:
    """Rows that cannot be split into columns: those that look for them find none."""
    return [
        Notice(source.name, row["line"], "", row["value"] or "", f"{row['reason']}: left out of the join")
        for row in batch.rejects.to_pylist()
    ]


def _concat(parts: list[pa.Table], source: Source) -> pa.Table:
    """The parts as one; a column of several types is text, or lists of it."""
    schemas = [part.schema for part in parts]
    for place, name in enumerate(schemas[0].names):
        kinds = {schema.field(place).type for schema in schemas}
        if len(kinds) == 1:
            continue
        some = any(is_list(kind) for kind in kinds)
        for i, part in enumerate(parts):
            column = plain_array(part[name])
            try:
                text = as_lists(column) if some else to_text(column)[0]
                text = pc.cast(text, pa.list_(pa.string())) if some else text
            except (ColumnTypeError, pa.ArrowException) as error:
                told = f"the column {name.removeprefix(_WANTED)!r} {str(error).splitlines()[0]}"
                raise source.fail(told) from error
            parts[i] = part.set_column(place, name, text)
    return pa.concat_tables(parts)


def _check_alike(
    plan: JoinPlan, whole: pa.Table, new: npt.NDArray[np.bool_], sources: Sequence[Source]
) -> None:
    """Refuses rows that differ in what is wanted from the first of their key, unless that is a later one.

    Args:
        plan: the join.
        whole: the rows, those of one key together.
        new: bool [rows]: where another key begins.
        sources: the files.
    """
    times = np.asarray(pc.fill_null(pc.cast(whole[_TIME], pa.int64()), _NEVER))
    firsts = np.maximum.accumulate(np.where(new, np.arange(whole.num_rows), 0))
    repeats = np.flatnonzero(~new & (times == times[firsts]))
    found: list[tuple[int, int, int, str]] = []
    for name in plan.columns:
        column = whole[_WANTED + name]
        here = column.take(pa.array(repeats)).to_pylist()
        before = column.take(pa.array(firsts[repeats])).to_pylist()
        unlike = [int(r) for r, one, other in zip(repeats, here, before, strict=True) if one != other]
        found += [(whole[_FILE][r].as_py(), whole[_LINE][r].as_py(), r, name) for r in unlike]
    if not found:
        return
    file, line, row, name = min(found)
    former = sources[whole[_FILE][firsts[row]].as_py()]
    beside = "" if former is sources[file] else f" of {former.where}"
    several = len(plan.there) if len(plan.there) > 1 else 0
    key = whole[_KEY][row].as_py().split(" ", several)[several] if several else whole[_KEY][row].as_py()
    raise sources[file].fail(
        f"has a further row with the key {key!r} ({', '.join(plan.there)}) for the join {plan.name!r}, "
        f"which differs in {name!r} from line {whole[_LINE][firsts[row]].as_py():,}{beside}",
        hint="a join needs one row for each key: export it so, say by which `updated_at` the latest counts, "
        "or name more columns under `on`",
        place=f"line {line:,}",
    )


def _untimed(batch: RawBatch, source: Source, faults: Sequence[Fault]) -> list[Notice]:
    """Rows whose time cannot be read, so that any other of their key counts."""
    return [
        Notice(
            source.name,
            int(batch.lines[row]),
            fault.column,
            value or "",
            f"{fault.reason}: taken as the earliest",
        )
        for fault in faults
        for row, value in zip(fault.rows, fault.values.to_pylist(), strict=True)
    ]


def _keys(values: Evaluator, columns: Sequence[str], where: str) -> pa.Array:
    """The columns' texts as one key; null where one of them has none."""
    texts = []
    for column in columns:
        try:
            texts.append(values.text(column, is_key=True))
        except ColumnTypeError as error:
            raise InputError(f"the column {column!r} {error}, and is no key", where=where) from error
    return one_key(texts)
