"""Mined facts in a store: beside what was told, again the same, and taken out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from _tables import write_rows

from kgdistill.cli import main
from kgdistill.derive.mined import TO_ATTRIBUTE, TO_BRAND, derive_facts
from kgdistill.errors import InputError, SchemaError
from kgdistill.graph import Graph
from kgdistill.snapshot import take_snapshot
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema
from kgdistill.tasks.item_groups import fact_groups

TITLES = {
    "p1": "Acme shirt, red, cotton",
    "p2": "Acme mug, white, 300 ml",
    "p3": "Zeta lamp, black",
    "p4": "Acme bowl",
    "p5": None,
}
MADE = {"p1": "b1", "p3": "b2"}


def shop(store: GraphStore) -> GraphStore:
    schema = load_schema()
    store.apply_schema(schema)
    tables: dict[Any, list[dict[str, Any]]] = {
        "Product": [{"product_id": key, "title": title} for key, title in TITLES.items()],
        "Brand": [{"brand_id": "b1", "name": "Acme"}, {"brand_id": "b2", "name": "Zeta"}],
        "User": [{"user_id": "u"}],
        # Somebody's own, which no mining touches.
        "Attribute": [{"attribute_id": "colour:red", "name": "red", "kind": "colour"},
                      {"attribute_id": "finish:matt", "name": "matt", "kind": "finish"}],
        ("Product", "MADE_BY", "Brand"): [{"source": p, "target": b} for p, b in MADE.items()],
        TO_ATTRIBUTE: [{"source": "p1", "target": "colour:red"}, {"source": "p4", "target": "finish:matt"}],
    }  # fmt: skip
    write_rows(store, schema, tables)
    return store


def held(store: GraphStore) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    edges = {
        tuple(row.values())
        for edge in (TO_ATTRIBUTE, TO_BRAND)
        for row in store.read_relationships(edge, ["origin"]).to_pylist()
    }
    return edges, {tuple(row.values()) for row in store.read_nodes("Attribute", ["origin"]).to_pylist()}


OWN = {("p1", "colour:red", None), ("p4", "finish:matt", None)}
OWN_NODES = {("colour:red", None), ("finish:matt", None)}
FOUND = {
    ("p1", "material:cotton", "mined"),
    ("p2", "colour:white", "mined"),
    ("p2", "size:300ml", "mined"),
    ("p3", "colour:black", "mined"),
    ("p2", "b1", "mined"),
    ("p4", "b1", "mined"),
}


def test_mined_facts_stand_beside_what_was_told_and_go_again() -> None:
    store = shop(MemoryStore())
    made = store.read_relationships(("Product", "MADE_BY", "Brand"), []).to_pylist()
    report = derive_facts(store)
    edges, nodes = held(store)
    assert edges == OWN | FOUND
    assert {key for key, origin in nodes if origin == "mined"} == {
        "material:cotton", "colour:white", "size:300ml", "colour:black"
    }  # fmt: skip
    assert report.facts == {"brand": 2, "colour": 2, "material": 1, "size": 1}
    assert (report.products, report.read, report.written, report.deleted) == (4, 4, 6, 0)
    confidences = store.read_relationships(TO_BRAND, ["confidence"])["confidence"].to_pylist()
    assert all(0.8 <= one <= 1 for one in confidences)
    again = derive_facts(store)
    assert (again.written, again.deleted) == (0, 0)
    assert held(store) == (edges, nodes)
    undone = derive_facts(store, undo=True)
    assert (undone.written, undone.deleted, undone.facts) == (0, 6, {})
    assert held(store) == (OWN, OWN_NODES)
    assert store.read_relationships(("Product", "MADE_BY", "Brand"), []).to_pylist() == made


def test_what_a_title_says_no_more_goes() -> None:
    store = shop(MemoryStore())
    derive_facts(store)
    store.write_nodes("Product", pa.table({"product_id": ["p3"], "title": ["Zeta lamp, silver"]}))
    report = derive_facts(store)
    assert (report.written, report.deleted) == (1, 1)
    edges, nodes = held(store)
    assert ("p3", "colour:silver", "mined") in edges
    assert "colour:black" not in {key for key, _ in nodes}


def test_what_is_less_certain_is_left_out() -> None:
    store = shop(MemoryStore())
    assert "size" not in derive_facts(store, least=0.96).facts
    with pytest.raises(InputError, match="from 0 to 1"):
        derive_facts(store, least=1.5)


def test_other_ways_to_write_a_brand_are_read(tmp_path: Path) -> None:
    store = shop(MemoryStore())
    store.write_nodes("Product", pa.table({"product_id": ["p6"], "title": ["ACM-X pan"]}))
    assert ("p6", "b1", "mined") not in (derive_facts(store), held(store)[0])[1]
    derive_facts(store, aliases={"ACM X": "Acme"})
    assert ("p6", "b1", "mined") in held(store)[0]


def test_training_reads_them_as_facts(tmp_path: Path) -> None:
    store = shop(MemoryStore())
    derive_facts(store)
    groups = fact_groups(take_snapshot(store, tmp_path / "s", cut=None), "Product")
    assert {"MENTIONS Attribute", "MENTIONS Brand", "MADE_BY"} <= {group.name for group in groups}


def test_a_store_without_products_is_refused() -> None:
    store = MemoryStore()
    store.apply_schema(load_schema().restricted({"User"}, set()))
    with pytest.raises(SchemaError, match="holds no label Product"):
        derive_facts(store)


def test_the_command_and_a_rebuilt_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "products.csv").write_text(
        "id,title,brand\n1,Acme red mug,Acme\n2,Acme blue bowl 2 l,\n", "utf-8"
    )
    (tmp_path / "shop.yaml").write_text(
        "version: 1\nname: shop\nsources:\n  products:\n    files: products.csv\n    nodes:\n"
        "      - {label: Product, key: id, properties: {title: title}}\n"
        "      - {label: Brand, key: brand, properties: {name: brand},"
        " when: [{column: brand, present: true}]}\n"
        "    relationships:\n      - {type: MADE_BY, from: {Product: id}, to: {Brand: brand},"
        " when: [{column: brand, present: true}]}\n",
        "utf-8",
    )
    url = f"ladybug:{tmp_path / 'shop.db'}"
    with Graph(url) as graph:
        graph.ingest(tmp_path / "shop.yaml", exports)
    (tmp_path / "brands.csv").write_text("alias,name\nACM,Acme\nNO,None\n", "utf-8")
    words = ["derive", "facts", "--store", url, "--aliases", str(tmp_path / "brands.csv")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"] == {"brand": 1, "colour": 2, "size": 1}
    assert told["archive"]
    assert told["unknown_aliases"] == ["NO"]
    assert main(words) == 0
    assert "aliases of no brand in the graph: NO" in capsys.readouterr().err
    with Graph(url) as graph:
        before = held(graph.store)
    assert main(["store", "rebuild", "--store", url, "--archive", told["archive"]]) == 0
    with Graph(url) as graph:
        assert held(graph.store) == before
    assert main([*words[:-2], "--undo"]) == 0
    assert "4 deleted" in capsys.readouterr().err
    assert main(["store", "rebuild", "--store", url, "--archive", told["archive"]]) == 0
    with Graph(url) as graph:
        assert held(graph.store) == (set(), set())


def test_a_title_that_is_sensitive_is_not_mined() -> None:
    raw = load_schema().model_dump(mode="json")
    raw["nodes"]["Product"]["properties"]["title"]["sensitive"] = True
    with MemoryStore() as store:
        shop(store)
        store.apply_schema(Schema.model_validate_json(json.dumps(raw)))
        with pytest.raises(InputError, match=r"Product\.title is sensitive"):
            derive_facts(store)
        assert derive_facts(store, undo=True).facts == {}


def test_an_alias_of_no_brand_is_told_and_none_is_undone_by() -> None:
    store = shop(MemoryStore())
    aliases = {"zzz": "Nobody", "another": "Acme", "key": "b2"}
    assert derive_facts(store, aliases=aliases).unknown_aliases == ["zzz"]
    with pytest.raises(InputError, match="undo takes every mined fact out"):
        derive_facts(store, aliases=aliases, undo=True)
