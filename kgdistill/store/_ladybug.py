"""The graph in an embedded Ladybug database: a folder, or memory."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import QueryError, SchemaError, StoreError
from kgdistill.store import _ladybug_catalog as catalog
from kgdistill.store._ladybug_catalog import quoted
from kgdistill.store._ladybug_diff import changed_rows, flat, merge, positions
from kgdistill.store._ladybug_engine import acquire, release, rows
from kgdistill.store._validate import (
    chosen_columns,
    conform_nodes,
    conform_relationships,
    conform_replace,
    edge_name,
    missing_end,
)
from kgdistill.store.protocol import EdgeType, Parameter, Scalar
from kgdistill.store.schema import Schema

# Where more stored relationships than this change, writing the table anew beats deleting them one by one
# (40 k/s against 300 k/s); fewer are not worth it.
_REBUILD_ROWS = 50_000


class LadybugStore:
    """A `GraphStore` in a local folder, with no server; one process at a time.

    What `apply_schema` declared is kept in the file, so an opened store can be read at once. Every write is
    one transaction, and an error inside it leaves what was there. A process killed with SIGKILL in the
    middle of one is another matter: the store reopens with everything acknowledged, but the engine
    (Ladybug 0.22) may replay a part of the unfinished write. The same write again completes it, which is
    what a resumed job does. The folder can be made again from the ingested files and is no archive.

    Args:
        path: the folder; made where it does not exist.

    Raises:
        StoreLockedError: another process holds it.
        StoreError: it is not a store, or cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._start(Path(path))

    def _start(self, folder: Path | None) -> None:
        self._engine = acquire(folder)
        self._closer = weakref.finalize(self, release, self._engine)
        try:
            with self._engine.connection() as connection:
                self._engine.stored = catalog.read_schema(connection, self.url)
            self._schema = self._engine.stored
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """`ladybug:PATH`."""
        return self._engine.where

    def apply_schema(self, schema: Schema) -> None:
        """See `GraphStore.apply_schema`."""
        self._check_open()
        with self._engine.transaction() as connection:
            stored = catalog.read_schema(connection, self.url)
            for statement in catalog.statements(stored, schema, self.url):
                rows(connection, statement)
            after = catalog.read_schema(connection, self.url)
        self._engine.stored = after
        self._schema = schema

    def write_nodes(self, label: str, table: pa.Table, *, replace: Mapping[str, Scalar] | None = None) -> int:
        """See `GraphStore.write_nodes`."""
        self._check_open()
        schema = self._applied()
        key = schema.node(label).key
        data = conform_nodes(schema, label, table)
        replaced = conform_replace(schema.node_arrow_schema(label), replace, label)
        with self._engine.transaction() as connection:
            stale = None
            if replaced is not None:
                match = f"MATCH (n:{quoted(label)}) WHERE {_equal('n', replaced)}"
                held = rows(connection, f"{match} RETURN n.{quoted(key)} AS k", replaced)
                stale = held.filter(pc.invert(pc.is_in(held["k"], value_set=flat(data[key]))))
            stored = self._read_nodes(connection, label, data.schema)
            where = pc.index_in(data[key], value_set=flat(stored[key]))
            _copy(connection, quoted(label), data.filter(pc.is_null(where)), data.column_names)
            known = data.filter(pc.is_valid(where))
            held = stored.take(where.drop_null())
            _set_nodes(connection, label, merge(known, held).filter(changed_rows(known, held)))
            if stale is not None and stale.num_rows:
                clause = f"LOAD FROM $t MATCH (n:{quoted(label)}) WHERE n.{quoted(key)} = k DETACH DELETE n"
                rows(connection, clause, {"t": stale})
        return int(data.num_rows)

    def write_relationships(
        self, edge: EdgeType, table: pa.Table, *, replace: Mapping[str, Scalar] | None = None
    ) -> int:
        """See `GraphStore.write_relationships`."""
        self._check_open()
        schema = self._applied()
        data = conform_relationships(schema, edge, table)
        replaced = conform_replace(schema.edge_arrow_schema(edge), replace, edge_name(edge))
        with self._engine.transaction() as connection:
            for side, label in (("source", edge[0]), ("target", edge[2])):
                key = quoted(schema.node(label).key)
                keys = flat(rows(connection, f"MATCH (n:{quoted(label)}) RETURN n.{key} AS k")["k"])
                missing_end(edge, side, data[side], pc.invert(pc.is_in(data[side], value_set=keys)))
            if replaced is not None:
                rows(connection, f"{self._match(edge, replaced)} DELETE r", replaced)
            self._upsert_edges(connection, edge, data)
        return int(data.num_rows)

    def read_nodes(self, label: str, columns: Sequence[str] | None = None) -> pa.Table:
        """See `GraphStore.read_nodes`."""
        self._check_open()
        wanted = chosen_columns(self._applied().node_arrow_schema(label), columns, 1, label)
        with self._engine.connection() as connection:
            return self._read_nodes(connection, label, wanted)

    def read_relationships(self, edge: EdgeType, columns: Sequence[str] | None = None) -> pa.Table:
        """See `GraphStore.read_relationships`."""
        self._check_open()
        wanted = chosen_columns(self._applied().edge_arrow_schema(edge), columns, 2, edge_name(edge))
        with self._engine.connection() as connection:
            return self._read_edges(connection, edge, wanted)

    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        limit: int = 1000,
        timeout_s: float = 30.0,
    ) -> pa.Table:
        """See `GraphStore.query`."""
        self._check_open()
        if limit < 1 or timeout_s <= 0:
            raise QueryError(
                "the row limit must be 1 or more and the timeout above 0 seconds", where=self.url
            )
        values = dict(parameters or {})
        for name, value in values.items():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                if not isinstance(item, str | int | float | None):
                    raise QueryError(f"the parameter ${name} is a {type(item).__name__}", where=self.url)
                if isinstance(item, int) and not -(2**63) <= item < 2**63:
                    raise QueryError(f"the parameter ${name} does not fit in 64 bits", where=self.url)
        return self._engine.query(cypher, values, limit, timeout_s)

    def close(self) -> None:
        """See `GraphStore.close`."""
        self._closer()

    def __enter__(self) -> LadybugStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._closer.alive:
            raise StoreError("the store is closed", where=self.url, hint="open it again with open_store")

    def _applied(self) -> Schema:
        if not self._schema.nodes:
            raise SchemaError("the store has no schema yet", where=self.url, hint="call apply_schema first")
        return self._schema

    def _read_nodes(self, connection: Any, label: str, wanted: pa.Schema) -> pa.Table:
        columns = ", ".join(f"n.{quoted(name)} AS {quoted(name)}" for name in wanted.names)
        return rows(connection, f"MATCH (n:{quoted(label)}) RETURN {columns}").cast(wanted)

    def _read_edges(self, connection: Any, edge: EdgeType, wanted: pa.Schema) -> pa.Table:
        ends = [f"a.{self._key(edge[0])} AS source", f"b.{self._key(edge[2])} AS target"]
        columns = [f"r.{quoted(name)} AS {quoted(name)}" for name in wanted.names[2:]]
        return rows(connection, f"{self._match(edge)} RETURN {', '.join([*ends, *columns])}").cast(wanted)

    def _upsert_edges(self, connection: Any, edge: EdgeType, data: pa.Table) -> None:
        # Every stored column, those that the schema in force no longer names too: changed rows are rewritten.
        rel = self._engine.stored.relationship(edge)
        stored = self._read_edges(connection, edge, self._engine.stored.edge_arrow_schema(edge))
        where = positions(data, stored, ["source", "target", *rel.identity])
        fresh = data.filter(pa.array(where < 0))
        known = data.filter(pa.array(where >= 0))
        where = where[where >= 0]
        held = stored.take(pa.array(where))
        altered = changed_rows(known, held)
        update = merge(known, held).filter(altered)
        if update.num_rows > max(_REBUILD_ROWS, stored.num_rows // 4) and len(rel.endpoints) == 1:
            keep = np.ones(stored.num_rows, dtype=bool)
            keep[where[altered.to_numpy(zero_copy_only=False)]] = False
            rows(connection, f"DROP TABLE {quoted(edge[1])}")
            for statement in catalog.create_relationship_table(edge[1], rel):
                rows(connection, statement)
            update = pa.concat_tables([stored.filter(pa.array(keep)), update])
        elif update.num_rows:
            names = ["source", "target", *rel.identity]
            table = update.select(names).rename_columns([f"c{i}" for i in range(len(names))])
            same = [f"r.{quoted(name)} = c{i + 2}" for i, name in enumerate(rel.identity)]
            ends = [f"a.{self._key(edge[0])} = c0", f"b.{self._key(edge[2])} = c1"]
            clause = f"{self._match(edge)} WHERE {' AND '.join([*ends, *same])} DELETE r"
            rows(connection, f"LOAD FROM $t {clause}", {"t": table})
        for table in (update, fresh):
            options = f" (from={edge[0]!r}, to={edge[2]!r})" if len(rel.endpoints) > 1 else ""
            _copy(connection, quoted(edge[1]), table, table.column_names[2:], options)

    def _key(self, label: str) -> str:
        return quoted(self._engine.stored.node(label).key)

    def _match(self, edge: EdgeType, equal: Mapping[str, Scalar] | None = None) -> str:
        a, r, b = (quoted(name) for name in edge)
        where = f" WHERE {_equal('r', equal)}" if equal else ""
        return f"MATCH (a:{a})-[r:{r}]->(b:{b}){where}"


class MemoryStore(LadybugStore):
    """The same store in memory, for tests and small things; gone when it is closed."""

    def __init__(self) -> None:
        self._start(None)


def _equal(variable: str, properties: Mapping[str, Scalar]) -> str:
    return " AND ".join(f"{variable}.{quoted(name)} = ${name}" for name in properties)


def _copy(connection: Any, table: str, data: pa.Table, columns: Sequence[str], options: str = "") -> None:
    if not data.num_rows:
        return
    names = f"({', '.join(quoted(name) for name in columns)})" if columns else ""
    rows(connection, f"COPY {table}{names} FROM $t{options}", {"t": data})


def _set_nodes(connection: Any, label: str, data: pa.Table) -> None:
    if not data.num_rows:
        return
    key, *names = data.column_names
    # Other names than the properties': a bare name in the statement would be ambiguous.
    table = data.rename_columns([f"c{i}" for i in range(data.num_columns)])
    values = ", ".join(f"n.{quoted(name)} = c{i + 1}" for i, name in enumerate(names))
    clause = f"MATCH (n:{quoted(label)}) WHERE n.{quoted(key)} = c0 SET {values}"
    rows(connection, f"LOAD FROM $t {clause}", {"t": table})
