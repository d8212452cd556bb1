"""The schema model: `graph/schema.yaml`, read and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Protocol, TypeVar

import pyarrow as pa
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from kgdistill.errors import SchemaError
from kgdistill.resources import graph_dir

PropertyType = Literal["string", "int64", "double", "bool", "timestamp", "float_list"]
Kind = Literal["fact", "event", "derived", "output", "judgement"]

_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "float_list": pa.list_(pa.float32()),
}


def arrow_type(kind: PropertyType) -> pa.DataType:
    """The Arrow type of a property type."""
    return _ARROW[kind]


# Names become labels, types and columns in two databases: plain identifiers only.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
_RESERVED = frozenset({"source", "target"})
AGGREGATES = ("last_at", "count", "spend")
"""Properties that ingestion makes of all the events between two nodes."""


_V = TypeVar("_V")


class Fixed(dict[str, _V]):
    """What a schema holds by name; it does not change, as one reading of a file serves all who ask for it."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a schema does not change: make another, by model_copy or from model_dump()")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[Fixed[_V]], tuple[dict[str, _V]]]:
        return type(self), (dict(self),)


class Property(BaseModel):
    """One property of a node or relationship type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: PropertyType
    required: bool = False
    cumulative: bool = False
    planned: bool = False
    sensitive: bool = False
    description: str = ""


class _Typed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    properties: Annotated[Mapping[str, Property], AfterValidator(Fixed)] = Field(default_factory=Fixed)
    time: str | None = None

    @field_validator("properties", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"type": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _time_is_a_timestamp(self) -> _Typed:
        if self.time is not None and (
            self.time not in self.properties or self.properties[self.time].type != "timestamp"
        ):
            raise ValueError(f"time names {self.time!r}, which is not a timestamp property here")
        if self.time is not None and self.properties[self.time].sensitive:
            raise ValueError(f"the time {self.time!r} cannot be sensitive: nothing could be told apart by it")
        return self

    @property
    def sensitive_properties(self) -> tuple[str, ...]:
        """Those that nothing may be aimed by, unless it was allowed."""
        return tuple(name for name, prop in self.properties.items() if prop.sensitive)


class NodeType(_Typed):
    """A label: its business key, properties and what a text model reads of it."""

    key: str
    name: str
    text: tuple[str, ...] = ()
    output: bool = False

    @model_validator(mode="after")
    def _names_exist(self) -> NodeType:
        if self.key in self.properties:
            raise ValueError(f"the key {self.key!r} stands among the properties too; it is implied")
        known = {self.key, *self.properties}
        for role, name in (("name", self.name), *(("text", t) for t in self.text)):
            if name not in known:
                raise ValueError(f"{role} names {name!r}, which is no property here")
        return self


class RelationshipType(_Typed):
    """A relationship type: its endpoints, kind and what identifies one relationship."""

    kind: Kind
    endpoints: tuple[tuple[str, str], ...] = Field(min_length=1)
    identity: tuple[str, ...] = ()
    sensitive: bool = False

    @model_validator(mode="after")
    def _later_events_change_these(self) -> RelationshipType:
        # Whatever the file says of them: a snapshot that kept one would hold the future.
        changing = {name: self.properties[name] for name in AGGREGATES if name in self.properties}
        if self.aggregated and not all(prop.cumulative for prop in changing.values()):
            cumulative = {n: p.model_copy(update={"cumulative": True}) for n, p in changing.items()}
            return self.model_copy(update={"properties": Fixed({**self.properties, **cumulative})})
        return self

    @property
    def aggregated(self) -> bool:
        """Whether many events make one relationship: its time is when the first of them happened."""
        return self.time == "first_at"

    @model_validator(mode="after")
    def _consistent(self) -> RelationshipType:
        if (self.kind == "event") != (self.time is not None):
            raise ValueError("an event has a time, and nothing else has")
        for name in self.identity:
            if name not in self.properties or not self.properties[name].required:
                raise ValueError(f"identity names {name!r}, which is not a required property here")
            if self.properties[name].sensitive:
                raise ValueError(f"the identity {name!r} cannot be sensitive")
        if self.time is not None and self.properties[self.time].cumulative:
            raise ValueError(f"the time {self.time!r} cannot be cumulative")
        return self


class Schema(BaseModel):
    """Every node and relationship type of the graph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    nodes: Annotated[Mapping[str, NodeType], AfterValidator(Fixed)]
    relationships: Annotated[Mapping[str, RelationshipType], AfterValidator(Fixed)]

    @model_validator(mode="after")
    def _whole(self) -> Schema:
        types: dict[str, tuple[str, str]] = {}
        keys: dict[str, str] = {}
        for owner, node in self.nodes.items():
            if node.key in keys:
                raise ValueError(f"{owner} and {keys[node.key]} share the key name {node.key!r}")
            keys[node.key] = owner
        for owner, item in [*self.nodes.items(), *self.relationships.items()]:
            names = [owner, *item.properties] + ([item.key] if isinstance(item, NodeType) else [])
            for name in names:
                if not _NAME.match(name) or name in _RESERVED:
                    raise ValueError(f"{owner}: {name!r} cannot be a name: a letter, then letters, digits, _")
            for name, prop in item.properties.items():
                if name in keys:
                    raise ValueError(f"{owner}.{name} has the name of {keys[name]}'s key")
                first, kind = types.setdefault(name, (owner, prop.type))
                if kind != prop.type:
                    raise ValueError(
                        f"{owner}.{name} is {prop.type}, but {first}.{name} is {kind}: one name, one type"
                    )
        for name, rel in self.relationships.items():
            for pair in rel.endpoints:
                for label in pair:
                    if label not in self.nodes:
                        raise ValueError(f"{name}: unknown label {label!r} among its endpoints")
        return self

    def node(self, label: str) -> NodeType:
        """The node type `label`; SchemaError names the known ones."""
        if label not in self.nodes:
            raise SchemaError(f"unknown label {label!r}", hint=f"known labels: {', '.join(self.nodes)}")
        return self.nodes[label]

    def relationship(self, edge: tuple[str, str, str]) -> RelationshipType:
        """The relationship type of `edge`; SchemaError when the type or its endpoints are unknown."""
        source, name, target = edge
        rel = self.relationships.get(name)
        if rel is None:
            known = ", ".join(self.relationships)
            raise SchemaError(f"unknown relationship type {name!r}", hint=f"known types: {known}")
        if (source, target) not in rel.endpoints:
            pairs = ", ".join(f"({a})-[{name}]->({b})" for a, b in rel.endpoints)
            raise SchemaError(f"{name} does not lead from {source} to {target}", hint=f"it can be: {pairs}")
        return rel

    def edges(self, *kinds: Kind) -> list[tuple[str, str, str]]:
        """All edge types, or those of the given kinds, in the order of the file."""
        return [
            (source, name, target)
            for name, rel in self.relationships.items()
            if not kinds or rel.kind in kinds
            for source, target in rel.endpoints
        ]

    def is_text(self, label: str) -> bool:
        """Whether nodes of a label are texts and nothing else, as queries are: without facts."""
        node = self.node(label)
        return list(node.text) == [node.name] and not any(e[0] == label for e in self.edges("fact"))

    def restricted(self, labels: Collection[str], types: Collection[str]) -> Schema:
        """The same schema with these labels, and of these types the pairs of ends between them."""
        nodes = {label: node for label, node in self.nodes.items() if label in labels}
        kept: dict[str, RelationshipType] = {}
        for name, rel in self.relationships.items():
            pairs = tuple(pair for pair in rel.endpoints if set(pair) <= nodes.keys())
            if name in types and pairs:
                kept[name] = rel.model_copy(update={"endpoints": pairs})
        return Schema(version=self.version, nodes=nodes, relationships=kept)

    @property
    def sensitive(self) -> list[str]:
        """What is declared sensitive, in order: `User.age` of a property, the type of a relationship."""
        types = {**self.nodes, **self.relationships}
        own = [
            f"{kind}.{n}" for kind in types for n, prop in types[kind].properties.items() if prop.sensitive
        ]
        return sorted([*own, *(name for name, rel in self.relationships.items() if rel.sensitive)])

    @property
    def property_types(self) -> dict[str, PropertyType]:
        """The type of every property and key; one name has one type in all of a schema."""
        found: dict[str, PropertyType] = {node.key: "string" for node in self.nodes.values()}
        for item in (*self.nodes.values(), *self.relationships.values()):
            found |= {name: prop.type for name, prop in item.properties.items()}
        return found

    def guarded(self) -> Schema:
        """The same schema as far as it may be used to aim at somebody.

        Sensitive properties are no text and no name, and sensitive relationships are gone.
        """
        nodes = {
            label: node.model_copy(
                update={
                    "text": tuple(n for n in node.text if n not in node.sensitive_properties),
                    "name": node.key if node.name in node.sensitive_properties else node.name,
                }
            )
            for label, node in self.nodes.items()
        }
        kept = {name: rel for name, rel in self.relationships.items() if not rel.sensitive}
        return self.model_copy(update={"nodes": nodes, "relationships": kept})

    def joined(self, older: Schema) -> Schema:
        """Every type of both, with the properties and pairs of ends of both; where they differ, as here.

        Raises:
            SchemaError: a type has two keys or identities, or a property two types.
        """
        whole, had = self.model_dump(mode="json"), older.model_dump(mode="json")
        for group, fixed in (("nodes", "key"), ("relationships", "identity")):
            for name, old in had[group].items():
                new = whole[group].setdefault(name, old)
                if new[fixed] != old[fixed]:
                    raise SchemaError(f"the {fixed} was {old[fixed]!r} and is {new[fixed]!r}", where=name)
                for prop, spec in old["properties"].items():
                    now = new["properties"].setdefault(prop, spec)
                    if now["type"] != spec["type"]:
                        raise SchemaError(f"was {spec['type']} and is {now['type']}", where=f"{name}.{prop}")
                if group == "relationships":
                    new["endpoints"] += [pair for pair in old["endpoints"] if pair not in new["endpoints"]]
        try:
            return Schema.model_validate_json(json.dumps(whole))
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SchemaError(f"the schemas contradict each other: {message}") from error

    def arrow_type(self, name: str) -> pa.DataType:
        """The Arrow type of a property or key, whichever type it stands in."""
        for item in [*self.nodes.values(), *self.relationships.values()]:
            if isinstance(item, NodeType) and name == item.key:
                return pa.string()
            if name in item.properties:
                return _ARROW[item.properties[name].type]
        raise SchemaError(f"no type has a property {name!r}")

    def node_arrow_schema(self, label: str) -> pa.Schema:
        """Key, then every property, of `label`."""
        node = self.node(label)
        return pa.schema(
            [(node.key, pa.string()), *((n, _ARROW[p.type]) for n, p in node.properties.items())]
        )

    def edge_arrow_schema(self, edge: tuple[str, str, str]) -> pa.Schema:
        """`source`, `target`, then every property, of `edge`."""
        rel = self.relationship(edge)
        ends = [("source", pa.string()), ("target", pa.string())]
        return pa.schema([*ends, *((n, _ARROW[p.type]) for n, p in rel.properties.items())])

    def digest(self) -> str:
        """A hash of what shapes a store: types, keys, properties; not the descriptions."""
        shape = {
            "nodes": {
                label: {"key": n.key, "properties": {k: p.type for k, p in n.properties.items()}}
                for label, n in self.nodes.items()
            },
            "relationships": {
                name: {
                    "endpoints": r.endpoints,
                    "identity": r.identity,
                    "properties": {k: p.type for k, p in r.properties.items()},
                }
                for name, r in self.relationships.items()
            },
        }
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()


class _Keeps(Protocol):
    @property
    def schema(self) -> Schema: ...


def kept_schema(store: _Keeps) -> Schema:
    """The schema that a store was made with; the project's own where it keeps none yet."""
    kept = store.schema
    return kept if kept.nodes else load_schema()


def load_schema(path: str | Path | None = None) -> Schema:
    """Reads a schema file; the project's own where `path` is None.

    Raises:
        SchemaError: the file is missing, is not YAML, or contradicts itself; the message says where.
    """
    file = Path(path) if path is not None else graph_dir() / "schema.yaml"
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"is no UTF-8: {error}", where=str(file), hint="save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise SchemaError(f"is not YAML: {error}", where=str(file)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise SchemaError(
            first["msg"].removeprefix("Value error, "), where=f"{file}: {place}" if place else str(file)
        ) from error


# One command reads the same file many times over, and a schema does not change.
@lru_cache(maxsize=8)
def _parsed(text: str) -> Schema:
    return Schema.model_validate(yaml.safe_load(text))
