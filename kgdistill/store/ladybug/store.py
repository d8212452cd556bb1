"""The graph in an embedded Ladybug database: a folder, or memory."""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import QueryError, SchemaError, StoreError
from kgdistill.nearest import nearest
from kgdistill.store.ladybug import catalog
from kgdistill.store.ladybug.catalog import quoted
from kgdistill.store.ladybug.diff import changed_rows, flat, merge, positions
from kgdistill.store.ladybug.engine import acquire, release, rows
from kgdistill.store.ladybug.reader import in_utc
from kgdistill.store.parquet import conform_file, plain_path
from kgdistill.store.protocol import EdgeType, Parameter, Scalar, Write
from kgdistill.store.query.checks import check_limits, check_parameters, check_text
from kgdistill.store.schema import RelationshipType, Schema, arrow_type
from kgdistill.store.validate import (
    chosen_columns,
    conform_identities,
    conform_keys,
    conform_nodes,
    conform_relationships,
    conform_replace,
    edge_name,
    missing_end,
)

# Where more stored relationships than this change, writing the table anew beats deleting them one by one
# (40 k/s against 300 k/s); fewer are not worth it.
_REBUILD_ROWS = 50_000
# Where stored relationships are at least this many times as many as those of a write, the pairs of these
# alone are read (of 2 M, for 10 k: 0.6 s of CPU in place of 1.1, and 0.8 less to compare them).
_LOOKUP_SHARE = 8
# Up to so many are deleted one by one, by the index of their ends (0.1 ms each); more by one statement, which
# goes through the whole type (0.5 s of CPU on 2 M).
_SINGLE_ROWS = 2_000
_UNKNOWN = re.compile(
    r"Binder exception: (?:Cannot find property (.*) for .*|Table (.*) does not exist)\.", re.DOTALL
)


class LadybugStore:
    """A `GraphStore` in a local folder, with no server; one process at a time.

    What `apply_schema` declared is kept in the file, so an opened store can be read at once. The file itself
    is only ever read: a block of `changes` works on a copy, which takes the file's place at the end, and a
    write outside such a block is one itself. Whatever happens in it, an error, a kill, a full disk, all of
    it is kept or nothing. That needs room for the copy, and time: 16 ms for each write on a small store,
    45 ms on one of 40 MB, up to a second on one of 400 MB; several writes belong in one block. The folder is
    for its owner alone.

    Args:
        path: the folder; made where it does not exist.
        wait_s: how long, in seconds, to wait for another process that holds it.

    Raises:
        StoreLockedError: another process holds it, still after `wait_s`.
        StoreError: it is not a store, or cannot be read.
    """

    def __init__(self, path: str | Path, *, wait_s: float = 0.0) -> None:
        self._start(Path(path), wait_s)

    def _start(self, folder: Path | None, wait_s: float = 0.0) -> None:
        self._engine = acquire(folder, wait_s)
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

    @property
    def schema(self) -> Schema:
        """See `GraphStore.schema`."""
        self._check_open()
        return self._engine.stored

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

    def write_nodes(
        self,
        label: str,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
    ) -> int:
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
            altered = changed_rows(known, held, clear_nulls)
            _set_nodes(connection, label, merge(known, held, clear_nulls).filter(altered))
            if stale is not None:
                _delete_nodes(connection, label, key, stale)
        return int(data.num_rows)

    def write_relationships(
        self,
        edge: EdgeType,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
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
            self._upsert_edges(connection, edge, data, clear_nulls)
        return int(data.num_rows)

    def write_together(self, writes: Sequence[Write]) -> list[int]:
        """See `GraphStore.write_together`; in memory each stands alone."""
        self._check_open()
        with self._engine.block():
            return [
                self.write_nodes(w.key, w.table, replace=w.replace, clear_nulls=w.clear_nulls)
                if isinstance(w.key, str)
                else self.write_relationships(w.key, w.table, replace=w.replace, clear_nulls=w.clear_nulls)
                for w in writes
            ]

    def delete_nodes(self, label: str, keys: pa.Array | pa.ChunkedArray) -> int:
        """See `GraphStore.delete_nodes`."""
        self._check_open()
        key = self._applied().node(label).key
        wanted = conform_keys(label, keys)
        with self._engine.transaction() as connection:
            held = rows(connection, f"MATCH (n:{quoted(label)}) RETURN n.{quoted(key)} AS k")
            gone = held.filter(pc.is_in(held["k"], value_set=wanted))
            _delete_nodes(connection, label, key, gone)
        return int(gone.num_rows)

    def delete_relationships(self, edge: EdgeType, table: pa.Table) -> int:
        """See `GraphStore.delete_relationships`."""
        self._check_open()
        data = conform_identities(self._applied(), edge, table)
        rel = self._engine.stored.relationship(edge)
        with self._engine.transaction() as connection:
            stored, total = self._concerned(connection, edge, data)
            where = positions(data, stored, data.column_names)
            where = where[where >= 0]
            if self._rewrites(rel, len(where), total):
                keep = np.ones(stored.num_rows, dtype=bool)
                keep[where] = False
                self._rewrite(connection, edge, stored.filter(pa.array(keep)))
            else:
                self._delete_edges(connection, edge, stored.take(pa.array(where)))
        return len(where)

    def load(self, key: str | EdgeType, file: Path) -> int:
        """See `GraphStore.load`."""
        self._check_open()
        file = Path(file)
        names = conform_file(self._applied(), key, file)
        options, where = "", key if isinstance(key, str) else edge_name(key)
        if isinstance(key, str):
            table, match = key, f"MATCH (x:{quoted(key)})"
        else:
            table, match, names = (
                key[1],
                f"MATCH (:{quoted(key[0])})-[x:{quoted(key[1])}]->(:{quoted(key[2])})",
                names[2:],
            )
            if len(self._engine.stored.relationship(key).endpoints) > 1:
                options = f" (from={key[0]!r}, to={key[2]!r})"
        count = f"{match} RETURN count(*) AS n"
        with plain_path(file) as path, self._engine.transaction() as connection:
            if rows(connection, count)["n"][0].as_py():
                raise StoreError(
                    f"{where} holds something already, and a file is loaded into an empty type only",
                    where=self.url,
                    hint="write it with write_nodes or write_relationships",
                )
            source = f"'{path}'"
            if not names and not isinstance(key, str):
                # The ends alone cannot be said in a list of columns: an empty list means every column.
                for name, prop in list(self._engine.stored.relationship(key).properties.items())[:1]:
                    names, null = [name], f"CAST(NULL AS {catalog.COLUMN[prop.type]})"
                    source = f"(LOAD FROM '{path}' RETURN source, target, {null})"
            columns = f"({', '.join(quoted(name) for name in names)})" if names else ""
            try:
                rows(connection, f"COPY {quoted(table)}{columns} FROM {source}{options}")
            except RuntimeError as error:
                missing = re.search(r"Unable to find primary key value (.*?)\.?$", str(error), re.S)
                if missing is None:
                    raise
                raise SchemaError(
                    f"no node has the key {missing[1]!r}",
                    where=f"{where} in {file}",
                    hint="write the nodes first, or drop these rows",
                ) from error
            return int(rows(connection, count)["n"][0].as_py())

    @contextlib.contextmanager
    def changes(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """See `GraphStore.changes`; in memory the block locks other threads out, and no more."""
        self._check_open()
        before = self._schema
        with self._engine.changes(wait_s):
            try:
                yield
            except BaseException:
                self._schema = before
                raise

    def reindexed(self, label: str, of: Mapping[str, Scalar]) -> contextlib.AbstractContextManager[None]:
        """See `GraphStore.reindexed`."""
        return contextlib.nullcontext()

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
        check_limits(limit, timeout_s, self.url)
        check_text(cypher, self.url)
        checked = check_parameters(cypher, parameters or {}, self.url)
        values = {name: in_utc(value) for name, value in self._keys_as_text(cypher, checked).items()}
        try:
            return self._engine.query(cypher, values, limit, timeout_s)
        except QueryError as error:
            raise _with_nearest(error, self.schema) from error

    def _keys_as_text(self, cypher: str, values: dict[str, Any]) -> dict[str, Any]:
        """The parameters, a number as a text where it stands beside a property that is one, such as a key."""
        numbers = [
            v for v in values.values() if isinstance(v[0] if isinstance(v, list) and v else v, int | float)
        ]
        if not numbers:
            return values
        from kgdistill.store.neo4j.tokens import tokens
        from kgdistill.store.neo4j.typed import typed

        try:
            sent = typed(cypher, tokens(cypher), values, self.schema, zoned=True).values
        except QueryError:
            return values  # what the engine takes it for, or says of it
        # Neo4j is sent it under a name of its own beside the number; here one value takes both places.
        return {name: sent.get(f"{name} (string)", value) for name, value in values.items()}

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

    def _read_edges(
        self, connection: Any, edge: EdgeType, wanted: pa.Schema, pairs: pa.Table | None = None
    ) -> pa.Table:
        """All relationships of a type, or those between `pairs`, which has the columns c0 and c1."""
        ends = [f"a.{self._key(edge[0])} AS source", f"b.{self._key(edge[2])} AS target"]
        columns = [f"r.{quoted(name)} AS {quoted(name)}" for name in wanted.names[2:]]
        returned = f"RETURN {', '.join([*ends, *columns])}"
        if pairs is None:
            return rows(connection, f"{self._match(edge)} {returned}").cast(wanted)
        same = f"a.{self._key(edge[0])} = c0 AND b.{self._key(edge[2])} = c1"
        clause = f"LOAD FROM $t {self._match(edge)} WHERE {same} {returned}"
        return rows(connection, clause, {"t": pairs}).cast(wanted)

    def _concerned(self, connection: Any, edge: EdgeType, data: pa.Table) -> tuple[pa.Table, int]:
        """Stored relationships, at least those between the ends in `data`; and how many there are in all.

        They are not all of them only where `data` is too small to have the whole table written anew.
        """
        wanted = self._engine.stored.edge_arrow_schema(edge)
        total = int(rows(connection, f"{self._match(edge)} RETURN count(*) AS n")["n"][0].as_py())
        if not data.num_rows:
            return wanted.empty_table(), total
        if data.num_rows * _LOOKUP_SHARE > total:
            return self._read_edges(connection, edge, wanted), total
        pairs = data.select(["source", "target"]).group_by(["source", "target"]).aggregate([])
        pairs = pairs.select(["source", "target"]).rename_columns(["c0", "c1"])
        return self._read_edges(connection, edge, wanted, pairs), total

    def _upsert_edges(self, connection: Any, edge: EdgeType, data: pa.Table, clear_nulls: bool) -> None:
        # Every stored column, those that the schema in force no longer names too: changed rows are rewritten.
        rel = self._engine.stored.relationship(edge)
        stored, total = self._concerned(connection, edge, data)
        where = positions(data, stored, ["source", "target", *rel.identity])
        fresh = data.filter(pa.array(where < 0))
        known = data.filter(pa.array(where >= 0))
        where = where[where >= 0]
        held = stored.take(pa.array(where))
        altered = changed_rows(known, held, clear_nulls)
        update = merge(known, held, clear_nulls).filter(altered)
        if self._rewrites(rel, update.num_rows, total):
            keep = np.ones(stored.num_rows, dtype=bool)
            keep[where[altered.to_numpy(zero_copy_only=False)]] = False
            self._rewrite(connection, edge, pa.concat_tables([stored.filter(pa.array(keep)), update]))
        else:
            self._delete_edges(connection, edge, update)
            self._copy_edges(connection, edge, update)
        self._copy_edges(connection, edge, fresh)

    @staticmethod
    def _rewrites(rel: RelationshipType, changed: int, stored: int) -> bool:
        return changed > max(_REBUILD_ROWS, stored // 4) and len(rel.endpoints) == 1

    def _rewrite(self, connection: Any, edge: EdgeType, table: pa.Table) -> None:
        rows(connection, f"DROP TABLE {quoted(edge[1])}")
        for statement in catalog.create_relationship_table(edge[1], self._engine.stored.relationship(edge)):
            rows(connection, statement)
        self._copy_edges(connection, edge, table)

    def _copy_edges(self, connection: Any, edge: EdgeType, table: pa.Table) -> None:
        rel = self._engine.stored.relationship(edge)
        several = len(rel.endpoints) > 1
        first = next(iter(rel.properties), None)
        if table.num_columns == 2 and first is not None:
            # The ends alone cannot be said in a list of columns: an empty list means every column.
            nulls = pa.nulls(table.num_rows, arrow_type(rel.properties[first].type))
            table = table.append_column(first, nulls)
        options = f" (from={edge[0]!r}, to={edge[2]!r})" if several else ""
        _copy(connection, quoted(edge[1]), table, table.column_names[2:], options)

    def _delete_edges(self, connection: Any, edge: EdgeType, table: pa.Table) -> None:
        if not table.num_rows:
            return
        identity = self._engine.stored.relationship(edge).identity
        names = ["source", "target", *identity]
        chosen = table.select(names).rename_columns([f"c{i}" for i in range(len(names))])
        few = chosen.num_rows <= _SINGLE_ROWS
        at = "$" if few else ""
        same = [f"r.{quoted(name)} = {at}c{i + 2}" for i, name in enumerate(identity)]
        ends = [f"a.{self._key(edge[0])} = {at}c0", f"b.{self._key(edge[2])} = {at}c1"]
        clause = f"{self._match(edge)} WHERE {' AND '.join([*ends, *same])} DELETE r"
        if not few:
            rows(connection, f"LOAD FROM $t {clause}", {"t": chosen})
            return
        for values in chosen.to_pylist():
            rows(connection, clause, values)

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


def _delete_nodes(connection: Any, label: str, key: str, keys: pa.Table) -> None:
    """Deletes the nodes whose key stands in the column k of `keys`."""
    if keys.num_rows:
        clause = f"LOAD FROM $t MATCH (n:{quoted(label)}) WHERE n.{quoted(key)} = k DETACH DELETE n"
        rows(connection, clause, {"t": keys})


def _set_nodes(connection: Any, label: str, data: pa.Table) -> None:
    if not data.num_rows:
        return
    key, *names = data.column_names
    # Other names than the properties': a bare name in the statement would be ambiguous.
    table = data.rename_columns([f"c{i}" for i in range(data.num_columns)])
    values = ", ".join(f"n.{quoted(name)} = c{i + 1}" for i, name in enumerate(names))
    clause = f"MATCH (n:{quoted(label)}) WHERE n.{quoted(key)} = c0 SET {values}"
    rows(connection, f"LOAD FROM $t {clause}", {"t": table})


def _with_nearest(error: QueryError, schema: Schema) -> QueryError:
    """The error, where a name is unknown with the nearest of the schema."""
    found = _UNKNOWN.fullmatch(error.message)
    if found is None:
        return error
    name = found[1] or found[2]
    known = schema.property_types if found[1] else (*schema.nodes, *schema.relationships)
    # A property that is known stands on another type.
    hint = nearest(name, [other for other in known if other != name]) or "`kgdistill schema` shows all"
    return QueryError(error.message, where=error.where, hint=hint)
