"""Work on Neo4j that takes many transactions: loading a file, and deleting nodes that much hangs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from neo4j import ManagedTransaction

from kgdistill.errors import SchemaError
from kgdistill.progress import step
from kgdistill.store.neo4j import cypher as cypher_text
from kgdistill.store.neo4j.write import EdgeWriter, not_empty, one, write_batch
from kgdistill.store.parquet import conform_file, distinct, file_types, read_parts
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema
from kgdistill.store.validate import edge_name

_PROGRESS_ROWS = 50_000
_DELETED_AT_ONCE = 20_000
_T = TypeVar("_T")
Rows: TypeAlias = list[tuple[Any, ...]]
_Batch: TypeAlias = Callable[[Rows], None]


class WriteTransaction(Protocol):
    """Runs a piece of work in a write transaction of its own; it may run more than once."""

    def __call__(self, work: Callable[[ManagedTransaction], _T]) -> _T:
        """What the work returned."""
        ...


def load_file(schema: Schema, key: str | EdgeType, file: Path, write: WriteTransaction, url: str) -> int:
    """See `GraphStore.load`."""
    conform_file(schema, key, file)
    total = pq.read_metadata(file).num_rows
    if isinstance(key, str):
        where, batch = key, _node_batch(schema, key, file, write, url)
        types = schema.node_arrow_schema(key)
    else:
        where, batch = edge_name(key), _edge_batch(schema, key, file, write, url)
        types = schema.edge_arrow_schema(key)
    batches = one_ahead(_batches(file, types))
    if total < _PROGRESS_ROWS:
        for rows in batches:
            batch(rows)
        return int(total)
    with step(f"loading {where}", total=total) as work:
        for rows in batches:
            batch(rows)
            work.advance(len(rows))
    return int(total)


def check_ends(schema: Schema, edge: EdgeType, file: Path, write: WriteTransaction) -> None:
    """Raises SchemaError where a relationship of the file has an end that is not stored."""
    for side, label in (("source", edge[0]), ("target", edge[2])):
        query = cypher_text.missing_keys(label, schema.node(label).key)
        for keys in distinct(file, side, cypher_text.BATCH_ROWS):
            missing = write(partial(one, query=query, values={"keys": keys}))
            if missing:
                raise SchemaError(
                    f"no {label} has the key {missing[0]!r}",
                    where=f"{edge_name(edge)}.{side} in {file}",
                    hint=f"write the {label} nodes first, or drop these rows",
                )


def delete_some_nodes(write: WriteTransaction, label: str, key: str, keys: list[str]) -> int:
    """Deletes the nodes with these keys; returns how many there were."""

    def count(tx: ManagedTransaction) -> tuple[int, int]:
        record = tx.run(cypher_text.count_these_nodes(label, key), keys=keys).single(strict=True)
        return int(record[0]), int(record[1])

    nodes, edges = write(count)
    if edges > _DELETED_AT_ONCE:
        # All at once they would not fit into the heap of a small server.
        values = {"keys": keys, "limit": _DELETED_AT_ONCE}
        while write(lambda tx: one(tx, cypher_text.delete_edges_of(label, key), values)):
            pass
    write(lambda tx: tx.run(cypher_text.delete_these_nodes(label, key), keys=keys).consume())
    return nodes


def _node_batch(schema: Schema, label: str, file: Path, write: WriteTransaction, url: str) -> _Batch:
    if write(lambda tx: one(tx, f"MATCH (n:{cypher_text.quoted(label)}) RETURN count(n)")):
        raise not_empty(label, url)
    table = file_types(file, schema.node_arrow_schema(label)).empty_table()
    create, merge = (
        cypher_text.write_nodes(label, schema.node(label).key, table, create=create, clear_nulls=True)
        for create in (True, False)
    )

    def batch(rows: Rows) -> None:
        tried = False

        def work(tx: ManagedTransaction) -> None:
            nonlocal tried
            # A second time: the first may have been committed without our hearing of it.
            query, tried = merge if tried else create, True
            write_batch(tx, query, rows, label, url)

        write(work)

    return batch


def _edge_batch(schema: Schema, edge: EdgeType, file: Path, write: WriteTransaction, url: str) -> _Batch:
    check_ends(schema, edge, file, write)
    table = file_types(file, schema.edge_arrow_schema(edge)).empty_table()
    writer = EdgeWriter(schema, edge, table, url, clear_nulls=True)
    write(partial(writer.begin, into_empty=True))
    writer.confirm()

    def batch(rows: Rows) -> None:
        write(partial(writer.write_alone, rows=rows))
        writer.confirm()

    return batch


def _batches(file: Path, types: pa.Schema) -> Iterator[Rows]:
    for part in read_parts(file, types, cypher_text.BATCH_ROWS):
        yield from cypher_text.batches(part)


def one_ahead(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same batches; the next is made while the server works on the last."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (rows := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield rows
