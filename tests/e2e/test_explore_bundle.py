"""The page beside a bundle, in a real browser: what the model says of a recommendation, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from _contrast import weakest_contrast
from _explored import explored
from _page_shop import fill_bundle_shop
from playwright.sync_api import Browser, Page

from kgdistill.serve.bundle import load_bundle
from kgdistill.serve.why import why
from kgdistill.store import open_store


class Served(NamedTuple):
    """A shop that is served: where, its bundle's folder, what ann bought and what is recommended first."""

    address: str
    bundle: Path
    bought: list[str]
    first: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    with open_store(f"ladybug:{folder / 'shop.db'}") as store, store.changes():
        bought, first = fill_bundle_shop(store, folder / "bundle")
    with explored(f"ladybug:{folder / 'shop.db'}", "--bundle", str(folder / "bundle")) as address:
        yield Served(address, folder / "bundle", bought, first)


def shown(browser: Browser, served: Served, locale: str, scheme: str) -> Iterator[Page]:
    opened = browser.new_page(
        viewport={"width": 1100, "height": 800},
        base_url=served.address,
        locale=locale,
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    yield opened
    opened.close()
    assert said == []


@pytest.mark.parametrize(
    ("locale", "scheme", "heading", "shares", "ask"),
    [
        ("en-GB", "light", "What the model says", "Shares of the score", "Why?"),
        ("zh-CN", "dark", "模型的解释", "得分构成", "为什么？"),
    ],
)
def test_the_card_of_a_recommendation_says_what_the_model_makes_of_it(
    browser: Browser, served: Served, locale: str, scheme: str, heading: str, shares: str, ask: str
) -> None:
    for page in shown(browser, served, locale, scheme):
        page.goto(f"/card?label=User&key=ann&lang={locale[:2]}")
        page.locator("#recommended").get_by_role("link", name=ask).first.click()
        page.get_by_role("heading", name=heading).wait_for()
        language = "zh" if locale.startswith("zh") else "en"
        told = why(load_bundle(served.bundle), served.bought, served.first, language=language)  # type: ignore[arg-type]
        main = page.get_by_role("main")
        assert str(told) in main.inner_text()
        # The bars in words, and the same as a table.
        picture = page.get_by_role("img", name=re.compile(f"{shares}.*{re.escape(told.terms[0].term)}"))
        assert picture.is_visible()
        table = page.get_by_role("region", name=shares).locator("tbody tr").first.inner_text()
        assert told.terms[0].term in table
        assert f"{100 * told.terms[0].share:.1f} %" in table
        page.wait_for_load_state("networkidle")
        assert weakest_contrast(page) >= 4.5


def test_products_are_found_by_words_alone(browser: Browser, served: Served) -> None:
    title = load_bundle(served.bundle).items.titles[0]
    for page in shown(browser, served, "en-GB", "light"):
        for text, found in ((title, True), ("ann", False), ("qqxyzzy", False)):
            page.goto("/")
            page.get_by_label("Name or id").fill(text)
            page.get_by_role("button", name="Find").click()
            page.get_by_role("heading", name="What the bundle answers now").wait_for()
            assert page.get_by_text("None of the bundle's products has these words.").is_visible() != found
            assert (page.locator("ol.recs li").count() > 0) == found
