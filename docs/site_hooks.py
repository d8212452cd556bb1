"""What MkDocs needs to make a site of pages that are written to be read on a forge.

Pages outside docs/ (README, bench/README.md, …) become pages of the site, and so do the notebook and the
public names of the package. Links are followed as on a forge, relative to the file that they stand in: to a
page of the site, else to one that shows the file or lists the folder. Lists are indented for Python-Markdown.
"""

from __future__ import annotations

import importlib
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site by the repository's file that they are made of.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "graph/README.md": "graph.md",
    "bench/README.md": "bench.md",
    "data/README.md": "data.md",
    "docs/tutorial.ipynb": "tutorial.md",
}
API = "api.md"
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^( *)(```|~~~)")
_ITEM = re.compile(r"^( *)((?:[-*+]|\d+\.) +)(.*)$")
_LANGUAGES = {
    "yaml": "yaml",
    "yml": "yaml",
    "py": "python",
    "json": "json",
    "cypher": "cypher",
    "csv": "text",
}
_FETCHED, _KEPT = "https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js"
_PICTURES = (".svg", ".png")
_LARGEST, _MOST_LINKS = 200_000, 30
_sources: dict[str, str] = {}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that do not stand in docs/, and what pages link to."""
    _sources.clear()
    _sources.update({page: source for source, page in PAGES.items()})
    _sources.update({file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()})
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=_text(source)))
    files.append(File.generated(config, API, content=_api()))
    waiting = [source for source in _sources.values() if source.endswith((".md", ".ipynb"))]
    while waiting:
        source = waiting.pop()
        for target in _targets(source):
            page = _page(target)
            if page is None or page in _sources or not (ROOT / target).exists():
                continue
            _sources[page] = target
            waiting += [target] if target.endswith(".md") or (ROOT / target).is_dir() else []
            given = (
                {"abs_src_path": str(ROOT / target)}
                if page.endswith(_PICTURES)
                else {"content": _text(target)}
            )
            files.append(File.generated(config, page, inclusion=InclusionLevel.NOT_IN_NAV, **given))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The page's text with its links as the site has them."""
    own = page.file.src_uri
    source = _sources.get(own)
    if source is None:
        return markdown

    def led(match: re.Match[str]) -> str:
        target, _, anchor = match[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        place = _resolved(source, target)
        there = _page(place) or place.removeprefix("docs/")
        link = posixpath.relpath(there, posixpath.dirname(own) or ".")
        return f"{match[1]}{link}{'#' + anchor if anchor else ''}{match[3]}"

    return "".join(text if code else _LINK.sub(led, text) for code, text in _split(indented(markdown)))


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The page with the script beside it that its theme would fetch; it searches without a server."""
    return output.replace(_FETCHED, posixpath.relpath(_KEPT, posixpath.dirname(page.url) or "."))


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same of what is no page: that for what is not found, which is read at any depth."""
    return output_content.replace(_FETCHED, f"/{_KEPT}")


def indented(markdown: str) -> str:
    """The same with what belongs to an item of a list indented by four for each level."""
    out: list[str] = []
    levels: list[int] = []
    fence = ""
    for line in markdown.split("\n"):
        width = len(line) - len(line.lstrip(" "))
        item = None if fence else _ITEM.match(line)
        if line.strip() and not fence:
            blank, fresh = not out or not out[-1].strip(), not levels
            while levels and width < levels[-1] and (item or blank):
                levels.pop()
            if item is not None and fresh and not blank:
                out.append("")
        inside = levels[-1] if levels else 0
        if line.strip() and width >= inside:
            line = " " * 4 * len(levels) + line[inside:]
        if item is not None:
            levels.append(width + len(item[2]))
        opened = _FENCE.match(line)
        if opened:
            fence = "" if fence == opened[2] else fence or opened[2]
        out.append(line)
    return "\n".join(out)


def _split(markdown: str) -> list[tuple[bool, str]]:
    """Pieces of a text: blocks of code or not."""
    pieces = re.split(r"(^ *```.*?^ *```[^\n]*$)", markdown, flags=re.S | re.M)
    return [(bool(n % 2), piece) for n, piece in enumerate(pieces)]


def _resolved(source: str, target: str) -> str:
    folder = source if (ROOT / source).is_dir() else posixpath.dirname(source)
    return posixpath.normpath(posixpath.join(folder, target))


def _page(source: str) -> str | None:
    """Where a file or folder of the repository stands in the site; None where MkDocs has it anyway."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/"):
        return None
    return f"files/{source}" if source.endswith((".md", *_PICTURES)) else f"files/{source}.md"


def _targets(source: str) -> list[str]:
    text = "".join(text for code, text in _split(_text(source)) if not code)
    links = (match[2].partition("#")[0] for match in _LINK.finditer(text))
    return [_resolved(source, link) for link in links if link and "://" not in link and ":" not in link]


def _text(source: str) -> str:
    """A file of the repository as Markdown."""
    place = ROOT / source
    if place.is_dir():
        return _listing(place, source)
    text = place.read_text(encoding="utf-8")
    if source.endswith(".ipynb"):
        return _notebook(json.loads(text))
    if source == "graph/README.md":
        # Mermaid is drawn by a script from elsewhere; the same stands in words in the data model.
        return re.sub(
            r"```mermaid\n.*?```",
            "The types and what leads where: [data model](../docs/data-model.md).",
            text,
            flags=re.S,
        )
    if source.endswith(".md"):
        return text
    return f"# {source}\n\n````{_LANGUAGES.get(place.suffix[1:], 'text')}\n{text}\n````\n"


def _listing(place: Path, source: str) -> str:
    names = sorted(
        path.name + ("/" if path.is_dir() else "") for path in place.iterdir() if path.name[0] not in "._"
    )
    shown = {
        name
        for name in names
        if Path(name).suffix[1:] in ("md", *_LANGUAGES) and (place / name).stat().st_size < _LARGEST
    }
    if len(shown) > _MOST_LINKS:
        shown = {name for name in shown if name.endswith(".md")}
    lines = [f"- [{name}]({name})" if name in shown else f"- {name}" for name in names]
    return f"# {source}\n\n" + "\n".join(lines) + "\n"


def _notebook(notebook: dict[str, Any]) -> str:
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n\nThe notebook itself is `docs/tutorial.ipynb`.\n"


def _api() -> str:
    package = importlib.import_module("kgdistill")
    names = [name for name in package.__all__ if not name.startswith("__")]
    rows = [f"::: kgdistill.{module}.{name}\n" for module, name in (package._WHERE[name] for name in names)]
    return (
        "# API\n\nThe public names, as `import kgdistill as kg` gives them. `kg.load` is `load_bundle`. What "
        "stands deeper is in [from Python](python.md).\n\n" + "\n".join(rows)
    )
