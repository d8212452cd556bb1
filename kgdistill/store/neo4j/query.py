"""A person's queries to Neo4j, which a process of their own asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from kgdistill.errors import (
    InputError,
    QueryError,
    StoreAuthError,
    StoreError,
    StoreUnreachableError,
)
from kgdistill.nearest import nearest
from kgdistill.store.neo4j.checks import remembered
from kgdistill.store.neo4j.fence import check_words
from kgdistill.store.neo4j.reader import MEMORY, packed, told
from kgdistill.store.neo4j.tokens import tokens
from kgdistill.store.neo4j.typed import typed
from kgdistill.store.neo4j.work import check_work
from kgdistill.store.notes import with_notes
from kgdistill.store.protocol import Parameter
from kgdistill.store.query.process import START_S, NotBegunError, QueryChild
from kgdistill.store.schema import Schema

# What `_KgdistillSchema.times` says of a store whose times have a zone.
ZONED = "zoned"
_FAILURES = {kind.__name__: kind for kind in (InputError, StoreAuthError, StoreError, StoreUnreachableError)}


class Neo4jQueries:
    """Runs queries in a process with limits of time, memory and size; it starts with the first query.

    Args:
        url: the server.
        user: the user's name.
        password: the user's password; it goes to the process through a pipe.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._login = {"url": url, "user": user, "password": password}
        self._child = QueryChild("kgdistill.store.neo4j.reader", url, MEMORY)
        self._schema: Schema | None = None
        self._zoned = True
        self._fresh = False

    def query(
        self, cypher: str, parameters: Mapping[str, Parameter], limit: int, timeout_s: float
    ) -> pa.Table:
        """Runs one query that only reads; see `GraphStore.query`.

        Raises:
            QueryError: what is wrong with the query, or a limit that it went over.
            StoreError: the server cannot be asked.
        """
        try:
            words = tokens(cypher)
            check_words(words)
            _check_parameters(parameters)
            check_work(words, parameters)
            # A store without a schema, or with an earlier version's times, may have become another since.
            if not (self._child.alive and self._fresh and self._schema is not None and self._zoned):
                self._open()
            values: Mapping[str, Any] = parameters
            notes: list[str] = []
            if self._schema is not None:
                sent = typed(cypher, words, parameters, self._schema, zoned=self._zoned)
                cypher, values, notes = sent.cypher, sent.values, sent.notes
        except QueryError as error:
            raise QueryError(f"the query {error.message}", where=self._url, hint=error.hint) from error
        request = {
            "cypher": cypher,
            "parameters": packed(values),
            "query_s": timeout_s,
            "known": [] if self._schema is None else _names(self._schema),
        }
        ask = partial(self._child.ask, "query", request, limit=limit, timeout_s=timeout_s)
        try:
            table = ask()
        except NotBegunError:
            # It was ended from outside while it waited.
            self._open()
            table = ask()
        says = told(table.schema)
        _raise_failure(says, self._url)
        if "unknown" in says and self._schema is not None:
            raise _unknown(says["unknown"], self._schema, self._url)
        notes += says.get("notes", [])
        return with_notes(table, notes)

    def forget(self) -> None:
        """The schema that the store remembers has changed."""
        self._fresh = False

    def stop(self) -> None:
        """Ends the process."""
        self._child.stop()

    def _open(self) -> None:
        says = told(self._child.ask("open", self._login, timeout_s=START_S).schema)
        _raise_failure(says, self._url)
        self._schema = remembered(says.get("shape"), self._url)
        self._zoned = says.get("times") == ZONED
        self._fresh = True


def _check_parameters(parameters: Mapping[str, Parameter]) -> None:
    for name, value in parameters.items():
        items = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        for item in items:
            if not isinstance(item, str | int | float | datetime | None):
                raise QueryError(
                    f"cannot take the parameter {name!r}, which holds a {type(item).__name__}",
                    hint="give a text, number, time, true, false, null or a list of these",
                )
            if isinstance(item, int) and not -(2**63) <= item < 2**63:
                raise QueryError(f"cannot take the parameter {name!r}: a number does not fit in 64 bits")


def _names(schema: Schema) -> list[str]:
    return [*schema.nodes, *schema.relationships, *schema.property_types]


def _raise_failure(says: Mapping[str, Any], url: str) -> None:
    failure = says.get("failure")
    if failure is not None:
        raise _FAILURES[failure["kind"]](failure["message"], where=url, hint=failure["hint"])


def _unknown(pairs: Sequence[tuple[str, str]], schema: Schema, url: str) -> QueryError:
    kind, name = pairs[0]
    names = {
        "label": list(schema.nodes),
        "relationship type": list(schema.relationships),
        "property": list(schema.property_types),
    }[kind]
    several = "" if kind == "property" else f"there are: {', '.join(names)}"
    hint = f"{nearest(name, names)}{several}" or "`kgdistill schema` shows all"
    return QueryError(f"the store has no {kind} {name!r}", where=url, hint=hint)
