"""Makes canonical rows of the graph's types from batches of a source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from kgdistill.arrays import IntArray
from kgdistill.ingest.idle import PieceRows
from kgdistill.ingest.mapping.plan import CompiledSource
from kgdistill.ingest.mapping.rows import Book, EdgeMaker, NodeMaker, Rows, without_repeats
from kgdistill.ingest.mapping.trees import TreeMaker
from kgdistill.ingest.mapping.values import Evaluator
from kgdistill.ingest.model import Notice, TypeKey, joined_notices
from kgdistill.ingest.readers import RawBatch

_Maker: TypeAlias = NodeMaker | EdgeMaker | TreeMaker


@dataclass(frozen=True)
class Mapped:
    """What a batch made; rows = accepted + skipped + rejected.

    Attributes:
        tables: rows by type, as `row_schema` says; only types that have any.
        rejects: REJECT_SCHEMA, by line: the batch's own and each bad row once, with its first fault.
        rows: input rows, those included that could not be split into columns.
        skipped: rows that `where` leaves out or that make nothing.
        rejected: rows with a fault; nothing is made of them.
        eventless: of a source that makes events, other rows that `where` keeps and that make none.
        pieces: what each node, relationship and tree of the mapping makes, in their order.
        notices: what is odd about rows that are no rejects.
    """

    tables: dict[TypeKey, pa.Table]
    rejects: pa.Table
    rows: int
    skipped: int
    rejected: int
    eventless: int = 0
    pieces: tuple[PieceRows, ...] = ()
    notices: tuple[Notice, ...] = ()


def map_batch(
    source: CompiledSource, batch: RawBatch, source_name: str, *, every_line: bool = False
) -> Mapped:
    """What the rows of a batch make.

    A row is atomic: a fault in anything that it would make rejects the whole of it, and where its records
    are rows of their own (`each`) all of them. Equal nodes and facts of a batch are kept once, with the first
    line; events are not.

    Args:
        source: the compiled source of a mapping.
        batch: its columns are `source.columns`, and those that `source.joins` have added.
        source_name: the source's identity, for rejects and errors.
        every_line: keep equal nodes and facts too: for lines of which some may be taken back later, with
            all that they alone have made.

    Raises:
        InputError: a column's type can never become what the mapping makes of it.
    """
    table, lines = batch.table, batch.lines
    values = Evaluator(table, source_name, source.salt, source.joins)
    mask = np.ones(len(lines), bool)
    for condition in source.where:
        mask &= values.holds(condition)
    if not mask.all():
        table, lines = table.filter(pa.array(mask)), lines[mask]
        values = Evaluator(table, source_name, source.salt, source.joins)
    count = len(lines)
    book = Book(count)
    delete = source.delete
    deleted = np.full(count, delete) if isinstance(delete, bool) else values.holds(delete)
    times = None
    if source.updated_at is not None:
        times = book.check(source.updated_at, values, np.ones(count, bool)).values
    several = source.options.each is not None
    made, acted = np.zeros(count, bool), np.zeros(count, bool)
    rows = Rows(source.schema, values, lines, deleted, times, book, made=made, acted=acted)
    rows = replace(rows, of_records=source.of_records) if several else rows
    makers: list[_Maker] = [
        *(NodeMaker(plan, rows) for plan in source.nodes),
        *(EdgeMaker(plan, rows) for plan in source.edges),
        *(TreeMaker(plan, rows, every_line) for plan in source.trees),
    ]
    if several:
        book.spread(lines)
    pieces = tuple(maker.make() for maker in makers)
    rejects = pa.concat_tables([batch.rejects, book.table(source_name, lines, batch.row_group, several)])
    total, bad = _lines(batch.lines, several), _lines(lines[book.bad], several)
    return Mapped(
        tables={key: _whole(source, key, parts, every_line) for key, parts in rows.tables.items()},
        rejects=rejects.sort_by("line") if rejects.num_rows else rejects,
        rows=total + batch.rejects.num_rows,
        skipped=total - bad - _lines(lines[rows.made & ~book.bad], several),
        rejected=rejects.num_rows,
        pieces=pieces,
        eventless=_eventless(source, lines, rows, several),
        notices=joined_notices([*batch.notices, *rows.notices(source_name)]),
    )


def _eventless(source: CompiledSource, lines: IntArray, rows: Rows, several: bool) -> int:
    """How many rows that could have made an event made none."""
    if all(source.schema.relationship(plan.edge).kind != "event" for plan in source.edges):
        return 0
    good = ~rows.book.bad & ~rows.deleted
    return _lines(lines[good], several) - _lines(lines[good & rows.acted], several)


def _lines(lines: IntArray, several: bool) -> int:
    """How many rows of the source these are, of whose records each may have a row."""
    return len(np.unique(lines)) if several else len(lines)


def _whole(source: CompiledSource, key: TypeKey, parts: list[pa.Table], every_line: bool) -> pa.Table:
    table = parts[0]
    if len(parts) > 1:
        table = pa.concat_tables(parts)
        order = np.argsort(np.asarray(table["_line"]), kind="stable")
        table = table.take(pa.array(order))
    if not every_line and (isinstance(key, str) or source.schema.relationship(key).kind != "event"):
        table = without_repeats(table)
    return table.combine_chunks()
