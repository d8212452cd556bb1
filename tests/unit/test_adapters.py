from __future__ import annotations

import contextlib
import gzip
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from kgdistill.datasets.adapters import adapter, adapters
from kgdistill.errors import InputError
from kgdistill.ingest.archive import Archive, JobRecord, StagedSource, utc_now
from kgdistill.ingest.fold import Fold
from kgdistill.ingest.job import stage_here
from kgdistill.ingest.mapping.load import load_mapping
from kgdistill.ingest.model import TypeKey
from kgdistill.ingest.readers import find_sources, fingerprint, table_source
from kgdistill.ingest.references import check_references
from kgdistill.ingest.sql import engine
from kgdistill.ingest.stage import Unit
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY / "tests" / "fixtures" / "adapters"
REAL = Path(os.environ.get("KGDISTILL_DATA", REPOSITORY.parent / "shared" / "data"))

BOUGHT = ("User", "BOUGHT", "Product")
RATED = ("User", "RATED", "Product")
MADE_BY = ("Product", "MADE_BY", "Brand")
IN_CATEGORY = ("Product", "IN_CATEGORY", "Category")
JUDGED = ("Query", "JUDGED", "Product")


@dataclass
class Graph:
    tables: dict[TypeKey, pa.Table]
    sources: list[StagedSource]

    def nodes(self, label: str) -> dict[str, dict[str, Any]]:
        """By key, the properties that have a value."""
        key = SCHEMA.node(label).key
        rows = self.tables[label].to_pylist()
        return {row[key]: {k: v for k, v in row.items() if v is not None and k != key} for row in rows}

    def edges(self, *edge: str) -> dict[tuple[str, str], dict[str, Any]]:
        rows = self.tables[(edge[0], edge[1], edge[2])].to_pylist()
        return {
            (row.pop("source"), row.pop("target")): {k: v for k, v in row.items() if v is not None}
            for row in rows
        }

    def total(self, what: str) -> int:
        return sum(int(getattr(source, what)) for source in self.sources)


def graph(name: str, root: Path | None, folder: Path) -> Graph:
    """What a job would tell a store: everything but the store itself."""
    item = adapter(name)
    given = item.prepare(root) if item.prepare is not None else {}
    units: list[Unit] = []
    for source_name, compiled in load_mapping(item.mapping_path).compile(SCHEMA).items():
        place = given.get(source_name)
        if isinstance(place, pa.Table):
            sources = [table_source(f"{source_name}:table", place)]
        elif place is not None:
            sources = find_sources(source_name, [place.name], place.parent, compiled.options)
        else:
            assert root is not None
            patterns = list(compiled.patterns)
            sources = find_sources(source_name, patterns, root, compiled.options, optional=compiled.optional)
        for source in sources:
            mark = fingerprint(source)
            units.append(Unit(len(units), source, compiled, mark.sha256, mark.size, {}, None))
    archive = Archive(folder / "archive")
    number, part = archive.begin()
    staged = stage_here(units, part, number, SCHEMA)
    with contextlib.ExitStack() as stack:
        db = stack.enter_context(engine(folder))
        stubs = {unit.place: unit.compiled.stubs for unit in units}
        nobody = pa.array([], pa.string())
        staged = check_references(db, SCHEMA, part, number, staged, [], stubs, lambda label: nobody)
        now = utc_now()
        record = JobRecord(
            number=number, mapping=name, started_at=now, sealed_at=now, sources=tuple(staged), schema=SCHEMA
        )
        fold = Fold(db, SCHEMA, archive.files(SCHEMA, staged=record))
        tables = {key: pa.concat_tables(list(fold.batches(key, 1 << 20))) for key in fold.types()}
    archive.abandon(number)
    return Graph(tables, staged)


def of_fixture(name: str, tmp_path: Path, folder: str | None = None) -> Graph:
    made = graph(name, FIXTURES / (folder or name), tmp_path)
    assert made.total("rejected") == 0
    return made


def real(name: str) -> Path:
    if not (REAL / name).is_dir():
        pytest.skip(f"needs {name} in the folder that KGDISTILL_DATA names")
    return REAL / name


def test_every_adapter_has_a_mapping_that_fits_the_schema_and_a_card_that_is_listed() -> None:
    listed = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for item in adapters():
        assert load_mapping(item.mapping_path).compile(SCHEMA)
        assert (REPOSITORY / item.card).is_file(), item.card
        assert f"({Path(item.card).name})" in listed
    with pytest.raises(InputError, match="esci"):
        adapter("escii")


def test_amazon_2018_reviews_are_purchases_once_each_and_html_is_undone(tmp_path: Path) -> None:
    made = of_fixture("amazon-2018", tmp_path)
    bought = made.edges(*BOUGHT)
    # The same review twice is one purchase; the product without a description is there all the same.
    assert {pair: row["count"] for pair, row in bought.items()} == {
        ("AUSER1", "B000000001"): 1,
        ("AUSER1", "B000000002"): 1,
        ("AUSER2", "B000000009"): 1,
    }
    assert bought["AUSER1", "B000000001"]["first_at"] == datetime(2009, 9, 13)
    assert made.edges(*RATED)["AUSER1", "B000000002"] == {"at": datetime(2014, 1, 2), "rating": 2.0}
    products = made.nodes("Product")
    assert products["B000000001"] == {
        "title": "Gel pen & refill",
        "description": "A pen., Blue ink.",
        "brand_text": "Inkwell & Co",
        "category_text": "Office Products, Office & School Supplies, Pens",
        "attributes": "0.5 mm, Quick dry",
        "price": 1012.5,
    }
    assert "price" not in products["B000000002"]
    assert products["B000000009"] == {}
    assert made.edges(*MADE_BY).keys() == {("B000000001", "Inkwell & Co"), ("B000000003", "Sheet")}
    assert made.edges(*IN_CATEGORY).keys() == {
        ("B000000001", "Office Products > Office & School Supplies > Pens"),
        ("B000000002", "Office Products > Office & School Supplies"),
    }


def test_amazon_2023_variants_are_one_product_and_the_store_stands_in_for_a_brand(tmp_path: Path) -> None:
    made = of_fixture("amazon-2023", tmp_path)
    row = made.edges(*BOUGHT)["AEUSER1", "B0PARENT01"]
    assert (row["count"], row["first_at"]) == (2, datetime(2020, 5, 5, 14, 8, 48, 923000))
    # The first review counts, as its time does.
    assert made.edges(*RATED)["AEUSER1", "B0PARENT01"]["rating"] == 5.0
    products = made.nodes("Product")
    assert products["B0PARENT01"]["attributes"] == "Blue, 1 Count"
    assert products["B0PARENT01"]["price"] == 3.5
    assert "price" not in products["B0PARENT03"]
    assert made.edges(*MADE_BY).keys() == {("B0PARENT01", "Inkwell"), ("B0PARENT02", "Clampy")}
    assert made.nodes("Category")["Office Products > Pens"]["level"] == 1
    assert made.nodes("Department") == {"Office Products": {"name": "Office Products"}}


def test_esci_products_of_two_locales_are_two_products(tmp_path: Path) -> None:
    made = of_fixture("esci", tmp_path)
    assert made.nodes("Product") == {
        "us:B0PENCIL01": {
            "title": "Pencils, 12",
            "description": "HB\nWood",
            "brand_text": "Graphite",
            "attributes": "Yellow",
        },
        "us:B0SHARED01": {"title": "Sharpener", "description": "<p>Steel.</p>", "brand_text": "Graphite"},
        "es:B0SHARED01": {"title": "Sacapuntas", "attributes": "Rojo"},
        "es:B0ABSENT01": {},
    }
    assert made.nodes("Query") == {"8": {"text": "# 2 pencils"}, "9": {"text": "lápiz"}}
    assert made.edges(*JUDGED) == {
        ("8", "us:B0PENCIL01"): {"grade": 3.0, "verdict": "Exact"},
        ("8", "us:B0SHARED01"): {"grade": 1.0, "verdict": "Complement"},
        ("9", "es:B0SHARED01"): {"grade": 2.0, "verdict": "Substitute"},
        ("9", "es:B0ABSENT01"): {"grade": 0.0, "verdict": "Irrelevant"},
    }


def test_wands_is_read_through_its_tabs_and_quotes(tmp_path: Path) -> None:
    made = of_fixture("wands", tmp_path)
    products = made.nodes("Product")
    assert products["0"]["attributes"] == "overallwidth-sidetoside: 64.7, color: brown"
    assert products["0"]["category_text"] == "Furniture > Bedroom Furniture > Beds & Headboards"
    assert products["1"]["description"] == 'a "pro" chair ,\nwith a footrest'
    assert products["2"] == {"title": "mystery item"}
    assert made.edges(*IN_CATEGORY).keys() == {
        ("0", "Furniture > Bedroom Furniture > Beds & Headboards"),
        ("1", "Furniture > Chairs"),
    }
    assert made.edges(*JUDGED)["1", "2"] == {"grade": 1.0, "verdict": "Partial"}


def test_recbole_files_are_joined_with_their_knowledge_graph(tmp_path: Path) -> None:
    made = of_fixture("recbole", tmp_path)
    assert made.edges(*RATED)["u2", "i1"] == {"at": datetime(2000, 12, 31, 22, 32, 48), "rating": 3.0}
    assert made.nodes("User") == {"u1": {"age": "25"}, "u2": {"age": "35"}}
    assert made.nodes("Product")["i1"] == {
        "title": "Gel pen",
        "brand_text": "Inkwell",
        "category_text": "Office Products, Pens",
        "price": 3.5,
    }
    # A triple whose head is no item, and one that is about a colour, make nothing.
    assert made.edges(*MADE_BY).keys() == {("i1", "Inkwell"), ("i1", "m.inkwell")}
    assert made.edges(*IN_CATEGORY).keys() == {
        ("i1", "Office Products"),
        ("i1", "Pens"),
        ("i2", "Office Products"),
        ("i2", "m.desk"),
    }


def test_recbole_interactions_without_ratings_and_with_other_names_of_columns(tmp_path: Path) -> None:
    (tmp_path / "ml.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\ti\t978300760\n")
    (tmp_path / "ml.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "i\tToy Story\t1995\tAnimation Comedy\n"
    )
    made = graph("recbole", tmp_path, tmp_path)
    assert made.edges(*BOUGHT).keys() == {("u", "i")}
    assert RATED not in made.tables
    assert made.nodes("Product")["i"] == {"title": "Toy Story", "category_text": "Animation, Comedy"}
    assert made.edges(*IN_CATEGORY).keys() == {("i", "Animation"), ("i", "Comedy")}


def test_hm_keeps_leading_zeros_and_counts_equal_lines(tmp_path: Path) -> None:
    made = of_fixture("hm", tmp_path)
    first = made.edges(*BOUGHT)["00aa", "0108000015"]
    assert (first["count"], first["first_at"]) == (2, datetime(2018, 9, 20))
    assert first["spend"] == pytest.approx(2 * 0.0508305084745762)
    assert made.nodes("User")["00cc"] == {"age": "24.0"}
    assert made.nodes("Product")["0999999001"] == {}
    assert made.nodes("Product")["0108000015"] == {
        "title": "Plain top",
        "description": "Jersey top, narrow straps.",
        "category_text": "Ladieswear > Garment Upper body > Vest top",
        "attributes": "Black, Solid, Jersey Basic, Womens Everyday Basics",
    }
    assert made.nodes("Category")["Ladieswear > Garment Upper body > Vest top"]["level"] == 2


@pytest.mark.parametrize("folder", ["chorus", "chorus-original"])
def test_chorus_as_lines_and_as_published_gives_the_same_products(folder: str, tmp_path: Path) -> None:
    made = of_fixture("chorus", tmp_path, folder)
    products = made.nodes("Product")
    assert products["101"] == {
        "title": "Acme NB-1 notebook",
        "description": "A notebook",
        "brand_text": "Acme",
        "category_text": "Notebook",
        "attributes": "Silver",
        "price": pytest.approx(109.95),
    }
    assert products["103"] == {"title": "Cable", "category_text": "Cable"}
    assert made.edges(*MADE_BY).keys() == {("101", "Acme"), ("102", "Printo")}
    judged = made.edges(*JUDGED)
    assert judged["laptop", "101"] == {"grade": 3.0}
    assert len(judged) == (4 if folder == "chorus" else 1)


def test_online_retail_returns_lower_the_spend_and_are_no_first_purchase(tmp_path: Path) -> None:
    made = of_fixture("online-retail", tmp_path)
    # Postage is no product; a correction of the stock names none.
    assert made.total("skipped") == 2
    assert made.nodes("Product").keys() == {"85123A", "71053", "22556", "21773"}
    # The later title counts.
    assert made.nodes("Product")["85123A"] == {"title": "CREAM HANGING HEART T-LIGHT HOLDER", "price": 2.95}
    bought = made.edges(*BOUGHT)
    assert bought["17850", "71053"] == {
        "first_at": datetime(2010, 12, 1, 8, 26),
        "first_quantity": 6,
        "last_at": datetime(2010, 12, 2, 10, 24),
        "count": 2,
        "spend": pytest.approx(4 * 3.39),
    }
    only_returned = bought["17548", "22556"]
    assert (only_returned["first_quantity"], only_returned["spend"]) == (0, pytest.approx(-1.65))


def test_amazon_office_fixture(tmp_path: Path) -> None:
    made = of_fixture("amazon-office", tmp_path)
    assert made.nodes("Product")["B02"] == {"title": "Notebook"}
    assert made.edges(*MADE_BY).keys() == {("B01", "Inkwell")}
    assert made.edges(*RATED)["A1", "B02"] == {"at": datetime(2016, 10, 2), "rating": 3.0}


def test_a_search_log_becomes_searches_views_and_purchases(tmp_path: Path) -> None:
    made = of_fixture("search-log", tmp_path)
    searched = made.edges("User", "SEARCHED", "Query")
    assert made.nodes("Query") == {"green tea": {"text": "green tea"}}
    assert searched["u1", "green tea"] == {
        "first_at": datetime(2024, 5, 1, 9),
        "last_at": datetime(2024, 5, 3, 9),
        "count": 2,
    }
    assert searched["u2", "green tea"]["first_at"] == datetime(2024, 5, 2, 8)
    assert made.edges("User", "VIEWED", "Product").keys() == {("u1", "p1")}
    assert made.edges(*BOUGHT).keys() == {("u1", "p1")}


def test_an_ad_log_becomes_impressions_and_clicks(tmp_path: Path) -> None:
    made = of_fixture("ad-log", tmp_path)
    assert {pair: row["count"] for pair, row in made.edges("User", "SAW", "Ad").items()} == {
        ("u1", "a1"): 2,
        ("u2", "a2"): 1,
    }
    assert made.edges("User", "CLICKED", "Ad").keys() == {("u1", "a1")}
    assert made.edges("Ad", "PART_OF", "Campaign").keys() == {("a1", "spring")}
    assert made.edges("Ad", "FOR", "Product").keys() == {("a1", "p1")}
    assert made.nodes("Ad")["a2"] == {"title": "Mugs"}


def test_amazon_office_has_the_counts_that_pandas_finds(tmp_path: Path) -> None:
    folder = real("amazon_office")
    made = graph("amazon-office", folder, tmp_path)
    assert made.total("rejected") == 0
    lines = pd.read_csv(folder / "interactions.csv.gz")
    items = pd.read_json(folder / "items.jsonl.gz", lines=True, dtype={"asin": str})
    brands = items["brand"].str.strip()
    pairs = lines.groupby(["user_id", "asin"])
    assert made.tables["User"].num_rows == lines["user_id"].nunique()
    assert set(made.nodes("Product")) == {*items["asin"], *lines["asin"]}
    assert made.tables["Brand"].num_rows == brands[brands != ""].nunique()
    assert made.tables[MADE_BY].num_rows == int((brands != "").sum())
    bought = made.edges(*BOUGHT)
    assert len(bought) == made.tables[RATED].num_rows == pairs.ngroups
    assert sum(row["count"] for row in bought.values()) == len(lines)
    last = pd.to_datetime(pairs["timestamp"].max(), unit="s")
    assert {pair: row["last_at"] for pair, row in bought.items()} == last.to_dict()


def test_chorus_has_the_counts_that_pandas_finds(tmp_path: Path) -> None:
    folder = real("chorus_icecat")
    made = graph("chorus", folder, tmp_path)
    assert made.total("rejected") == 0
    with gzip.open(folder / "products.jsonl.gz", "rt", encoding="utf-8") as file:
        products = {row["id"]: row for row in map(json.loads, file)}
    judged = pd.read_csv(folder / "judgements.csv", dtype={"docid": str})
    assert set(made.nodes("Product")) == {*products, *judged["docid"]}
    suppliers = {row["supplier"].strip() for row in products.values() if row.get("supplier")}
    assert set(made.nodes("Brand")) == suppliers
    kinds = {row["attr_t_product_type"] for row in products.values() if "attr_t_product_type" in row}
    assert set(made.nodes("Category")) == {kind.strip() for kind in kinds}
    assert made.tables["Query"].num_rows == judged["query"].nunique()
    grades = judged.groupby(["query", "docid"])["rating"].last()
    assert {pair: row["grade"] for pair, row in made.edges(*JUDGED).items()} == grades.to_dict()
    priced = {key: row["price"] / 100 for key, row in products.items() if row.get("price") is not None}
    ours = {key: row["price"] for key, row in made.nodes("Product").items() if "price" in row}
    assert ours == pytest.approx(priced)
