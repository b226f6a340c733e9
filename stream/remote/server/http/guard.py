"""What every request passes through: checks before, one form of refusal, headers and a log line after."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import hdrs, web

from stream.errors import ProsoponError, ProtocolError
from stream.remote.refusals import (
    NameTakenError,
    RefusedError,
    ServerFullError,
    SupersededError,
    UnknownSessionError,
)
from stream.remote.server.http.access import Role, Tokens, bearer_token
from stream.remote.server.http.limits import SOCKETS, Places, RateLimit, address_key
from stream.remote.server.http.origins import Origins, client_address
from stream.remote.settings import ServeSettings

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION = web.RequestKey("session", str)
"""Of a request: the session that it began, for the log."""

CHANGES_PER_MINUTE = 1200
"""PATCH and DELETE of one address: a browser sends some twenty for a connection."""

PROBES = ("/healthz", "/readyz", "/metrics")
"""Paths whose ordinary answers are logged for debugging only."""

STATUSES = {ProtocolError: 400, UnknownSessionError: 404, NameTakenError: 409, SupersededError: 412}
"""Of what routes and hub refuse."""

PREFLIGHT_SECONDS = "600"
"""How long a browser may remember what an origin may do."""

EXPOSED = "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate"
"""Headers that scripts of other allowed origins may read."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
    "Server": "prosopon",
}
"""Of every answer; the content security policy comes besides (`content_policy`)."""


def content_policy(host: str) -> str:
    """The content security policy: nothing but what this server serves, no inline script or style, no eval.

    :param host: the Host header; browsers that do not take WebSockets to be of ``'self'`` need it. ``blob:``
        is what the page makes itself: pictures, and rigs that the user opens.
    """
    sockets = f" ws://{host} wss://{host}" if re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"media-src 'self' blob:; font-src 'self'; connect-src 'self' blob:{sockets}; "
        "worker-src 'self' blob:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """Checks requests and forms the answers; the routes ask it for what is theirs.

    :ivar tokens, origins: see `Tokens`, `Origins`.
    :ivar answers: how often each status was answered.
    :ivar accepted: how many cameras (``publish``) and viewers (``watch``) came in.
    """

    def __init__(self, settings: ServeSettings, tokens: Tokens) -> None:
        self.tokens = tokens
        self.origins = Origins(settings, tokens.required)
        self.answers: Counter[int] = Counter()
        self.accepted: Counter[str] = Counter()
        self._proxies = frozenset(settings.proxies)
        self._offers = RateLimit(settings.offers_per_minute)
        self._changes = RateLimit(CHANGES_PER_MINUTE)
        self._sockets = Places(SOCKETS, settings.max_sessions * settings.max_viewers + SOCKETS)

    def address(self, request: web.BaseRequest) -> str:
        """The client's address, as limits count it."""
        # All of them: a proxy may add a header of its own below the client's, which can say anything.
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        return address_key(client_address(request.remote, forwarded, self._proxies))

    def is_proxy(self, peer: str | None) -> bool:
        """Whether a connection comes from a proxy, which brings many clients."""
        return peer in self._proxies

    def require(self, request: web.Request, *roles: Role) -> None:
        """Let a request pass whose token has one of the roles.

        :raises RefusedError: 401, 403, 429 (`Tokens.check`).
        """
        token = bearer_token(request.headers)
        shown = self.tokens.roles(token) & set(roles)
        self.tokens.check(token, next(iter(shown), roles[0]), self.address(request))

    def count_offer(self, request: web.Request) -> None:
        """:raises RefusedError: 429 where the address made too many offers."""
        self._offers.spend(self.address(request), "offers")

    def count_change(self, request: web.Request) -> None:
        """:raises RefusedError: 429 where the address changed or ended sessions too often."""
        self._changes.spend(self.address(request), "changes")

    @contextmanager
    def socket_place(self, request: web.Request) -> Iterator[None]:
        """A place for a WebSocket.

        :raises RefusedError: 429 where the address has too many open.
        """
        address = self.address(request)
        if not self._sockets.enter(address):
            raise RefusedError(
                429, "Your address has too many WebSockets open; close some.", {"Retry-After": "10"}
            )
        try:
            yield
        finally:
            self._sockets.leave(address)

    def options(self, request: web.Request, methods: str) -> web.Response:
        """The answer to OPTIONS; pages of other allowed origins learn what they may send (CORS)."""
        response = web.Response(status=204, headers={hdrs.ALLOW: f"{methods}, OPTIONS"})
        if self.origins.is_allowed(request.headers.get(hdrs.ORIGIN)):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = methods
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = "Authorization, Content-Type, If-Match"
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = PREFLIGHT_SECONDS
        return response

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check, handle, refuse in one form, log."""
        begun = time.perf_counter()
        try:
            host = self.origins.check_host(request.headers.get(hdrs.HOST))
            self.origins.check_origin(request.headers.get(hdrs.ORIGIN), host, request.secure)
            response = await handler(request)
        except Exception as error:
            response = _refusal(request, error)
        self.answers[response.status] += 1
        self._log(request, response.status, time.perf_counter() - begun)
        return response

    async def add_headers(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Give every answer its security headers, and pages of other allowed origins leave to read it."""
        headers = response.headers
        headers.update(SECURITY_HEADERS)
        # Not request.host, which looks the machine's name up where the header is missing.
        headers["Content-Security-Policy"] = content_policy(request.headers.get(hdrs.HOST, ""))
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        origin = request.headers.get(hdrs.ORIGIN)
        if self.origins.is_allowed(origin) and origin is not None:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
        headers[hdrs.VARY] = "Origin, Accept-Encoding"

    def _log(self, request: web.Request, status: int, seconds: float) -> None:
        """One line a request, with the path's template only: what clients fill in may be secret."""
        fields = {
            "method": request.method,
            "path": _template(request),
            "status": status,
            "ms": round(seconds * 1e3, 1),
            "session": request.match_info.get("session") or request.get(SESSION),
        }
        if status in (401, 403, 429):
            fields["client"] = self.address(request)
        # Whoever watches the server asks every few seconds, and is told 503 while it loads.
        probed = fields["path"] in PROBES and status in (200, 503)
        log.log(logging.DEBUG if probed else logging.INFO, "request", extra=fields)


def sentence(status: int, text: str) -> web.Response:
    """An answer that is one plain sentence."""
    return web.Response(status=status, text=text + "\n")


def _refusal(request: web.Request, error: Exception) -> web.Response:
    """What went wrong, as one sentence with the status that fits."""
    status, text, headers = _status(request, error)
    response = sentence(status, text)
    response.headers.update(headers)
    if status in (408, 413):  # the rest of the body is not read
        response.force_close()
    return response


def _status(request: web.Request, error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, RefusedError):
        return error.status, str(error), error.headers
    if isinstance(error, ServerFullError):
        return 503, str(error), {hdrs.RETRY_AFTER: str(error.retry_after)}
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return status, str(error), {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return 405, f"This address takes {allowed} only.", {hdrs.ALLOW: allowed}
    if isinstance(error, web.HTTPNotFound):
        return 404, "There is nothing at this address.", {}
    if isinstance(error, web.HTTPException):
        return error.status, f"{HTTPStatus(error.status).phrase}.", {}
    if isinstance(error, ConnectionError | web.RequestPayloadError):
        return 400, "The request ended early.", {}
    if isinstance(error, ProsoponError):
        log.error("%s", error, extra={"path": _template(request)})
        return 500, str(error), {}
    log.error("A request failed.", exc_info=error, extra={"path": _template(request)})
    return 500, "Something failed in the server; its log tells what.", {}


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "-"
