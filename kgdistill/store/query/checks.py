"""What every store checks of a query before anything is sent: its limits, its text, its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kgdistill.errors import QueryError
from kgdistill.store.cypher_tokens import UnclosedError, parameters_of, tokens
from kgdistill.store.protocol import Parameter

MOST_SECONDS = 86_400.0
MOST_CHARACTERS = 2**20


def check_limits(limit: int, timeout_s: float, where: str) -> None:
    """Raises QueryError for a row limit or a timeout that is none."""
    if limit < 1:
        raise QueryError("the row limit must be 1 or more", where=where)
    if not 0 < timeout_s <= MOST_SECONDS:
        raise QueryError(
            f"the timeout is {timeout_s:g} seconds: it must be above 0 and at most {MOST_SECONDS:,.0f}",
            where=where,
        )


def check_text(cypher: str, where: str) -> None:
    """Raises QueryError for a text that no engine should see: empty, too long, no characters."""
    if len(cypher) > MOST_CHARACTERS:
        raise QueryError(
            f"the query is longer than {MOST_CHARACTERS:,} characters",
            where=where,
            hint="give long lists as parameters: … IN $keys",
        )
    _check_characters(cypher, "the query", where)


def check_parameters(cypher: str, parameters: Mapping[str, Parameter], where: str) -> dict[str, Any]:
    """The values as an engine takes them: lists of one kind, whole numbers of 64 bits.

    Raises:
        QueryError: a value of another kind; a parameter that is given and not used, or used and not given.
    """
    try:
        found, _ = tokens(cypher)
    except UnclosedError as error:
        raise QueryError(str(error), where=where) from error
    if not found:
        raise QueryError("the query is empty", where=where, hint="such as: MATCH (n) RETURN count(*) AS n")
    used = parameters_of(found)
    for name in used:
        if name not in parameters:
            given = ", ".join(f"${other}" for other in parameters) or "none"
            raise QueryError(
                f"the query uses the parameter ${name}, which is not given (given: {given})",
                where=where,
                hint=f"give it: -p {name}=VALUE, or parameters={{{name!r}: …}}",
            )
    for name in parameters:
        if name not in used:
            names = ", ".join(f"${other}" for other in used) or "none"
            raise QueryError(
                f"the parameter {name!r} is given, but the query does not use it (it uses: {names})",
                where=where,
                hint=f"write ${name} where the value belongs, or leave it out",
            )
    return {name: _checked(value, f"the parameter ${name}", where) for name, value in parameters.items()}


def _checked(value: Parameter, what: str, where: str) -> Any:
    if not isinstance(value, list | tuple):
        _check_scalar(value, what, where)
        return value
    kinds = set()
    for item in value:
        _check_scalar(item, f"an item of {what}", where)
        if item is not None:
            kinds.add(
                "number" if isinstance(item, int | float) and not isinstance(item, bool) else type(item)
            )
    if len(kinds) > 1:
        raise QueryError(
            f"{what} is a list of values of different kinds",
            where=where,
            hint="a list holds texts, or numbers, or times, or true and false",
        )
    if any(isinstance(item, float) for item in value):
        return [None if item is None else float(item) for item in value]
    return list(value)


def _check_scalar(value: object, what: str, where: str) -> None:
    if isinstance(value, str):
        _check_characters(value, what, where)
    elif isinstance(value, bool) or value is None or isinstance(value, datetime):
        return
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise QueryError(f"{what} does not fit in 64 bits", where=where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise QueryError(f"{what} is {value}, not a finite number", where=where)
    else:
        raise QueryError(
            f"{what} is a {type(value).__name__}",
            where=where,
            hint="it may be a text, a number, true, false, null, a time, or a list of such values",
        )


def _check_characters(text: str, what: str, where: str) -> None:
    if "\0" in text:
        raise QueryError(f"{what} holds a NUL character", where=where)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(
            f"{what} holds bytes that are no text, at character {error.start + 1}", where=where
        ) from error
