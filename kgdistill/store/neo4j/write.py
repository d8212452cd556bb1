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
from kgdistill.store.neo4j import cypher as cypher_text
from kgdistill.store.neo4j.errors import as_store_error, is_out_of_memory
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema
from kgdistill.store.validate import edge_name, missing_end


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


def not_empty(where: str, url: str) -> StoreError:
    """The refusal to load a file into a type that holds something."""
    return StoreError(
        f"{where} holds something already, and a file is loaded into an empty type only",
        where=url,
        hint="write it with write_nodes or write_relationships",
    )


class EdgeWriter:
    """One write of relationships: creates while it is alone with the type, merges otherwise.

    Each transaction takes the type's turn by leaving a new token. One that finds another token than the
    last confirmed one merges: after a commit of our own whose answer was lost only that batch, after
    another writer all that follow too.
    """

    def __init__(
        self,
        schema: Schema,
        edge: EdgeType,
        table: pa.Table,
        url: str,
        *,
        replace: Mapping[str, Any] | None = None,
        clear_nulls: bool = False,
    ) -> None:
        self._schema, self._edge, self._table, self._replace, self._url = schema, edge, table, replace, url
        self._queries = {
            create: cypher_text.write_edges(schema, edge, table, create=create, clear_nulls=clear_nulls)
            for create in (True, False)
        }
        self._tokens: set[str] = set()
        self._confirmed: tuple[str, bool] = ("", False)
        self._offered: tuple[str, bool] = ("", False)

    def begin(self, tx: ManagedTransaction, *, into_empty: bool = False) -> None:
        """Checks the ends, deletes what is replaced, and decides between CREATE and MERGE.

        With `into_empty` a type that holds something is refused (StoreError).
        """
        token, _ = self._take_turn(tx)
        self._check_ends(tx)
        alone = False
        if self._replace is not None:
            tx.run(cypher_text.delete_edges(self._edge, self._replace), numbered(self._replace)).consume()
            identity = self._schema.relationship(self._edge).identity
            alone = _all_replaced(self._table, self._replace, identity)
        alone = alone or bool(one(tx, cypher_text.edge_type_is_empty(self._edge)))
        if into_empty and not alone:
            if one(tx, cypher_text.edge_type_holds_any(self._edge)):
                raise not_empty(edge_name(self._edge), self._url)
            alone = True
        self._offered = (token, alone)

    def write(self, tx: ManagedTransaction, rows: list[tuple[Any, ...]]) -> None:
        """Writes a batch in the transaction of `begin`."""
        write_batch(tx, self._queries[self._offered[1]], rows, edge_name(self._edge), self._url)

    def write_alone(self, tx: ManagedTransaction, rows: list[tuple[Any, ...]]) -> None:
        """Writes a batch in a transaction of its own, after a confirmed `begin`."""
        token, before = self._take_turn(tx)
        known, alone = self._confirmed
        # A token of our own other than the last confirmed one: this very batch may be there already.
        create = alone and before == known
        self._offered = (token, alone and before in self._tokens)
        write_batch(tx, self._queries[create], rows, edge_name(self._edge), self._url)

    def confirm(self) -> None:
        """Says that the transaction has been committed."""
        self._confirmed = self._offered

    def _take_turn(self, tx: ManagedTransaction) -> tuple[str, str | None]:
        token = secrets.token_hex(8)
        self._tokens.add(token)
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
