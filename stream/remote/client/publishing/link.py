"""One connection of a publisher of meshes: two data channels and a video track whose times are known."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from stream.errors import RemoteError
from stream.protocol.fragments import Message
from stream.protocol.messages import AnyMessage, Clock, KeyRequest
from stream.remote.client.conversation import Conversation
from stream.remote.client.signalling import Signalling
from stream.remote.client.webrtc import CONNECT_SECONDS, WebRtcLink
from stream.remote.transport.video import SharedVideo
from stream.types import Array

PICTURE_SIDE, PICTURE_KBPS = 640, 1000
"""Longer side, pixels, and bit rate of the video: as servers send it on by default."""

MOST_BUFFERED = 16_384
"""Bytes waiting to be sent beyond which a mesh is left out: about three of them."""


class PublishLink(Conversation):
    """Connects by WHIP and sends messages and pictures.

    :ivar session: the name that the server gave.
    :ivar key_wanted: the server asked for key frames.
    :ivar sent_bytes: of all messages' datagrams.
    """

    def __init__(self, signalling: Signalling, servers: list[dict[str, Any]]) -> None:
        self._address = signalling.address
        self._video = SharedVideo(PICTURE_SIDE, PICTURE_KBPS)
        self._rtc = WebRtcLink(signalling, servers, send=self._video.feed())
        super().__init__(self._rtc)
        self._offset: int | None = None
        self.session: str | None = None
        self.key_wanted = False
        self.sent_bytes = 0

    async def open(self, session: str | None) -> None:
        """Publish, under this name if given.

        :raises RemoteError: the server cannot be reached or refuses, or no connection comes about.
        """
        named = "" if session is None else f"?session={session}"
        self.session = await self._rtc.open(self._address.url("whip") + named)
        self.start()
        if not await self._know_the_time():
            raise RemoteError("The server took the connection but does not answer; is it overloaded?")

    def room(self) -> bool:
        """Whether a mesh sent now would leave soon."""
        return self._rtc.waiting <= MOST_BUFFERED

    async def send(self, messages: list[Message]) -> None:
        """Send messages; where the link is gone, nothing happens."""
        with contextlib.suppress(RemoteError):
            for message in messages:
                await self._rtc.send(message)
                self.sent_bytes += sum(map(len, message.datagrams))

    def show(self, image: Array, captured: int) -> None:
        """Send a picture, (H, W, 3) uint8 RGB, captured at these microseconds on the server's clock."""
        offset = self._rtc.rtp_offset()
        if offset is not None and offset != self._offset:
            self._offset = offset
            self._say(Clock(rtp=offset))
        self._video.offer(image, captured)

    async def close(self) -> None:
        """Say goodbye and close; harmless when lost."""
        self._video.close()
        await super().close()

    def _told(self, message: AnyMessage) -> None:
        self.key_wanted |= isinstance(message, KeyRequest)

    async def _know_the_time(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                while not self.clock.known and not self.lost.is_set():
                    await asyncio.sleep(0.01)
        return self.clock.known
