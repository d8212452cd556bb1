"""The neighbourhood as a picture that grows, the paths of an explanation, and a picture as a file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kgdistill.errors import InputError
from kgdistill.explore import Explanation, PathLink, PathNode, explain
from kgdistill.page.around import MOST_SHOWN, Neighbourhood, NodeRef, among, neighbours, node_ref
from kgdistill.page.around import Link as GraphLink
from kgdistill.page.cards import no_path
from kgdistill.page.guard import Guard
from kgdistill.page.render import Renderer
from kgdistill.page.source import GraphSource
from kgdistill.page.student import StudentSays, student_says, weighing
from kgdistill.page.words import chosen_language, language_of_reader, page_words

_Given = Annotated[str, Query(max_length=2000)]
_Word = Annotated[str, Field(max_length=2000)]
_MOST_EXPANDED = 20


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Expand(_Asked):
    """What a picture shows, and the node that is to be expanded."""

    node: _Word
    shown: list[_Word] = Field(max_length=MOST_SHOWN)
    limit: int = Field(default=8, ge=1, le=50)
    run: _Word | None = None


class DrawnNode(_Asked):
    """A node of a picture and where it stands."""

    id: _Word
    label: _Word
    key: _Word
    name: _Word
    x: float
    y: float


class DrawnEdge(_Asked):
    """A line of a picture."""

    id: Annotated[str, Field(max_length=9000)]
    source: _Word
    target: _Word
    type: _Word
    run: _Word = ""
    value: float | None = None


class Drawing(_Asked):
    """A picture as it stands on screen."""

    nodes: list[DrawnNode] = Field(max_length=MOST_SHOWN)
    edges: list[DrawnEdge] = Field(max_length=5000)


def router(source: GraphSource, pages: Renderer, guard: Guard) -> APIRouter:
    """The addresses of pictures."""
    routes = APIRouter()
    _neighbourhoods(routes, source, pages, guard)
    _paths(routes, source, pages)
    return routes


def _neighbourhoods(routes: APIRouter, source: GraphSource, pages: Renderer, guard: Guard) -> None:
    @routes.get("/graph")
    def graph(
        request: Request,
        node: _Given,
        also: Annotated[list[str] | None, Query(max_length=_MOST_EXPANDED)] = None,
        limit: Annotated[int, Query(ge=1, le=50)] = 8,
        run: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        whole = _grown(source, [node, *(also or [])], limit, run)
        name = whole.names[node_ref(source, node)]
        return pages.page(request, "graph.html.j2", start=node, name=name, limit=limit, run=run or "",
                          elements=whole.elements(), runs=source.runs_of("RECOMMENDED"))  # fmt: skip

    @routes.post("/graph/expand")
    def expand(
        request: Request, body: Expand, x_form_token: Annotated[str, Header(max_length=200)] = ""
    ) -> Response:
        guard.check_post(request, x_form_token)
        found = neighbours(source, node_ref(source, body.node), limit=body.limit, run=body.run or None)
        shown = [node_ref(source, text) for text in body.shown]
        every = list(dict.fromkeys([*shown, *found.names]))
        # What would be too many is left out, the last that was found first.
        kept = every[:MOST_SHOWN]
        found.links = among(source, kept)
        told = Neighbourhood({ref: found.names.get(ref, "") for ref in kept}, _of_run(found.links, body.run))
        return JSONResponse({**told.elements(), "left_out": len(every) - len(kept)})

    @routes.post("/graph/file")
    def file(request: Request, form: Annotated[str, Form()], drawing: Annotated[str, Form()]) -> Response:
        guard.check_post(request, form)
        try:
            drawn = Drawing.model_validate_json(drawing)
        except ValidationError as error:
            raise InputError("this picture cannot be read") from error
        return pages.file(request, "graph_file.html.j2", "neighbourhood", drawing=drawn.model_dump())


def _paths(routes: APIRouter, source: GraphSource, pages: Renderer) -> None:
    def paths(request: Request, user: str, product: str) -> dict[str, Any]:
        language = chosen_language(request)
        weigh, reads = weighing(source, user)
        found = explain(source.store, user, product, limit=8, language=language, weigh=weigh, reads=reads)
        return {
            "paths": found,
            "elements": path_elements(found),
            "none": no_path(user, product, language),
        }

    def says(request: Request, user: str, product: str) -> StudentSays | None:
        words = page_words(language_of_reader(request))
        return student_says(source, user, product, chosen_language(request), words)

    @routes.get("/why")
    def why(request: Request, user: _Given, product: _Given) -> Response:
        item = str(source.node("Product", product)["name"])
        source.node("User", user)
        alone = request.query_params.get("as") == "html"
        told = paths(request, user, product) if alone else {}
        # A file has it in it, a page asks for it.
        student = says(request, user, product) if alone else source.bundle and source.bundle.history
        return pages.page(request, "why.html.j2", user=user, product=product, item=item, student=student,
                          **told)  # fmt: skip

    @routes.get("/part/student")
    def student_part(request: Request, user: _Given, product: _Given) -> Response:
        return pages.page(request, "parts/student.html.j2", student=says(request, user, product))

    @routes.get("/part/why")
    def why_part(request: Request, user: _Given, product: _Given) -> Response:
        return pages.page(request, "parts/why.html.j2", **paths(request, user, product))


def _grown(source: GraphSource, expanded: list[str], limit: int, run: str | None) -> Neighbourhood:
    """The first node's neighbours, then those of others on screen, with all that holds among them."""
    whole = Neighbourhood({}, [])
    for text in dict.fromkeys(expanded):
        found = neighbours(source, node_ref(source, text), limit=limit, run=run)
        whole.names |= {ref: name for ref, name in found.names.items() if ref not in whole.names}
    whole.names = dict(list(whole.names.items())[:MOST_SHOWN])
    whole.links = _of_run(among(source, whole.names), run)
    return whole


def _of_run(links: list[GraphLink], run: str | None) -> list[GraphLink]:
    return [link for link in links if not run or link.run in ("", run)]


def path_elements(paths: list[Explanation]) -> dict[str, list[dict[str, Any]]]:
    """The paths of explanations as a picture, from the user at the left to the product at the right."""
    names: dict[NodeRef, str] = {}
    columns: dict[NodeRef, int] = {}
    links: dict[GraphLink, None] = {}
    for path in paths:
        nodes = [step for step in path.steps if isinstance(step, PathNode)]
        kinds = [step for step in path.steps if isinstance(step, PathLink)]
        refs = [NodeRef(node.label, node.key) for node in nodes]
        for at, (ref, node) in enumerate(zip(refs, nodes, strict=True)):
            names[ref] = node.name
            columns[ref] = max(columns.get(ref, 0), at)
        for first, link, second in zip(refs, kinds, refs[1:], strict=False):
            ends = (first, second) if link.forward else (second, first)
            links[GraphLink(ends[0], link.type, ends[1])] = None
    last = max(columns.values(), default=0)
    told = Neighbourhood(names, list(links)).elements()
    rows: dict[int, int] = {}
    product = next((s for path in paths for s in path.steps[-1:] if isinstance(s, PathNode)), None)
    for element, ref in zip(told["nodes"], names, strict=True):
        column = last if product and ref == (product.label, product.key) else columns[ref]
        element |= {"x": column * 220, "y": rows.get(column, 0) * 90}
        rows[column] = rows.get(column, 0) + 1
    return told
