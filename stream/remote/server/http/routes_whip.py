"""WHIP (RFC 9725) to publish and WHEP (draft-ietf-wish-whep) to watch: SDP offers, ICE, the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from stream.protocol.messages import SESSION_NAME, check_name
from stream.remote.refusals import RefusedError, StillLoadingError
from stream.remote.server.http.access import Role
from stream.remote.server.http.guard import SESSION, Guard
from stream.remote.server.http.limits import FRAGMENT_BYTES, OFFER_BYTES, read_body
from stream.remote.settings import IceSettings
from stream.remote.transport.ice import link_headers
from stream.remote.transport.sdp import read_fragment

if TYPE_CHECKING:
    from stream.remote.server.sessions.hub import SessionHub
    from stream.remote.transport.peer import Peer

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

KEY = "[0-9a-f]{16,32}"
"""What nobody can guess: the middle of a publisher's address, the end of a viewer's."""


class WhipRoutes:
    """``/whip``, ``/whip/{key}/{session}``, ``/whep/{session}`` and ``/whep/{session}/{viewer}``."""

    def __init__(self, hub: SessionHub, guard: Guard, ice: IceSettings) -> None:
        self._hub = hub
        self._guard = guard
        self._ice = ice

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        session = f"{{session:{SESSION_NAME}}}"
        offers = {"/whip": self.publish, f"/whep/{session}": self.watch}
        for path, handler in offers.items():
            app.router.add_post(path, handler)
            app.router.add_get(path, self.look)
            app.router.add_route(hdrs.METH_OPTIONS, path, self.offer_options)
        for path in (f"/whip/{{key:{KEY}}}/{session}", f"/whep/{session}/{{viewer:{KEY}}}"):
            app.router.add_patch(path, self.patch)
            app.router.add_delete(path, self.end)
            app.router.add_get(path, self.look)
            app.router.add_route(hdrs.METH_OPTIONS, path, self.session_options)

    async def publish(self, request: web.Request) -> web.Response:
        """An offer of a camera or of captured meshes."""
        name = request.query.get("session")
        self._guard.require(request, Role.PUBLISH)
        if name is not None:
            check_name(name)
            request[SESSION] = name
        offer = await self._offer(request)
        published = await self._hub.publish(offer, name)
        self._guard.accepted["publish"] += 1
        request[SESSION] = published.session
        location = f"/whip/{published.key}/{published.session}"
        return self._created(published.answer, location, published.peer.etag)

    async def watch(self, request: web.Request) -> web.Response:
        """An offer to receive a session."""
        session = request.match_info["session"]
        self._guard.require(request, Role.VIEW)
        self._hub.check(session)  # or it is refused here: asking again and again for it is no offer
        offer = await self._offer(request)
        watched = await self._hub.watch(session, offer)
        self._guard.accepted["watch"] += 1
        return self._created(watched.answer, f"/whep/{session}/{watched.key}", watched.peer.etag)

    async def patch(self, request: web.Request) -> web.Response:
        """More ICE candidates, or an ICE restart: that is told by new credentials, whatever If-Match says."""
        peer = self._peer(request)
        self._guard.count_change(request)
        wanted = request.headers.get(hdrs.IF_MATCH)
        body = await read_body(request, FRAGMENT, FRAGMENT_BYTES)
        if wanted is None:
            raise RefusedError(428, "Say with If-Match which ICE session this is for, or * to restart it.")
        tags = [tag.strip() for tag in wanted.split(",")]
        if not {"*", '"*"', _quoted(peer.etag)} & set(tags):  # the RFC's example has the quotes
            raise RefusedError(412, "The ICE session was restarted meanwhile; If-Match has an old ETag.")
        fragment = read_fragment(body)
        if not peer.restarts(fragment):
            await peer.trickle(fragment)
            return web.Response(status=204)
        self._guard.count_offer(request)
        answer = await peer.restart(fragment)
        return web.Response(text=answer, content_type=FRAGMENT, headers={hdrs.ETAG: _quoted(peer.etag)})

    async def end(self, request: web.Request) -> web.Response:
        """The end of a session or of a viewer."""
        peer = self._peer(request)
        self._guard.count_change(request)
        if "viewer" in request.match_info:
            peer.end()
        else:
            self._hub.end(request.match_info["session"], request.match_info["key"])
        return web.Response()

    async def look(self, request: web.Request) -> web.Response:
        """There is such an address (RFC 9725 section 4.1)."""
        if request.path == "/whip":
            self._guard.require(request, Role.PUBLISH)
        elif {"key", "viewer"} & request.match_info.keys():
            self._peer(request)
        else:
            self._guard.require(request, Role.VIEW)
            self._hub.check(request.match_info["session"])
        return web.Response(status=204)

    async def offer_options(self, request: web.Request) -> web.Response:
        """What can be posted, and to those who show a token which ICE servers there are.

        Without a body 204 says the same as 200, and GStreamer reads the ICE servers of a 204 only.
        """
        response = self._guard.options(request, "GET, HEAD, POST")
        response.headers["Accept-Post"] = SDP
        if hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers and self._may(request):
            response.headers.extend([(hdrs.LINK, link) for link in link_headers(self._ice)])
        return response

    async def session_options(self, request: web.Request) -> web.Response:
        """What can be done with a session's address."""
        response = self._guard.options(request, "GET, HEAD, PATCH, DELETE")
        response.headers["Accept-Patch"] = FRAGMENT
        response.headers["Accept-Post"] = SDP
        return response

    def _peer(self, request: web.Request) -> Peer:
        """The connection that a session's address stands for.

        :raises RefusedError: the token does not allow to know it.
        :raises UnknownSessionError: there is none.
        """
        self._guard.require(request, _role(request))
        session, viewer = request.match_info["session"], request.match_info.get("viewer")
        if viewer is not None:
            return self._hub.viewer(session, viewer)
        return self._hub.publisher(session, request.match_info["key"])

    async def _offer(self, request: web.Request) -> str:
        """The offer, once it is worth to be looked at."""
        if not self._hub.ready:
            raise StillLoadingError()
        if not _accepts(request.headers.get(hdrs.ACCEPT, "*/*"), SDP):
            raise RefusedError(406, f"The answer is {SDP}, which the Accept header leaves out.")
        self._guard.count_offer(request)
        return await read_body(request, SDP, OFFER_BYTES)

    def _created(self, answer: str, location: str, etag: str) -> web.Response:
        response = web.Response(status=201, text=answer, content_type=SDP)
        # A path alone: it resolves to the address that the client used, behind a proxy too.
        response.headers[hdrs.LOCATION] = location
        response.headers[hdrs.ETAG] = _quoted(etag)
        response.headers["Accept-Patch"] = FRAGMENT
        response.headers.extend([(hdrs.LINK, link) for link in link_headers(self._ice)])
        return response

    def _may(self, request: web.Request) -> bool:
        try:
            self._guard.require(request, _role(request))
        except RefusedError:
            return False
        return True


def _role(request: web.Request) -> Role:
    return Role.PUBLISH if request.path.startswith("/whip") else Role.VIEW


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _accepts(accept: str, kind: str) -> bool:
    """Whether an Accept header takes a type."""
    ranges = [part.split(";") for part in accept.lower().split(",")]
    wanted = {kind, f"{kind.partition('/')[0]}/*", "*/*"}
    return any(
        media.strip() in wanted and not any(re.fullmatch(r"q=0(\.0*)?", p.strip()) for p in parameters)
        for media, *parameters in ranges
    )
