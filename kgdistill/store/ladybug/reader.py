"""One read-only query on an embedded database, and the process that runs queries on a file.

A query is read-only because its words say so before the engine sees them (`_ladybug_fence`), and because
the engine says so, three times over: the file is opened read-only, the transaction is read-only, and every
operator of the engine's own plan must be one that only reads the graph. On a file its process can open
nothing but the store's folder (`_landlock`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ladybug
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import StoreError
from kgdistill.moment import naive_utc
from kgdistill.store.ladybug.fence import FUNCTIONS, about_the_query, limited_orders, readable
from kgdistill.store.ladybug.open import address_space_left, reserve_for
from kgdistill.store.query.child import (
    RefusedError,
    allow_memory,
    columns_of,
    out_of_memory,
    serve,
    too_long,
    too_many_rows,
    too_much_memory,
    unique_columns,
)
from kgdistill.store.query.landlock import confine

# What a query may take in all: the engine's pool, what it allocates beside it, and Python with its modules.
MEMORY = 2 * 2**30
_BUFFER_POOL = 3 * 2**28
_BESIDE = 2**30
# Address space that the engine reserves; a power of two, and no less than its file.
_LEAST_SPACE = 2**32
_BATCH_ROWS = 256
_THREADS = 2
_OPERATOR = re.compile(r"│\s+([A-Z][A-Z_]*)\[(\d+)\]\s+(?=│)")
_FUNCTION = re.compile(r"Function: (\S+)")
_LABEL = re.compile(r"LABEL\((\w+)\._ID,.*\)", re.DOTALL)
_READING = {
    *(
        "AGGREGATE",
        "AGGREGATE_FINALIZE",
        "AGGREGATE_SCAN",
        "COUNT_EXTEND_CHAIN",
        "COUNT_REL_TABLE",
        "CROSS_PRODUCT",
        "DUMMY_SINK",
    ),
    *(
        "EMPTY_RESULT",
        "FILTER",
        "FLATTEN",
        "HASH_JOIN_BUILD",
        "HASH_JOIN_PROBE",
        "INTERSECT",
        "INTERSECT_BUILD",
    ),
    *("LIMIT", "MULTIPLICITY_REDUCER", "ORDER_BY", "ORDER_BY_MERGE", "ORDER_BY_SCAN", "PATH_PROPERTY_PROBE"),
    *("PRIMARY_KEY_SCAN_NODE_TABLE", "PROJECTION", "QUERY_PRIMARY_KEY_LOOKUP", "RECURSIVE_EXTEND"),
    *("RESULT_COLLECTOR", "SCAN_NODE_TABLE", "SCAN_REL_TABLE", "SEMI_MASKER", "SKIP", "TABLE_FUNCTION_CALL"),
    *("TOP_K", "TOP_K_SCAN", "UNION_ALL_SCAN", "UNWIND"),
}
# READ_FTABLE reads rows that the query itself made.
_FUNCTIONS = FUNCTIONS | {"READ_FTABLE"}
_WHOLE = frozenset({"NODE", "REL", "RECURSIVE_REL"})
_MOST_CHECKED = 500
Checked = set[object]
"""Texts with the kinds of their values."""


def run_read_only(
    connection: Any,
    cypher: str,
    parameters: Mapping[str, Any],
    limit: int,
    timeout_s: float,
    checked: Checked | None = None,
) -> pa.Table:
    """Runs one query that only reads.

    Args:
        connection: a Ladybug connection outside any transaction.
        cypher: one statement.
        parameters: values for its `$names`.
        limit: more rows than this are refused.
        timeout_s: the engine's own limit; it does not look at the clock inside one long step.
        checked: the questions whose plans were looked at on this database; it grows.

    Returns:
        Columns of plain Arrow types; integers as int64, larger ones as decimals.

    Raises:
        RefusedError: a mistake in it, a write, the timeout or the limit.
    """
    values = dict(parameters)
    cypher = readable(cypher)
    connection.set_query_timeout(max(1, round(timeout_s * 1000)))
    try:
        connection.execute("BEGIN TRANSACTION READ ONLY").close()
        try:
            # Prepared, because preparing takes a single statement only.
            statement = _prepare(connection, cypher, values)
            _check(connection, cypher, values, checked)
            result = connection.execute(statement, values)
            try:
                return _table(result, limit)
            finally:
                result.close()
        finally:
            with contextlib.suppress(RuntimeError):
                connection.execute("ROLLBACK").close()
    except RuntimeError as error:
        raise _explained(error, cypher, timeout_s) from error


def _prepare(connection: Any, text: str, parameters: dict[str, Any]) -> Any:
    statement = ladybug.PreparedStatement(connection, text, parameters)
    if not statement.is_success():
        raise RuntimeError(statement.get_error_message())
    return statement


def _check(connection: Any, cypher: str, values: dict[str, Any], checked: Checked | None) -> None:
    """Looks at the engine's plan, once for a text with values of the same kinds: its steps are the same.

    Making and telling the plan costs as much as many a query itself.
    """
    key = (cypher, tuple((name, _kind(value)) for name, value in sorted(values.items())))
    if checked is not None and key in checked:
        return
    plan = connection.execute(_prepare(connection, f"EXPLAIN {cypher}", values), values)
    try:
        found = _check_plan(str(plan.get_next()[0]), cypher)
    finally:
        plan.close()
    # Where a value leaves nothing to do, the plan does not say what another's would.
    if checked is not None and "EMPTY_RESULT" not in found:
        if len(checked) >= _MOST_CHECKED:
            checked.clear()
        checked.add(key)


def _kind(value: Any) -> object:
    return ("list", *map(_kind, value[:1])) if isinstance(value, list) else type(value)


def _check_plan(plan: str, cypher: str) -> list[str]:
    operators = _OPERATOR.findall(plan)
    for name, _ in operators:
        if name not in _READING:
            raise RefusedError(f"the query is not read-only: it would run {name}")
    for name in set(_FUNCTION.findall(plan)) - _FUNCTIONS:
        raise RefusedError(f"the query is not read-only: it would call {name}")
    # Every operator has a number: a gap would be one that was not recognised, and so not checked.
    numbers = {int(number) for _, number in operators}
    if not numbers or numbers != set(range(max(numbers) + 1)):
        raise RefusedError("the query is not a plain read-only query")
    # The engine drops the order before an aggregation, and keeps the limit: it would count any rows.
    names = [name for name, _ in operators]
    kept = names.count("TOP_K") + names.count("ORDER_BY")
    if "EMPTY_RESULT" not in names and kept < limited_orders(cypher):
        raise RefusedError(
            "the engine would leave out an ORDER BY before a LIMIT, and take any rows",
            "write `UNWIND [1] AS one` after that LIMIT, before what is counted or summed",
        )
    return names


def _table(result: Any, limit: int) -> pa.Table:
    names = result.get_column_names()
    unique_columns(names)
    for name, kind in zip(names, result.get_column_data_types(), strict=True):
        if kind in _WHOLE:
            raise RefusedError(
                f"the column {name!r} is a whole node, relationship or path", "return its properties"
            )
    if result.get_num_tuples() > limit:
        raise too_many_rows(limit)
    table = result.get_as_arrow(_BATCH_ROWS)
    # The engine heads what `label(v)` gives by all that it looks at.
    heads = [_LABEL.sub(r"label(\1)", name) for name in table.column_names]
    return pa.table([_plain(column) for column in table.columns], names=heads)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(column.type):
        if column.type.scale:
            return pc.cast(column, pa.float64(), safe=False)
        # The engine counts and sums in 128 bits; what does not fit in 64 stays exact.
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64())
        return column
    if pa.types.is_integer(column.type):
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64())
    return column


def _explained(error: RuntimeError, cypher: str, timeout_s: float) -> RefusedError:
    text = str(error)
    low = text.lower()
    if "interrupted" in low:
        return too_long(timeout_s)
    if out_of_memory(error):
        return too_much_memory(MEMORY)
    if "vector with any type" in low:
        return RefusedError(
            "the answer holds a list without a value, whose kind nobody knows", "leave it out"
        )
    if "read-only" in low:
        return RefusedError("the query is not read-only: it would write")
    if "prepare multiple statements" in low:
        return RefusedError("the query holds several statements", "run one at a time")
    return about_the_query(text, cypher)


class _Reader:
    """What the query process does: it opens one file, runs queries on it, and closes it for a write."""

    def __init__(self) -> None:
        self._database: Any = None
        self._confined = False
        self._left: int | None = None
        self._checked: Checked = set()

    def open(self, request: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        file = Path(request["file"])
        if not self._confined:
            _warm_up()
            # What the system says of it cannot be read from behind the fence.
            self._left = address_space_left()
            confine([file.parent])
            self._confined = True
        allow_memory(None)
        self._checked.clear()
        space, size = _LEAST_SPACE, file.stat().st_size
        while space < 2 * size:
            space *= 2
        try:
            reserve = reserve_for(self._left, size)
            self._database = ladybug.Database(
                str(file),
                read_only=True,
                buffer_pool_size=min(_BUFFER_POOL, reserve.pool),
                max_db_size=reserve.files or space,
                max_num_threads=_THREADS,
            )
        except StoreError as error:
            raise RefusedError(error.message, error.hint) from error
        except RuntimeError as error:
            raise RefusedError(str(error)) from error
        allow_memory(_BESIDE)
        return iter(())

    def close(self, request: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        self._database.close()
        return iter(())

    def query(self, request: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        values = {name: _value(value) for name, value in request["parameters"].items()}
        connection = ladybug.Connection(self._database)
        try:
            table = run_read_only(
                connection,
                request["cypher"],
                values,
                request["rows"],
                request["engine_timeout_s"],
                self._checked,
            )
            yield columns_of(table.schema)
            yield from table.to_batches(_BATCH_ROWS)
        finally:
            connection.close()


def in_utc(value: Any) -> Any:
    """A parameter with its times as the store keeps them: in UTC, without saying so."""
    if isinstance(value, list):
        return [in_utc(item) for item in value]
    return naive_utc(value) if isinstance(value, datetime) else value


def sendable(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, list):
        return [sendable(item) for item in value]
    return {"time": value.isoformat()} if isinstance(value, datetime) else value


def _value(sent: Any) -> Any:
    if isinstance(sent, list):
        return [_value(item) for item in sent]
    return datetime.fromisoformat(sent["time"]) if isinstance(sent, dict) else sent


def _warm_up() -> None:
    """Loads what the engine and Arrow load when first used: behind the fence they could not."""
    with (
        ladybug.Database(buffer_pool_size=2**26, max_db_size=2**26) as database,
        ladybug.Connection(database) as connection,
    ):
        kinds = "1 AS a, 'x' AS b, [1.5] AS c, true AS d, timestamp('2024-01-01') AS e, {k: $v} AS f"
        run_read_only(connection, f"RETURN {kinds}, CAST(1 AS INT128) AS g", {"v": "x"}, 1, 10.0)


def main() -> None:
    """Runs in the query process."""
    reader = _Reader()
    serve({"open": reader.open, "close": reader.close, "query": reader.query})
