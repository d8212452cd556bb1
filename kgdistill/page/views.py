"""The page's addresses: cards, lists, questions, runs, downloads. None of them changes anything."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from kgdistill.errors import InputError
from kgdistill.explore import print_rows, saved_queries, saved_query
from kgdistill.explore.queries import SavedQuery
from kgdistill.page import cards, plots
from kgdistill.page.render import Renderer
from kgdistill.page.sheets import asked, asked_sheet, linked_columns, sheet
from kgdistill.page.source import GraphSource
from kgdistill.page.student import past_of
from kgdistill.page.words import chosen_language

Run = Annotated[str | None, Query(max_length=200)]
Text = Annotated[str, Query(max_length=2000)]
_OWN = ("as", "lang")
"""What an address says beside a query's parameters."""
_MOST_ROWS, _SHOWN_ROWS = 2_000_000, 500


def router(source: GraphSource, pages: Renderer) -> APIRouter:
    """The addresses that show what the graph holds."""
    routes = APIRouter()
    _finding(routes, source, pages)
    _carding(routes, source, pages)
    _running(routes, source, pages)
    _downloading(routes, source)
    _asking(routes, source, pages)
    return routes


def _finding(routes: APIRouter, source: GraphSource, pages: Renderer) -> None:
    @routes.get("/")
    def home(request: Request) -> Response:
        counts = source.counts
        runs: dict[str, dict[str, int]] = {}
        for written in source.runs():
            runs.setdefault(written.run, {})[" ".join(written.edge)] = written.rows
        held = {label: n for label, n in counts.nodes.items() if n and not source.schema.node(label).output}
        return pages.page(request, "home.html.j2", labels=held, runs=runs, relationships={
            " ".join(edge): n for edge, n in counts.relationships.items() if n})  # fmt: skip

    @routes.get("/search")
    def search(request: Request, q: Text = "", label: Run = None) -> Response:
        found = source.names.find(q, label=label or None, limit=50) if q.strip() else []
        part = request.headers.get("hx-request") == "true"
        template = "parts/found.html.j2" if part else "search.html.j2"
        answers = _bundle_search(source, q) if q.strip() and not part else None
        return pages.page(request, template, q=q, found=found, chosen=label or "", answers=answers,
                          labels=[one for one, n in source.counts.nodes.items() if n])  # fmt: skip

    @routes.get("/list")
    def listed(request: Request, label: Text, after: Text = "") -> Response:
        if label not in source.schema.nodes:
            raise InputError(f"the graph has no {label[:60]!r}")
        kind = source.schema.node(label)
        table = source.store.query(
            f"MATCH (n:`{label}`) WHERE n.`{kind.key}` > $after RETURN n.`{kind.key}` AS id, n.`{kind.name}` "
            f"AS name ORDER BY id LIMIT 50",
            {"after": after},
        )
        last = table["id"][-1].as_py() if table.num_rows == 50 else ""
        told = sheet(table, title=label, links={"id": label}, about=kind.description)
        return pages.page(request, "list.html.j2", sheet=told, label=label, last=last)


def _carding(routes: APIRouter, source: GraphSource, pages: Renderer) -> None:
    @routes.get("/card")
    def card(request: Request, label: Text, key: Text, run: Run = None) -> Response:
        told = cards.card(source, label, key, run or None)
        language = chosen_language(request)
        found, liking, now = {}, "", _bundle_card(source, label, key)
        if request.query_params.get("as") == "html" and told.recommended:
            found = cards.reasons(source, key, told.recommended, language)
            liking = cards.taste(source, key, language)
        return pages.page(
            request, "card.html.j2", card=told, reasons=found, taste=liking, now=now, label=label
        )

    @routes.get("/part/reasons")
    def reasons(request: Request, user: Text, run: Text) -> Response:
        language = chosen_language(request)
        items = cards.recommended(source, user, run)
        found = cards.reasons(source, user, items, language)
        return pages.page(request, "parts/reasons.html.j2", user=user, recommended=items, reasons=found)

    @routes.get("/part/taste")
    def taste(request: Request, user: Text) -> Response:
        return pages.page(
            request, "parts/taste.html.j2", taste=cards.taste(source, user, chosen_language(request))
        )


def _running(routes: APIRouter, source: GraphSource, pages: Renderer) -> None:
    @routes.get("/run")
    def run(request: Request, run: Text) -> Response:
        written = [one for one in source.runs() if one.run == run]
        if not written:
            known = ", ".join(dict.fromkeys(one.run for one in source.runs()))
            raise InputError(
                f"no run {run[:60]!r} wrote anything", hint=f"there are: {known}" if known else ""
            )
        ranks = any(one.edge[1] == "RECOMMENDED" for one in written)
        asks = [(q.title, q.name) for q in saved_queries() if _asks_run_alone(q)] if ranks else []
        drawn = _drawn(source, [run]) if request.query_params.get("as") == "html" and ranks else []
        others = [one for one in source.runs_of("RECOMMENDED") if one != run] if ranks else []
        return pages.page(request, "run.html.j2", run=run, facts=source.told_of_run(run), written=written,
                          asks=asks, ranks=ranks, plots=drawn, others=others)  # fmt: skip

    @routes.get("/part/plots")
    def drawn_part(request: Request, run: Text, other: Run = None) -> Response:
        return pages.page(
            request, "parts/plots.html.j2", plots=_drawn(source, [run, *([other] if other else [])])
        )

    @routes.get("/compare")
    def compare(request: Request, run: Run = None, other: Run = None) -> Response:
        runs = source.runs_of("RECOMMENDED")
        values = {"run": run, "other": other, "limit": 20}
        both = [] if not (run and other) else [
            asked_sheet(source, name, values)
            for name in ("products_two_runs_disagree_on", "users_two_runs_disagree_on")
        ]  # fmt: skip
        alone = request.query_params.get("as") == "html"
        drawn = _drawn(source, [run, other]) if alone and run and other else []
        return pages.page(
            request, "compare.html.j2", runs=runs, run=run, other=other, sheets=both, plots=drawn
        )


def _downloading(routes: APIRouter, source: GraphSource) -> None:
    @routes.get("/download")
    def download(
        source_label: Text,
        type: Text,
        target_label: Text,
        run: Text,
        k: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        edge = (source_label, type, target_label)
        known = source.schema.relationship(edge)
        a, b = source.schema.node(source_label), source.schema.node(target_label)
        props = [name for name in known.properties if name != "run"]
        ranked = " AND r.rank <= $k" if "rank" in props else ""
        hidden = ""
        if "sensitive" in b.properties and not source.allow_sensitive:
            hidden = " AND coalesce(y.sensitive, false) = false"
        columns = ", ".join(f"r.`{name}` AS `{name}`" for name in props)
        named = f", y.`{b.name}` AS `{target_label.lower()}_name`" if b.name != b.key else ""
        order = ", r.rank" if ranked else ""
        table = source.store.query(
            f"MATCH (x:`{source_label}`)-[r:`{type}`]->(y:`{target_label}`) "
            f"WHERE r.run = $run{ranked}{hidden} "
            f"RETURN x.`{a.key}` AS `{source_label.lower()}`, {columns}, y.`{b.key}` AS "
            f"`{target_label.lower()}`{named} ORDER BY x.`{a.key}`{order}",
            {"run": run, **({"k": k} if ranked else {})},
            limit=_MOST_ROWS,
        )
        return _csv(table, f"{type.lower()}-{run}")


def _asking(routes: APIRouter, source: GraphSource, pages: Renderer) -> None:
    @routes.get("/queries")
    def queries(request: Request) -> Response:
        return pages.page(request, "queries.html.j2", queries=saved_queries())

    @routes.get("/query/{name}")
    def query(request: Request, name: str) -> Response:
        asked_for = saved_query(name)
        given = {k: v for k, v in request.query_params.items() if k not in _OWN and v != ""}
        ready = all(p.name in given for p in asked_for.parameters if p.required)
        form = request.query_params.get("as")
        table = asked(source, name, given) if ready else None
        if table is not None and form in ("csv", "json"):
            return _csv(table, name, "csv" if form == "csv" else "json")
        told = None
        if table is not None:
            told = sheet(table.slice(0, _SHOWN_ROWS), title=asked_for.title, about=asked_for.description,
                         links=linked_columns(asked_for, source.schema), zone=source.zone)  # fmt: skip
        choices = {p.name: source.runs_of(p.type.partition(".")[0]) for p in asked_for.parameters
                   if p.type.endswith(".run")}  # fmt: skip
        return pages.page(request, "query.html.j2", query=asked_for, given=given, sheet=told, choices=choices,
                          rows=None if table is None else table.num_rows)  # fmt: skip


def _asks_run_alone(query: SavedQuery) -> bool:
    """Whether a run is all that a saved query needs."""
    kinds = [p.type for p in query.parameters if p.default is None]
    return kinds == ["RECOMMENDED.run"]


def _drawn(source: GraphSource, runs: list[str]) -> list[plots.Bars]:
    return [plots.exposure(source, runs), plots.brand_shares(source, runs)]


def _bundle_search(source: GraphSource, text: str) -> list[Any] | None:
    """What the bundle finds by the words of a text; None where there is none that searches.

    What it takes a text to mean alone is no answer here: it has products for any words.
    """
    if source.bundle is None or source.bundle.search_index is None:
        return None
    answer = source.bundle.search(text, k=10)
    return [] if answer.basis in ("meaning", "nothing") else list(answer)


def _bundle_card(source: GraphSource, label: str, key: str) -> list[Any]:
    """What the bundle answers to a user's purchases, or finds similar to a product."""
    bundle = source.bundle
    if bundle is None:
        return []
    if label == "Product" and bundle.vectors is not None and len(bundle.index([key])[0]):
        return list(bundle.similar(key, k=10))
    if label == "User" and bundle.history is not None:
        return list(bundle.recommend(past_of(source, bundle, key), k=10, reasons=True))
    return []


def _csv(table: pa.Table, name: str, form: Literal["csv", "json"] = "csv") -> StreamingResponse:
    """An answer as a file."""

    def pieces() -> Iterator[str]:
        step = 5_000 if form == "csv" else max(table.num_rows, 1)
        for start in range(0, max(table.num_rows, 1), step):
            out = io.StringIO(newline="")
            print_rows(table.slice(start, step), out, form)
            text = out.getvalue()
            yield text if start == 0 else text.partition("\n")[2]

    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:60]
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    return StreamingResponse(pieces(), media_type=kind, headers={
        "Content-Disposition": f'attachment; filename="{plain}.{form}"'})  # fmt: skip
