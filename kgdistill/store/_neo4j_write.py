"""Steps of a write to Neo4j that run inside a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from neo4j import ManagedTransaction
from neo4j.exceptions import Neo4jError

from kgdistill.errors import StoreError
from kgdistill.store import _neo4j_cypher as cypher_text
from kgdistill.store._neo4j_errors import as_store_error, is_out_of_memory
from kgdistill.store._validate import edge_name, missing_end
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema


def one(tx: ManagedTransaction, query: str, values: Mapping[str, Any] | None = None) -> Any:
    """The first value of the only record; None where there is no record."""
    record = tx.run(query, dict(values or {})).single()
    return None if record is None else record[0]


def numbered(replace: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `replace` as the parameters r0, r1, …"""
    return {f"r{i}": value for i, value in enumerate(replace.values())}


def write_batch(
    tx: ManagedTransaction, query: str, rows: list[tuple[Any, ...]], where: str, url: str
) -> None:
    """Runs `query` on `rows`; StoreError when it wrote fewer, or the server lacks memory."""
    try:
        written = one(tx, query, {"rows": rows, "epoch": cypher_text.EPOCH})
    except Neo4jError as error:
        if is_out_of_memory(error):
            # The driver takes it for a passing trouble and would try for a minute.
            raise as_store_error(error, url) from error
        raise
    if written != len(rows):
        raise StoreError(
            f"{len(rows) - int(written):,} rows found no node: another process deletes nodes meanwhile",
            where=where,
            hint="run the write again when it is done",
        )


class EdgeWriter:
    """One write of relationships: creates while it is alone with the type, merges otherwise.

    Each transaction takes the type's turn by leaving a new token. A later transaction that finds
    another token than the last confirmed one (another writer, or a commit of our own whose answer
    was lost) merges, and so do all after it.
    """

    def __init__(
        self, schema: Schema, edge: EdgeType, table: pa.Table, replace: Mapping[str, Any] | None, url: str
    ) -> None:
        self._schema, self._edge, self._table, self._replace, self._url = schema, edge, table, replace, url
        self._queries = {c: cypher_text.write_edges(schema, edge, table, create=c) for c in (True, False)}
        self._confirmed: tuple[str, bool] = ("", False)
        self._offered: tuple[str, bool] = ("", False)

    def begin(self, tx: ManagedTransaction) -> None:
        """Checks the ends, deletes what is replaced, and decides between CREATE and MERGE."""
        token, _ = self._take_turn(tx)
        self._check_ends(tx)
        alone = False
        if self._replace is not None:
            tx.run(cypher_text.delete_edges(self._edge, self._replace), numbered(self._replace)).consume()
            identity = self._schema.relationship(self._edge).identity
            alone = _all_replaced(self._table, self._replace, identity)
        alone = alone or bool(one(tx, cypher_text.edge_type_is_empty(self._edge)))
        self._offered = (token, alone)

    def write(self, tx: ManagedTransaction, rows: list[tuple[Any, ...]]) -> None:
        """Writes a batch in the transaction of `begin`."""
        write_batch(tx, self._queries[self._offered[1]], rows, edge_name(self._edge), self._url)

    def write_alone(self, tx: ManagedTransaction, rows: list[tuple[Any, ...]]) -> None:
        """Writes a batch in a transaction of its own, after a confirmed `begin`."""
        token, before = self._take_turn(tx)
        known, alone = self._confirmed
        self._offered = (token, alone and before == known)
        self.write(tx, rows)

    def confirm(self) -> None:
        """Says that the transaction has been committed."""
        self._confirmed = self._offered

    def _take_turn(self, tx: ManagedTransaction) -> tuple[str, str | None]:
        token = secrets.token_hex(8)
        return token, one(tx, cypher_text.TAKE_TURN, {"type": self._edge[1], "token": token})

    def _check_ends(self, tx: ManagedTransaction) -> None:
        for side, label in (("source", self._edge[0]), ("target", self._edge[2])):
            ends = self._table.column(side)
            query = cypher_text.missing_keys(label, self._schema.node(label).key)
            keys = pc.unique(ends).to_pylist()
            missing: list[str] = []
            for start in range(0, len(keys), cypher_text.BATCH_ROWS):
                missing += one(tx, query, {"keys": keys[start : start + cypher_text.BATCH_ROWS]})
            if missing:
                gone = pc.is_in(ends, value_set=pa.array(missing, pa.string()))
                missing_end(self._edge, side, ends, gone)


def _all_replaced(table: pa.Table, replace: Mapping[str, Any], identity: Sequence[str]) -> bool:
    """Whether no relationship that is left can be one of `table`: what could be was just deleted."""
    for name, value in replace.items():
        if name not in identity:
            return False
        same = pc.equal(table.column(name), pa.scalar(value, table.schema.field(name).type))
        if not pc.all(same).as_py():
            return False
    return True
