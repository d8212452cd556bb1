"""The documentation's site in a browser, read from a folder without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from _site import built_site
from playwright.sync_api import Page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_site(tmp_path_factory.mktemp("site"))


def test_it_searches_and_asks_nobody(page: Page, site: Path) -> None:
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.set_viewport_size({"width": 1280, "height": 900})
    # One in a folder of its own: what it loads is not beside it.
    page.goto((site / "files" / "graph" / "tasks.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("writeback")
    found = page.locator("a.md-search-result__link").first
    found.wait_for()
    found.click()
    page.wait_for_load_state()
    assert "writeback" in page.locator("article").inner_text().lower()
    assert failed == []
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked), asked


def test_it_fits_a_phone(page: Page, site: Path) -> None:
    for name in ("index", "queries", "data-model", "cli", "api"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
