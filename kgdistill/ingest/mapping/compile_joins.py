"""Checks the joins of one source of a mapping, and which columns come from where."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from kgdistill.errors import InputError
from kgdistill.ingest.mapping.compile_values import ValueCompiler
from kgdistill.ingest.mapping.plan import JoinPlan
from kgdistill.ingest.readers.nested import inside, roots
from kgdistill.nearest import nearest

if TYPE_CHECKING:
    from kgdistill.ingest.mapping.load import JoinMapping, SourceMapping, WrittenFiles


def compile_joins(
    source: SourceMapping, values: ValueCompiler, path: str
) -> tuple[list[str], tuple[JoinPlan, ...]]:
    """The columns of the source's own files, and its joins in the order in which they are looked up.

    Args:
        source: the source.
        values: those of the source, with the columns that they name.
        path: where it stands in the mapping.

    Raises:
        InputError: joins look each other up, one is not used, `columns` lack one that is, or a time is none.
    """
    joins = source.join
    inner = {name: [_join_of(column, joins) for column in join.on] for name, join in joins.items()}
    try:
        order = list(TopologicalSorter({k: [n for n in v if n] for k, v in inner.items()}).static_order())
    except CycleError as error:
        raise InputError(
            f"look each other up: {' -> '.join(error.args[1][::-1])}",
            where=f"{path}.join",
            hint="one of them has to start `on` a column of the source",
        ) from error
    wanted: dict[str, dict[str, None]] = {name: {} for name in ("", *joins)}

    def want(columns: Sequence[str]) -> None:
        for column in columns:
            name = _join_of(column, joins)
            wanted[name][column[len(name) + 1 :] if name else column] = None

    want([*values.columns])
    # What a later one starts from is used of a former one.
    for name in reversed(order):
        if not wanted[name]:
            raise InputError(
                "is used by nothing",
                where=f"{path}.join.{name}",
                hint=f"its columns are called {name}.COLUMN",
            )
        want([*joins[name].on])
    own = list(wanted[""])
    _check_columns(source, [*own, *([source.each] if source.each else [])], path)
    plans = []
    for name in order:
        join, columns = joins[name], tuple(wanted[name])
        there, time = tuple(join.on.values()), join.updated_at
        updated_at = None
        if time is not None:
            inner_values = ValueCompiler(values.zone, None, values.now)
            place = f"{path}.join.{name}.updated_at"
            updated_at = inner_values.cell("", time, "timestamp", place, required=False)
        plan = JoinPlan(
            name, join.files, join.optional, join.options, tuple(join.on), there, columns, updated_at
        )
        _check_columns(join, plan.read, f"{path}.join.{name}")
        plans.append(plan)
    return own, tuple(plans)


def of_records(source: SourceMapping, columns: Sequence[str]) -> frozenset[str]:
    """Those of the columns that differ from record to record of a list: its own, and what they look up."""
    each, joins = source.each, source.join

    def inner(column: str) -> bool:
        name = _join_of(column, joins)
        return any(map(inner, joins[name].on)) if name else inside(column, each or "") is not None

    return frozenset(column for column in columns if inner(column)) if each else frozenset()


def _join_of(column: str, joins: dict[str, JoinMapping]) -> str:
    """The join that a column comes from; empty where it is the source's own."""
    name, dot, rest = column.partition(".")
    return name if dot and rest and name in joins else ""


def _check_columns(written: WrittenFiles, used: Sequence[str], path: str) -> None:
    """Where `columns` take the place of a header: each once, and all that are used."""
    fill = written.options.fill_down
    used = [*used, *(() if fill is None else fill.by)]
    known = written.columns
    if known is None:
        return
    repeated = [c for i, c in enumerate(known) if c in known[:i]]
    if repeated:
        raise InputError(f"names {repeated[0]!r} twice", where=f"{path}.columns")
    for column in used:
        # What holds JSON has names in it.
        if column not in known and not any(name in known for name in roots(column)):
            raise InputError(
                f"the mapping uses a column {column!r}, which is not among these",
                where=f"{path}.columns",
                hint=f"{nearest(column, known)}they are: {', '.join(known)}",
            )
