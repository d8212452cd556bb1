"""Opens the page on an address."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kgdistill.errors import InputError
from kgdistill.page.addresses import is_loopback
from kgdistill.page.source import GraphSource
from kgdistill.refusals import clear_refusals
from kgdistill.store import GraphStore

if TYPE_CHECKING:
    from fastapi import FastAPI


def page_app(
    store: GraphStore,
    *,
    bundle: str | Path | None = None,
    token: str | None = None,
    allow_sensitive: bool = False,
) -> FastAPI:
    """The page of a store as an ASGI application, with the names of its nodes read.

    Args:
        store: an open store; whoever opened it closes it.
        bundle: a bundle's folder; its answers stand beside what was written back.
        token: what a reader must know; None: nothing, and the page answers to localhost alone.
        allow_sensitive: show what the schema declares sensitive.

    Raises:
        ToolMissingError: the extra `page` is not installed.
        ArtefactError: there is no bundle, or it does not fit.
        InputError: the token is too short.
    """
    with clear_refusals(store.url):
        from kgdistill.page.app import create_app
    opened = None
    if bundle is not None:
        from kgdistill.serve.joined import Joined, load

        loaded = load(bundle)
        opened = loaded[loaded.of("recommend")] if isinstance(loaded, Joined) else loaded
    from kgdistill.page.guard import Guard

    source = GraphSource(store, bundle=opened, allow_sensitive=allow_sensitive)
    app = create_app(source, Guard(token))
    _ = source.names
    return app


def serve_page(
    store: GraphStore,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    bundle: str | Path | None = None,
    allow_sensitive: bool = False,
    opened: Callable[[str], None] = print,
) -> None:
    """Serves the page of a store until it is stopped.

    Args:
        store: an open store.
        host: the address to listen on. Another than this machine's own asks readers for a token.
        port: 0 for any that is free.
        token: what a reader must know; None: one is drawn where the address needs it.
        bundle, allow_sensitive: as `page_app`.
        opened: is told the page's address, with the token in it, once it answers.

    Raises:
        InputError: it cannot listen there; the token is too short.
        ToolMissingError, ArtefactError: as `page_app`.
    """
    with clear_refusals(store.url):
        import uvicorn

    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    listener = _listener(host, port)
    with listener:
        app = page_app(store, bundle=bundle, token=token, allow_sensitive=allow_sensitive)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
        settings = uvicorn.Config(
            app, log_level=logging.WARNING, access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        opened(address)
        uvicorn.Server(settings).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as stack:
            found = stack.enter_context(socket.socket(family, kind, number))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(128)
            stack.pop_all()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen there: {reason.lower()}",
            where=f"{host}:{port}",
            hint="choose another with --host and --port; --port 0 takes any that is free",
        ) from error
    return found
