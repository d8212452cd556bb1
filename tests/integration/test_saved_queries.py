"""Every saved query on every store: its example's rows, checked by hand, and what names a parameter."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from kgdistill.errors import InputError, QueryError
from kgdistill.explore import run_query, saved_queries
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.store.neo4j.store import Neo4jStore
from tests._explored_shop import DAY, fill_explored_shop
from tests.integration._stores import STORES, opened, small_graph
from tests.integration.conftest import Server, wipe

# Whose parts come in any order.
UNORDERED = {"why", "neighbours_of_product"}
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "also_bought": [
        ("mug-1", "Stoneware mug", "Kitchen > Mugs", 2, 1.5),
        ("coffee-1", "Espresso beans", "Drinks > Coffee", 2, 1.0),
        ("tea-2", "Earl Grey", "Drinks > Tea", 1, 0.5),
    ],
    "answers_given": [
        ("f1", "what is a mug", "a cup", 0.75),
    ],
    "answers_of_search": [
        ("tea-2", "Earl Grey", 3.0, "exact", 3),
        ("tea-3", "House tea", 1.0, "partial", None),
    ],
    "bought_again": [
        ("coffee-1", "Espresso beans", 2, 1, 0.5),
        ("tea-1", "Green tea", 2, 1, 0.5),
        ("mug-1", "Stoneware mug", 3, 0, 0.0),
    ],
    "brand_neighbours": [
        ("kiln", "Kiln", 3, 1.2, 0.75),
    ],
    "brand_reach": [
        ("hillside", "Hillside", 2, 3, 3, 21.0, 4, 4),
    ],
    "brand_shares": [
        ("hillside", "Hillside", 4, 0.5, 1 / 3, 0.25, 1.5),
        ("kiln", "Kiln", 2, 0.25, 1 / 3, 0.25, 0.75),
        ("roastery", "Roastery", 2, 0.25, 1 / 3, 0.375, 0.75),
    ],
    "brands_of_user": [
        ("hillside", "Hillside", 1, 3, 9.0, DAY[20]),
        ("kiln", "Kiln", 1, 1, 12.0, DAY[2]),
        ("roastery", "Roastery", 1, 1, 8.0, DAY[3]),
    ],
    "campaign_audience": [
        (1, "ann", 0.6, True, True),
        (2, "cyd", 0.1, False, False),
    ],
    "campaign_results": [
        ("spring", "Tea time", DAY[10], 2, 1, 1, 2),
        ("winter", "Warm up", DAY[1], 0, 1, 0, 0),
    ],
    "categories_of_user": [
        ("tea", "Drinks > Tea", 1, 3, 9.0, DAY[20]),
        ("coffee", "Drinks > Coffee", 1, 1, 8.0, DAY[3]),
        ("mugs", "Kitchen > Mugs", 1, 1, 12.0, DAY[2]),
    ],
    "category_bridges": [
        ("Drinks > Coffee", "Kitchen > Mugs", 1, 2, 2.0),
        ("Drinks > Tea", "Kitchen > Mugs", 1, 2, 1.5),
    ],
    "category_shares": [
        ("tea", "Drinks > Tea", 4, 0.5, 1 / 3, 0.375, 1.5),
        ("coffee", "Drinks > Coffee", 2, 0.25, 1 / 3, 0.25, 0.75),
        ("mugs", "Kitchen > Mugs", 2, 0.25, 1 / 3, 0.25, 0.75),
    ],
    "classes_of_statements": [
        ("sentiment", "positive", 2, 0.625, 1),
    ],
    "classes_of_users": [
        ("mood", "calm", False, 2, 0.8, 0.7),
        ("mood", "hasty", False, 1, 0.6, 0.6),
    ],
    "cold_recommended": [
        ("mug-2", "Glass mug", 0, 1, 2),
    ],
    "complements": [
        ("mug-1", "Stoneware mug", "Kitchen > Mugs", 2, 1.5),
    ],
    "coupons_of_product": [
        ("c1", "spring", DAY[10], DAY[30], 2),
    ],
    "diversity_of_users": [
        ("ann", 2, 2, 2),
        ("bob", 2, 2, 2),
        ("cyd", 2, 2, 2),
        ("dee", 2, 2, 2),
    ],
    "explanation_coverage": [
        (8, 0, 5, 5, 2, 2),
    ],
    "exposure_by_popularity": [
        ("nobody", 3, 1, 0, 1, 0),
        ("1 to 2", 4, 4, 6, 6, 1),
        ("3 to 9", 1, 1, 3, 1, 3),
    ],
    "found_for_query": [
        (1, "tea-2", "Earl Grey", 0.9, 3.0, 3),
        (2, "tea-1", "Green tea", 0.5, None, None),
    ],
    "history_of_user": [
        ("tea-1", "Green tea", "Drinks > Tea", DAY[1], DAY[20], 3, 9.0),
        ("coffee-1", "Espresso beans", "Drinks > Coffee", DAY[3], DAY[3], 1, 8.0),
        ("mug-1", "Stoneware mug", "Kitchen > Mugs", DAY[2], DAY[2], 1, 12.0),
    ],
    "intents": [
        ("price", "asks the price", 2, 1, "Stoneware mug"),
    ],
    "known_and_new": [
        ("brand and category known", 5),
        ("new", 3),
    ],
    "most_recommended": [
        ("tea-1", "Green tea", 2, 2),
        ("tea-2", "Earl Grey", 2, 1),
        ("coffee-1", "Espresso beans", 1, 2),
        ("coffee-2", "Filter coffee", 1, 1),
        ("mug-1", "Stoneware mug", 1, 3),
        ("mug-2", "Glass mug", 1, 0),
    ],
    "nearest_products": [
        ("tea-2", "Earl Grey", 0.8, "Hillside", "Drinks > Tea", 0.5),
        ("mug-1", "Stoneware mug", 0.0, None, None, 1.5),
        ("coffee-1", "Espresso beans", -1.0, None, None, 1.0),
    ],
    "neighbours_of_product": [
        ("MADE_BY", "Brand", "hillside", "Hillside"),
        ("IN_CATEGORY", "Category", "tea", "Drinks > Tea"),
        ("FOR", "Coupon", "c1", "c1"),
        ("ALSO_BOUGHT", "Product", "mug-1", "Stoneware mug"),
        ("ALSO_BOUGHT", "Product", "coffee-1", "Espresso beans"),
        ("ALSO_BOUGHT", "Product", "tea-2", "Earl Grey"),
    ],
    "never_recommended": [
        ("mug-1", "Stoneware mug", "Kitchen > Mugs", 3),
        ("tea-1", "Green tea", "Drinks > Tea", 2),
    ],
    "new_customers_of_brand": [
        ("cyd", "coffee-1", "Espresso beans", 2),
    ],
    "new_products_recommended": [
        ("mug-2", "Glass mug", 1, 2, 0),
    ],
    "products_of_brand": [
        ("tea-1", "Green tea", "Drinks > Tea", 3.0, 2),
        ("tea-2", "Earl Grey", "Drinks > Tea", 6.0, 1),
    ],
    "products_of_category": [
        ("tea-1", "Green tea", None, 3.0, 2),
        ("tea-2", "Earl Grey", None, 6.0, 1),
        ("tea-3", "House tea", None, 4.0, 0),
    ],
    "products_two_runs_disagree_on": [
        ("tea-1", "Green tea", 2, 0, 2),
        ("coffee-2", "Filter coffee", 1, 2, -1),
        ("mug-1", "Stoneware mug", 1, 0, 1),
        ("mug-2", "Glass mug", 1, 0, 1),
    ],
    "products_without_facts": [
        ("gift-1", "Gift card", 0, True, True, True),
    ],
    "reasons_of_run": [
        ("none", 6, 0.75, 4, 5, None),
        ("MADE_BY", 2, 0.25, 2, 1, 2.5),
    ],
    "recommendations_of_user": [
        (1, "tea-2", "Earl Grey", "Hillside", "Drinks > Tea", 0.9),
        (2, "mug-2", "Glass mug", "Kiln", "Kitchen > Mugs", 0.5),
    ],
    "recommendations_with_reasons": [
        (1, "tea-2", "Earl Grey", 0.9, "Hillside", 1, "Drinks > Tea", 1, 0, None),
        (2, "mug-2", "Glass mug", 0.5, "Kiln", 1, "Kitchen > Mugs", 1, 0, None),
    ],
    "recommended_because": [
        (1, "tea-2", "Earl Grey", 0.9, 1.5, False, "bought Green tea", "MADE_BY", 2.0),
        (2, "mug-2", "Glass mug", 0.5, None, True, None, None, None),
    ],
    "recommended_to": [
        ("ann", 1, 0.9, False),
        ("bob", 1, 0.8, False),
    ],
    "run_figures": [
        ("answer", "answer", None, None, None, None, None, 1, 1),
        ("mood", "mood", None, None, None, None, None, 2, 1),
        ("profile", "profile", None, None, None, None, None, 3, 2),
        ("demo", "recommend", DAY[31], "ndcg@20 warm", 0.25, 0.2, 0.3, 8, 6),
        ("finder", "search", None, None, None, None, None, 3, 3),
        ("former", None, None, None, None, None, None, 5, 3),
    ],
    "runs": [
        ("demo", 8, 4, 6),
        ("former", 5, 3, 3),
    ],
    "searches": [
        ("q2", "teapot", 1, 0),
        ("q1", "black tea", 1, 1),
    ],
    "sentiment_by_topic": [
        ("", "negative", 1, None),
        ("tea", "positive", 2, DAY[4]),
    ],
    "similar_users": [
        ("bob", 3, 1.0),
        ("cyd", 1, 0.25),
    ],
    "substitutes": [
        ("tea-2", "Earl Grey", "Hillside", "Drinks > Tea", 3.0, 1, 0.5),
        ("tea-3", "House tea", "Roastery", "Drinks > Tea", 1.0, 0, None),
    ],
    "two_runs_for_user": [
        ("tea-2", "Earl Grey", 1, 1),
        ("mug-2", "Glass mug", 2, None),
        ("coffee-2", "Filter coffee", None, 2),
    ],
    "unlike_the_teacher": [
        ("tea-1", "Green tea", 2, 0, 2),
        ("coffee-1", "Espresso beans", 1, 0, 1),
        ("coffee-2", "Filter coffee", 1, 0, 1),
        ("mug-1", "Stoneware mug", 1, 0, 1),
        ("mug-2", "Glass mug", 1, 0, 1),
        ("tea-2", "Earl Grey", 2, 1, 1),
    ],
    "users_of_class": [
        ("ann", "mood", "calm", 0.9),
        ("bob", "mood", "calm", 0.7),
    ],
    "users_two_runs_disagree_on": [
        ("cyd", 0, 2, 0, 0.0),
        ("dee", 0, 2, 1, 0.0),
        ("ann", 1, 1, 1, 1 / 3),
        ("bob", 2, 0, 0, 1.0),
    ],
    "users_with_popular_only": [
        ("cyd", 2, 2, 2),
        ("dee", 2, 2, 1),
    ],
    "viewed_not_bought": [
        ("mug-2", "Glass mug", 2, 0, 2),
        ("tea-1", "Green tea", 1, 1, 0),
    ],
    "why": [
        ("BOUGHT", "tea-1", "Green tea", DAY[1], "MADE_BY", "hillside", "Hillside", 2, 1.0),
        ("BOUGHT", "tea-1", "Green tea", DAY[1], "IN_CATEGORY", "tea", "Drinks > Tea", 3, 1.0),
        ("BOUGHT", "tea-1", "Green tea", DAY[1], "ALSO_BOUGHT", "tea-1", "Green tea", 3, 0.5),
        ("VIEWED", "tea-1", "Green tea", DAY[1], "MADE_BY", "hillside", "Hillside", 2, 1.0),
        ("VIEWED", "tea-1", "Green tea", DAY[1], "IN_CATEGORY", "tea", "Drinks > Tea", 3, 1.0),
        ("VIEWED", "tea-1", "Green tea", DAY[1], "ALSO_BOUGHT", "tea-1", "Green tea", 3, 0.5),
        ("SEARCHED", "q1", "black tea", DAY[1], "CLICKED", "q1", "black tea", 1, 1.0),
        ("REDEEMED", "c1", "c1", DAY[12], "FOR", "c1", "c1", 2, 1.0),
        ("REDEEMED", "c1", "c1", DAY[14], "FOR", "c1", "c1", 2, 1.0),
    ],
    "why_not": [
        (None, "coffee-2", "Filter coffee", None, False, 1, 1, 1, 0),
        (1, "tea-2", "Earl Grey", 0.9, False, 1, 1, 1, 0),
        (2, "mug-2", "Glass mug", 0.5, False, 0, 1, 1, 0),
    ],
}


@pytest.fixture(scope="module", params=STORES)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphStore]:
    if request.param == "neo4j":
        server: Server = request.getfixturevalue("neo4j_server")
        wipe(server)
        with Neo4jStore(server.url, user=server.user, password=server.password) as store:
            fill_explored_shop(store)
            yield store
        return
    for store in opened(request.param, request, tmp_path_factory.mktemp("shop")):
        fill_explored_shop(store)
        yield store


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_example_of_every_saved_query_gives_these_rows_on_every_store(shop: GraphStore) -> None:
    queries = saved_queries()
    assert len(queries) >= 40
    assert [query.name for query in queries] == list(ROWS)
    for query in queries:
        given = dict(part.split("=", 1) for part in shlex.split(query.example))
        found, expected = rows_of(run_query(shop, query.name, given)), ROWS[query.name]
        assert expected, query.name
        if query.name in UNORDERED:
            found, expected = sorted(found, key=repr), sorted(expected, key=repr)
        assert [len(row) for row in found] == [len(row) for row in expected], query.name
        for row, wanted in zip(found, expected, strict=True):
            for value, other in zip(row, wanted, strict=True):
                if isinstance(other, float):
                    assert value == pytest.approx(other), (query.name, row)
                else:
                    assert (type(value), value) == (type(other), other), (query.name, row)


def test_a_node_is_named_by_its_id_or_its_name_and_a_run_need_not_be_where_there_is_one(
    shop: GraphStore,
) -> None:
    def products(**given: Any) -> list[Any]:
        return run_query(shop, "recommended_to", {"run": "demo", **given})["user"].to_pylist()

    assert products(product="tea-2") == products(product="Earl Grey") == products(product="EARL GREY")
    assert products(product="Earl Grey") == ["ann", "bob"]
    audience = run_query(shop, "campaign_audience", {"campaign": "spring"})
    assert audience["user"].to_pylist() == ["ann", "cyd"]
    assert run_query(shop, "history_of_user", {"user": "ann", "limit": "2"}).num_rows == 2
    # Whatever stands in a value, it is compared and never read.
    with pytest.raises(InputError, match="there is no Brand"):
        run_query(shop, "brand_neighbours", {"brand": "x'}) RETURN 1 //"})


def test_returns_are_neither_purchases_nor_repeats_as_far_as_they_can_be_told() -> None:
    bought = [
        # user, product, first and last day, units at first, lines, sum
        ("twice", "tea", 1, 9, 1, 2, 6.0),
        ("once", "tea", 1, 1, 1, 1, 3.0),
        ("gave back", "tea", 1, 5, 1, 2, 0.0),
        ("only returned", "tea", 2, 7, 0, 2, -6.0),
        ("only returned", "mug", 2, 2, 1, 1, 9.0),
        ("unknown", "tea", 2, 7, None, 2, None),
    ]
    names = ("source", "target", "first_at", "last_at", "first_quantity", "count", "spend")
    rows = [(u, p, DAY[a], DAY[b], *rest) for u, p, a, b, *rest in bought]
    edges = {
        ("User", "BOUGHT", "Product"): pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows])
    }
    for end, kind in (("MADE_BY", "Brand"), ("IN_CATEGORY", "Category")):
        edges["Product", end, kind] = pa.table({"source": ["tea", "mug"], "target": ["leaves", "cups"]})
    nodes = {
        "User": pa.table({"user_id": sorted({row[0] for row in bought})}),
        "Product": pa.table({"product_id": ["tea", "mug"], "title": ["tea", "mug"]}),
        "Brand": pa.table({"brand_id": ["leaves", "cups"], "name": ["leaves", "cups"]}),
        "Category": pa.table({"category_id": ["leaves", "cups"], "path": ["leaves", "cups"]}),
    }
    with MemoryStore() as store:
        ingest_tables(store, load_schema(), GraphTables(nodes, edges))
        again = rows_of(run_query(store, "bought_again", {}))
        assert again == [("tea", "tea", 4, 2, 0.5), ("mug", "mug", 1, 0, 0.0)]
        for query in ("brands_of_user", "categories_of_user"):
            found = rows_of(run_query(store, query, {"user": "only returned"}))
            assert found == [("cups", "cups", 1, 1, 9.0, DAY[2])]
            found = rows_of(run_query(store, query, {"user": "gave back"}))
            assert found == [("leaves", "leaves", 1, 2, 0.0, DAY[5])]


def test_products_of_a_category_are_also_those_of_what_lies_below_it() -> None:
    below = [("drinks", None), ("hot", "drinks"), ("tea", "hot"), ("cold", "drinks")]
    nodes = {
        "Category": [{"category_id": key, "name": key, "path": key} for key, _ in below],
        "Product": [{"product_id": key, "title": key} for key in ("green", "bottle", "cola")],
    }
    inside = [("bottle", "drinks"), ("green", "tea"), ("green", "hot"), ("cola", "cold")]
    edges = {
        ("Category", "PART_OF", "Category"): [pair for pair in below if pair[1]],
        ("Product", "IN_CATEGORY", "Category"): inside,
    }
    tables = GraphTables(
        {label: pa.Table.from_pylist(rows) for label, rows in nodes.items()},
        {
            edge: pa.table({"source": [a for a, _ in rows], "target": [b for _, b in rows]})
            for edge, rows in edges.items()
        },
    )
    with MemoryStore() as store:
        ingest_tables(store, load_schema(), tables)

        def products(category: str) -> list[str]:
            table = run_query(store, "products_of_category", {"category": category})
            return sorted(table["product"].to_pylist())

        assert products("drinks") == ["bottle", "cola", "green"]
        assert products("hot") == products("tea") == ["green"]
        assert products("cold") == ["cola"]


@pytest.mark.parametrize(
    ("query", "given", "says"),
    [
        ("also_bought", {"product": "Erl Grey"}, r"no Product .*'Erl Grey'\n.*'Earl Grey' \(tea-2\)"),
        ("also_bought", {"product": "mug"}, r"near it are: 'Stoneware mug' \(mug-1\), 'Glass mug' \(mug-2\)"),
        ("also_bought", {"product": "tae-1"}, "near it are: .*tea-1"),
        ("history_of_user", {"user": "anne"}, "no User with the id or name 'anne'\n.*ann"),
        ("runs_", {}, "did you mean 'runs'"),
        ("most_recommended", {"run": "dmeo"}, "no RECOMMENDED with the run 'dmeo'\n.*did you mean 'demo'"),
        ("most_recommended", {}, "needs the run of RECOMMENDED\n.*there are: demo, former"),
        ("brand_shares", {"run": "demo", "limit": "x"}, "'limit' is 'x', not int"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(
    shop: GraphStore, query: str, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run_query(shop, query, given)


def test_too_many_rows_name_the_parameter_for_fewer(shop: GraphStore) -> None:
    with pytest.raises(QueryError, match=r"more than 1 rows\n.*-p limit=1; or raise the row limit \(--limit"):
        run_query(shop, "bought_again", {"buyers": 0}, limit=1)
    assert run_query(shop, "bought_again", {"buyers": 0, "limit": 1}, limit=1).num_rows == 1
    with pytest.raises(QueryError, match=r"-p each=1; or"):
        run_query(shop, "why", {"user": "ann", "product": "tea-2"}, limit=1)
    with pytest.raises(QueryError, match=r"more than 1 rows\n *add LIMIT"):
        shop.query("MATCH (p:Product) RETURN p.product_id AS p", limit=1)


def test_a_name_that_several_have_lists_their_ids(shop: GraphStore) -> None:
    shop.write_nodes("Brand", pa.table({"brand_id": ["x1", "x2", "x3"], "name": ["Own", "Own", "own"]}))
    with pytest.raises(InputError, match=r"several Brand nodes are called 'Own'\n.*give an id: x1, x2$"):
        run_query(shop, "brand_neighbours", {"brand": "Own"})
    with pytest.raises(InputError, match=r"give an id: x1, x2, x3$"):
        run_query(shop, "brand_neighbours", {"brand": "OWN"})
    # The one that is written just so, and an id before a name.
    assert run_query(shop, "brand_neighbours", {"brand": "own"}).num_rows == 0
    shop.write_nodes("Brand", pa.table({"brand_id": ["x4"], "name": ["hillside"]}))
    assert run_query(shop, "brand_neighbours", {"brand": "hillside"}).num_rows == 1
    shop.delete_nodes("Brand", pa.array(["x1", "x2", "x3", "x4"]))


def test_a_store_without_anything_says_so() -> None:
    with MemoryStore() as store:
        with pytest.raises(InputError, match="asks for a Product, and the store has none"):
            run_query(store, "also_bought", {"product": "x"})
        ingest_tables(store, load_schema(), small_graph())
        with pytest.raises(InputError, match="the store holds no RECOMMENDED"):
            run_query(store, "most_recommended")
