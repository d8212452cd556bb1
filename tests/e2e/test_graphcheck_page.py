"""The page of the graph check in a real browser."""

from __future__ import annotations

import pytest
from _odd_shop import EVIL, NOW, fill, odd_shop
from playwright.sync_api import Page

from kgdistill.graphcheck import inspect_graph, write_page
from kgdistill.store import load_schema, open_store


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    with open_store("memory:") as store:
        fill(store, odd_shop())
        found = inspect_graph(store, load_schema(), now=NOW)
    return write_page(found, tmp_path_factory.mktemp("page") / "graph.html").as_uri()


def test_it_loads_alone_without_a_complaint_and_runs_nothing_of_the_data(page: Page, address: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert page.locator("script").count() == 0
    assert EVIL in page.locator("main").inner_text()


def test_it_fits_a_phone_and_its_tables_scroll_by_keyboard(page: Page, address: str) -> None:
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.locator(".scroll").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).length"
    )
    assert wide >= 1
    assert page.locator(".scroll:not([tabindex='0'])").count() == 0
    # Text in a picture is drawn smaller with it, and must stay legible.
    sizes = page.locator("figure svg text").evaluate_all(
        """all => all.map(e => {
          const drawn = e.getScreenCTM();
          return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(drawn.b, drawn.d);
        })"""
    )
    assert min(sizes) >= 8


def test_every_finding_and_picture_speaks(page: Page, address: str) -> None:
    page.goto(address)
    texts = page.locator("svg").evaluate_all("all => all.map(e => e.role === 'img' && e.ariaLabel)")
    # Types that hold something, event types, and labels of which something is not known.
    assert len(texts) == 7 + 1 + 3
    assert all(texts)
    assert page.locator(".finding").count() == 20
    assert page.locator(".finding.error").count() == 6
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Page, address: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    # WCAG contrast of each kind of text that this page adds.
    weakest = page.evaluate(
        """() => {
          const light = (colour) => {
            const c = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => {
              const x = v / 255;
              return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
          };
          const ground = light(getComputedStyle(document.body).backgroundColor);
          const kinds = ['.error .severity', '.warning .severity', '.finding .soft'];
          return Math.min(...kinds.map((kind) => {
            const ink = light(getComputedStyle(document.querySelector(kind)).color);
            return (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
          }));
        }"""
    )
    assert weakest >= 4.5
