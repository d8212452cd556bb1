"""The process that asks Neo4j a person's queries."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from neo4j import READ_ACCESS, Driver, GraphDatabase, Record, Result, ResultSummary, Session, Transaction
from neo4j.exceptions import DriverError, Neo4jError

from kgdistill.errors import QueryError
from kgdistill.store.neo4j.cypher import META
from kgdistill.store.neo4j.errors import as_store_error, query_refusal
from kgdistill.store.neo4j.fence import check_plan
from kgdistill.store.neo4j.values import result_table
from kgdistill.store.query.child import (
    RefusedError,
    allow_memory,
    columns_of,
    serve,
    too_many_bytes,
    too_many_rows,
    unique_columns,
)

# What the process may take, and of this what a query may take beside Python and the driver.
MEMORY = 2**30
_BESIDE = 768 * 2**20
# Rows that the server may send ahead of being looked at.
_AHEAD = 200
_UNKNOWN = {"01N50": "label", "01N51": "relationship type", "01N52": "property"}
_NAMED = re.compile(r"`((?:[^`]|``)*)`")
_KEY = b"kgdistill"
# What a transaction of a person's query says of itself.
_OURS = {"kgdistill": "query"}
# So many that were given up may still keep the server busy, which cannot be stopped inside an expression.
MOST_GIVEN_UP = 2
_WAIT_S = 2.0
_GIVEN_UP = """
    SHOW TRANSACTIONS YIELD metaData, status
    WHERE metaData.kgdistill = 'query' AND status STARTS WITH 'Terminated'
    RETURN count(*) AS n
"""


def told(schema: pa.Schema) -> dict[str, Any]:
    """What an answer of this process says beside its rows."""
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return found


def packed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON can hold them; `_unpacked` is the way back."""
    return {name: _map_items(value, _packed) for name, value in values.items()}


def main() -> None:
    """Serves queries until the parent has gone."""
    # The driver would print the server's notifications.
    logging.getLogger("neo4j").setLevel(logging.CRITICAL)
    reader = _Reader()
    serve({"open": reader.open, "query": reader.query})


class _Reader:
    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._url = ""

    def open(self, request: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Connects; says the schema that the store remembers."""
        self._url = request["url"]
        allow_memory(_BESIDE)
        if self._driver is not None:
            self._driver.close()
        try:
            self._driver = GraphDatabase.driver(
                self._url,
                auth=(request["user"], request["password"]),
                connection_timeout=10.0,
                max_connection_pool_size=1,
                # A connection that the server has closed meanwhile is seen before it is used.
                liveness_check_timeout=0,
                telemetry_disabled=True,
            )
            with self._driver.session(default_access_mode=READ_ACCESS) as session:
                query = f"MATCH (m:{META} {{id: 1}}) RETURN m.shape AS shape, m.times AS times"
                record = session.run(query).single()
                _wait_for_the_given_up(session)
        except (Neo4jError, DriverError, OSError) as error:
            yield _saying(failure=_failure(error, self._url))
            return
        yield _saying(**(dict(record) if record is not None else {}))

    def query(self, request: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Runs one query that only reads, after the server's plan of it was looked at."""
        assert self._driver is not None
        values = {name: _map_items(value, _unpacked) for name, value in request["parameters"].items()}
        try:
            with (
                self._driver.session(
                    default_access_mode=READ_ACCESS,
                    fetch_size=min(_AHEAD, request["rows"] + 1),
                    notifications_min_severity="WARNING",
                ) as session,
                session.begin_transaction(metadata=_OURS, timeout=request["query_s"]) as tx,
            ):
                yield from _run(tx, request, values)
        except QueryError as error:
            raise RefusedError(f"the query {error.message}", error.hint) from error
        except Neo4jError as error:
            refused = query_refusal(error, request["query_s"])
            if refused is None:
                yield _saying(failure=_failure(error, self._url))
                return
            raise refused from error
        except (DriverError, OSError) as error:
            yield _saying(failure=_failure(error, self._url))
        except (ValueError, TypeError, OverflowError) as error:
            raise RefusedError(f"the query or a parameter cannot be sent: {error}") from error


def _run(tx: Transaction, request: Mapping[str, Any], values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    cypher = request["cypher"]
    summary = tx.run("EXPLAIN " + cypher, values).consume()
    if summary.query_type != "r":
        raise QueryError("would write, change the schema or administer the server; queries may only read")
    check_plan(summary.plan)
    unknown = [pair for pair in _unknown(summary) if pair[1] not in request["known"]]
    if unknown and request["known"]:
        yield _saying(unknown=unknown)
        return
    result = tx.run(cypher, values)
    names = list(result.keys())
    unique_columns(names)
    table = result_table(names, _within(result, request["rows"], request["bytes"]))
    notes = [f"the store has no {kind} {name!r}" for kind, name in unknown]
    schema = table.schema.with_metadata({_KEY: json.dumps({"notes": notes})} if notes else None)
    yield columns_of(schema)
    for batch in table.to_batches():
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _wait_for_the_given_up(session: Session) -> None:
    """Refuses to ask a server that still works at too many queries that were given up."""
    until = time.monotonic() + _WAIT_S
    while (busy := session.run(_GIVEN_UP).single(strict=True)["n"]) >= MOST_GIVEN_UP:
        if time.monotonic() > until:
            raise RefusedError(
                f"the server still works at {busy} queries that were given up for their time",
                "wait until they have ended (SHOW TRANSACTIONS), or restart the server",
            )
        time.sleep(0.2)


def _within(result: Result, rows: int, most: int) -> list[list[Any]]:
    """The rows of an answer; one row or byte more than it may have is refused as soon as it comes."""
    found: list[list[Any]] = []
    size = 0
    record: Record
    for record in result:
        values = record.values()
        size += _size(values)
        found.append(values)
        if len(found) > rows:
            raise too_many_rows(rows)
        if size > most:
            raise too_many_bytes(most)
    return found


def _size(value: Any) -> int:
    """About how many bytes a value takes in an answer."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple):
        return 8 + sum(map(_size, value))
    if isinstance(value, dict):
        return 8 + sum(len(name) + _size(item) for name, item in value.items())
    items = getattr(value, "items", None)
    return 8 if items is None else 8 + sum(len(name) + _size(item) for name, item in items())


def _unknown(summary: ResultSummary) -> list[tuple[str, str]]:
    """What the query names and the server does not know: kind and name."""
    found: list[tuple[str, str]] = []
    for status in summary.gql_status_objects:
        kind = _UNKNOWN.get(status.gql_status)
        name = _NAMED.search(status.status_description)
        if kind is not None and name is not None:
            found.append((kind, name[1].replace("``", "`")))
    return found


def _saying(**words: Any) -> pa.RecordBatch:
    return columns_of(pa.schema([], metadata={_KEY: json.dumps(words)}))


def _failure(error: Exception, url: str) -> dict[str, str]:
    ours = as_store_error(error, url)
    return {"kind": type(ours).__name__, "message": ours.message, "hint": ours.hint}


def _map_items(value: Any, change: Any) -> Any:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return [change(item) for item in value] if is_list else change(value)


def _packed(value: Any) -> Any:
    return {"time": value.isoformat()} if isinstance(value, datetime) else value


def _unpacked(value: Any) -> Any:
    return datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value
