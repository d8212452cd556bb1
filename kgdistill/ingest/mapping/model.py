"""The mapping's grammar below its sources: values, conditions and the pieces that a row makes."""

from __future__ import annotations

import string
from typing import Annotated, Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from kgdistill.declared import Part, fault

_ORIGINS = ("column", "columns", "template", "coalesce", "constant", "multiply", "value")


def scalar_text(value: str | int | float | bool) -> str:
    """A YAML scalar as the text that a file would hold."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise fault("should be text, a number, true or false")
    return value


def _text(value: Any) -> Any:
    return scalar_text(_scalar(value))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(v) for v in (value if isinstance(value, list | tuple) else [value]))


def _text_keys(value: Any) -> Any:
    return {_text(k): v for k, v in value.items()} if isinstance(value, dict) else value


def check_regex(pattern: str, replacement: str | None = None) -> str:
    """The pattern itself, where the vectorised functions take it."""
    try:
        sample = pa.array(["x"])
        if replacement is None:
            pc.match_substring_regex(sample, pattern)
        else:
            pc.replace_substring_regex(sample, pattern, replacement)
    except pa.ArrowInvalid as error:
        raise fault(f"{pattern!r} is not a regular expression (RE2): {error}") from error
    return pattern


def _replacements(value: dict[str, str]) -> dict[str, str]:
    for pattern, replacement in value.items():
        check_regex(pattern, replacement)
    return value


def _one_entry(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) != 1:
        raise fault(f"should name exactly one label, not {len(value)}", hint="such as {User: customer_id}")
    return value


Scalar: TypeAlias = Annotated[
    str | int | float | bool,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_texts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
            ]
        }
    ),
]
Regex: TypeAlias = Annotated[str, AfterValidator(check_regex)]


class Value(Part):
    """What one cell of a node or relationship is made of; a plain string is a column's name."""

    column: str | None = Field(None, description="A column of the source; a dotted name leads into objects.")
    columns: tuple[str, ...] | None = Field(None, min_length=1, description="Columns, joined by `separator`.")
    separator: str = Field(" ", description="Between `columns`; columns without a value are left out.")
    as_list: bool = Field(False, alias="list", description="`columns` make a list instead of a text.")
    template: str | None = Field(
        None, description="Text around columns: '{a} made by {b}'; no value where any column has none."
    )
    coalesce: tuple[Value, ...] | None = Field(None, min_length=1, description="The first that has a value.")
    constant: Scalar | None = Field(None, description="The same for every row.")
    multiply: tuple[Value, Value] | None = Field(None, description="The product of two numbers.")
    value: Value | None = Field(None, description="Another value, to add options to it.")

    split: str | None = Field(None, min_length=1, description="Splits text into a list.")
    format: Texts | None = Field(
        None, description="Time formats such as '%d/%m/%Y %H:%M', tried in order; 'iso' is ISO 8601."
    )
    unit: Literal["s", "ms", "us", "ns"] | None = Field(None, description="Of times given as numbers.")
    zone: str | None = Field(None, description="Of times without a zone; else the mapping's time_zone.")
    decimal: Literal[".", ","] | None = Field(
        None, description="The decimal mark; the other mark may then stand between thousands."
    )
    values: Annotated[dict[str, Scalar], BeforeValidator(_text_keys)] | None = Field(
        None, min_length=1, description="What each text becomes; any other is a fault, or the default."
    )
    default: Scalar | None = Field(None, description="Where there is no value.")
    required: bool | None = Field(
        None,
        description="true: no value is a fault; false: a key or end without a value makes nothing instead.",
    )
    hash: bool = Field(False, description="A salted hash in place of the text, for personal ids.")
    min: Scalar | None = Field(None, description="The least number or time (of times else 1900-01-01).")
    max: Scalar | None = Field(None, description="The greatest number or time (of times else tomorrow).")
    strip: bool = Field(True, description="White space at both ends is left out.")
    case: Literal["lower", "upper"] | None = None
    fold: Literal["nfkc"] | None = Field(
        None, description="Full-width letters, digits and signs become the usual ones (Unicode's NFKC)."
    )
    replace: Annotated[dict[str, str], AfterValidator(_replacements)] | None = Field(
        None, description="Regular expressions (RE2) and what takes the place of what they match."
    )
    invalid: Literal["reject", "null"] = Field(
        "reject", description="What a value that does not fit does: reject its row, or count as no value."
    )

    @classmethod
    def _long_form(cls, raw: Any) -> Any:
        return {"column": raw} if isinstance(raw, str) else raw

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        json_schema = handler(core_schema)
        body = handler.resolve_ref_schema(json_schema)
        options = dict(body)
        options["oneOf"] = [{"required": [name]} for name in _ORIGINS]
        body.clear()
        body["description"] = options.pop("description", "")
        body["anyOf"] = [{"type": "string", "description": "a column"}, options]
        return json_schema

    @model_validator(mode="after")
    def _whole(self) -> Value:
        origins = [name for name in _ORIGINS if name in self.given]
        if len(origins) != 1:
            told = f"has {' and '.join(origins)}" if origins else "says no origin"
            raise fault(f"{told}; a value has exactly one of: {', '.join(_ORIGINS)}")
        if getattr(self, origins[0]) is None:
            raise fault("is empty", origins[0])
        for name in ("separator", "list"):
            if name in self.given and self.columns is None:
                raise fault("goes with `columns` only", name)
        if self.template is not None:
            try:
                template_parts(self.template)
            except ValueError as error:
                raise fault(f"is not a template: {error}", "template", "such as '{a} made by {b}'") from error
        return self

    @property
    def origin(self) -> str:
        """Which of the origins it has."""
        return next(name for name in _ORIGINS if name in self.given)

    def own_columns(self) -> list[str]:
        """The columns that it names, in order, its parts' included."""
        if self.column is not None:
            return [self.column]
        if self.columns is not None:
            return [*self.columns]
        if self.template is not None:
            return [name for _, name in template_parts(self.template) if name is not None]
        parts = self.coalesce or self.multiply or (() if self.value is None else (self.value,))
        return [name for part in parts for name in part.own_columns()]


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """Pieces of text, each with the column that follows it; ValueError where there is no column."""
    parts: list[tuple[str, str | None]] = []
    for text, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (not name or spec or conversion):
            raise ValueError("each pair of braces holds a column's name and nothing else")
        parts.append((text, name))
    if all(name is None for _, name in parts):
        raise ValueError("it names no column")
    return parts


class Condition(Part):
    """What must hold of a column; where it says several things, all of them."""

    column: str
    in_: Texts | None = Field(None, alias="in", description="The text is one of these.")
    not_in: Texts | None = Field(None, description="The text is none of these; no value is none of them.")
    present: bool | None = Field(None, description="There is a value, or there is none.")
    min: float | None = Field(None, description="A number, and at least this.")
    max: float | None = Field(None, description="A number, and at most this.")
    matches: Regex | None = Field(None, description="A regular expression (RE2) for the whole text.")

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        if all(getattr(self, name) is None for name in type(self).model_fields if name != "column"):
            raise fault("says nothing about its column", hint="add in, not_in, present, min, max or matches")
        return self


Conditions: TypeAlias = tuple[Condition, ...]
End: TypeAlias = Annotated[dict[str, Value], AfterValidator(_one_entry)]


class NodePiece(Part):
    """A node that each row makes; with a list as key, one per element."""

    label: str
    key: Value
    properties: dict[str, Value] = Field(default_factory=dict)
    when: Conditions = Field((), description="Rows for which one does not hold do not make this.")


class RelationshipPiece(Part):
    """A relationship that each row makes; with lists as ends, one per combination."""

    type: str
    from_: End = Field(alias="from", description="The label where it starts, and that node's key.")
    to: End = Field(description="The label where it ends, and that node's key.")
    properties: dict[str, Value] = Field(
        default_factory=dict,
        description="The schema's own; of events that are counted per pair rather at, quantity, amount.",
    )
    event_id: Value | None = Field(None, description="One event per id; its last version counts.")
    overlap: bool = Field(False, description="Identical lines of different sources are one event.")
    missing: Literal["reject", "stub"] = Field(
        "reject", description="What an end that nothing makes does: reject the row, or become a bare node."
    )
    when: Conditions = Field((), description="Rows for which one does not hold do not make this.")


class TreePiece(Part):
    """A path of names becomes nodes and the PART_OF between them."""

    label: str
    path: Value = Field(description="A list of names, from the top; blank ones are left out.")
    root: str | None = Field(None, description="The first name becomes a node of this label.")
    each: str | None = Field(
        None, min_length=1, description="Stands between several paths of one value; `split` cuts each."
    )
    from_: End | None = Field(None, alias="from", description="A node that belongs to the path's end.")
    when: Conditions = Field((), description="Rows for which one does not hold do not make this.")


Deletes: TypeAlias = Annotated[
    Annotated[bool, Tag("flag")] | Annotated[Condition, Tag("condition")],
    Discriminator(lambda value: "flag" if isinstance(value, bool) else "condition"),
]
