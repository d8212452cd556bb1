"""What the Neo4j store checks: addresses, and schemas that meet."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from neo4j import ManagedTransaction
from pydantic import ValidationError

from kgdistill.errors import InputError, SchemaError, StoreSchemaMismatchError
from kgdistill.store.schema import Schema

_SCHEMES = frozenset(f"{name}{tls}" for name in ("bolt", "neo4j") for tls in ("", "+s", "+ssc"))


def check_address(url: str) -> None:
    """InputError for a URL that no server can have."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            "is no Neo4j address", where=url, hint="write it like bolt://HOST:PORT or neo4j://HOST:PORT"
        )


def execute_all(tx: ManagedTransaction, statements: Sequence[str]) -> None:
    """Runs statements whose answers nobody reads."""
    for statement in statements:
        tx.run(statement).consume()


def united(known: Schema, new: Schema, url: str) -> Schema:
    """Everything that either knows; where both know a type, its properties and endpoints together."""
    try:
        return new.joined(known)
    except SchemaError as error:
        raise StoreSchemaMismatchError(
            f"{error.where or 'the schema'}: against what the store holds, {error.message}",
            where=url,
            hint="use the schema it was made with, or ingest into an empty store",
        ) from error


def remembered(text: str | None, url: str) -> Schema | None:
    """The schema that a store keeps as JSON; None where it keeps none."""
    try:
        return Schema.model_validate_json(text) if text else None
    except ValidationError as error:
        raise StoreSchemaMismatchError(
            "the schema that the store remembers cannot be read by this version",
            where=url,
            hint="use the version that made it, or ingest into an empty store",
        ) from error
