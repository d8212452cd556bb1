"""The schema as an embedded database declares it: read, compared and extended."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from kgdistill.errors import SchemaError, StoreSchemaMismatchError
from kgdistill.store.ladybug.engine import rows
from kgdistill.store.schema import NodeType, RelationshipType, Schema, load_schema

COLUMN = {
    "string": "STRING",
    "int64": "INT64",
    "double": "DOUBLE",
    "bool": "BOOL",
    "timestamp": "TIMESTAMP",
    "float_list": "FLOAT[]",
}
_PROPERTY = {column: name for name, column in COLUMN.items()}


def quoted(name: str) -> str:
    """A name as Cypher writes it; the schema allows plain identifiers only."""
    return f"`{name}`"


def read_schema(connection: Any, where: str) -> Schema:
    """The schema that the tables of a database make up, as it was declared.

    A table's comment keeps its declaration. Of a table without one, which a former version made, kind, time
    and the like are those of the project's own type of that name.

    Raises:
        StoreSchemaMismatchError: it holds tables that kgdistill did not make.
    """
    nodes: dict[str, Any] = {}
    relationships: dict[str, Any] = {}
    for table in rows(connection, "CALL show_tables() RETURN *").to_pylist():
        comment = json.loads(table["comment"]) if table["comment"] else {}
        declared = comment.get("declared") or _undeclared(connection, table, comment.get("identity", []))
        (nodes if table["type"] == "NODE" else relationships)[table["name"]] = declared
    try:
        return Schema.model_validate({"version": 1, "nodes": nodes, "relationships": relationships})
    except ValueError as error:
        raise StoreSchemaMismatchError(
            f"holds tables that kgdistill did not make: {error}", where=where, hint="use another store"
        ) from error


def _undeclared(connection: Any, table: dict[str, Any], identity: list[str]) -> dict[str, Any]:
    """The project's own type of that name, where the columns fit it; else what the columns say."""
    name = table["name"]
    info = rows(connection, f"CALL table_info('{name}') RETURN *").to_pylist()
    columns = {column["name"]: _PROPERTY.get(column["type"], column["type"]) for column in info}
    fixed: dict[str, Any]
    if table["type"] == "NODE":
        fixed = {"key": next(column["name"] for column in info if column["primary key"])}
        del columns[fixed["key"]]
    else:
        pairs = rows(connection, f"CALL show_connection('{name}') RETURN *").to_pylist()
        fixed = {"endpoints": [list(pair.values())[:2] for pair in pairs], "identity": identity}
    shipped = load_schema()
    own = (shipped.nodes if "key" in fixed else shipped.relationships).get(name)
    base = own.model_dump(mode="json") if own is not None else {}
    specs = base.get("properties", {})
    needed = {column: {"required": True} for column in fixed.get("identity", [])}
    properties = {c: {**specs.get(c, {}), "type": kind, **needed.get(c, {})} for c, kind in columns.items()}
    item = {**base, **fixed, "properties": properties}
    try:
        if own is not None:
            type(own).model_validate(item)
            return item
    except ValidationError:
        pass
    role = {"name": fixed["key"]} if "key" in fixed else {"kind": "fact"}
    return {**role, **fixed, "properties": properties}


def statements(stored: Schema, wanted: Schema, where: str) -> list[str]:
    """What turns a database with the schema `stored` into one that also holds `wanted`.

    Raises:
        StoreSchemaMismatchError: the two contradict each other.
    """
    _check(stored, wanted, where)
    try:
        whole = wanted.joined(stored)
    except SchemaError as error:
        raise StoreSchemaMismatchError(
            f"was made with another schema: {error.message}; nothing was changed",
            where=where,
            hint=error.hint,
        ) from error
    result: list[str] = []
    for label, node in wanted.nodes.items():
        if label not in stored.nodes:
            result.append(_create_node_table(label, node))
        else:
            result += _add_columns(label, stored.nodes[label], node)
        result += _comment(label, stored.nodes.get(label), whole.nodes[label])
    for name, rel in wanted.relationships.items():
        if name not in stored.relationships:
            result += create_relationship_table(name, rel)
            continue
        old = stored.relationships[name]
        result += _add_columns(name, old, rel)
        result += [
            f"ALTER TABLE {quoted(name)} ADD FROM {quoted(a)} TO {quoted(b)}"
            for a, b in rel.endpoints
            if (a, b) not in old.endpoints
        ]
        result += _comment(name, old, whole.relationships[name])
    return result


def _comment(
    table: str, old: NodeType | RelationshipType | None, new: NodeType | RelationshipType
) -> list[str]:
    """What keeps a type's declaration with its table, where that changes."""
    if old == new:
        return []
    text = json.dumps({"declared": new.model_dump(mode="json")})
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return [f"COMMENT ON TABLE {quoted(table)} IS '{plain}'"]


def create_relationship_table(name: str, rel: RelationshipType) -> list[str]:
    """Makes one table for all endpoint pairs of a type."""
    pairs = [f"FROM {quoted(a)} TO {quoted(b)}" for a, b in rel.endpoints]
    return [
        f"CREATE REL TABLE {quoted(name)}({', '.join([*pairs, *_columns(rel)])})",
        *_comment(name, None, rel),
    ]


def _create_node_table(label: str, node: NodeType) -> str:
    key = quoted(node.key)
    columns = ", ".join([f"{key} STRING", *_columns(node), f"PRIMARY KEY({key})"])
    return f"CREATE NODE TABLE {quoted(label)}({columns})"


def _columns(item: NodeType | RelationshipType) -> list[str]:
    return [f"{quoted(name)} {COLUMN[p.type]}" for name, p in item.properties.items()]


def _add_columns(table: str, old: NodeType | RelationshipType, new: NodeType | RelationshipType) -> list[str]:
    return [
        f"ALTER TABLE {quoted(table)} ADD {quoted(name)} {COLUMN[p.type]}"
        for name, p in new.properties.items()
        if name not in old.properties
    ]


def _check(stored: Schema, wanted: Schema, where: str) -> None:
    def refuse(what: str) -> StoreSchemaMismatchError:
        return StoreSchemaMismatchError(
            f"was made with another schema: {what}; nothing was changed",
            where=where,
            hint="take the schema back to what it was, or ingest into a new store with the schema as it is",
        )

    for label, node in wanted.nodes.items():
        if label in stored.relationships:
            raise refuse(f"{label} is a relationship type there and a label in the schema")
        if label in stored.nodes and stored.nodes[label].key != node.key:
            raise refuse(
                f"the key of {label} is {stored.nodes[label].key} there and {node.key} in the schema"
            )
    for name, rel in wanted.relationships.items():
        if name in stored.nodes:
            raise refuse(f"{name} is a label there and a relationship type in the schema")
        old = stored.relationships.get(name)
        if old is not None and set(old.identity) != set(rel.identity):
            a, b = (", ".join(i) or "its ends alone" for i in (old.identity, rel.identity))
            raise refuse(f"{name} is identified by {a} there and by {b} in the schema")
    # Across types too: one name with two types makes the engine crash on mixed queries.
    items = [*stored.nodes.items(), *stored.relationships.items()]
    there = {name: (owner, p.type) for owner, item in items for name, p in item.properties.items()}
    there |= {node.key: (label, "string") for label, node in stored.nodes.items()}
    for owner, item in [*wanted.nodes.items(), *wanted.relationships.items()]:
        for name, prop in item.properties.items():
            first, kind = there.get(name, (owner, prop.type))
            if kind != prop.type:
                raise refuse(
                    f"{first}.{name} is {kind} there, and {owner}.{name} is {prop.type} in the schema"
                )
