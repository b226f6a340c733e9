"""The server of remote sessions: HTTP around a `SessionHub`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from stream.errors import ConfigError
from stream.remote.server.http.access import Tokens, check_exposure
from stream.remote.server.http.connection import HttpConnection
from stream.remote.server.http.guard import Guard
from stream.remote.server.http.limits import ALL_CONNECTIONS, CONNECTIONS, Places
from stream.remote.server.http.monitoring import LoopWatch
from stream.remote.server.http.routes_info import InfoRoutes
from stream.remote.server.http.routes_page import Asset, PageRoutes, read_assets
from stream.remote.server.http.routes_socket import SocketRoutes
from stream.remote.server.http.routes_whip import WhipRoutes
from stream.remote.settings import ServeSettings
from stream.remote.transport.ice import ice_servers

if TYPE_CHECKING:
    from stream.remote.server.sessions.hub import SessionHub

log = logging.getLogger(__name__)

BACKLOG = 128
"""Connections that wait to be accepted."""

SHUTDOWN_SECONDS = 0.3
"""How long requests in flight may take once the sessions are closed."""

TLS_SECONDS = 4.0
"""How long a TLS handshake may take; a connection is counted when it is over."""


class RemoteServer:
    """Serves sessions between `start` and `stop`, on the running event loop.

    :param hub: the sessions; by default one of its own. It is opened and closed with the server.
    :ivar hub: see there.
    :ivar guard: with how often each status was answered.
    :ivar watch: with the event loop's lag.
    :raises ConfigError: the settings do not fit together, or would let others in unasked.
    """

    def __init__(self, settings: ServeSettings, hub: SessionHub | None = None) -> None:
        tokens = Tokens(settings)
        check_exposure(settings, tokens.required)
        ice_servers(settings.ice)  # so that a wrong address is told now, not to each client
        if hub is None:
            from stream.remote.server.sessions.hub import SessionHub

            hub = SessionHub(settings)
        self.hub = hub
        self.guard = Guard(settings, tokens)
        self.watch = LoopWatch()
        self._settings = settings
        self._tls = _tls(settings)
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it can be reached, once started; by this host's name if it listens on all addresses."""
        assert self._listening is not None
        host, port = self._settings.host, self._listening.sockets[0].getsockname()[1]
        if host in ("", "0.0.0.0", "::"):
            host = socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{shown}:{port}"

    async def start(self) -> None:
        """Listen, then load the models; until they are loaded, cameras are asked to come back.

        :raises ConfigError: the address cannot be listened on.
        :raises ProsoponError: the models cannot be loaded; nothing is left open.
        """
        assets = await asyncio.to_thread(read_assets)
        self._runner = web.AppRunner(self._app(assets), shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        self._watching = asyncio.create_task(self.watch.run())
        try:
            await self._listen()
            await self.hub.open()
            self.watch.metrics.reset()  # loading holds the loop, before anybody is served
        except BaseException:
            await self.stop()
            raise
        log.info("ready", extra={"url": self.url})

    async def stop(self) -> None:
        """End all sessions and connections, within 2 s; harmless when not started."""
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self.hub.close()
            await self._runner.cleanup()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._runner = self._listening = self._watching = None

    def figures(self) -> dict[str, Any]:
        """What came so far: requests, those refused, cameras, viewers; and the loop's worst recent lag."""
        answers = self.guard.answers
        return {
            "requests": answers.total(),
            "refused": sum(count for status, count in answers.items() if status >= 400),
            "published": self.guard.accepted["publish"],
            "watched": self.guard.accepted["watch"],
            "loop_lag_ms": self.watch.metrics.totals()[2] * 1e3,
        }

    def _app(self, assets: dict[str, Asset]) -> web.Application:
        app = web.Application(middlewares=[self.guard.middleware])
        app.on_response_prepare.append(self.guard.add_headers)
        WhipRoutes(self.hub, self.guard, self._settings.ice).add_to(app)
        SocketRoutes(self.hub, self.guard).add_to(app)
        InfoRoutes(self.hub, self.guard, self._settings.ice, self.watch).add_to(app)
        PageRoutes(assets).add_to(app)
        return app

    async def _listen(self) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        places = Places(CONNECTIONS, ALL_CONNECTIONS)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                partial(HttpConnection, self._runner.server, self.guard, places),
                self._settings.host or None,
                self._settings.port,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else TLS_SECONDS,
                backlog=BACKLOG,
            )
        except OSError as error:
            raise ConfigError(
                f"Cannot listen on {self._settings.host}:{self._settings.port} ({error.strerror}); "
                "choose others with --host and --port."
            ) from error


def _tls(settings: ServeSettings) -> ssl.SSLContext | None:
    """TLS with the certificate of the settings, or None without."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The TLS certificate {settings.tls_certificate} and its key {settings.tls_key} cannot be used "
            f"({getattr(error, 'strerror', None) or error}); both must be PEM, the key without a passphrase."
        ) from error
    return context
