"""Mappings: YAML files that say what the columns of sources are in the graph."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as AnyMapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from kgdistill.declared import Part, fault, parse_yaml, read_text, validation_fault
from kgdistill.errors import SchemaError
from kgdistill.ingest.alias_file import read_aliases
from kgdistill.ingest.mapping.compile import compile_source
from kgdistill.ingest.mapping.model import (
    Condition,
    Conditions,
    Deletes,
    NodePiece,
    RelationshipPiece,
    Texts,
    TreePiece,
    Value,
)
from kgdistill.ingest.mapping.plan import CompiledSource
from kgdistill.ingest.readers import FillDown, SourceOptions
from kgdistill.moment import zone_named
from kgdistill.nearest import nearest
from kgdistill.store.schema import Schema

__all__ = [
    "CompiledSource",
    "Condition",
    "Mapping",
    "SourceMapping",
    "Value",
    "load_mapping",
    "mapping_json_schema",
    "parse_mapping",
]

_NAME = re.compile(r"[^\W_][\w.-]*\Z")
# A dot stands between it and a column.
_JOIN = re.compile(r"[^\W_][\w-]*\Z")


class FilledColumns(Part):
    """Columns that only the first row of an order, or of anything else with several rows, has."""

    by: Texts = Field(min_length=1, description="The column, or columns, by which rows belong together.")
    columns: Texts = Field(
        min_length=1,
        description="Where one is empty, it takes the value of the first row of the file with the same `by` "
        "that has one.",
    )

    @model_validator(mode="after")
    def _apart(self) -> FilledColumns:
        for column in self.columns:
            if column in self.by:
                raise fault(f"names {column!r}, by which rows belong together", "columns")
        return self


class WrittenFiles(Part):
    """Files or tables of one kind, and how they are written."""

    files: Texts = Field((), description="Files, folders or globs below the data root; - is standard input.")
    optional: bool = Field(False, description="No fault where there is no such file.")
    format: Literal["csv", "tsv", "jsonl", "parquet", "arrow", "recbole"] | None = Field(
        None, description="By the file's suffix where it is left out."
    )
    delimiter: str | None = Field(None, min_length=1)
    encoding: str | None = Field(
        None,
        description="Of text, any of Python's; UTF-8 (or by the mark at its start) where it is left out.",
    )
    quote: str | None = Field('"', min_length=1, max_length=1, description="null: quotes mean nothing.")
    escape: str | None = Field(
        None, min_length=1, max_length=1, description="Before a quote or delimiter that is text, such as \\."
    )
    skip_lines: int = Field(0, ge=0, description="Lines of a text file before its header.")
    columns: tuple[str, ...] | None = Field(None, min_length=1, description="For files without a header.")
    null_values: Texts = Field(("",), description="Texts that stand for no value.")
    check_text: bool = Field(True, description="false: text that looks garbled is taken as it is.")
    fill_down: FilledColumns | None = Field(
        None, description="Columns that only the first row of an order, or the like, has."
    )
    each: str | None = Field(
        None,
        min_length=1,
        description="A list of records (in JSON, Parquet, or JSON as text): each makes a row of its own, its "
        "fields called LIST.FIELD, beside the other columns; a row without any makes one without them.",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                "".encode(value)
                b"a".decode(value, "replace")
        except (LookupError, UnicodeError) as error:
            raise fault(f"{value!r} is not an encoding", hint="such as utf-8, latin-1 or cp1252") from error
        return value

    @property
    def options(self) -> SourceOptions:
        """How the readers are told."""
        told = {f.name: getattr(self, f.name) for f in fields(SourceOptions)}
        if self.fill_down is not None:
            told["fill_down"] = FillDown(self.fill_down.by, self.fill_down.columns)
        return SourceOptions(**told)


class JoinMapping(WrittenFiles):
    """Another table, in which each row of the source looks up one by a key."""

    on: dict[str, str] = Field(
        min_length=1,
        description="A column here (of the source, or JOIN.COLUMN): the column there that has its text.",
    )
    updated_at: Value | None = Field(
        None, description="A time there; of several rows with one key the latest counts."
    )


class SourceMapping(WrittenFiles):
    """One kind of file or table: how it is written and what each of its rows makes."""

    join: dict[str, JoinMapping] = Field(
        default_factory=dict,
        description="By a name of your own, other tables; their columns are called NAME.COLUMN.",
    )
    where: Conditions = Field((), description="Rows for which one does not hold are skipped.")
    updated_at: Value | None = Field(None, description="A time; by it the last write wins.")
    delete: Deletes = Field(
        False, description="Rows (all, or those for which it holds) that remove everything that they name."
    )
    nodes: tuple[NodePiece, ...] = ()
    relationships: tuple[RelationshipPiece, ...] = ()
    trees: tuple[TreePiece, ...] = ()

    @field_validator("join")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not _JOIN.match(name):
                raise fault("a join's name should be letters, digits, '_' and '-'", name)
        return value


class Mapping(Part):
    """A whole mapping file."""

    version: Literal[1]
    name: str
    description: str = ""
    schema_file: str | None = Field(
        None, alias="schema", description="The graph's schema, relative to this file; else the project's own."
    )
    time_zone: str = Field("UTC", description="Of times without a zone.")
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description="By label, a file of other names of its nodes, beside this file or below the data root: "
        "they become one.",
    )
    sources: dict[str, SourceMapping] = Field(min_length=1)
    _where: str = PrivateAttr("")
    _folder: Path = PrivateAttr(Path("."))

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise fault(f"{value!r} should be letters, digits, '_', '-' and '.'")
        return value

    @field_validator("sources")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not _NAME.match(name):
                raise fault("a source's name should be letters, digits, '_', '-' and '.'", name)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            zone_named(value)
        except ValueError as error:
            raise fault(f"{value!r} is not a time zone", hint="such as UTC or Europe/Berlin") from error
        return value

    def read_aliases(self, schema: Schema, root: Path) -> dict[str, dict[str, str]]:
        """By label the other names that the alias files say, each with the key that it stands for.

        Args:
            schema: the graph's schema.
            root: where the files are that are not beside the mapping.

        Raises:
            SchemaError: a label that the schema does not have.
            InputError: as `alias_file.read_aliases`.
        """
        for label in self.aliases:
            if label not in schema.nodes:
                known = list(schema.nodes)
                raise SchemaError(
                    f"unknown label {label!r}",
                    where=f"{self._where}: aliases" if self._where else "aliases",
                    hint=f"{nearest(label, known)}known labels: {', '.join(known)}",
                )
        found = {}
        for label, name in self.aliases.items():
            places = (self._folder / name, root / name)
            found[label] = read_aliases(next((file for file in places if file.is_file()), places[0]))
        return found

    def compile(
        self, schema: Schema, *, salt: bytes | None = None, now: datetime | None = None
    ) -> dict[str, CompiledSource]:
        """Checks the mapping against the schema and makes it ready for `map_batch`.

        Args:
            schema: the graph's schema.
            salt: for `hash: true`.
            now: the time of the job (UTC), which bounds the times in the data; the clock's where None.

        Raises:
            SchemaError: a label, type, pair of ends or property that the schema does not have, or a
                required one that nothing gives; the place is the key path in the mapping.
            InputError: an option that does not fit its value, or `hash` without a salt.
        """
        place = f"{self._where}: " if self._where else ""
        return {
            name: compile_source(name, source, schema, self.time_zone, salt, now, place)
            for name, source in self.sources.items()
        }


def load_mapping(path: str | Path) -> Mapping:
    """Reads a mapping file; its `schema` becomes an absolute path.

    Raises:
        InputError: the file is missing, is not YAML, or breaks the grammar; the message names the file
            and the key path, such as `sources.orders.nodes[0].key`, and the nearest valid key.
    """
    file = Path(path)
    mapping = parse_mapping(read_text(file), where=str(file))

    if mapping.schema_file is not None:
        resolved = str((file.parent / mapping.schema_file).resolve())
        mapping = mapping.model_copy(update={"schema_file": resolved})
    mapping._folder = file.parent
    return mapping


def parse_mapping(text: str | AnyMapping[str, Any], *, where: str = "mapping") -> Mapping:
    """A mapping from YAML text, or from what such text holds.

    Raises:
        InputError: as `load_mapping`; `where` stands for the file.
    """
    raw: Any = parse_yaml(text, where=where) if isinstance(text, str) else text
    try:
        mapping = Mapping.model_validate(raw)
    except ValidationError as error:
        raise validation_fault(error, where) from error
    mapping._where = where
    return mapping


def mapping_json_schema() -> str:
    """The JSON Schema of mapping files, for editors; it is shipped as `mapping.schema.json`."""
    schema = Mapping.model_json_schema(by_alias=True)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "kgdistill mapping",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
