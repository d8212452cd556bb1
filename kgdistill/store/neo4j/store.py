"""The graph in Neo4j, over Bolt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pyarrow as pa
from neo4j import READ_ACCESS, WRITE_ACCESS, GraphDatabase, ManagedTransaction, Session
from neo4j.exceptions import IncompleteCommit, Neo4jError

from kgdistill.errors import InputError, QueryError, SchemaError, StoreError, StoreSchemaMismatchError
from kgdistill.progress import step
from kgdistill.store.neo4j import cypher as cypher_text
from kgdistill.store.neo4j.checks import check_address, execute_all, remembered, united
from kgdistill.store.neo4j.errors import translated
from kgdistill.store.neo4j.fences import drop_fences
from kgdistill.store.neo4j.load import delete_some_nodes, load_file
from kgdistill.store.neo4j.lock import ChangesLock
from kgdistill.store.neo4j.query import ZONED, Neo4jQueries
from kgdistill.store.neo4j.vectors import reindexed
from kgdistill.store.neo4j.write import EdgeWriter, numbered, one, write_batch
from kgdistill.store.protocol import EdgeType, Parameter, Scalar, Write
from kgdistill.store.schema import Schema
from kgdistill.store.validate import (
    chosen_columns,
    conform_identities,
    conform_keys,
    conform_nodes,
    conform_relationships,
    conform_replace,
    edge_name,
)

_INDEXED_BY = ("run", "space", "label")
_VALUES_A_ROW = 80
_PROGRESS_ROWS = 50_000
_EDGES_A_RECORD = 20_000
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Work:
    """One write: `everything` in a transaction that is open, or `run` in as many as it takes."""

    everything: Callable[[ManagedTransaction], None]
    run: Callable[[], None]
    table: pa.Table


class Neo4jStore:
    """A `GraphStore` in Neo4j 5.

    A write of up to `transaction_rows` rows, and one with `replace`, is one transaction. A larger one
    is a transaction per batch: what could refuse it is checked before the first batch, and every
    batch is an upsert, so that running a write that was cut off again completes it. So are nodes with
    `replace` whose vectors no heap would hold at once; there the outdated nodes go last.
    Timestamps are stored as ZONED DATETIME in UTC. A lost connection is tried again for `retry_s` seconds.

    Args:
        url: `bolt://HOST:PORT` or `neo4j://HOST:PORT` (`+s` and `+ssc` for TLS), without a password.
        user: the user's name.
        password: the user's password.
        retry_s: how long, in seconds, a transaction that lost its connection is tried again.
        transaction_rows: up to this many rows, of at most 80 values each, a write is one transaction;
            the default suits a server with 1 GB of heap.

    Raises:
        InputError: `url` is no Neo4j address, or carries a user or password.
        StoreUnreachableError: nothing answers there.
        StoreAuthError: the server refuses the user or password.
    """

    def __init__(
        self, url: str, *, user: str, password: str, retry_s: float = 60.0, transaction_rows: int = 100_000
    ) -> None:
        if "@" in url:
            raise InputError(
                "a store address must not carry a user or password",
                hint="give the password in KGDISTILL_NEO4J_PASSWORD",
            )
        check_address(url)
        self._url = url
        self._schema: Schema | None = None
        self._transaction_rows = transaction_rows
        self._retry_s = retry_s
        self._lock: ChangesLock | None = None
        self._queries = Neo4jQueries(url, user, password)
        with translated(url):
            self._driver = GraphDatabase.driver(
                url,
                auth=(user, password),
                connection_timeout=10.0,
                max_transaction_retry_time=retry_s,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        try:
            with translated(url):
                self._driver.verify_connectivity()
        except BaseException:
            self._driver.close()
            raise

    @property
    def url(self) -> str:
        """Where the store is; it never carries a password."""
        return self._url

    @property
    def schema(self) -> Schema:
        """What the store remembers; see `GraphStore.schema`."""
        return self._stored_schema() or Schema(version=1, nodes={}, relationships={})

    def apply_schema(self, schema: Schema) -> None:
        """Creates the unique keys that are missing and remembers the schema in the store.

        Types that the store knows and `schema` lacks stay known.

        Raises:
            StoreSchemaMismatchError: a key, identity or property type contradicts the stored one, or
                nodes that are there already share a key.
        """
        known = self._stored_schema()
        whole = schema if known is None else united(known, schema, self._url)
        try:
            self._write(lambda tx: execute_all(tx, cypher_text.constraints(whole)))
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, Neo4jError) and ".Schema." in (cause.code or ""):
                raise StoreSchemaMismatchError(error.message, where=self._url) from cause
            raise
        self._zone_times(known)
        if whole != known:
            text = whole.model_dump_json()
            query = f"MERGE (m:{cypher_text.META} {{id: 1}}) SET m.shape = $text, m.digest = $digest"
            self._write(lambda tx: tx.run(query, text=text, digest=whole.digest()).consume())
        self._schema = whole
        self._queries.forget()

    def write_nodes(
        self,
        label: str,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
    ) -> int:
        """Upserts nodes; see `GraphStore.write_nodes`."""
        self._nodes(label, table, replace, clear_nulls).run()
        return int(table.num_rows)

    def _nodes(
        self, label: str, table: pa.Table, replace: Mapping[str, Scalar] | None, clear_nulls: bool
    ) -> _Work:
        schema = self._required_schema()
        table = conform_nodes(schema, label, table)
        old = conform_replace(schema.node_arrow_schema(label), replace, label)
        key = schema.node(label).key
        query = cypher_text.write_nodes(label, key, table, create=False, clear_nulls=clear_nulls)
        write = partial(write_batch, query=query, where=label, url=self._url)

        def clear(tx: ManagedTransaction) -> None:
            if old is not None:
                values = {"keep": table.column(key).to_pylist(), **numbered(old)}
                tx.run(cypher_text.delete_nodes(label, key, old), values).consume()

        def everything(tx: ManagedTransaction) -> None:
            clear(tx)
            for rows in self._batches(table, label):
                write(tx, rows=rows)

        def alone() -> None:
            heavy = cypher_text.value_count(table) > self._transaction_rows * _VALUES_A_ROW
            if heavy or (old is None and table.num_rows > self._transaction_rows):
                for rows in self._batches(table, label):
                    self._write(partial(write, rows=rows))
                self._write(clear)
            else:
                self._write(everything)

        return _Work(everything, alone, table)

    def write_relationships(
        self,
        edge: EdgeType,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
    ) -> int:
        """Upserts relationships; see `GraphStore.write_relationships`.

        Writers of one relationship type take turns, batch by batch. Into a type without relationships
        they are created, which is twice as fast as looking for each; as soon as another writer has
        had a turn, they are merged.
        """
        self._relationships(edge, table, replace, clear_nulls).run()
        return int(table.num_rows)

    def _relationships(
        self, edge: EdgeType, table: pa.Table, replace: Mapping[str, Scalar] | None, clear_nulls: bool
    ) -> _Work:
        schema = self._required_schema()
        table = conform_relationships(schema, edge, table)
        where = edge_name(edge)
        old = conform_replace(schema.edge_arrow_schema(edge), replace, where)
        writer = EdgeWriter(schema, edge, table, self._url, replace=old, clear_nulls=clear_nulls)

        def everything(tx: ManagedTransaction) -> None:
            writer.begin(tx)
            for rows in self._batches(table, where):
                writer.write(tx, rows)

        def alone() -> None:
            if old is not None or table.num_rows <= self._transaction_rows:
                self._write(everything)
                return
            self._write(writer.begin)
            writer.confirm()
            for rows in self._batches(table, where):
                self._write(partial(writer.write_alone, rows=rows))
                writer.confirm()

        return _Work(everything, alone, table)

    def write_together(self, writes: Sequence[Write]) -> list[int]:
        """Several writes as one transaction, where it can hold them; see `GraphStore.write_together`.

        That is up to 80 values for each of `transaction_rows` rows. Above it each write stands alone; the
        relationships of one with `replace` are a transaction of their own in any case.
        """
        works = [
            self._nodes(w.key, w.table, w.replace, w.clear_nulls)
            if isinstance(w.key, str)
            else self._relationships(w.key, w.table, w.replace, w.clear_nulls)
            for w in writes
        ]
        if (
            sum(cypher_text.value_count(work.table) for work in works)
            <= self._transaction_rows * _VALUES_A_ROW
        ):

            def all_of_them(tx: ManagedTransaction) -> None:
                for work in works:
                    work.everything(tx)

            self._write(all_of_them)
        else:
            for work in works:
                work.run()
        return [int(work.table.num_rows) for work in works]

    def delete_nodes(self, label: str, keys: pa.Array | pa.ChunkedArray) -> int:
        """Deletes nodes with their relationships; see `GraphStore.delete_nodes`.

        Where many relationships hang on them, these are deleted first, in transactions of their own.
        """
        key = self._required_schema().node(label).key
        wanted = conform_keys(label, keys).to_pylist()
        size = cypher_text.BATCH_ROWS
        deleted = 0
        for start in range(0, len(wanted), size):
            deleted += delete_some_nodes(self._write, label, key, wanted[start : start + size])
        return deleted

    def delete_relationships(self, edge: EdgeType, table: pa.Table) -> int:
        """Deletes relationships; see `GraphStore.delete_relationships`."""
        schema = self._required_schema()
        table = conform_identities(schema, edge, table)
        query = cypher_text.delete_these_edges(schema, edge, table)

        def delete(tx: ManagedTransaction, batches: Iterable[list[tuple[Any, ...]]]) -> int:
            return sum(int(one(tx, query, {"rows": b, "epoch": cypher_text.EPOCH})) for b in batches)

        batches = cypher_text.batches(table)
        if table.num_rows <= self._transaction_rows:
            return self._write(partial(delete, batches=list(batches)))
        return sum(self._write(partial(delete, batches=[rows])) for rows in batches)

    def load(self, key: str | EdgeType, file: Path) -> int:
        """Creates what a file holds, a transaction per batch; see `GraphStore.load`.

        All that could refuse it is checked first. What a load that was cut off has stored remains; the
        rest is then for `write_nodes` or `write_relationships`.
        """
        return load_file(self._required_schema(), key, Path(file), self._write, self._url)

    @contextmanager
    def changes(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Locks others' blocks out; see `GraphStore.changes`.

        The lock is an open transaction, which ends with the process. A server that restarts meanwhile is
        no fault, unless another process has taken the lock since. Each write stands alone.
        """
        if self._lock is not None:
            raise StoreError("is being changed already: blocks of changes do not nest", where=self._url)
        lock = ChangesLock(self._driver, self._url, self._retry_s)
        lock.take(wait_s)
        self._lock = lock
        try:
            self._write(drop_fences)
            yield
            lock.ensure()
        finally:
            self._lock = None
            lock.release()

    @contextmanager
    def reindexed(self, label: str, of: Mapping[str, Scalar]) -> Iterator[None]:
        """Indexes vectors anew; see `GraphStore.reindexed`."""
        node = self._required_schema().nodes.get(label)
        properties = {} if node is None else node.properties
        vectors = [name for name, prop in properties.items() if prop.type == "float_list"]
        if len(vectors) != 1 or not properties.keys() >= set(_INDEXED_BY):
            yield
            return
        with reindexed(self._write, label, vectors[0], _INDEXED_BY, of):
            yield

    def read_nodes(self, label: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All nodes of `label`; see `GraphStore.read_nodes`."""
        schema = self._required_schema()
        types = chosen_columns(schema.node_arrow_schema(label), columns, 1, label)
        has_lists = any(pa.types.is_list(f.type) for f in types)
        part = cypher_text.BATCH_ROWS_LISTS if has_lists else cypher_text.BATCH_ROWS
        query = cypher_text.read_nodes(label, schema.node(label).key, types)
        return self._read_columns(query, types, part, label, lambda record: list(record))

    def read_relationships(self, edge: EdgeType, columns: Sequence[str] | None = None) -> pa.Table:
        """All relationships of `edge`; see `GraphStore.read_relationships`."""
        schema = self._required_schema()
        where = edge_name(edge)
        types = chosen_columns(schema.edge_arrow_schema(edge), columns, 2, where)
        source, name, _ = (cypher_text.quoted(p) for p in edge)
        nodes = self._read(lambda tx: one(tx, f"MATCH (n:{source}) RETURN count(n)"))
        edges = self._read(lambda tx: one(tx, f"MATCH (:{source})-[r:{name}]->() RETURN count(r)"))
        part = max(1, min(5_000, _EDGES_A_RECORD * int(nodes) // max(1, int(edges))))
        query = cypher_text.read_edges(schema, edge, types)
        return self._read_columns(
            query, types, part, where, lambda record: cypher_text.edge_columns(record, len(types))
        )

    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        limit: int = 1000,
        timeout_s: float = 30.0,
    ) -> pa.Table:
        """Runs one query that only reads; see `GraphStore.query`.

        It runs in a process of its own. Its words are looked at first, then the server's plan of it:
        what is not known to read the graph only, LOAD CSV among it, is not run. A value that is compared
        with a property of the schema is sent in the property's type. A node, relationship, path or map
        comes back as a JSON string.
        """
        if limit < 1 or not 0 < timeout_s < float("inf"):
            raise QueryError("the row limit must be 1 or more and the timeout above 0 seconds, and finite")
        return self._queries.query(cypher, dict(parameters or {}), limit, timeout_s)

    def close(self) -> None:
        """Closes the connections; a second call is harmless."""
        if self._lock is not None:
            self._lock.release()
        self._queries.stop()
        self._driver.close()

    def __enter__(self) -> Neo4jStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _batches(self, table: pa.Table, where: str) -> Iterator[list[tuple[Any, ...]]]:
        if table.num_rows < _PROGRESS_ROWS:
            yield from cypher_text.batches(table)
            return
        with step(f"writing {where}", total=table.num_rows) as work:
            for rows in cypher_text.batches(table):
                yield rows
                work.advance(len(rows))

    def _read_columns(
        self,
        query: str,
        types: pa.Schema,
        part: int,
        where: str,
        columns_of: Callable[[Sequence[Any]], list[list[Any]]],
    ) -> pa.Table:
        def work(tx: ManagedTransaction) -> pa.Table:
            parts: list[pa.RecordBatch] = []
            for record in tx.run(query, part=part, epoch=cypher_text.EPOCH):
                columns = columns_of(record.values())
                arrays = [cypher_text.to_arrow(c, f, where) for c, f in zip(columns, types, strict=True)]
                parts.append(pa.RecordBatch.from_arrays(arrays, schema=types))
            return pa.Table.from_batches(parts, schema=types).combine_chunks()

        # Records are large: a few on the way suffice.
        return self._run(READ_ACCESS, work, fetch_size=8)

    def _zone_times(self, known: Schema | None) -> None:
        """Gives the times of a store of an earlier version a zone, and says so in the store."""
        mark = f"MATCH (m:{cypher_text.META} {{id: 1}}) RETURN m.times"
        if self._read(lambda tx: one(tx, mark)) == ZONED:
            return
        for statement in cypher_text.zone_times(known) if known is not None else ():
            with translated(self._url), self._session(WRITE_ACCESS, 1) as session:
                # It takes many transactions, which the server begins and ends itself.
                session.run(statement).consume()
        query = f"MERGE (m:{cypher_text.META} {{id: 1}}) SET m.times = $times"
        self._write(lambda tx: tx.run(query, times=ZONED).consume())

    def _stored_schema(self) -> Schema | None:
        query = f"MATCH (m:{cypher_text.META} {{id: 1}}) RETURN m.shape"
        return remembered(self._read(lambda tx: one(tx, query)), self._url)

    def _required_schema(self) -> Schema:
        if self._schema is None:
            self._schema = self._stored_schema()
        if self._schema is None:
            raise SchemaError("the store has no schema yet", where=self._url, hint="apply_schema first")
        return self._schema

    def _read(self, work: Callable[[ManagedTransaction], _T]) -> _T:
        return self._run(READ_ACCESS, work)

    def _write(self, work: Callable[[ManagedTransaction], _T]) -> _T:
        if self._lock is not None:
            self._lock.ensure()
        return self._run(WRITE_ACCESS, work)

    def _run(self, mode: str, work: Callable[[ManagedTransaction], _T], fetch_size: int = 1000) -> _T:
        with translated(self._url), self._session(mode, fetch_size) as session:
            run = session.execute_read if mode == READ_ACCESS else session.execute_write
            try:
                return run(work)
            except IncompleteCommit:
                # Whether it was committed is unknown; every piece of work of ours may be done twice.
                return run(work)

    @contextmanager
    def _session(self, mode: str, fetch_size: int) -> Iterator[Session]:
        with self._driver.session(default_access_mode=mode, fetch_size=fetch_size) as session:
            yield session
