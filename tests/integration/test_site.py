"""The documentation as a site: built strictly, whole, and without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import kgdistill
from tests._load_script import load_script
from tests._site import built_site

pytest.importorskip("mkdocs", reason="needs the extra dev")
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HOOKS = load_script("docs/site_hooks.py")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_site(tmp_path_factory.mktemp("site"))


def test_every_page_of_the_documentation_stands_in_its_navigation() -> None:
    listed = set(re.findall(r"[\w.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    there = {page.name for page in DOCS.glob("*.md")} | {*HOOKS.PAGES.values(), HOOKS.API}
    there |= {f"{page.stem}.md" for page in DOCS.glob("*.ipynb")}
    missing, gone = sorted(there - listed), sorted(listed - there)
    assert not missing, f"put into the nav of mkdocs.yml: {', '.join(missing)}"
    assert not gone, f"the nav of mkdocs.yml names pages that are not there: {', '.join(gone)}"


class Loads(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = tag in ("script", "img", "iframe", "source", "video") or (
            tag == "link" and given.get("rel") not in ("canonical", "next", "prev")
        )
        self.places += [str(given[name]) for name in ("src", "href") if loads and given.get(name)]


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text(encoding="utf-8")
        reader = Loads()
        reader.feed(text)
        assert reader.places
        for place in reader.places:
            # A page for what is not found is read at any depth, from the site's root.
            root = site if page.name == "404.html" else page.parent
            assert "//" not in place, f"{page.name} loads {place}"
            assert (root / place.partition("?")[0].lstrip("/")).exists(), f"{page.name} loads {place}"
        # Its script would come from elsewhere.
        assert 'class="mermaid"' not in text, page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8"))


def test_the_pages_are_whole(site: Path) -> None:
    for name, parts in {
        "index": ("<h1", "Read on", 'href="exploring.html"', 'src="answer.png"'),
        "tutorial": ("From a store to a picture", 'href="own-data.html"', "write_chinese_shop"),
        "data-model": ("User → Product", "<em>sensitive</em>"),
        "saved-queries": ("why_not",),
        "settings": ("unknown key",),
        "cli": ("kgdistill writeback",),
        "bench": ("What was tried, and what fell short", 'href="files/bench/suites/office.yaml.html"'),
        "known-limitations": ("<h2",),
        "files/graph/tasks": ("recommend.yaml.html",),
        "files/graph/schema.yaml": ("endpoints",),
        "files/data/chinese_shop": ("GB18030",),
    }.items():
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        for part in parts:
            assert part in text, f"{name}: {part}"
        shown = re.sub(r"<(code|pre).*?</\1>", "", text, flags=re.S)
        assert "```" not in shown, name
        assert not re.search(r"\]\([\w./#-]+\)", shown), name


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in kgdistill.__all__:
        if not name.startswith("__"):
            module, held = kgdistill._WHERE[name]
            assert f'id="kgdistill.{module}.{held}"' in text, name
    for method in ("graph.Graph.write_back", "run.run.Run.fit", "serve.bundle.Bundle.recommend"):
        assert f'id="kgdistill.{method}"' in text, method


def test_what_belongs_to_an_item_stays_in_it(site: Path) -> None:
    text = (site / "queries.html").read_text(encoding="utf-8")
    (fences,) = re.findall(r"<h2[^>]*>What keeps a query.*?(<ol>.*</ol>)", text, flags=re.S)
    assert fences.count("<ol>") == 1
    assert "<table>" in fences


def test_lists_are_indented_as_the_site_wants_them() -> None:
    written = (
        "Text:\n- one\n  and more\n  - deeper\n\n1. first\n   | a |\n\n"
        "   ```sh\n   - no item\n   ```\n2. second\n\nend"
    )
    wanted = (
        "Text:\n\n- one\n    and more\n    - deeper\n\n1. first\n    | a |\n\n"
        "    ```sh\n    - no item\n    ```\n2. second\n\nend"
    )
    assert HOOKS.indented(written) == wanted
