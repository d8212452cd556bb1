"""The page as an application: its checks, its errors, its files; what it shows is in `views`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from kgdistill.errors import KgdistillError, StoreAuthError, StoreUnreachableError
from kgdistill.page import pictures, views
from kgdistill.page.guard import Guard, Refused
from kgdistill.page.render import Renderer
from kgdistill.page.source import GraphSource
from kgdistill.refusals import refusal

_HERE = Path(__file__).parent
_log = logging.getLogger("kgdistill.page")


def create_app(source: GraphSource, guard: Guard | None = None) -> FastAPI:
    """The page of a graph.

    Args:
        source: the graph.
        guard: who may read; by default this machine alone, without a token.
    """
    guard = guard or Guard()
    pages = Renderer(source, guard)
    # The framework's own pages of documentation would ask other servers for their scripts.
    app = FastAPI(title="kgdistill", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", _Static(directory=_HERE / "static"), name="static")
    app.include_router(views.router(source, pages))
    app.include_router(pictures.router(source, pages, guard))
    _signing_in(app, pages, guard)
    _font(app, pages)
    _errors(app, pages)

    @app.middleware("http")
    async def checked(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            guard.check(request)
            if (known := _token_in_address(request, guard)) is not None:
                return guard.finish(request, known)
            path = request.url.path
            open_to_all = path in ("/sign-in", "/style.css", "/font") or path.startswith("/static/")
            if not open_to_all and not guard.may_read(request):
                return guard.finish(request, pages.page(request, "sign_in.html.j2", status=401))
            response = await answer(request)
        except Refused as error:
            response = PlainTextResponse(f"{error.message}\n", error.status)
        except Exception as error:
            # Whatever it is, the reader learns nothing of our insides.
            _log.exception("an answer failed: %s", request.url.path)
            short = refusal(error)
            told = short.message if short else "something went wrong here; the server's messages say what"
            response = pages.failure(request, 500, told)
        return guard.finish(request, response)

    return app


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def _token_in_address(request: Request, guard: Guard) -> Response | None:
    """Signs in by `?token=…`, and leads to the same address without it: it must not be sent on or kept."""
    given = request.query_params.get("token")
    if given is None or guard.token is None or request.method != "GET":
        return None
    if guard.is_token(given):
        guard.sign_in(request)
    rest = request.url.remove_query_params("token").query
    # One slash: two would name another server.
    return RedirectResponse("/" + request.url.path.lstrip("/") + (f"?{rest}" if rest else ""), 303)


def _signing_in(app: FastAPI, pages: Renderer, guard: Guard) -> None:
    @app.post("/sign-in")
    def sign_in(request: Request, token: Annotated[str, Form()], form: Annotated[str, Form()]) -> Response:
        guard.check_post(request, form)
        if not guard.is_token(token):
            return pages.page(request, "sign_in.html.j2", status=401, wrong=True)
        guard.sign_in(request)
        return RedirectResponse("/", 303)

    @app.get("/style.css")
    def style() -> Response:
        return PlainTextResponse(
            pages.style, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"}
        )


def _font(app: FastAPI, pages: Renderer) -> None:
    # What knows fonts takes its time to load: nobody's first page waits for it.
    threading.Thread(target=lambda: pages.font, daemon=True).start()

    @app.get("/font")
    def font() -> Response:
        """For readers whose own systems have none with Chinese, Japanese and Korean."""
        if pages.font is None:
            return Response(status_code=404)
        return FileResponse(pages.font, headers={"Cache-Control": "public, max-age=86400"})


def _errors(app: FastAPI, pages: Renderer) -> None:
    def refused(request: Request, error: Exception) -> HTMLResponse:
        assert isinstance(error, KgdistillError)
        status = 503 if isinstance(error, StoreUnreachableError | StoreAuthError) else 400
        # Where it concerns a file or an address of this machine is for its owner alone.
        return pages.failure(request, status, error.message, error.hint)

    def not_allowed(request: Request, error: Exception) -> HTMLResponse:
        assert isinstance(error, Refused)
        return pages.failure(request, error.status, error.message)

    def unknown(request: Request, error: Exception) -> HTMLResponse:
        assert isinstance(error, HTTPException)
        return pages.failure(request, error.status_code, f"there is no such page ({error.status_code})")

    def unreadable(request: Request, error: Exception) -> HTMLResponse:
        assert isinstance(error, RequestValidationError)
        places = ", ".join(str(one["loc"][-1]) for one in error.errors())
        return pages.failure(request, 400, f"this cannot be read: {places[:200]}")

    app.add_exception_handler(KgdistillError, refused)
    app.add_exception_handler(Refused, not_allowed)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, unreadable)
