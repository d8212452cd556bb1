"""`kgdistill.Graph`: the sample shop in memory, end to end of what needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kgdistill import Graph
from kgdistill.errors import InputError, QueryError, SchemaError
from kgdistill.store import MemoryStore

SHOP = Path(__file__).parents[2] / "data" / "sample_shop"


@pytest.fixture(scope="module")
def shop() -> Iterator[Graph]:
    with Graph("memory:") as graph:
        graph.ingest(SHOP)
        yield graph


def test_ingesting_twice_is_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Graph("ladybug:shop.db") as graph:
        first = graph.ingest(SHOP)
        before = graph.stats()
        again = graph.ingest(SHOP)
        assert (first.state, first.accepted, first.rejected) == ("done", 33, 0)
        assert (again.state, again.rows) == ("unchanged", 0)
        assert graph.stats() == before
        assert graph.archive == tmp_path / "shop.db.archive"
    assert (tmp_path / "shop.db.archive" / "archive.json").is_file()


def test_a_graph_in_memory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Graph("memory:") as graph:
        assert graph.ingest(SHOP).state == "done"
    with Graph("memory:") as graph:
        assert graph.stats().nodes["Product"] == 0
        assert graph.ingest(SHOP).state == "done"
    assert list(tmp_path.iterdir()) == []


def test_a_mapping_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("who,what,when\nann,tea,2024-01-02\nann,pot,2024-01-01\n")
    (tmp_path / "orders.yaml").write_text(
        "version: 1\nname: orders\nsources:\n  orders:\n    files: [orders.csv]\n    nodes:\n"
        "      - {label: User, key: who}\n      - {label: Product, key: what}\n    relationships:\n"
        "      - {type: BOUGHT, from: {User: who}, to: {Product: what}, properties: {at: when}}\n"
    )
    with Graph("memory:") as graph:
        graph.ingest(tmp_path / "orders.yaml", tmp_path)
        assert graph.history("ann") == ["pot", "tea"]


def test_a_history_is_what_was_bought_the_latest_last(shop: Graph) -> None:
    rows = shop.query(
        "MATCH (u:User {user_id: $user})-[b:BOUGHT]->(p:Product) "
        "RETURN p.product_id AS p ORDER BY b.first_at",
        {"user": "ann"},
    )
    assert shop.history("ann") == rows["p"].to_pylist()
    assert len(shop.history("ann")) > 1
    with pytest.raises(InputError, match="no User with the id 'nobody'"):
        shop.history("nobody")
    assert shop.history("ann", ("User", "BOUGHT", "Product")) == shop.history("ann", "BOUGHT")
    assert shop.history("ann", "VIEWED") == []
    with pytest.raises(SchemaError):
        shop.history("ann", ("User", "LICKED", "Product"))
    with pytest.raises(InputError, match=r"no relationships 'BUOGHT'\n.*'BOUGHT'"):
        shop.history("ann", "BUOGHT")
    with pytest.raises(InputError, match="PART_OF"):
        shop.history("ann", "PART_OF")


def test_an_explanation_reads_as_a_sentence_and_is_never_missing(shop: Graph) -> None:
    (first, *_) = shop.explain("ann", "tea-2")
    assert str(first) == first.because
    assert first.because.startswith("bought ")
    assert first.steps[0].key == "ann"  # type: ignore[union-attr]
    (none,) = shop.explain("ann", "tea-2", before="1999-01-01")
    with pytest.raises(InputError, match="'soon' is not a date"):
        shop.explain("ann", "tea-2", before="soon")
    assert (none.kind, none.steps) == ("NONE", ())
    assert str(none) == "no path of the graph leads from what ann bought to tea-2"
    with pytest.raises(InputError, match="no Product with the id"):
        shop.explain("ann", "tea-999")


def test_an_explanation_is_in_the_language_that_is_asked_for(shop: Graph) -> None:
    assert shop.explain("ann", "tea-2", language="zh")[0].because.startswith("买过")
    (none,) = shop.explain("ann", "tea-2", before="1999-01-01", language="zh")
    assert str(none) == "图中没有从ann买过的商品通向tea-2的路径"


def test_a_users_interests_are_those_before_a_time(shop: Graph) -> None:
    assert shop.interests("ann").products == len(shop.history("ann"))
    early = shop.interests("ann", before="1999-01-01")
    assert (early.products, early.before) == (0, datetime(1999, 1, 1))
    with pytest.raises(InputError, match="'soon' is not a date"):
        shop.interests("ann", before="soon")


def test_questions_are_cypher_or_a_saved_query(shop: Graph) -> None:
    assert "history_of_user" in shop.queries()
    assert shop.query("history_of_user", {"user": "ann"}).num_rows == len(shop.history("ann"))
    with pytest.raises(InputError, match="no saved query") as refused:
        shop.query("history_of_usr")
    assert refused.value.hint == "did you mean 'history_of_user'? see: kgdistill query list"
    with pytest.raises(QueryError):
        shop.query("MATCH (n) DETACH DELETE n")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, None, 7):
        with pytest.raises(InputError, match="is not the address of a store"):
            Graph(wrong)  # type: ignore[arg-type]
    with Graph("memory:") as empty:
        for ask in (lambda: empty.history("ann"), lambda: empty.explain("ann", "tea-2")):
            with pytest.raises(InputError, match="nothing was ingested here yet"):
                ask()


def test_a_store_that_is_open_is_taken_as_it_is(tmp_path: Path) -> None:
    with MemoryStore() as store:
        graph = Graph(store)
        graph.ingest(SHOP)
        assert (graph.url, repr(graph)) == ("memory:", "Graph('memory:')")
        assert graph.stats().nodes["User"] == store.read_nodes("User", []).num_rows
        taken = graph.snapshot(tmp_path / "snapshot", datetime(2024, 3, 1))
        assert taken.num_nodes("User") <= graph.stats().nodes["User"]


def test_what_is_bought_together_is_counted_where_nothing_was_derived(tmp_path: Path) -> None:
    # Four others bought tea and pot, two tea and mug, three a hat; ann gave her pot back.
    bought = [("ann", "tea", 2), *((f"u{n}", item, 3) for n in range(4) for item in ("tea", "pot"))]
    bought += [(f"v{n}", item, 3) for n in range(2) for item in ("tea", "mug")]
    bought += [(f"w{n}", "hat", 3) for n in range(3)]
    lines = [f"{user},{item},2024-01-0{day},1" for user, item, day in bought]
    rows = "\n".join(["source,target,at,quantity", *lines, "ann,pot,2024-01-01,-1"])
    (tmp_path / "BOUGHT.csv").write_text(rows)
    for label, key, keys in (("User", "user_id", 0), ("Product", "product_id", 1)):
        known = {row[keys] for row in bought}
        (tmp_path / f"{label}.csv").write_text("\n".join([key, *sorted(map(str, known))]))
    with Graph("memory:") as graph:
        graph.ingest(tmp_path)
        assert graph.history("ann") == ["tea"]
        (pot,) = graph.explain("ann", "pot")
        # 4 of 10 buyers have both, 7 have tea and 4 have pot.
        assert str(pot) == "4 who bought tea also bought this, 1.4 times as many as by chance"
        assert pot.lift == pytest.approx(4 * 10 / (7 * 4))
        assert graph.explain("ann", "pot", before="2024-01-03")[0].kind == "NONE"
        assert graph.explain("ann", "mug")[0].kind == "NONE"
        # His own purchase of both is no evidence for u0.
        assert "3 who bought tea also" in str(graph.explain("u0", "pot")[0])
