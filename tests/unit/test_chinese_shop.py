"""The invented shop in Chinese: its files, and what they become."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path

import pytest
from test_adapters import BOUGHT, IN_CATEGORY, MADE_BY, Graph, graph

from kgdistill.datasets.adapters import adapter
from kgdistill.datasets.chinese_shop import ENCODING, brand_name, chinese_shop, write_chinese_shop
from kgdistill.graphcheck.brands import alike
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import load_mapping, parse_mapping
from kgdistill.ingest.propose.propose import propose
from kgdistill.store.schema import load_schema
from kgdistill.wording import language_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shop") / "files"
    write_chinese_shop(made)
    return made


@pytest.fixture(scope="module")
def shop(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return graph("chinese-shop", folder, tmp_path_factory.mktemp("graph"))


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_it_is_the_same_bytes_every_time_and_no_utf_8(folder: Path, tmp_path: Path) -> None:
    write_chinese_shop(tmp_path / "again")
    assert digest(folder) == digest(tmp_path / "again")
    for file in folder.iterdir():
        with pytest.raises(UnicodeDecodeError):
            file.read_bytes().decode("utf-8")
        rows = list(csv.reader(io.StringIO(file.read_bytes().decode(ENCODING))))
        assert len({len(row) for row in rows}) == 1


def test_every_row_becomes_what_it_says(shop: Graph) -> None:
    files = chinese_shop()
    assert shop.total("rejected") == 0
    products, brands = shop.nodes("Product"), shop.nodes("Brand")
    assert (len(products), len(shop.nodes("User"))) == (300, 400)
    assert products["SP10014"]["category_text"] == "服装 > 女装 > 针织衫"
    assert {brand_name(brand) for brand in range(40)} <= {row["name"] for row in brands.values()}
    lines = [row for name, rows in files.items() if name.startswith("订单") for row in rows[1:]]
    assert sum(row["count"] for row in shop.edges(*BOUGHT).values()) == len(lines)
    assert len(shop.edges(*MADE_BY)) == len(shop.edges(*IN_CATEGORY)) == 300
    redeemed = shop.edges("User", "REDEEMED", "Coupon")
    assert 0 < len(redeemed) <= len(files["优惠券核销.csv"]) - 1


def test_what_init_proposes_makes_the_same_graph_and_the_aliases_make_forty_brands(
    folder: Path, shop: Graph, tmp_path: Path
) -> None:
    schema, files = load_schema(), sorted(folder.iterdir())
    text = propose(files, schema).replace("time_zone: UTC", "time_zone: Asia/Shanghai")
    found = graph_tables(parse_mapping(text), folder, schema=schema)
    assert found.rejects.num_rows == 0
    proposed = {(row["source"], row["target"]): row for row in found.edges[BOUGHT].to_pylist()}
    assert proposed.keys() == shop.edges(*BOUGHT).keys()
    for ends, row in shop.edges(*BOUGHT).items():
        assert {name: proposed[ends][name] for name in ("first_at", "count", "spend")} == {
            name: row[name] for name in ("first_at", "count", "spend")
        }
    titles = {row["product_id"]: row["title"] for row in found.nodes["Product"].to_pylist()}
    assert titles == {key: row["title"] for key, row in shop.nodes("Product").items()}
    assert {"User", "Query", "Campaign", "Coupon", "Brand", "Category", "Department"} <= found.nodes.keys()
    assert found.nodes["Brand"].num_rows > 40
    told = load_mapping(adapter("chinese-shop").mapping_path)
    brands = graph_tables(told, folder, schema=schema).nodes["Brand"]["name"].to_pylist()
    assert sorted(brands) == sorted(map(brand_name, range(40)))
    # The check finds what was planted, and drafts the same pairs.
    assert sorted(len(group) for group in alike(found.nodes["Brand"]["name"].to_pylist())) == [3, 3, 3, 3]


def test_times_are_those_of_shanghai(shop: Graph) -> None:
    # 2024/1/1 13:52 there.
    first = shop.edges(*BOUGHT)["YH2315", "SP10616"]["first_at"]
    assert first.isoformat() == "2024-01-01T05:52:00"
    # Eight months: no day of it before the first, none after the last.
    days = {row["first_at"].date() for row in shop.edges(*BOUGHT).values()}
    assert (min(days).isoformat(), max(days).isoformat()) == ("2024-01-01", "2024-08-27")


def test_customers_keep_to_a_department(shop: Graph) -> None:
    department = {key: row["category_text"].split(" > ")[0] for key, row in shop.nodes("Product").items()}
    bought: dict[str, Counter[str]] = {}
    for user, product in shop.edges(*BOUGHT):
        bought.setdefault(user, Counter())[department[product]] += 1
    shares = [max(counts.values()) / counts.total() for counts in bought.values() if counts.total() >= 8]
    assert sum(shares) / len(shares) > 0.5


def test_people_are_told_in_chinese(shop: Graph) -> None:
    assert {language_of(row["title"]) for row in shop.nodes("Product").values()} == {"zh"}
