"""What carries a viewer's connection: WebRTC's data channels and video, or a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from aiortc.exceptions import InvalidStateError

from stream.protocol.fragments import HEADER, MAX_BODY
from stream.protocol.messages import CONTROL, MESH, Subscribe
from stream.remote.client.calls import (
    CONNECT_SECONDS,
    IceError,
    accept_answer,
    close_peer,
    describe,
    peer_connection,
)
from stream.remote.client.signalling import Signalling
from stream.remote.client.watching.connection import WatchConnection
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.pictures import ReceivedPicture
from stream.remote.client.watching.video import VideoReader
from stream.types import Array

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
CLOSE_SECONDS = 2.0

SUBPROTOCOL = "prosopon.v1"


class WebRtcLink:
    """Two data channels and a video track (a `stream.remote.client.watching.connection.ServerLink`)."""

    transport = "webrtc"

    def __init__(
        self, signalling: Signalling, servers: list[dict[str, Any]], to: WatchConnection, pictures: bool
    ) -> None:
        self._signalling, self._to = signalling, to
        self._peer = peer_connection(servers)
        self._location = ""
        self._video: VideoReader | None = None
        if pictures:  # before any channel: a bundle begins with its first part
            video = self._peer.addTransceiver("video", direction="recvonly")
            self._video = VideoReader(video.receiver, self._picture)
        self._control = self._peer.createDataChannel(CONTROL)
        self._mesh = self._peer.createDataChannel(MESH, ordered=False, maxRetransmits=0)
        self._ready = asyncio.Event()
        self._control.on("message", to.control)
        self._mesh.on("message", self._datagram)
        for channel in (self._control, self._mesh):
            channel.on("open", self._opened)
            channel.on("close", self._gone)
        self._peer.on("connectionstatechange", self._changed)

    async def open(self, session: str) -> None:
        """Connect to a session.

        :raises IceError: the server answered, but no connection came about.
        :raises RemoteError: as `Signalling.offer`.
        """
        url = self._signalling.address.url("whep", session)
        answer = await self._signalling.offer(url, await describe(self._peer))
        self._location = answer.location
        await accept_answer(self._peer, answer.sdp)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            pass
        if self._to.lost.is_set() or not self._ready.is_set():
            raise IceError(
                "The server answered, but no WebRTC connection came about: a firewall blocks UDP, or a TURN "
                "server is needed; try --transport websocket."
            )

    async def received(self) -> int:
        """See `ServerLink.received`."""
        stats = await self._peer.getStats()
        return sum(int(one.bytesReceived) for one in stats.values() if one.type == "transport")

    def send(self, text: str) -> None:
        """See `ServerLink.send`."""
        with contextlib.suppress(InvalidStateError, ConnectionError):
            self._control.send(text)

    async def close(self) -> None:
        """See `ServerLink.close`."""
        if self._video is not None:
            await self._video.close()
        await asyncio.gather(close_peer(self._peer), self._signalling.leave(self._location))

    def _datagram(self, data: object) -> None:
        if isinstance(data, bytes):
            self._to.datagram(data)

    def _picture(self, image: Array, rtp: int) -> None:
        offset = self._to.rtp_offset
        media = None if offset is None else (rtp - offset) & 0xFFFFFFFF
        self._to.picture(ReceivedPicture(media, image))

    def _opened(self) -> None:
        if self._control.readyState == self._mesh.readyState == "open":
            self._ready.set()

    def _changed(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self._gone()

    def _gone(self) -> None:
        self._to.gone()
        self._ready.set()  # whoever waits for it need not wait any longer


class WebSocketLink:
    """One WebSocket (a `stream.remote.client.watching.connection.ServerLink`); textures come as messages."""

    transport = "websocket"

    def __init__(self, signalling: Signalling, to: WatchConnection) -> None:
        self._signalling, self._to = signalling, to
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    async def open(self, session: str) -> None:
        """Connect to a session.

        :raises RemoteError: as `Signalling.offer`.
        """
        self._socket = await self._signalling.socket(
            self._signalling.address.url("ws", session), SUBPROTOCOL, HEADER.size + MAX_BODY
        )
        self._start(self._read(self._socket))

    async def received(self) -> int:
        """See `ServerLink.received`."""
        return self._bytes

    def send(self, text: str) -> None:
        """See `ServerLink.send`."""
        if self._socket is not None and not self._socket.closed:
            self._start(self._write(self._socket, text))

    async def close(self) -> None:
        """See `ServerLink.close`."""
        if self._socket is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._socket.close()
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.send_str(text)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async for message in socket:
                self._bytes += len(message.data)
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._to.control(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._to.datagram(message.data)
        finally:
            log.debug("The WebSocket ended with code %s.", socket.close_code)
            self._to.gone()


async def open_webrtc(
    signalling: Signalling,
    session: str,
    wants: Subscribe,
    deliver: Callable[[RemoteFrame], None],
    pictures: bool,
) -> WatchConnection:
    """Watch a session over WebRTC, with its video or without.

    :param wants, deliver: see `WatchConnection`.
    :raises IceError: the server answered, but no connection came about.
    :raises RemoteError: the server cannot be reached or refuses.
    """
    connection = WatchConnection(wants, deliver)
    link = WebRtcLink(signalling, await signalling.ice_servers(), connection, pictures)
    return await _greeted(connection, link, link.open(session))


async def open_socket(
    signalling: Signalling, session: str, wants: Subscribe, deliver: Callable[[RemoteFrame], None]
) -> WatchConnection:
    """Watch a session over a WebSocket.

    :raises RemoteError: the server cannot be reached or refuses.
    """
    connection = WatchConnection(wants, deliver, whole=True)
    link = WebSocketLink(signalling, connection)
    return await _greeted(connection, link, link.open(session))


async def _greeted(
    connection: WatchConnection, link: WebRtcLink | WebSocketLink, opening: Coroutine[Any, Any, None]
) -> WatchConnection:
    """Open a link, and wait for the server's first word over it.

    :raises RemoteError: it cannot be opened, or nobody speaks.
    """
    try:
        await opening
        connection.start(link)
        await connection.greet(HELLO_SECONDS)
    except BaseException:
        await connection.close()
        with contextlib.suppress(Exception):  # the first failure is the one to tell
            await link.close()
        raise
    return connection
