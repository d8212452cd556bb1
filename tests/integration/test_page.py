"""The page's answers, without a browser."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pyarrow as pa
import pytest
from _load_script import load_script
from _page_shop import BREAKING, MARKUP, client, fill_bundle_shop, fill_hostile_shop
from markupsafe import escape
from matplotlib import font_manager
from starlette.testclient import TestClient

from kgdistill.explore import saved_queries
from kgdistill.page import page_app
from kgdistill.page.cards import OPENED
from kgdistill.page.plots import Bars
from kgdistill.serve.bundle import load_bundle
from kgdistill.serve.why import why
from kgdistill.store import GraphStore, MemoryStore, load_schema


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_hostile_shop(opened)
        yield opened


@pytest.fixture(scope="module")
def page(store: GraphStore) -> TestClient:
    return client(store)


def text(page: TestClient, address: str, status: int = 200, **values: str | int) -> str:
    answer = page.get(address, params=values)
    assert answer.status_code == status, answer.text
    return answer.text


def test_the_start_leads_to_runs_and_labels(page: TestClient) -> None:
    told = text(page, "/")
    assert 'href="/run?run=demo"' in told
    assert 'href="/run?run=former"' in told
    assert 'href="/list?label=Product"' in told


def test_a_font_with_chinese_is_served_where_the_machine_has_one(
    store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = SimpleNamespace(name="Noto Sans CJK SC", fname="/fonts/NotoSansCJK.ttc")
    plain = next(f for f in font_manager.fontManager.ttflist if f.name == "DejaVu Sans")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [collection, plain])
    # A browser reads no collection.
    monkeypatch.setattr("kgdistill.plotting.EASTERN_FONTS", ("Noto Sans CJK SC",))
    page = client(store)
    assert page.get("/font").status_code == 404
    assert "url(" not in text(page, "/style.css")
    monkeypatch.setattr("kgdistill.plotting.EASTERN_FONTS", ("Noto Sans CJK SC", "DejaVu Sans"))
    page = client(store)
    assert page.get("/font").content == Path(plain.fname).read_bytes()
    assert 'url("font")' in text(page, "/style.css")
    alone = text(page, "/list", **{"label": "Product", "as": "html"})
    assert "font-face" in alone
    assert "url(" not in alone


def test_a_user_is_told_with_reasons_and_what_is_known(page: TestClient) -> None:
    told = text(page, "/card", label="User", key="ann")
    assert re.search(r'href="/card\?label=Product&amp;key=mug-2"', told)
    assert "Espresso beans" in told  # what ann bought
    why = text(page, "/part/reasons", user="cyd", run="demo")
    assert "made by Hillside" in why
    assert "bought 3 products" in text(page, "/part/taste", user="ann")


def test_the_run_that_is_chosen_is_shown(page: TestClient) -> None:
    assert "Filter coffee" not in text(page, "/part/reasons", user="ann", run="demo")
    assert "Filter coffee" in text(page, "/part/reasons", user="ann", run="former")
    assert "no run" in text(page, "/card", 400, label="User", key="ann", run="nonsense").lower()


def test_a_product_says_who_gets_it_and_who_does_not(page: TestClient) -> None:
    told = text(page, "/card", label="Product", key="mug-1")
    assert re.search(r">demo</a>: to 1 users", told)
    assert re.search(r">former</a>: recommended to nobody", told)
    assert "Substitutes of a product" in told
    assert "Complements of a product" in told


@pytest.mark.parametrize(
    ("label", "key", "says"),
    [
        ("Brand", "hillside", "How far a brand reaches"),
        ("Category", "tea", "Products of a category"),
        ("Campaign", "spring", "A campaign&#39;s audience"),
        ("Query", "q1", "What answers a search"),
        ("Coupon", "c1", "spring"),
        ("Product", "a/b ?&#=%", "Odd key"),
    ],
)
def test_every_kind_of_node_has_a_card(page: TestClient, label: str, key: str, says: str) -> None:
    assert says in text(page, "/card", label=label, key=key)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("green TEAS", "tea-1"),
        ("tea-1", "tea-1"),
        ("龙井", "茶-1"),
        ("绿茶 500克", "茶-1"),
        ("espr", "coffee-1"),
        ("ann", "ann"),
    ],
)
def test_the_search_box_reads_any_script(page: TestClient, asked: str, found: str) -> None:
    told = page.get("/search", params={"q": asked}, headers={"HX-Request": "true"})
    assert "<html" not in told.text
    first = re.search(r"key=([^\"&]+)", told.text)
    assert first
    assert unquote(first[1]) == found


def test_every_saved_query_has_a_form_and_answers_its_example(page: TestClient) -> None:
    listed = text(page, "/queries")
    for query in saved_queries():
        assert f'href="/query/{query.name}"' in listed
        example = query.example.replace("Earl Grey", "tea-2")
        given = dict(part.split("=", 1) for part in shlex.split(example))
        asked = page.get(f"/query/{query.name}", params=given)
        assert asked.status_code == 200, (query.name, asked.text)
        for parameter in query.parameters:
            assert f'name="{parameter.name}"' in asked.text
        rows = list(
            csv.DictReader(io.StringIO(page.get(f"/query/{query.name}", params={**given, "as": "csv"}).text))
        )
        same = page.get(f"/query/{query.name}", params={**given, "as": "json"}).json()
        assert len(rows) == len(same)


def test_every_query_that_a_card_opens_is_there() -> None:
    known = {query.name: {p.type for p in query.parameters} for query in saved_queries()}
    for label, names in OPENED.items():
        for name in names:
            assert label in known[name], name


def test_answers_lead_to_cards(page: TestClient) -> None:
    told = text(page, "/query/recommended_to", product="tea-2", run="demo")
    assert 'href="/card?label=User&amp;key=ann"' in told
    around = text(page, "/query/neighbours_of_product", product="tea-1")
    assert 'href="/card?label=Brand&amp;key=hillside"' in around


def test_an_unknown_parameter_names_the_nearest(page: TestClient) -> None:
    assert (
        "did you mean &#39;product&#39;"
        in text(page, "/query/substitutes", 400, product="tea-1", produkt="x").lower()
    )


def test_two_runs_are_compared(page: TestClient) -> None:
    told = text(page, "/compare", run="demo", other="former")
    assert "Products on which two runs disagree" in told
    drawn = text(page, "/part/plots", run="demo", other="former")
    assert drawn.count('role="img"') == 2
    # Beside every picture the same figures as a table.
    assert drawn.count("<table>") == 2
    assert "former" in drawn


def test_bars_are_as_long_as_their_shares() -> None:
    bars = Bars("t", "", ["a", "b"], ["one", "two"], [[0.5, 0.25], [None, 0.0]], "")
    lengths = [bar.width for bar in bars.bars]
    assert lengths[1] == lengths[0] / 2
    assert lengths[2:] == [0.0, 0.0]
    assert [bar.text for bar in bars.bars] == ["50.0 %", "25.0 %", "", "0.0 %"]
    assert "a: one 50.0 %, two 25.0 %; b: two 0.0 %" in bars.description


def test_all_that_a_run_wrote_is_one_download(page: TestClient) -> None:
    edge = {"source_label": "User", "type": "RECOMMENDED", "target_label": "Product", "run": "demo"}
    rows = list(csv.DictReader(io.StringIO(text(page, "/download", **edge))))
    assert len(rows) == 8
    told = {"user": "ann", "rank": "1", "score": "0.9", "product": "tea-2", "product_name": MARKUP}
    assert rows[0].items() >= told.items()
    first = list(csv.DictReader(io.StringIO(text(page, "/download", **edge, k=1))))
    assert {row["rank"] for row in first} == {"1"}
    assert len(first) == 4


def elements(told: str) -> dict[str, list[dict[str, str]]]:
    found = re.search(r'<script type="application/json" id="elements">(.*?)</script>', told, flags=re.S)
    assert found
    shown: dict[str, list[dict[str, str]]] = json.loads(found[1])
    return shown


def test_a_neighbourhood_holds_what_is_among_its_nodes(page: TestClient) -> None:
    shown = elements(text(page, "/graph", node="Product:tea-1", limit=5))
    ids = {node["id"] for node in shown["nodes"]}
    assert {"Product:tea-1", "Brand:hillside", "Category:tea", "User:ann", "Product:mug-1"} <= ids
    assert all(edge["source"] in ids and edge["target"] in ids for edge in shown["edges"])
    # ann bought the mug too: that is no edge of the tea, but it is among what is on screen.
    assert any(e["source"] == "User:ann" and e["target"] == "Product:mug-1" for e in shown["edges"])


def test_what_happened_twice_is_one_line(page: TestClient) -> None:
    ids = [edge["id"] for edge in elements(text(page, "/graph", node="User:ann"))["edges"]]
    assert "User:ann|REDEEMED||Coupon:c1" in ids
    assert len(ids) == len(set(ids))


def test_expanding_is_limited_and_keeps_to_the_screen(page: TestClient) -> None:
    token = re.search(r'name="form" value="([^"]+)"', text(page, "/graph", node="Product:tea-1"))
    assert token
    body = {"node": "Brand:hillside", "shown": ["Product:tea-1", "Brand:hillside"], "limit": 1}
    told = page.post("/graph/expand", json=body, headers={"X-Form-Token": token[1]})
    assert told.status_code == 200, told.text
    found = told.json()
    ids = {node["id"] for node in found["nodes"]}
    assert len([one for one in ids if one.startswith("Product:")]) <= 2
    assert all(edge["source"] in ids and edge["target"] in ids for edge in found["edges"])


def test_a_pictures_run_leaves_out_the_others(page: TestClient) -> None:
    every = elements(text(page, "/graph", node="User:ann"))
    one = elements(text(page, "/graph", node="User:ann", run="demo"))
    assert {e["run"] for e in every["edges"]} >= {"demo", "former"}
    assert {e["run"] for e in one["edges"]} <= {"", "demo", "target"}


def test_paths_lead_from_the_user_to_the_product(page: TestClient) -> None:
    assert "made by Hillside" in text(page, "/why", user="cyd", product="tea-1", **{"as": "html"})
    told = text(page, "/part/why", user="cyd", product="tea-1")
    assert "made by Hillside" in told
    shown = elements(told)
    at = {node["id"]: node["x"] for node in shown["nodes"]}
    assert at["User:cyd"] == min(at.values())
    assert at["Product:tea-1"] == max(at.values())


def test_a_page_is_kept_as_one_file(page: TestClient) -> None:
    answer = page.get("/card", params={"label": "User", "key": "cyd", "as": "html"})
    assert "attachment" in answer.headers["content-disposition"]
    for outside in ("<script", "<form", '<link rel="stylesheet"', 'href="/', "src=", "hx-get"):
        assert outside not in answer.text, outside
    assert "made by Hillside" in answer.text
    run = text(page, "/run", run="demo", **{"as": "html"})
    assert run.count('role="img"') == 2
    assert 'href="/' not in run


def test_the_page_speaks_chinese(store: GraphStore) -> None:
    page = client(store)
    assert "搜索" in page.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert "Name or id" in text(page, "/")
    told = text(page, "/card", label="User", key="cyd", lang="zh")
    assert '<html lang="zh-Hans">' in told
    assert "推荐" in told
    # What was chosen once stays, for reasons too; any other word chooses nothing.
    assert "名称或编号" in text(page, "/", lang="<script>")
    assert "买过" in text(page, "/part/reasons", user="cyd", run="demo")
    assert "Name or id" in text(page, "/", lang="en")
    assert "made by Hillside" in text(page, "/part/reasons", user="cyd", run="demo")


def test_sensitive_facts_are_shown_only_where_that_was_asked_for(store: GraphStore) -> None:
    store.write_nodes("User", pa.table({"user_id": ["ann"], "income": ["35-49K"]}))
    store.write_nodes("Class", pa.table({"class_id": ["r:x"], "run": ["r"], "property": ["income"],
                                         "name": ["well-off"], "sensitive": [True]}))  # fmt: skip
    profiled = {
        "source": ["ann"],
        "target": ["r:x"],
        "run": ["r"],
        "property": ["income"],
        "probability": [0.9],
    }
    store.write_relationships(("User", "PROFILED", "Class"), pa.table(profiled))
    edge = {"source_label": "User", "type": "PROFILED", "target_label": "Class", "run": "r"}
    for allowed in (False, True):
        asking = TestClient(page_app(store, allow_sensitive=allowed), base_url="http://localhost")
        told = text(asking, "/card", label="User", key="ann")
        assert ("35-49K" in told) == allowed
        assert ("well-off" in told) == allowed
        assert ("well-off" in text(asking, "/download", **edge)) == allowed


def test_what_the_data_say_is_shown_as_text(page: TestClient) -> None:
    addresses = [
        ("/card", {"label": "Product", "key": "tea-2"}),
        ("/card", {"label": "Product", "key": "mug-2"}),
        ("/card", {"label": "User", "key": "ann"}),
        ("/card", {"label": "Brand", "key": "kiln"}),
        ("/graph", {"node": "Product:tea-1"}),
        ("/graph", {"node": "Product:mug-2"}),
        ("/part/why", {"user": "cyd", "product": "tea-1"}),
        ("/why", {"user": "cyd", "product": "mug-2"}),
        ("/search", {"q": "script alert"}),
        ("/list", {"label": "Product"}),
        ("/query/most_recommended", {"run": "demo"}),
        ("/part/plots", {"run": "demo"}),
        ("/part/reasons", {"user": "cyd", "run": "demo"}),
        ("/card", {"label": "User", "key": "cyd", "as": "html"}),
    ]
    for address, values in addresses:
        told = text(page, address, **values)
        assert MARKUP not in told, address
        assert BREAKING not in told, address
        assert "<img" not in told, address
    for echoed in ("/search", "/card"):
        answer = page.get(echoed, params={"q": MARKUP, "label": MARKUP, "key": MARKUP})
        assert MARKUP not in answer.text


def test_a_reason_that_was_kept_is_shown_at_once() -> None:
    with MemoryStore() as store:
        fill_hostile_shop(store)
        edge, columns = ("User", "RECOMMENDED", "Product"), {"source": ["ann"], "target": ["gift-1"]}
        bare = pa.table({**columns, "run": ["bare"], "rank": [1], "score": [0.5]})
        store.write_relationships(edge, bare)
        kept = bare.set_column(2, "run", pa.array(["kept"]))
        kept = kept.append_column("reason", pa.array([f"as {MARKUP} goes with it"]))
        store.write_relationships(edge, kept.append_column("is_new", pa.array([True])))
        told = text(client(store), "/card", label="User", key="ann", run="kept")
        assert "as &lt;script&gt;" in told
        assert "new product" in told
        assert "/part/reasons" not in told
        # Of a run without them they are looked for.
        assert "/part/reasons" in text(client(store), "/card", label="User", key="ann", run="bare")


def test_a_bundle_answers_beside_what_was_written(tmp_path: Path) -> None:
    with MemoryStore() as store:
        bought, _ = fill_bundle_shop(store, tmp_path / "bundle")
        bundle = load_bundle(tmp_path / "bundle")
        page = TestClient(page_app(store, bundle=tmp_path / "bundle"), base_url="http://localhost")
        wanted = [hit.id for hit in bundle.recommend(bought, k=10)]
        shown = text(page, "/card", label="User", key="ann").partition("What the bundle answers now")[2]
        assert re.findall(r'label=Product&amp;key=([^"]+)', shown)[:10] == wanted
        near = text(page, "/card", label="Product", key=bought[0]).partition("What the bundle answers now")[2]
        assert re.findall(r'label=Product&amp;key=([^"]+)', near)[:10] == [
            h.id for h in bundle.similar(bought[0], k=10)
        ]


def test_what_the_bundle_reads_comes_first_among_reasons(tmp_path: Path) -> None:
    with MemoryStore() as store:
        bought, product = fill_bundle_shop(store, tmp_path / "bundle")
        bundle = load_bundle(tmp_path / "bundle")
        others = [key for key in bundle.keys if key not in (*bought, product)][:20]
        store.write_nodes("User", pa.table({"user_id": ["bob"]}))
        done = [("ann", others[0]), *(("bob", key) for key in others[1:])]
        for event, pairs, when in (("VIEWED", done, "first_at"), ("BOUGHT", done[1:], "first_at")):
            users, products = zip(*pairs, strict=True)
            times = pa.array([datetime(2024, 1, 1)] * len(pairs), pa.timestamp("us"))
            store.write_relationships(
                ("User", event, "Product"), pa.table({"source": users, "target": products, when: times})
            )
        store.write_nodes("Brand", pa.table({"brand_id": ["b"], "name": ["Kiln"]}))
        store.write_nodes("Category", pa.table({"category_id": ["c"], "name": ["Mugs"]}))
        for edge, members, group in (
            (("Product", "MADE_BY", "Brand"), [product, others[0]], "b"),
            (("Product", "IN_CATEGORY", "Category"), list({product, *bought, *bundle.keys[30:]}), "c"),
        ):
            store.write_relationships(edge, pa.table({"source": members, "target": [group] * len(members)}))
        # What was viewed is more specific, and the student reads purchases alone.
        alone, weighed = (
            TestClient(page_app(store, bundle=of), base_url="http://localhost")
            for of in (None, tmp_path / "bundle")
        )
        for part, asked in (("/part/why", {"product": product}), ("/part/reasons", {"run": "demo"})):
            viewed, read = (text(page, part, user="ann", **asked) for page in (alone, weighed))
            assert 0 <= viewed.find("Kiln") < viewed.find("Mugs"), part
            assert 0 <= read.find("Mugs") < read.find("Kiln"), part


def test_a_bundle_finds_by_words_and_says_where_it_finds_nothing(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_bundle_shop(store, tmp_path / "bundle")
        bundle = load_bundle(tmp_path / "bundle")
        page = TestClient(page_app(store, bundle=tmp_path / "bundle"), base_url="http://localhost")
        title = bundle.items.titles[0]
        found = text(page, "/search", q=title).partition("What the bundle answers now")[2]
        assert re.findall(r'label=Product&amp;key=([^"]+)', found) == [
            h.id for h in bundle.search(title, k=10)
        ]
        for asked in ("ann", "龙井"):
            nothing = text(page, "/search", q=asked).partition("What the bundle answers now")[2]
            assert "None of the bundle&#39;s products has these words." in nothing
            assert "label=Product" not in nothing


def test_what_a_text_means_alone_finds_nothing(tmp_path: Path) -> None:
    bundle = load_script("bench/serving.py").random_bundle(2, text=True)
    bundle.save(tmp_path / "bundle")
    # A word that the tower knows, and no product has.
    word = next(w for w in ("mug", "lamp", "tea", "box", "steel") if bundle.search(w).basis == "meaning")
    assert len(bundle.search(word))
    with MemoryStore() as store:
        store.apply_schema(load_schema())
        store.write_nodes("User", pa.table({"user_id": ["ann"]}))
        page = TestClient(page_app(store, bundle=tmp_path / "bundle"), base_url="http://localhost")
        shown = text(page, "/search", q=word).partition("What the bundle answers now")[2]
        assert "None of the bundle&#39;s products has these words." in shown
        assert "label=Product" not in shown


def test_what_the_student_says_is_what_the_command_says(tmp_path: Path) -> None:
    with MemoryStore() as store:
        bought, first = fill_bundle_shop(store, tmp_path / "bundle")
        bundle = load_bundle(tmp_path / "bundle")
        page = TestClient(page_app(store, bundle=tmp_path / "bundle"), base_url="http://localhost")
        told = why(bundle, bought, first)
        part = text(page, "/part/student", user="ann", product=first)
        assert escape(str(told)) in part
        for term in told.terms:
            row = f'<th scope="row">{escape(term.term)}</th><td class="n">{100 * term.share:.1f} %</td>'
            assert (row in part) == (term.share > 0)
        for one in told.carriers:
            assert f'key={one.id}">{escape(one.title)}</a></td>' in part
        assert "/part/student?" in text(page, "/why", user="ann", product=first)
        # In a file without its links and scripts.
        assert escape(str(told)) in text(page, "/why", user="ann", product=first, **{"as": "html"})
        chinese = text(page, "/part/student", user="ann", product=first, lang="zh")
        assert escape(str(why(bundle, bought, first, language="zh"))) in chinese
        assert "得分构成" in chinese
        # What was bought is not ranked: said, not shown as a failure.
        assert "what was bought is not recommended" in text(
            page, "/part/student", user="ann", product=bought[0], lang="en"
        )
        without = TestClient(page_app(store), base_url="http://localhost")
        assert "/part/student" not in text(without, "/why", user="ann", product=first)
