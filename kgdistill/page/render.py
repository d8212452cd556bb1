"""From what is told to HTML: every value is escaped, and the same template makes a page and a file."""

from __future__ import annotations

import contextlib
import re
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import kgdistill
from kgdistill.page.guard import Guard
from kgdistill.page.sheets import card_url, cell_text, query_url
from kgdistill.page.source import GraphSource
from kgdistill.page.words import LANGUAGE, language_of_reader, page_words

_HERE = Path(__file__).parent
_FONT = 'url("font")'
_LIBRARIES = ("layout-base", "cose-base", "cytoscape-fcose")


class Renderer:
    """Makes pages of templates.

    Args:
        source: the graph that they are of.
        guard: whose form tokens they carry.
    """

    def __init__(self, source: GraphSource, guard: Guard) -> None:
        self._source, self._guard = source, guard
        self._templates = Environment(
            loader=PackageLoader("kgdistill.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "card_url": card_url,
            "query_url": query_url,
            "version": kgdistill.__version__,
        }
        shown = partial(cell_text, zone=source.zone)
        self._templates.filters |= {"cell": shown, "urlencoded": urlencode}

    @cached_property
    def font(self) -> Path | None:
        """A font with Chinese, Japanese and Korean; None also where nothing is installed that knows fonts."""
        with contextlib.suppress(ImportError):
            from kgdistill.plotting import eastern_font_file

            return eastern_font_file()
        return None

    @cached_property
    def style(self) -> str:
        """The style sheet: that of the reports, then the page's own."""
        shared = _HERE.parent / "run" / "report" / "templates" / "report.css"
        files = (shared, _HERE / "static" / "page.css")
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        return text if self.font else text.replace(f", {_FONT}", "")

    @cached_property
    def style_alone(self) -> Markup:
        """The same for a file that opens from disk, which asks nobody for a font."""
        return Markup(self.style.replace(f", {_FONT}", ""))

    @cached_property
    def scripts(self) -> str:
        """What a picture in a file needs, in one script."""
        files = [_HERE / "static" / "vendor" / "cytoscape.min.js", _HERE / "static" / "picture.js"]
        return "\n;".join(file.read_text(encoding="utf-8") for file in files)

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page; with `as=html` in the address the same as one file, without script, forms and links."""
        language = language_of_reader(request)
        alone = request.query_params.get("as") == "html" and status == 200
        common = {
            "t": page_words(language),
            "language": language,
            "alone": alone,
            "form_token": "" if alone else self._guard.form_token(request),
            "other_language": str(
                request.url.include_query_params(lang="en" if language == "zh" else "zh").query
            ),
            "as_file": str(request.url.include_query_params(**{"as": "html"}).query),
            "zone": self._source.zone,
            "graph_name": self._source.store.url.rpartition("/")[2],
            "style": self.style_alone if alone else "",
            "wrong": False,
        }
        text = self._templates.get_template(template).render(common | values)
        headers = (
            {"Content-Disposition": f'attachment; filename="{_file_name(request)}.html"'} if alone else {}
        )
        response = HTMLResponse(text, status, headers)
        if "lang" in request.query_params:
            response.set_cookie(LANGUAGE, language, httponly=True, samesite="strict")
        return response

    def file(self, request: Request, template: str, name: str, **values: Any) -> Response:
        """A file that opens from disk, with the picture's script in it."""
        language = language_of_reader(request)
        # Neither style nor script holds anything of the data, nor the end of its own element.
        own = {"t": page_words(language), "language": language, "style": self.style_alone,
               "scripts": Markup(self.scripts)}  # fmt: skip
        text = self._templates.get_template(template).render(own | values)
        return HTMLResponse(text, headers={"Content-Disposition": f'attachment; filename="{name}.html"'})

    def failure(self, request: Request, status: int, message: str, hint: str = "") -> HTMLResponse:
        """What is shown in place of an answer; a part of a page where a part was asked for."""
        part = request.headers.get("hx-request") == "true"
        template = "parts/failure.html.j2" if part else "failure.html.j2"
        return self.page(request, template, status=status, message=message, hint=hint)


def _file_name(request: Request) -> str:
    """A plain name for a download, from the address."""
    words = [request.url.path.strip("/") or "start", *request.query_params.values()]
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words))[:60].strip("-") or "page"
