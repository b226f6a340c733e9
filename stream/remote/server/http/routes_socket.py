"""Watching by WebSocket, where WebRTC fails."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, web

from stream.errors import ProtocolError
from stream.protocol.messages import MAX_BYTES, SESSION_NAME, SUBPROTOCOL
from stream.remote.refusals import RefusedError, ServerFullError, UnknownSessionError
from stream.remote.server.http.access import Role, subprotocols
from stream.remote.server.http.guard import Guard

if TYPE_CHECKING:
    from stream.remote.server.sessions.hub import SessionHub

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
"""A viewer that answers no ping within half of it is gone."""

NO_SESSION = 4404
"""Close code: there is no such session, or it is over."""


class SocketRoutes:
    """``/ws/{session}``."""

    def __init__(self, hub: SessionHub, guard: Guard) -> None:
        self._hub = hub
        self._guard = guard

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(f"/ws/{{session:{SESSION_NAME}}}", self.watch, allow_head=False)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Watch a session until either side ends it."""
        self._guard.require(request, Role.VIEW)
        session = request.match_info["session"]
        offered = subprotocols(request.headers)
        if offered and SUBPROTOCOL not in offered:
            raise RefusedError(400, f"Offer the subprotocol {SUBPROTOCOL}.")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise RefusedError(426, "This address is for WebSockets.", {"Upgrade": "websocket"})
        if all(session != known["name"] for known in self._hub.listing()):
            raise UnknownSessionError(f"There is no session {session}.")
        with self._guard.socket_place(request):
            socket = web.WebSocketResponse(
                protocols=(SUBPROTOCOL,),
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=MAX_BYTES + 1,  # the first length that is refused
                autoping=False,  # they are counted as all that a viewer sends
                compress=False,  # what is sent is compressed, and what comes could be a bomb
                timeout=1.0,
            )
            await socket.prepare(request)
            self._guard.accepted["watch"] += 1
            await self._run(session, socket)
        return socket

    async def _run(self, session: str, socket: web.WebSocketResponse) -> None:
        """Hand the socket to the session, and say why it ends."""
        code, reason = int(WSCloseCode.OK), ""
        try:
            await self._hub.watch_socket(session, socket)
        except UnknownSessionError as error:
            if self._hub.ready:
                code, reason = NO_SESSION, str(error)
            else:  # the server stops, and with it all sessions
                code = WSCloseCode.GOING_AWAY
        except ServerFullError as error:
            code, reason = WSCloseCode.TRY_AGAIN_LATER, str(error)
        except ProtocolError as error:
            code, reason = WSCloseCode.POLICY_VIOLATION, str(error)
        except ConnectionError:
            log.debug("A WebSocket viewer went away.", extra={"session": session})
        except asyncio.CancelledError:
            code = WSCloseCode.GOING_AWAY
            raise
        except Exception:
            log.exception("A WebSocket viewer failed.", extra={"session": session})
            code = WSCloseCode.INTERNAL_ERROR
        finally:
            # Answered already, so no status can tell it any more. A reason has at most 123 bytes of UTF-8.
            await socket.close(code=code, message=reason.encode()[:123].decode(errors="ignore").encode())
