"""The two ways to a viewer: WebRTC's data channels, and a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from stream.errors import RemoteError
from stream.remote.server.sessions.control import MOST_TEXT
from stream.remote.server.sessions.mailbox import Packet

if TYPE_CHECKING:
    from aiohttp import web
    from aiortc import RTCDataChannel

LOW = 2200
"""Bytes that may still wait in a data channel when the next message is given to it: two datagrams."""

BURST = 8
"""Datagrams given to a channel before other tasks have their turn: each holds the loop about 0.1 ms."""

UNSENT = 16_384
"""Bytes of a WebSocket that may wait in the program, and (on Linux) as many in the kernel."""


class ViewerLink(Protocol):
    """The way to a viewer. Everything on the event loop.

    A call raises `RemoteError` where the viewer is gone or takes nothing any more.
    """

    async def ready(self) -> None:
        """Wait until little of what was sent before is still waiting."""

    async def send(self, packet: Packet) -> None:
        """Send a whole message; it is not stopped half-way."""

    async def tell(self, text: str) -> None:
        """Send a control message, or nothing where there is no way for them."""


class ChannelLink:
    """Data channels that the viewer opened; each may be missing.

    :ivar control, mesh: the channels, once they are there.
    """

    def __init__(self) -> None:
        self.control: RTCDataChannel | None = None
        self.mesh: RTCDataChannel | None = None
        self._change = asyncio.Event()

    def take_mesh(self, channel: RTCDataChannel) -> None:
        """The mesh channel is there."""
        self.mesh = channel
        channel.bufferedAmountLowThreshold = LOW
        channel.on("bufferedamountlow", self._change.set)
        channel.on("close", self._change.set)
        self._change.set()

    async def ready(self) -> None:
        """See `ViewerLink`; waits for the channel, too."""
        while self.mesh is None or self._open(self.mesh).bufferedAmount > LOW:
            self._change.clear()
            await self._change.wait()

    async def send(self, packet: Packet) -> None:
        """See `ViewerLink`."""
        for number, datagram in enumerate(packet.datagrams):
            if number and number % BURST == 0:
                await asyncio.sleep(0)
            if self.mesh is not None:
                self._open(self.mesh).send(datagram)

    async def tell(self, text: str) -> None:
        """See `ViewerLink`."""
        if self.control is None:
            return
        if self._open(self.control).bufferedAmount > MOST_TEXT:
            raise RemoteError("The viewer does not take its control messages.")
        self.control.send(text)

    def _open(self, channel: RTCDataChannel) -> RTCDataChannel:
        if channel.readyState != "open":
            raise RemoteError("The viewer's data channel is closed.")
        return channel


class SocketLink:
    """A WebSocket, whose queues are kept short: in a kernel's usual ones, seconds of frames would wait."""

    def __init__(self, websocket: web.WebSocketResponse) -> None:
        self._websocket = websocket
        # aiohttp does not say what waits, and itself waits only after each 64 KiB: hence its own parts.
        writer = websocket._writer
        assert writer is not None, "a WebSocket must be prepared first"
        self._protocol = writer.protocol
        writer.transport.set_write_buffer_limits(high=UNSENT)
        endpoint = websocket.get_extra_info("socket")
        if endpoint is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    async def ready(self) -> None:
        """See `ViewerLink`."""
        with _gone():
            if self._protocol._paused:
                await self._protocol._drain_helper()

    async def send(self, packet: Packet) -> None:
        """See `ViewerLink`."""
        with _gone():
            await self._websocket.send_bytes(packet.whole)

    async def tell(self, text: str) -> None:
        """See `ViewerLink`."""
        await self.ready()
        with _gone():
            await self._websocket.send_str(text)


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A closed WebSocket's errors, whatever aiohttp makes of them, as ours."""
    try:
        yield
    except (ConnectionError, RuntimeError) as error:
        raise RemoteError("The viewer's WebSocket is closed.") from error
