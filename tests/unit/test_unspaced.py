"""Queries are made up of words also where titles have no blanks."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.datasets.chinese_shop import ENCODING, write_chinese_shop
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.items import Items
from kgdistill.serve.readings import Readings
from kgdistill.serve.search import search_index
from kgdistill.tasks.search_catalogue import Facts, SearchCatalogue
from kgdistill.tasks.synthetic import spans, synthesise, title_phrases, words_of
from kgdistill.tasks.unspaced import cut, unspaced_words, written


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("shop")
    write_chinese_shop(folder)
    with (folder / "商品.csv").open(encoding=ENCODING, newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def catalogue(rows: list[dict[str, str]]) -> SearchCatalogue:
    brands = sorted({row["品牌"] for row in rows})
    members = np.zeros((len(rows), len(brands)), np.float32)
    members[np.arange(len(rows)), [brands.index(row["品牌"]) for row in rows]] = 1
    fields = {"标题": [row["标题"] for row in rows], "款式": [row["款式"] for row in rows]}
    return SearchCatalogue(fields, [Facts("Brand", brands, sp.csr_matrix(members))])


def test_what_a_chinese_shop_sells_is_cut_into_words(
    rows: list[dict[str, str]], catalogue: SearchCatalogue
) -> None:
    known = words_of(catalogue)
    kinds = {row["类目"].split(">")[-1] for row in rows}
    looks = {row["款式"] for row in rows}
    assert kinds | looks <= known
    # A look that most of a kind have sticks to it.
    whole = [{row["类目"].split(">")[-1], row["款式"]} <= set(cut(row["标题"], known)) for row in rows]
    assert sum(whole) > 0.85 * len(rows)
    phrases = title_phrases(catalogue)
    assert kinds <= set(phrases)
    assert not {row["品牌"] for row in rows} & set(phrases)


def test_queries_in_chinese_are_words_and_not_whole_titles(
    rows: list[dict[str, str]], catalogue: SearchCatalogue
) -> None:
    phrases = title_phrases(catalogue)
    kinds = [row["类目"].split(">")[-1] for row in rows]
    heads = np.array([phrases.index(kind) for kind in kinds])
    made = synthesise(catalogue, phrases, heads, count=600)
    titles = {title.casefold() for title in catalogue.titles}
    assert len(made) > 300
    assert sum(text in titles for text in made.texts) < 0.05 * len(made)
    by = {
        name: [t for t, n in zip(made.texts, made.templates, strict=True) if n == name]
        for name in made.templates
    }
    assert {"node", "vocabulary", "node phrase", "span", "drop"} <= by.keys()
    # Neighbours are written together, a brand and what it makes with a blank.
    assert any("红色修身连衣裙" in text for text in by["vocabulary"])
    assert all(any(text.endswith(kind) for kind in kinds) for text in by["node phrase"])
    assert not any("升" in text and " 升" in text for text in made.texts)


def test_a_search_in_chinese_finds_what_was_asked_for(rows: list[dict[str, str]]) -> None:
    import pyarrow as pa

    items = Items(
        pa.table({
            "id": [row["商品编号"] for row in rows], "title": [row["标题"] for row in rows],
            "brand": [row["品牌"] for row in rows],
            "category": [row["类目"].replace(">", " > ") for row in rows],
            "单价": [float(row["单价"]) for row in rows],
        })
    )  # fmt: skip
    reads = Readings.joined(["title"])
    index = search_index(reads.texts(items.columns(["title"])), np.zeros((len(rows), 0), np.float32))
    bundle = Bundle({"reads": reads.settings()}, items, search=index)
    for row in rows:
        kind = row["类目"].split(">")[-1]
        first = bundle.search(f"{row['款式']}{kind}", 1)[0]
        assert kind in first.title
        assert row["款式"] in first.title
        assert kind in bundle.search(kind, 1)[0].title
        assert bundle.search(kind, 1).facets[0].value.endswith(kind)  # type: ignore[union-attr]
    # Half a kilo of nuts, however it is written.
    nuts = [
        [hit.id for hit in bundle.search(f"{text}坚果", 5)] for text in ("500克", "0.5kg", "0.5公斤", "500 g")
    ]
    assert all(found == nuts[0] for found in nuts)
    assert all("500克" in bundle.items.titles[i] for i in bundle.index(nuts[0])[0])
    cheap = bundle.search("100元以下的保温杯", 50, facets="filter")
    prices = [float(row["单价"]) for row in rows if row["商品编号"] in {hit.id for hit in cheap}]
    assert len(cheap) > 3
    assert max(prices) <= 100
    assert all("保温杯" in hit.title for hit in cheap)
    # 茶 is no word of a title by itself, and the category has it.
    assert {hit.category.split(" > ")[1] for hit in bundle.search("茶叶", 20)} == {"茶叶"}


def test_what_is_written_with_blanks_is_cut_at_them() -> None:
    texts = ["garden chair M-100", "garden table", "garden lamp", "garden pot"]
    assert unspaced_words(texts, ["Alder"]) == frozenset()
    assert cut("Garden chair M-100", frozenset()) == ["garden", "chair", "m-100"]
    korean = ["커피 잔 세트"] * 5
    assert unspaced_words(korean, []) == frozenset()
    assert written(cut(korean[0], frozenset())) == "커피 잔 세트"
    assert spans("garden chair 5", frozenset()) == {"garden", "chair", "garden chair"}


def test_what_sticks_together_is_a_word() -> None:
    texts = [f"{colour}连衣裙" for colour in ("红色", "蓝色", "白色", "绿色")] + [
        "红色夹克",
        "蓝色夹克",
        "红色毛衣",
    ] * 3
    known = unspaced_words(texts, [])
    assert "连衣裙" in known
    assert "红色连衣裙" not in known
    assert cut("红色连衣裙iphone手机", known) == ["红色", "连衣裙", "iphone", "手机"]
    assert written(["红色", "连衣裙", "iphone", "5", "升"]) == "红色连衣裙 iphone 5升"


@given(
    st.text("红色连衣裙手机壳ab 5.-", max_size=20),
    st.frozensets(st.text("红色连衣裙手机壳", min_size=2, max_size=4)),
)
def test_nothing_is_lost_in_cutting(text: str, known: frozenset[str]) -> None:
    found = cut(text, known)
    assert all(found)
    assert "".join(found) == "".join(cut(text, frozenset()))
