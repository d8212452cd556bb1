"""The page in a real browser, served by the command: five questions, pictures, files, the keyboard."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from _contrast import weakest_contrast
from _explored import explored
from _page_shop import MARKUP, fill_hostile_shop
from playwright.sync_api import Browser, Download, Page

from kgdistill.store import open_store


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `kgdistill explore` serves the shop."""
    url = f"ladybug:{tmp_path_factory.mktemp('page') / 'shop.db'}"
    with open_store(url) as store:
        fill_hostile_shop(store)
    with explored(url) as found:
        yield found


@pytest.fixture
def desk(browser: Browser, address: str) -> Iterator[Page]:
    """A wide page at the start, which must complain of nothing and ask nobody else."""
    opened = browser.new_page(viewport={"width": 1100, "height": 800}, base_url=address, locale="en-GB")
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: _own(request.url, address, said))
    opened.goto("/")
    yield opened
    opened.close()
    assert said == []


def _own(url: str, address: str, said: list[str]) -> None:
    if not url.startswith((address, "data:", "blob:")):
        said.append(url)


def rows(file: Download) -> list[dict[str, str]]:
    with open(file.path(), encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def heading(page: Page, text: str) -> None:
    page.get_by_role("heading", name=text).first.wait_for()


def search(page: Page, text: str) -> None:
    page.get_by_label("Name or id").fill(text)
    page.get_by_role("button", name="Find").click()


# Five questions, each in three clicks at most.


def test_what_is_recommended_to_a_customer_and_why(desk: Page) -> None:
    search(desk, "cyd")  # 1
    desk.get_by_role("main").get_by_role("link", name="cyd").click()  # 2
    desk.locator("#recommended .why").get_by_text("made by Hillside").wait_for()
    assert desk.locator("#recommended li").first.inner_text().startswith("1")
    desk.get_by_role("link", name="Why? Green tea").click()  # 3
    heading(desk, "Why Green tea for cyd")
    desk.locator("#picture canvas").first.wait_for()


def test_who_gets_a_product_and_what_replaces_it(desk: Page) -> None:
    search(desk, "green teas")  # 1
    desk.get_by_role("main").get_by_role("link", name="Green tea").click()  # 2
    assert "House tea" in desk.get_by_role("region", name="Substitutes of a product").inner_text()
    assert "cyd" in desk.get_by_role("region", name="To whom a product is recommended").inner_text()


def test_whether_a_run_favours_brands_or_best_sellers(desk: Page) -> None:
    desk.get_by_role("link", name="demo", exact=True).click()  # 1
    bars = desk.get_by_role("img", name=re.compile("Exposure by popularity.*purchases .* %"))
    bars.wait_for()
    assert desk.get_by_role("region", name="Brands: catalogue, purchases").is_visible()
    with desk.expect_download() as kept:
        desk.get_by_role("figure").filter(has=bars).get_by_role("button", name="PNG").click()  # 2
    assert Path(kept.value.path()).read_bytes().startswith(b"\x89PNG")


def test_on_what_two_runs_disagree(desk: Page) -> None:
    desk.get_by_role("link", name="Compare runs").click()  # 1
    desk.get_by_role("button", name="Show").click()  # 2
    heading(desk, "Compare runs: demo – former")
    table = desk.get_by_role("region", name="Products on which two runs disagree")
    assert "mug-1" in table.inner_text()
    desk.get_by_role("img", name=re.compile("former")).first.wait_for()


def test_whom_a_campaign_should_reach_as_a_file(desk: Page) -> None:
    desk.get_by_role("link", name="Campaign").click()  # 1
    desk.get_by_role("link", name="spring").click()  # 2
    audience = desk.locator("section", has=desk.get_by_role("heading", name="A campaign's audience"))
    with desk.expect_download() as kept:
        audience.get_by_role("link", name="CSV").click()  # 3
    assert [row["user"] for row in rows(kept.value)] == ["ann", "cyd"]


# What else a person does.


def test_a_saved_query_is_asked_by_its_form(desk: Page) -> None:
    desk.get_by_role("link", name="Questions").click()
    desk.get_by_role("link", name="Bought together with a product").click()
    desk.get_by_label("product", exact=True).fill("green tea")
    desk.get_by_role("button", name="Ask").click()
    assert "Stoneware mug" in desk.get_by_role("region", name="Bought together").inner_text()
    with desk.expect_download() as kept:
        desk.get_by_role("link", name="CSV").click()
    assert {row["product"] for row in rows(kept.value)} == {"mug-1", "coffee-1", "tea-2"}
    # The address has it all: it can be sent to a colleague.
    assert "product=green+tea" in desk.url


def test_the_list_under_the_search_box_follows_the_typing(desk: Page) -> None:
    desk.get_by_label("Name or id").press_sequentially("龙井")
    desk.locator("#found").get_by_role("link", name="龙井绿茶 500克").wait_for()
    desk.keyboard.press("Escape")
    assert desk.locator("#found").inner_text() == ""


def test_a_neighbourhood_grows_and_is_kept(desk: Page, browser: Browser, tmp_path: Path) -> None:
    desk.goto("/graph?node=Brand:hillside&limit=2")
    nodes = desk.locator("#nodes tr")
    nodes.first.wait_for()
    before = nodes.count()
    desk.get_by_role("button", name="Expand Green tea").click()
    desk.get_by_text(re.compile(r"^\+\d")).wait_for()
    assert nodes.count() > before
    assert "also=Product%3Atea-1" in desk.url
    desk.get_by_role("button", name="Hide Hillside").click()
    assert desk.get_by_role("button", name="Hide Hillside").count() == 0
    with desk.expect_download() as picture:
        desk.get_by_role("button", name="PNG").click()
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")
    with desk.expect_download() as table:
        desk.get_by_role("button", name="CSV").click()
    held = rows(table.value)
    assert {row["relationship"] for row in held} >= {"BOUGHT", "IN_CATEGORY"}
    assert "Hillside" not in {row["target_name"] for row in held}
    with desk.expect_download() as kept:
        desk.get_by_role("button", name="HTML").click()
    file = tmp_path / "kept.html"
    kept.value.save_as(file)
    shown = nodes.count()
    # From disk it asks nobody, and shows the same.
    other, asked, said = browser.new_page(), list[str](), list[str]()
    other.on("request", lambda request: asked.append(request.url))
    other.on("console", lambda message: said.append(message.text))
    other.on("pageerror", lambda error: said.append(str(error)))
    other.goto(file.as_uri())
    other.locator("#picture canvas").first.wait_for()
    assert other.locator("table").first.locator("tbody tr").count() == shown
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
    other.close()


def test_a_deep_link_grows_the_same_picture(desk: Page) -> None:
    desk.goto("/graph?node=Brand:hillside&limit=2&also=Product:tea-1")
    desk.locator("#nodes tr").first.wait_for()
    assert desk.get_by_role("button", name="Expand ann").count() == 1


def test_a_card_is_kept_as_one_file(desk: Page, browser: Browser, tmp_path: Path) -> None:
    desk.goto("/card?label=User&key=cyd")
    with desk.expect_download() as kept:
        desk.get_by_role("link", name="Keep as a file").click()
    file = tmp_path / "card.html"
    kept.value.save_as(file)
    other, asked = browser.new_page(), list[str]()
    other.on("request", lambda request: asked.append(request.url))
    other.goto(file.as_uri())
    assert "made by Hillside" in other.get_by_role("main").inner_text()
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    other.close()


def test_markup_in_a_title_is_text(desk: Page) -> None:
    for place in ("/card?label=Product&key=tea-2", "/graph?node=Product:tea-2", "/graph?node=Brand:kiln",
                  "/why?user=cyd&product=tea-1", "/list?label=Product", "/run?run=demo"):  # fmt: skip
        desk.goto(place)
        desk.wait_for_load_state("networkidle")
    desk.goto("/card?label=Product&key=tea-2")
    assert desk.get_by_role("heading", level=1).inner_text().startswith(MARKUP)


def test_a_mistake_is_told_in_words(page: Page, address: str) -> None:
    page.goto(f"{address}/query/substitutes?product=green+tee")
    told = page.get_by_role("alert")
    assert told.inner_text().startswith("There is no Product with the id or name 'green tee'")
    assert "Green tea" in told.inner_text()
    page.goto(f"{address}/card?label=User&key=nobody")
    assert "There is no User with the id 'nobody'" in page.get_by_role("alert").inner_text()


def test_the_keyboard_reaches_everything(desk: Page) -> None:
    desk.keyboard.press("Tab")
    assert desk.evaluate("document.activeElement.textContent") == "Skip to the content"
    desk.keyboard.press("Enter")
    desk.wait_for_url("**#content")  # the key alone does not wait for it
    desk.goto("/graph?node=Brand:hillside&limit=2")
    expand = desk.get_by_role("button", name="Expand Green tea")
    before = desk.locator("#nodes tr").count()
    expand.focus()
    desk.keyboard.press("Enter")
    desk.get_by_text(re.compile(r"^\+\d")).wait_for()
    assert desk.locator("#nodes tr").count() > before
    desk.goto("/card?label=Product&key=tea-1")
    # Every control has a name, and a wide table can be scrolled by keys.
    names = desk.locator("input:not([type=hidden]), select, button").evaluate_all(
        "all => all.map(e => (e.labels && e.labels.length) || e.textContent.trim() || e.ariaLabel)"
    )
    assert all(names)
    assert desk.locator(".scroll:not([tabindex='0'])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(desk: Page, scheme: str) -> None:
    desk.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for place in ("/card?label=User&key=cyd", "/run?run=demo", "/graph?node=Brand:hillside"):
        desk.goto(place)
        desk.wait_for_load_state("networkidle")
        weakest = weakest_contrast(desk)
        assert weakest >= 4.5, place


def test_it_fits_a_phone(page: Page, address: str) -> None:
    for place in ("/", "/card?label=Product&key=tea-1", "/graph?node=Brand:hillside", "/run?run=demo",
                  "/query/brand_shares?run=demo"):  # fmt: skip
        page.goto(address + place)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
