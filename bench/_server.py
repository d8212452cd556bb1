"""Measures of a Neo4j server: ours, and the best loop over the raw driver beside it."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _embedded import files_of, key_of
from neo4j import Driver, GraphDatabase

from kgdistill.store import load_schema, open_store
from kgdistill.store.open import PASSWORD_VARIABLE

BOUGHT = ("User", "BOUGHT", "Product")
BATCH = 10_000
_EPOCH = datetime(1970, 1, 1)


def load_ours(url: str, files: str) -> dict[str, Any]:
    """`store.load` of every file into an empty server."""
    with open_store(url) as store:
        begin = time.monotonic()
        with store.changes():
            store.apply_schema(load_schema())
            rows = sum(store.load(key_of(file), file) for file in files_of(files))
        return {"rows": rows, "seconds": time.monotonic() - begin}


def load_raw(url: str, files: str, sessions: int) -> dict[str, Any]:
    """UNWIND CREATE of batches of 10,000 from the same files, the times as numbers (4 times as fast)."""
    schema = load_schema()
    rows = 0
    with _driver(url) as driver:
        begin = time.monotonic()
        for label, node in schema.nodes.items():
            driver.execute_query(
                f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:`{label}`) REQUIRE n.`{node.key}` IS UNIQUE"
            )
        for file in files_of(files):
            rows += _load_file(driver, file, sessions)
        return {"rows": rows, "seconds": time.monotonic() - begin}


def _load_file(driver: Driver, file: Path, sessions: int) -> int:
    key, types = key_of(file), pq.read_schema(file)
    if isinstance(key, str):
        query = f"UNWIND $rows AS row CREATE (:`{key}` {_properties(types, 0)})"
    else:
        schema = load_schema()
        ends = (schema.node(key[0]).key, schema.node(key[2]).key)
        query = (
            f"UNWIND $rows AS row MATCH (s:`{key[0]}` {{`{ends[0]}`: row[0]}}) "
            f"MATCH (t:`{key[2]}` {{`{ends[1]}`: row[1]}}) "
            f"CREATE (s)-[:`{key[1]}` {_properties(types, 2)}]->(t)"
        )
    batches = _batches(file)
    guard = threading.Lock()

    def work() -> int:
        written = 0
        with driver.session() as session:
            while True:
                with guard:
                    rows = next(batches, None)
                if rows is None:
                    return written
                session.execute_write(lambda tx, r: tx.run(query, rows=r, epoch=_EPOCH).consume(), rows)
                written += len(rows)

    with ThreadPoolExecutor(sessions) as pool:
        return sum(f.result() for f in [pool.submit(work) for _ in range(sessions)])


def _properties(types: pa.Schema, first: int) -> str:
    parts = []
    for index, field in enumerate(types):
        if index >= first:
            value = f"row[{index}]"
            if pa.types.is_timestamp(field.type):
                value = f"$epoch + duration({{microseconds: {value}}})"
            parts.append(f"`{field.name}`: {value}")
    return "{" + ", ".join(parts) + "}"


def _batches(file: Path) -> Iterator[list[list[Any]]]:
    with pq.ParquetFile(file) as held:
        for batch in held.iter_batches(BATCH):
            yield _rows(pa.Table.from_batches([batch]))


def _rows(table: pa.Table) -> list[list[Any]]:
    columns = []
    for column in table.columns:
        whole = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        columns.append(
            whole.to_pylist() if whole.null_count else whole.to_numpy(zero_copy_only=False).tolist()
        )
    return [list(row) for row in zip(*columns, strict=True)]


def upsert(url: str, file: str, rows: int, repeats: int) -> dict[str, Any]:
    """Half new and half changed purchases into the full table: ours, then raw, each with rows of its own."""
    held = pq.read_table(file)
    parts = _changes(held, rows, 2 * repeats)
    ours, raw = [], []
    with open_store(url) as store, _driver(url) as driver:
        store.apply_schema(load_schema())
        for _ in range(repeats):
            begin = time.monotonic()
            store.write_relationships(BOUGHT, next(parts))
            ours.append(time.monotonic() - begin)
            begin = time.monotonic()
            _merge(driver, next(parts))
            raw.append(time.monotonic() - begin)
    return {"rows": rows, "ours": ours, "raw": raw}


def _merge(driver: Driver, table: pa.Table) -> None:
    query = (
        "UNWIND $rows AS row MATCH (s:User {user_id: row[0]}) MATCH (t:Product {product_id: row[1]}) "
        f"MERGE (s)-[r:BOUGHT]->(t) SET r += {_properties(table.schema, 2)}"
    )
    with driver.session() as session:
        for start in range(0, table.num_rows, BATCH):
            rows = _rows(table.slice(start, BATCH))
            session.execute_write(lambda tx, r: tx.run(query, rows=r, epoch=_EPOCH).consume(), rows)


def _changes(held: pa.Table, rows: int, parts: int) -> Iterator[pa.Table]:
    """Tables of purchases: half of pairs that are there, with another count, half of pairs that are not."""
    rng = np.random.default_rng(0)
    half = rows // 2
    users = np.array(held["source"].unique().to_pylist(), dtype=object)
    products = np.array(held["target"].unique().to_pylist(), dtype=object)
    known = set(zip(held["source"].to_pylist(), held["target"].to_pylist(), strict=True))
    order = rng.permutation(held.num_rows)
    place = held.schema.get_field_index("count")
    for part in range(parts):
        old = held.take(pa.array(order[part * half : (part + 1) * half]))
        old = old.set_column(place, held.schema.field("count"), pa.array(rng.integers(100, 200, half)))
        pairs: list[tuple[str, str]] = []
        while len(pairs) < half:
            drawn = zip(rng.choice(users, half), rng.choice(products, half), strict=True)
            for pair in itertools.islice((p for p in drawn if p not in known), half - len(pairs)):
                if pair not in known:
                    known.add(pair)
                    pairs.append(pair)
        ends = [pa.array([pair[side] for pair in pairs], pa.string()) for side in (0, 1)]
        like = held.slice(0, half)
        fresh = pa.table([*ends, *(like[name] for name in like.column_names[2:])], schema=held.schema)
        whole = pa.concat_tables([old, fresh])
        yield whole.take(pa.array(rng.permutation(whole.num_rows)))


def export(url: str, repeats: int) -> dict[str, Any]:
    """Every purchase with three properties as an Arrow table: ours, and a record each over the raw driver."""
    query = (
        "MATCH (a:User)-[r:BOUGHT]->(b:Product) RETURN a.user_id AS source, b.product_id AS target, "
        "duration.inSeconds($epoch, r.first_at).seconds AS first_at, r.count AS count, r.spend AS spend"
    )
    ours, raw = [], []
    with open_store(url) as store, _driver(url) as driver, driver.session() as session:
        store.apply_schema(load_schema())
        for turn in range(repeats):
            begin = time.monotonic()
            table = store.read_relationships(BOUGHT, ["first_at", "count", "spend"])
            ours.append(time.monotonic() - begin)
            if turn == 0:
                begin = time.monotonic()
                records = [record.values() for record in session.run(query, epoch=_EPOCH)]
                columns = [pa.array(column) for column in zip(*records, strict=True)]
                raw.append(time.monotonic() - begin)
                assert len(columns[0]) == table.num_rows
                del records, columns
    return {"rows": table.num_rows, "ours": ours, "raw": raw}


def wipe(url: str) -> dict[str, Any]:
    """Removes every node and relationship of a server."""
    with _driver(url) as driver, driver.session() as session:
        session.run("MATCH ()-[r]->() CALL (r) { DELETE r } IN TRANSACTIONS OF 20000 ROWS").consume()
        session.run("MATCH (n) CALL (n) { DELETE n } IN TRANSACTIONS OF 20000 ROWS").consume()
    return {}


def nodes(url: str) -> dict[str, Any]:
    """How many nodes a server holds."""
    with _driver(url) as driver:
        return {"nodes": driver.execute_query("MATCH (n) RETURN count(n) AS n").records[0]["n"]}


def _driver(url: str) -> Driver:
    auth = ("neo4j", os.environ[PASSWORD_VARIABLE])
    return GraphDatabase.driver(url, auth=auth, notifications_min_severity="OFF", telemetry_disabled=True)
