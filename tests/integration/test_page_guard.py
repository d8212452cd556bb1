"""What a page refuses, and what it never tells."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from _page_shop import HERE, browser, fill_hostile_shop
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kgdistill.errors import InputError
from kgdistill.page import page_app
from kgdistill.page.addresses import is_loopback
from kgdistill.page.guard import Guard
from kgdistill.store import GraphStore, MemoryStore

TOKEN = "a-token-of-many-characters"
ELSEWHERE = "http://shop.example:8765"
EXPAND = {"node": "Product:tea-1", "shown": []}


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_hostile_shop(opened)
        yield opened


@pytest.fixture(scope="module")
def app(store: GraphStore) -> Starlette:
    return page_app(store)


@pytest.fixture(scope="module")
def closed_app(store: GraphStore) -> Starlette:
    return page_app(store, token=TOKEN)


@pytest.fixture
def page(app: Starlette) -> TestClient:
    return browser(app)


@pytest.fixture
def closed(closed_app: Starlette) -> TestClient:
    return browser(closed_app, base=ELSEWHERE)


def form_of(page: TestClient, address: str = "/graph?node=Product:tea-1") -> str:
    found = re.search(r'name="form" value="([^"]+)"', page.get(address).text)
    assert found
    return found[1]


def test_every_answer_has_the_headers_that_fence_a_browser(page: TestClient) -> None:
    for address in ("/", "/nowhere", "/card?label=User&key=nobody", "/static/page.js", "/style.css"):
        headers = page.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert page.get("/").headers["cache-control"] == "no-store"
    cookie = page.get("/").headers.get("set-cookie") or client_cookie(page)
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()


def client_cookie(page: TestClient) -> str:
    page.cookies.clear()
    return page.get("/").headers["set-cookie"]


def test_nothing_in_a_page_is_code_or_of_another_server(page: TestClient) -> None:
    for address in ("/", "/card?label=User&key=ann", "/graph?node=User:ann", "/query/runs", "/run?run=demo"):
        told = page.get(address).text
        assert not re.search(r"<script(?![^>]*(src=|application/json))", told)
        assert not re.search(r'\son[a-z]+="', told)
        assert not re.search(r'\sstyle="', told)
        assert not re.search(r'(src|href|action)="(https?:)?//', told)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "10.0.0.7"]
)
def test_another_name_is_no_name_of_this_machine(page: TestClient, host: str) -> None:
    answer = page.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "demo" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:1", "[::1]:8765", "LOCALHOST"])
def test_its_own_names_are(page: TestClient, host: str) -> None:
    assert page.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
                      ("localhost", True), ("0.0.0.0", False), ("::", False), ("shop.example", False)]
)  # fmt: skip
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) == own


@pytest.mark.parametrize(
    "address", ["/", "/card?label=User&key=ann", "/download?source_label=User", "/query/runs?as=csv",
                "/nowhere", "/graph?node=User:ann", "/static/../app.py", "/search?q=tea"]
)  # fmt: skip
def test_without_the_token_nothing_is_told(closed: TestClient, address: str) -> None:
    answer = closed.get(address)
    assert answer.status_code == 401
    assert "demo" not in answer.text
    assert TOKEN not in answer.text
    assert closed.get(address, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_token_opens_once_and_leaves_the_address(closed: TestClient) -> None:
    assert closed.get("/?token=wrong").headers["location"] == "/"
    assert closed.get("/").status_code == 401
    led = closed.get(f"/card?label=User&token={TOKEN}&key=ann")
    assert led.status_code == 303
    assert led.headers["location"] == "/card?label=User&key=ann"
    assert closed.get("/card?label=User&key=ann").status_code == 200
    closed.cookies.clear()
    assert closed.get("/").status_code == 401


def test_the_token_leads_to_no_other_server(closed: TestClient) -> None:
    assert closed.get(f"{ELSEWHERE}//evil.example/?token={TOKEN}").headers["location"] == "/evil.example/"


def test_a_header_opens_one_request(closed: TestClient) -> None:
    assert closed.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert closed.get("/").status_code == 401


def test_signing_in_takes_the_form_and_the_token(closed: TestClient) -> None:
    form = form_of(closed, "/")
    assert closed.post("/sign-in", data={"token": TOKEN, "form": "wrong"}).status_code == 403
    assert closed.post("/sign-in", data={"token": "wrong", "form": form}).status_code == 401
    before = closed.cookies["kgdistill_session"]
    assert closed.post("/sign-in", data={"token": TOKEN, "form": form_of(closed, "/")}).status_code == 303
    assert closed.cookies["kgdistill_session"] != before
    assert closed.get("/").status_code == 200


def test_a_cookie_of_ones_own_making_opens_nothing(closed: TestClient) -> None:
    closed.cookies.set("kgdistill_session", "planted.0000")
    assert closed.get("/").status_code == 401


def test_a_short_token_is_refused() -> None:
    with pytest.raises(InputError, match="shorter than 16"):
        Guard("short")


def test_what_posts_needs_the_form_of_this_session(page: TestClient) -> None:
    form = form_of(page)
    good = page.post("/graph/expand", json=EXPAND, headers={"X-Form-Token": form})
    assert good.status_code == 200
    assert page.post("/graph/expand", json=EXPAND).status_code == 403
    foreign = {"X-Form-Token": form, "Origin": "http://evil.example"}
    assert page.post("/graph/expand", json=EXPAND, headers=foreign).status_code == 403
    assert (
        page.post("/graph/expand", json=EXPAND, headers={"X-Form-Token": form, "Origin": HERE}).status_code
        == 200
    )
    assert page.post("/graph/file", data={"form": "x", "drawing": "{}"}).status_code == 403
    # Another reader of the same page has another form.
    page.cookies.clear()
    page.get("/")
    assert page.post("/graph/expand", json=EXPAND, headers={"X-Form-Token": form}).status_code == 403


def test_another_site_may_link_here_and_no_more(page: TestClient) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert page.get("/query/runs?as=json", headers={**cross, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert page.get("/", headers={**cross, "Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["' OR 1=1 --", "ann'}) DETACH DELETE u //", '" }) RETURN 1 //', "$user", "`", "ann\u0000", "x" * 1999,
     "MATCH (n) DELETE n", "../../etc/passwd", "{{7*7}}", "%00", "😀", "ann\r\nSet-Cookie: a=b"],
)  # fmt: skip
def test_a_value_is_never_more_than_a_value(page: TestClient, store: GraphStore, value: str) -> None:
    before = store.query("MATCH (n:Product) RETURN count(n) AS n")["n"][0].as_py()
    for address, values in (
        ("/card", {"label": "User", "key": value}),
        ("/card", {"label": value, "key": "ann"}),
        ("/card", {"label": "User", "key": "ann", "run": value}),
        ("/list", {"label": value}),
        ("/list", {"label": "User", "after": value}),
        ("/query/substitutes", {"product": value}),
        ("/query/substitutes", {"product": "tea-1", "limit": value}),
        ("/query/runs", {value: value}),
        ("/graph", {"node": f"User:{value}"}),
        ("/graph", {"node": value}),
        ("/download", {"source_label": value, "type": value, "target_label": value, "run": value}),
        ("/why", {"user": value, "product": value}),
        ("/part/why", {"user": value, "product": value}),
        ("/compare", {"run": value, "other": value}),
        ("/search", {"q": value}),
    ):
        answer = page.get(address, params=values)
        assert answer.status_code in (200, 400), (address, answer.status_code, answer.text)
        assert "Traceback" not in answer.text
        assert "set-cookie: a=b" not in str(answer.headers).lower()
    assert store.query("MATCH (n:Product) RETURN count(n) AS n")["n"][0].as_py() == before


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
     "/static/vendor/../../guard.py", "/query/..%2f..%2fschema", "/static/%00", "/docs", "/openapi.json"],
)  # fmt: skip
def test_no_file_but_the_pages_own_is_read(page: TestClient, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (400, 404), path
    assert "import" not in answer.text


def test_a_defect_is_told_without_our_insides(
    page: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("kgdistill.page.cards.card", broken)
    answer = page.get("/card?label=User&key=ann")
    assert answer.status_code == 500
    assert "secret inside" not in answer.text
    assert "Traceback" not in answer.text
    assert "content-security-policy" in answer.headers
    assert "secret inside" in caplog.text


def test_too_much_at_once_is_refused(page: TestClient) -> None:
    form = form_of(page)
    large = {"node": "Product:tea-1", "shown": ["x" * 1000] * 1100}
    assert page.post("/graph/expand", json=large, headers={"X-Form-Token": form}).status_code == 413
    many = {"node": "Product:tea-1", "shown": [f"Product:{n}" for n in range(301)]}
    assert page.post("/graph/expand", json=many, headers={"X-Form-Token": form}).status_code == 400
    streamed = page.post("/graph/expand", content=iter([b"{}"]), headers={"X-Form-Token": form})
    assert streamed.status_code == 411


def test_the_store_s_address_is_for_its_owner_alone(page: TestClient) -> None:
    answer = page.get("/query/substitutes?product=nothing")
    assert answer.status_code == 400
    assert "memory:" not in answer.text.split("<footer")[0]
