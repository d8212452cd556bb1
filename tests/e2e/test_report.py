"""The report in a real browser."""

from __future__ import annotations

import pytest
from _fake_run import write_fake_run
from playwright.sync_api import Page

from kgdistill.run.report import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(write_fake_run(tmp_path_factory.mktemp("run")))[0].as_uri()


def test_it_loads_alone_and_without_a_complaint(page: Page, report: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report]


def test_people_are_told_first_and_what_is_folded_opens_by_its_link(page: Page, report: str) -> None:
    page.goto(report)
    for told in ("What is recommended, to whom, and why", "Is it any good?", "What to beware of"):
        assert page.get_by_role("heading", name=told).is_visible()
    assert page.get_by_text("lately: SOFT DRINKS").first.is_visible()
    assert not page.locator("pre").first.is_visible()
    page.get_by_role("link", name="Configuration").click()
    assert page.locator("#config pre").is_visible()
    # By the keyboard too.
    summary = page.locator("summary", has_text="Protocol")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#protocol").is_visible()


def test_paper_shows_what_is_folded_away(page: Page, report: str) -> None:
    page.goto(report)
    page.emulate_media(media="print")
    assert page.locator("#config pre").evaluate("e => e.getBoundingClientRect().height") > 0


def unfold(page: Page) -> None:
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")


def test_it_fits_a_phone(page: Page, report: str) -> None:
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # A wide table scrolls inside its own box, which a keyboard can reach.
    wide = page.locator(".scroll").evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth)")
    assert page.locator(".scroll:not([tabindex='0'])").count() == 0
    assert wide


def test_every_picture_speaks(page: Page, report: str) -> None:
    page.goto(report)
    texts = page.locator("img, svg").evaluate_all(
        "all => all.map(e => e.getAttribute('alt') ?? (e.getAttribute('role') === 'img' && e.ariaLabel))"
    )
    assert len(texts) == 3 + 5 + 1
    assert all(texts)
    assert page.locator("img").evaluate("e => e.complete && e.naturalWidth > 0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Page, report: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(report)
    unfold(page)
    # WCAG contrast of each kind of text, on the page and on the tinted band.
    weakest = page.evaluate(
        """() => {
          const light = (colour) => {
            const c = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => {
              const x = v / 255;
              return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
          };
          const grounds = [document.body, document.querySelector('.headline')]
            .map((e) => light(getComputedStyle(e).backgroundColor));
          const kinds = ['body', '.soft', 'a', 'td .i', '.better', '.worse', 'caption', '.why'];
          const ratios = kinds.flatMap((kind) => {
            const ink = light(getComputedStyle(document.querySelector(kind)).color);
            return grounds.map((g) => (Math.max(g, ink) + 0.05) / (Math.min(g, ink) + 0.05));
          });
          return Math.min(...ratios);
        }"""
    )
    assert weakest >= 4.5
