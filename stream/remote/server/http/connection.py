"""One HTTP connection: counted by address, and with errors of the parser answered like all others."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web

from stream.remote.server.http.guard import SECURITY_HEADERS, Guard, sentence
from stream.remote.server.http.limits import Places, address_key

KEEP_ALIVE_SECONDS = 20.0
"""How long a connection may be idle, or take to send a request's header: one that sends it by drops
(slowloris) does not hold its place for longer."""

LINGER_SECONDS = 1.0
"""How long the rest of a body that was refused is read and thrown away."""

MAX_LINE, MAX_FIELD, MAX_HEADERS = 4096, 8190, 64
"""Bytes of the request line and of a header field, and number of header fields."""


class HttpConnection(web.RequestHandler):
    """A connection that has a place, or is closed at once.

    :param server: of the `aiohttp.web.AppRunner`.
    :param places: `Places` (`CONNECTIONS`, `ALL_CONNECTIONS`) of all connections.
    """

    __slots__ = ("_address", "_guard", "_places")

    def __init__(self, server: web.Server, guard: Guard, places: Places) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # the guard writes the log; None is allowed
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
        )
        self._guard, self._places = guard, places
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place."""
        peer = transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else None
        address = address_key(host)
        if not self._places.enter(address, limited=not self._guard.is_proxy(host)):
            cast(asyncio.Transport, transport).abort()
            return
        self._address = address
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._address is not None:
            self._places.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP; aiohttp's own answer and log line would repeat it, tokens included."""
        self._guard.answers[status] += 1
        response = sentence(status, "This is not a request that an HTTP server can read.")
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say that a connection failed, without what came over it."""
        self.logger.error("An HTTP connection failed.")
