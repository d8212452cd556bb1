"""Saved Cypher queries: `graph/queries/NAME.cypher`, each with what it tells and takes in its header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.resources import graph_dir
from kgdistill.store.protocol import GraphStore, Parameter

Dialect = Literal["neo4j", "ladybug"]
_DIALECTS: tuple[Dialect, ...] = ("neo4j", "ladybug")
_PARAMETER = re.compile(r"\$(\w+) (string|int|float)(?: = (\S+))?: (.+)")
_TYPES: dict[str, type] = {"string": str, "int": int, "float": float}


@dataclass(frozen=True)
class QueryParameter:
    """One parameter of a saved query; it must be given where `default` is None."""

    name: str
    type: Literal["string", "int", "float"]
    default: str | int | float | None
    description: str


@dataclass(frozen=True)
class SavedQuery:
    """A saved query; `text` by dialect, the same one twice where the stores agree."""

    name: str
    description: str
    parameters: tuple[QueryParameter, ...]
    example: str
    text: Mapping[Dialect, str]


def saved_queries(folder: str | Path | None = None) -> list[SavedQuery]:
    """All saved queries by name; those of the project where `folder` is None.

    Raises:
        InputError: a file's header is not as it should be, or a query lacks one store's text.
    """
    place = Path(folder) if folder is not None else graph_dir() / "queries"
    files: dict[str, dict[Dialect, Path]] = {}
    for file in sorted(place.glob("*.cypher")):
        name, _, dialect = file.name.removesuffix(".cypher").partition(".")
        if dialect not in ("", *_DIALECTS):
            raise InputError(f"unknown store {dialect!r}", where=str(file), hint="neo4j or ladybug")
        files.setdefault(name, {}).update({d: file for d in _DIALECTS if dialect in ("", d)})
    return [_read(name, texts) for name, texts in files.items()]


def saved_query(name: str, folder: str | Path | None = None) -> SavedQuery:
    """One saved query.

    Raises:
        InputError: there is none of this name; the nearest one is named.
    """
    known = {query.name: query for query in saved_queries(folder)}
    if name not in known:
        hint = nearest(name, known)
        raise InputError(f"there is no saved query {name!r}", hint=f"{hint}there are: {', '.join(known)}")
    return known[name]


def run_query(
    store: GraphStore,
    name: str,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    limit: int = 1000,
    timeout_s: float = 30.0,
) -> pa.Table:
    """Runs a saved query; the same rows from every store.

    Args:
        store: an open store.
        name: of the saved query.
        parameters: text is read as the parameter's type, as a command line gives it.
        limit, timeout_s: as `GraphStore.query`.

    Raises:
        InputError: unknown query; unknown, missing or unreadable parameter.
        QueryError: from the store.
    """
    query = saved_query(name)
    given = dict(parameters or {})
    known = {p.name: p for p in query.parameters}
    for key in given:
        if key not in known:
            takes = ", ".join(known) or "none"
            raise InputError(
                f"has no parameter {key!r}",
                where=f"query {name}",
                hint=f"{nearest(key, known)}it takes: {takes}",
            )
    values = {p.name: _value(p, given.get(p.name), name) for p in query.parameters}
    text = query.text[dialect_of(store)]
    # One store's text may need fewer of them.
    used = {key: value for key, value in values.items() if re.search(rf"\${key}\b", _body(text))}
    return store.query(text, used, limit=limit, timeout_s=timeout_s)


def dialect_of(store: GraphStore) -> Dialect:
    """Which Cypher the store speaks."""
    return "ladybug" if store.url.startswith(("ladybug:", "memory:")) else "neo4j"


def _value(parameter: QueryParameter, given: Parameter, query: str) -> Parameter:
    value = parameter.default if given is None else given
    if value is None:
        raise InputError(
            f"needs the parameter {parameter.name!r}: {parameter.description}", where=f"query {query}"
        )
    if not isinstance(value, str) or parameter.type == "string":
        return str(value) if parameter.type == "string" else value
    try:
        return int(value) if parameter.type == "int" else float(value)
    except ValueError as error:
        raise InputError(
            f"the parameter {parameter.name!r} is {value!r}, not {parameter.type}", where=f"query {query}"
        ) from error


def _read(name: str, files: Mapping[Dialect, Path]) -> SavedQuery:
    missing = [d for d in _DIALECTS if d not in files]
    if missing:
        raise InputError(
            f"the query {name} has no text for {missing[0]}", where=str(next(iter(files.values())))
        )
    first = files[_DIALECTS[0]]
    description: list[str] = []
    parameters: list[QueryParameter] = []
    example: str | None = None
    for line in first.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        text = line[2:].strip()
        found = _PARAMETER.fullmatch(text)
        if found is not None:
            label, kind, default, words = found.groups()
            value = _TYPES[kind](default) if default is not None else None
            parameters.append(QueryParameter(label, kind, value, words))  # type: ignore[arg-type]
        elif text.startswith("example:"):
            example = text.removeprefix("example:").strip()
        else:
            description.append(text)
    if not description or example is None:
        raise InputError("its header lacks the description or the example", where=str(first))
    texts = {d: file.read_text(encoding="utf-8") for d, file in files.items()}
    used = set(re.findall(r"\$(\w+)", "\n".join(_body(text) for text in texts.values())))
    if used != {p.name for p in parameters}:
        odd = sorted(used ^ {p.name for p in parameters})[0]
        raise InputError(
            f"the parameter {odd!r} is in the header or in the text, not in both", where=str(first)
        )
    return SavedQuery(name, " ".join(description), tuple(parameters), example, texts)


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))
