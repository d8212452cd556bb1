"""The graph in other programs: read back from each kind of file, and imported by Neo4j's own tool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pytest

import kgdistill as kg
from kgdistill.cli import main
from kgdistill.errors import InputError
from kgdistill.explore import Selection, export_graph, saved_queries
from kgdistill.explore.saved_cypher import save_queries
from kgdistill.explore.writeback import ToldClass, write_classes
from kgdistill.store import GraphStore, MemoryStore, load_schema, open_store
from kgdistill.store.compare import compare
from kgdistill.store.neo4j import local as local_neo4j
from kgdistill.store.neo4j import tools
from kgdistill.store.neo4j.store import Neo4jStore
from tests._explored_shop import fill_explored_shop
from tests.integration._stores import STORES, opened

ODD = 'line\nbreak, "quote"; <b>&amp;</b> 茶 \x0b \\'


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for store in opened(request.param, request, tmp_path):
        fill(store)
        yield store


def fill(store: GraphStore) -> None:
    fill_explored_shop(store)
    store.write_nodes("Product", pa.table({"product_id": ["odd"], "title": [ODD]}))
    store.write_nodes("User", pa.table({"user_id": ["ann"], "age": ["30-40"]}))
    told = [ToldClass("ann", "age", "30-40", 0.9, True), ToldClass("ann", "mood", "calm", 0.9)]
    write_classes(store, "ages", {("User", "PROFILED", "Class"): told})


def typed(graph: nx.MultiDiGraph[Any]) -> set[tuple[str, str, str]]:
    return {(source, data["relationship"], target) for source, target, data in graph.edges(data=True)}


def test_graphml_and_gexf_are_read_back_as_what_the_store_holds(store: GraphStore, tmp_path: Path) -> None:
    for name, read in (("a.graphml", nx.read_graphml), ("a.gexf", nx.read_gexf)):
        report = export_graph(store, tmp_path / "new" / name)
        graph: nx.MultiDiGraph[Any] = read(tmp_path / "new" / name)
        labels = [n for n in load_schema().nodes if n != "Embedding"]
        counted = {n: store.read_nodes(n).num_rows for n in labels}
        counted["Class"] -= 1  # what is sensitive is left out
        assert {n: c for n, c in counted.items() if c} == report.nodes
        assert graph.number_of_nodes() == sum(report.nodes.values())
        assert graph.number_of_edges() == sum(report.relationships.values())
        tea = graph.nodes["Product:tea-1"]
        assert (tea["node_label"], tea["node_key"], tea["title"], tea["price"]) == (
            "Product", "tea-1", "Green tea", 3.0
        )  # fmt: skip
        assert tea["label"] == "Green tea"
        assert graph.nodes["Product:odd"]["title"] == ODD.replace("\x0b", "\ufffd")
        assert "price" not in graph.nodes["Product:odd"]
        assert "age" not in graph.nodes["User:ann"]
        assert not {n for n in graph if n.startswith("Class:ages:age")}
        (bought,) = (d for d in graph["User:ann"]["Product:tea-1"].values() if d["relationship"] == "BOUGHT")
        assert (bought["count"], bought["spend"]) == (3, 9.0)
        assert bought["first_at"] == "2024-01-01T00:00:00Z"
        # Two purchases of one coupon, and two runs' recommendations, stand side by side.
        redeemed = graph["User:ann"]["Coupon:c1"].values()
        assert {d["at"] for d in redeemed} == {"2024-01-12T00:00:00Z", "2024-01-14T00:00:00Z"}
        runs = {d["run"] for d in graph["User:ann"]["Product:tea-2"].values() if "run" in d}
        assert runs == {"demo", "former"}
        assert report.left_out == ("User.age",)


def test_what_is_said_to_be_left_out_would_stand_in_the_part(tmp_path: Path) -> None:
    schema = load_schema()
    rated, viewed = (schema.relationships[name] for name in ("RATED", "VIEWED"))
    of_rated = rated.properties | {
        "rating": rated.properties["rating"].model_copy(update={"sensitive": True})
    }
    changed = {
        "RATED": rated.model_copy(update={"properties": of_rated}),
        "VIEWED": viewed.model_copy(update={"sensitive": True}),
    }
    schema = schema.model_copy(update={"relationships": {**schema.relationships, **changed}})

    def left_out(**given: Any) -> tuple[str, ...]:
        return tuple(export_graph(store, tmp_path / "a.gexf", part=Selection(**given)).left_out)

    with MemoryStore() as store:
        store.apply_schema(schema)
        store.write_nodes("User", pa.table({"user_id": ["ann", "bob"], "age": ["30-40", None]}))
        store.write_nodes("Product", pa.table({"product_id": ["tea"]}))
        of = {"source": ["bob"], "target": ["tea"]}
        at = pa.array([datetime(2024, 1, 1)], pa.timestamp("us"))
        store.write_relationships(("User", "RATED", "Product"), pa.table({**of, "at": at}))
        assert left_out() == ("User.age",)
        store.write_relationships(("User", "RATED", "Product"), pa.table({**of, "at": at, "rating": [1.0]}))
        store.write_relationships(("User", "VIEWED", "Product"), pa.table({**of, "first_at": at}))
        assert left_out() == ("RATED.rating", "User.age", "VIEWED")
        assert left_out(labels=["Product"]) == ()
        # What is near bob: ann's age is far from it.
        assert left_out(around="User:bob") == ("RATED.rating", "VIEWED")
        assert left_out(allow_sensitive=True) == ()


@pytest.mark.parametrize("store", ["memory", "ladybug"], indirect=True)
def test_a_part_is_what_was_asked_for(store: GraphStore) -> None:
    graph = kg.Graph(store)
    kinds = ("MADE_BY", "RECOMMENDED")
    around = graph.to_networkx(Selection(around="Product:Earl Grey", types=kinds, run="demo"))
    assert set(around) == {
        ("Product", "tea-2"), ("Brand", "hillside"), ("User", "ann"), ("User", "bob")
    }  # fmt: skip
    assert typed(around) == {
        (("Product", "tea-2"), "MADE_BY", ("Brand", "hillside")),
        (("User", "ann"), "RECOMMENDED", ("Product", "tea-2")),
        (("User", "bob"), "RECOMMENDED", ("Product", "tea-2")),
    }
    two = graph.to_networkx(Selection(around="Product:tea-2", types=("MADE_BY",), hops=2))
    assert set(two) == {("Product", "tea-1"), ("Product", "tea-2"), ("Brand", "hillside")}
    facts = graph.to_networkx(Selection(types=("MADE_BY",)))
    assert ("Product", "gift-1") not in facts
    assert facts.number_of_edges() == 7
    labels = graph.to_networkx(Selection(labels=("Product", "Brand")))
    assert ("Product", "gift-1") in labels
    assert {kind for _, kind, _ in typed(labels)} == {"MADE_BY", "ALSO_BOUGHT", "BRAND_SIMILAR"}
    open_ = graph.to_networkx(Selection(labels=("User", "Class"), allow_sensitive=True))
    assert open_.nodes["User", "ann"]["age"] == "30-40"
    assert ("Class", "ages:age:30-40") in open_
    demo = graph.to_networkx(Selection(types=("RECOMMENDED",), run="demo"))
    assert {data["run"] for *_, data in demo.edges(data=True)} == {"demo"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": ["Produkt"]}, "no label 'Produkt'\n.*did you mean 'Product'"),
        ({"types": ["BOUHGT"]}, "no relationship type 'BOUHGT'\n.*did you mean 'BOUGHT'"),
        ({"around": "tea-1"}, "'tea-1' names no node of this part"),
        ({"around": "Product:Erl Grey"}, "no Product with the id or name 'Erl Grey'\n.*Earl Grey"),
        ({"run": "dmeo"}, "no run 'dmeo' wrote to this part"),
        ({"most": 10}, r"more than 10\n.*narrow it"),
        ({"around": "Product:tea-1", "hops": 0}, "hops is 0"),
    ],
)
def test_what_is_not_there_or_too_much_is_told(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill(store)
        with pytest.raises(InputError, match=says):
            export_graph(store, tmp_path / "a.graphml", part=Selection(**given))
    assert not list(tmp_path.iterdir())


def test_a_frame_has_the_keys_and_the_properties_that_were_asked_for(store: GraphStore) -> None:
    graph = kg.Graph(store)
    products = graph.frame("Product", ["title"]).set_index("product_id")
    assert products.loc["tea-2", "title"] == "Earl Grey"
    bought = graph.frame("BOUGHT")
    assert len(bought) == 9
    assert bought["first_at"].min() == datetime(2024, 1, 1)
    made = graph.frame(("Category", "PART_OF", "Department"))
    assert list(made.columns) == ["source", "target"]
    with pytest.raises(InputError, match="PART_OF"):
        graph.frame("PART_OF")


def test_neo4j_imports_the_files_as_the_same_graph(tmp_path: Path) -> None:
    if missing := [name for name in ("java", "mvn") if shutil.which(name) is None]:
        pytest.skip(f"needs a Neo4j: {' and '.join(missing)} not on the path")
    folder = tmp_path / "neo4j"
    with open_store(f"ladybug:{tmp_path / 'shop'}") as store:
        fill(store)
        report = export_graph(store, tmp_path / "csv", part=Selection(allow_sensitive=True))
        assert (report.format, report.nodes["Embedding"]) == ("neo4j-csv", 4)
        with pytest.raises(InputError, match="holds something already"):
            export_graph(store, tmp_path / "csv")
        # A first start makes the folder of the server.
        local_neo4j.start(folder, heap="512m")
        local_neo4j.stop(folder)
        admin = tmp_path / "neo4j-admin"
        java, jars = tools.find_java(), tools.fetch_jars()
        admin.write_text(f'#!/bin/sh\nexec "{java}" -Xmx512m -cp "{jars}/*" org.neo4j.cli.AdminTool "$@"\n')
        admin.chmod(0o755)
        environment = {**os.environ, "NEO4J_HOME": str(folder), "NEO4J_CONF": str(folder / "conf")}
        command = ["sh", str(tmp_path / "csv" / "import.sh"), str(admin), "--overwrite-destination=true"]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        server = local_neo4j.start(folder, heap="512m")
        try:
            with Neo4jStore(server.url, user=server.user, password=server.password()) as imported:
                # It knows its schema, and every type is the same, vectors, times and odd texts too.
                schema = imported.schema
                assert schema.nodes.keys() >= {"Product", "Embedding", "Run"}
                assert compare(store, imported, schema)[1] == []
                title = imported.query("MATCH (p:Product {product_id: 'odd'}) RETURN p.title AS title")
                assert title["title"].to_pylist() == [ODD]
        finally:
            local_neo4j.stop(folder)


def test_the_saved_queries_run_as_they_are_written(neo4j_store: Neo4jStore, tmp_path: Path) -> None:
    fill(neo4j_store)
    (whole,) = save_queries(tmp_path / "saved.cypher")
    each = save_queries(tmp_path / "browser")
    assert [file.stem for file in each] == [query.name for query in saved_queries()]
    assert whole.read_text("utf-8") == "\n".join(file.read_text("utf-8") for file in each)
    known = {"RUN": "demo", "OTHER": "former", "PRODUCT": "tea-1", "USER": "ann", "BRAND": "hillside"}
    values: dict[str, Any] = {}
    ran = 0
    for statement in whole.read_text("utf-8").split(";\n"):
        lines = [line for line in statement.splitlines() if line and not line.startswith("//")]
        if lines and lines[0].startswith(":param "):
            name, _, value = lines[0].removeprefix(":param ").partition(" => ")
            given = json.loads(value.replace("'", '"'))
            values[name] = known.get(given, given)
        elif lines:
            used = {name: value for name, value in values.items() if f"${name}" in statement}
            ran += neo4j_store.query("\n".join(lines), used).num_rows > 0
    assert ran > len(each) / 2


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("ladybug:kgdistill.db") as store:
        fill(store)
    export = ["export", "graph", "--out"]
    assert main([*export, "near.graphml", "--around", "Product:tea-1", "--type", "MADE_BY", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["nodes"], told["relationships"]) == (
        {"Product": 1, "Brand": 1},
        {"Product-MADE_BY-Brand": 1},
    )
    assert main([*export, "all.gexf"]) == 0
    assert "left out as sensitive: " in capsys.readouterr().err
    assert main([*export, "a.txt"]) == 2
    assert "'txt' is no format of graphs" in capsys.readouterr().err
    assert main([*export, "import"]) == 0
    assert {"Product.csv", "User-BOUGHT-Product.csv", "import.sh"} <= {
        p.name for p in Path("import").iterdir()
    }
    assert main(["export", "queries", "--out", "saved.cypher"]) == 0
    assert Path("saved.cypher").is_file()
