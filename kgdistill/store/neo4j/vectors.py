"""Vector indexes: one for the vectors that one run wrote for one label in one space.

Nodes that an index holds carry a label of its name; those that may be looked for by it carry `INDEXED` too.
Each index is dropped before its vectors change and made anew after that: vectors go into a living index ten
times as slowly. Whatever happens in between, what carries no `INDEXED` is found by comparing all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from neo4j import ManagedTransaction

from kgdistill.errors import KgdistillError
from kgdistill.progress import step
from kgdistill.store.neo4j.cypher import quoted
from kgdistill.store.neo4j.write import one

PREFIX, INDEXED = "Vectors_", "Indexed"
_MOST_DIMENSIONS = 4096
_BATCH = 20_000
_AWAIT_S = 900

_Write = Callable[[Callable[[ManagedTransaction], Any]], Any]


@contextmanager
def reindexed(
    write: _Write, label: str, vector: str, by: Sequence[str], of: Mapping[str, Any]
) -> Iterator[None]:
    """Drops the indexes of nodes of `label` whose properties equal `of`, and makes them anew after the block.

    Args:
        write: runs a piece of work in a transaction.
        label: of the nodes.
        vector: their property that is a vector.
        by: nodes that agree in these properties share an index.
        of: property and value; empty for all.
    """
    for name in write(partial(_forget, label=label, of=of)):
        write(partial(_drop, name=name))
    try:
        yield
    except BaseException:
        with suppress(KgdistillError):
            _make(write, label, vector, by, of)
        raise
    _make(write, label, vector, by, of)


def _drop(tx: ManagedTransaction, name: str) -> None:
    tx.run(f"DROP INDEX {quoted(name)} IF EXISTS").consume()


def _forget(tx: ManagedTransaction, label: str, of: Mapping[str, Any]) -> list[str]:
    """Says of the nodes that no index finds them; returns the names of the indexes that do."""
    where, values = _where(of)
    found = one(
        tx,
        f"MATCH (n:{quoted(label)}){where} UNWIND labels(n) AS name WITH name WHERE name STARTS WITH $prefix "
        "RETURN collect(DISTINCT name)",
        {**values, "prefix": PREFIX},
    )
    tx.run(f"MATCH (n:{quoted(label)}:{INDEXED}){where} REMOVE n:{INDEXED}", values).consume()
    return list(found or [])


def _make(write: _Write, label: str, vector: str, by: Sequence[str], of: Mapping[str, Any]) -> None:
    where, values = _where(of)
    keys = ", ".join(f"n.{quoted(name)}" for name in by)
    query = (
        f"MATCH (n:{quoted(label)}){where} WITH [{keys}] AS part, n WHERE n.{quoted(vector)} IS NOT NULL "
        f"RETURN part, collect(DISTINCT size(n.{quoted(vector)})) AS sizes"
    )
    groups: list[tuple[list[str], list[int]]] = write(lambda tx: [tuple(r) for r in tx.run(query, values)])
    # An index holds vectors of one length.
    fit = [
        (part, sizes[0]) for part, sizes in groups if len(sizes) == 1 and 1 <= sizes[0] <= _MOST_DIMENSIONS
    ]
    if not fit:
        return
    with step("indexing vectors", total=len(fit)) as work:
        for part, size in fit:
            _index(write, label, vector, dict(zip(by, part, strict=True)), size)
            work.advance()


def _index(write: _Write, label: str, vector: str, group: Mapping[str, Any], size: int) -> None:
    # From a digest alone: a run may be called anything, and a name in Cypher may not.
    name = PREFIX + hashlib.sha256("\0".join(map(str, group.values())).encode()).hexdigest()[:16]
    where, values = _where(group)
    match = f"MATCH (n:{quoted(label)}){where}"

    def labelled(added: str) -> None:
        query = f"{match} AND NOT n:{added} WITH n LIMIT {_BATCH} SET n:{added} RETURN count(n)"
        while write(lambda tx: one(tx, query, values)):
            pass

    # One whose nodes went otherwise may still be there.
    write(partial(_drop, name=name))
    labelled(name)
    write(
        lambda tx: tx.run(
            f"CREATE VECTOR INDEX {name} FOR (n:{name}) ON (n.{quoted(vector)}) OPTIONS "
            "{indexConfig: {`vector.dimensions`: $size, `vector.similarity_function`: 'cosine'}}",
            size=size,
        ).consume()
    )
    write(lambda tx: tx.run("CALL db.awaitIndex($name, $seconds)", name=name, seconds=_AWAIT_S).consume())
    labelled(INDEXED)


def _where(of: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    parts = " AND ".join(f"n.{quoted(name)} = $r{i}" for i, name in enumerate(of))
    return (f" WHERE {parts}" if parts else ""), {f"r{i}": value for i, value in enumerate(of.values())}
