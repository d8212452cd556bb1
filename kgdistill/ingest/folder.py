"""A folder, or tables, with one file or table per type of the schema need no mapping: it is written here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.model import GraphTables, TypeKey, type_name
from kgdistill.ingest.readers import column_names, find_sources
from kgdistill.nearest import nearest
from kgdistill.store.schema import Schema

_LINES = {"at": "at", "quantity": "first_quantity", "amount": "spend"}
_SUFFIX = re.compile(r"\.(csv|tsv|jsonl|ndjson|parquet|arrow|feather)(\.gz|\.zst)?\Z", re.IGNORECASE)


def folder_mapping(folder: str | Path, schema: Schema) -> Mapping:
    """The mapping of a folder: Product.csv, User.tsv.gz, BOUGHT.parquet, Category-PART_OF-Department.csv.

    A node file has the type's key column and any of its properties; a relationship file has `source`,
    `target` and any properties. Where a type has several pairs of ends, the file's name carries them.
    BOUGHT and its like may also be given line by line (source, target, at[, quantity, amount]).

    Raises:
        InputError: the folder is missing or holds no such file; a file is named after no type of the
            schema, or has an unknown, repeated or missing column.
    """
    place = Path(folder)
    if not place.is_dir():
        hint = "name the folder; files with headings of their own: kgdistill ingest init FILES"
        raise InputError("is not a folder", where=str(place), hint=hint)
    files = sorted(p for p in place.iterdir() if _SUFFIX.search(p.name) and p.name[0] not in "._")
    if not files:
        raise InputError(
            "holds no CSV, TSV, JSON lines, Parquet or Arrow file",
            where=str(place),
            hint="one file per type is expected, such as User.csv, Product.csv and BOUGHT.csv; for files of "
            "other shapes: kgdistill ingest init",
        )
    chosen: dict[TypeKey, Path] = {}
    for file in files:
        key = type_of(file, schema)
        if key in chosen:
            raise InputError(f"holds the same type as {chosen[key].name}", where=str(file))
        chosen[key] = file
    sources: dict[str, dict[str, Any]] = {}
    for key, file in chosen.items():
        names = column_names(find_sources(type_name(key), [file.name], file.parent)[0])
        sources[type_name(key)] = {"files": [file.name], **_pieces(key, names, str(file), schema)}
    return parse_mapping({"version": 1, "name": "folder", "sources": sources}, where=str(place))


def tables_mapping(tables: GraphTables, schema: Schema) -> Mapping:
    """The mapping of tables that are named after types already: one source for each.

    Raises:
        InputError: there is no table, or one has an unknown, repeated or missing column.
        SchemaError: an unknown label or type.
    """
    whole: list[tuple[TypeKey, pa.Table]] = [*tables.nodes.items(), *tables.edges.items()]
    if not whole:
        raise InputError("there is no table", hint="give at least one")
    sources = {
        type_name(key): _pieces(key, table.column_names, type_name(key), schema) for key, table in whole
    }
    return parse_mapping({"version": 1, "name": "tables", "sources": sources}, where="tables")


def type_of(file: Path, schema: Schema) -> TypeKey:
    """The type that a file is named after.

    Raises:
        InputError: there is none, or the name leaves open which pair of ends is meant.
    """
    suffix = _SUFFIX.search(file.name)
    name = file.name[: suffix.start()] if suffix else file.stem
    if name in schema.nodes:
        return name
    if name in schema.relationships:
        pairs = schema.relationships[name].endpoints
        if len(pairs) > 1:
            names = ", ".join(f"{a}-{name}-{b}{file.name[len(name) :]}" for a, b in pairs)
            raise InputError(
                f"{name} has several pairs of ends", where=str(file), hint=f"name it one of: {names}"
            )
        return (pairs[0][0], name, pairs[0][1])
    by_name = {type_name(edge): edge for edge in schema.edges()}
    if name in by_name:
        return by_name[name]
    known = [*schema.nodes, *schema.relationships]
    hint = nearest(name, [*known, *by_name])
    raise InputError(
        "is named after no type of the schema", where=str(file), hint=f"{hint}types: {', '.join(known)}"
    )


def _pieces(key: TypeKey, names: list[str], where: str, schema: Schema) -> dict[str, Any]:
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise InputError(f"has the column {repeated[0]!r} twice", where=where)
    if isinstance(key, str):
        node = schema.node(key)
        required = [node.key, *(n for n, p in node.properties.items() if p.required)]
        _check(names, [node.key, *node.properties], required, where)
        properties = {n: {"column": n} for n in names if n != node.key}
        piece: dict[str, Any] = {"label": key, "key": {"column": node.key}, "properties": properties}
        return {"nodes": [piece]}
    rel = schema.relationship(key)
    ends = ["source", "target"]
    if rel.aggregated and "at" in names:
        known = [*ends, *(line for line, name in _LINES.items() if name in rel.properties or line == "at")]
        required = [*ends, "at"]
    else:
        known = [*ends, *rel.properties]
        required = [*ends, *(n for n, p in rel.properties.items() if p.required)]
        if rel.aggregated:
            lines = [line for line, name in _LINES.items() if name in rel.properties or line == "at"]
            _check(names, known, required, where, f"; or, for single lines: {', '.join([*ends, *lines])}")
    _check(names, known, required, where)
    piece = {
        "type": key[1],
        "from": {key[0]: {"column": "source"}},
        "to": {key[2]: {"column": "target"}},
        "properties": {n: {"column": n} for n in names if n not in ends},
    }
    return {"relationships": [piece]}


def _check(names: list[str], known: list[str], required: list[str], where: str, more: str = "") -> None:
    missing = [n for n in required if n not in names]
    for name in names:
        if name not in known:
            # A missing required column is the likeliest thing that a misspelt one was meant to be.
            hint = nearest(name, missing) or nearest(name, [k for k in known if k not in names])
            raise InputError(
                f"has a column {name!r}, which the schema does not know",
                where=where,
                hint=f"{hint}it can have: {', '.join(known)}{more}",
            )
    if missing:
        needs = f"it needs: {', '.join(required)}{more}"
        raise InputError(f"lacks the column {missing[0]!r}", where=where, hint=needs)
