"""The lock of a block of changes in Neo4j: an open transaction that ends with its process."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from datetime import datetime, timezone
from typing import Any

from neo4j import WRITE_ACCESS, Driver, Session, Transaction
from neo4j.exceptions import DriverError, Neo4jError

from kgdistill.errors import StoreLockedError, StoreUnreachableError
from kgdistill.store.neo4j.cypher import LOCK
from kgdistill.store.neo4j.errors import translated

# One that nobody holds is taken in milliseconds; a server at work may take longer over it.
_AT_LEAST_S = 2.0
_PING_S = 20.0
_SET_UP_S = 10.0
_GONE = (Neo4jError, DriverError, OSError)


class ChangesLock:
    """One process at a time, for as long as it lives or until `release`.

    The node `changes` is locked by a transaction that stays open: when the process dies, the server
    sees its connection close and rolls back. Who has taken it last stands, committed, in the node `holder`.

    Args:
        driver: what connects to the server.
        url: where that is, for messages.
        retry_s: how long, in seconds, to try to take it again after the server went away.
    """

    def __init__(self, driver: Driver, url: str, retry_s: float) -> None:
        self._driver, self._url, self._retry_s = driver, url, retry_s
        self._token = secrets.token_hex(8)
        self._session: Session | None = None
        self._transaction: Transaction | None = None
        self._mutex = threading.RLock()
        self._ended = threading.Event()

    def take(self, wait_s: float) -> None:
        """Takes it, and keeps its connection from looking idle.

        Raises:
            StoreLockedError: another process holds it, still after `wait_s` seconds.
        """
        with translated(self._url):
            self._set_up()
            if not self._acquired(max(wait_s, _AT_LEAST_S)):
                raise self._refusal()
            try:
                values = {
                    "token": self._token,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                }
                query = f"MERGE (h:{LOCK} {{id: 'holder'}}) SET h += $values"
                self._driver.execute_query(query, values=values)
            except BaseException:
                self.release()
                raise
        threading.Thread(target=self._stay_awake, name="kgdistill-lock", daemon=True).start()

    def ensure(self) -> None:
        """Takes it again where the server went away meanwhile.

        Raises:
            StoreLockedError: another process has taken it since.
            StoreUnreachableError: the server does not come back.
        """
        with self._mutex:
            if self._is_alive():
                return
            self._drop()
            until = time.monotonic() + self._retry_s
            while True:
                try:
                    with translated(self._url):
                        taken = self._acquired(_AT_LEAST_S)
                        holder = self._holder()
                    break
                except StoreUnreachableError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.5)
            if taken and holder.get("token") == self._token:
                return
            self._drop()
            raise self._refusal("the connection was lost, and meanwhile ")

    def release(self) -> None:
        """Lets it go; a lost connection has done so already."""
        self._ended.set()
        with self._mutex:
            self._drop()

    def _set_up(self) -> None:
        """The nodes and what makes each the only one of its id; only once, for it waits for the holder."""
        known = f"SHOW CONSTRAINTS YIELD labelsOrTypes AS l WHERE l = ['{LOCK.strip('`')}'] RETURN count(*)"
        if not self._driver.execute_query(known).records[0][0]:
            text = f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{LOCK}) REQUIRE n.id IS UNIQUE"
            with self._driver.session() as session, session.begin_transaction(timeout=_SET_UP_S) as tx:
                tx.run(text).consume()
                tx.commit()
        if not self._driver.execute_query(f"MATCH (n:{LOCK} {{id: 'changes'}}) RETURN 1").records:
            self._driver.execute_query(f"MERGE (:{LOCK} {{id: 'changes'}})")

    def _acquired(self, patience_s: float) -> bool:
        """Whether the lock was got in time."""
        mark = secrets.token_hex(8)
        failure: list[Exception] = []

        def acquire() -> None:
            session = self._driver.session(default_access_mode=WRITE_ACCESS)
            try:
                # Zero: no limit, whatever the server's own is.
                transaction = session.begin_transaction(metadata={"kgdistill": mark}, timeout=0)
                transaction.run(f"MATCH (n:{LOCK} {{id: 'changes'}}) SET n.held = true").consume()
            except Exception as error:
                failure.append(error)
                with contextlib.suppress(*_GONE):
                    session.close()
                return
            self._session, self._transaction = session, transaction

        # The server has no limit for waiting for a lock alone: another session ends the wait.
        waiting = threading.Thread(target=acquire, daemon=True)
        waiting.start()
        try:
            waiting.join(patience_s)
        finally:
            if waiting.is_alive():
                self._terminate(mark)
                waiting.join(_SET_UP_S)
        if failure and not _was_ended(failure[0]):
            raise failure[0]
        return self._transaction is not None

    def _terminate(self, mark: str) -> None:
        query = (
            "SHOW TRANSACTIONS YIELD transactionId AS id, metaData AS m WHERE m.kgdistill = $mark RETURN id"
        )
        with contextlib.suppress(*_GONE), self._driver.session() as session:
            ids = [record[0] for record in session.run(query, mark=mark)]
            session.run("TERMINATE TRANSACTIONS $ids", ids=ids).consume()

    def _holder(self) -> dict[str, Any]:
        records = self._driver.execute_query(f"MATCH (n:{LOCK} {{id: 'holder'}}) RETURN n").records
        return dict(records[0][0]) if records else {}

    def _refusal(self, before: str = "") -> StoreLockedError:
        with translated(self._url):
            held = self._holder()
        who = "another process"
        if held:
            who = f"process {held.get('pid')} on {held.get('host')} (since {held.get('since')})"
        return StoreLockedError(
            f"{before}{who} {'took' if before else 'has'} this store for its changes",
            where=self._url,
            hint="wait until it is done or end it, then run this again",
        )

    def _is_alive(self) -> bool:
        if self._transaction is None:
            return False
        try:
            self._transaction.run("RETURN 1").consume()
        except _GONE:
            return False
        return True

    def _drop(self) -> None:
        session, self._session, self._transaction = self._session, None, None
        if session is not None:
            with contextlib.suppress(*_GONE):
                session.close()

    def _stay_awake(self) -> None:
        # Whatever cuts idle connections sees this one at work; a lost one is for `ensure` to take again.
        while not self._ended.wait(_PING_S):
            with self._mutex:
                if not self._ended.is_set() and not self._is_alive():
                    self._drop()


def _was_ended(error: Exception) -> bool:
    code = error.code or "" if isinstance(error, Neo4jError) else ""
    return "Terminated" in code or "LockClientStopped" in code
