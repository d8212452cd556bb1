"""Writing one file to Neo4j from several processes, in parts that never wait for each other.

A relationship locks its two ends. So the rows are cut by the hashes of both ends, and written in rounds in
which no two writers have a partition of nodes in common.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from neo4j import WRITE_ACCESS, ManagedTransaction, Session, Transaction
from neo4j.exceptions import DriverError, Neo4jError

from kgdistill.errors import DiskError, StoreError
from kgdistill.store.neo4j import cypher as cypher_text
from kgdistill.store.neo4j.errors import translated
from kgdistill.store.neo4j.fences import drop_fences, hold_fence, put_fences
from kgdistill.store.neo4j.load import Rows, check_ends, one_ahead
from kgdistill.store.neo4j.store import Neo4jStore
from kgdistill.store.neo4j.write import write_batch
from kgdistill.store.parquet import conform_file, file_types, plain_path, read_parts, without_bar
from kgdistill.store.protocol import EdgeType
from kgdistill.store.validate import edge_name

Cell: TypeAlias = tuple[int, int]
"""The partition of the source and that of the target; of nodes (partition, 0)."""

_GONE = (Neo4jError, DriverError, OSError)


def rounds(key: str | EdgeType, writers: int) -> list[list[list[Cell]]]:
    """What is written when: in each round, for each writer, its cells; every cell once.

    Nodes and relationships between two labels have `writers` partitions, the cells of a round being a
    diagonal of a Latin square. Where both ends have one label a partition is the source's or the target's:
    there are twice as many, and in each round a writer has a pair of them, as in a round-robin tournament.
    """
    if isinstance(key, str):
        return [[[(writer, 0)] for writer in range(writers)]]
    if key[0] != key[2]:
        return [[[(w, (w + turn) % writers)] for w in range(writers)] for turn in range(writers)]
    last = 2 * writers - 1
    found: list[list[list[Cell]]] = []
    for turn in range(last):
        pairs = [(last, turn), *(((turn + i) % last, (turn - i) % last) for i in range(1, writers))]
        within = [[(a, a), (b, b)] if turn == 0 else [] for a, b in pairs]
        found.append([[(a, b), (b, a), *more] for (a, b), more in zip(pairs, within, strict=True)])
    return found


def split(key: str | EdgeType, file: Path, writers: int, folder: Path) -> dict[Cell, list[Path]]:
    """Cuts a Parquet file into one or more for each cell that has rows, in constant memory.

    Raises:
        DiskError: the folder cannot be written.
    """
    if isinstance(key, str):
        first = pq.read_schema(file).names[0].replace('"', '""')
        parts, ends = writers, (f'hash("{first}")', "0")
    else:
        parts = writers if key[0] != key[2] else 2 * writers
        ends = ('hash("source")', 'hash("target")')
    columns = ", ".join(
        f"({e} % {parts})::INTEGER AS _kgdistill_{n}" for e, n in zip(ends, "st", strict=True)
    )
    target = str(folder).replace("'", "''")
    try:
        with plain_path(file) as path, duckdb.connect() as engine:
            engine.execute("SET memory_limit = '1GB'")
            engine.execute("SET threads = 2")
            engine.execute("SET preserve_insertion_order = false")
            without_bar(engine)
            engine.execute(
                f"COPY (SELECT *, {columns} FROM read_parquet('{path}')) TO '{target}' (FORMAT parquet, "
                "COMPRESSION lz4, PARTITION_BY (_kgdistill_s, _kgdistill_t), OVERWRITE_OR_IGNORE)"
            )
    except (duckdb.IOException, OSError) as error:
        raise DiskError(
            f"cannot be written: {error}",
            where=str(folder),
            hint="free some space and run the same command again",
        ) from error
    found: dict[Cell, list[Path]] = {}
    for part in sorted(folder.rglob("*.parquet")):
        source, to = (int(name.rpartition("=")[2]) for name in part.parts[-3:-1])
        found.setdefault((source, to), []).append(part)
    return found


class PartWriter(Neo4jStore):
    """One of several writers; of all that they write at a time, no part touches another's nodes."""

    def write_files(
        self,
        key: str | EdgeType,
        files: Sequence[Path],
        fence: str,
        *,
        create: bool,
        advance: Callable[[int], None] = lambda _: None,
    ) -> tuple[int, int]:
        """Upserts the rows of checked Parquet files, a transaction per batch.

        Args:
            key: a label or an edge type.
            files: as for `load`; all have the same columns. A null removes the stored value.
            fence: its id; see `ParallelWrite`.
            create: the type holds none of these rows (relationships only).
            advance: told the rows written since the last call.

        Returns:
            Rows, and how many transactions had to be tried again.

        Raises:
            StoreLockedError: another process has taken the store over.
            StoreError: the server refuses, or does not come back.
        """
        # Another store object may have applied a wider schema since.
        self._schema = None
        schema = self._required_schema()
        types = schema.node_arrow_schema(key) if isinstance(key, str) else schema.edge_arrow_schema(key)
        where = key if isinstance(key, str) else edge_name(key)
        table = file_types(files[0], types).empty_table()
        merge, first = self._query(key, table, False), self._query(key, table, create)
        done = again = 0
        for rows in one_ahead(_batches(files, types)):
            tries = 0

            def work(tx: ManagedTransaction, rows: Rows = rows) -> None:
                nonlocal tries
                hold_fence(tx, fence, self._url)
                # A second time: the first may have been committed without our hearing of it.
                query, tries = merge if tries else first, tries + 1
                write_batch(tx, query, rows, where, self._url)

            self._write(work)
            done, again = done + len(rows), again + tries - 1
            advance(len(rows))
        return done, again

    def _query(self, key: str | EdgeType, table: pa.Table, create: bool) -> str:
        schema = self._required_schema()
        if isinstance(key, str):
            name = schema.node(key).key
            return cypher_text.write_nodes(key, name, table, create=False, clear_nulls=True)
        return cypher_text.write_edges(schema, key, table, create=create, clear_nulls=True)


class ParallelWrite(Neo4jStore):
    """What the process that directs the writers does; to be used in a block of `changes` of the store."""

    def check(self, key: str | EdgeType, file: Path) -> int:
        """Checks a file as `load` does; returns its rows.

        Raises:
            InputError, SchemaError: as `load`.
        """
        # Another store object may have applied a wider schema since.
        self._schema = None
        schema = self._required_schema()
        conform_file(schema, key, file)
        if not isinstance(key, str):
            check_ends(schema, key, file, self._write)
        return int(pq.read_metadata(file).num_rows)

    def write_here(self, key: str | EdgeType, file: Path) -> int:
        """Upserts the rows of a small file that was checked, in this process; returns how many."""
        schema = self._required_schema()
        types = schema.node_arrow_schema(key) if isinstance(key, str) else schema.edge_arrow_schema(key)
        table = pq.read_table(file).cast(file_types(file, types))
        if isinstance(key, str):
            return self.write_nodes(key, table, clear_nulls=True)
        return self.write_relationships(key, table, clear_nulls=True)

    @contextmanager
    def turn(self, key: str | EdgeType, writers: int) -> Iterator[Turn]:
        """Fences for the writers, and the turn of the relationship type: who else writes to it waits."""
        turn = Turn(self, key, [secrets.token_hex(8) for _ in range(writers)])
        try:
            turn.begin()
            yield turn
        finally:
            turn.end()


class Turn:
    """The time in which the writers of one type are at work.

    Attributes:
        fences: an id for each writer.
        create: whether relationships are created; otherwise they are merged.
    """

    def __init__(self, store: ParallelWrite, key: str | EdgeType, fences: list[str]) -> None:
        self._store, self._key, self.fences = store, key, fences
        self.create = False
        self._session: Session | None = None
        self._transaction: Transaction | None = None

    def begin(self) -> None:
        """Puts up the fences and takes the turn."""
        self._store._write(lambda tx: put_fences(tx, self.fences))
        if not isinstance(self._key, str):
            self.create = self._take(self._key)

    def ensure(self) -> None:
        """Takes the turn again where the server went away meanwhile; from then on all is merged."""
        if isinstance(self._key, str):
            return
        try:
            if self._transaction is not None:
                self._transaction.run("RETURN 1").consume()
                return
        except _GONE:
            self._drop()
        self._take(self._key)
        self.create = False

    def end(self) -> None:
        """Lets the others have their turn; waits for what the writers still have on its way."""
        self._drop()
        # Where the server is gone, the next block of changes removes them.
        with contextlib.suppress(StoreError):
            self._store._write(lambda tx: drop_fences(tx, self.fences))

    def _take(self, edge: EdgeType) -> bool:
        """Whether the type holds nothing."""
        values = {"type": edge[1], "token": secrets.token_hex(8)}
        while True:
            # Committed first: who began to create before us will look again, even if we are killed.
            self._store._write(lambda tx: tx.run(cypher_text.TAKE_TURN, values).consume())
            with translated(self._store.url):
                self._session = self._store._driver.session(default_access_mode=WRITE_ACCESS)
                self._transaction = self._session.begin_transaction(timeout=0)
                record = self._transaction.run(cypher_text.TAKE_TURN, values).single(strict=True)
                if record[0] == values["token"]:
                    empty = self._transaction.run(cypher_text.edge_type_is_empty(edge)).single(strict=True)
                    return bool(empty[0])
            self._drop()

    def _drop(self) -> None:
        session, self._session, self._transaction = self._session, None, None
        if session is not None:
            with contextlib.suppress(*_GONE):
                session.close()


def _batches(files: Sequence[Path], types: pa.Schema) -> Iterator[Rows]:
    for file in files:
        for part in read_parts(file, types, cypher_text.BATCH_ROWS):
            yield from cypher_text.batches(part)
