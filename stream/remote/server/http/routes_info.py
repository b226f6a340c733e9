"""What the server tells: its sessions, its configuration, its figures, and whether it is well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from stream.protocol.fragments import VERSION
from stream.remote.refusals import StillLoadingError
from stream.remote.server.http.access import Role, bearer_token
from stream.remote.server.http.guard import Guard, sentence
from stream.remote.server.http.monitoring import LoopWatch, write_metrics
from stream.remote.settings import IceSettings
from stream.remote.transport.ice import ice_servers_json

if TYPE_CHECKING:
    from stream.remote.server.sessions.hub import SessionHub


class InfoRoutes:
    """``/sessions``, ``/config``, ``/metrics``, ``/healthz`` and ``/readyz``."""

    def __init__(self, hub: SessionHub, guard: Guard, ice: IceSettings, watch: LoopWatch) -> None:
        self._hub = hub
        self._guard = guard
        self._ice = ice
        self._watch = watch

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        handlers = {
            "/sessions": self.sessions,
            "/config": self.config,
            "/metrics": self.metrics,
            "/healthz": self.health,
            "/readyz": self.readiness,
        }
        for path, handler in handlers.items():
            app.router.add_get(path, handler)
        for path in ("/sessions", "/config"):
            app.router.add_route(hdrs.METH_OPTIONS, path, self.options)

    async def sessions(self, request: web.Request) -> web.Response:
        """The sessions, for viewers."""
        self._guard.require(request, Role.VIEW)
        return web.json_response({"sessions": self._hub.listing()})

    async def config(self, request: web.Request) -> web.Response:
        """What a page must know: ICE servers with this client's credentials, and whether it may publish."""
        self._guard.require(request, Role.VIEW, Role.PUBLISH)
        roles = self._guard.tokens.roles(bearer_token(request.headers))
        return web.json_response(
            {
                "protocol": VERSION,
                "ice_servers": ice_servers_json(self._ice),
                "publish": Role.PUBLISH in roles,
            }
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus's figures: they name the sessions, so they take what ``/sessions`` takes."""
        self._guard.require(request, Role.VIEW)
        body, kind = await asyncio.to_thread(
            write_metrics,
            self._hub.metrics(),
            self._hub.listing(),
            self._watch.metrics,
            request.headers.get(hdrs.ACCEPT, ""),
        )
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: kind})

    async def health(self, request: web.Request) -> web.Response:
        """The event loop answers."""
        return sentence(200, "ok")

    async def readiness(self, request: web.Request) -> web.Response:
        """Cameras can come."""
        if not self._hub.ready:
            raise StillLoadingError()
        return sentence(200, "ready")

    async def options(self, request: web.Request) -> web.Response:
        """For pages of other allowed origins."""
        return self._guard.options(request, "GET, HEAD")
