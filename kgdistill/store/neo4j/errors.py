"""The driver's exceptions in kgdistill's words; no message of ours carries a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neo4j.exceptions import (
    AuthError,
    ConfigurationError,
    DriverError,
    IncompleteCommit,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)

from kgdistill.errors import InputError, StoreAuthError, StoreError, StoreUnreachableError
from kgdistill.store.query.child import RefusedError, too_long

_MEMORY = ("MemoryPoolOutOfMemoryError", "OutOfMemoryError", "TransactionOutOfMemoryError")
_LOGIN = ("Unauthorized", "AuthenticationRateLimit", "CredentialsExpired", "AuthProviderFailed")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raises StoreUnreachableError, StoreAuthError, InputError or StoreError for what the driver raises."""
    try:
        yield
    except (Neo4jError, DriverError, ConfigurationError, OSError) as error:
        raise as_store_error(error, url) from error


def as_store_error(error: Exception, url: str) -> InputError | StoreError:
    """The error of ours that says what `error` means to the person at the keyboard."""
    if isinstance(error, Neo4jError):
        return _from_server(error, url)
    if isinstance(error, ConfigurationError):
        return InputError(f"cannot be used as a Neo4j address: {error}", where=url)
    if isinstance(error, (ServiceUnavailable, SessionExpired, IncompleteCommit, OSError)):
        return StoreUnreachableError(
            "no Neo4j answers there",
            where=url,
            hint="start it (`kgdistill neo4j start` or `docker compose up -d neo4j`) and run this again; "
            "what was already written is kept",
        )
    return StoreError(f"the driver failed: {error}", where=url)


def is_out_of_memory(error: Neo4jError) -> bool:
    """Whether the server gave up for want of memory, which the driver would retry in vain."""
    return (error.code or "").rsplit(".", 1)[-1] in _MEMORY


def query_refusal(error: Neo4jError, timeout_s: float) -> RefusedError | None:
    """The refusal of a query that failed by its own fault; None for any other failure."""
    code = error.code or ""
    if "TransactionTimedOut" in code:
        return too_long(timeout_s)
    if is_out_of_memory(error):
        return RefusedError("the query needs more memory than the server may use", "narrow it")
    if code.endswith(("Statement.AccessMode", "Security.Forbidden")):
        return RefusedError("the query would write, and queries may only read")
    if code.startswith("Neo.ClientError.") and not isinstance(error, AuthError):
        return RefusedError(error.message or code)
    return None


def _from_server(error: Neo4jError, url: str) -> StoreError:
    code = (error.code or "").rsplit(".", 1)[-1]
    if code in _LOGIN or isinstance(error, AuthError):
        return StoreAuthError(
            "too many wrong passwords in a row"
            if code == "AuthenticationRateLimit"
            else "refused the user or password",
            where=url,
            hint="set KGDISTILL_NEO4J_PASSWORD, or wait a few seconds and try again",
        )
    if is_out_of_memory(error):
        return StoreError(
            "the server has too little memory for this in one transaction",
            where=url,
            hint="give it a larger heap (`kgdistill neo4j start --heap 2g`), or write less at a time",
        )
    if _passes(error):
        return StoreUnreachableError(
            f"the server cannot do it now: {error.message or error.code}",
            where=url,
            hint="run this again when it is up; what was already written is kept",
        )
    return StoreError(f"the server refused: {error.message or error.code}", where=url)


def _passes(error: Neo4jError) -> bool:
    """Whether it is the server's state and not the request: such as one that is shutting down."""
    message = (error.message or "").lower()
    return error.is_retryable() or "shutdown" in message or "shutting down" in message
