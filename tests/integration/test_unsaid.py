"""Facts that no words tell are said where a run reads texts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from _search_shop import fill_search_shop
from _shop import PROTOCOL, fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.run.run import Run
from kgdistill.snapshot import take_snapshot
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.tasks.item_groups import text_groups, unsaid_facts

BRAND = "Product-MADE_BY-Brand: no text of Product says it"


def said(run: Run, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    run.make("text")
    return [line for line in capsys.readouterr().err.splitlines() if "no text of" in line]


def bought(store: GraphStore, folder: Path, encoder: str) -> Run:
    told = {"cut": PROTOCOL.cut, "test_start": PROTOCOL.test_start, "k": 7, "min_user_events": 1}
    return Run.create(folder, store, protocol=told, text={"encoder": encoder}, device="cpu")


def test_a_fact_that_no_text_says_is_said_and_one_that_some_text_says_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = str(tiny_encoder(tmp_path / "tiny", layers=1))
    with MemoryStore() as store:
        fill_shop(store)
        assert said(bought(store, tmp_path / "a", encoder), capsys) == []
        products = store.read_nodes("Product")
        place = products.column_names.index("brand_text")
        makers = pa.array([f"No. {text[-1]}" for text in products["brand_text"].to_pylist()])
        products = products.set_column(place, "brand_text", pa.array(["house"] * len(products)))
        store.write_nodes("Product", products)
        # Titles hold the makers' names.
        assert said(bought(store, tmp_path / "c", encoder), capsys) == []
        place = products.column_names.index("title")
        titles = pa.array([f"thing {n}" for n in range(len(products))])
        worded = store.read_nodes("Product").set_column(place, "title", titles)
        # A field may say it in other words.
        store.write_nodes(
            "Product", worded.set_column(worded.column_names.index("brand_text"), "brand_text", makers)
        )
        assert said(bought(store, tmp_path / "d", encoder), capsys) == []
        store.write_nodes("Product", products.set_column(place, "title", titles))
        (line,) = said(bought(store, tmp_path / "b", encoder), capsys)
        # One of several values that a text lists may say it.
        listed = [f"{'SML'[n // 6 % 3]}, {('wool', 'silk')[n // 18 % 2]}, No. {n % 6}" for n in range(80)]
        some = store.read_nodes("Product")
        place = some.column_names.index("attributes")
        store.write_nodes("Product", some.set_column(place, "attributes", pa.array(listed)))
        assert said(bought(store, tmp_path / "e", encoder), capsys) == []
        others = pa.array([text[:-1] + str(n % 5) for n, text in enumerate(listed)])
        store.write_nodes("Product", some.set_column(place, "attributes", others))
        assert len(said(bought(store, tmp_path / "f", encoder), capsys)) == 1
    assert BRAND in line
    assert "map the Brand's name to a property of Product too, such as brand_text" in line


def test_a_fact_of_few_nodes_and_one_that_is_mined_of_titles_are_not_said(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_search_shop(store)
        of = {"Attribute": "attribute_id", "Category": "category_id"}
        for label, key in of.items():
            store.write_nodes(
                label,
                pa.Table.from_pylist(
                    [{key: "x", "name": "xenon"}], schema=store.schema.node_arrow_schema(label)
                ),
            )
        keys = store.read_nodes("Product")["product_id"].to_pylist()
        for edge, some in (
            (("Product", "MENTIONS", "Attribute"), keys),
            (("Product", "IN_CATEGORY", "Category"), keys[:3]),
        ):
            rows = [{"source": key, "target": "x"} for key in some]
            store.write_relationships(
                edge, pa.Table.from_pylist(rows, schema=store.schema.edge_arrow_schema(edge))
            )
        snapshot = take_snapshot(store, tmp_path / "s", cut=None, needed=())
    fields = text_groups(snapshot, "Product")
    assert unsaid_facts(snapshot, "Product", fields) == [("Product", "MADE_BY", "Brand")]


def test_so_it_is_where_a_search_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MemoryStore() as store:
        fill_search_shop(store)
        text = {"encoder": str(tiny_encoder(tmp_path / "tiny", layers=1))}
        (line,) = said(Run.create(tmp_path / "run", store, task="search", text=text, device="cpu"), capsys)
    assert BRAND in line
