"""One read-only query on an embedded database, and the process that runs queries on a file.

Run as a script, so it imports nothing of kgdistill: a query process has to start quickly.

A query is read-only because the engine says so, three times over: the file is opened read-only, the
transaction is read-only, and every operator of the engine's own plan must be one that only reads the graph.
The last is what stops `COPY … TO 'file'`, `LOAD FROM 'file'` and settings, which write no graph.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import sys
from collections.abc import Mapping
from typing import IO, Any

import ladybug
import pyarrow as pa
import pyarrow.compute as pc

# A query that needs more fails instead of taking the machine's memory.
_BUFFER_POOL = 2 * 2**30
_SIZE = struct.Struct("!Q")
_OPERATOR = re.compile(r"│\s+([A-Z][A-Z_]*)\[(\d+)\]\s+(?=│)")
_FUNCTION = re.compile(r"Function: (\S+)")
_READING = {
    *("AGGREGATE", "AGGREGATE_FINALIZE", "AGGREGATE_SCAN", "COUNT_REL_TABLE", "CROSS_PRODUCT", "DUMMY_SINK"),
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
_FUNCTIONS = {"READ_FTABLE", "SHOW_TABLES", "TABLE_INFO", "SHOW_CONNECTION", "SHOW_FUNCTIONS", "DB_VERSION"}
_WHOLE = frozenset({"NODE", "REL", "RECURSIVE_REL"})


class RefusedError(Exception):
    """A query that is not run, or that failed; its text is for the user."""


def run_read_only(
    connection: Any, cypher: str, parameters: Mapping[str, Any], limit: int, timeout_s: float
) -> pa.Table:
    """Runs one query that only reads.

    Args:
        connection: a Ladybug connection outside any transaction.
        cypher: one statement.
        parameters: values for its `$names`.
        limit: more rows than this are refused.
        timeout_s: the engine's own limit; it does not look at the clock inside one long step.

    Returns:
        Columns of plain Arrow types; integers as int64.

    Raises:
        RefusedError: a mistake in it, a write, the timeout or the limit.
    """
    values = dict(parameters)
    connection.set_query_timeout(max(1, round(timeout_s * 1000)))
    try:
        connection.execute("BEGIN TRANSACTION READ ONLY").close()
        try:
            # Prepared, because preparing takes a single statement only.
            statement = _prepare(connection, cypher, values)
            plan = connection.execute(_prepare(connection, f"EXPLAIN {cypher}", values), values)
            try:
                _check_plan(str(plan.get_next()[0]))
            finally:
                plan.close()
            result = connection.execute(statement, values)
            try:
                return _table(result, limit)
            finally:
                result.close()
        finally:
            with contextlib.suppress(RuntimeError):
                connection.execute("ROLLBACK").close()
    except RuntimeError as error:
        raise RefusedError(_explained(str(error), timeout_s)) from error


def _prepare(connection: Any, text: str, parameters: dict[str, Any]) -> Any:
    statement = ladybug.PreparedStatement(connection, text, parameters)
    if not statement.is_success():
        raise RuntimeError(statement.get_error_message())
    return statement


def _check_plan(plan: str) -> None:
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


def _table(result: Any, limit: int) -> pa.Table:
    for name, kind in zip(result.get_column_names(), result.get_column_data_types(), strict=True):
        if kind in _WHOLE:
            raise RefusedError(
                f"the column {name!r} is a whole node, relationship or path: return its properties"
            )
    if result.get_num_tuples() > limit:
        raise RefusedError(f"the query gives more than {limit:,} rows: add LIMIT, or raise the row limit")
    table = result.get_as_arrow(-1)
    return pa.table([_plain(column) for column in table.columns], names=table.column_names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(column.type):
        whole = column.type.scale == 0
        try:
            return column.cast(pa.int64() if whole else pa.float64())
        except pa.ArrowInvalid:
            return pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return column


def _explained(text: str, timeout_s: float) -> str:
    low = text.lower()
    if "interrupted" in low:
        return f"the query took longer than {timeout_s:g} s"
    if "read-only" in low:
        return "the query is not read-only: it would write"
    if "prepare multiple statements" in low:
        return "the query holds several statements: run one at a time"
    return text


def send(pipe: IO[bytes], payload: bytes) -> None:
    """Writes one message: its length, then `payload`."""
    pipe.write(_SIZE.pack(len(payload)))
    pipe.write(payload)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Reads one message; None where the other side has gone."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size = _SIZE.unpack(head)[0]
    body = pipe.read(size)
    return body if len(body) == size else None


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    database: Any = None
    while (message := receive(requests)) is not None:
        request = json.loads(message)
        try:
            if "open" in request:
                database = ladybug.Database(request["open"], read_only=True, buffer_pool_size=_BUFFER_POOL)
                send(answers, b"T")
                continue
            if "close" in request:
                database.close()
                send(answers, b"T")
                continue
            connection = ladybug.Connection(database)
            try:
                table = run_read_only(
                    connection,
                    request["cypher"],
                    request["parameters"],
                    request["limit"],
                    request["timeout_s"],
                )
            finally:
                connection.close()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            send(answers, b"T" + sink.getvalue().to_pybytes())
        except (RefusedError, RuntimeError) as error:
            send(answers, b"E" + str(error).encode())


def _main() -> None:
    # The parent gets Ctrl-C too, and ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource

        # No file can be written from here, whatever a query asks for.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, AttributeError):  # not a POSIX system
        pass
    answers = os.fdopen(os.dup(1), "wb")
    # What the engine prints must not stand among the answers.
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
