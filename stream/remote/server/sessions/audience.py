"""Those who watch a session: each with its own links and pace, all fed from one broadcast and one video."""

from __future__ import annotations

import asyncio
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

from stream.errors import ProtocolError
from stream.pipeline.metrics import Metrics
from stream.protocol.messages import CONTROL, Clock, Hello, State
from stream.remote.refusals import ServerFullError, UnknownSessionError
from stream.remote.server.sessions.broadcast import Broadcast
from stream.remote.server.sessions.viewer import SEND, Viewer
from stream.remote.settings import ServeSettings
from stream.remote.transport.link import Link
from stream.remote.transport.peer import Peer
from stream.remote.transport.video import SharedVideo
from stream.remote.transport.websocket import SocketLink

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

CLOCK_SECONDS = 0.1
"""How often to look whether a viewer's video track has begun, so that its clock can be told."""

CLOSE_SECONDS = 1.0
"""How long viewers may take to leave when the session is over."""


class Audience:
    """A session's viewers. Everything on the event loop.

    :param hello: what each is told first.
    :ivar state: what each is told next, and whenever it changes (`tell`).
    """

    def __init__(
        self,
        hello: Hello,
        broadcast: Broadcast,
        video: SharedVideo,
        metrics: Metrics,
        settings: ServeSettings,
    ) -> None:
        self.state = State(state="waiting", faces=0, viewers=0)
        self._hello, self._settings = hello, settings
        self._broadcast, self._video, self._metrics = broadcast, video, metrics
        self._viewers: dict[str, Viewer] = {}
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        metrics.add_stage(SEND)

    def __len__(self) -> int:
        return len(self._viewers)

    def peer(self, viewer: str) -> Peer:
        """A viewer's connection.

        :raises UnknownSessionError: there is no such viewer by WebRTC.
        """
        if viewer not in self._peers:
            raise UnknownSessionError("There is no such viewer; it may have left.")
        return self._peers[viewer]

    async def join(self, offer: str) -> tuple[str, Peer, str]:
        """Answer the offer of a viewer by WebRTC: its id, its connection, the answer.

        :raises ServerFullError: there are as many as may be.
        :raises ProtocolError: the offer cannot be answered.
        :raises UnknownSessionError: the session is over.
        """
        self._check_room()
        peer = Peer(self._settings.ice, self._settings.idle_seconds)
        viewer = self._seat(peer)
        peer.on_text = viewer.heard
        peer.on_channel = partial(self._on_channel, viewer, peer)
        self._peers[viewer.name] = peer
        try:
            answer = await peer.accept(offer, receive=False, send=self._video.feed())
        except BaseException:
            self._forget(viewer)
            await peer.close()
            raise
        task = asyncio.create_task(self._serve_peer(viewer, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return viewer.name, peer, answer

    async def serve_socket(self, websocket: web.WebSocketResponse) -> None:
        """Serve a viewer by WebSocket until it leaves.

        :raises ServerFullError: there are as many as may be.
        :raises ProtocolError: it broke the rules.
        :raises UnknownSessionError: the session is over.
        """
        self._check_room()
        link = SocketLink(websocket)
        viewer = self._seat(link, textures=True)
        viewer.tell(self._hello)
        viewer.tell(self.state)
        viewer.begin()
        hearing = asyncio.create_task(_hear(viewer, websocket))
        try:
            await viewer.run()
        finally:
            hearing.cancel()
            self._forget(viewer)
            await link.flush()
        if viewer.fault is not None:
            raise ProtocolError(viewer.fault)
        if self._closed:
            raise UnknownSessionError("The session is over.")

    def tell(self, state: State) -> None:
        """Tell all viewers the new state."""
        self.state = state
        for viewer in self._viewers.values():
            viewer.tell(state)

    async def close(self) -> None:
        """Let all go, as soon as they have been told what they were told last, and let nobody in any more."""
        self._closed = True
        for viewer in self._viewers.values():
            viewer.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def _check_room(self) -> None:
        if self._closed:
            raise UnknownSessionError("The session is over.")
        if len(self._viewers) >= self._settings.max_viewers:
            raise ServerFullError("The session has as many viewers as it may have; try again later.")

    def _seat(self, link: Link, textures: bool = False) -> Viewer:
        name = secrets.token_hex(8)
        viewer = Viewer(name, self._hello.session, link, self._metrics, self._broadcast.request_key, textures)
        link.on_closed = viewer.end
        self._viewers[name] = viewer
        self._broadcast.join(viewer)
        return viewer

    def _forget(self, viewer: Viewer) -> None:
        self._broadcast.leave(viewer)
        self._viewers.pop(viewer.name, None)
        self._peers.pop(viewer.name, None)

    def _on_channel(self, viewer: Viewer, peer: Peer, label: str) -> None:
        if label == CONTROL:
            viewer.tell(self._hello)
            viewer.tell(self.state)
            _tell_clock(viewer, peer)
        else:
            viewer.begin()

    async def _serve_peer(self, viewer: Viewer, peer: Peer) -> None:
        clock = asyncio.create_task(_wait_for_clock(viewer, peer))
        try:
            await viewer.run()
        except Exception:
            log.exception("A viewer failed.", extra={"session": self._hello.session, "viewer": viewer.name})
        finally:
            clock.cancel()
            self._forget(viewer)
            await peer.close()


async def _hear(viewer: Viewer, websocket: web.WebSocketResponse) -> None:
    """Take a WebSocket viewer's messages until it leaves."""
    try:
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                viewer.heard(message.data)
            elif message.type not in (WSMsgType.PING, WSMsgType.PONG):
                viewer.dismiss("A viewer sends texts only.")
            elif viewer.counts() and message.type is WSMsgType.PING:
                await websocket.pong(message.data)
            if viewer.fault is not None:
                break
    finally:
        viewer.end()


async def _wait_for_clock(viewer: Viewer, peer: Peer) -> None:
    while not _tell_clock(viewer, peer):
        await asyncio.sleep(CLOCK_SECONDS)


def _tell_clock(viewer: Viewer, peer: Peer) -> bool:
    offset = peer.rtp_offset()
    if offset is not None:
        viewer.tell(Clock(rtp=offset))
    return offset is not None
