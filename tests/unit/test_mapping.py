from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from kgdistill.errors import InputError, KgdistillError, SchemaError
from kgdistill.ingest.mapping.load import load_mapping, mapping_json_schema, parse_mapping
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
SHOP = """
version: 1
name: shop
sources:
  orders:
    files: orders/*.csv
    columns: [buyer, sku, name, paths, when, units, price]
    where: [{column: units, min: 0}]
    nodes:
      - label: User
        key: {column: buyer, hash: true}
      - label: Product
        key: sku
        properties: {title: name}
    relationships:
      - type: BOUGHT
        from: {User: {column: buyer, hash: true}}
        to: {Product: sku}
        properties: {at: when, quantity: units, amount: {multiply: [units, price]}}
        missing: stub
    trees:
      - {label: Category, path: {column: paths, split: ">"}, root: Department, from: {Product: sku}}
"""


def refused(old: str, new: str) -> KgdistillError:
    assert old in SHOP
    with pytest.raises(KgdistillError) as caught:
        parse_mapping(SHOP.replace(old, new, 1), where="shop.yaml").compile(SCHEMA, salt=b"salt")
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("version: 1", "version: 2", "version", "is 2, but should be 1"),
        ("name: shop", "name: a shop", "name", "letters, digits"),
        ("name: shop", "name: shop\ntime_zone: Mars", "time_zone", "'Mars' is not a time zone"),
        ("label: Product", "lable: Product", "sources.orders.nodes[1].lable", "did you mean 'label'?"),
        ("key: sku", "key: {colum: sku}", "sources.orders.nodes[1].key.colum", "did you mean 'column'?"),
        ("key: sku", "key: {column: a, constant: b}", "sources.orders.nodes[1].key", "exactly one of"),
        ("key: sku", "key: {strip: true}", "sources.orders.nodes[1].key", "says no origin"),
        ("key: sku", "key: [sku]", "sources.orders.nodes[1].key", "a column's name or a mapping"),
        ("key: sku", "key: {template: fix}", "sources.orders.nodes[1].key.template", "names no column"),
        ("key: sku", "key: {column: a, list: true}", "sources.orders.nodes[1].key.list", "goes with"),
        ("key: sku", "key: {column: a, case: uper}", "sources.orders.nodes[1].key.case", "mean 'upper'?"),
        ("key: sku", 'key: {column: a, replace: {"(": x}}', "sources.orders.nodes[1].key.replace", "RE2"),
        ("        key: sku\n", "", "sources.orders.nodes[1].key", "is missing"),
        ("min: 0", "mim: 0", "sources.orders.where[0].mim", "did you mean 'min'?"),
        (", min: 0", "", "sources.orders.where[0]", "says nothing"),
        ("min: 0", "matches: '('", "sources.orders.where[0].matches", "is not a regular expression"),
        (
            "files:",
            "delete: {column: x, presnt: 1}\n    files:",
            "sources.orders.delete.presnt",
            "did you mean 'present'?",
        ),
        ("key: sku", "key: &k {value: *k}", "sources.orders.nodes[1].key.value", "holds itself"),
        ("files:", "encoding: idna\n    files:", "sources.orders.encoding", "is not an encoding"),
        ("files:", "encoding: klingon\n    files:", "sources.orders.encoding", "is not an encoding"),
        ("files:", "delimiter: ''\n    files:", "sources.orders.delimiter", "should not be empty"),
        (
            "properties: {title: name}",
            "properties: [title]",
            "sources.orders.nodes[1].properties",
            "a mapping",
        ),
        ("to: {Product: sku}", "to: {}", "sources.orders.relationships[0].to", "exactly one label"),
        ("files:", "files: x\n    files:", "", "line 7: is not YAML: the key 'files' stands twice"),
    ],
)
def test_what_breaks_the_grammar_is_named_by_file_key_path_and_nearest_key(
    old: str, new: str, place: str, says: str
) -> None:
    error = refused(old, new)
    assert isinstance(error, InputError)
    assert says in str(error)
    assert error.where == f"shop.yaml: {place}" if place else error.where.startswith("shop.yaml")


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("label: Product", "label: Prodcut", "nodes[1].label", "did you mean 'Product'?"),
        ("title: name", "titel: name", "nodes[1].properties.titel", "did you mean 'title'?"),
        ("type: BOUGHT", "type: BUOGHT", "relationships[0].type", "did you mean 'BOUGHT'?"),
        ("to: {Product", "to: {Brand", "relationships[0]", "does not lead from User to Brand"),
        ("from: {User:", "from: {Usr:", "relationships[0].from", "did you mean 'User'?"),
        ("at: when, ", "", "relationships[0].properties", "requires 'at'"),
        ("at: when", "at: when, count: units", "relationships[0].properties.count", "stands beside"),
        ("quantity: units", "rating: units", "relationships[0].properties.rating", "it has: at, quantity"),
        ("label: Category", "label: Brand", "trees[0].label", "(Brand)-[PART_OF]->(Brand)"),
        ("root: Department", "root: Campaign", "trees[0].root", "(Category)-[PART_OF]->(Campaign)"),
        ("from: {Product: sku}}", "from: {User: sku}}", "trees[0].from", "(User)-[IN_CATEGORY]->(Category)"),
        (
            "properties: {at: when, quantity: units, amount: {multiply: [units, price]}}",
            "properties: {first_at: when, last_at: when, count: units, spend: price, first: units}",
            "relationships[0].properties.first",
            "did you mean 'first_at'?",
        ),
        (
            "    trees:",
            "      - {type: MADE_BY, from: {Product: sku}, to: {Brand: name}, event_id: sku}\n    trees:",
            "relationships[1].event_id",
            "no events to tell apart",
        ),
        (
            "    trees:",
            "      - {type: RATED, from: {User: buyer}, to: {Product: sku}, properties: {rating: units}}\n"
            "    trees:",
            "relationships[1].properties",
            "RATED requires 'at'",
        ),
    ],
)
def test_what_the_schema_does_not_have_is_refused_at_its_key_path(
    old: str, new: str, place: str, says: str
) -> None:
    error = refused(old, new)
    assert isinstance(error, SchemaError)
    assert error.where == f"shop.yaml: sources.orders.{place}"
    assert says in str(error)


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("quantity: units", "quantity: {column: units, format: '%Y'}", "quantity.format", "is a number"),
        ("quantity: units", "quantity: {column: units, hash: true}", "quantity.hash", "hash is for text"),
        ("quantity: units", "quantity: {column: units, default: few}", "quantity.default", "not a number"),
        ("quantity: units", "quantity: {column: units, min: 3, max: 2}", "quantity.min", "is above max"),
        ("quantity: units", "quantity: {column: units, values: {a: b}}", "quantity.values", "'b' is not"),
        ("at: when", "at: {column: when, format: '%H:%M'}", "at.format", "with a year"),
        ("at: when", "at: {column: when, zone: Europe/Atlantis}", "at.zone", "is not a time zone"),
        ("at: when", "at: {column: when, required: false}", "at.required", "must be there"),
        ("at: when", "at: {column: when, max: soon}", "at.max", "is not a time"),
        ("at: when", "at: {column: when, unit: s, format: '%Y'}", "at.unit", "stands beside format"),
    ],
)
def test_an_option_that_does_not_fit_its_value_is_refused(old: str, new: str, place: str, says: str) -> None:
    error = refused(old, new)
    assert error.where == f"shop.yaml: sources.orders.relationships[0].properties.{place}"
    assert says in str(error)


def test_a_column_that_the_headerless_file_does_not_list_is_refused() -> None:
    error = refused("title: name", "title: nmae")
    assert error.where == "shop.yaml: sources.orders.columns"
    assert "did you mean 'name'?" in str(error)


def test_hashing_without_a_salt_is_refused() -> None:
    with pytest.raises(InputError, match="KGDISTILL_SALT"):
        parse_mapping(SHOP).compile(SCHEMA)


def test_a_tree_in_a_source_of_deletions_needs_what_hangs_on_it() -> None:
    error = refused(
        "sources:",
        "sources:\n  gone:\n    delete: true\n    trees: [{label: Category, path: p}]",
    )
    assert error.where == "shop.yaml: sources.gone.trees[0]"


def test_several_paths_in_one_value_need_to_be_cut_each() -> None:
    error = refused('path: {column: paths, split: ">"}', 'path: paths, each: ","')
    assert error.where == "shop.yaml: sources.orders.trees[0].path"
    assert "what stands between its names" in str(error)


def test_a_compiled_source_says_what_it_needs_and_can_make_and_travels_between_processes() -> None:
    source = parse_mapping(SHOP).compile(SCHEMA, salt=b"salt")["orders"]
    assert source.columns == ["units", "buyer", "sku", "name", "when", "price", "paths"]
    assert source.keys == {
        "User",
        "Product",
        "Category",
        "Department",
        ("User", "BOUGHT", "Product"),
        ("Category", "PART_OF", "Category"),
        ("Category", "PART_OF", "Department"),
        ("Product", "IN_CATEGORY", "Category"),
        ("Product", "PART_OF", "Department"),
    }
    edge = ("User", "BOUGHT", "Product")
    assert source.stubs == {(edge, "source"), (edge, "target")}
    assert source.options.columns == ("buyer", "sku", "name", "paths", "when", "units", "price")
    assert "salt" not in repr(source)
    assert pickle.loads(pickle.dumps(source)).digest == source.digest


def test_the_digest_changes_with_what_rows_make_and_only_then() -> None:
    def digest(text: str, salt: bytes = b"salt") -> str:
        return parse_mapping(text).compile(SCHEMA, salt=salt)["orders"].digest

    base = digest(SHOP)
    assert digest(SHOP.replace("orders/*.csv", "other/*.csv")) == base
    assert digest(SHOP.replace("title: name", "title: {column: name}")) == base
    assert digest(SHOP.replace("title: name", "title: sku")) != base
    assert digest(SHOP.replace("name: shop", "name: shop\ntime_zone: Europe/Berlin")) != base
    assert digest(SHOP, b"pepper") != base
    plain = SHOP.replace(", hash: true", "")
    assert digest(plain, b"pepper") == digest(plain)


def test_yaml_scalars_are_what_they_look_like(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "version: 1\nname: m\nschema: own.yaml\nsources:\n  s:\n"
        "    null_values: [no, 010, 12:30, 2020-01-01, 1]\n"
        "    nodes: [{label: User, key: {column: k, values: {yes: on, 1: true}}}]\n"
    )
    mapping = load_mapping(file)
    assert mapping.schema_file == str(tmp_path / "own.yaml")
    source = mapping.sources["s"]
    assert source.null_values == ("no", "010", "12:30", "2020-01-01", "1")
    assert source.nodes[0].key.values == {"yes": "on", "1": True}


def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: cannot be read"):
        load_mapping(tmp_path / "no.yaml")
    (tmp_path / "b.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(InputError, match=r"b\.yaml, line 2: is not YAML"):
        load_mapping(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("- 1")
    with pytest.raises(InputError, match="should be a mapping of keys"):
        load_mapping(tmp_path / "c.yaml")


def test_the_shipped_json_schema_is_that_of_the_code() -> None:
    root = Path(__file__).resolve().parents[2]
    shipped = (root / "kgdistill" / "ingest" / "mapping.schema.json").read_text(encoding="utf-8")
    assert shipped == mapping_json_schema()
    value = json.loads(shipped)["$defs"]["Value"]
    assert [form["type"] for form in value["anyOf"]] == ["string", "object"]
    assert "list" in value["anyOf"][1]["properties"]
