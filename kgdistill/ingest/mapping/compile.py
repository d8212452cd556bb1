"""Checks one source of a mapping against the schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from kgdistill.errors import InputError, SchemaError
from kgdistill.ingest.mapping.compile_joins import compile_joins, of_records
from kgdistill.ingest.mapping.compile_values import ValueCompiler
from kgdistill.ingest.mapping.model import Condition, End, NodePiece, RelationshipPiece, TreePiece, Value
from kgdistill.ingest.mapping.plan import Cell, CompiledSource, EdgePlan, NodePlan, Shape, Side, TreePlan
from kgdistill.ingest.model import TypeKey
from kgdistill.moment import naive_utc
from kgdistill.nearest import nearest
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Property, PropertyType, RelationshipType, Schema

if TYPE_CHECKING:
    from kgdistill.ingest.mapping.load import SourceMapping

# Goes up when the same mapping makes other keys of the same file, so that it is read again.
_RULES = 2
_LINE: dict[str, PropertyType] = {"at": "timestamp", "quantity": "double", "amount": "double"}


def compile_source(
    name: str,
    source: SourceMapping,
    schema: Schema,
    time_zone: str,
    salt: bytes | None,
    now: datetime | None,
    place: str = "",
) -> CompiledSource:
    """One source of a mapping, checked; `place` stands before the key paths in messages.

    Raises:
        SchemaError, InputError: as `Mapping.compile`.
    """
    values = ValueCompiler(time_zone, salt, naive_utc(now or datetime.now(timezone.utc)))
    return _Compiler(name, source, schema, values, f"{place}sources.{name}").run()


class _Compiler:
    def __init__(
        self, name: str, source: SourceMapping, schema: Schema, values: ValueCompiler, path: str
    ) -> None:
        self.name, self.source, self.schema, self.values, self.path = name, source, schema, values, path
        self.keys: set[TypeKey] = set()
        self.stubs: set[tuple[EdgeType, Side]] = set()

    def run(self) -> CompiledSource:
        source, path = self.source, self.path
        if not (source.nodes or source.relationships or source.trees):
            raise InputError("makes nothing", where=path, hint="add nodes, relationships or trees")
        where = self.values.conditions(source.where)
        if isinstance(source.delete, Condition):
            self.values.conditions((source.delete,))
        updated = None
        if source.updated_at is not None:
            updated = self.values.cell(
                "", source.updated_at, "timestamp", f"{path}.updated_at", required=False
            )
        nodes = tuple(self._node(piece, f"{path}.nodes[{i}]") for i, piece in enumerate(source.nodes))
        edges = tuple(
            self._edge(piece, f"{path}.relationships[{i}]") for i, piece in enumerate(source.relationships)
        )
        trees = tuple(self._tree(piece, f"{path}.trees[{i}]") for i, piece in enumerate(source.trees))
        if not self.values.columns:
            raise InputError("uses no column: every row would make the same", where=path)
        own, joins = compile_joins(source, self.values, path)
        return CompiledSource(
            name=self.name,
            patterns=source.files,
            optional=source.optional,
            options=source.options,
            columns=own,
            joins=joins,
            keys=self.keys,
            stubs=self.stubs,
            digest=self._digest(),
            schema=self.schema,
            where=where,
            updated_at=updated,
            delete=source.delete,
            nodes=nodes,
            edges=edges,
            trees=trees,
            salt=self.values.salt if self.values.hashes else None,
            now=self.values.now,
            of_records=of_records(source, [*self.values.columns]),
        )

    def _digest(self) -> str:
        files = {"files", "optional"}
        # Without joins the dump is that of mappings that never had any.
        part = self.source.model_dump(mode="json", by_alias=True, exclude=files, exclude_defaults=True)
        for join in part.get("join", {}).values():
            for name in files & join.keys():
                del join[name]
        salt = (
            hashlib.sha256(self.values.salt).hexdigest() if self.values.hashes and self.values.salt else None
        )
        told = {"source": part, "time_zone": self.values.zone, "salt": salt, "rules": _RULES}
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _label(self, label: str, path: str) -> str:
        self._check_label(label, path)
        self.keys.add(label)
        return label

    def _check_label(self, label: str, path: str) -> None:
        if label not in self.schema.nodes:
            known = list(self.schema.nodes)
            raise SchemaError(
                f"unknown label {label!r}",
                where=path,
                hint=f"{nearest(label, known)}known labels: {', '.join(known)}",
            )

    def _node(self, piece: NodePiece, path: str) -> NodePlan:
        label = self._label(piece.label, f"{path}.label")
        item = self.schema.nodes[label]
        return NodePlan(
            label=label,
            key=self._key(item.key, piece.key, f"{path}.key"),
            properties=self._properties(label, piece.properties, item.properties, path),
            when=self.values.conditions(piece.when),
        )

    def _key(self, name: str, value: Value, path: str) -> Cell:
        return self.values.cell(name, value, "string", path, required=True, shape="many", is_key=True)

    def _end(self, end: End, path: str, side: str) -> tuple[str, Cell]:
        ((label, value),) = end.items()
        self._check_label(label, path)
        return label, self._key(side, value, f"{path}.{label}")

    def _relationship(self, edge: EdgeType, path: str) -> RelationshipType:
        name = edge[1]
        if name not in self.schema.relationships:
            known = list(self.schema.relationships)
            raise SchemaError(
                f"unknown relationship type {name!r}",
                where=f"{path}.type",
                hint=f"{nearest(name, known)}known types: {', '.join(known)}",
            )
        try:
            rel = self.schema.relationship(edge)
        except SchemaError as error:
            raise SchemaError(error.message, where=path, hint=error.hint) from error
        self.keys.add(edge)
        return rel

    def _edge(self, piece: RelationshipPiece, path: str) -> EdgePlan:
        start, source = self._end(piece.from_, f"{path}.from", "source")
        stop, target = self._end(piece.to, f"{path}.to", "target")
        edge = (start, piece.type, stop)
        rel = self._relationship(edge, path)
        aggregated = rel.aggregated
        lines = aggregated and bool(piece.properties.keys() & _LINE.keys())
        allowed = dict(rel.properties)
        if lines:
            allowed = _line_properties(rel)
            for name in rel.properties:
                if name in piece.properties:
                    raise SchemaError(
                        "stands beside at, quantity or amount",
                        where=f"{path}.properties.{name}",
                        hint=f"say either {', '.join(allowed)} or {', '.join(rel.properties)}",
                    )
        elif aggregated and not piece.properties:
            # Neither form is given: single lines are what most sources hold.
            allowed = _line_properties(rel)
        delete_only = self.source.delete is True
        event_id = None
        if piece.event_id is not None:
            if not aggregated:
                raise SchemaError(
                    f"{piece.type} has no events to tell apart: its relationships are told apart by their "
                    "ends" + (f" and {', '.join(rel.identity)}" if rel.identity else ""),
                    where=f"{path}.event_id",
                )
            event_id = self.values.cell(
                "_id", piece.event_id, "string", f"{path}.event_id", required=True, is_key=True
            )
        if piece.overlap and not aggregated:
            raise SchemaError(f"{piece.type} has no event lines", where=f"{path}.overlap")
        if piece.overlap and event_id is not None:
            raise InputError(
                "stands beside event_id, which tells events apart already", where=f"{path}.overlap"
            )
        properties = self._properties(
            piece.type,
            piece.properties,
            allowed,
            path,
            needed=set(rel.identity) if delete_only else None,
        )
        if piece.missing == "stub" and not delete_only:
            self.stubs |= {(edge, "source"), (edge, "target")}
        return EdgePlan(
            edge=edge,
            source=source,
            target=target,
            properties=properties,
            identity=rel.identity,
            aggregated=aggregated,
            lines=lines or (aggregated and not piece.properties),
            event_id=event_id,
            overlap=piece.overlap,
            when=self.values.conditions(piece.when),
        )

    def _tree(self, piece: TreePiece, path: str) -> TreePlan:
        label = self._label(piece.label, f"{path}.label")
        self._relationship_of_tree((label, "PART_OF", label), f"{path}.label")
        if piece.root is not None:
            self._label(piece.root, f"{path}.root")
            self._relationship_of_tree((label, "PART_OF", piece.root), f"{path}.root")
        for name in (label, piece.root):
            for prop, wanted in self.schema.nodes[name].properties.items() if name else ():
                if wanted.required and prop not in ("name", "path", "level"):
                    raise SchemaError(
                        f"{name} requires {prop!r}, which a tree does not give", where=f"{path}.label"
                    )
        member = None
        if piece.from_ is not None:
            owner, cell = self._end(piece.from_, f"{path}.from", "source")
            self._relationship_of_tree((owner, "IN_CATEGORY", label), f"{path}.from")
            if piece.root is not None:
                self._relationship_of_tree((owner, "PART_OF", piece.root), f"{path}.from")
            member = (owner, cell)
        elif self.source.delete is True:
            raise InputError(
                "deleting a row does not delete the tree, which other rows share",
                where=path,
                hint="name the categories under nodes, or add `from` to remove what hangs on the tree",
            )
        value = piece.path
        several: tuple[str, str] | None = None
        if piece.each is not None:
            if value.split is None:
                told = "each goes with a path that says what stands between its names"
                raise InputError(told, where=f"{path}.path", hint='such as split: " > "')
            several = piece.each, value.split
            value = value.model_copy(update={"split": None})
        shape: Shape = "many" if several is None else "one"
        leaf = self.values.cell("path", value, "string", f"{path}.path", required=False, shape=shape)
        return TreePlan(label, leaf, piece.root, member, several, self.values.conditions(piece.when))

    def _relationship_of_tree(self, edge: EdgeType, path: str) -> None:
        try:
            self.schema.relationship(edge)
        except SchemaError as error:
            raise SchemaError(
                f"a tree here needs ({edge[0]})-[{edge[1]}]->({edge[2]}), which the schema does not have",
                where=path,
                hint=error.hint,
            ) from error
        self.keys.add(edge)

    def _properties(
        self,
        owner: str,
        given: dict[str, Value],
        allowed: Mapping[str, Property],
        path: str,
        needed: set[str] | None = None,
    ) -> tuple[Cell, ...]:
        cells = []
        for name, value in given.items():
            place = f"{path}.properties.{name}"
            if name not in allowed:
                raise SchemaError(
                    f"{owner} has no property {name!r}",
                    where=place,
                    hint=f"{nearest(name, allowed)}it has: {', '.join(allowed) or 'none'}",
                )
            prop = allowed[name]
            cells.append(
                self.values.cell(name, value, prop.type, place, required=prop.required, planned=prop.planned)
            )
        if needed is None:
            needed = {name for name, prop in allowed.items() if prop.required}
            if self.source.delete is True:
                needed = set()
        for name in allowed:
            if name in needed and name not in given:
                raise SchemaError(
                    f"{owner} requires {name!r}, which nothing here gives", where=f"{path}.properties"
                )
        return tuple(cells)


def _line_properties(rel: RelationshipType) -> dict[str, Property]:
    """What a single line of an aggregated event may say."""
    names = ["at"]
    names += ["quantity"] if "first_quantity" in rel.properties else []
    names += ["amount"] if "spend" in rel.properties else []
    return {name: Property(type=_LINE[name], required=name == "at") for name in names}
