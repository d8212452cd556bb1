"""The schema file: what it refuses, and where it says the fault is."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kgdistill.errors import SchemaError
from kgdistill.store import Schema, load_schema

GOOD: dict[str, Any] = {
    "version": 1,
    "nodes": {
        "User": {"key": "user_id", "name": "user_id", "properties": {"age": "int64"}},
        "Product": {
            "key": "product_id",
            "name": "title",
            "text": ["title"],
            "properties": {"title": "string"},
        },
    },
    "relationships": {
        "BOUGHT": {
            "kind": "event",
            "endpoints": [["User", "Product"]],
            "time": "at",
            "properties": {"at": {"type": "timestamp", "required": True}, "count": "int64"},
        }
    },
}
USER = ("nodes", "User")
BOUGHT = ("relationships", "BOUGHT")
TYPES = ["string", "int64", "double", "bool", "timestamp", "float_list"]


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    shape = copy.deepcopy(GOOD)
    place: Any = shape
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return shape


def load(folder: Path, shape: Any) -> Schema:
    file = folder / "schema.yaml"
    file.write_text(
        shape if isinstance(shape, str) else yaml.safe_dump(shape, sort_keys=False), encoding="utf-8"
    )
    return load_schema(file)


def test_the_projects_own_schema_is_whole() -> None:
    schema = load_schema()
    assert ("User", "BOUGHT", "Product") in schema.edges("event")
    assert schema.edge_arrow_schema(("User", "BOUGHT", "Product")).field("first_at").type == pa.timestamp(
        "us"
    )
    assert schema.node("Product").text == ("title", "brand_text", "category_text", "attributes")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ((*USER, "colour"), "red", "nodes.User.colour"),
        ((*USER, "properties", "age"), "integer", "nodes.User.properties.age"),
        ((*USER, "properties", "age"), {"type": "int64", "requred": True}, "requred"),
        ((*USER, "name"), "nick", "nodes.User: .*'nick'"),
        ((*USER, "key"), "age", "nodes.User: .*'age'"),
        (USER, {"key": "product_id", "name": "product_id"}, "share the key name 'product_id'"),
        ((*USER, "properties", "title"), "int64", "Product.title is string, but User.title is int64"),
        ((*USER, "properties", "product_id"), "string", "User.product_id has the name of Product's key"),
        ((*BOUGHT, "properties", "age"), "string", "BOUGHT.age is string, but User.age is int64"),
        ((*BOUGHT, "endpoints"), [["User", "Shop"]], "BOUGHT: unknown label 'Shop'"),
        ((*BOUGHT, "endpoints"), [], "relationships.BOUGHT.endpoints"),
        ((*BOUGHT, "identity"), ["count"], "'count', which is not a required property"),
        ((*BOUGHT, "identity"), ["nope"], "'nope'"),
        ((*BOUGHT, "time"), "count", "'count', which is not a timestamp"),
        ((*BOUGHT, "kind"), "fact", "an event has a time"),
        (
            (*BOUGHT, "properties", "at"),
            {"type": "timestamp", "required": True, "cumulative": True},
            "cannot be cumulative",
        ),
        (("version",), 2, "version"),
    ],
)
def test_a_contradiction_is_refused_with_its_place(
    tmp_path: Path, path: tuple[str, ...], value: Any, says: str
) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(SchemaError, match=says) as caught:
        load(tmp_path, changed(path, value))
    assert str(tmp_path / "schema.yaml") in str(caught.value)


@pytest.mark.parametrize("text", ["nodes: [", "- a list", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SchemaError, match=r"schema\.yaml"):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"absent\.yaml"):
        load_schema(tmp_path / "absent.yaml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_bytes("version: 1 # größer".encode("latin-1"))
    with pytest.raises(SchemaError, match="is no UTF-8") as raised:
        load_schema(tmp_path / "odd.yaml")
    assert raised.value.where == str(tmp_path / "odd.yaml")


@given(name=st.text(min_size=1, max_size=12) | st.from_regex(r"[A-Za-z0-9_ `$-]{1,12}", fullmatch=True))
@example("a\n")
@example("source")
def test_only_plain_identifiers_become_names(name: str) -> None:
    plain = name.isascii() and name[0].isalpha() and name.replace("_", "a").isalnum()
    taken = ("source", "target", "age", "user_id", "product_id", "at", "count", "title")
    own = {"key": "other_id", "name": "other_id"}
    for path, value in (((*USER, "properties", name), "string"), (("nodes", name), own)):
        if not plain or name in ("source", "target"):
            with pytest.raises(ValueError, match="cannot be a name"):
                Schema.model_validate(changed(path, value))
        elif name not in taken:
            Schema.model_validate(changed(path, value))


@given(first=st.sampled_from(TYPES), second=st.sampled_from(TYPES), where=st.sampled_from(["node", "edge"]))
def test_one_name_has_one_type_wherever_it_stands(first: str, second: str, where: str) -> None:
    shape = changed((*USER, "properties", "shared"), first)
    owner = shape["nodes"]["Product"] if where == "node" else shape["relationships"]["BOUGHT"]
    owner["properties"]["shared"] = second
    if first == second:
        assert Schema.model_validate(shape).arrow_type("shared") is not None
    else:
        with pytest.raises(ValueError, match="one name, one type"):
            Schema.model_validate(shape)


def test_the_digest_follows_the_shape_and_not_the_words() -> None:
    digest = Schema.model_validate(GOOD).digest()
    assert Schema.model_validate(changed((*USER, "description"), "who buys")).digest() == digest
    assert Schema.model_validate(changed((*USER, "properties", "extra"), "bool")).digest() != digest


def test_unknown_labels_types_and_directions_are_named_with_the_known_ones() -> None:
    schema = Schema.model_validate(GOOD)
    with pytest.raises(SchemaError, match="User, Product"):
        schema.node("Shop")
    with pytest.raises(SchemaError, match="BOUGHT"):
        schema.relationship(("User", "SOLD", "Product"))
    with pytest.raises(SchemaError, match=r"\(User\)-\[BOUGHT\]->\(Product\)"):
        schema.relationship(("Product", "BOUGHT", "User"))


def test_nobody_changes_the_schema_that_others_read() -> None:
    schema, before = load_schema(), load_schema().model_dump()
    user, bought = schema.nodes["User"], schema.relationships["BOUGHT"]
    # Of BOUGHT as well, some of whose properties the schema itself sets right.
    for held in (schema.nodes, schema.relationships, user.properties, bought.properties):
        assert isinstance(held, dict)
        (name, *_) = held
        for change, values in (
            ("update", [{"x": 1}]), ("pop", [name]), ("clear", []), ("popitem", []), ("__delitem__", [name]),
            ("setdefault", ["x", 1]), ("__setitem__", ["x", 1]), ("__ior__", [{"x": 1}]),
        ):  # fmt: skip
            with pytest.raises(TypeError, match="a schema does not change"):
                getattr(held, change)(*values)
    assert load_schema().model_dump() == before
    for other in (copy.deepcopy(schema), pickle.loads(pickle.dumps(schema)), Schema.model_validate(before)):
        assert other == schema
    # What is made of it is one's own.
    before["nodes"]["Shop"] = {"key": "shop_id", "name": "shop_id"}
    assert "Shop" in Schema.model_validate(before).nodes
    assert "Shop" not in load_schema().nodes
