"""One connection of a publisher of meshes: two data channels and a video track whose times are known."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from aiortc.exceptions import InvalidStateError

from stream.errors import ProtocolError, RemoteError
from stream.protocol.fragments import Message, split
from stream.protocol.messages import (
    CONTROL,
    MESH,
    AnyMessage,
    Clock,
    KeyRequest,
    Pong,
    read_message,
    write_message,
)
from stream.remote.client.calls import (
    CONNECT_SECONDS,
    IceError,
    accept_answer,
    close_peer,
    describe,
    peer_connection,
)
from stream.remote.client.clock import ServerClock
from stream.remote.client.signalling import Signalling
from stream.remote.client.silence import Silence
from stream.remote.transport.video import SharedVideo
from stream.types import Array

log = logging.getLogger(__name__)

PICTURE_SIDE, PICTURE_KBPS = 640, 1000
"""Longer side, pixels, and bit rate of the video: as servers send it on by default."""

MOST_BUFFERED = 16_384
"""Bytes waiting to be sent beyond which a mesh is left out: about three of them."""


class PublishLink:
    """Connects by WHIP and sends messages and pictures.

    :ivar clock: the server's.
    :ivar session: the name that the server gave.
    :ivar lost: set once the connection is over.
    :ivar key_wanted: the server asked for key frames.
    """

    def __init__(self, signalling: Signalling, servers: list[dict[str, Any]]) -> None:
        self._signalling = signalling
        self._peer = peer_connection(servers)
        self._video = SharedVideo(PICTURE_SIDE, PICTURE_KBPS)
        self._feed = self._video.feed()
        # Before any channel: a bundle begins with its first part.
        self._transceiver = self._peer.addTransceiver(self._feed, direction="sendonly")
        self._control = self._peer.createDataChannel(CONTROL)
        self._mesh = self._peer.createDataChannel(MESH, ordered=False, maxRetransmits=0)
        self._location = ""
        self._told: int | None = None
        self._ready, self.lost = asyncio.Event(), asyncio.Event()
        self._silence = Silence()
        self._task: asyncio.Task[None] | None = None
        self.clock = ServerClock()
        self.session: str | None = None
        self.key_wanted = False
        self.sent_bytes = 0
        self._control.on("message", self._said)
        for channel in (self._control, self._mesh):
            channel.on("open", self._opened)
            channel.on("close", self._gone)
        self._peer.on("connectionstatechange", self._changed)

    async def open(self, session: str | None) -> None:
        """Publish, under this name if given.

        :raises RemoteError: the server cannot be reached or refuses, or no connection comes about.
        """
        url = self._signalling.address.url("whip") + ("" if session is None else f"?session={session}")
        answer = await self._signalling.offer(url, await describe(self._peer))
        self._location, self.session = answer.location, answer.name
        await accept_answer(self._peer, answer.sdp)
        self._feed.bind(self._transceiver)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._ready.wait()
        if self.lost.is_set() or not self._ready.is_set():
            raise IceError(
                "The server answered, but no WebRTC connection came about: a firewall blocks UDP, or a TURN "
                "server is needed."
            )
        self._task = asyncio.get_running_loop().create_task(self._ping())
        if not await self._know_the_time():
            raise RemoteError("The server took the connection but does not answer; is it overloaded?")

    def room(self) -> bool:
        """Whether a mesh sent now would leave soon."""
        return bool(self._mesh.readyState == "open" and self._mesh.bufferedAmount <= MOST_BUFFERED)

    def send(self, messages: list[Message]) -> None:
        """Send messages; where the link is gone, nothing happens."""
        with contextlib.suppress(InvalidStateError, ConnectionError):
            for message in messages:
                for datagram in split(message):
                    self._mesh.send(datagram)
                    self.sent_bytes += len(datagram)

    def show(self, image: Array, captured: int) -> None:
        """Send a picture, (H, W, 3) uint8 RGB, captured at these microseconds on the server's clock."""
        offset = self._feed.rtp_offset()
        if offset is not None and offset != self._told:
            self._told = offset
            self._say(Clock(rtp=offset))
        self._video.offer(image, captured)

    async def close(self) -> None:
        """Say goodbye and close; harmless when lost."""
        self.lost.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._video.close()
        await asyncio.gather(close_peer(self._peer), self._signalling.leave(self._location))

    async def _know_the_time(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                while not self.clock.known and not self.lost.is_set():
                    await asyncio.sleep(0.01)
        return self.clock.known

    def _say(self, message: AnyMessage) -> None:
        with contextlib.suppress(InvalidStateError, ConnectionError):
            self._control.send(write_message(message))

    def _said(self, text: str | bytes) -> None:
        self._silence.heard()
        try:
            message = read_message(text)
        except ProtocolError as error:
            log.debug("A control message was passed over: %s", error)
            return
        if isinstance(message, Pong):
            self.clock.pong(message)
        elif isinstance(message, KeyRequest):
            self.key_wanted = True

    def _opened(self) -> None:
        if self._control.readyState == self._mesh.readyState == "open":
            self._ready.set()

    def _changed(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self._gone()

    def _gone(self) -> None:
        self.lost.set()
        self._ready.set()  # whoever waits for it need not wait any longer

    async def _ping(self) -> None:
        while not self.lost.is_set():
            self._say(self.clock.ping())
            await asyncio.sleep(self.clock.pause)
            if self._silence.waited(self.clock.pause):
                self._gone()
