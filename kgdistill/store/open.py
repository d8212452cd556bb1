"""From a URL to an open store."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from urllib.parse import urlsplit

from kgdistill.errors import InputError, StoreAuthError
from kgdistill.store.ladybug.store import LadybugStore, MemoryStore
from kgdistill.store.protocol import GraphStore

PASSWORD_VARIABLE = "KGDISTILL_NEO4J_PASSWORD"


def open_store(
    url: str, *, user: str = "neo4j", password: str | None = None, wait_s: float = 0.0
) -> GraphStore:
    """Opens the graph store at `url`.

    Args:
        url: `ladybug:PATH` (a folder), `memory:`, `neo4j://HOST:PORT` or `bolt://HOST:PORT` (also with `+s`).
        user: the Neo4j user.
        password: the Neo4j password; where None, the environment's KGDISTILL_NEO4J_PASSWORD, else asked
            for on a terminal.
        wait_s: how long, in seconds, to wait for another process that holds an embedded store.

    Raises:
        InputError: an address of another form, or one that carries a password.
        StoreError: no usable store there.
        StoreAuthError: no password, or a wrong one.
        StoreLockedError: another process holds the embedded store, still after `wait_s`.
        StoreUnreachableError: nothing answers there.
    """
    scheme, colon, rest = url.partition(":")
    if url == "memory:":
        return MemoryStore()
    if scheme == "ladybug" and rest:
        return LadybugStore(rest, wait_s=wait_s)
    if colon and scheme in ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"):
        parts = urlsplit(url)
        if "@" in parts.netloc:
            # Such an address ends up in logs and shell histories: refused, and not repeated here.
            raise InputError(
                "the store's address carries a user name or password",
                hint=f"give the address alone; the password goes into {PASSWORD_VARIABLE} or is asked for",
            )
        from kgdistill.store.neo4j.store import Neo4jStore

        return Neo4jStore(url, user=user, password=_password(url, password))
    shown = f"{scheme}:…" if colon else repr(url)
    raise InputError(
        f"{shown} is not the address of a store",
        hint="use ladybug:PATH, memory:, neo4j://HOST:PORT or bolt://HOST:PORT",
    )


def _password(url: str, given: str | None) -> str:
    if given is not None:
        return given
    known = os.environ.get(PASSWORD_VARIABLE)
    if known:
        return known
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass(f"Password for {url}: ")
    raise StoreAuthError("no password was given", where=url, hint=f"set {PASSWORD_VARIABLE}")
