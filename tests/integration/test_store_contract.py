"""What a graph store promises, asked of every store that there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError, QueryError, SchemaError, StoreError, StoreSchemaMismatchError
from kgdistill.store import GraphStore, LadybugStore, MemoryStore, Schema, open_store
from kgdistill.store.neo4j.store import Neo4jStore

KINDS = {
    "title": "string",
    "size": "int64",
    "weight": "double",
    "live": "bool",
    "made": "timestamp",
    "vector": "float_list",
}
BOUGHT = ("User", "BOUGHT", "Product")
RECOMMENDED = ("User", "RECOMMENDED", "Product")
PART_OF = [("Category", "PART_OF", "Category"), ("Category", "PART_OF", "Department")]
DAY = datetime(2024, 2, 29, 23, 59, 59, 123456)


def schema(**changes: Any) -> Schema:
    shape: dict[str, Any] = {
        "version": 1,
        "nodes": {
            "User": {"key": "user_id", "name": "user_id"},
            "Product": {"key": "product_id", "name": "product_id", "properties": dict(KINDS)},
            "Category": {"key": "category_id", "name": "category_id"},
            "Department": {"key": "department_id", "name": "department_id"},
        },
        "relationships": {
            "BOUGHT": {
                "kind": "event",
                "endpoints": [["User", "Product"]],
                "time": "first_at",
                "properties": {"first_at": "timestamp", "count": "int64", "spend": "double"},
            },
            "RECOMMENDED": {
                "kind": "output",
                "endpoints": [["User", "Product"]],
                "identity": ["run"],
                "properties": {"run": {"type": "string", "required": True}, "score": "double"},
            },
            "PART_OF": {"kind": "fact", "endpoints": [[a, b] for a, _, b in PART_OF]},
        },
    }
    shape["nodes"] |= changes.get("nodes", {})
    shape["relationships"] |= changes.get("relationships", {})
    return Schema.model_validate(shape)


@pytest.fixture(params=["memory", "ladybug", "neo4j"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GraphStore]:
    if request.param == "neo4j":
        opened: GraphStore = request.getfixturevalue("neo4j_store")
    else:
        opened = MemoryStore() if request.param == "memory" else LadybugStore(tmp_path / "store")
    with opened:
        opened.apply_schema(schema())
        yield opened


def products(*keys: str, **columns: list[Any]) -> pa.Table:
    return pa.table({"product_id": list(keys), **columns})


def users(*keys: str) -> pa.Table:
    return pa.table({"user_id": list(keys)})


def by_key(table: pa.Table, *keys: str) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: [row[k] for k in keys or table.column_names[:1]])


def edges(store: GraphStore, edge: tuple[str, str, str], *identity: str) -> list[dict[str, Any]]:
    return by_key(store.read_relationships(edge), "source", "target", *identity)


@pytest.fixture
def shop(store: GraphStore) -> GraphStore:
    """Users a and b, products 1 and 2, a bought 1."""
    store.write_nodes("User", users("a", "b"))
    store.write_nodes("Product", products("1", "2", title=["one", "two"], size=[1, 2]))
    bought = {"source": ["a"], "target": ["1"], "first_at": [DAY], "count": [3], "spend": [1.5]}
    store.write_relationships(BOUGHT, pa.table(bought))
    return store


def test_applying_the_schema_again_changes_nothing(shop: GraphStore) -> None:
    before = by_key(shop.read_nodes("Product"))
    shop.apply_schema(schema())
    assert by_key(shop.read_nodes("Product")) == before


def test_nodes_come_back_as_they_were_written_in_every_type(store: GraphStore) -> None:
    hostile = "é 東京 🛒 `'\"\\ \n\t $user {x: 1}) DETACH DELETE n //"
    written = products(
        "1",
        hostile,
        "3",
        title=["x" * 1_000_000, hostile, None],
        size=[2**63 - 1, -(2**63), None],
        weight=[0.1, -1e300, None],
        live=[True, False, None],
        made=[DAY, datetime(1969, 12, 31), None],
        vector=[[1.5, -0.25], [], None],
    )
    assert store.write_nodes("Product", written) == 3
    read = store.read_nodes("Product")
    assert read.schema == schema().node_arrow_schema("Product")
    assert by_key(read) == by_key(written)


def test_only_the_columns_asked_for_are_read(shop: GraphStore) -> None:
    assert shop.read_nodes("Product", ["size"]).column_names == ["product_id", "size"]
    assert shop.read_relationships(BOUGHT, []).to_pylist() == [{"source": "a", "target": "1"}]
    with pytest.raises(SchemaError, match="nope"):
        shop.read_nodes("Product", ["nope"])


def test_an_upsert_keeps_what_it_does_not_carry_and_what_is_null(shop: GraphStore) -> None:
    shop.write_nodes("Product", products("1", "3", size=[None, 3], live=[True, False]))
    rows = {row["product_id"]: row for row in shop.read_nodes("Product").to_pylist()}
    assert (rows["1"]["title"], rows["1"]["size"], rows["1"]["live"]) == ("one", 1, True)
    assert (rows["3"]["title"], rows["3"]["size"], rows["2"]["live"]) == (None, 3, None)
    shop.write_relationships(BOUGHT, pa.table({"source": ["a"], "target": ["1"], "count": [4]}))
    row = {"source": "a", "target": "1", "first_at": DAY, "count": 4, "spend": 1.5}
    assert edges(shop, BOUGHT) == [row]
    assert shop.read_relationships(BOUGHT).schema == schema().edge_arrow_schema(BOUGHT)


def test_lists_are_replaced_by_an_upsert(store: GraphStore) -> None:
    store.write_nodes("Product", products("1", "2", vector=[[1.0], [2.0]]))
    store.write_nodes("Product", products("1", "2", vector=[[3.0, 4.0], None]))
    assert [row["vector"] for row in by_key(store.read_nodes("Product"))] == [[3.0, 4.0], [2.0]]


def test_writing_twice_is_writing_once(shop: GraphStore) -> None:
    nodes, bought = shop.read_nodes("Product"), shop.read_relationships(BOUGHT)
    assert shop.write_nodes("Product", nodes) == 2
    assert shop.write_relationships(BOUGHT, bought) == 1
    assert by_key(shop.read_nodes("Product")) == by_key(nodes)
    assert edges(shop, BOUGHT) == bought.to_pylist()


def test_a_missing_end_is_named_and_nothing_is_written(shop: GraphStore) -> None:
    for source, target in (("b", "nowhere"), ("nobody", "1")):
        table = pa.table({"source": ["b", source], "target": ["1", target]})
        with pytest.raises(SchemaError, match=r"nowhere|nobody"):
            shop.write_relationships(BOUGHT, table, replace={"count": 3})
        assert [(e["source"], e["target"]) for e in edges(shop, BOUGHT)] == [("a", "1")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (products("9", "9"), "'9'"),
        (pa.table({"product_id": pa.array(["9", None])}), "null"),
        (products("9", size=["big"]), "Product.size"),
        (products("9", size=[1.5]), "Product.size"),
        (products("9", colour=["red"]), "colour"),
        (pa.table({"title": ["no key"]}), "product_id"),
    ],
    ids=["twice", "null key", "wrong type", "lossy", "unknown column", "no key"],
)
def test_a_table_that_does_not_fit_is_refused_whole(shop: GraphStore, table: pa.Table, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        shop.write_nodes("Product", table)
    assert shop.read_nodes("Product").num_rows == 2


def test_the_same_relationship_twice_in_a_table_is_refused(shop: GraphStore) -> None:
    with pytest.raises(SchemaError, match="2 times"):
        shop.write_relationships(BOUGHT, pa.table({"source": ["b", "b"], "target": ["1", "1"]}))
    assert len(edges(shop, BOUGHT)) == 1


def test_clearing_nulls_removes_stored_values_and_leaves_what_the_table_lacks(shop: GraphStore) -> None:
    shop.write_nodes("Product", products("1", "2", made=[DAY, DAY], vector=[[1.0], [2.0]]))
    text, time, vector = pa.array([None, "2"]), pa.array([None, DAY]), pa.array([None, [3.0]])
    changed = products("1", "2", title=text, made=time, vector=vector)
    shop.write_nodes("Product", changed, clear_nulls=True)
    rows = by_key(shop.read_nodes("Product", ["title", "size", "made", "vector"]))
    assert rows == [
        {"product_id": "1", "title": None, "size": 1, "made": None, "vector": None},
        {"product_id": "2", "title": "2", "size": 2, "made": DAY, "vector": [3.0]},
    ]
    nothing = {"first_at": pa.array([None], pa.timestamp("us")), "count": pa.array([None], pa.int64())}
    shop.write_relationships(
        BOUGHT, pa.table({"source": ["a"], "target": ["1"], **nothing}), clear_nulls=True
    )
    row = {"source": "a", "target": "1", "first_at": None, "count": None, "spend": 1.5}
    assert edges(shop, BOUGHT) == [row]


def test_deleting_nodes_takes_their_relationships_and_no_others(shop: GraphStore) -> None:
    shop.write_relationships(BOUGHT, pa.table({"source": ["b", "b"], "target": ["1", "2"]}))
    assert shop.delete_nodes("Product", pa.array(["1", "1", "unknown"])) == 1
    assert [row["product_id"] for row in by_key(shop.read_nodes("Product"))] == ["2"]
    assert [(row["source"], row["target"]) for row in edges(shop, BOUGHT)] == [("b", "2")]
    assert shop.delete_nodes("Product", pa.chunked_array([], pa.string())) == 0
    for keys in (pa.array([1]), pa.array(["2", None])):
        with pytest.raises(SchemaError):
            shop.delete_nodes("Product", keys)
    assert shop.read_nodes("Product").num_rows == 1


def test_deleting_relationships_goes_by_ends_and_identity(shop: GraphStore) -> None:
    for run in ("one", "two"):
        shop.write_relationships(RECOMMENDED, recommended(run, ("a", "1"), ("b", "1")))
    gone = recommended("one", ("a", "1"), ("a", "2"), ("nobody", "1"))
    assert shop.delete_relationships(RECOMMENDED, pa.concat_tables([gone, gone])) == 1
    left = [(row["source"], row["run"]) for row in edges(shop, RECOMMENDED, "run")]
    assert left == [("a", "two"), ("b", "one"), ("b", "two")]
    with pytest.raises(SchemaError, match="run"):
        shop.delete_relationships(RECOMMENDED, gone.drop_columns(["run"]))


def parquet(folder: Path, table: pa.Table) -> Path:
    path = folder / 'it\'s [a] "file".pq'
    pq.write_table(table, path, row_group_size=2)
    return path


def test_a_file_is_loaded_into_an_empty_type_only(shop: GraphStore, tmp_path: Path) -> None:
    assert shop.load("Category", parquet(tmp_path, pa.table({"category_id": ["x", "y", "z"]}))) == 3
    shop.load("Department", parquet(tmp_path, pa.table({"department_id": ["x"]})))
    # One type with two pairs of ends: each is empty for itself.
    assert shop.load(PART_OF[1], parquet(tmp_path, pa.table({"source": ["x"], "target": ["x"]}))) == 1
    assert shop.load(PART_OF[0], parquet(tmp_path, pa.table({"source": ["x"], "target": ["y"]}))) == 1
    assert edges(shop, PART_OF[0]) == [{"source": "x", "target": "y"}]
    rows = recommended("one", ("a", "1"), ("a", "2"), ("b", "1"))
    assert shop.load(RECOMMENDED, parquet(tmp_path, rows)) == 3
    assert edges(shop, RECOMMENDED, "run") == rows.to_pylist()
    for key, table in (("Category", pa.table({"category_id": ["q"]})), (RECOMMENDED, rows)):
        with pytest.raises(StoreError, match="something already"):
            shop.load(key, parquet(tmp_path, table))
    assert shop.read_nodes("Category").num_rows == 3


def test_loaded_values_are_those_of_the_file_whatever_columns_it_has(
    shop: GraphStore, tmp_path: Path
) -> None:
    shop.delete_nodes("Product", pa.array(["1", "2"]))
    table = products(
        "1", "2", "3", vector=pa.array([[1.5], None, []], pa.list_(pa.float32())), size=[1, None, 3]
    )
    table = table.append_column("made", pa.array([DAY, None, DAY], pa.timestamp("us")))
    assert shop.load("Product", parquet(tmp_path, table)) == 3
    assert by_key(shop.read_nodes("Product", ["vector", "size", "made"])) == table.to_pylist()
    bought = pa.table({"source": ["a", "b"], "target": ["3", "3"], "spend": [None, 2.5]})
    assert shop.load(BOUGHT, parquet(tmp_path, bought)) == 2
    assert by_key(shop.read_relationships(BOUGHT, ["spend"]), "source") == bought.to_pylist()
    shop.delete_relationships(BOUGHT, bought)
    assert shop.load(BOUGHT, parquet(tmp_path, bought.select(["source", "target"]))) == 2
    assert shop.read_relationships(BOUGHT, ["spend"])["spend"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "1", "r"), ("a", "nobody", "r")], "nobody"),
        ([("a", "1", "r"), ("b", "1", "r"), ("a", "1", "r")], "2 times"),
        ([("a", "1", "r"), (None, "1", "r")], "null"),
        ([("a", "1", 7)], "run"),
    ],
)
def test_a_file_with_a_bad_row_is_refused_whole(
    shop: GraphStore, tmp_path: Path, rows: list[tuple[Any, ...]], says: str
) -> None:
    table = pa.table([list(column) for column in zip(*rows, strict=True)], names=["source", "target", "run"])
    with pytest.raises(SchemaError, match=says):
        shop.load(RECOMMENDED, parquet(tmp_path, table))
    assert shop.read_relationships(RECOMMENDED).num_rows == 0
    text = tmp_path / "text"
    text.write_text("no Parquet")
    for path in (text, tmp_path / "absent"):
        with pytest.raises(InputError, match="Parquet"):
            shop.load(RECOMMENDED, path)


def test_a_block_of_changes_sees_its_own_writes_and_does_not_nest(shop: GraphStore) -> None:
    with shop.changes():
        shop.write_nodes("User", users("c"))
        assert shop.query("MATCH (u:User) RETURN count(*) AS n").to_pylist() == [{"n": 3}]
        shop.delete_nodes("User", pa.array(["a"]))
        assert [row["user_id"] for row in by_key(shop.read_nodes("User"))] == ["b", "c"]
        with pytest.raises(StoreError, match="nest"), shop.changes():
            pass
        shop.apply_schema(schema(nodes={"Late": {"key": "late_id", "name": "late_id"}}))
        shop.write_nodes("Late", pa.table({"late_id": ["l"]}))
    with shop.changes(wait_s=5):
        shop.write_nodes("User", users("d"))
    assert [row["user_id"] for row in by_key(shop.read_nodes("User"))] == ["b", "c", "d"]
    assert shop.read_nodes("Late").num_rows == 1
    with pytest.raises(ZeroDivisionError), shop.changes():
        raise ZeroDivisionError
    with shop.changes():
        pass


def recommended(run: str, *pairs: tuple[str, str], score: float = 1.0) -> pa.Table:
    n = len(pairs)
    sources, targets = [p[0] for p in pairs], [p[1] for p in pairs]
    return pa.table({"source": sources, "target": targets, "run": [run] * n, "score": [score] * n})


def test_two_runs_recommend_side_by_side_and_replace_only_their_own(shop: GraphStore) -> None:
    shop.write_relationships(RECOMMENDED, recommended("r1", ("a", "1"), ("a", "2")))
    shop.write_relationships(RECOMMENDED, recommended("r2", ("a", "1")))
    shop.write_relationships(RECOMMENDED, recommended("r2", ("a", "1"), score=2.0))
    assert len(edges(shop, RECOMMENDED)) == 3
    shop.write_relationships(RECOMMENDED, recommended("r1", ("b", "2")), replace={"run": "r1"})
    found = [(e["run"], e["source"], e["target"], e["score"]) for e in edges(shop, RECOMMENDED, "run")]
    assert found == [("r2", "a", "1", 2.0), ("r1", "b", "2", 1.0)]


def test_replacing_nodes_deletes_those_that_the_table_leaves_out(shop: GraphStore) -> None:
    shop.write_nodes("Product", products("3", size=[1]))
    shop.write_nodes("Product", products("3", "4", size=[1, 1], title=["three", None]), replace={"size": 1})
    assert [row["product_id"] for row in by_key(shop.read_nodes("Product"))] == ["2", "3", "4"]
    assert edges(shop, BOUGHT) == []


def test_one_type_leads_to_several_labels(store: GraphStore) -> None:
    store.write_nodes("Category", pa.table({"category_id": ["c1", "c2"]}))
    store.write_nodes("Department", pa.table({"department_id": ["c1"]}))
    store.write_relationships(PART_OF[0], pa.table({"source": ["c2"], "target": ["c1"]}))
    store.write_relationships(PART_OF[1], pa.table({"source": ["c1"], "target": ["c1"]}))
    assert edges(store, PART_OF[0]) == [{"source": "c2", "target": "c1"}]
    assert edges(store, PART_OF[1]) == [{"source": "c1", "target": "c1"}]
    up = "MATCH (a:Category)-[:PART_OF]->(:Category)-[:PART_OF]->(d:Department) RETURN a.category_id AS a"
    assert store.query(up).to_pylist() == [{"a": "c2"}]
    with pytest.raises(SchemaError, match="PART_OF does not lead"):
        store.read_relationships(("Department", "PART_OF", "Category"))


def test_a_query_takes_parameters_and_gives_columns(shop: GraphStore) -> None:
    text = (
        "MATCH (u:User {user_id: $user})-[r:BOUGHT]->(p:Product) WHERE p.size IN $sizes "
        "RETURN p.title AS title, r.count AS count, r.spend AS spend, $gone AS gone"
    )
    given = {"user": "a", "sizes": [1, 2], "gone": None}
    row = {"title": "one", "count": 3, "spend": 1.5, "gone": None}
    assert shop.query(text, given).to_pylist() == [row]
    assert shop.query(text, given | {"user": "x' OR 1=1 //"}).to_pylist() == []


WRITES = [
    "CREATE (:User {user_id: 'z'})",
    "MERGE (:User {user_id: 'z'})",
    "MATCH (u:User) SET u.user_id = 'z'",
    "MATCH (p:Product) SET p.size = 9 RETURN p.size",
    "MATCH ()-[r:BOUGHT]->() DELETE r",
    "MATCH (u:User) DETACH DELETE u",
]
OTHERS = [
    "DROP TABLE BOUGHT",
    "CREATE NODE TABLE Extra(k STRING PRIMARY KEY)",
    "CREATE INDEX extra FOR (u:User) ON (u.user_id)",
    "CALL { CREATE (:User {user_id: 'z'}) } RETURN 1",
    "COPY (MATCH (u:User) RETURN u.user_id) TO '$OUT'",
    "COPY User FROM '$FILE'",
    "LOAD FROM '$FILE' (file_format='csv') RETURN *",
    "LOAD CSV FROM 'file://$FILE' AS line RETURN line",
    "RETURN 1; CREATE (:User {user_id: 'z'})",
    "COMMIT",
    "CALL threads=1",
    "CALL dbms.listConfig() YIELD name RETURN name",
]


@pytest.mark.parametrize("text", [*WRITES, *OTHERS])
def test_a_query_can_neither_write_nor_touch_files(shop: GraphStore, text: str, tmp_path: Path) -> None:
    file, out = tmp_path / "secret.csv", tmp_path / "out.csv"
    file.write_text("z\n")
    with pytest.raises(QueryError, match="read|write" if text in WRITES else None):
        shop.query(text.replace("$FILE", str(file)).replace("$OUT", str(out)))
    assert not out.exists()
    assert by_key(shop.read_nodes("User")) == [{"user_id": "a"}, {"user_id": "b"}]
    assert [(e["source"], e["count"]) for e in edges(shop, BOUGHT)] == [("a", 3)]
    assert [row["size"] for row in by_key(shop.read_nodes("Product"))] == [1, 2]


def test_a_query_over_its_row_limit_is_refused(store: GraphStore) -> None:
    assert store.query("UNWIND range(1, 5) AS x RETURN x", limit=5).num_rows == 5
    with pytest.raises(QueryError, match="5"):
        store.query("UNWIND range(1, 6) AS x RETURN x", limit=5)


def test_a_query_over_its_time_is_stopped_and_the_store_goes_on(store: GraphStore) -> None:
    endless = "UNWIND range(1, 10000000) AS x UNWIND range(1, 100000) AS y RETURN count(*) AS n"
    with pytest.raises(QueryError, match=r"0\.5 s"):
        store.query(endless, timeout_s=0.5)
    assert store.query("RETURN 1 AS x").to_pylist() == [{"x": 1}]


@pytest.mark.parametrize("text", ["", "MATCH (u:User RETURN u", "RETURN $missing AS x"])
def test_a_mistake_in_a_query_is_a_query_error(store: GraphStore, text: str) -> None:
    with pytest.raises(QueryError):
        store.query(text)


def test_the_schema_can_grow_over_stored_data(shop: GraphStore) -> None:
    brand = {"key": "brand_id", "name": "brand_id"}
    product = {
        "key": "product_id",
        "name": "product_id",
        "properties": KINDS | {"price": "double"},
    }
    grown = schema(
        nodes={"Brand": brand, "Product": product},
        relationships={
            "MADE_BY": {"kind": "fact", "endpoints": [["Product", "Brand"]]},
            "PART_OF": {
                "kind": "fact",
                "endpoints": [[a, b] for a, _, b in PART_OF] + [["Product", "Category"]],
            },
        },
    )
    shop.apply_schema(grown)
    shop.write_nodes("Brand", pa.table({"brand_id": ["b"]}))
    shop.write_nodes("Category", pa.table({"category_id": ["c"]}))
    shop.write_nodes("Product", products("1", price=[9.5]))
    shop.write_relationships(("Product", "MADE_BY", "Brand"), pa.table({"source": ["1"], "target": ["b"]}))
    shop.write_relationships(("Product", "PART_OF", "Category"), pa.table({"source": ["1"], "target": ["c"]}))
    row = by_key(shop.read_nodes("Product"))[0]
    assert (row["title"], row["price"]) == ("one", 9.5)
    assert len(edges(shop, BOUGHT)) == 1


def test_the_store_keeps_the_schema_whole(
    request: pytest.FixtureRequest, store: GraphStore, tmp_path: Path
) -> None:
    assert store.schema == schema()
    liked = {
        "kind": "event",
        "description": 'It\'s "quoted", with \\ and {braces}.',
        "endpoints": [["User", "Product"]],
        "time": "at",
        "properties": {"at": {"type": "timestamp", "required": True}, "seen": "int64"},
    }
    grown = schema(relationships={"LIKED": liked})
    store.apply_schema(grown)
    # A smaller one takes nothing away; what is said of a type again is said anew.
    changed = schema(nodes={"User": {"key": "user_id", "name": "user_id", "description": "Who buys."}})
    store.apply_schema(changed)
    wanted = grown.model_copy(update={"nodes": {**grown.nodes, "User": changed.nodes["User"]}})
    assert store.schema == wanted
    if isinstance(store, LadybugStore) and store.url != "memory:":
        store.close()
        with LadybugStore(tmp_path / "store") as again:
            assert again.schema == wanted
    if store.url.startswith(("neo4j", "bolt")):
        server = request.getfixturevalue("neo4j_server")
        with Neo4jStore(server.url, user=server.user, password=server.password) as again:
            assert again.schema == wanted


@pytest.mark.parametrize("part", ["type", "key", "identity"])
def test_a_schema_that_contradicts_the_store_is_refused(shop: GraphStore, part: str) -> None:
    product: dict[str, Any] = {"key": "product_id", "name": "product_id", "properties": dict(KINDS)}
    relationships = {}
    if part == "type":
        product["properties"]["size"] = "double"
    elif part == "key":
        product |= {"key": "sku", "name": "sku"}
    else:
        recommended = {"kind": "output", "endpoints": [["User", "Product"]]}
        relationships["RECOMMENDED"] = recommended | {"properties": {"run": "string", "score": "double"}}
    with pytest.raises(StoreSchemaMismatchError) as caught:
        shop.apply_schema(schema(nodes={"Product": product}, relationships=relationships))
    assert caught.value.hint
    assert [row["size"] for row in by_key(shop.read_nodes("Product"))] == [1, 2]


def test_closing_twice_is_harmless(store: GraphStore) -> None:
    store.close()
    store.close()


def test_the_address_holds_no_password(store: GraphStore, request: pytest.FixtureRequest) -> None:
    assert "@" not in store.url
    if store.url.startswith(("neo4j", "bolt")):
        assert request.getfixturevalue("neo4j_server").password not in store.url


@pytest.mark.parametrize(
    "url", ["neo4j://neo4j:s3cret@localhost:7687", "s3cret", "http://x:s3cret@h", "ladybug:"]
)
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value) or url == "s3cret"


PREFIX = count()
KEYS = st.sampled_from(["k1", "k2", "k3"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
NODE = st.fixed_dictionaries({"title": st.none() | TEXT, "size": st.none() | st.integers(-3, 3)})
EDGE = st.fixed_dictionaries({"score": st.none() | st.integers(-3, 3).map(float)})
STEP = st.one_of(
    st.tuples(st.just("nodes"), st.dictionaries(KEYS, NODE, min_size=1)),
    st.tuples(
        st.just("edges"),
        st.dictionaries(st.tuples(KEYS, KEYS, st.sampled_from(["r", "s"])), EDGE, min_size=1),
    ),
)


@given(steps=st.lists(STEP, min_size=1, max_size=4))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_upserts_in_any_order_give_what_a_dictionary_gives(store: GraphStore, steps: list[Any]) -> None:
    own = f"{next(PREFIX)}-"
    model: dict[str, dict[Any, dict[str, Any]]] = {"nodes": {}, "edges": {}}
    keys = [f"{own}k{i}" for i in (1, 2, 3)]
    store.write_nodes("User", users(*keys))
    store.write_nodes("Product", products(*keys))
    model["nodes"] = {key: {"title": None, "size": None} for key in keys}
    for kind, rows in steps:
        values = {tuple(own + k for k in key[:2]) + key[2:] if kind == "edges" else own + key: row
                  for key, row in rows.items()}  # fmt: skip
        for key, row in values.items():
            kept = model[kind].setdefault(key, dict.fromkeys(row))
            kept |= {name: value for name, value in row.items() if value is not None}
        columns = {name: [row[name] for row in values.values()] for name in next(iter(values.values()))}
        types = (
            schema().node_arrow_schema("Product")
            if kind == "nodes"
            else schema().edge_arrow_schema(RECOMMENDED)
        )
        ends = {"product_id": list(values)} if kind == "nodes" else dict(
            zip(("source", "target", "run"), zip(*values, strict=True), strict=True)
        )  # fmt: skip
        table = pa.table(
            {
                name: pa.array(list(column), types.field(name).type)
                for name, column in (ends | columns).items()
            }
        )
        if kind == "nodes":
            store.write_nodes("Product", table)
        else:
            store.write_relationships(RECOMMENDED, table)
    found = {r.pop("product_id"): r for r in store.read_nodes("Product", ["title", "size"]).to_pylist()}
    assert {k: v for k, v in found.items() if k.startswith(own)} == model["nodes"]
    stored = store.read_relationships(RECOMMENDED).to_pylist()
    links = {(r["source"], r["target"], r["run"]): {"score": r["score"]} for r in stored}
    assert len(links) == len(stored)
    assert {k: v for k, v in links.items() if k[0].startswith(own)} == model["edges"]
