"""Saved Cypher queries: `graph/queries/NAME.cypher`, each with what it tells and takes in its header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pyarrow as pa

from kgdistill.errors import InputError, QueryError
from kgdistill.explore.named import key_of, value_of
from kgdistill.nearest import nearest
from kgdistill.resources import graph_dir
from kgdistill.store.protocol import GraphStore, Parameter
from kgdistill.store.query.child import ROW_LIMIT, TOO_MANY_ROWS

Dialect = Literal["neo4j", "ladybug"]
_DIALECTS: tuple[Dialect, ...] = ("neo4j", "ladybug")
_PARAMETER = re.compile(r"\$(\w+) ([A-Za-z_]+(?:\.\w+)?)(?: = (\S+))?: (.+)")
_TYPES: dict[str, type] = {"string": str, "int": int, "float": float}


@dataclass(frozen=True)
class QueryParameter:
    """One parameter of a saved query.

    Attributes:
        name: without the `$`.
        type: string, int or float; a label (`Brand`), whose node is given by its id or name; or a property
            (`RECOMMENDED.run`), of which the value must stand in the graph.
        default: what holds where it is not given; None: it must be, unless `type` is a property of which
            there is one value alone.
        description: what it is.
    """

    name: str
    type: str
    default: str | int | float | None
    description: str

    @property
    def required(self) -> bool:
        """Whether the query cannot run without it, whatever stands in the graph."""
        return self.default is None and "." not in self.type


@dataclass(frozen=True)
class SavedQuery:
    """A saved query: its title and question; `text` by dialect, the same one twice where the stores agree."""

    name: str
    title: str
    description: str
    parameters: tuple[QueryParameter, ...]
    example: str
    text: Mapping[Dialect, str]


def saved_queries(folder: str | Path | None = None) -> list[SavedQuery]:
    """All saved queries by name; those of the project where `folder` is None.

    Raises:
        InputError: a file's header is not as it should be, or a query lacks one store's text.
    """
    return _read_folder(Path(folder)) if folder is not None else list(_own())


@lru_cache(maxsize=1)
def _own() -> tuple[SavedQuery, ...]:
    """The project's, read once: a page asks for them several times a click."""
    return tuple(_read_folder(graph_dir() / "queries"))


def _read_folder(place: Path) -> list[SavedQuery]:
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
        raise InputError(
            f"there is no saved query {name[:60]!r}", hint=f"{nearest(name, known)}see: kgdistill query list"
        )
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
        parameters: text is read as the parameter's type, as a command line gives it; a node is named by its
            id or name.
        limit, timeout_s: as `GraphStore.query`.

    Raises:
        InputError: unknown query; unknown, missing or unreadable parameter; a node that is not there, or a
            name that several have.
        QueryError: from the store; of too many rows it names the query's own parameter for fewer.
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
    plain = {p.name: _value(p, given.get(p.name), name) for p in query.parameters}
    values = {p.name: _found(store, p, plain[p.name], name) for p in query.parameters}
    text = query.text[dialect_of(store)]
    # One store's text may need fewer of them.
    used = {key: value for key, value in values.items() if re.search(rf"\${key}\b", _body(text))}
    try:
        return store.query(text, used, limit=limit, timeout_s=timeout_s)
    except QueryError as error:
        fewer = next((p for p in ("limit", "each") if p in known), None)
        if TOO_MANY_ROWS not in error.message or fewer is None:
            raise
        # Nobody can add LIMIT to a saved query, which has a parameter for it.
        hint = f"ask it for fewer: -p {fewer}={limit}; or raise the row limit ({ROW_LIMIT})"
        raise QueryError(error.message, where=error.where, hint=hint) from error


def dialect_of(store: GraphStore) -> Dialect:
    """Which Cypher the store speaks."""
    return "ladybug" if store.url.startswith(("ladybug:", "memory:")) else "neo4j"


def _value(parameter: QueryParameter, given: Parameter, query: str) -> Parameter:
    """The value in its type; None where one is to be found in the graph."""
    value = parameter.default if given is None else given
    if value is None:
        if not parameter.required:
            return None
        raise InputError(
            f"needs the parameter {parameter.name!r}: {parameter.description}", where=f"query {query}"
        )
    convert = _TYPES.get(parameter.type, str)
    if isinstance(value, str) or convert is str:
        try:
            value = convert(value)
        except ValueError as error:
            raise InputError(
                f"the parameter {parameter.name!r} is {value!r}, not {parameter.type}", where=f"query {query}"
            ) from error
    # Every whole number that a saved query asks for counts something.
    if parameter.type == "int" and isinstance(value, int) and value < 0:
        raise InputError(f"the parameter {parameter.name!r} is {value}, below 0", where=f"query {query}")
    return value


def _found(store: GraphStore, parameter: QueryParameter, value: Parameter, query: str) -> Parameter:
    """The key that is compared, where the parameter names something in the graph."""
    if parameter.type in _TYPES:
        return value
    where = f"query {query}, parameter {parameter.name!r}"
    kind, _, prop = parameter.type.partition(".")
    if prop:
        return value_of(store, kind, prop, None if value is None else str(value), where=where)
    return key_of(store, kind, str(value), where=where)


def _read(name: str, files: Mapping[Dialect, Path]) -> SavedQuery:
    missing = [d for d in _DIALECTS if d not in files]
    if missing:
        raise InputError(
            f"the query {name} has no text for {missing[0]}", where=str(next(iter(files.values())))
        )
    first = files[_DIALECTS[0]]
    title: str | None = None
    description: list[str] = []
    parameters: list[QueryParameter] = []
    example: str | None = None
    for line in first.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        text = line[2:].strip()
        found = _PARAMETER.fullmatch(text)
        if found is not None:
            parameter, kind, default, words = found.groups()
            if kind[0].islower() and kind not in _TYPES:
                raise InputError(
                    f"the parameter {parameter!r} is of the unknown type {kind!r}",
                    where=str(first),
                    hint=f"{nearest(kind, _TYPES)}a type is {', '.join(_TYPES)}, a label or TYPE.property",
                )
            value = _TYPES.get(kind, str)(default) if default is not None else None
            parameters.append(QueryParameter(parameter, kind, value, words))
        elif text.startswith("title:"):
            title = text.removeprefix("title:").strip()
        elif text.startswith("example:"):
            example = text.removeprefix("example:").strip()
        else:
            description.append(text)
    if not title or not description or example is None:
        raise InputError("its header lacks the title, the question or the example", where=str(first))
    texts = {d: file.read_text(encoding="utf-8") for d, file in files.items()}
    used = set(re.findall(r"\$(\w+)", "\n".join(_body(text) for text in texts.values())))
    if used != {p.name for p in parameters}:
        odd = sorted(used ^ {p.name for p in parameters})[0]
        raise InputError(
            f"the parameter {odd!r} is in the header or in the text, not in both", where=str(first)
        )
    return SavedQuery(name, title, " ".join(description), tuple(parameters), example, texts)


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))
