"""Fences: what several processes that write for one job hold, so that none outlives the job unnoticed.

Every transaction of such a process first locks its fence. Whoever takes the store over removes all fences:
that waits for transactions on their way to a commit, and the next one of the process finds none and stops.
"""

from __future__ import annotations

from collections.abc import Sequence

from neo4j import ManagedTransaction

from kgdistill.errors import StoreLockedError

_FENCE = "`_KgdistillFence`"


def drop_fences(tx: ManagedTransaction, only: Sequence[str] | None = None) -> None:
    """Removes these fences, or all."""
    which = "" if only is None else " WHERE f.id IN $ids"
    tx.run(f"MATCH (f:{_FENCE}){which} DELETE f", ids=list(only or ())).consume()


def put_fences(tx: ManagedTransaction, ids: Sequence[str]) -> None:
    """Puts up a fence of each id, where it is not there."""
    tx.run(f"UNWIND $ids AS id MERGE (f:{_FENCE} {{id: id}})", ids=list(ids)).consume()


def hold_fence(tx: ManagedTransaction, fence: str, url: str) -> None:
    """Locks the fence until the transaction ends.

    Raises:
        StoreLockedError: it is gone.
    """
    query = f"MATCH (f:{_FENCE} {{id: $id}}) SET f.held = true RETURN f.id"
    if tx.run(query, id=fence).single() is None:
        raise StoreLockedError(
            "another process has taken this store over for its changes",
            where=url,
            hint="wait until it is done or end it, then run this again",
        )
