"""Who may ask the page, from where, and what a browser may do with what it gets."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from kgdistill.errors import InputError
from kgdistill.page.addresses import is_loopback

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SESSION, LEAST_TOKEN, MOST_BODY = "kgdistill_session", 16, 2**20
_MOST_SESSIONS = 10_000


class Refused(Exception):  # noqa: N818
    """A request that is not answered.

    Args:
        status: the HTTP status.
        message: why, for a person.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Guard:
    """Checks every request.

    Without a token the page answers this machine alone, by its own names: another site's name that leads here
    (DNS rebinding) is refused. With one, a browser signs in once and keeps a cookie.

    Args:
        token: what a reader must know; None: nothing.

    Raises:
        InputError: the token is too short to be a secret.
    """

    def __init__(self, token: str | None = None) -> None:
        if token is not None and len(token) < LEAST_TOKEN:
            raise InputError(f"the token is shorter than {LEAST_TOKEN} characters", where="--token")
        self.token = token
        self._secret = secrets.token_bytes(32)
        self._signed_in: OrderedDict[str, None] = OrderedDict()

    def check(self, request: Request) -> None:
        """Raises Refused where a request may not be answered, whatever it asks."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if self.token is None and not is_loopback(host):
            raise Refused(421, "this page answers to localhost alone")
        site = request.headers.get("sec-fetch-site", "none")
        if site == "cross-site" and request.headers.get("sec-fetch-mode") != "navigate":
            raise Refused(403, "this was asked by another site")
        if request.method == "POST" and "content-length" not in request.headers:
            raise Refused(411, "how much is sent must be said first")
        if int(request.headers.get("content-length") or 0) > MOST_BODY:
            raise Refused(413, "that is too much at once")

    def check_post(self, request: Request, given: str) -> None:
        """Raises Refused where a form was not sent from this page: its token and the origin must fit."""
        origin = request.headers.get("origin")
        own = request.headers.get("host", "")
        foreign = origin is not None and urlsplit(origin).netloc != own
        if foreign or not hmac.compare_digest(given.encode(), self.form_token(request).encode()):
            raise Refused(403, "this form is not of this page, or it is too old: load the page anew")

    def session(self, request: Request) -> str:
        """The browser's session: its cookie where it is ours, else a new one."""
        known = getattr(request.state, "session", None)
        if isinstance(known, str):
            return known
        name, _, mark = request.cookies.get(SESSION, "").partition(".")
        found = name if name and hmac.compare_digest(mark.encode(), self._mark(name).encode()) else ""
        request.state.session = found or secrets.token_urlsafe(18)
        return str(request.state.session)

    def form_token(self, request: Request) -> str:
        """What every form of this session carries."""
        return self._mark("form:" + self.session(request))

    def may_read(self, request: Request) -> bool:
        """Whether the reader has shown the token, now in a header or before in this session."""
        if self.token is None or self.session(request) in self._signed_in:
            return True
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Whether this is the token."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def sign_in(self, request: Request) -> None:
        """Remembers that this session's reader knows the token; under a new name, which nobody planted."""
        request.state.session = secrets.token_urlsafe(18)
        self._signed_in[request.state.session] = None
        while len(self._signed_in) > _MOST_SESSIONS:
            self._signed_in.popitem(last=False)

    def finish(self, request: Request, response: Response) -> Response:
        """The response with its security headers and the session's cookie."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if "cache-control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        name = self.session(request)
        kept = f"{name}.{self._mark(name)}"
        if request.cookies.get(SESSION) != kept:
            response.set_cookie(
                SESSION, kept, httponly=True, samesite="strict", secure=request.url.scheme == "https"
            )
        return response

    def _mark(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
