"""How a viewer connects: by WebRTC, or by a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from stream.protocol.fragments import HEADER, MAX_BODY
from stream.protocol.messages import SUBPROTOCOL, Subscribe
from stream.remote.client.signalling import Signalling
from stream.remote.client.watching.connection import WatchConnection
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.webrtc import WebRtcLink
from stream.remote.transport.link import nothing
from stream.remote.transport.websocket import SocketLink

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0


class WebSocketLink(SocketLink):
    """A viewer's WebSocket (a `stream.remote.client.conversation.ServerLink`); textures come as messages."""

    def __init__(self, websocket: ClientWebSocketResponse) -> None:
        super().__init__(websocket)
        self.on_text: Callable[[str | bytes], None] = nothing
        self.on_datagram: Callable[[str | bytes], None] = nothing
        self._bytes = 0
        self._reading = asyncio.get_running_loop().create_task(self._read(websocket))

    async def received(self) -> int:
        """See `ServerLink.received`."""
        return self._bytes

    async def close(self) -> None:
        """See `Link.close`."""
        await super().close()
        self._reading.cancel()

    async def _read(self, websocket: ClientWebSocketResponse) -> None:
        try:
            async for message in websocket:
                self._bytes += len(message.data)
                if message.type is WSMsgType.TEXT:
                    self.on_text(message.data)
                elif message.type is WSMsgType.BINARY:
                    self.on_datagram(message.data)
        finally:
            log.debug("The WebSocket ended with code %s.", websocket.close_code)
            self.on_closed()


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
    link = WebRtcLink(signalling, await signalling.ice_servers(), receive=pictures)
    connection = WatchConnection(link, wants, deliver)
    if pictures:
        connection.watch(link.video)
    opening = link.open(signalling.address.url("whep", session), "; try --transport websocket")
    return await _greeted(connection, opening)


async def open_socket(
    signalling: Signalling, session: str, wants: Subscribe, deliver: Callable[[RemoteFrame], None]
) -> WatchConnection:
    """Watch a session over a WebSocket.

    :raises RemoteError: the server cannot be reached or refuses.
    """
    url = signalling.address.url("ws", session)
    link = WebSocketLink(await signalling.socket(url, SUBPROTOCOL, HEADER.size + MAX_BODY))
    return await _greeted(WatchConnection(link, wants, deliver, whole=True))


async def _greeted(
    connection: WatchConnection, opening: Coroutine[Any, Any, object] | None = None
) -> WatchConnection:
    """Open a connection's link, where it is not open yet, and wait for the server's first word over it.

    :raises RemoteError: it cannot be opened, or nobody speaks.
    """
    try:
        if opening is not None:
            await opening
        connection.start()
        await connection.greet(HELLO_SECONDS)
    except BaseException:
        await connection.close()
        raise
    return connection
