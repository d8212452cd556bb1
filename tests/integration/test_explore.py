"""Explanations, saved queries and write-back on real stores."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread

from kgdistill.derive.also_bought import also_bought
from kgdistill.errors import InputError, SchemaError
from kgdistill.explore import (
    NodeEmbeddings,
    PathNode,
    draw,
    explain,
    explain_many,
    run_query,
    subgraph,
    write_back,
)
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, load_schema
from tests.integration._stores import BOUGHT, STORES, opened, sample_of_complete_journey, small_graph

SCHEMA = load_schema()
RECOMMENDED = ("User", "RECOMMENDED", "Product")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    for opened_store in opened(request.param, request, tmp_path):
        ingest_tables(opened_store, SCHEMA, small_graph())
        ingest_tables(opened_store, SCHEMA, others())
        yield opened_store


def others() -> GraphTables:
    """Two who buy nothing but dairy, so that to buy bread at all is more than chance."""
    day, pairs = datetime(2024, 1, 1), [(user, item) for user in ("dee", "eve") for item in ("p2", "p5")]
    rows = [
        {"source": user, "target": item, "first_at": day, "first_quantity": 1, "last_at": day, "count": 1}
        for user, item in pairs
    ]
    users = pa.table({"user_id": ["dee", "eve"]})
    return GraphTables({"User": users}, {BOUGHT: pa.Table.from_pylist(rows)})


def recommendations(*rows: tuple[str, str, int, float]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(("user", "product", "rank", "score"), r, strict=True)) for r in rows]
    )


def test_the_typed_paths_to_a_product_are_found_and_ranked_by_how_telling_they_are(store: GraphStore) -> None:
    found = explain(store, "ann", "p4")
    # p3 was only returned; the lift of p1 and p4 is chance; BREAD is not the deepest category of p4.
    assert [(e.kind, e.products, e.purchases, e.bought_at) for e in found] == [
        ("IN_CATEGORY", 2, 1, datetime(2024, 1, 8)),
        ("MADE_BY", 3, 1, datetime(2024, 1, 8)),
    ]
    assert found[0].because == "bought Rye, of DARK as this is: 1.2 times the usual share"
    assert found[1].because == "bought Rye, made by Mill as this is: 1.2 times the usual share"
    assert found[0].members == ("p1",)
    # One purchase of three along each, and three of everybody's eleven.
    assert [e.lift for e in found] == pytest.approx([1 / 3 / (3 / 11)] * 2)
    # A lift that one purchase carries counts nothing; two of two do.
    assert found[1].specificity == pytest.approx(1 - np.log(3) / np.log(6))
    (two,) = (e for e in explain(store, "cy", "p3") if e.kind == "MADE_BY")
    assert (two.purchases, two.lift) == (2, pytest.approx(11 / 3))
    assert two.specificity == pytest.approx(1 - np.log(3 / (11 / 3 * (1 - 2**-0.5))) / np.log(6))


def test_what_everybody_buys_as_much_of_is_no_reason(store: GraphStore) -> None:
    # One of ann's two other purchases is dairy, and eight of everybody's eleven.
    assert "MADE_BY" not in {e.kind for e in explain(store, "ann", "p2")}
    day = datetime(2024, 1, 6)
    bread = [
        {"source": "eve", "target": item, "first_at": day, "first_quantity": 1, "last_at": day, "count": 1}
        for item in ("p1", "p3", "p4")
    ]
    assert explain(store, "ann", "p4") != []
    ingest_tables(store, SCHEMA, GraphTables({}, {BOUGHT: pa.Table.from_pylist(bread)}))
    assert explain(store, "ann", "p4") == []
    # What was not bought yet at that time counts for nobody: one of ann's two, three of everybody's ten.
    assert [e.lift for e in explain(store, "ann", "p4", before=day)] == pytest.approx([5 / 3] * 2)


def test_people_are_told_in_the_language_of_the_product_or_in_the_one_asked_for(store: GraphStore) -> None:
    tables = small_graph()
    titles = ["Rye", "Milk", "Oats", "全麦面包", "Cream", None]
    tables.nodes["Product"] = tables.nodes["Product"].set_column(1, "title", pa.array(titles))
    ingest_tables(store, SCHEMA, tables)
    assert explain(store, "ann", "p4")[1].because == "买过Rye，与这件同是Mill的，占比是常人的1.2倍"
    assert explain(store, "ann", "p4", language="en")[1].because.startswith("bought Rye, made by Mill as")
    assert explain(store, "ann", "p5", language="zh")[0].because == (
        "买过Milk的人里有16人也买过这件，是偶然情况的4.0倍"
    )


def test_a_purchase_of_the_product_itself_or_after_the_time_is_on_no_path(store: GraphStore) -> None:
    found = explain(store, "ann", "p5")
    assert [(e.kind, e.steps[2]) for e in found] == [
        ("ALSO_BOUGHT", PathNode("Product", "p2", "Milk")),
    ]
    assert found[0].because == "16 who bought Milk also bought this, 4.0 times as many as by chance"
    assert explain(store, "ann", "p5", before=datetime(2024, 1, 2, tzinfo=timezone.utc)) == []
    assert explain(store, "ann", "p5", limit=1) == found[:1]
    early = explain(store, "ann", "p4", before=datetime(2024, 1, 5))
    assert {e.bought_at for e in early} == {datetime(2024, 1, 1)}
    # The last purchase where it came before, and the first where only that is known to have.
    later = explain(store, "ann", "p4", before=datetime(2099, 1, 1))
    assert [e.bought_at for e in later] == [e.bought_at for e in explain(store, "ann", "p4")]
    assert explain(store, "ann", "p6") == []


def test_of_several_purchases_of_a_brand_the_latest_is_named(store: GraphStore) -> None:
    (made,) = (e for e in explain(store, "cy", "p3") if e.kind == "MADE_BY")
    assert made.steps[2] == PathNode("Product", "p4", "Spelt")
    assert (made.purchases, made.bought_at) == (2, datetime(2024, 1, 5))


def test_an_unknown_id_is_named_with_ids_near_it(store: GraphStore) -> None:
    with pytest.raises(InputError, match=r"no User with the id 'anne'\n.*ann"):
        explain(store, "anne", "p4")
    with pytest.raises(InputError, match="no Product with the id 'p44'"):
        explain_many(store, [("ann", "p4"), ("ann", "p44")])


def test_writing_back_replaces_that_run_alone(store: GraphStore) -> None:
    def vectors(label: str, **values: list[float]) -> NodeEmbeddings:
        return NodeEmbeddings(label, "student", list(values), np.array(list(values.values()), np.float32))

    write_back(store, "old", recommendations(("ann", "p4", 1, 0.5)), [vectors("User", ann=[1.0, 2.0])])
    for product in ("p5", "p6"):
        report = write_back(
            store,
            "new",
            recommendations(("ann", product, 1, 0.7), ("bob", "p4", 1, 0.6)),
            [vectors("Product", **{product: [0.0, 3.0], "p4": [1.0, 1.0]}), vectors("User", ann=[4.0, 5.0])],
        )
    assert (report.recommendations, report.embeddings) == (2, {"Product:student": 2, "User:student": 1})
    held = {
        (r["source"], r["target"], r["run"], r["score"])
        for r in store.read_relationships(RECOMMENDED).to_pylist()
    }
    assert held == {("ann", "p4", "old", 0.5), ("ann", "p6", "new", 0.7), ("bob", "p4", "new", 0.6)}
    stored = {row["embedding_id"]: row for row in store.read_nodes("Embedding").to_pylist()}
    assert set(stored) == {
        "old:student:User:ann",
        "new:student:User:ann",
        "new:student:Product:p6",
        "new:student:Product:p4",
    }
    assert stored["new:student:Product:p6"]["vector"] == [0.0, 3.0]
    assert stored["new:student:Product:p6"]["node_key"] == "p6"
    # A row that cannot be written leaves what stands.
    with pytest.raises(SchemaError, match="p99"):
        write_back(store, "new", recommendations(("ann", "p99", 1, 0.7)))
    assert store.read_relationships(RECOMMENDED).num_rows == 3


@pytest.mark.parametrize(
    ("table", "embeddings", "says"),
    [
        (recommendations(("ann", "p4", 0, 1.0)), [], "rank 0"),
        (recommendations(("ann", "p4", 1, 1.0)).drop_columns("score"), [], "lacks the column 'score'"),
        (
            recommendations(("ann", "p4", 1, 1.0)),
            [NodeEmbeddings("User", "student", ["ann"], np.array([[np.nan]], np.float32))],
            "'ann' is not finite",
        ),
        (
            recommendations(("ann", "p4", 1, 1.0)),
            [NodeEmbeddings("User", "student", ["ann"], np.zeros((2, 3), np.float32))],
            r"shape \(2, 3\) for 1 keys",
        ),
    ],
)
@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_what_cannot_be_written_back_is_refused_before_anything_is(
    store: GraphStore, table: pa.Table, embeddings: list[NodeEmbeddings], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        write_back(store, "r", table, embeddings)
    assert store.read_relationships(RECOMMENDED).num_rows == 0


def oracle(tables: GraphTables, user: str, product: str) -> set[tuple[str, str]]:
    """(kind, brand, category or bought product) of every path, from the tables alone."""
    bought = {
        row["target"]
        for row in tables.edges[BOUGHT].to_pylist()
        if row["source"] == user and row["first_quantity"] > 0 and row["target"] != product
    }
    everybody = [row for row in tables.edges[BOUGHT].to_pylist() if row["first_quantity"] > 0]
    found: set[tuple[str, str]] = set()
    for kind, label in (("MADE_BY", "Brand"), ("IN_CATEGORY", "Category")):
        members = defaultdict(set)
        for row in tables.edges[("Product", kind, label)].to_pylist():
            members[row["target"]].add(row["source"])
        pairs = [(r["source"], r["target"]) for r in everybody]
        for via, inside in members.items():
            usual = sum(target in inside for _, target in pairs) / len(pairs)
            # What is told as 1.0 times is no reason.
            if product in inside and inside & bought and len(inside & bought) / len(bought) / usual > 1.05:
                found.add((kind, via))
    for row in tables.edges[("Product", "ALSO_BOUGHT", "Product")].to_pylist():
        ends = {row["source"], row["target"]}
        if product in ends and ends & bought and round(row["lift"], 1) > 1:
            found.add(("ALSO_BOUGHT", next(iter(ends - {product}))))
    return found


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_explanations_of_real_households_are_all_paths_that_the_tables_hold(store: GraphStore) -> None:
    tables = sample_of_complete_journey(8)
    tables.edges[("Product", "ALSO_BOUGHT", "Product")] = also_bought(
        tables, cut=datetime(2018, 1, 1), top_k=3, min_support=2
    )
    ingest_tables(store, SCHEMA, tables)
    chance = random.Random(0)
    users = tables.nodes["User"]["user_id"].to_pylist()
    partners = sorted(set(tables.edges[("Product", "ALSO_BOUGHT", "Product")]["source"].to_pylist()))
    pairs = [(chance.choice(users), chance.choice(partners)) for _ in range(12)]
    found = explain_many(store, pairs, limit=100_000)
    kinds = set()
    for (user, product), explanations in found.items():
        explanations = [e for e in explanations if e.kind in ("MADE_BY", "IN_CATEGORY", "ALSO_BOUGHT")]
        paths = {
            (e.kind, e.steps[-3].key if e.kind != "ALSO_BOUGHT" else e.steps[2].key) for e in explanations
        }  # type: ignore[union-attr]
        assert paths == oracle(tables, user, product)
        assert len(paths) == len(explanations)
        rows = run_query(store, "why", {"user": user, "product": product, "each": 100_000}, limit=100_000)
        assert paths <= {(r["kind"], r["via"]) for r in rows.to_pylist()}
        order = [e.specificity for e in explanations]
        assert order == sorted(order, reverse=True)
        kinds |= {e.kind for e in explanations}
    assert kinds == {"MADE_BY", "IN_CATEGORY", "ALSO_BOUGHT"}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_subgraph_leads_as_the_store_does_and_is_drawn(store: GraphStore, tmp_path: Path) -> None:
    graph = subgraph([*explain(store, "ann", "p4"), *explain(store, "ann", "p5")])
    assert set(graph.edges(keys=True)) == {
        (("User", "ann"), ("Product", "p1"), "BOUGHT"),
        (("User", "ann"), ("Product", "p2"), "BOUGHT"),
        (("Product", "p1"), ("Category", "F > BREAD > DARK"), "IN_CATEGORY"),
        (("Product", "p4"), ("Category", "F > BREAD > DARK"), "IN_CATEGORY"),
        (("Product", "p1"), ("Brand", "b1"), "MADE_BY"),
        (("Product", "p4"), ("Brand", "b1"), "MADE_BY"),
        (("Product", "p2"), ("Product", "p5"), "ALSO_BOUGHT"),
    }
    layers = {node[1]: data["layer"] for node, data in graph.nodes(data=True)}
    assert layers == {"ann": 0, "p1": 1, "p2": 1, "b1": 2, "F > BREAD > DARK": 2, "p4": 3, "p5": 3}
    image = imread(draw(graph, tmp_path / "new" / "why.png"))
    # Something is drawn in each quarter of the width.
    dark = (image[:, :, :3].min(axis=2) < 0.5).sum(axis=0)
    assert all(part.sum() > 50 for part in np.array_split(dark, 4))
    with pytest.raises(InputError, match="no path to draw"):
        draw(subgraph([]), tmp_path / "none.png")
    with pytest.raises(InputError, match=r"\.png"):
        draw(graph, tmp_path / "why.jpg")
