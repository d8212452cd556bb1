"""How well the texts of a page stand out."""

from __future__ import annotations

from playwright.sync_api import Page

_WEAKEST = """() => {
  const light = (colour) => {
    const c = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => {
      const x = v / 255;
      return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)|transparent/.test(c)) return light(c);
    }
    return 1;
  };
  const told = [...document.querySelectorAll("body *")].filter((e) => e.offsetParent
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return Math.min(...told.map((e) => {
    const a = light(getComputedStyle(e).color), b = ground(e);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}
"""


def weakest_contrast(page: Page) -> float:
    """The least contrast of a text with its ground, as WCAG counts it."""
    return float(page.evaluate(_WEAKEST))
