"""All sessions of a server, by name, over shared models."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stream.pipeline.metrics import Metrics
from stream.protocol.messages import check_name
from stream.remote.refusals import NameTakenError, ServerFullError, StillLoadingError, UnknownSessionError
from stream.remote.server.sessions.models import SharedModels
from stream.remote.server.sessions.session import RemoteSession
from stream.remote.settings import ServeSettings
from stream.remote.transport.peer import Peer
from stream.remote.transport.sdp import check_offer

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
"""How long sessions may take to end when the server stops."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A publisher or a viewer that was let in.

    :ivar session: the session's name.
    :ivar key: what it is named by when its connection changes or ends; nobody else knows a publisher's.
    :ivar answer: SDP.
    """

    session: str
    key: str
    peer: Peer
    answer: str


class SessionHub:
    """The sessions of a server. Everything on one event loop.

    :param models: for tests; by default those that the settings say.
    :ivar ready: the models are loaded: sessions can begin.
    """

    def __init__(self, settings: ServeSettings, models: SharedModels | None = None) -> None:
        self.ready = False
        self._settings = settings
        self._models = models or SharedModels(settings.capture, settings.send.size, settings.max_sessions)
        self._sessions: dict[str, RemoteSession] = {}
        self._ending: set[RemoteSession] = set()

    async def open(self) -> None:
        """Load the models, on another thread.

        :raises ModelError, BackendError, ConfigError: they cannot run here.
        """
        await asyncio.to_thread(self._models.load)
        self.ready = True

    async def close(self) -> None:
        """End all sessions, within 2 s, and free the models."""
        self.ready = False
        sessions = [*self._sessions.values(), *self._ending]
        for session in sessions:
            session.end()
        if sessions:
            await asyncio.wait(
                [asyncio.create_task(session.ended()) for session in sessions], timeout=CLOSE_SECONDS
            )
        await asyncio.to_thread(self._models.close)

    async def publish(self, offer: str, name: str | None) -> Accepted:
        """Begin a session with a publisher's offer.

        A name of a session whose publisher is gone or silent passes on to the new one.

        :raises ProtocolError: the offer or the name cannot be used.
        :raises NameTakenError: a live session has that name.
        :raises ServerFullError: there are as many sessions as may be, or the models are not loaded yet.
        """
        if name is not None:
            check_name(name)
        if not self.ready:
            raise StillLoadingError()
        check_offer(offer, receive=True)  # before it takes anybody's place
        name = name or secrets.token_hex(8)
        self._make_room(name)
        session = RemoteSession(
            name,
            Peer(self._settings.ice, self._settings.idle_seconds),
            self._settings,
            self._models,
            self._forget,
        )
        self._sessions[name] = session
        try:
            answer = await session.start(offer)
        except BaseException:
            self._forget(session)
            raise
        log.info("A session begins.", extra={"session": name})
        return Accepted(name, session.key, session.peer, answer)

    async def watch(self, session: str, offer: str) -> Accepted:
        """Let a viewer in by WebRTC.

        :raises UnknownSessionError: there is no such session.
        :raises ServerFullError: it has as many viewers as may be.
        :raises ProtocolError: the offer cannot be answered.
        """
        return Accepted(session, *await self._find(session).audience.join(offer))

    async def watch_socket(self, session: str, socket: web.WebSocketResponse) -> None:
        """Serve a viewer by WebSocket, which is prepared, until it leaves.

        :raises UnknownSessionError: there is no such session, or it is over.
        :raises ServerFullError: it has as many viewers as may be.
        :raises ProtocolError: the viewer broke the rules.
        """
        await self._find(session).audience.serve_socket(socket)

    def check(self, session: str) -> None:
        """:raises UnknownSessionError: there is no such session."""
        self._find(session)

    def publisher(self, session: str, key: str) -> Peer:
        """The connection of a session's publisher.

        :raises UnknownSessionError: there is no such session, or it is another publisher's by now.
        """
        return self._find(session, key).peer

    def viewer(self, session: str, viewer: str) -> Peer:
        """A viewer's connection.

        :raises UnknownSessionError: there is no such session or viewer.
        """
        return self._find(session).audience.peer(viewer)

    def end(self, session: str, key: str) -> None:
        """End a session. The name is free at once; the rest may take a moment.

        :raises UnknownSessionError: there is no such session, or it is another publisher's by now.
        """
        self._retire(self._find(session, key))

    def listing(self) -> list[dict[str, Any]]:
        """Each session's ``name``, ``state``, ``faces``, ``viewers``, ``fps`` and age in ``seconds``."""
        return [session.listing() for session in self._sessions.values()]

    def metrics(self) -> dict[str, Metrics]:
        """The figures of all sessions there are, by name."""
        return {name: session.metrics for name, session in self._sessions.items()}

    def _find(self, name: str, key: str | None = None) -> RemoteSession:
        session = self._sessions.get(name)
        if session is None or session.over or key not in (None, session.key):
            raise UnknownSessionError("There is no such session; it may have ended.")
        return session

    def _make_room(self, name: str) -> None:
        """See that the name and a place are free."""
        before = self._sessions.get(name)
        if before is not None and not before.lost:
            raise NameTakenError(f"There is a live session {name}; choose another name.")
        # Those that are ending still hold threads and memory: a place is free when they are gone. The one
        # that is replaced counts no more, or its publisher could not come back to a full server.
        if len(self._sessions) + len(self._ending) - (before is not None) >= self._settings.max_sessions:
            raise ServerFullError("The server has as many sessions as it may have; try again later.")
        if before is not None:
            self._retire(before)

    def _retire(self, session: RemoteSession) -> None:
        """End a session and free its name."""
        session.end()
        if self._sessions.get(session.name) is session:
            del self._sessions[session.name]
            self._ending.add(session)

    def _forget(self, session: RemoteSession) -> None:
        self._ending.discard(session)
        if self._sessions.get(session.name) is session:
            del self._sessions[session.name]
