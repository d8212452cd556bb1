"""The boundary between kgdistill and the place where the graph lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from kgdistill.store.schema import Schema

EdgeType: TypeAlias = tuple[str, str, str]
"""(source label, relationship type, target label), as PyTorch Geometric writes it."""

Scalar: TypeAlias = str | int | float | bool | datetime | None
Parameter: TypeAlias = Scalar | Sequence[Scalar]


@dataclass(frozen=True)
class Write:
    """The rows of one type, as `write_nodes` and `write_relationships` take them."""

    key: str | EdgeType
    table: pa.Table
    replace: Mapping[str, Scalar] | None = None
    clear_nulls: bool = False


@runtime_checkable
class GraphStore(Protocol):
    """A graph in Neo4j, in an embedded database or in memory; Arrow tables in and out.

    Node tables have the label's key column (string) and property columns. Relationship tables have
    `source` and `target` (string keys) and property columns. Column types follow the schema
    (`Schema.arrow_type`). Every write is an upsert on the key: a property that a table does not
    carry, or (without `clear_nulls`) that is null in it, keeps its stored value. Row order on reading
    is unspecified. A store is used by one thread.
    """

    @property
    def url(self) -> str:
        """Where the store is, without any password; safe to log."""
        ...

    @property
    def schema(self) -> Schema:
        """Every type that `apply_schema` was given, now or by whoever wrote the store; empty before that."""
        ...

    def apply_schema(self, schema: Schema) -> None:
        """Creates the constraints or tables that are missing, and keeps the schema in the store.

        Idempotent. Adding types and properties to a store that holds data is allowed.

        Raises:
            StoreSchemaMismatchError: the store holds a type or key that contradicts `schema`.
        """
        ...

    def write_nodes(
        self,
        label: str,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
    ) -> int:
        """Upserts nodes; returns how many rows were written.

        Args:
            label: a label of the schema.
            table: the key column and any property columns; a key may stand in it once.
            replace: where given, nodes of `label` whose properties equal it and that `table` does
                not hold are deleted with their relationships, in the same transaction.
            clear_nulls: a null in `table` removes the stored value.

        Raises:
            SchemaError: unknown label or column, wrong type, null or repeated key; nothing is written.
        """
        ...

    def write_relationships(
        self,
        edge: EdgeType,
        table: pa.Table,
        *,
        replace: Mapping[str, Scalar] | None = None,
        clear_nulls: bool = False,
    ) -> int:
        """Upserts relationships between nodes that exist; returns how many rows were written.

        Two rows are the same relationship when both ends and the type's `identity` properties agree.

        Args:
            edge: an edge type of the schema.
            table: `source`, `target` and any property columns.
            replace: where given, relationships of `edge` whose properties equal it are deleted first,
                in the same transaction.
            clear_nulls: a null in `table` removes the stored value.

        Raises:
            SchemaError: unknown type or column, wrong type, a missing end (the message names the first
                one), or the same relationship twice; nothing is written.
        """
        ...

    def write_together(self, writes: Sequence[Write]) -> list[int]:
        """Several writes as one, in their order: all of them are kept, or none; returns the rows of each.

        In Neo4j that holds as far as one transaction takes them: where what they write is too much for one
        (see `Neo4jStore`), each stands alone, in their order.

        Raises:
            SchemaError: as for each of them; nothing is written.
        """
        ...

    def delete_nodes(self, label: str, keys: pa.Array | pa.ChunkedArray) -> int:
        """Deletes nodes with their relationships; returns how many nodes there were.

        Args:
            label: a label of the schema.
            keys: their keys (string); one that no node has is no fault, nor is one given twice.

        Raises:
            SchemaError: unknown label, keys that are no strings or null; nothing is deleted.
        """
        ...

    def delete_relationships(self, edge: EdgeType, table: pa.Table) -> int:
        """Deletes relationships; returns how many there were.

        Args:
            edge: an edge type of the schema.
            table: `source`, `target` and the type's `identity` properties; other properties of the type
                may stand in it and mean nothing. A row that names no relationship is no fault.

        Raises:
            SchemaError: unknown type, unknown or missing column, wrong type, or a null; nothing is deleted.
        """
        ...

    def load(self, key: str | EdgeType, file: Path) -> int:
        """Stores the rows of a Parquet file in a type that holds nothing yet; returns how many.

        For large files: memory does not grow with them, and it is the fastest way in.

        Args:
            key: a label or an edge type of the schema.
            file: the key (nodes), or `source` and `target` (relationships), first, then any property
                columns, in the types of `Schema.node_arrow_schema` or `Schema.edge_arrow_schema`.

        Raises:
            StoreError: the type holds something already.
            SchemaError: unknown type or column, wrong type, a null or repeated key, a missing end;
                nothing is stored.
            InputError: the file cannot be read, or is no Parquet file.
        """
        ...

    def changes(self, *, wait_s: float = 0.0) -> AbstractContextManager[None]:
        """A block in which nobody else writes through `changes`; reads and queries in it see its writes.

        In an embedded database all that is written in the block is kept, or nothing: when it raises, when
        the process is killed, when the disk is full. In Neo4j each write stands alone, and the lock ends
        with the process; in memory too each write stands alone.

        Args:
            wait_s: how long, in seconds, to wait for another's block to end.

        Raises:
            StoreLockedError: another still holds it after `wait_s`.
            StoreError: blocks do not nest; or the lock was lost to another.
            DiskError: there is no room; the embedded store is as it was before the block.
        """
        ...

    def reindexed(self, label: str, of: Mapping[str, Scalar]) -> AbstractContextManager[None]:
        """A block that writes vectors, after which they are quick to find by nearness.

        In Neo4j what one run wrote for one label in one space has a vector index of its own: it goes before
        the block and comes after it. The embedded store compares all, exactly: there the block is no more.

        Args:
            label: of nodes with one list of numbers and the properties run, space and label; for any other
                the block is no more.
            of: whose nodes change, such as those of a run; empty for all.

        Raises:
            StoreError: from the store.
        """
        ...

    def read_nodes(self, label: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All nodes of `label`: the key column, then `columns` (default: every property)."""
        ...

    def read_relationships(self, edge: EdgeType, columns: Sequence[str] | None = None) -> pa.Table:
        """All relationships of `edge`: `source`, `target`, then `columns` (default: every property)."""
        ...

    def query(
        self,
        cypher: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        limit: int = 1000,
        timeout_s: float = 30.0,
    ) -> pa.Table:
        """Runs one read-only Cypher query.

        Args:
            cypher: the query; values only as `$name`.
            parameters: the values.
            limit: at most this many rows come back; one more raises.
            timeout_s: the store gives up after this many seconds.

        Raises:
            QueryError: syntax, a write, the timeout or the row limit.
        """
        ...

    def close(self) -> None:
        """Frees the connection or the file. Calling it twice is harmless."""
        ...

    def __enter__(self) -> GraphStore: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
